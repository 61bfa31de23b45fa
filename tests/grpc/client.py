"""What the clients of the tests have in common: a channel to the first argument, over TLS where there is a second, the
file of its authorities."""

import json
import queue
import sys
import time

import grpc

Code = grpc.StatusCode
address, *authorities = sys.argv[1:]
if authorities:
    credentials = grpc.ssl_channel_credentials(open(authorities[0], "rb").read())
    channel = grpc.secure_channel(address, credentials)
else:
    channel = grpc.insecure_channel(address)
PATIENCE = 20


def unary(method, request=b"", timeout=PATIENCE, **more):
    return channel.unary_unary(method if "/" in method else "/test.Calls/" + method)(request, timeout=timeout, **more)


def stream(method, request=b"", timeout=PATIENCE, **more):
    return channel.unary_stream("/test.Calls/" + method)(request, timeout=timeout, **more)


def fails(call, code, words=""):
    """That a call comes to this code, with these words; what it says."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code and words in (error.details() or ""), (error.code(), error.details())
        return error
    raise AssertionError("it did not fail")
