//! `type = "redirect"`.

use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    http_is_sent_to_https_once_and_no_further,
    hosts_and_slashes_are_mended_in_one_step,
    a_request_without_a_host_cannot_be_sent_to_another_scheme,
    a_location_takes_all_of_a_route,
);

/// The status and location for a request, and for one through a trusted proxy that had it over https.
fn http_is_sent_to_https_once_and_no_further(engine: Engine) {
    let (origin, _) = Origin::serve(|_, upstream| upstream.try_send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let https = "policies = [{ type = \"redirect\", scheme = \"https\" }]";
    let config = || Config::new(engine).origin(&origin).listener(https);
    let gateway = config().listener("trusted_proxies = [\"127.0.0.1\"]").start();
    let mut client = gateway.connect();
    let mut get = |fields: &str| {
        client.send(format!("GET /a?b HTTP/1.1\r\nHost: example.com:8080\r\n{fields}\r\n"));
        let answer = client.response();
        (answer.status(), answer.head.get("location").map(str::to_owned))
    };
    let elsewhere = (308, Some("https://example.com/a?b".to_owned()));
    assert_eq!(get(""), elsewhere);
    assert_eq!(get("X-Forwarded-Proto: http\r\n"), elsewhere);
    assert_eq!(get("X-Forwarded-Proto: https, http\r\n"), elsewhere);
    assert_eq!(get("X-Forwarded-Proto: HTTPS\r\n"), (200, None));
    // Whom nobody trusts cannot say so.
    let gateway = config().start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n");
    assert_eq!(client.response().status(), 308);
}

fn hosts_and_slashes_are_mended_in_one_step(engine: Engine) {
    let (origin, _) = Origin::serve(|_, upstream| upstream.try_send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    let form = "policies = [{ type = \"redirect\", status = 301, host = \"www.a.com\", trailing_slash = \"remove\" }]";
    let gateway = Config::new(engine).origin(&origin).listener(form).start();
    let mut client = gateway.connect();
    let mut get = |host: &str, target: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let answer = client.response();
        (answer.status(), answer.head.get("location").map(str::to_owned))
    };
    assert_eq!(get("a.com", "/x/?y=1"), (301, Some("http://www.a.com/x?y=1".to_owned())));
    assert_eq!(get("WWW.a.com", "/x/"), (301, Some("/x".to_owned())));
    assert_eq!(get("www.a.com", "/x"), (200, None));
    assert_eq!(get("www.a.com", "/"), (200, None));
    // No path becomes a host.
    assert_eq!(get("www.a.com", "//evil.example/").0, 400);
}

fn a_request_without_a_host_cannot_be_sent_to_another_scheme(engine: Engine) {
    let origin = Origin::listen();
    let https = "policies = [{ type = \"redirect\", scheme = \"https\" }]";
    let gateway = Config::new(engine).origin(&origin).listener(https).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status(), &*answer.code()), (400, "host_missing"));
    origin.expect_no_connection();
}

fn a_location_takes_all_of_a_route(engine: Engine) {
    let origin = Origin::listen();
    let moved = "path = \"/old/{page}\"\npolicies = [{ type = \"redirect\", status = 302, location = \"/new/{page}?{query}\" }]";
    let gateway = Config::new(engine).origin(&origin).route(moved).start();
    let answer = gateway.connect().get("/old/a?b=c");
    assert_eq!((answer.status(), answer.head.get("location")), (302, Some("/new/a?b=c")));
    origin.expect_no_connection();
}
