//! Values that try to be something else on their way: paths, line ends, addresses.

use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    a_path_that_reads_in_two_ways_is_refused,
    a_rule_for_a_path_holds_for_every_spelling_of_it,
    no_captured_value_ends_a_line,
    a_forged_client_address_goes_nowhere,
    a_host_that_differs_from_the_target_is_refused,
    an_upstream_is_never_taken_from_the_request,
);

fn a_path_that_reads_in_two_ways_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut client = gateway.connect();
    for (path, code) in [
        ("//admin", "path_empty_segment"),
        ("/public//admin", "path_empty_segment"),
        ("/public\\..\\admin", "path_backslash"),
        ("/public/%2e%2e%2fadmin", "path_encoded_slash"),
        ("/public/..%2Fadmin", "path_encoded_slash"),
        ("/public%2fadmin", "path_encoded_slash"),
        ("/public%5cadmin", "path_encoded_slash"),
        ("/public/..;/admin", "path_dot_parameters"),
        ("/public/..;x=y/admin", "path_dot_parameters"),
        ("/public/.;/admin", "path_dot_parameters"),
        ("/..", "path_above_root"),
        ("/../admin", "path_above_root"),
        ("/%2e%2e/admin", "path_above_root"),
        ("/public/../../admin", "path_above_root"),
        ("/admin%00", "path_encoded_control"),
        ("/admin%0a", "path_encoded_control"),
        ("/admin%0d%0aX:y", "path_encoded_control"),
        ("/admin%7f", "path_encoded_control"),
        ("/%252e%252e/admin", "path_double_encoded"),
        ("/admin%252f", "path_double_encoded"),
        ("/admin%", "path_invalid_percent"),
        ("/admin%4", "path_invalid_percent"),
        ("/admin%zz", "path_invalid_percent"),
    ] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.response();
        assert_eq!((answer.status(), answer.code().as_str()), (400, code), "{path}");
    }
    origin.expect_no_connection();
}

fn a_rule_for_a_path_holds_for_every_spelling_of_it(engine: Engine) {
    let origin = Origin::listen();
    let closed = "[service.closed]\ntype = \"respond\"\nstatus = 403\n\
                  [[route]]\nname = \"closed\"\npath = \"/admin/{rest...}\"\nservice = \"closed\"\n";
    let gateway = Config::new(engine).origin(&origin).more(closed).start();
    let mut client = gateway.connect();
    for path in [
        "/admin/",
        "/admin/x",
        "/%61dmin/x",
        "/%61%64%6d%69%6e/x",
        "/./admin/x",
        "/public/../admin/x",
        "/public/%2e%2e/admin/x",
        "/public/%2E./admin/x",
        "/admin/./x",
        "/admin/y/../x",
        "http://a/public/../admin/x",
    ] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response().status(), 403, "{path}");
    }
    origin.expect_no_connection();
}

fn no_captured_value_ends_a_line(engine: Engine) {
    let origin = Origin::listen();
    let route = "path = \"/{name}\"\npolicies = [{ type = \"headers\", \
                 request = { set = { x-name = \"{name}\", x-query = \"{query}\", x-host = \"{host}\" } }, \
                 response = { set = { x-name = \"{name}\", x-query = \"{query}\" } } }]";
    let gateway = Config::new(engine).origin(&origin).route(route).start();
    let mut client = gateway.connect();
    client.send("GET /a%c2%85b?c%0d%0aX-Evil:%201=%0a HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut upstream = origin.accept();
    let request = upstream.request().head;
    assert_eq!(request.get("x-name"), Some("a%C2%85b"));
    assert_eq!(request.get("x-query"), Some("c%0d%0aX-Evil:%201=%0a"));
    assert!(!request.has("x-evil"));
    upstream.answer("");
    let answer = client.response().head;
    assert_eq!(answer.get("x-query"), Some("c%0d%0aX-Evil:%201=%0a"));
    assert!(!answer.has("x-evil"));
}

const FORGED: &str = "X-Forwarded-For: 10.0.0.1\r\nX-FORWARDED-FOR: 10.0.0.2\r\nX-Forwarded-Proto: https\r\n\
                      X-Forwarded-Host: internal\r\nX-Forwarded-Port: 22\r\nX-Real-IP: 10.0.0.1\r\n\
                      Forwarded: for=10.0.0.1;host=internal\r\n";

fn a_forged_client_address_goes_nowhere(engine: Engine) {
    for trusted in ["", "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]"] {
        let origin = Origin::listen();
        let route = "policies = [{ type = \"headers\", request = { set = { x-client = \"{client_ip}\" } } }]";
        let gateway = Config::new(engine).origin(&origin).listener(trusted).route(route).start();
        let mut client = gateway.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{FORGED}\r\n"));
        let request = origin.accept().request().head;
        assert_eq!(request.get("x-client"), Some("127.0.0.1"));
        assert_eq!(request.get("x-forwarded-for"), Some("127.0.0.1"));
        let text = String::from_utf8(request.raw).unwrap();
        assert!(!text.contains("10.0.0") && !text.contains("internal") && !text.contains("22"), "{text}");
    }
}

fn a_host_that_differs_from_the_target_is_refused(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    for request in [
        "GET http://internal/ HTTP/1.1\r\nHost: public\r\n\r\n",
        "GET http://internal:80/ HTTP/1.1\r\nHost: internal\r\n\r\n",
        "GET http://internal/ HTTP/1.0\r\nHost: public\r\n\r\n",
        "GET http://public@internal/ HTTP/1.1\r\nHost: internal\r\n\r\n",
    ] {
        let mut client = gateway.connect();
        client.send(request);
        assert_eq!(client.response().status(), 400, "{request}");
        client.expect_end();
    }
    origin.expect_no_connection();
}

fn an_upstream_is_never_taken_from_the_request(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let internal = Origin::listen();
    let authority = internal.address;
    let mut client = gateway.connect();
    let mut upstream = None;
    for request in [
        format!("GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: {authority}\r\n\r\n"),
    ] {
        client.send(request);
        let upstream = upstream.get_or_insert_with(|| origin.accept());
        upstream.request();
        upstream.answer("the one of the config");
        assert_eq!(client.response().text(), "the one of the config");
    }
    internal.expect_no_connection();
}
