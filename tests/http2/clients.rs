//! Clients that were written by others: curl, h2load, hyper, and h2 of Python.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::{Config, Engine, Message, Origin, OriginConn, on_both_engines};

on_both_engines!(curl_is_served, h2load_is_served, a_client_of_hyper_is_served, a_client_of_python_is_served);

/// Answers with what it was asked.
pub(crate) fn echo(request: &Message, upstream: &mut OriginConn) -> bool {
    let line = request.head.line.trim_end_matches(" HTTP/1.1");
    let answer = [line.as_bytes(), b" ", &request.body].concat();
    if line.contains("/chunked") {
        upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..100 {
            upstream.send(format!("{:x}\r\n", answer.len())).send(&answer).send("\r\n");
        }
        upstream.send("0\r\nx-sum: 1\r\n\r\n");
    } else {
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len()));
        if !line.starts_with("HEAD") {
            upstream.send(answer);
        }
    }
    true
}

pub(crate) fn run(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: tools/setup"));
    let (out, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}: {out}{errors}");
    out.into_owned()
}

fn curl_is_served(engine: Engine) {
    let (origin, _) = Origin::serve(echo);
    let gateway = Config::new(engine).origin(&origin).start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
    fs::write(&file, &large).unwrap();
    let url = |path: &str| format!("http://{}{path}", gateway.address);
    let curl = |args: &[&str]| {
        let flags = ["--http2-prior-knowledge", "-sS", "--max-time", "20", "-w", "|%{http_version} %{http_code}"];
        run(Command::new("curl").args(flags).args(args))
    };
    assert_eq!(curl(&[&url("/a")]), "GET /a |2 200");
    assert_eq!(curl(&["-d", "hello", &url("/b")]), "POST /b hello|2 200");
    assert_eq!(curl(&[&url("/chunked")]), format!("{}|2 200", "GET /chunked ".repeat(100)));
    assert_eq!(curl(&["-H", "Expect: 100-continue", "-d", "hello", &url("/b")]), "POST /b hello|2 200");
    let head = curl(&["-I", &url("/a")]);
    assert!(head.starts_with("HTTP/2 200") && head.contains("content-length: 8"), "{head}");
    for more in [&["-H", "transfer-encoding: chunked"][..], &[]] {
        let back = dir.path().join("back");
        let (to, from) = (back.to_str().unwrap(), file.to_str().unwrap());
        curl(&[&["-T", from, "-X", "PUT", "-o", to, &url("/c")], more].concat());
        let back = fs::read(back).unwrap();
        assert!(back.strip_prefix(b"PUT /c ").is_some_and(|back| back == large), "{} bytes came back", back.len());
    }
}

fn h2load_is_served(engine: Engine) {
    let (origin, _) = Origin::serve(echo);
    let gateway = Config::new(engine).origin(&origin).start();
    let url = format!("http://{}/a", gateway.address);
    let said = run(Command::new("h2load").args(["-n", "3000", "-c", "4", "-m", "32", &url]));
    assert!(said.contains("3000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("3000 2xx"), "{said}");
}

fn a_client_of_hyper_is_served(engine: Engine) {
    let (origin, _) = Origin::serve(echo);
    let gateway = Config::new(engine).origin(&origin).start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wire = TcpStream::connect(gateway.address).unwrap();
    wire.set_nonblocking(true).unwrap();
    runtime.block_on(async {
        let io = TokioIo::new(tokio::net::TcpStream::from_std(wire).unwrap());
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let connection = tokio::spawn(connection);
        // All at once, with bodies beyond a window, and answers with trailers.
        let asked: Vec<_> = (0..40)
            .map(|at: usize| {
                let (mut sender, body) = (sender.clone(), vec![b'x'; at % 2 * at * 3001]);
                let path = if at % 4 == 2 { "/chunked".to_owned() } else { format!("/p{at}") };
                let request = Request::post(format!("http://a{path}")).body(Full::new(Bytes::from(body.clone())));
                let wanted = [format!("POST {path} ").as_bytes(), &body].concat();
                tokio::spawn(async move {
                    let response = sender.send_request(request.unwrap()).await.unwrap();
                    assert_eq!(response.status(), 200);
                    let whole = response.into_body().collect().await.unwrap();
                    let is_chunked = path == "/chunked";
                    let sum = whole.trailers().and_then(|trailers| trailers.get("x-sum").cloned());
                    assert_eq!(sum.is_some(), is_chunked);
                    assert!(whole.to_bytes() == wanted.repeat(if is_chunked { 100 } else { 1 }), "{path}");
                })
            })
            .collect();
        for asked in asked {
            asked.await.unwrap();
        }
        drop(sender);
        connection.await.unwrap().unwrap();
    });
}

/// Talks to the address in its arguments, over TLS where a file of authorities follows it, and prints what differs from
/// what it wants.
pub(crate) const SCRIPT: &str = r#"
import socket, ssl, sys
import h2.connection, h2.config, h2.events
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
if len(sys.argv) > 3:
    context = ssl.create_default_context(cafile=sys.argv[3])
    context.set_alpn_protocols(["h2", "http/1.1"])
    s = context.wrap_socket(s, server_hostname="localhost")
    assert s.selected_alpn_protocol() == "h2", s.selected_alpn_protocol()
c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
c.initiate_connection()
s.sendall(c.data_to_send())
streams, waiting = {}, {}
def pump(stream):
    data = waiting.get(stream)
    while data:
        room = min(c.local_flow_control_window(stream), c.max_outbound_frame_size, len(data))
        if not room: break
        c.send_data(stream, data[:room])
        data = data[room:]
        if not data: c.end_stream(stream)
    waiting[stream] = data
for n in range(40):
    stream = c.get_next_available_stream_id()
    body = b"x" * (n * 3001) if n % 2 else b""
    method = "POST" if body else "GET"
    path = "/chunked" if n % 4 == 2 else "/p%d" % n
    c.send_headers(stream, [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)], end_stream=not body)
    waiting[stream] = body
    streams[stream] = dict(wanted=("%s %s " % (method, path)).encode() + body, body=b"", done=False, chunked=path == "/chunked")
while not all(stream["done"] for stream in streams.values()):
    for stream in list(waiting):
        if waiting[stream]: pump(stream)
    s.sendall(c.data_to_send())
    data = s.recv(65536)
    assert data, "the gateway left"
    for event in c.receive_data(data):
        if isinstance(event, h2.events.ResponseReceived):
            assert dict(event.headers)[":status"] == "200", event.headers
        elif isinstance(event, h2.events.DataReceived):
            streams[event.stream_id]["body"] += event.data
            c.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            assert dict(event.headers) == {"x-sum": "1"} and streams[event.stream_id]["chunked"]
        elif isinstance(event, h2.events.StreamEnded):
            streams[event.stream_id]["done"] = True
        elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
            sys.exit(repr(event))
for number, stream in streams.items():
    wanted = stream["wanted"] * (100 if stream["chunked"] else 1)
    assert stream["body"] == wanted, (number, len(stream["body"]), len(wanted))
print("all well")
"#;

fn a_client_of_python_is_served(engine: Engine) {
    let (origin, _) = Origin::serve(echo);
    let gateway = Config::new(engine).origin(&origin).start();
    let (host, port) = (gateway.address.ip().to_string(), gateway.address.port().to_string());
    let said = run(Command::new("target/python/bin/python").args(["-c", SCRIPT, &host, &port]));
    assert_eq!(said.trim(), "all well");
}
