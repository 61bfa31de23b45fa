//! Calls of every kind, with metadata, in clear and over TLS on both sides; and routes for single methods.

use super::{before, call, server};
use crate::support::{Engine, on_both_engines};
use crate::tls::{Authority, total, with};

on_both_engines!(
    calls_and_metadata_go_through_in_clear,
    calls_and_metadata_go_through_tls_on_both_sides,
    a_route_may_have_one_method,
);

const CALLS: &str = r#"
answer, done = channel.unary_unary("/test.Calls/Meta").with_call(
    b"", timeout=PATIENCE, metadata=(("x-text", "a b"), ("x-raw-bin", b"\x00\xfe\xff"), ("x-twice", "1"), ("x-twice", "2")))
told = json.loads(answer)
assert (told["x-text"], told["x-raw-bin"]) == ("a b", "00feff"), told
assert told["x-twice"] in ("1,2", "1, 2", "2"), told
first, last = dict(done.initial_metadata()), dict(done.trailing_metadata())
assert (first["x-first"], first["x-first-bin"]) == ("1", b"\x00\x01\xff"), first
assert (last["x-last"], last["x-last-bin"]) == ("2", b"\xff\x00"), last
large = bytes(range(256)) * 8000
assert unary("Echo", large) == large
assert unary("Echo", b"") == b""
got = list(stream("Count", json.dumps({"messages": 500}).encode()))
assert got == [b"%d" % at for at in range(500)], len(got)
total = channel.stream_unary("/test.Calls/Total")((b"x" * at for at in range(300)), timeout=PATIENCE)
assert total == b"%d" % sum(range(300)), total
asks = queue.Queue()
call = channel.stream_stream("/test.Calls/Both")(iter(asks.get, None), timeout=PATIENCE)
for at in range(50):
    asks.put(b"message %d" % at)
    assert next(call) == b"MESSAGE %d" % at
asks.put(None)
assert list(call) == []
failing = stream("Count", json.dumps({"messages": 3, "code": 9}).encode())
got = []
error = fails(lambda: got.extend(failing), Code.FAILED_PRECONDITION, "at the end")
assert dict(error.trailing_metadata())["x-last"] == "2"
fails(lambda: unary("/test.Calls/None"), Code.UNIMPLEMENTED)
fails(lambda: unary("Fail", json.dumps({"key": "once", "codes": [3]}).encode()), Code.INVALID_ARGUMENT, "try 1, 100% wrong: ü")
"#;

fn calls_and_metadata_go_through_in_clear(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let gateway = before(engine, endpoint).start();
    call(gateway.address, &[], CALLS);
}

fn calls_and_metadata_go_through_tls_on_both_sides(engine: Engine) {
    let authority = Authority::new("authority");
    let issued = authority.issue("server", &["localhost", "127.0.0.1"]);
    let (_server, endpoint) = server(&[], &[&issued.key, &issued.certificate]);
    let upstream = format!("protocol = \"h2\"\ntls = {{ ca = \"{}\" }}", authority.file.display());
    let gateway = with(engine, &issued).endpoint(endpoint).upstream(&upstream).start();
    call(gateway.address, &[&authority.file], CALLS);
}

fn a_route_may_have_one_method(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let metrics = tempfile::tempdir().unwrap();
    let cores = format!("metrics_dir = \"{}\"", metrics.path().display());
    let by = |name: &str| {
        format!("policies = [{{ type = \"headers\", request = {{ set = {{ x-route = \"{name}\" }} }} }}]\n")
    };
    let gateway = before(engine, endpoint)
        .cores(&cores)
        .route(&format!("path = \"/test.Calls/Meta\"\n{}", by("one")))
        .more(&format!(
            "[[route]]\nname = \"service\"\npath = \"/test.Calls/{{method}}\"\nupstream = \"origin\"\n{}",
            by("{method}")
        ))
        .start();
    call(
        gateway.address,
        &[],
        r#"
assert json.loads(unary("Meta"))["x-route"] == "one"
assert json.loads(unary("MetaAgain"))["x-route"] == "MetaAgain"
fails(lambda: unary("/other.Service/Echo"), Code.UNIMPLEMENTED, "no route matches")
"#,
    );
    gateway.stop();
    // No endpoint was asked by the call that no route has.
    for (status, count) in [("0", 2), ("12", 1)] {
        let counted = total(metrics.path(), "ringway_grpc_answers_total", &[("grpc_status", status)]);
        assert_eq!(counted, count, "status {status}");
    }
}
