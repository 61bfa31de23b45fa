//! A sample origin: it answers every request with what it was sent. For demonstrations, not for load.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Bytes of a head and of a body it reads at most.
const HEAD_MAX: u64 = 64 * 1024;
const BODY_MAX: u64 = 1024 * 1024;

/// Starts an origin on a free loopback port. It ends with the process.
pub(super) fn start(name: &'static str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::Builder::new().name(format!("demo-origin-{name}")).spawn(move || {
        for stream in listener.incoming().flatten() {
            // A thread that cannot start costs one connection of a demonstration.
            let _ = thread::Builder::new().spawn(move || serve(name, stream));
        }
    })?;
    Ok(address)
}

fn serve(name: &str, stream: TcpStream) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some((head, length)) = read_head(&mut reader)? {
        io::copy(&mut (&mut reader).take(length.min(BODY_MAX)), &mut io::sink())?;
        let body = format!("origin {name} was sent:\n\n{head}");
        write!(
            writer,
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nserver: demo-origin-{name}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        if !head.starts_with("HEAD ") {
            writer.write_all(body.as_bytes())?;
        }
    }
    Ok(())
}

/// The next head and the length of its body; nothing at the end of the connection.
fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<(String, u64)>> {
    let mut limited = reader.take(HEAD_MAX);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if limited.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        let line = head.get(start..).unwrap_or_default().trim_end();
        if line.is_empty() {
            return Ok(Some((head, length)));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
}
