//! What is for one connection stays on it, and what the origin is told about the client.

use crate::support::{Config, Engine, Head, Origin, on_both_engines};

on_both_engines!(
    hop_by_hop_fields_stop_at_the_gateway_both_ways,
    the_origin_is_told_who_asks,
    forwarded_is_written_where_it_is_asked_for,
    nothing_is_told_where_nothing_is_asked_for,
    a_trusted_proxy_is_believed_and_added_to,
    through_trusted_proxies_the_client_is_the_last_untrusted_address,
    via_names_every_hop_both_ways,
    via_may_be_left_out,
);

/// The head that reaches the origin for a request with `lines`, and the answer's head for an answer with `answer`.
fn pass(config: &Config, origin: &Origin, lines: &str, answer: &str) -> (Head, Head) {
    let gateway = config.start();
    let mut client = gateway.connect();
    client.send(format!("GET / HTTP/1.1\r\nHost: example.com\r\n{lines}\r\n"));
    let mut upstream = origin.accept();
    let request = upstream.request();
    upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{answer}\r\n"));
    (request.head, client.response().head)
}

fn hop_by_hop_fields_stop_at_the_gateway_both_ways(engine: Engine) {
    let origin = Origin::listen();
    let lines = "Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
                 TE: trailers\r\nProxy-Authorization: Basic x\r\nX-Public: 2\r\n";
    let answer = "Connection: X-Theirs\r\nX-Theirs: 1\r\nKeep-Alive: timeout=5\r\nX-Public: 2\r\nSet-Cookie: a=b\r\n\
                  Set-Cookie: c=d\r\n";
    let (request, response) = pass(&Config::new(engine).origin(&origin), &origin, lines, answer);
    for name in ["connection", "x-secret", "keep-alive", "proxy-connection", "te", "proxy-authorization"] {
        assert!(!request.has(name), "{name} went to the origin");
    }
    assert_eq!(request.get("x-public"), Some("2"));
    for name in ["connection", "x-theirs", "keep-alive"] {
        assert!(!response.has(name), "{name} went to the client");
    }
    assert_eq!(response.get("x-public"), Some("2"));
    assert_eq!(response.all("set-cookie"), ["a=b", "c=d"]);
}

const FORGED: &str = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\
                      Forwarded: for=203.0.113.9\r\n";

fn the_origin_is_told_who_asks(engine: Engine) {
    let origin = Origin::listen();
    let (request, _) = pass(&Config::new(engine).origin(&origin), &origin, FORGED, "");
    assert_eq!(request.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.get("x-forwarded-proto"), Some("http"));
    assert_eq!(request.get("x-forwarded-host"), Some("example.com"));
    assert!(!request.has("forwarded"));
}

fn forwarded_is_written_where_it_is_asked_for(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin).listener("forwarded = \"forwarded\"");
    let (request, _) = pass(&config, &origin, FORGED, "");
    let forwarded = request.get("forwarded").unwrap();
    assert_eq!(forwarded, "for=127.0.0.1;proto=http;host=\"example.com\"");
    assert!(!request.has("x-forwarded-for") && !request.has("x-forwarded-host"), "{request:?}");
    let (request, _) = pass(&Config::new(engine).origin(&origin).listener("forwarded = \"both\""), &origin, FORGED, "");
    assert!(request.has("forwarded") && request.has("x-forwarded-for"));
}

fn nothing_is_told_where_nothing_is_asked_for(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin).listener("forwarded = \"none\"");
    let (request, _) = pass(&config, &origin, FORGED, "");
    for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"] {
        assert!(!request.has(name), "{name} of an untrusted peer went to the origin");
    }
}

fn a_trusted_proxy_is_believed_and_added_to(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine)
        .origin(&origin)
        .listener("trusted_proxies = [\"127.0.0.0/8\"]")
        .listener("forwarded = \"both\"");
    let (request, _) = pass(&config, &origin, FORGED, "");
    assert_eq!(request.get("x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
    assert_eq!(request.get("x-forwarded-proto"), Some("https"));
    assert_eq!(request.get("x-forwarded-host"), Some("evil"));
    let forwarded = request.get("forwarded").unwrap();
    assert_eq!(forwarded, "for=203.0.113.9, for=127.0.0.1;proto=http;host=\"example.com\"");
}

fn through_trusted_proxies_the_client_is_the_last_untrusted_address(engine: Engine) {
    let rows = [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.2.3\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 203.0.113.9, 10.1.2.3\r\n", "203.0.113.9"),
        ("X-Forwarded-For: 203.0.113.9, nonsense, 10.1.2.3\r\n", "10.1.2.3"),
    ];
    for (lines, client_ip) in rows {
        let origin = Origin::listen();
        let config = Config::new(engine)
            .origin(&origin)
            .listener("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]")
            .route("policies = [{ type = \"headers\", request = { set = { x-client = \"{client_ip}\" } } }]");
        let (request, _) = pass(&config, &origin, lines, "");
        assert_eq!(request.get("x-client"), Some(client_ip), "{lines}");
    }
}

fn via_names_every_hop_both_ways(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin);
    let (request, response) = pass(&config, &origin, "Via: 1.0 fred\r\n", "Via: 1.1 cache\r\n");
    assert_eq!(request.get("via"), Some("1.0 fred, 1.1 ringway"));
    assert_eq!(response.get("via"), Some("1.1 cache, 1.1 ringway"));
    let (request, _) = pass(&config.listener("via = \"edge\""), &origin, "", "");
    assert_eq!(request.get("via"), Some("1.1 edge"));
}

fn via_may_be_left_out(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin).listener("via = false");
    let (request, response) = pass(&config, &origin, "Via: 1.0 fred\r\n", "");
    assert_eq!(request.get("via"), Some("1.0 fred"));
    assert_eq!(response.get("via"), None);
}
