//! Peers that were written by others: nginx as the origin, Python's client as the client.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::{Child, Config, Engine, Origin, PATIENCE, Transfer, on_both_engines};

on_both_engines!(nginx_is_served_from, a_client_of_python_is_served);

/// nginx in the foreground as one process, with its files in `dir`.
fn start_nginx(dir: &Path) -> (Child, SocketAddr) {
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/bin/nginx"].map(PathBuf::from);
    let program = program.iter().find(|path| path.exists()).expect("nginx is installed: tools/setup --peers");
    let address = Origin::elsewhere();
    let at = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/errors;\n\
         events {{ }}\nhttp {{\naccess_log off;\n{temporary}root {at}/files;\n\
         server {{ listen {address}; location /echo {{ return 200 \"$request_method $http_x_forwarded_for\"; }} }}\n}}\n"
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    fs::create_dir(dir.join("files")).unwrap();
    let child = Child::start(
        Command::new(program)
            .args(["-e".as_ref(), dir.join("errors").as_os_str()])
            .args(["-p".as_ref(), dir.as_os_str(), "-c".as_ref(), dir.join("nginx.conf").as_os_str()])
            .stdout(Stdio::null()),
    );
    let start = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < PATIENCE, "nginx does not listen");
        std::thread::yield_now();
    }
    (child, address)
}

fn nginx_is_served_from(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let (_nginx, address) = start_nginx(dir.path());
    let file: Vec<u8> = (0..3_000_000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
    fs::write(dir.path().join("files/large"), &file).unwrap();
    let gateway = Config::new(engine).endpoint(address).start();
    let mut client = gateway.connect();
    for _ in 0..3 {
        let echo = client.get("/echo");
        assert_eq!((echo.status(), echo.text()), (200, "GET 127.0.0.1"));
        let whole = client.get("/large");
        assert_eq!((whole.status(), whole.transfer), (200, Transfer::Length));
        assert!(whole.body == file, "the file came through changed");
        client.send("GET /large HTTP/1.1\r\nHost: a\r\nRange: bytes=10-19\r\n\r\n");
        let part = client.response();
        assert_eq!((part.status(), &*part.body), (206, &file[10..20]));
        assert_eq!(part.head.get("content-range"), Some("bytes 10-19/3000000"));
        client.send("HEAD /large HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.head().get("content-length"), Some("3000000"));
        let etag = whole.head.get("etag").unwrap();
        client.send(format!("GET /large HTTP/1.1\r\nHost: a\r\nIf-None-Match: {etag}\r\n\r\n"));
        assert_eq!(client.response().status(), 304);
        assert_eq!(client.get("/absent").status(), 404);
        assert_eq!(client.get("/large").body.len(), file.len());
    }
}

/// Talks to the address in its arguments, and prints what differs from what it wants.
const SCRIPT: &str = r#"
import http.client, sys
c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20)
def ask(method, path, wanted, **rest):
    c.request(method, path, **rest)
    answer = c.getresponse()
    body = answer.read()
    assert (answer.status, body) == wanted, (method, path, answer.status, body[:100])
    return answer
ask("GET", "/a", (200, b"GET /a "))
assert c.sock, "the connection was not kept"
ask("POST", "/b", (200, b"POST /b hello"), body=b"hello")
ask("POST", "/c", (200, b"POST /c onetwo"), body=iter([b"one", b"two"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
answer = ask("GET", "/chunked", (200, b"GET /chunked " * 1000))
assert answer.getheader("Transfer-Encoding") == "chunked"
ask("HEAD", "/d", (200, b""))
ask("PUT", "/e", (200, b"PUT /e " + b"x" * 1000000), body=b"x" * 1000000)
assert c.sock, "the connection was not kept"
print("all well")
"#;

fn a_client_of_python_is_served(engine: Engine) {
    let (origin, _) = Origin::serve(|request, upstream| {
        let line = request.head.line.trim_end_matches(" HTTP/1.1");
        let answer = [line.as_bytes(), b" ", &request.body].concat();
        if line.contains("/chunked") {
            upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..1000 {
                upstream.send(format!("{:x}\r\n", answer.len())).send(&answer).send("\r\n");
            }
            upstream.send("0\r\n\r\n");
        } else {
            upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len()));
            if !line.starts_with("HEAD") {
                upstream.send(answer);
            }
        }
        true
    });
    let gateway = Config::new(engine).origin(&origin).start();
    let (host, port) = (gateway.address.ip().to_string(), gateway.address.port().to_string());
    let client = Command::new("python3").args(["-c", SCRIPT, &host, &port]).output().expect("python3: tools/setup");
    let (out, errors) = (String::from_utf8_lossy(&client.stdout), String::from_utf8_lossy(&client.stderr));
    assert_eq!((out.trim(), client.status.code()), ("all well", Some(0)), "{errors}");
}
