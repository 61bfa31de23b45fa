//! Calls that are made again because of what they came to.

use super::{before, call, server};
use crate::support::{Config, Engine, on_both_engines};
use crate::tls::total;

on_both_engines!(a_call_is_made_again_where_its_status_is_named, nothing_else_is_made_again, a_budget_bounds_them);

fn with(engine: Engine, endpoint: std::net::SocketAddr, retry: &str) -> Config {
    before(engine, endpoint).upstream(&format!("retry = {{ backoff = \"1ms\", {retry} }}"))
}

fn a_call_is_made_again_where_its_status_is_named(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let retry = "attempts = 4, on = [\"unavailable\", \"resource-exhausted\", \"aborted\"], non_idempotent = true";
    let gateway = with(engine, endpoint, retry).start();
    call(
        gateway.address,
        &[],
        r#"
def plan(key, codes, **more):
    return json.dumps({"key": key, "codes": codes, **more}).encode()
# Which try it is, the server is told.
assert json.loads(unary("Fail", plan("a", [14, 8, 10]))) == [None, "1", "2", "3"]
# When all tries are spent the last answer is the client's, as it was.
fails(lambda: unary("Fail", plan("c", [14, 14, 14, 14])), Code.UNAVAILABLE, "try 4, 100% wrong: ü")
# The server says when.
assert json.loads(unary("Fail", plan("d", [14], pushback="1"))) == [None, "1"]
fails(lambda: unary("Fail", plan("e", [14], pushback="-1")), Code.UNAVAILABLE, "try 1")
fails(lambda: unary("Fail", plan("f", [14], pushback="soon")), Code.UNAVAILABLE, "try 1")
fails(lambda: unary("Fail", plan("g", [14], pushback="999999")), Code.UNAVAILABLE, "try 1")
for key, tries in [("c", b"4"), ("e", b"1"), ("f", b"1"), ("g", b"1")]:
    assert unary("Tries", key.encode()) == tries, key
"#,
    );
    // A client that has tried before is counted; grpcio sends no such field of another's making.
    let plan = b"{\"key\": \"b\", \"codes\": [14]}";
    let mut client = gateway.connect();
    client.send(super::raw("Fail", "Grpc-Previous-Rpc-Attempts: 5", plan));
    assert_eq!(client.response().body[5..], *b"[\"5\", \"6\"]");
}

fn nothing_else_is_made_again(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    // The route alone says that a call may be made twice.
    let gateway = with(engine, endpoint, "attempts = 3, on = [\"unavailable\"]")
        .route("path = \"/test.Calls/{method}\"")
        .more("[[route]]\nname = \"again\"\npath = \"/test.Calls/Fail\"\nupstream = \"origin\"\nheaders = { x-again = true }\nretry = { non_idempotent = true }\n")
        .start();
    call(
        gateway.address,
        &[],
        r#"
def plan(key, codes):
    return json.dumps({"key": key, "codes": codes}).encode()
fails(lambda: unary("Fail", plan("a", [14])), Code.UNAVAILABLE, "try 1")
again = (("x-again", "1"),)
assert json.loads(unary("Fail", plan("b", [14, 14]), metadata=again)) == [None, "1", "2"]
fails(lambda: unary("Fail", plan("c", [13]), metadata=again), Code.INTERNAL, "try 1")
# An answer that has begun is the client's.
got = []
fails(lambda: got.extend(stream("Count", json.dumps({"messages": 2, "code": 14}).encode(), metadata=again)), Code.UNAVAILABLE)
assert got == [b"0", b"1"], got
"#,
    );
}

fn a_budget_bounds_them(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let metrics = tempfile::tempdir().unwrap();
    let retry = "attempts = 2, on = [\"unavailable\"], non_idempotent = true, budget = 0, budget_floor = 0";
    let gateway =
        with(engine, endpoint, retry).cores(&format!("metrics_dir = \"{}\"", metrics.path().display())).start();
    call(
        gateway.address,
        &[],
        r#"fails(lambda: unary("Fail", json.dumps({"key": "a", "codes": [14]}).encode()), Code.UNAVAILABLE, "try 1")"#,
    );
    gateway.stop();
    assert_eq!(total(metrics.path(), "ringway_upstream_retries_out_of_budget_total", &[]), 1);
}
