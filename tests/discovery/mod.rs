//! Endpoints that are found while the gateway runs.

mod dns;
mod files;
mod learned;
mod load;
mod registered;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Config, Engine, Gateway, Origin, PATIENCE};

/// A gateway with an admin API and one upstream that looks for its endpoints.
struct Place {
    dir: TempDir,
    engine: Engine,
}

impl Place {
    fn new(engine: Engine) -> Self {
        Self { dir: tempfile::tempdir().expect("a directory"), engine }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `[upstream.origin]` with these keys, and one route for every path.
    fn config(&self, upstream: &str) -> Config {
        self.config_with(upstream, "", "")
    }

    fn config_with(&self, upstream: &str, admin: &str, control: &str) -> Config {
        Config::new(self.engine).more(&format!(
            "[admin]\nsocket = \"{}\"\n{admin}\n[control]\ndiscovery_rest = \"20ms\"\n{control}\n\
             [upstream.origin]\n{upstream}\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origin\"\n",
            self.path("admin.sock").display()
        ))
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, Some(body))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let stream = UnixStream::connect(self.path("admin.sock")).expect("the admin socket answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        exchange(stream, method, path, body, "")
    }

    /// How the source of the upstream is.
    fn source(&self) -> Value {
        self.get("/v1/discovery")["sources"][0].clone()
    }

    /// The endpoints in use: name, weight and priority.
    fn endpoints(&self) -> Vec<(String, u64, u64)> {
        let upstreams = self.get("/v1/upstreams");
        let endpoints = upstreams["upstreams"][0]["endpoints"].as_array().expect("endpoints").clone();
        let endpoint = |endpoint: &Value| {
            let number = |name: &str| endpoint[name].as_u64().expect("a number");
            (endpoint["name"].as_str().expect("a name").to_owned(), number("weight"), number("priority"))
        };
        endpoints.iter().map(endpoint).collect()
    }

    fn names(&self) -> Vec<String> {
        self.endpoints().into_iter().map(|(name, ..)| name).collect()
    }

    fn register(&self, endpoint: &Value) -> (u16, Value) {
        self.post("/v1/endpoints/register", endpoint)
    }
}

/// Sends a request and reads until the end.
fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    body: Option<&Value>,
    fields: &str,
) -> (u16, Value) {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("the request goes out");
    let mut text = String::new();
    // A reset behind the answer is no matter.
    let _ = stream.read_to_string(&mut text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer but {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// An origin that answers each request with its own address.
fn named_origin() -> Origin {
    let (send, address) = std::sync::mpsc::channel::<SocketAddr>();
    let address = std::sync::Mutex::new(address);
    let known = std::sync::OnceLock::new();
    let (origin, _) = Origin::serve(move |_, connection| {
        let own = known.get_or_init(|| address.lock().expect("no panic").recv().expect("its address"));
        let own = own.to_string();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{own}", own.len());
        connection.try_send(answer.as_bytes())
    });
    send.send(origin.address).expect("it is wanted");
    origin
}

/// What the gateway answers: a status, and who answered or why nobody did.
fn answer(gateway: &Gateway) -> (u16, String) {
    let answer = gateway.connect().get("/");
    match answer.status() {
        200 => (200, answer.text().to_owned()),
        status => (status, answer.code().clone()),
    }
}

fn endpoint(address: SocketAddr) -> Value {
    json!({ "upstream": "origin", "address": address.to_string() })
}
