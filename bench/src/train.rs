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
use crate::gateway::GatewayArgs;
use crate::load::{self, Plan};
use crate::net;
use crate::origin::{Options as OriginOptions, Origin};
use crate::url::Url;

#[derive(Args)]
pub(crate) struct TrainArgs {
    /// Length of each kind of traffic
    #[arg(long, default_value = "3s", value_parser = parse_duration)]
    each: Duration,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// One kind of traffic.
struct Kind {
    name: &'static str,
    path: &'static str,
    method: &'static str,
    /// Body bytes of a request.
    sends: u64,
    pipeline: usize,
    close: bool,
    status: u16,
}

impl Kind {
    const fn get(name: &'static str, path: &'static str) -> Self {
        Self { name, path, method: "GET", sends: 0, pipeline: 1, close: false, status: 200 }
    }
}

/// Small exchanges are most of what gateways do, and where their own share is largest.
const KINDS: [Kind; 9] = [
    Kind::get("a few fields", "/items/1729/reviews?page=2&sort=new"),
    Kind::get("edited fields", "/edited/bytes/900"),
    Kind::get("10 KB", "/bytes/10240"),
    Kind::get("1 MB", "/bytes/1048576"),
    Kind { method: "POST", sends: 2048, ..Kind::get("an upload", "/orders") },
    Kind { method: "HEAD", ..Kind::get("no body", "/items/1729") },
    Kind { close: true, ..Kind::get("a connection each", "/items/7") },
    Kind { pipeline: 8, ..Kind::get("pipelined", "/items/8") },
    Kind { status: 404, ..Kind::get("no route", "/nowhere") },
];

/// Fields of an ordinary client.
const FIELDS: [&str; 5] = [
    "User-Agent: okhttp/4.12.0",
    "Accept: application/json, text/plain, */*",
    "Accept-Encoding: gzip, br",
    "Authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxNzI5In0.c2lnbmF0dXJl",
    "X-Request-Id: 7b6f0c1e-2c46-4b0e-8f35-0d2f5f8f9a10",
];

fn config(cores: &str, listen: SocketAddr, origin: SocketAddr, scratch: &Scratch) -> String {
    let metrics = scratch.path().join("metrics");
    format!(
        r#"{cores}metrics_dir = "{metrics}"

[listener.web]
address = "{listen}"

[upstream.origin]
endpoints = ["{origin}"]
pool = {{ max_idle = 1024, max_connections = 4096 }}
retry = {{}}

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
"#,
        metrics = metrics.display()
    )
}

pub(crate) fn run(args: &TrainArgs, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    net::raise_descriptor_limit();
    net::pin(args.gateway.load_core)?;
    let mut origin = Origin::new(&OriginOptions::plain(200))?;
    let (listen, scratch) = (process::free_address()?, Scratch::named("ringway-bench-train")?);
    let text = config(&args.gateway.cores(), listen, origin.address()?, &scratch);
    // Its end, when this goes, is an orderly one: that is when it writes what it counted.
    let _running = args.gateway.start(&text, listen, &scratch)?;
    for kind in &KINDS {
        let url: Url = format!("http://{listen}{}", kind.path).parse().map_err(Error::Input)?;
        let fields: Vec<String> = FIELDS.iter().map(|&field| field.to_owned()).collect();
        let plan = Plan {
            target: listen,
            request: url.request(kind.method, &fields, kind.close, kind.sends).map_err(Error::Input)?,
            head_request: kind.method == "HEAD",
            connections: 32,
            pipeline: kind.pipeline,
            close: kind.close,
            rate: None,
            warm_up: Duration::from_millis(50),
            duration: args.each,
            timeout: Duration::from_secs(10),
            grace: Duration::from_secs(2),
            status: kind.status,
            body: None,
            blocking: false,
        };
        let outcome = load::run(&plan, Some(&mut origin), &mut |_, _| {}, stop)?;
        println!("{:<20} {:>9} answers", kind.name, outcome.completed);
        if outcome.failed() > 0 || outcome.completed == 0 {
            return Err(Error::Failed(format!("{}: {} requests failed", kind.name, outcome.failed())));
        }
    }
    Ok(())
}
