//! `ringway admin`: looks at a running gateway and changes what it runs, over its admin socket.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Exit;
use crate::control::admin::client;

#[derive(clap::Args, Debug)]
#[command(disable_help_subcommand = true)]
pub(super) struct Args {
    /// The admin socket of the gateway
    #[arg(long, value_name = "PATH", default_value = "/run/ringway/admin.sock", global = true)]
    socket: PathBuf,
    /// Print the gateway's own JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Tell what runs: the plan, the cores, the upstreams; exit 3 where the gateway is not ready
    Status,
    /// List the plans that can be run again
    Plans,
    /// Read the config again and run it
    Reload {
        /// Go back to the plan before unless it is confirmed within this time, such as 60s
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        confirm: Option<u64>,
    },
    /// Keep what a reload with --confirm began to run
    Confirm,
    /// Run a plan of before again
    Rollback {
        /// Which one; the one before the running one without it
        epoch: Option<u64>,
    },
    /// Tell how much the log says, or change it until the next plan
    Log {
        /// What matters less is not written
        #[arg(value_parser = ["error", "warn", "info", "debug"])]
        level: Option<String>,
    },
    /// Start the program anew, for it to take over without a request refused; exit 1 where it did not
    Upgrade,
    /// Send no new requests to an endpoint; without one, finish the requests under way and end the gateway
    #[command(override_usage = "ringway admin drain [UPSTREAM ENDPOINT]")]
    Drain {
        /// The upstream's name
        #[arg(requires = "endpoint")]
        upstream: Option<String>,
        /// The endpoint, as the config writes it
        endpoint: Option<String>,
    },
    /// Open a breaker until it is closed by hand, or close it
    Breaker {
        /// What to do
        #[arg(value_enum)]
        what: Hold,
        /// The upstream's name
        upstream: String,
        /// The endpoint, as the config writes it; the breaker of the upstream itself without one
        endpoint: Option<String>,
    },
    /// Tell where endpoints come from and how that goes
    Discovery {
        #[command(subcommand)]
        what: Option<OfDiscovery>,
    },
    /// Say that an endpoint is there, as it would itself
    Register {
        /// The upstream's name
        upstream: String,
        /// An IP address and a port
        address: String,
        /// How many requests it gets beside others
        #[arg(long)]
        weight: Option<u32>,
        /// Which group it is in
        #[arg(long)]
        priority: Option<u32>,
        /// Where it is
        #[arg(long)]
        zone: Option<String>,
        /// What else is known of it; may be repeated
        #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
        metadata: Vec<(String, String)>,
    },
    /// Say that a registered endpoint goes
    Deregister {
        /// The upstream's name
        upstream: String,
        /// Its address
        address: String,
    },
    /// Tell which certificates are kept or shown, and how it goes with those that authorities issue
    Certificates {
        #[command(subcommand)]
        what: Option<OfCertificates>,
    },
    /// Send requests to an endpoint again
    Undrain {
        /// The upstream's name
        upstream: String,
        /// The endpoint, as the config writes it
        endpoint: String,
    },
}

/// What is to be done about endpoints that are found.
#[derive(Subcommand, Debug)]
enum OfDiscovery {
    /// Take the newest set of an upstream, whatever it lacks
    Accept {
        /// The upstream's name
        upstream: String,
    },
    /// Ask for the endpoints of an upstream now
    Refresh {
        /// The upstream's name; every one without it
        upstream: Option<String>,
    },
}

/// What is to be done about certificates that are kept.
#[derive(Subcommand, Debug)]
enum OfCertificates {
    /// Keep a certificate, instead of the one that has its name, and show it at once
    Put {
        /// What it is called
        name: String,
        /// The file of the certificate and those that lead from it to its authority, in PEM
        certificate: PathBuf,
        /// The file of its private key, in PEM
        key: PathBuf,
    },
    /// Keep a certificate no more
    Delete {
        /// What it is called
        name: String,
    },
    /// Have the authority issue a certificate now
    Renew {
        /// What it is called
        name: String,
    },
}

/// What becomes of a breaker.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Hold {
    /// Nothing goes through
    Open,
    /// Requests go through
    Close,
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is wanted, such as version=2")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What an endpoint that registers says of itself.
fn registers(what: &Action) -> Option<Value> {
    let Action::Register { upstream, address, weight, priority, zone, metadata } = what else { return None };
    let mut body = json!({ "upstream": upstream, "address": address });
    for (name, value) in [("weight", json!(weight)), ("priority", json!(priority)), ("zone", json!(zone))] {
        if !value.is_null() {
            body[name] = value;
        }
    }
    for (name, value) in metadata {
        body["metadata"][name] = json!(value);
    }
    Some(body)
}

/// A time in whole seconds: a number with `s`, `m` or `h`.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "a time from 1s to 24h is wanted, such as 60s or 5m".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<u32>().ok().map(|number| u64::from(number) * unit);
    seconds.filter(|seconds| (1..=86_400).contains(seconds)).ok_or_else(wrong)
}

/// Exit 1 where the gateway refuses, 3 where it does not answer.
pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let (path, body) = match &args.action {
        Action::Status => return status(args, out, err),
        Action::Plans => ("/v1/plans", None),
        Action::Reload { confirm: None } => ("/v1/reload", Some(json!({}))),
        Action::Reload { confirm: Some(seconds) } => ("/v1/reload", Some(json!({ "confirm_seconds": seconds }))),
        Action::Confirm => ("/v1/confirm", Some(json!({}))),
        Action::Rollback { epoch: None } => ("/v1/rollback", Some(json!({}))),
        Action::Rollback { epoch: Some(epoch) } => ("/v1/rollback", Some(json!({ "epoch": epoch }))),
        Action::Log { level: None } => ("/v1/log", None),
        Action::Log { level: Some(level) } => ("/v1/log/level", Some(json!({ "level": level }))),
        Action::Drain { upstream: Some(upstream), endpoint: Some(endpoint) } => {
            ("/v1/endpoints/drain", Some(json!({ "upstream": upstream, "endpoint": endpoint })))
        }
        Action::Upgrade => ("/v1/upgrade", Some(json!({}))),
        Action::Drain { .. } => ("/v1/drain", Some(json!({}))),
        Action::Breaker { what, upstream, endpoint } => {
            let path = match what {
                Hold::Open => "/v1/breakers/open",
                Hold::Close => "/v1/breakers/close",
            };
            let mut body = json!({ "upstream": upstream });
            if let Some(endpoint) = endpoint {
                body["endpoint"] = json!(endpoint);
            }
            (path, Some(body))
        }
        Action::Discovery { what: None } => ("/v1/discovery", None),
        Action::Discovery { what: Some(OfDiscovery::Accept { upstream }) } => {
            ("/v1/discovery/accept", Some(json!({ "upstream": upstream })))
        }
        Action::Discovery { what: Some(OfDiscovery::Refresh { upstream: None }) } => {
            ("/v1/discovery/refresh", Some(json!({})))
        }
        Action::Discovery { what: Some(OfDiscovery::Refresh { upstream: Some(upstream) }) } => {
            ("/v1/discovery/refresh", Some(json!({ "upstream": upstream })))
        }
        Action::Register { .. } => ("/v1/endpoints/register", registers(&args.action)),
        Action::Deregister { upstream, address } => {
            ("/v1/endpoints/deregister", Some(json!({ "upstream": upstream, "address": address })))
        }
        Action::Certificates { what: None } => ("/v1/certificates", None),
        Action::Certificates { what: Some(OfCertificates::Put { name, certificate, key }) } => {
            let (certificate, key) = match (read(certificate), read(key)) {
                (Ok(certificate), Ok(key)) => (certificate, key),
                (Err(why), _) | (_, Err(why)) => {
                    writeln!(err, "error: {why}")?;
                    return Ok(Exit::Input);
                }
            };
            let body = json!({ "name": name, "certificate": certificate, "key": key });
            ("/v1/certificates/put", Some(body))
        }
        Action::Certificates { what: Some(OfCertificates::Delete { name }) } => {
            ("/v1/certificates/delete", Some(json!({ "name": name })))
        }
        Action::Certificates { what: Some(OfCertificates::Renew { name }) } => {
            ("/v1/certificates/renew", Some(json!({ "name": name })))
        }
        Action::Undrain { upstream, endpoint } => {
            ("/v1/endpoints/undrain", Some(json!({ "upstream": upstream, "endpoint": endpoint })))
        }
    };
    let answer = match ask(args, path, body.as_ref(), err)? {
        Ok(answer) => answer,
        Err(exit) => return Ok(exit),
    };
    if args.json {
        writeln!(out, "{answer:#}")?;
        return Ok(Exit::Done);
    }
    match &args.action {
        Action::Plans => {
            for plan in list(&answer["plans"]) {
                let runs = if plan["runs"] == true { "*" } else { " " };
                let ago = ago(plan["since"].as_f64().unwrap_or(0.0));
                let epoch = plan["epoch"].to_string();
                writeln!(out, "{runs} {epoch:>5}  {ago:>10}  {}", text(&plan["changes"]))?;
            }
        }
        Action::Reload { confirm: Some(seconds) } => {
            writeln!(out, "{}", text(&answer["changes"]))?;
            writeln!(out, "it is undone in {seconds} s unless: ringway admin confirm")?;
        }
        Action::Reload { .. } | Action::Rollback { .. } => writeln!(out, "{}", text(&answer["changes"]))?,
        Action::Drain { upstream: Some(upstream), endpoint: Some(endpoint) } => {
            writeln!(out, "endpoint {endpoint} of upstream {upstream} gets no new requests")?;
        }
        Action::Breaker { what: Hold::Open, .. } => writeln!(out, "the breaker is open until it is closed")?,
        Action::Breaker { what: Hold::Close, .. } => writeln!(out, "the breaker is closed")?,
        Action::Undrain { upstream, endpoint } => {
            writeln!(out, "endpoint {endpoint} of upstream {upstream} is in use")?;
        }
        Action::Discovery { what: None } => {
            for source in list(&answer["sources"]) {
                show_source(source, out)?;
            }
        }
        Action::Discovery { what: Some(OfDiscovery::Accept { .. }) } => writeln!(out, "accepted")?,
        Action::Discovery { what: Some(OfDiscovery::Refresh { .. }) } => writeln!(out, "asked again")?,
        Action::Register { .. } => {
            let ttl = answer["ttl"].as_f64().unwrap_or_default();
            writeln!(out, "registered for {ttl} s; say so again before then")?;
        }
        Action::Deregister { .. } => writeln!(out, "deregistered")?,
        Action::Certificates { what: None } => show_certificates(&answer, out)?,
        Action::Certificates { what: Some(OfCertificates::Put { .. }) } => writeln!(out, "kept and shown")?,
        Action::Certificates { what: Some(OfCertificates::Delete { .. }) } => writeln!(out, "deleted")?,
        Action::Certificates { what: Some(OfCertificates::Renew { .. }) } => writeln!(out, "asked for")?,
        Action::Drain { .. } => writeln!(out, "the gateway drains")?,
        Action::Upgrade => writeln!(out, "process {} has taken over", answer["pid"])?,
        Action::Confirm => writeln!(out, "confirmed")?,
        Action::Log { .. } => writeln!(out, "{}", text(&answer["level"]))?,
        Action::Status => {}
    }
    Ok(Exit::Done)
}

/// What the gateway says; otherwise how the command ends, which was said.
fn ask(args: &Args, path: &str, body: Option<&Value>, err: &mut impl Write) -> io::Result<Result<Value, Exit>> {
    match client::ask(&args.socket, path, body) {
        Ok((200, answer)) => Ok(Ok(answer)),
        Ok((status, problem)) => {
            write!(err, "{}", text(&problem["report"]))?;
            writeln!(err, "error: {}", text(&problem["detail"]))?;
            Ok(Err(if status < 500 { Exit::Input } else { Exit::Machine }))
        }
        Err(why) => {
            writeln!(err, "error: {why}")?;
            Ok(Err(Exit::Machine))
        }
    }
}

fn status(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let live = match ask(args, "/v1/live", None, err)? {
        Ok(live) => live,
        Err(exit) => return Ok(exit),
    };
    let ready = match client::ask(&args.socket, "/readyz", None) {
        Ok((200, _)) => Ok(()),
        Ok((_, problem)) => Err(text(&problem["detail"]).to_owned()),
        Err(why) => Err(why.to_string()),
    };
    if args.json {
        writeln!(out, "{live:#}")?;
    } else {
        show(&live, ready.as_ref().err().map(String::as_str), out)?;
    }
    Ok(if ready.is_ok() { Exit::Done } else { Exit::Machine })
}

fn show(live: &Value, not_ready: Option<&str>, out: &mut impl Write) -> io::Result<()> {
    let plan = &live["plan"];
    let ready = not_ready.map_or_else(|| "ready".to_owned(), |why| format!("not ready: {why}"));
    writeln!(out, "plan {}, since {}, {ready}", plan["epoch"], ago(plan["since"].as_f64().unwrap_or(0.0)))?;
    if let Some(seconds) = plan["undone_in"].as_f64() {
        writeln!(out, "it is undone in {seconds:.0} s unless: ringway admin confirm")?;
    }
    for listener in list(&plan["listeners"]) {
        writeln!(out, "listener {} at {}", text(&listener["name"]), text(&listener["address"]))?;
    }
    for core in list(&live["cores"]) {
        match core["connections"].as_u64() {
            Some(connections) => writeln!(out, "core {}: {connections} connections", core["core"])?,
            None => writeln!(out, "core {}: does not answer", core["core"])?,
        }
    }
    for upstream in list(&live["upstreams"]) {
        writeln!(out, "upstream {}: {} requests wait", text(&upstream["name"]), upstream["waiting"])?;
        for endpoint in list(&upstream["endpoints"]) {
            let (open, idle, failures) = (&endpoint["connections"], &endpoint["idle"], &endpoint["failures"]);
            let because = list(&endpoint["unavailable_because"]).iter().map(|cause| format!(", {}", text(cause)));
            let because: String = because.collect();
            let name = text(&endpoint["name"]);
            writeln!(out, "  {name}: {open} connections, {idle} of them idle, {failures} failures{because}")?;
        }
    }
    Ok(())
}

/// `users: 3 endpoints from dns users.internal:9000, good 4 s ago`.
fn show_source(source: &Value, out: &mut impl Write) -> io::Result<()> {
    let (upstream, place, endpoints) = (text(&source["upstream"]), text(&source["place"]), &source["endpoints"]);
    let s = if *endpoints == 1 { "" } else { "s" };
    let good =
        source["last_good_at"].as_f64().map_or_else(|| "nothing yet".to_owned(), |at| format!("good {}", ago(at)));
    let kept = match source["kept"].as_u64() {
        Some(kept) if kept > 0 => format!(", {kept} kept that it lacks"),
        _ => String::new(),
    };
    writeln!(out, "{upstream}: {endpoints} endpoint{s} from {place}, {good}{kept}")?;
    if let Some(why) = source["failure"].as_str() {
        writeln!(out, "  failing for {:.0} s: {}", source["failing_for"].as_f64().unwrap_or(0.0), why.trim_end())?;
    }
    Ok(())
}

/// The text of a file of certificates.
fn read(file: &std::path::Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// `site (acme, ecdsa): www.example.com; good for 59 d, shown by secure`.
fn show_certificates(answer: &Value, out: &mut impl Write) -> io::Result<()> {
    for certificate in list(&answer["certificates"]) {
        let name = certificate["name"].as_str().unwrap_or("-");
        let joined = |key: &str| list(&certificate[key]).iter().map(text).collect::<Vec<_>>().join(", ");
        let (source, key) = (text(&certificate["source"]), text(&certificate["key"]));
        let left = certificate["expires_in"].as_i64().unwrap_or_default();
        let left = match left {
            ..=0 => "expired".to_owned(),
            1..172_800 => format!("good for {} h", left / 3600),
            _ => format!("good for {} d", left / 86_400),
        };
        let users = [joined("listeners"), joined("upstreams")];
        let users: Vec<&str> = users.iter().filter(|users| !users.is_empty()).map(String::as_str).collect();
        let users =
            if users.is_empty() { "shown by nobody".to_owned() } else { format!("shown by {}", users.join(", ")) };
        writeln!(out, "{name} ({source}, {key}): {}; {left}, {users}", joined("names"))?;
    }
    for acme in list(&answer["acme"]) {
        let (name, state) = (text(&acme["name"]), text(&acme["state"]));
        writeln!(out, "acme {name}: {state}, {} failures in a row", acme["failures_in_a_row"])?;
        if acme["window"].is_object() {
            let why = acme["explanation"].as_str().map_or_else(String::new, |url| format!(" ({url})"));
            writeln!(out, "  its authority says when it is renewed{why}")?;
        }
        if let Some(why) = acme["error"].as_str() {
            writeln!(out, "  {}", why.trim_end())?;
        }
    }
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], |list| list)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// How long ago a point in time was, given in seconds since the Unix epoch.
fn ago(since: f64) -> String {
    let now = ringway_runtime::clock::Wall::now().as_nanos() as f64 / 1e9;
    let seconds = Duration::try_from_secs_f64(now - since).unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_confirm_has_a_unit_and_is_a_second_to_a_day() {
        assert_eq!((seconds("60s"), seconds("5m"), seconds("24h")), (Ok(60), Ok(300), Ok(86_400)));
        for wrong in ["", "60", "s", "0s", "25h", "-1s", "1.5s", "60 s", "1é"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_registers_says_what_was_given_and_no_more() {
        let register = |weight, zone: Option<&str>, metadata: &[&str]| {
            let metadata = metadata.iter().map(|text| pair(text).unwrap()).collect();
            let (upstream, address) = ("u".to_owned(), "10.0.0.1:80".to_owned());
            let zone = zone.map(str::to_owned);
            registers(&Action::Register { upstream, address, weight, priority: None, zone, metadata }).unwrap()
        };
        assert_eq!(register(None, None, &[]), json!({ "upstream": "u", "address": "10.0.0.1:80" }));
        let all = register(Some(2), Some("a"), &["version=2", "x=a=b"]);
        let metadata = json!({ "version": "2", "x": "a=b" });
        assert_eq!((&all["weight"], &all["zone"], &all["metadata"]), (&json!(2), &json!("a"), &metadata));
        assert!(pair("version").is_err());
    }

    #[test]
    fn a_gateway_that_is_not_there_is_a_failure_of_the_machine() {
        let args = Args { socket: "/nonexistent/admin.sock".into(), json: false, action: Action::Plans };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(&args, &mut out, &mut err).unwrap(), Exit::Machine);
        let err = String::from_utf8(err).unwrap();
        assert!(err.contains("no gateway answers at /nonexistent/admin.sock"), "{err}");
    }
}
