//! TLS on both sides: against curl, OpenSSL and Python's `ssl`, and against rustls where many connections are wanted.

pub(crate) mod acme;
pub(crate) mod authority;
mod budget;
mod client_auth;
mod doubles;
mod early;
mod http2;
mod ktls;
mod peers;
mod records;
mod reload;
mod server;
mod stored;
pub(crate) mod upstreams;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};

use crate::observe::hdr_json;
use crate::support::{Config, Engine, PATIENCE};
pub(crate) use authority::{Authority, Issued};

/// A route that says hello to everybody.
const HELLO: &str = "[service.hello]\ntype = \"respond\"\nbody = \"hello\"\n\
                     [[route]]\nname = \"hello\"\npath = \"/{rest...}\"\nservice = \"hello\"\n";

/// A gateway that speaks TLS with this certificate.
pub(crate) fn with(engine: Engine, issued: &Issued) -> Config {
    let (certificate, key) = (issued.certificate.display(), issued.key.display());
    Config::new(engine).listener(&format!("tls.certificate = \"{certificate}\"\ntls.key = \"{key}\""))
}

/// A client that trusts this authority, and knows the sessions it has had.
pub(crate) struct Client {
    pub(crate) config: ClientConfig,
}

pub(crate) type Connection = StreamOwned<ClientConnection, TcpStream>;

impl Client {
    fn of(authority: &Authority, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        Self::of_roots(roots, versions)
    }

    fn of_roots(roots: RootCertStore, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(32);
        Self { config }
    }

    /// One that shows a certificate.
    fn showing(authority: &Authority, issued: &Issued) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        let read = |path: &std::path::Path| std::fs::read(path).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(&read(&issued.certificate)).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&read(&issued.key)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
        config.resumption = Resumption::in_memory_sessions(32);
        Self { config }
    }

    pub(crate) fn trusting(authority: &Authority) -> Self {
        Self::of(authority, rustls::ALL_VERSIONS)
    }

    /// Connects and shakes hands.
    pub(crate) fn connect(&self, address: SocketAddr, name: &'static str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(name).unwrap();
        let connection = ClientConnection::new(Arc::new(self.config.clone()), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
}

/// Asks for a path; the head and the body of the answer, which must have its length.
fn get(stream: &mut (impl Read + Write), path: &str) -> io::Result<(String, Vec<u8>)> {
    get_from(stream, "localhost", path)
}

/// The same of a host.
pub(crate) fn get_from(stream: &mut (impl Read + Write), host: &str, path: &str) -> io::Result<(String, Vec<u8>)> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
    answer(stream)
}

fn answer(stream: &mut impl Read) -> io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((head, body))
}

/// What a command says on both of its outputs, and whether it ends well.
fn run(command: &mut Command) -> (String, bool) {
    let out = command.stdin(Stdio::null()).output().expect("the command is there");
    let said = [out.stdout, out.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), out.status.success())
}

/// `curl` that trusts this authority, for a URL of the gateway by this name.
fn curl(authority: &Authority, address: SocketAddr, name: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]).arg(&authority.file);
    command.arg("--resolve").arg(format!("{name}:{}:{}", address.port(), address.ip()));
    command.arg(format!("https://{name}:{}/", address.port()));
    command
}

/// `openssl s_client` that only shakes hands.
fn s_client(address: SocketAddr, words: &[&str]) -> (String, bool) {
    run(Command::new("openssl").args(["s_client", "-connect", &address.to_string()]).args(words))
}

/// The sum of a counter, over all cores, of the series that have these labels.
pub(crate) fn total(dir: &std::path::Path, name: &str, labels: &[(&str, &str)]) -> u64 {
    let found = hdr_json(dir);
    let counters = found["counters"].as_array().expect("counters").iter();
    let is_it = |counter: &&serde_json::Value| {
        counter["name"] == name && labels.iter().all(|(label, value)| counter["labels"][label] == *value)
    };
    counters.filter(is_it).filter_map(|counter| counter["value"].as_u64()).sum()
}
