//! `ringway explain FILE METHOD URL`: what would become of a request, and why, without sending it.

mod decide;
mod show;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::{Exit, check};
use crate::config::LoadError;

pub use decide::{Answer, Asked, Explanation, Refused, Step, explain};

/// Arguments of `explain`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The config
    file: PathBuf,
    /// The method
    method: String,
    /// Where to: `http://host/path?query`, or a path
    url: String,
    /// A header field; the gateway decides as if no body came, so say `Content-Length: N` for one of N bytes
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The listener where it comes in; the one with the port of the URL, or the first
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The client's address, as seen through trusted proxies
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client: IpAddr,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("`NAME: VALUE` is wanted")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Explains one request. Host names of endpoints are not looked up.
pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<Exit> {
    let plan = match check::load(&args.file) {
        Ok(loaded) => loaded.plan,
        Err(error @ LoadError::File(_)) => {
            write!(err, "{error}")?;
            return Ok(Exit::Input);
        }
        Err(LoadError::Config(report)) => {
            writeln!(err, "{report}")?;
            return Ok(Exit::Input);
        }
    };
    let asked = Asked {
        method: args.method.clone(),
        url: args.url.clone(),
        headers: args.headers.clone(),
        listener: args.listener.clone(),
        client: args.client,
    };
    match explain(&plan, &asked) {
        Ok(explanation) if args.json => writeln!(out, "{:#}", show::to_json(&plan, &explanation))?,
        Ok(explanation) => write!(out, "{}", show::to_text(&plan, &explanation))?,
        Err(wrong) => {
            writeln!(err, "error: {wrong}")?;
            return Ok(Exit::Usage);
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
[listener.web]
address = "0.0.0.0:8080"
limits = { body = "1KiB" }

[listener.inside]
address = "127.0.0.1:9090"

[upstream.users]
endpoints = ["10.0.0.1:9000", { address = "users.internal:9000", weight = 2 }]

[policy.tidy]
type = "headers"
request = { set = { x-user = "{id}" }, remove = ["x-debug"], rename = { x-old = "x-new" } }
response = { add = { link = "<a>" } }

[service.moved]
type = "redirect"
status = 301
location = "https://{host}/new/{rest}"

[[route]]
name = "users"
hosts = ["api.example.com"]
path = "/users/{id}"
methods = ["GET", "PUT"]
policies = ["tidy", { type = "rewrite", path = "/v2/{id}" }]
upstream = "users"

[[route]]
name = "canary"
hosts = ["api.example.com"]
path = "/users/{id}"
methods = ["GET", "PUT"]
headers = { x-canary = "on" }
upstream = "users"

[[route]]
name = "moved"
path = "/old/{rest...}"
service = "moved"
"#;

    fn said(arguments: &[&str]) -> (Exit, String, String) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ringway.toml");
        std::fs::write(&file, CONFIG).expect("a file");
        let line = ["ringway", "explain", &file.display().to_string()].map(str::to_owned);
        let line = line.into_iter().chain(arguments.iter().map(|&argument| argument.to_owned()));
        let cli = <super::super::Cli as clap::Parser>::try_parse_from(line).expect("a command line");
        let super::super::Command::Explain(args) = cli.command else { panic!("another command") };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(&args, &mut out, &mut err).expect("vectors take all");
        (exit, String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
    }

    #[test]
    fn a_proxied_request_is_told_from_listener_to_endpoints() {
        let (exit, out, err) =
            said(&["GET", "http://api.example.com/x/../users/7?a=1", "-H", "X-Old: 1", "-H", "x-debug: 1"]);
        let expected = "\
GET api.example.com/x/../users/7?a=1
listener   web, 0.0.0.0:8080
path       /users/7 (as received: /x/../users/7)
route      users, /users/{id}
  id = 7
policies
  1 tidy, headers
    request: drops x-debug
    request: renames X-Old to x-new
    request: writes x-user: 7
    response: writes link: <a>
  2 route/users/rewrite, rewrite
    request: the target is now /v2/7?a=1
answer     upstream users, round-robin, target /v2/7?a=1
  10.0.0.1:9000, weight 1
  users.internal:9000, weight 2
not chosen
  canary: no header `x-canary` that is `on`
  moved: its path does not match
";
        assert_eq!((exit, out.as_str(), err.as_str()), (Exit::Done, expected, ""));
    }

    #[test]
    fn a_refusal_is_told_with_its_code() {
        let (_, out, _) = said(&["DELETE", "http://api.example.com/users/7"]);
        assert!(out.contains("answer     405 method_not_allowed: "), "{out}");
        assert!(out.contains("  allow: GET, HEAD, PUT\n"), "{out}");
        let (_, out, _) = said(&["GET", "/users/7"]);
        assert!(
            out.contains("answer     404 no_route: ") && out.contains("  users: its hosts do not match\n"),
            "{out}"
        );
        let (_, out, _) = said(&["PUT", "http://api.example.com/users/7", "-H", "content-length: 1025"]);
        assert!(out.contains("route      users") && out.contains("answer     413 body_too_large: "), "{out}");
        let (_, out, _) = said(&["PUT", "http://api.example.com:9090/users/7", "-H", "content-length: 1025"]);
        assert!(
            out.contains("listener   inside, 127.0.0.1:9090\n") && out.contains("answer     upstream users"),
            "{out}"
        );
        let (_, out, _) = said(&["GET", "/a%2fb/%2e%2e/c"]);
        assert!(out.contains("answer     400 path_"), "{out}");
        let (_, out, _) = said(&["CONNECT", "example.com:443"]);
        assert!(out.contains("answer     501 connect_not_supported"), "{out}");
    }

    #[test]
    fn the_json_says_the_same() {
        let (exit, out, _) = said(&["GET", "/old/a/b", "--json", "-H", "Host: h:1", "--listener", "inside"]);
        assert_eq!(exit, Exit::Done);
        let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(found["route"]["name"], "moved");
        assert_eq!(found["route"]["captures"], serde_json::json!({"rest": "a/b"}));
        assert_eq!(found["listener"], "inside");
        assert_eq!(found["answer"]["redirect"], serde_json::json!({"status": 301, "location": "https://h:1/new/a/b"}));
        assert_eq!(found["lost"][0], serde_json::json!({"route": "users", "why": "its hosts do not match"}));
    }

    #[test]
    fn what_no_client_could_send_is_wrong_usage() {
        for arguments in [
            &["GET", "users"][..],
            &["GET", "/a", "--listener", "none"],
            &["GET", "/a\r\nx: y"],
            &["GET", "/a", "-H", "a: b\nc: d"],
        ] {
            let (exit, out, err) = said(arguments);
            assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{arguments:?}: {err}");
        }
    }
}
