//! The documentation of the config against what the parser knows, and plans from whole configs.

use super::kind::Kind;
use super::reader::{Otherwise, Section};
use super::*;
use crate::plan::{Action, BodyLimit, Captures, NoHeaders, PolicyId, Query, UpstreamId};
use std::net::IpAddr;
use std::time::Duration;

const DOCS: &str = include_str!("../../docs/config.md");

/// Every section, once.
fn sections() -> Vec<&'static Section> {
    let mut all: Vec<&'static Section> = vec![&ROOT];
    let mut next = 0;
    while let Some(section) = all.get(next) {
        for found in section.keys.iter().flat_map(|key| key.kind.sections()) {
            if all.iter().all(|known| known.title != found.title) {
                all.push(found);
            }
        }
        next += 1;
    }
    all
}

macro_rules! upstream {
    () => {
        "[upstream.other]\nendpoints = \"10.0.0.9:1\"\n"
    };
}

macro_rules! checks {
    ($more:literal) => {
        concat!("checks = [{ name = \"c\", http = \"10.0.0.1:1\"", $more, " }]\n")
    };
}

macro_rules! certificate {
    ($name:literal) => {
        concat!("certificate = \"tests/tls/fixed/", $name, ".pem\"\nkey = \"tests/tls/fixed/", $name, ".key\"")
    };
}

macro_rules! acme {
    () => {
        concat!(
            "[certificates]\ndirectory=\"/nowhere\"\n[acme.site]\nnames = \"a.test\"\nterms_agreed = true\n",
            "ca = \"tests/tls/fixed/other.pem\"\n"
        )
    };
}

/// A config with a hole for a key of each section; some more than once, where a key shows only beside another.
const HOLES: [(&str, &str); 70] = [
    ("[cores]", "[cores]\n@\n"),
    ("[control]", "[control]\n@\n"),
    ("[admin]", "[admin]\n@\n"),
    ("[log]", "[log]\n@\n"),
    ("[access_log]", "[access_log]\nto = \"stdout\"\n@\n"),
    ("[limits]", "[limits]\n@\n"),
    ("[timeouts]", "[timeouts]\n@\n"),
    ("[certificates]", "[certificates]\n@\n"),
    ("[acme.NAME]", concat!(acme!(), "@\n")),
    ("[acme.NAME.external_account]", concat!(acme!(), "external_account = { id = \"a\", key = \"aaaa\", @ }\n")),
    ("[listener.NAME]", "[listener.other]\naddress = [\"[::1]:1\", \"unix:/a\"]\nproxy_protocol = \"off\"\n@\n"),
    ("[listener.NAME]", "[listener.other]\naddress = \"unix:/a\"\ntrusted_proxies = \"unix\"\n@\n"),
    ("[listener.NAME.unix]", "[listener.other]\naddress = \"unix:/a\"\nunix = { @ }\n"),
    ("[listener.NAME.limits]", "[listener.other]\naddress = \"127.0.0.1:1\"\nlimits = { @ }\n"),
    ("[listener.NAME.timeouts]", "[listener.other]\naddress = \"127.0.0.1:1\"\n[listener.other.timeouts]\n@\n"),
    (
        "[listener.NAME.tls]",
        concat!("[listener.other]\naddress = \"127.0.0.1:1\"\n[listener.other.tls]\n", certificate!("server"), "\n@\n"),
    ),
    (
        "[listener.NAME.tls]",
        concat!(
            "[listener.other]\naddress = \"127.0.0.1:1\"\n[listener.other.tls]\n",
            certificate!("server"),
            "\nclient_auth = \"required\"\nclient_ca = \"tests/tls/fixed/server.pem\"\n@\n"
        ),
    ),
    (
        "[listener.NAME.tls.early_data]",
        concat!(
            "[listener.other]\naddress = \"127.0.0.1:1\"\n[listener.other.tls]\n",
            certificate!("server"),
            "\nearly_data = { @ }\n"
        ),
    ),
    (
        "[listener.NAME.tls] certificates",
        concat!(
            "[listener.other]\naddress = \"127.0.0.1:1\"\ntls.certificates = [{ ",
            "certificate = \"tests/tls/fixed/server.pem\", key = \"tests/tls/fixed/server.key\", @ }]\n"
        ),
    ),
    ("[upstream.NAME.tls]", concat!(upstream!(), "[upstream.other.tls]\nca = \"tests/tls/fixed/other.pem\"\n@\n")),
    ("[listener.NAME.http2]", "[listener.other]\naddress = \"127.0.0.1:1\"\nhttp2 = { @ }\n"),
    ("[upstream.NAME]", "[upstream.other]\nendpoints = \"10.0.0.9:1\"\n@\n"),
    ("[upstream.NAME.http2]", concat!(upstream!(), "protocol = \"h2\"\nhttp2 = { @ }\n")),
    ("[upstream.NAME] endpoints", "[upstream.other]\nendpoints = { address = \"10.0.0.9:1\", @ }\n"),
    (
        "[upstream.NAME.discover] of type dns",
        "[upstream.other]\ndiscover = { type = \"dns\", name = \"a\", port = 1, @ }\n",
    ),
    (
        "[upstream.NAME.discover] of type dns-srv",
        "[upstream.other]\ndiscover = { type = \"dns-srv\", name = \"a\", @ }\n",
    ),
    ("[upstream.NAME.discover] of type file", "[upstream.other]\ndiscover = { type = \"file\", path = \"a\", @ }\n"),
    ("[upstream.NAME.discover] of type registration", "[upstream.other]\ndiscover = { type = \"registration\", @ }\n"),
    ("[upstream.NAME.retry]", "[upstream.other]\nendpoints = \"10.0.0.9:1\"\n[upstream.other.retry]\n@\n"),
    ("[upstream.NAME.retry.hedge]", concat!(upstream!(), "retry = { hedge = { @ } }\n")),
    ("[route.retry]", "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"users\"\nretry = { @ }\n"),
    ("[listener.NAME.deadline]", "[listener.other]\naddress = \"127.0.0.1:1\"\ndeadline = { @ }\n"),
    ("[route.deadline]", "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"users\"\ndeadline = { @ }\n"),
    (
        "[route.grpc]",
        concat!(
            upstream!(),
            "protocol = \"h2\"\n[[route]]\nname = \"o\"\npath = \"/o\"\nupstream = \"other\"\ngrpc = { @ }\n"
        ),
    ),
    ("[route.websocket]", "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"users\"\nwebsocket = { @ }\n"),
    (
        "[route.websocket.deflate]",
        concat!(
            // Not written `upstream = `, as that is a key of the section itself, too.
            "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream=\"users\"\n",
            "websocket = { compression = \"terminate\", deflate = { @ } }\n"
        ),
    ),
    (
        "[route.mirror]",
        concat!(
            upstream!(),
            "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"users\"\n",
            "mirror = { upstream = \"other\", @ }\n"
        ),
    ),
    ("[upstream.NAME.timeout]", "[upstream.other]\nendpoints = \"10.0.0.9:1\"\n[upstream.other.timeout]\n@\n"),
    ("[upstream.NAME.pool]", "[upstream.other]\nendpoints = \"10.0.0.9:1\"\n[upstream.other.pool]\n@\n"),
    (
        "[upstream.NAME.balance] of type least-requests",
        concat!(upstream!(), "balance = { type = \"least-requests\", @ }\n"),
    ),
    ("[upstream.NAME.balance] of type peak-ewma", concat!(upstream!(), "balance = { type = \"peak-ewma\", @ }\n")),
    ("[upstream.NAME.balance] of type adaptive", concat!(upstream!(), "balance = { type = \"adaptive\", @ }\n")),
    ("[upstream.NAME.balance] of type ring-hash", concat!(upstream!(), "balance = { type = \"ring-hash\", @ }\n")),
    ("[upstream.NAME.balance] of type maglev", concat!(upstream!(), "balance = { type = \"maglev\", @ }\n")),
    ("[upstream.NAME.sticky]", concat!(upstream!(), "sticky = { secret = \"hush\", @ }\n")),
    ("[upstream.NAME.failover]", concat!(upstream!(), "failover = { @ }\n")),
    ("[upstream.NAME.slow_start]", concat!(upstream!(), "slow_start = { window = \"9s\", @ }\n")),
    ("[upstream.NAME.health]", concat!(upstream!(), "protocol = \"h2\"\nhealth = { @ }\n")),
    ("[upstream.NAME.outlier]", concat!(upstream!(), "outlier = { @ }\n")),
    ("[upstream.NAME.breaker]", concat!(upstream!(), "breaker = { @ }\n")),
    ("[policy.NAME] of type headers", "[policy.p]\ntype = \"headers\"\n@\n"),
    ("[policy.NAME.request] and [policy.NAME.response]", "[policy.p]\ntype = \"headers\"\n[policy.p.request]\n@\n"),
    ("[policy.NAME.request] and [policy.NAME.response]", "[policy.p]\ntype = \"headers\"\n[policy.p.response]\n@\n"),
    ("[policy.NAME] of type fault", "[policy.p]\ntype = \"fault\"\nabort = { status = 503 }\n@\n"),
    ("[policy.NAME] of type fault", "[policy.p]\ntype = \"fault\"\ndelay = { time = \"1s\" }\n@\n"),
    ("[policy.NAME.delay]", "[policy.p]\ntype = \"fault\"\n[policy.p.delay]\ntime = \"1s\"\n@\n"),
    ("[policy.NAME.abort]", "[policy.p]\ntype = \"fault\"\n[policy.p.abort]\nstatus = 404\n@\n"),
    ("[policy.NAME] of type redirect", "[policy.p]\ntype = \"redirect\"\nscheme = \"https\"\n@\n"),
    ("[policy.NAME] of type respond", "[policy.p]\ntype = \"respond\"\n@\n"),
    ("[policy.NAME] of type respond", "[policy.p]\ntype = \"respond\"\nbody = \"x\"\n@\n"),
    ("[policy.NAME] of type rewrite", "[policy.p]\ntype = \"rewrite\"\nquery = \"\"\n@\n"),
    ("[service.NAME] of type health", concat!("[service.s]\ntype = \"health\"\n", checks!(""), "@\n")),
    ("[service.NAME] checks", concat!("[service.s]\ntype = \"health\"\n", checks!(", path = \"/\", @"))),
    ("[service.NAME] checks", concat!("[service.s]\ntype = \"health\"\n", checks!(", @"))),
    ("[service.NAME] of type redirect", "[service.s]\ntype = \"redirect\"\nlocation = \"/\"\n@\n"),
    ("[service.NAME] of type respond", "[service.s]\ntype = \"respond\"\n@\n"),
    ("[service.NAME] of type respond", "[service.s]\ntype = \"respond\"\nbody = \"x\"\n@\n"),
    ("[[route]]", "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"users\"\n@\n"),
    ("[route.timeout]", "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"users\"\ntimeout = { @ }\n"),
    (
        "Tests of headers and query",
        "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"users\"\nquery.q = { prefix = \"a\" }\n@\n",
    ),
];

const REST: &str = r#"
    [listener.web]
    address = "127.0.0.1:8080"
    [upstream.users]
    endpoints = "10.0.0.1:9000"
    [[route]]
    name = "users"
    path = "/users/{id}"
    upstream = "users"
"#;

fn resolve_nothing(host: &str, _port: u16) -> Result<Vec<SocketAddr>, String> {
    Err(format!("{host} is not known here"))
}

fn plan(text: &str) -> Plan {
    compile("t.toml", text, 1, &mut resolve_nothing).unwrap_or_else(|report| panic!("{text}\n{report}")).0
}

fn errors(text: &str) -> Vec<String> {
    let report = compile("t.toml", text, 1, &mut resolve_nothing).map_or_else(|report| report, |(_, report)| report);
    report.diagnostics().iter().map(|diagnostic| diagnostic.message.clone()).collect()
}

/// All of a plan that can be compared.
fn shown(text: &str) -> String {
    let plan = plan(text);
    let Plan { cores, control, admin, log, access_log, listeners, upstreams, aggregates, routes, .. } = &plan;
    let (certificates, acme) = (&plan.certificates, &plan.acme);
    format!(
        "{cores:?} {control:?} {admin:?} {log:?} {access_log:?} {listeners:?} {upstreams:?} {aggregates:?} {routes:?} \
         {certificates:?} {acme:?}"
    )
}

/// The rest of the config, with what refers to a policy or service that the text before it has.
fn whole(text: &str) -> String {
    let mut rest = REST.to_owned();
    if text.contains("[policy.p]") {
        rest += "policies = [\"p\"]\n";
    }
    if text.contains("[service.s]") {
        rest += "[[route]]\nname = \"s\"\npath = \"/s\"\nservice = \"s\"\n";
    }
    text.to_owned() + &rest
}

/// The rows of the first table under a heading: key, kind and default.
fn documented(title: &str) -> Vec<[String; 3]> {
    let section = DOCS.split("\n## ").find(|section| section.lines().next() == Some(title));
    let section = section.unwrap_or_else(|| panic!("docs/config.md has no heading {title}"));
    let rows = section.lines().skip_while(|line| !line.starts_with("| key |")).skip(2);
    let cells = |row: &str| {
        let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
        [(); 3].map(|()| cells.next().unwrap_or_default())
    };
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn the_documentation_has_every_key_with_its_kind_and_default() {
    for section in sections() {
        let title = section.title;
        let known = section.keys.iter().map(|key| {
            let default = match key.otherwise {
                Otherwise::Required => "required".to_owned(),
                Otherwise::Is(value) => format!("`{value}`"),
                Otherwise::Words(words) => words.to_owned(),
            };
            [format!("`{}`", key.name), key.kind.name(), default]
        });
        assert_eq!(documented(title), known.collect::<Vec<_>>(), "{title}");
    }
}

#[test]
fn a_documented_default_is_what_holds_without_the_key() {
    for section in sections() {
        let title = section.title;
        for key in section.keys {
            let Otherwise::Is(default) = key.otherwise else { continue };
            let mut tried = 0;
            for (_, hole) in
                HOLES.iter().filter(|(of, hole)| *of == section.title && !hole.contains(&format!("{} = ", key.name)))
            {
                let line = format!("{} = {default}", key.name);
                let without = hole.replace(", @", "").replace('@', "");
                assert_eq!(shown(&whole(&hole.replace('@', &line))), shown(&whole(&without)), "{title} {line}");
                tried += 1;
            }
            assert!(tried > 0, "no hole for {title} {}", key.name);
        }
    }
}

#[test]
fn a_value_other_than_the_default_shows_in_the_plan() {
    for (title, hole) in HOLES {
        let section = sections().into_iter().find(|section| section.title == title).unwrap();
        let can_be_set = |key: &&super::reader::Key| !hole.contains(&format!("{} = ", key.name));
        for key in section.keys.iter().filter(can_be_set) {
            let value = match (key.name, key.kind.name().as_str()) {
                ("key", "path") => continue,
                // Of checks of gRPC alone.
                ("service", _) if hole.contains("health") => continue,
                ("grpc", _) => "{ max_message = \"3MiB\" }",
                ("timeout", _) if title == "[route.grpc]" => "\"ignored\"",
                ("ocsp", _) => "\"tests/tls/fixed/other.pem\"",
                ("min_version", _) => "\"1.3\"",
                ("key_log" | "web", _) => "true",
                ("server_name", _) => "\"a.test\"",
                ("tls", _) if title == "[upstream.NAME]" => "{ ca = \"tests/tls/fixed/other.pem\" }",
                ("memory" | "max_connection_window", _) => "\"5MiB\"",
                ("enabled" | "tickets", _) | ("upstream", "true or false") => "false",
                ("websocket", _) if title == "[listener.NAME.http2]" => "false",
                ("max_window" | "connection_window", _) => "\"3MiB\"",
                ("budget" | "budget_refill", "number") => "5000",
                ("ping", _) => "\"off\"",
                ("protocol", _) => "\"h2\"",
                ("http2", _) if hole.contains("endpoints") => "{ ping = \"off\" }",
                ("http2", _) => "{ enabled = false }",
                ("keep", _) if hole.contains("registration") => "\"last-good\"",
                ("keep", _) => "\"newest\"",
                ("family", _) => "\"ipv6\"",
                ("servers", _) => "\"127.0.0.1:53\"",
                ("allow", _) => "\"127.0.0.0/8\"",
                ("discover", _) => "{ type = \"file\", path = \"a\" }",
                ("eject_for" | "open_for" | "min_ttl", _) => "\"7s\"",
                ("directory", "https URL") => "\"https://a.test/d\"",
                ("directory", _) => "\"/elsewhere\"",
                ("contact", _) => "\"mailto:a@a.test\"",
                ("challenge", _) => "\"tls-alpn-01\"",
                ("external_account", _) => "{ id = \"a\", key = \"aaaa\" }",
                ("hsts", _) | (_, "duration") => "\"7m\"",
                ("degraded_status", _) => "503",
                ("detail", _) => "\"full\"",
                ("status", "number") => "418",
                ("after", _) => "\"p50\"",
                ("max", "number") => "2",
                // Nobody has shown a certificate as early as that.
                ("early_data", "table") if hole.contains("client_auth") => continue,
                ("early_data" | "hedge", "table") => "{}",
                ("hedge", _) => "false",
                ("attempts", _) => "5",
                ("backoff", _) => "\"100ms\"",
                ("critical" | "early_data" | "non_idempotent", _) => "true",
                ("retry", _) => "{ attempts = 5 }",
                ("status", _) if hole.contains("health") => "[204, \"300-399\"]",
                ("type", _) if hole.contains("health") => "\"tcp\"",
                ("start", _) => "\"unhealthy\"",
                ("body", _) if hole.contains("health") => "\"fine\"",
                ("path", _) if hole.contains("health") => "\"/well\"",
                ("health", _) => "{ path = \"/well\" }",
                ("outlier" | "breaker", _) => "{ window = \"3s\" }",
                ("of", _) => "\"both\"",
                ("fallback", _) => "\"users\"",
                ("slow", _) => "\"9m\"",
                ("consecutive_failures", _) => "32",
                ("budget", _) | (_, "ratio" | "ratio or \"off\"") => "0.2",
                ("priority", "number") => "3",
                ("level" | "window_bits", "number") => "9",
                (_, "number") => "32",
                ("balance", _) => "\"maglev\"",
                ("key", _) => "\"header:x\"",
                ("table", _) => "251",
                ("max_load", _) => "150",
                ("panic", _) => "\"off\"",
                ("zone", _) => "\"a\"",
                ("metadata", _) => "{ version = \"v2\" }",
                ("cookie", _) => "\"shop\"",
                ("slow_start", _) => "\"5s\"",
                ("sticky", _) => "{ secret = \"hush\" }",
                ("failover", _) => "{ zone = \"a\" }",
                (_, "size" | "size or \"unlimited\"") => "\"5KiB\"",
                (_, "bytes a second or \"off\"") => "\"off\"",
                ("deadline", _) => "{ trust = \"anyone\" }",
                ("header", _) => "\"grpc-timeout\"",
                ("send", _) => "[\"x-left\", \"grpc-timeout\"]",
                ("trust", _) => "\"nobody\"",
                ("format", _) if title.ends_with(".deadline]") => "\"seconds\"",
                ("level", _) => "\"debug\"",
                ("format", _) if title == "[log]" => "\"json\"",
                ("format", _) => "\"combined\"",
                ("server_timing", _) => "\"trusted\"",
                ("engine", _) => "\"glommio\"",
                ("placement", _) => "\"cpu\"",
                ("busy_poll", _) => "\"50us\"",
                ("data", _) => "\"0,2-5\"",
                ("control", _) => "3",
                ("metrics_dir", _) => "\"/dev/shm/x\"",
                ("forwarded", _) => "\"none\"",
                ("via" | "access_log", _) => "false",
                ("proxy_protocol", _) if title == "[listener.NAME]" => "\"required\"",
                ("proxy_protocol", _) => "\"v2\"",
                ("unix", _) => "{ mode = \"0600\" }",
                ("mode", _) => "\"0600\"",
                ("owner" | "group", _) => "\"www-data\"",
                ("trusted_proxies", _) => "[\"10.0.0.0/8\"]",
                ("on", _) => "[\"reset\"]",
                ("status", _) => "301",
                ("set" | "add" | "rename", _) => "{ x-a = \"x-b\" }",
                ("remove", _) => "[\"x-a\"]",
                ("request" | "response", _) => "{ remove = [\"x-a\"] }",
                ("strip_prefix", _) => "\"/users\"",
                ("path", _) => "\"/v2/{id}\"",
                ("body", "string") => "\"other\"",
                ("content_type", _) if hole.contains("body = ") => "\"text/html\"",
                ("headers", "table of strings") => "{ x-a = \"b\" }",
                ("priority", _) => "\"high\"",
                ("shadow", _) => "true",
                (_, "percentage") => "0.5",
                ("distribution", _) => "\"uniform\"",
                ("delay", _) => "{ time = \"3s\" }",
                ("abort", _) => "{ status = 500 }",
                ("host", _) => "\"www.example.com\"",
                ("trailing_slash", _) => "\"add\"",
                ("headers", "table of tests") if hole.contains("[policy.p]") => "{ x-a = true }",
                ("policies", _) => "[{ type = \"rewrite\", query = \"\" }]",
                ("websocket", _) => "{ drain = \"3s\" }",
                ("frames", _) => "\"raw\"",
                ("compression", _) => "\"off\"",
                ("origins", _) => "\"same\"",
                // Only beside `compression = "terminate"`, as the hole of its own section has it.
                ("deflate", _) => continue,
                ("context_takeover", _) => "true",
                (_, "rate or \"off\"") => "\"7/min\"",
                ("ping_interval", _) => "\"7s\"",
                _ => continue,
            };
            let line = format!("{} = {value}", key.name);
            let without = hole.replace(", @", "").replace('@', "");
            assert_ne!(shown(&whole(&hole.replace('@', &line))), shown(&whole(&without)), "{title} {line}");
        }
    }
}

/// Values that the kind of a key has and, next to them, values that it has not.
fn edges(kind: &Kind) -> (Vec<String>, Vec<String>) {
    let quoted = |value: i128| format!("\"{value}B\"");
    match kind {
        Kind::Number(_, least, most) => {
            let (least, most) = (i128::from(*least), i128::from(*most));
            (vec![least.to_string(), most.to_string()], vec![(least - 1).to_string(), (most + 1).to_string()])
        }
        Kind::Size(least, most) => {
            let (least, most) = (i128::from(*least), i128::from(*most));
            (vec![quoted(least), quoted(most)], vec![quoted(least - 1), quoted(most + 1)])
        }
        Kind::OneOf(words) => {
            (words.iter().map(|word| format!("\"{word}\"")).collect(), vec!["\"no-word\"".to_owned()])
        }
        Kind::Numbers(numbers) => (numbers.iter().map(i64::to_string).collect(), vec!["0".to_owned()]),
        Kind::Percentage => (
            ["0.0001", "0.5", "3", "100"].map(str::to_owned).to_vec(),
            ["0", "0.00001", "100.1", "-1"].map(str::to_owned).to_vec(),
        ),
        Kind::Ratio => {
            (["0", "0.000001", "0.2", "1"].map(str::to_owned).to_vec(), ["-0.1", "1.1"].map(str::to_owned).to_vec())
        }
        Kind::Duration => {
            (vec!["\"1ns\"".to_owned(), "\"365d\"".to_owned()], vec!["\"0s\"".to_owned(), "\"366d\"".to_owned()])
        }
        Kind::List(_, of) => edges(of),
        Kind::Either(kinds) => {
            let all: Vec<_> = kinds.iter().map(edges).collect();
            let good = all.iter().flat_map(|(good, _)| good.clone()).collect();
            // What is no word may be right as something else.
            let bad = all.into_iter().flat_map(|(_, bad)| bad).filter(|bad| !bad.contains("no-word")).collect();
            (good, bad)
        }
        _ => (Vec::new(), Vec::new()),
    }
}

#[test]
fn the_kind_of_each_key_is_what_the_config_takes() {
    let mut tried = 0;
    for (title, hole) in HOLES {
        let section = sections().into_iter().find(|section| section.title == title).unwrap();
        for key in section.keys.iter().filter(|key| !hole.contains(&format!("{} = ", key.name))) {
            if key.name == "client_auth" && !hole.contains("client_ca") {
                continue; // It takes authorities to ask anybody.
            }
            let (good, bad) = edges(&key.kind);
            for (values, wanted) in [(good, true), (bad, false)] {
                for value in values {
                    let text = whole(&hole.replace('@', &format!("{} = {value}", key.name)));
                    let taken = compile("t.toml", &text, 1, &mut resolve_nothing);
                    assert_eq!(taken.is_ok(), wanted, "{title} {} = {value}", key.name);
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 200, "{tried}");
}

#[test]
fn the_examples_of_the_documentation_are_right() {
    let mut examples = 0;
    // The files that examples name.
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("conf.d/a.toml", ""),
        ("site.toml", ""),
        ("secrets/token", "Bearer x\n"),
        ("secrets/users", "correct-horse-battery\n"),
        ("example-ecdsa.pem", include_str!("../../tests/tls/fixed/server.pem")),
        ("example-ecdsa.key", include_str!("../../tests/tls/fixed/server.key")),
        ("example-rsa.pem", include_str!("../../tests/tls/fixed/other.pem")),
        ("example-rsa.key", include_str!("../../tests/tls/fixed/other.key")),
        ("internal-ca.pem", include_str!("../../tests/tls/fixed/other.pem")),
    ] {
        let file = dir.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let file = dir.path().join("config.md").display().to_string();
    for example in DOCS.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let is_whole = example.contains("[listener.") && example.contains("[[route]]");
        let text = if is_whole { example.to_owned() } else { example.to_owned() + REST };
        // An example may name what another one has.
        let all = if example.contains("policies = [\"tidy\"]") {
            text + "[policy.tidy]\ntype = \"headers\"\n"
        } else {
            text.replacen(
                "[listener.web]\n    address = \"127.0.0.1:8080\"",
                "[listener.rest]\naddress = \"127.0.0.1:1\"",
                1,
            )
        };
        let all = if example.contains("[upstream.users]") && !is_whole {
            all.replacen("    [upstream.users]\n    endpoints = \"10.0.0.1:9000\"", "", 1)
        } else {
            all
        };
        let all = if example.contains("name = \"users\"") {
            all.replacen("    name = \"users\"\n", "name = \"u2\"\n", 1)
        } else {
            all
        };
        let mut resolve = |_: &str, port| Ok(vec![SocketAddr::from(([10, 9, 9, 9], port))]);
        compile(&file, &all, 1, &mut resolve).unwrap_or_else(|report| panic!("{report}"));
        examples += 1;
    }
    assert!(examples >= 8, "{examples}");
}

#[test]
fn a_simple_proxy_becomes_a_plan() {
    let plan = plan(REST);
    let query = Query { method: b"GET", host: b"example.com", path: b"/users/7", query: None, headers: &NoHeaders };
    let mut captures = Captures::default();
    let route = plan.router.find(&query, &mut captures).unwrap();
    assert_eq!(captures.get(0), Some(7..8));
    let route = plan.route(route).unwrap();
    assert!(matches!(route.action, Action::Proxy(proxy) if proxy.upstream == UpstreamId(0)));
    assert_eq!((&*route.name, &*route.path, route.policies.len()), ("users", "/users/{id}", 0));
    assert_eq!((route.body, route.total_timeout), (None, None));
}

#[test]
fn a_listener_takes_from_the_common_limits_what_it_does_not_set() {
    let plan = plan(
        &(REST.to_owned()
            + "[limits]\nhead = \"16KiB\"\nheaders = 50\nconnections = 10\n\
               [timeouts]\nhead = \"3s\"\nkeep_alive = \"4s\"\n\
               [listener.other]\naddress = \"127.0.0.1:1\"\nlimits = { headers = 20 }\ntimeouts = { head = \"9s\" }\n"),
    );
    let [web, other] = &*plan.listeners else { panic!("two listeners are wanted") };
    assert_eq!((web.limits.head, web.limits.headers), (16 << 10, 50));
    assert_eq!((other.limits.head, other.limits.headers), (16 << 10, 20));
    assert_eq!((web.timeouts.head, web.timeouts.keep_alive), (Duration::from_secs(3), Duration::from_secs(4)));
    assert_eq!((other.timeouts.head, other.timeouts.keep_alive), (Duration::from_secs(9), Duration::from_secs(4)));
    assert_eq!(plan.cores.connections, 10);
}

#[test]
fn what_a_raw_websocket_cannot_hold_and_rates_that_are_none_are_errors() {
    let route = |keys: &str| {
        let route = "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"users\"\n";
        errors(&whole(&format!("{route}websocket = {{ {keys} }}\n")))
    };
    assert_eq!(
        route("frames = \"raw\", ping_interval = \"1s\""),
        ["route.websocket.ping_interval: `frames = \"raw\"` looks at nothing that `ping_interval` could be about"]
    );
    assert_eq!(
        route("deflate = { level = 1 }"),
        ["route.websocket.deflate: only with `compression = \"terminate\"` does the gateway compress"]
    );
    assert!(route("frames = \"raw\", origins = [\"same\", \"https://*.example.com\"]").is_empty());
    assert_eq!(route("origins = [\"example.com\"]").len(), 1);
    assert_eq!(route("origins = []").len(), 1);
    for rate in ["10", "10/", "10/day", "-1/s", "/s", "0/s", "5000000000/s"] {
        assert_eq!(route(&format!("message_rate = \"{rate}\"")).len(), 1, "{rate}");
    }
    assert!(route("message_rate = \"1_000/h\"").is_empty());
    let service =
        "[service.s]\ntype = \"respond\"\n[[route]]\nname = \"w\"\npath = \"/w\"\nservice = \"s\"\nwebsocket = {}\n";
    assert_eq!(
        errors(&whole(service)),
        ["route.websocket: only a route with an `upstream` carries WebSocket connections"]
    );
}

#[test]
fn what_calls_of_grpc_cannot_have_is_an_error() {
    let with = |upstream: &str, route: &str| {
        errors(&whole(&format!(
            "[upstream.other]\nendpoints = \"10.0.0.9:1\"\n{upstream}\n\
             [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"other\"\n{route}\n"
        )))
    };
    const H2: &str = "protocol = \"h2\"";
    assert!(with(H2, "grpc = { web = true, max_message = \"unlimited\", max_timeout = \"5s\" }").is_empty());
    assert!(with(&format!("{H2}\nhealth = {{ type = \"grpc\", service = \"a.B\", host = \"a\" }}"), "").is_empty());
    for (upstream, route, error) in [
        ("", "grpc = { web = true }", "route.grpc.web: \"other\" speaks HTTP/1.1, and gRPC needs HTTP/2"),
        (
            H2,
            "grpc = { timeout = \"ignored\", max_timeout = \"5s\" }",
            "route.grpc.max_timeout: `timeout = \"ignored\"` leaves nothing for `max_timeout` to bound",
        ),
        ("health = { type = \"grpc\" }", "", "upstream.other.health.type: gRPC needs HTTP/2"),
        (
            "health = { service = \"a.B\" }",
            "",
            "upstream.other.health.service: a check of type http asks for no service",
        ),
        (
            "protocol = \"h2\"\nhealth = { type = \"grpc\", path = \"/\" }",
            "",
            "upstream.other.health.path: a check of type grpc calls one method, and knows its answers",
        ),
    ] {
        assert_eq!(with(upstream, route), [error]);
    }
    let service =
        "[service.s]\ntype = \"respond\"\n[[route]]\nname = \"w\"\npath = \"/w\"\nservice = \"s\"\ngrpc = {}\n";
    assert_eq!(errors(&whole(service)), ["route.grpc: only a route with an `upstream` carries calls of gRPC"]);
}

#[test]
fn a_host_name_becomes_all_its_addresses_of_one_kind() {
    let mut asked = Vec::new();
    let mut resolve = |host: &str, port: u16| {
        asked.push(host.to_owned());
        let all: &[&str] = match host {
            "both" => &["::1", "127.0.0.2", "127.0.0.1", "127.0.0.1"],
            "six" => &["fd00::1", "fd00::2"],
            "none" => &[],
            _ => return Err("it is not known".to_owned()),
        };
        Ok(all.iter().map(|address| SocketAddr::new(address.parse().unwrap(), port)).collect())
    };
    let text = |endpoints: &str| REST.replace("\"10.0.0.1:9000\"", endpoints);
    let good = text("[\"both:1\", { address = \"six:2\", weight = 3 }, \"[fd00::9]:3\"]");
    let (plan, _) = compile("t.toml", &good, 1, &mut resolve).unwrap_or_else(|report| panic!("{report}"));
    let shown =
        |endpoint: &crate::plan::Endpoint| format!("{} {} {}", endpoint.name, endpoint.address, endpoint.weight);
    assert_eq!(
        plan.upstreams[0].endpoints.iter().map(shown).collect::<Vec<_>>(),
        [
            "both:1 127.0.0.1:1 1",
            "both:1 127.0.0.2:1 1",
            "six:2 [fd00::1]:2 3",
            "six:2 [fd00::2]:2 3",
            "[fd00::9]:3 [fd00::9]:3 1",
        ]
    );
    let report = compile("t.toml", &text("[\"none:1\", \"gone:2\", \"127.0.0.1:1\", \"both:1\"]"), 1, &mut resolve);
    let messages: Vec<_> = report.unwrap_err().diagnostics().iter().map(|error| error.message.clone()).collect();
    assert_eq!(
        messages,
        [
            "\"none\" cannot be resolved: it has no address",
            "\"gone\" cannot be resolved: it is not known",
            "upstream.users: both:1 and 127.0.0.1:1 are both 127.0.0.1:1",
        ]
    );
    assert_eq!(asked, ["both", "six", "none", "gone", "both"]);
}

#[test]
fn trusted_proxies_are_found_through_mapped_addresses() {
    let text = REST.replace("[upstream.users]", "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n[upstream.users]");
    let listener = &plan(&text).listeners[0];
    let trusts = |address: &str| listener.trusts(Some(address.parse::<IpAddr>().unwrap()));
    assert!(trusts("10.1.2.3") && trusts("::ffff:10.1.2.3") && trusts("::1"));
    assert!(!trusts("11.1.2.3") && !trusts("::2"));
}

#[test]
fn one_policy_is_compiled_for_each_route_with_its_captures() {
    let text = REST.to_owned()
        + "policies = [\"p\"]\nbody = \"unlimited\"\n\
           [[route]]\nname = \"two\"\npath = \"/{x}/{id}/b\"\npolicies = [\"p\"]\nupstream = \"users\"\nbody = \"5B\"\n\
           [policy.p]\ntype = \"rewrite\"\npath = \"/{id}\"\n";
    let plan = plan(&text);
    let rewritten = |index: usize| {
        let step = &plan.routes[index].policies[0];
        assert_eq!((step.policy.type_name(), step.id), ("rewrite", PolicyId(0)));
        format!("{step:?}")
    };
    assert!(rewritten(0).contains("Capture(0)"));
    assert!(rewritten(1).contains("Capture(1)"));
    assert_eq!(plan.routes[0].body, Some(BodyLimit::Unlimited));
    assert_eq!(plan.routes[1].body, Some(BodyLimit::Bytes(5)));
}

#[test]
fn routes_written_as_one_array_are_routes_too() {
    let text = "route = [{ name = \"a\", path = \"/a\", service = \"s\" }, { name = \"b\", path = \"/b\", service = \"s\" }]\n\
                listener.web.address = \"127.0.0.1:0\"\nservice.s = { type = \"respond\", status = 204 }\n";
    let plan = plan(text);
    assert_eq!(plan.routes.len(), 2);
    assert!(matches!(&plan.routes[1].action, Action::Respond(respond) if respond.status == 204));
}

#[test]
fn a_list_of_tables_may_be_written_under_headers() {
    let text = REST
        .replace("endpoints = \"10.0.0.1:9000\"", "[[upstream.users.endpoints]]\naddress = \"10.0.0.2:1\"\nweight = 3");
    let endpoint = &plan(&text).upstreams[0].endpoints[0];
    assert_eq!((&*endpoint.name, endpoint.weight), ("10.0.0.2:1", 3));
}

#[test]
fn errors_of_sections_do_not_hide_errors_between_them() {
    let found = errors(&(REST.replace("\"10.0.0.1:9000\"", "5") + "policies = [\"gone\"]\n[cores]\ndata = 0\n"));
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn any_words_of_a_config_are_answered() {
    use proptest::prelude::*;
    let word = prop_oneof![
        Just("[listener.web]\n"),
        Just("[upstream.users]\n"),
        Just("[[route]]\n"),
        Just("[cores]\n"),
        Just("[limits]\n"),
        Just("[policy.p]\n"),
        Just("[service.s]\n"),
        Just("address = \"127.0.0.1:1\"\n"),
        Just("endpoints = [\"a:1\"]\n"),
        Just("name = \"é\"\n"),
        Just("name = \"a\"\n"),
        Just("path = \"/{a}\"\n"),
        Just("path = \"/{é\"\n"),
        Just("upstream = \"users\"\n"),
        Just("service = \"s\"\n"),
        Just("type = \"respond\"\n"),
        Just("type = \"health\"\n"),
        Just("checks = [{ name = \"a\", tcp = \"a:1\", needs = \"a\" }, { name = \"b\" }]\n"),
        Just("location = \"{é}\"\n"),
        Just("type = \"redirect\"\n"),
        Just("type = \"rewrite\"\n"),
        Just("type = \"headers\"\n"),
        Just("path = \"\\u00e9{}\"\n"),
        Just("request = { set = { a = \"é\\t}\" } }\n"),
        Just("policies = [\"p\", {}, 1]\n"),
        Just("hosts = [1, \"*.x\"]\n"),
        Just("policy = []\n"),
        Just("route = 1\n"),
        Just("head = \"1B\"\n"),
        Just("data = \"0-99999999\"\n"),
    ];
    proptest!(|(words in proptest::collection::vec(word, 0..14))| {
        let text = words.concat();
        if let Err(report) = compile("t.toml", &text, 1, &mut resolve_nothing) {
            prop_assert!(report.errors() > 0);
            prop_assert!(report.to_string().contains(": error: "));
        }
    });
}

#[test]
fn the_page_of_limits_has_every_bound_with_its_default() {
    const LIMITS: &str = include_str!("../../docs/limits.md");
    let of = |prefix: &'static str, section: &'static Section| section.keys.iter().map(move |key| (prefix, key));
    let all = of("limits", &limits::SECTION)
        .chain(of("timeouts", &timeouts::SECTION))
        .chain(of("upstream.NAME.timeout", &upstream::TIMEOUT))
        .chain(of("upstream.NAME.pool", &upstream::POOL))
        .chain(
            of("upstream.NAME.retry", &retry::RETRY)
                .filter(|(_, key)| !["on", "per_try", "non_idempotent", "hedge"].contains(&key.name)),
        )
        .chain(of("upstream.NAME.retry.hedge", &retry::HEDGE))
        .chain(
            of("websocket", &websocket::WEBSOCKET)
                .filter(|(_, key)| !["frames", "compression", "origins", "deflate"].contains(&key.name)),
        )
        .chain(of("listener.NAME", &listener::SECTION).filter(|(_, key)| key.name == "backlog"))
        .chain(
            of("listener.NAME.http2", &http2::OF_LISTENER)
                .filter(|(_, key)| !["enabled", "websocket", "ping"].contains(&key.name)),
        )
        .chain(of("upstream.NAME.http2", &http2::OF_UPSTREAM).filter(|(_, key)| key.name == "max_concurrent_streams"))
        .chain(
            of("cores", &cores::SECTION)
                .filter(|(_, key)| ["buffers", "buffer_size", "drain_timeout"].contains(&key.name)),
        );
    for (prefix, key) in all {
        let (Otherwise::Is(default) | Otherwise::Words(default)) = key.otherwise else {
            panic!("{} has no default", key.name)
        };
        let cells = format!("| {} | `{prefix}.{}`", default.trim_matches('"'), key.name);
        assert!(LIMITS.contains(&cells), "docs/limits.md has no row with {cells}");
    }
}

#[test]
fn a_config_with_anything_changed_is_answered() {
    use proptest::prelude::*;
    const GOOD: &str = include_str!("../../tests/check/good.toml");
    let size = GOOD.chars().count();
    let piece = prop_oneof![
        3 => "[\\[\\]{}=.,\"' \n#a1\\\\é/*-]{0,2}",
        1 => proptest::sample::select(GOOD.split_whitespace().collect::<Vec<_>>()).prop_map(str::to_owned),
    ];
    let edits = proptest::collection::vec((0..size, 0..6_usize, piece), 1..5);
    proptest!(|(edits in edits)| {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, length, piece) in edits {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.chars());
        }
        let text: String = text.into_iter().collect();
        let mut resolve = |_: &str, port| Ok(vec![SocketAddr::from(([10, 9, 9, 9], port))]);
        match compile("t.toml", &text, 1, &mut resolve) {
            Ok((_, report)) => prop_assert_eq!(report.errors(), 0),
            Err(report) => {
                prop_assert!(report.errors() > 0);
                prop_assert!(report.to_string().contains(": error: "));
            }
        }
    });
}
