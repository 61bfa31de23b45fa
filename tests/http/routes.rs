//! Which route takes a request.

use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    the_most_specific_route_takes_a_request,
    predicates_choose_among_routes,
    what_no_route_takes_is_404,
    a_wrong_method_is_405_with_those_that_do,
    the_origin_gets_the_path_that_was_routed,
    an_absolute_target_is_routed_by_its_host,
);

/// A gateway whose routes answer with their own names.
fn naming(engine: Engine, routes: &[(&str, &str)]) -> Gateway {
    let mut config = Config::new(engine);
    for (name, keys) in routes {
        config = config.more(&format!(
            "[service.{name}]\ntype = \"respond\"\nbody = \"{name}\"\n\
             [[route]]\nname = \"{name}\"\nservice = \"{name}\"\n{keys}\n"
        ));
    }
    config.start()
}

fn the_most_specific_route_takes_a_request(engine: Engine) {
    let gateway = naming(
        engine,
        &[
            ("any", "path = \"/{rest...}\""),
            ("host", "path = \"/{rest...}\"\nhosts = [\"example.com\"]"),
            ("below", "path = \"/{rest...}\"\nhosts = [\"*.example.com\"]"),
            ("deeper", "path = \"/{rest...}\"\nhosts = [\"*.a.example.com\"]"),
            ("exact", "path = \"/users/me\""),
            ("param", "path = \"/users/{id}\""),
            ("tail", "path = \"/users/{id...}\""),
        ],
    );
    let rows = [
        ("other", "/", "any"),
        ("example.com", "/x", "host"),
        ("EXAMPLE.com.:80", "/x", "host"),
        ("b.example.com", "/", "below"),
        ("c.b.example.com", "/", "below"),
        ("b.a.example.com", "/", "deeper"),
        ("other", "/users/me", "exact"),
        ("other", "/users/m%65", "exact"),
        ("other", "/users/x/../me", "exact"),
        ("other", "/users/7", "param"),
        ("other", "/users/7/x", "tail"),
        ("other", "/users/", "tail"),
        ("other", "/users", "any"),
    ];
    let mut client = gateway.connect();
    for (host, path, route) in rows {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.response().text(), route, "{host} {path}");
    }
}

fn predicates_choose_among_routes(engine: Engine) {
    let gateway = naming(
        engine,
        &[
            ("plain", "path = \"/x\""),
            ("post", "path = \"/x\"\nmethods = [\"POST\"]"),
            ("canary", "path = \"/x\"\nheaders = { x-canary = true }"),
            ("json", "path = \"/x\"\nheaders = { accept = { prefix = \"application/\" }, x-canary = \"no\" }"),
            ("second", "path = \"/x\"\nquery = { v = \"2\" }"),
        ],
    );
    let rows = [
        ("GET", "/x", "", "plain"),
        ("POST", "/x", "Content-Length: 0\r\n", "post"),
        ("GET", "/x", "X-Canary: yes\r\n", "canary"),
        ("GET", "/x", "X-Canary: no\r\nAccept: application/json\r\n", "json"),
        ("GET", "/x", "X-Canary: no\r\nAccept: text/html\r\n", "canary"),
        ("GET", "/x?v=2", "", "second"),
        ("GET", "/x?a=b&v=%32", "", "second"),
        ("GET", "/x?v=1", "", "plain"),
    ];
    let mut client = gateway.connect();
    for (method, target, lines, route) in rows {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(client.response().text(), route, "{method} {target} {lines}");
    }
}

fn what_no_route_takes_is_404(engine: Engine) {
    let gateway = naming(engine, &[("one", "path = \"/one\"\nhosts = [\"example.com\"]")]);
    let mut client = gateway.connect();
    for (method, host, target) in [("GET", "example.com", "/two"), ("GET", "other", "/one"), ("OPTIONS", "x", "*")] {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let answer = client.response();
        assert_eq!((answer.status(), answer.code().as_str()), (404, "no_route"), "{host} {target}");
    }
}

fn a_wrong_method_is_405_with_those_that_do(engine: Engine) {
    let gateway = naming(
        engine,
        &[("read", "path = \"/x\"\nmethods = [\"GET\"]"), ("write", "path = \"/x\"\nmethods = [\"PUT\"]")],
    );
    let mut client = gateway.connect();
    client.send("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status(), answer.code().as_str()), (405, "method_not_allowed"));
    let mut allowed: Vec<_> = answer.head.get("allow").unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "PUT"]);
    // GET stands for HEAD.
    client.send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status(), 200);
}

fn the_origin_gets_the_path_that_was_routed(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    let mut upstream = None;
    for (sent, got) in [
        ("/a/./b/../c?x=/../y", "/a/c?x=/../y"),
        ("/%7euser/%c3%a4", "/~user/%C3%A4"),
        ("/a|b", "/a%7Cb"),
        ("/a?", "/a?"),
    ] {
        client.send(format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let upstream = upstream.get_or_insert_with(|| origin.accept());
        assert_eq!(upstream.request().head.line, format!("GET {got} HTTP/1.1"));
        upstream.answer("");
        client.response();
    }
}

fn an_absolute_target_is_routed_by_its_host(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route("hosts = [\"example.com\"]").start();
    let mut client = gateway.connect();
    client.send("GET http://example.com/x?y HTTP/1.1\r\nHost: example.com\r\n\r\n");
    let mut upstream = origin.accept();
    let request = upstream.request();
    assert_eq!((request.head.line.as_str(), request.head.get("host")), ("GET /x?y HTTP/1.1", Some("example.com")));
    upstream.answer("");
    client.response();
    client.send("GET http://example.com HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(upstream.request().head.line, "GET / HTTP/1.1");
}
