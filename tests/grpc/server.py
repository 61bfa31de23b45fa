"""A server of gRPC whose messages are bytes, so that no generated code is needed. Prints its port.

    server.py [--health] [KEY CERTIFICATE]
"""

import json
import sys
import threading
from concurrent import futures

import grpc

has_health = "--health" in sys.argv
files = [word for word in sys.argv[1:] if word != "--health"]
changed = threading.Condition()
# What each call came to, and what was asked so far, by name.
cancelled, asked = [], []
services = {"": 1, "well": 1, "ill": 2}


def told(context):
    """The metadata of a call, as JSON has it."""
    values = {}
    for name, value in context.invocation_metadata():
        values[name] = value.hex() if isinstance(value, bytes) else value
    remaining = context.time_remaining()
    values["remaining"] = None if remaining is None or remaining > 1e6 else remaining
    return values


def meta(request, context):
    context.send_initial_metadata((("x-first", "1"), ("x-first-bin", b"\x00\x01\xff")))
    context.set_trailing_metadata((("x-last", "2"), ("x-last-bin", b"\xff\x00")))
    return json.dumps(told(context)).encode()


def fail(request, context):
    """Fails with one code after the other, and answers then with what it was told each time."""
    plan = json.loads(request)
    with changed:
        asked.append((plan["key"], told(context)))
        tries = [meta for key, meta in asked if key == plan["key"]]
    if len(tries) <= len(plan["codes"]):
        if "pushback" in plan:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", plan["pushback"]),))
        code = {code.value[0]: code for code in grpc.StatusCode}[plan["codes"][len(tries) - 1]]
        context.abort(code, "try %d, 100%% wrong: ü" % len(tries))
    return json.dumps([meta.get("grpc-previous-rpc-attempts") for meta in tries]).encode()


def tries(request, context):
    with changed:
        return b"%d" % len([1 for key, _ in asked if key == request.decode()])


def slow(request, context):
    """Answers nothing, and takes note that nobody waits any more."""
    event = threading.Event()
    if not context.add_callback(event.set):
        event.set()
    event.wait(30)
    with changed:
        cancelled.append(request)
        changed.notify_all()
    return b""


def wait_cancelled(request, context):
    with changed:
        changed.wait_for(lambda: request in cancelled, 20)
        return b"%d" % cancelled.count(request)


def set_health(request, context):
    name, status = request.decode().split("=")
    with changed:
        services[name] = int(status)
    return b""


def count(request, context):
    """So many messages; then it may fail, or never end."""
    plan = json.loads(request)
    for at in range(plan["messages"]):
        yield b"%d" % at + b"x" * plan.get("size", 0)
    if plan.get("code"):
        context.set_trailing_metadata((("x-last", "2"),))
        context.abort({code.value[0]: code for code in grpc.StatusCode}[plan["code"]], "at the end")
    if plan.get("hangs"):
        slow(plan["hangs"].encode(), context)


def echo(request, context):
    return request


def total(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def both(requests, context):
    for request in requests:
        yield request.upper()


def check(request, context):
    # One field: a tag, a length, a name.
    name = request[2:].decode()
    with changed:
        status = services.get(name)
    if status is None:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return bytes([8, status]) if status else b""


calls = {name: grpc.unary_unary_rpc_method_handler(of) for name, of in {
    "Meta": meta, "MetaAgain": meta, "Fail": fail, "Tries": tries, "Slow": slow, "WaitCancelled": wait_cancelled,
    "Echo": echo, "SetHealth": set_health,
}.items()}
calls["Count"] = grpc.unary_stream_rpc_method_handler(count)
calls["Total"] = grpc.stream_unary_rpc_method_handler(total)
calls["Both"] = grpc.stream_stream_rpc_method_handler(both)
server = grpc.server(futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Calls", calls),))
if has_health:
    health = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),))
if files:
    key, certificate = (open(name, "rb").read() for name in files)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
