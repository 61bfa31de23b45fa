//! What the gateway itself says to clients of gRPC.

use std::net::TcpListener;

use super::{before, call, server};
use crate::support::{Client, Config, Engine, Origin, on_both_engines};

on_both_engines!(
    what_the_gateway_refuses_has_a_status_of_grpc,
    nobody_is_there,
    an_answer_that_breaks_off_ends_with_a_status,
    who_speaks_no_grpc_gets_problems,
);

fn what_the_gateway_refuses_has_a_status_of_grpc(engine: Engine) {
    let (_server, endpoint) = server(&[], &[]);
    let fault = |path: &str, status: u16| {
        format!(
            "[[route]]\nname = \"fault-{status}\"\npath = \"/fault/{path}\"\nupstream = \"origin\"\n\
             policies = [{{ type = \"fault\", abort = {{ status = {status} }} }}]\n"
        )
    };
    let more = [("Unauthenticated", 401), ("Denied", 403), ("Missing", 404), ("Busy", 429), ("Odd", 418), ("Bad", 400)];
    let more: String = more.iter().map(|(path, status)| fault(path, *status)).collect();
    let gateway =
        before(engine, endpoint).route("path = \"/test.Calls/{method}\"\nbody = \"1KiB\"").more(&more).start();
    call(
        gateway.address,
        &[],
        r#"
error = fails(lambda: unary("/none.At/All"), Code.UNIMPLEMENTED, "no route matches this host and path (no_route, ")
for path, code in [("Unauthenticated", Code.UNAUTHENTICATED), ("Denied", Code.PERMISSION_DENIED), ("Missing", Code.UNIMPLEMENTED),
                   ("Busy", Code.UNAVAILABLE), ("Odd", Code.UNKNOWN), ("Bad", Code.INTERNAL)]:
    fails(lambda: unary("/fault/" + path), code, "an injected fault (fault_injected, ")
fails(lambda: unary("Echo", b"x" * 5000), Code.RESOURCE_EXHAUSTED, "body_too_large")
fails(lambda: unary("/a//b"), Code.INTERNAL, "path_")
assert unary("Echo", b"still here") == b"still here"
"#,
    );
}

fn nobody_is_there(engine: Engine) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = before(engine, free).start();
    call(
        gateway.address,
        &[],
        "for call in (lambda: unary('Echo'), lambda: list(stream('Count'))):\n    \
         fails(call, Code.UNAVAILABLE, 'the upstream could not be reached (upstream_connect_failed, ')",
    );
}

/// A call as HTTP/1.1 has it.
fn raw(content_type: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0")
}

fn an_answer_that_breaks_off_ends_with_a_status(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).start();
    // An answer that is none of gRPC breaks off as any other.
    for (kind, is_said) in [("application/grpc", true), ("text/plain", false)] {
        let mut client = gateway.connect();
        client.send(raw("application/grpc+proto"));
        let mut upstream = origin.accept();
        upstream.request();
        upstream.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\0\0\0\0\0\r\n"
        ));
        let head = client.head();
        assert_eq!(head.status(), 200);
        drop(upstream);
        if !is_said {
            assert_eq!(client.rest(), b"5\r\n\0\0\0\0\0\r\n");
            continue;
        }
        let answer = client.body_of(head);
        assert_eq!(answer.body, [0; 5]);
        let said: Vec<&str> = answer.trailers.iter().map(|(_, value)| &**value).collect();
        assert_eq!((said.len(), said[0]), (2, "14"), "{:?}", answer.trailers);
        let why = "the upstream closed the connection without an answer (upstream_reset, ";
        assert!(said[1].starts_with(why), "{:?}", answer.trailers);
    }
}

fn who_speaks_no_grpc_gets_problems(engine: Engine) {
    let gateway = Config::new(engine)
        .more("[service.s]\ntype = \"respond\"\n[[route]]\nname = \"s\"\npath = \"/s\"\nservice = \"s\"\n")
        .start();
    let mut client: Client = gateway.connect();
    for (content_type, is_grpc) in [
        ("application/json", false),
        ("application/grpcs", false),
        ("application/grpc", true),
        ("application/grpc-web+proto", true),
        ("application/grpc-web-text", true),
    ] {
        client.send(raw(content_type));
        let answer = client.response();
        if is_grpc {
            assert_eq!((answer.status(), answer.head.get("grpc-status")), (200, Some("12")));
            let kind = content_type.split('+').next();
            assert_eq!((answer.head.get("content-type"), answer.body.len()), (kind, 0));
        } else {
            assert_eq!((answer.status(), answer.code()), (404, "no_route".to_owned()));
        }
    }
    // Only a POST is a call.
    client.send("GET /a HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\n\r\n");
    assert_eq!(client.response().code(), "no_route");
}
