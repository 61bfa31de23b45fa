//! Unix sockets, and PROXY headers in and out.

mod headers_in;
mod headers_out;
mod unix;
mod unix_changes;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use std::{fs, thread};

use ringway_proto::proxy_protocol::{Extras, Said, encode_v2};

use crate::support::{Child, Origin, PATIENCE};

/// Answers with what it is told of the client: its address and its scheme.
fn told() -> Origin {
    let (origin, _) = Origin::serve(|request, upstream| {
        let of = |name| request.head.get(name).unwrap_or("-").to_owned();
        let body = format!("{} {}", of("x-forwarded-for"), of("x-forwarded-proto"));
        upstream.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    });
    origin
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A binary header of a client at this address, who connected to 192.0.2.1:80.
fn binary(client: &str, extras: &Extras<'_>) -> Vec<u8> {
    let mut header = Vec::new();
    let said = Said::Inet { source: address(client), destination: address("192.0.2.1:80") };
    encode_v2(&said, extras, &mut header);
    header
}

/// Connects to a Unix socket; a name that begins with `@` is of the abstract namespace.
fn connect(socket: &str) -> std::io::Result<UnixStream> {
    use std::os::linux::net::SocketAddrExt;
    let stream = match socket.strip_prefix('@') {
        Some(name) => {
            UnixStream::connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a name"))
        }
        None => UnixStream::connect(socket),
    }?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    Ok(stream)
}

/// The body of the answer to one request over a stream that then ends; `before` goes out first.
fn ask(mut stream: UnixStream, before: &[u8]) -> String {
    let request = b"GET /a HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(&[before, request].concat()).expect("the gateway takes the bytes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
}

/// What curl prints.
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).output();
    let output = output.expect("curl: tools/setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// nginx with these servers, once `is_there` says that it is.
fn nginx(dir: &Path, servers: &str, is_there: impl Fn() -> bool) -> Child {
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/bin/nginx"].map(PathBuf::from);
    let program = program.iter().find(|path| path.exists()).expect("nginx is installed: tools/setup");
    let at = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .concat();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {at}/pid;\nerror_log {at}/errors;\n\
         events {{ }}\nhttp {{\naccess_log off;\n{temporary}{servers}\n}}\n"
    );
    fs::write(dir.join("nginx.conf"), config).expect("the config is written");
    let child = Child::start(
        Command::new(program)
            .args(["-e".as_ref(), dir.join("errors").as_os_str()])
            .args(["-p".as_ref(), dir.as_os_str(), "-c".as_ref(), dir.join("nginx.conf").as_os_str()])
            .stdout(Stdio::null()),
    );
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < PATIENCE, "nginx does not listen");
        thread::yield_now();
    }
    child
}
