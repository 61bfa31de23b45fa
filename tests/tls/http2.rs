//! HTTP/2 over TLS: clients of others, gRPC from end to end, and how connections go away.

use std::io::{Read, Write};
use std::process::Command;

use super::{Authority, Client, Connection, with};
use crate::http2::clients::{self, SCRIPT, echo};
use crate::http2::grpc;
use crate::support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, SETTINGS, block, frame, request,
};
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    h2load_and_python_are_served,
    curl_speaks_either_protocol_over_either_version,
    every_kind_of_call_goes_through_tls_on_both_sides,
    a_listener_that_goes_lets_its_streams_end,
);

fn h2load_and_python_are_served(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, _) = Origin::serve(echo);
    let gateway = with(engine, &authority.issue("server", &["localhost"])).origin(&origin).start();
    let url = format!("https://{}/a", gateway.address);
    let said = clients::run(Command::new("h2load").args(["-n", "1000", "-c", "4", "-m", "32", &url]));
    assert!(said.contains("1000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("Application protocol: h2\n") && said.contains("1000 2xx"), "{said}");
    let (host, port) = (gateway.address.ip().to_string(), gateway.address.port().to_string());
    let mut python = Command::new("target/python/bin/python");
    let said = clients::run(python.args(["-c", SCRIPT, &host, &port]).arg(&authority.file));
    assert_eq!(said.trim(), "all well");
}

fn curl_speaks_either_protocol_over_either_version(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, _) = Origin::serve(echo);
    let gateway = with(engine, &authority.issue("server", &["localhost"])).origin(&origin).start();
    for (protocol, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for tls in ["1.2", "1.3"] {
            let (least, said) = (format!("--tlsv{tls}"), "|%{http_version} %{http_code}");
            let mut curl = super::curl(&authority, gateway.address, "localhost");
            curl.args([protocol, &least, "--tls-max", tls, "-d", "hello", "-w", said]);
            assert_eq!(clients::run(&mut curl), format!("POST / hello|{version} 200"), "{protocol} {tls}");
        }
    }
}

fn every_kind_of_call_goes_through_tls_on_both_sides(engine: Engine) {
    let authority = Authority::new("authority");
    let issued = authority.issue("server", &["localhost", "127.0.0.1"]);
    let (_server, endpoint) = grpc::server(&[&issued.key, &issued.certificate]);
    let ca = authority.file.display();
    let upstream = format!("protocol = \"h2\"\ntls = {{ ca = \"{ca}\" }}");
    let gateway = with(engine, &issued).endpoint(endpoint).upstream(&upstream).start();
    grpc::call(gateway.address, &[&authority.file]);
}

/// The next frame: its kind, its flags and its payload. Settings and pings are answered.
fn next(stream: &mut Connection) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).expect("a frame");
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).expect("a payload");
    if matches!(head[3], SETTINGS | PING) && head[4] & ACK == 0 {
        let echoed = if head[3] == PING { &payload[..] } else { b"" };
        stream.write_all(&frame(head[3], ACK, 0, echoed)).unwrap();
    }
    (head[3], head[4], payload)
}

fn a_listener_that_goes_lets_its_streams_end(engine: Engine) {
    let authority = Authority::new("authority");
    let issued = authority.issue("server", &["localhost"]);
    let (certificate, key) = (issued.certificate.display(), issued.key.display());
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin);
    let other = format!(
        "[listener.other]\naddress = \"127.0.0.1:0\"\ntls.certificate = \"{certificate}\"\ntls.key = \"{key}\"\n"
    );
    let gateway = config.clone().more(&other).start();
    let mut client = Client::trusting(&authority);
    client.config.alpn_protocols = vec![b"h2".to_vec()];
    let mut stream = client.connect(gateway.addresses[1], "localhost").unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    let asks = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&request("GET", "/", &[])));
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &asks].concat()).unwrap();
    let mut upstream = origin.accept();
    upstream.request();
    gateway.run(&config);
    while next(&mut stream).0 != GOAWAY {}
    upstream.answer("well");
    let (mut body, mut goaways) = (Vec::new(), Vec::new());
    loop {
        match next(&mut stream) {
            (GOAWAY, _, payload) => goaways.push(payload),
            (DATA, flags, payload) => {
                body.extend(payload);
                if flags & END_STREAM != 0 {
                    break;
                }
            }
            _ => {}
        }
    }
    assert_eq!(body, b"well");
    // Every one says that there was no error; what is left ends with close_notify.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("close_notify");
    assert!(goaways.iter().all(|goaway| goaway[4..8] == [0; 4]), "{goaways:?}");
}
