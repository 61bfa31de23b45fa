//! What a build is trained with: traffic of the kinds gateways see, in the shares that a profile should weigh them by.
//!
//! `tools/release` runs a gateway that counts its own branches under this, and compiles it anew for the paths that were
//! taken. No kind is the one that `compare` measures: fields, paths and bodies differ, so that what is gained there is
//! gained by others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use crate::cli::{Error, parse_duration};
use crate::compare::process::{self, Scratch};
use crate::compare::traffic::{self, CERTIFICATE, HOST, KEY};
use crate::gateway::GatewayArgs;
use crate::load::tls::{Tls, Version};
use crate::load::{self, Plan};
use crate::multiplex::grpc_message;
use crate::net;
use crate::origin::{Options as OriginOptions, Origin};
use crate::url::Url;
use crate::websocket::World;

#[derive(Args)]
pub(crate) struct TrainArgs {
    /// Length of each kind of traffic
    #[arg(long, default_value = "3s", value_parser = parse_duration)]
    each: Duration,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// What clients speak above TLS or TCP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Http1,
    Http2,
    Grpc,
}

/// One kind of traffic.
struct Kind {
    name: &'static str,
    path: &'static str,
    method: &'static str,
    /// Body bytes of a request.
    sends: u64,
    speaks: Speaks,
    tls: Option<Version>,
    pipeline: usize,
    close: bool,
    status: u16,
}

impl Kind {
    const fn get(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            path,
            method: "GET",
            sends: 0,
            speaks: Speaks::Http1,
            tls: None,
            pipeline: 1,
            close: false,
            status: 200,
        }
    }

    const fn http2(name: &'static str, path: &'static str) -> Self {
        Self { speaks: Speaks::Http2, pipeline: 16, ..Self::get(name, path) }
    }

    /// What the load generator does for it.
    fn plan(&self, web: SocketAddr, secure: SocketAddr, duration: Duration) -> Result<Plan, String> {
        let (scheme, target) = if self.tls.is_some() { ("https", secure) } else { ("http", web) };
        let url: Url = format!("{scheme}://{target}{}", self.path).parse()?;
        let fields: Vec<String> = FIELDS.iter().map(|&field| field.to_owned()).collect();
        let mut plan = Plan {
            head_request: self.method == "HEAD",
            connections: if self.speaks == Speaks::Http1 { 32 } else { 8 },
            pipeline: self.pipeline,
            close: self.close,
            warm_up: Duration::from_millis(50),
            duration,
            status: self.status,
            ..Plan::get(target)
        };
        match self.speaks {
            Speaks::Http1 => plan.request = url.request(self.method, &fields, self.close, self.sends)?,
            Speaks::Http2 => {
                let body = vec![b'x'; self.sends as usize];
                plan.http2 = Some(url.http2_request(self.method, &fields, body)?);
            }
            Speaks::Grpc => {
                plan.http2 = Some(url.http2_request("POST", &fields, grpc_message(self.sends))?.of_grpc());
            }
        }
        // Where each request has a connection, sessions go on: that is what clients that come back do.
        plan.tls =
            self.tls.map(|version| Tls::new(HOST, version, self.close, self.speaks != Speaks::Http1)).transpose()?;
        Ok(plan)
    }
}

/// Small exchanges are most of what gateways do, and where their own share is largest.
const KINDS: [Kind; 19] = [
    Kind::get("a few fields", "/items/1729/reviews?page=2&sort=new"),
    Kind::get("edited fields", "/edited/bytes/900"),
    Kind::get("10 KB", "/bytes/10240"),
    Kind::get("1 MB", "/bytes/1048576"),
    Kind { method: "POST", sends: 2048, ..Kind::get("an upload", "/orders") },
    Kind { method: "HEAD", ..Kind::get("no body", "/items/1729") },
    Kind { close: true, ..Kind::get("a connection each", "/items/7") },
    Kind { pipeline: 8, ..Kind::get("pipelined", "/items/8") },
    Kind { status: 404, ..Kind::get("no route", "/nowhere") },
    Kind { tls: Some(Version::V1_3), ..Kind::get("TLS 1.3", "/items/1729/reviews?page=2&sort=new") },
    Kind { tls: Some(Version::V1_3), ..Kind::get("TLS 1.3, 10 KB", "/bytes/10240") },
    Kind { tls: Some(Version::V1_2), ..Kind::get("TLS 1.2", "/items/1729") },
    Kind { tls: Some(Version::V1_3), close: true, ..Kind::get("handshakes", "/items/7") },
    Kind { tls: Some(Version::V1_2), close: true, ..Kind::get("handshakes, TLS 1.2", "/items/8") },
    Kind::http2("HTTP/2", "/items/1729/reviews?page=2&sort=new"),
    Kind { method: "POST", sends: 2048, ..Kind::http2("HTTP/2, an upload", "/orders") },
    Kind { tls: Some(Version::V1_3), ..Kind::http2("HTTP/2 over TLS", "/items/1729") },
    Kind { tls: Some(Version::V1_3), ..Kind::http2("HTTP/2 over TLS, 10 KB", "/bytes/10240") },
    Kind { speaks: Speaks::Grpc, sends: 120, ..Kind::http2("gRPC", "/bench.Echo/Say") },
];

/// Connections that a WebSocket message is under way on, and its bytes.
const WEBSOCKETS: (usize, usize) = (32, 300);

/// Fields of an ordinary client.
const FIELDS: [&str; 5] = [
    "User-Agent: okhttp/4.12.0",
    "Accept: application/json, text/plain, */*",
    "Accept-Encoding: gzip, br",
    "Authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxNzI5In0.c2lnbmF0dXJl",
    "X-Request-Id: 7b6f0c1e-2c46-4b0e-8f35-0d2f5f8f9a10",
];

fn config(cores: &str, [web, secure]: [SocketAddr; 2], [origin, echoes]: [SocketAddr; 2], scratch: &Scratch) -> String {
    let [metrics, certificate, key] = ["metrics", CERTIFICATE, KEY].map(|name| scratch.path().join(name));
    let [metrics, certificate, key] = [metrics.display(), certificate.display(), key.display()];
    format!(
        r#"{cores}metrics_dir = "{metrics}"

[limits]
# All clients are at one address.
handshakes_per_source = "off"

[listener.web]
address = "{web}"

[listener.secure]
address = "{secure}"
tls = {{ certificate = "{certificate}", key = "{key}" }}

[upstream.origin]
endpoints = ["{origin}"]
pool = {{ max_idle = 1024, max_connections = 4096 }}
retry = {{}}

[upstream.calls]
endpoints = ["{origin}"]
protocol = "h2"

[upstream.echoes]
endpoints = ["{echoes}"]

[policy.marked]
type = "headers"
request = {{ set = {{ "X-Gateway" = "ringway" }}, remove = ["X-Request-Id"] }}
response = {{ set = {{ "X-Content-Type-Options" = "nosniff" }}, remove = ["Server"] }}

[[route]]
name = "items"
path = "/items/{{id}}/{{rest...}}"
upstream = "origin"

[[route]]
name = "item"
path = "/items/{{id}}"
upstream = "origin"

[[route]]
name = "orders"
path = "/orders"
methods = ["POST"]
upstream = "origin"

[[route]]
name = "bytes"
path = "/bytes/{{count}}"
upstream = "origin"

[[route]]
name = "edited"
path = "/edited/{{rest...}}"
policies = ["marked", {{ type = "rewrite", strip_prefix = "/edited" }}]
upstream = "origin"

[[route]]
name = "echoes"
path = "/"
upstream = "echoes"

[[route]]
name = "calls"
path = "/bench.Echo/{{method}}"
upstream = "calls"
"#
    )
}

pub(crate) fn run(args: &TrainArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    net::raise_descriptor_limit();
    net::pin(args.gateway.load_core)?;
    let mut origin = Origin::new(&OriginOptions::plain(200))?;
    let scratch = Scratch::named("ringway-bench-train")?;
    traffic::write_certificate(scratch.path())?;
    let [web, secure] = [process::free_address()?, process::free_address()?];
    let mut sockets = World::new(WEBSOCKETS.1)?;
    let text = config(&args.gateway.cores(), [web, secure], [origin.address()?, sockets.origin()?], &scratch);
    let mut running = args.gateway.start(&text, web, &scratch)?;
    for kind in &KINDS {
        let plan = kind.plan(web, secure, args.each).map_err(Error::Input)?;
        let outcome = load::run(&plan, Some(&mut origin), &mut |_, _| {}, stop)?;
        println!("{:<24} {:>9} answers", kind.name, outcome.completed);
        if outcome.failed() > 0 || outcome.completed == 0 {
            return Err(Error::Failed(format!("{}: {} requests failed", kind.name, outcome.failed())));
        }
    }
    let echoes = sockets.echo(WEBSOCKETS.0, web, args.each)?;
    println!("{:<24} {echoes:>9} echoes", "WebSocket");
    if echoes == 0 {
        return Err(Error::Failed("WebSocket: no message came back".to_owned()));
    }
    // It writes what it counted at an orderly end, and would wait for connections that nobody turns any more.
    drop(sockets);
    if running.end() { Ok(()) } else { Err(Error::Failed("the gateway did not end when it was told to".to_owned())) }
}
