//! Upstreams that get a PROXY header.

use std::io::{Read, Write};
use std::net::TcpStream;

use ringway_proto::proxy_protocol::{Extras, Header, Limits, Progress, Said, Tlvs, Version, decode};

use super::{binary, nginx};
use crate::support::{Client, Config, Engine, Origin, OriginConn, on_both_engines};

on_both_engines!(
    each_connection_begins_with_a_header,
    a_connection_is_used_again_for_its_own_client_alone,
    what_a_header_told_goes_on_in_the_next,
    old_connections_of_clients_make_room,
    a_reload_takes_no_connection_that_began_otherwise,
    checks_name_no_client,
    nginx_takes_headers_of_both_versions,
);

/// Reads the header that a connection begins with, and gives it with the rest of what came to `look`.
fn header<R>(upstream: &mut OriginConn, look: impl FnOnce(Header<'_>) -> R) -> R {
    let mut bytes = Vec::new();
    loop {
        match decode(&bytes, &Limits::default()).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii())) {
            Progress::Complete(header) => return look(header),
            Progress::Partial => bytes.extend(upstream.take(1)),
        }
    }
}

fn ends(upstream: &mut OriginConn) -> (Version, String, String) {
    header(upstream, |header| match header.said {
        Said::Inet { source, destination } => (header.version, source.to_string(), destination.to_string()),
        other => panic!("{other:?}"),
    })
}

fn get(client: &mut Client) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

fn each_connection_begins_with_a_header(engine: Engine) {
    for (name, version) in [("v1", Version::V1), ("v2", Version::V2)] {
        let origin = Origin::listen();
        let gateway = Config::new(engine).origin(&origin).upstream(&format!("proxy_protocol = \"{name}\"")).start();
        let mut client = gateway.connect();
        get(&mut client);
        let mut upstream = origin.accept();
        let own = client.stream().local_addr().unwrap().to_string();
        assert_eq!(ends(&mut upstream), (version, own, gateway.address.to_string()));
        assert_eq!(upstream.request().head.get("x-forwarded-for"), Some("127.0.0.1"));
        upstream.answer("yes");
        assert_eq!(client.response().text(), "yes");
    }
}

fn a_connection_is_used_again_for_its_own_client_alone(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).upstream("proxy_protocol = \"v2\"").start();
    let mut clients = [gateway.connect(), gateway.connect()];
    let mut upstreams = Vec::new();
    for client in &mut clients {
        get(client);
        let mut upstream = origin.accept();
        assert_eq!(ends(&mut upstream).1, client.stream().local_addr().unwrap().to_string());
        upstream.request();
        upstream.answer("first");
        client.response();
        upstreams.push(upstream);
    }
    for at in [0, 1, 1, 0] {
        get(&mut clients[at]);
        // Its own connection, without another header.
        upstreams[at].request();
        upstreams[at].answer(&format!("again {at}"));
        assert_eq!(clients[at].response().text(), format!("again {at}"));
    }
    origin.expect_no_connection();
}

fn what_a_header_told_goes_on_in_the_next(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine)
        .origin(&origin)
        .listener("trusted_proxies = \"127.0.0.1\"\nproxy_protocol = \"required\"")
        .upstream("proxy_protocol = \"v2\"")
        .start();
    let extras =
        Extras { unique_id: Some(b"id-1"), authority: Some("a.example"), tls: Some("TLSv1.3"), checksum: true };
    let mut client = gateway.connect();
    client.send(binary("[2001:db8::7]:40000", &extras));
    get(&mut client);
    let mut upstream = origin.accept();
    header(&mut upstream, |header| {
        let Said::Inet { source, .. } = header.said else { panic!("{header:?}") };
        assert_eq!(source.to_string(), "[2001:db8::7]:40000");
        let Tlvs { unique_id, authority, ssl, .. } = header.tlvs;
        assert_eq!((unique_id, authority), (Some(&b"id-1"[..]), Some("a.example")));
        assert_eq!(ssl.map(|ssl| (ssl.is_tls, ssl.version)), Some((true, Some("TLSv1.3"))));
    });
    upstream.request();
    upstream.answer("yes");
    client.response();
    // Whoever speaks for itself is the client.
    let mut local = gateway.connect();
    local.send(b"PROXY UNKNOWN\r\n");
    get(&mut local);
    let mut upstream = origin.accept();
    assert_eq!(ends(&mut upstream).1, local.stream().local_addr().unwrap().to_string());
    upstream.request();
    upstream.answer("yes");
    local.response();
}

fn old_connections_of_clients_make_room(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine)
        .origin(&origin)
        .upstream("proxy_protocol = \"v1\"\npool = { max_idle = 2, max_connections = 3 }")
        .start();
    let mut kept: Vec<(Client, OriginConn)> = Vec::new();
    for _ in 0..5 {
        let mut client = gateway.connect();
        get(&mut client);
        let mut upstream = origin.accept();
        ends(&mut upstream);
        upstream.request();
        upstream.answer("yes");
        client.response();
        kept.push((client, upstream));
    }
    // The oldest of them went, and the newest are still there.
    for (_, upstream) in &mut kept[..3] {
        upstream.expect_end();
    }
    for (client, upstream) in &mut kept[3..] {
        get(client);
        upstream.request();
        upstream.answer("again");
        assert_eq!(client.response().text(), "again");
    }
}

fn a_reload_takes_no_connection_that_began_otherwise(engine: Engine) {
    let origin = Origin::listen();
    let plain = Config::new(engine).origin(&origin);
    let gateway = plain.start();
    let mut client = gateway.connect();
    get(&mut client);
    let mut upstream = origin.accept();
    upstream.request();
    upstream.answer("plain");
    client.response();
    gateway.run(&plain.clone().upstream("proxy_protocol = \"v1\""));
    get(&mut client);
    let mut told = origin.accept();
    ends(&mut told);
    told.request();
    told.answer("told");
    assert_eq!(client.response().text(), "told");
    // Back again the first one is still good, and the other is not.
    gateway.run(&plain);
    get(&mut client);
    upstream.request();
    upstream.answer("plain again");
    assert_eq!(client.response().text(), "plain again");
    told.expect_end();
}

fn checks_name_no_client(engine: Engine) {
    for (name, kind) in [("v1", "path = \"/well\""), ("v2", "path = \"/well\""), ("v2", "type = \"tcp\"")] {
        let origin = Origin::listen();
        let keys = format!("proxy_protocol = \"{name}\"\nhealth = {{ {kind}, interval = \"20ms\" }}");
        let _gateway = Config::new(engine).origin(&origin).upstream(&keys).start();
        let mut check = origin.accept();
        header(&mut check, |header| {
            assert_eq!(header.said, Said::Nothing { is_local: name == "v2" });
        });
        if kind.contains("path") {
            assert_eq!(check.head().line, "GET /well HTTP/1.1");
        }
    }
}

fn nginx_takes_headers_of_both_versions(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let address = Origin::elsewhere();
    let servers = format!(
        "server {{ listen {address} proxy_protocol; location / {{ return 200 \
         \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port\"; }} }}"
    );
    let _nginx = nginx(dir.path(), &servers, || TcpStream::connect(address).is_ok());
    for version in ["v1", "v2"] {
        let config = Config::new(engine).endpoint(address).upstream(&format!(
            "proxy_protocol = \"{version}\"\n\
             health = {{ path = \"/\", interval = \"20ms\", start = \"unhealthy\", healthy_after = 1 }}"
        ));
        let gateway = config.start();
        gateway.child.says("-> healthy");
        let mut client = gateway.connect();
        let port = client.stream().local_addr().unwrap().port();
        let wanted = format!("127.0.0.1 {port} {}", gateway.address.port());
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), wanted);
        }
        // Without a header nginx does not talk: what follows shows that it looks for one.
        let mut bare = TcpStream::connect(address).unwrap();
        bare.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = bare.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
    }
}
