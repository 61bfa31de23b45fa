//! gRPC end to end: a client and a server of grpcio, which speak HTTP/2 with the gateway.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Child, Config, Engine, on_both_engines};
use crate::tls::total;

on_both_engines!(every_kind_of_call_goes_through);

/// Messages are bytes: no generated code is needed.
const SERVER: &str = r#"
import grpc, sys, time
from concurrent import futures
def unary(request, context):
    metadata = dict(context.invocation_metadata())
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
    if request == b"slow":
        while context.is_active(): time.sleep(0.01)
        return b""
    context.send_initial_metadata((("x-first", metadata.get("x-asked", "none")),))
    context.set_trailing_metadata((("x-last-bin", b"\x00\xff"),))
    return request[::-1]
def server_stream(request, context):
    for at in range(int(request)):
        yield b"%d" % at
def client_stream(requests, context):
    return b"%d" % sum(len(request) for request in requests)
def both(requests, context):
    for request in requests:
        yield request.upper()
handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "Both": grpc.stream_stream_rpc_method_handler(both),
}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
if len(sys.argv) > 1:
    key, certificate = (open(name, "rb").read() for name in sys.argv[1:])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
print(port, flush=True)
server.start()
server.wait_for_termination()
"#;

const CLIENT: &str = r#"
import grpc, sys, queue
if len(sys.argv) > 2:
    credentials = grpc.ssl_channel_credentials(open(sys.argv[2], "rb").read())
    channel = grpc.secure_channel(sys.argv[1], credentials)
else:
    channel = grpc.insecure_channel(sys.argv[1])
unary = channel.unary_unary("/test.Echo/Unary")
answer, call = unary.with_call(b"hello", timeout=20, metadata=(("x-asked", "yes"),))
assert answer == b"olleh", answer
assert dict(call.initial_metadata())["x-first"] == "yes", call.initial_metadata()
assert dict(call.trailing_metadata())["x-last-bin"] == b"\x00\xff", call.trailing_metadata()
large = bytes(range(256)) * 8000
assert unary(large, timeout=20) == large[::-1]
def fails(call, *wanted):
    try:
        call()
    except grpc.RpcError as error:
        assert (error.code(), error.details())[:len(wanted)] == wanted, (error.code(), error.details())
    else:
        raise AssertionError("it did not fail")
fails(lambda: unary(b"fail", timeout=20), grpc.StatusCode.FAILED_PRECONDITION, "not today")
fails(lambda: channel.unary_unary("/test.Echo/None")(b"", timeout=20), grpc.StatusCode.UNIMPLEMENTED)
fails(lambda: unary(b"slow", timeout=0.2), grpc.StatusCode.DEADLINE_EXCEEDED)
got = list(channel.unary_stream("/test.Echo/ServerStream")(b"1000", timeout=20))
assert got == [b"%d" % at for at in range(1000)], len(got)
got = channel.stream_unary("/test.Echo/ClientStream")((b"x" * at for at in range(500)), timeout=20)
assert got == b"%d" % sum(range(500)), got
# Each message waits for the answer to the one before.
asks = queue.Queue()
call = channel.stream_stream("/test.Echo/Both")(iter(asks.get, None), timeout=20)
for at in range(100):
    asks.put(b"message %d" % at)
    got = next(call)
    assert got == b"MESSAGE %d" % at, got
asks.put(None)
assert list(call) == []
calls = [unary.future(b"%d" % at, timeout=20) for at in range(200)]
for at, call in enumerate(calls):
    assert call.result() == (b"%d" % at)[::-1]
print("all well")
"#;

const PYTHON: &str = "target/python/bin/python";

/// A server, over TLS where files of a key and a certificate are given, and where it is.
pub(crate) fn server(files: &[&Path]) -> (Child, SocketAddr) {
    let mut server = Child::start(Command::new(PYTHON).args(["-c", SERVER]).args(files).stdout(Stdio::piped()));
    let mut port = String::new();
    BufReader::new(server.stdout()).read_line(&mut port).expect("grpcio: tools/setup");
    (server, format!("127.0.0.1:{}", port.trim()).parse().expect("a port"))
}

/// Makes calls of every kind, over TLS where a file of authorities is given.
pub(crate) fn call(address: SocketAddr, authorities: &[&Path]) {
    let client = Command::new(PYTHON).args(["-c", CLIENT, &address.to_string()]).args(authorities).output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&client.stdout), String::from_utf8_lossy(&client.stderr));
    assert_eq!((out.trim(), client.status.code()), ("all well", Some(0)), "{errors}");
}

fn every_kind_of_call_goes_through(engine: Engine) {
    let (_server, endpoint) = server(&[]);
    let metrics = tempfile::tempdir().unwrap();
    let cores = format!("metrics_dir = \"{}\"", metrics.path().display());
    let gateway = Config::new(engine).endpoint(endpoint).upstream("protocol = \"h2\"").cores(&cores).start();
    call(gateway.address, &[]);
    gateway.stop();
    // What each of them said, in trailers or in the one head; the call whose client gave up may have said nothing.
    for (status, count) in [("0", 205), ("9", 1), ("12", 1), ("2", 0), ("14", 0), ("other", 0)] {
        let counted = total(metrics.path(), "ringway_grpc_answers_total", &[("grpc_status", status)]);
        assert_eq!(counted, count, "status {status}");
    }
}
