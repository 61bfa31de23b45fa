//! Stand-ins for an authority, where Pebble cannot do what one may: one that had too many, and one in front of Pebble that
//! says when it wants certificates renewed (RFC 9773).

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::Authority;

struct Request {
    /// With its line end, as the fields.
    line: String,
    fields: String,
    body: Vec<u8>,
}

impl Request {
    fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// A server `localhost` that answers each connection's one request: with status line, fields and body.
fn serve(
    authority: &Authority,
    answer: impl Fn(u16, &Request) -> io::Result<(String, String, Vec<u8>)> + Send + 'static,
) -> SocketAddr {
    let pem = |path: &Path| fs::read(path).unwrap();
    let issued = authority.issue("double", &["localhost"]);
    let chain = vec![CertificateDer::from_pem_slice(&pem(&issued.certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(&pem(&issued.key)).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            // A client that leaves is no matter.
            let _ = read(&mut stream).and_then(|request| {
                let (status, fields, body) = answer(address.port(), &request)?;
                let length = body.len();
                write!(stream, "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
                stream.write_all(&body)?;
                stream.conn.send_close_notify();
                stream.flush()
            });
        }
    });
    address
}

fn read(stream: &mut impl Read) -> io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let (line, fields) = head(&mut reader)?;
    let length = fields
        .iter()
        .find_map(|field| Some(field.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().unwrap()));
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Request { line, fields: fields.concat(), body })
}

/// The first line of a head, and its fields, with their line ends.
fn head(reader: &mut impl BufRead) -> io::Result<(String, Vec<String>)> {
    let (mut line, mut fields) = (String::new(), Vec::new());
    reader.read_line(&mut line)?;
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        if field.trim().is_empty() {
            return Ok((line, fields));
        }
        fields.push(field);
    }
}

/// Answers each request as an authority does that has had too many. Returns its address.
pub(super) fn busy(authority: &Authority) -> SocketAddr {
    serve(authority, |port, request| {
        let url = |path: &str| format!("https://localhost:{port}/{path}");
        Ok(match request.path() {
            "/dir" => {
                let directory = json!({
                    "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"),
                    "revokeCert": url("revoke"), "keyChange": url("key"),
                });
                ("200 OK".to_owned(), String::new(), directory.to_string().into())
            }
            "/nonce" => ("200 OK".to_owned(), "Replay-Nonce: abc\r\n".to_owned(), Vec::new()),
            _ => {
                let problem = json!({
                    "type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many accounts", "status": 429,
                });
                let fields = "Replay-Nonce: def\r\nRetry-After: 3600\r\nContent-Type: application/problem+json\r\n";
                ("429 Too Many Requests".to_owned(), fields.to_owned(), problem.to_string().into())
            }
        })
    })
}

/// What an authority heard that says when it wants certificates renewed.
#[derive(Default)]
pub(super) struct Heard {
    /// The certificates that it was asked about, each once.
    pub(super) asked: Vec<String>,
    /// What each order is to replace.
    pub(super) replaces: Vec<Option<String>>,
}

/// In front of the authority at this port: it says when certificates are to be renewed, in seconds from now, the first one
/// from the first of these windows on, and so on. It refuses the first order that replaces something.
pub(super) fn advising(
    authority: &Authority,
    behind: u16,
    windows: &'static [(i64, i64)],
) -> (SocketAddr, Arc<Mutex<Heard>>) {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let hears = heard.clone();
    let address = serve(authority, move |port, request| {
        let mut heard = hears.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = request.path().strip_prefix("/renewal/") {
            let known = heard.asked.iter().position(|known| known == asked);
            let at = known.unwrap_or(heard.asked.len());
            if known.is_none() {
                heard.asked.push(asked.to_owned());
            }
            let (start, end) = windows[at.min(windows.len() - 1)];
            let info = json!({
                "suggestedWindow": { "start": date(start), "end": date(end) }, "explanationURL": "https://localhost/why",
            });
            return Ok(("200 OK".to_owned(), "Retry-After: 21600\r\n".to_owned(), info.to_string().into()));
        }
        let replaces = is_order(request).then(|| replaces(&request.body));
        if let Some(replaces) = &replaces {
            heard.replaces.push(replaces.clone());
            if replaces.is_some() && heard.replaces.iter().flatten().count() == 1 {
                let problem = json!({ "type": "urn:ietf:params:acme:error:alreadyReplaced", "status": 409 });
                let (_, fields, _) = ask(behind, &config, request)?;
                let nonce = fields.lines().find(|field| field.to_ascii_lowercase().starts_with("replay-nonce:"));
                let fields = format!("{}\r\nContent-Type: application/problem+json\r\n", nonce.unwrap_or_default());
                return Ok(("409 Conflict".to_owned(), fields, problem.to_string().into()));
            }
        }
        let (status, fields, body) = ask(behind, &config, request)?;
        let more = match (request.path(), replaces) {
            ("/dir", _) => ("renewalInfo", json!(format!("https://localhost:{port}/renewal"))),
            (_, Some(Some(replaces))) => ("replaces", json!(replaces)),
            _ => return Ok((status, fields, body)),
        };
        let mut value: Value = serde_json::from_slice(&body)?;
        value[more.0] = more.1;
        Ok((status, fields, value.to_string().into()))
    });
    (address, heard)
}

/// Whether this is an order to Pebble.
fn is_order(request: &Request) -> bool {
    request.path() == "/order-plz"
}

/// What an order is to replace.
fn replaces(body: &[u8]) -> Option<String> {
    let signed: Value = serde_json::from_slice(body).ok()?;
    let payload = BASE64_URL_SAFE_NO_PAD.decode(signed["payload"].as_str()?).ok()?;
    let order: Value = serde_json::from_slice(&payload).ok()?;
    order["replaces"].as_str().map(str::to_owned)
}

/// Asks who is behind, which answers without chunks.
fn ask(behind: u16, config: &Arc<ClientConfig>, request: &Request) -> io::Result<(String, String, Vec<u8>)> {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(config.clone(), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", behind))?);
    write!(stream, "{}{}\r\n", request.line.replace("HTTP/1.1", "HTTP/1.0"), request.fields)?;
    stream.write_all(&request.body)?;
    let mut reader = BufReader::new(stream);
    let (line, mut fields) = head(&mut reader)?;
    fields.retain(|field| {
        let field = field.to_ascii_lowercase();
        !["content-length:", "connection:"].iter().any(|name| field.starts_with(name))
    });
    let mut body = Vec::new();
    reader.read_to_end(&mut body)?;
    let status = line.trim_end().split_once(' ').map(|(_, status)| status.to_owned());
    Ok((status.unwrap_or_default(), fields.concat(), body))
}

/// So many seconds from now.
pub(super) fn from_now(seconds: i64) -> i64 {
    UNIX_EPOCH.elapsed().unwrap().as_secs() as i64 + seconds
}

/// The same as RFC 3339 has it.
fn date(seconds: i64) -> String {
    let at = format!("@{}", from_now(seconds));
    let said = Command::new("date").args(["-u", "-d", &at, "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}
