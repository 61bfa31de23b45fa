//! `discover` of `[upstream.NAME]`, and the files that hold endpoints.

use super::kind::Kind::{Duration, List, Number, OneOf, Ratio, Secret as SecretKind, Text, Typed};
use super::kind::{IP_ADDRESS, Kind, NETWORK, PATH};
use super::reader::Otherwise::{Is, Required, Words};
use super::reader::{Fields, Key, Problem, Read, Section, key, section};
use super::report::{Diagnostic, Diagnostics};
use super::tree::{self, Table, Value};
use super::upstream::{self, ENDPOINTS};
use super::values::{HostPort, check_name, duration, integer, network, one_of, path, ratio, socket_address, string};
use super::{include, syntax};
use crate::plan::{Discover, DiscoverIn, Dns, Endpoint, Family, Registration};
use ipnet::IpNet;
use ringway_runtime::net::Address;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time;

/// The fewest characters of a token: fewer can be guessed.
const TOKEN_MIN: usize = 16;
/// Of one set.
const ENDPOINTS_MAX: i64 = 10_000;
/// Bytes of a file of endpoints.
const FILE_MAX: u64 = 16 << 20;

/// Where registered endpoints may be unless the config says otherwise: private addresses (RFC 1918, RFC 4193).
const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

pub(super) const DISCOVER: Kind = Typed(TYPES);
const TYPES: &[(&str, &Section)] =
    &[("dns", &DNS), ("dns-srv", &SRV), ("file", &FILE), ("registration", &REGISTRATION)];

const WORDS: &[(&str, Type)] =
    &[("dns", Type::Dns), ("dns-srv", Type::Srv), ("file", Type::File), ("registration", Type::Registration)];
const TYPE: Key = key("type", OneOf(&["dns", "dns-srv", "file", "registration"]), Required);
const MAX_SHRINK: Key = key("max_shrink", Ratio, Is("0.5"));
const MAX_ENDPOINTS: Key = key("max_endpoints", Number("number", 1, ENDPOINTS_MAX), Is("1000"));
const KEEP: Kind = OneOf(&["last-good", "newest"]);
const KEEP_LAST_GOOD: Key = key("keep", KEEP, Is("\"last-good\""));
/// A name of the DNS; a service has underscores in its name.
const DNS_NAME: Kind = Text("name in the DNS", r"^[A-Za-z0-9._-]{1,253}$");
const MIN_TTL: Key = key("min_ttl", Duration, Is("\"1s\""));
const MAX_TTL: Key = key("max_ttl", Duration, Is("\"1m\""));
const FAMILY: Key = key("family", OneOf(&["auto", "ipv4", "ipv6", "both"]), Is("\"auto\""));
const SERVERS: Key = key("servers", List("addresses and ports", &IP_ADDRESS), Words("those of the machine"));
const TIMEOUT: Key = key("timeout", Duration, Is("\"2s\""));

const DNS: Section = section(
    "[upstream.NAME.discover] of type dns",
    &[
        TYPE,
        key("name", DNS_NAME, Required),
        key("port", Number("number", 1, 65_535), Required),
        FAMILY,
        SERVERS,
        MIN_TTL,
        MAX_TTL,
        TIMEOUT,
        KEEP_LAST_GOOD,
        MAX_SHRINK,
        MAX_ENDPOINTS,
    ],
);

const SRV: Section = section(
    "[upstream.NAME.discover] of type dns-srv",
    &[
        TYPE,
        key("name", DNS_NAME, Required),
        FAMILY,
        SERVERS,
        MIN_TTL,
        MAX_TTL,
        TIMEOUT,
        KEEP_LAST_GOOD,
        MAX_SHRINK,
        MAX_ENDPOINTS,
    ],
);

const FILE: Section = section(
    "[upstream.NAME.discover] of type file",
    &[TYPE, key("path", PATH, Required), KEEP_LAST_GOOD, MAX_SHRINK, MAX_ENDPOINTS],
);

const REGISTRATION: Section = section(
    "[upstream.NAME.discover] of type registration",
    &[
        TYPE,
        key("ttl", Duration, Is("\"15s\"")),
        key("token", SecretKind, Words("none")),
        key(
            "allow",
            List("networks", &NETWORK),
            Is("[\"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\", \"fc00::/7\"]"),
        ),
        key("keep", KEEP, Is("\"newest\"")),
        MAX_SHRINK,
        MAX_ENDPOINTS,
    ],
);

/// For a table whose type is not known.
const ANY: Section = section("[upstream.NAME.discover]", &[TYPE]);

/// The only key of a file of endpoints.
const OF_FILE: Section = section("Files of endpoints", &[key("endpoints", ENDPOINTS, Required)]);

#[derive(Clone, Copy)]
enum Type {
    Dns,
    Srv,
    File,
    Registration,
}

/// Reads `discover`, where it is given and enough of it could be read. The endpoints that the config itself has are put
/// into it when the plan is built.
pub(super) fn discover(fields: &Fields<'_>) -> Option<Discover> {
    let table = fields.get("discover", |value| {
        value.as_table().ok_or_else(|| Problem::new("a table is wanted").with_help("such as { type = \"dns\", ... }"))
    })?;
    let word = table.value.get("type").and_then(Value::as_str);
    let known = TYPES.iter().find(|(known, _)| Some(*known) == word);
    let place = fields.path_of("discover");
    let Some((_, section)) = known else {
        Fields::unchecked(table.value, &place, table.span, &ANY, fields.diags).required("type", one_of(WORDS));
        return None;
    };
    let own = Fields::new(table.value, &place, table.span, section, fields.diags);
    let kind = own.get("type", one_of(WORDS))?.value;
    let mut keeps_last_good = !matches!(kind, Type::Registration);
    own.set("keep", &mut keeps_last_good, one_of(&[("last-good", true), ("newest", false)]));
    let (mut max_shrink, mut max_endpoints) = (500_000, 1000);
    own.set("max_shrink", &mut max_shrink, ratio);
    own.set("max_endpoints", &mut max_endpoints, integer(1..=ENDPOINTS_MAX));
    let place = match kind {
        Type::Dns => {
            let port = own.required("port", integer(1..=65_535));
            DiscoverIn::Dns(dns(&own, port.map(|port| port.value).unwrap_or_default())?)
        }
        Type::Srv => DiscoverIn::Srv(dns(&own, 0)?),
        Type::File => {
            let path = own.required("path", path)?;
            DiscoverIn::File(own.diags.sources().directory(path.span.start).join(path.value).into())
        }
        Type::Registration => DiscoverIn::Registration(registration(&own)),
    };
    Some(Discover { place, keeps_last_good, max_shrink, max_endpoints, first: [].into() })
}

fn dns(fields: &Fields<'_>, port: u16) -> Option<Dns> {
    let mut dns = Dns {
        name: "".into(),
        port,
        family: Family::Auto,
        servers: [].into(),
        min_ttl: time::Duration::from_secs(1),
        max_ttl: time::Duration::from_mins(1),
        timeout: time::Duration::from_secs(2),
    };
    const FAMILIES: &[(&str, Family)] =
        &[("auto", Family::Auto), ("ipv4", Family::V4), ("ipv6", Family::V6), ("both", Family::Both)];
    fields.set("family", &mut dns.family, one_of(FAMILIES));
    if let Some(servers) = fields.list("servers", socket_address) {
        dns.servers = servers.into_iter().map(|server| server.value).collect();
    }
    fields.set("min_ttl", &mut dns.min_ttl, duration);
    fields.set("max_ttl", &mut dns.max_ttl, duration);
    fields.set("timeout", &mut dns.timeout, duration);
    match (fields.has("min_ttl"), fields.has("max_ttl")) {
        (true, true) if dns.max_ttl < dns.min_ttl => {
            let problem = Problem::new("it is shorter than `min_ttl`");
            fields.complain("max_ttl", fields.key_span("max_ttl"), problem);
        }
        // What is said holds.
        (true, false) => dns.max_ttl = dns.max_ttl.max(dns.min_ttl),
        (false, true) => dns.min_ttl = dns.min_ttl.min(dns.max_ttl),
        _ => {}
    }
    dns.name = fields.required("name", dns_name)?.value.into();
    Some(dns)
}

fn dns_name(value: &Value) -> Read<String> {
    let text = string(value)?;
    let help = "such as \"users.internal\" or \"_http._tcp.users.internal\"";
    if text.parse::<IpAddr>().is_ok() || text.parse::<SocketAddr>().is_ok() {
        let problem = Problem::new(format!("\"{text}\" is an address; a name in the DNS is wanted"));
        return Err(problem.with_help("an address goes into `endpoints`"));
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let name = text.strip_suffix('.').unwrap_or(&text);
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(text);
    }
    Err(Problem::new(format!("\"{text}\" is no name in the DNS")).with_help(help))
}

fn registration(fields: &Fields<'_>) -> Registration {
    let mut registration = Registration {
        ttl: time::Duration::from_secs(15),
        token: None,
        allow: PRIVATE.iter().filter_map(|network| network.parse::<IpNet>().ok()).collect(),
    };
    fields.set("ttl", &mut registration.ttl, duration);
    if let Some(value) = fields.get("token", Ok) {
        registration.token = fields.secret("token", value.value);
        if registration.token.as_ref().is_some_and(|token| token.expose().len() < TOKEN_MIN) {
            let problem = Problem::new(format!("at least {TOKEN_MIN} characters are wanted"));
            fields.complain("token", value.span, problem.with_help("such as the output of `openssl rand -hex 32`"));
        }
    }
    if let Some(networks) = fields.list("allow", network) {
        registration.allow = networks.into_iter().map(|network| network.value).collect();
    }
    registration
}

/// A file of endpoints that was read.
#[derive(Debug)]
pub(crate) struct EndpointsFile {
    text: String,
    /// As `endpoints` of `[upstream.NAME]` has them, each with an IP address.
    pub(crate) endpoints: Vec<Endpoint>,
}

/// Reads a file of endpoints; what was read before is given back where the file says the same. The error is all that is
/// wrong, each with its place.
pub(crate) fn read_endpoints(file: &Path, before: Option<Arc<EndpointsFile>>) -> Result<Arc<EndpointsFile>, String> {
    let failed = |why: String| format!("{}: error: {why}\n", file.display());
    let bytes = std::fs::metadata(file).map_err(|error| failed(format!("cannot be read: {error}")))?.len();
    if bytes > FILE_MAX {
        return Err(failed(format!("a file of endpoints has at most {FILE_MAX} bytes")));
    }
    let text = include::read_file(file).map_err(failed)?;
    if let Some(before) = before.filter(|before| before.text == text) {
        return Ok(before);
    }
    let diags = Diagnostics::default();
    let endpoints = parse_endpoints(file, &text, &diags);
    let report = diags.into_report();
    if report.errors() > 0 { Err(report.to_string()) } else { Ok(Arc::new(EndpointsFile { text, endpoints })) }
}

/// What a file of endpoints says: in TOML or, where its name ends so, in JSON.
fn parse_file(file: &Path, text: &str, base: usize, diags: &Diagnostics) -> Option<Table> {
    if !file.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) {
        let document = syntax::parse(text, base, diags)?;
        // Who writes the file decides where requests go, not what the gateway's environment holds.
        let mut wrong = |_, _, _| {};
        return Some(tree::from_document(document.as_table(), base, &|_| None, &mut wrong));
    }
    let failed = |at: usize, why: String| diags.push(Diagnostic::error(base + at..base + at, why));
    let json = match serde_json::from_str(text) {
        Ok(json) => json,
        Err(error) => {
            failed(place_of(text, &error), error.to_string());
            return None;
        }
    };
    let value = match json {
        json @ serde_json::Value::Object(_) => tree::from_json(json, &(base..base)),
        serde_json::Value::Array(groups) => match of_groups(groups) {
            Ok(json) => tree::from_json(json, &(base..base)),
            Err(why) => {
                failed(0, why);
                return None;
            }
        },
        _ => {
            failed(0, "an object with `endpoints`, or a list of objects with `targets`, is wanted".to_owned());
            return None;
        }
    };
    value.as_table().cloned()
}

/// Where in a text the reader of JSON stopped.
fn place_of(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let before: usize = lines.map(str::len).sum();
    (before + error.column().saturating_sub(1)).min(text.len())
}

/// Groups of targets as Prometheus has them in files, as a list of endpoints: labels are metadata, but for those that are
/// Prometheus's own.
fn of_groups(groups: Vec<serde_json::Value>) -> Result<serde_json::Value, String> {
    let mut endpoints = Vec::new();
    for (at, mut group) in groups.into_iter().enumerate() {
        let mut labels = group.get_mut("labels").map(serde_json::Value::take).unwrap_or_default();
        if let Some(labels) = labels.as_object_mut() {
            labels.retain(|name, _| !name.starts_with("__"));
        }
        let targets = group.get("targets").and_then(|targets| targets.as_array());
        let targets = targets.ok_or_else(|| format!("group {at} has no list of `targets`"))?;
        for target in targets {
            let mut endpoint = serde_json::json!({ "address": target });
            if !labels.is_null() {
                endpoint["metadata"] = labels.clone();
            }
            endpoints.push(endpoint);
        }
    }
    Ok(serde_json::json!({ "endpoints": endpoints }))
}

fn parse_endpoints(file: &Path, text: &str, diags: &Diagnostics) -> Vec<Endpoint> {
    let base = diags.sources_mut().add(file, &text.into());
    let Some(table) = parse_file(file, text, base, diags) else { return Vec::new() };
    let fields = Fields::new(&table, "", base..base, &OF_FILE, diags);
    fields.must_have("endpoints");
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut seen = HashSet::new();
    for found in upstream::endpoints(&fields) {
        let at = &found.address;
        let address = match &at.value {
            HostPort::Unix(name) => Address::Unix(name.clone()),
            HostPort::Ip { host, port } => {
                let Ok(ip) = host.parse::<IpAddr>() else {
                    let problem = Problem::new(format!("\"{host}\" is a name; an IP address is wanted"));
                    let help = "names are found with `discover = { type = \"dns\", ... }`";
                    fields.complain("endpoints", at.span.clone(), problem.with_help(help));
                    continue;
                };
                SocketAddr::new(ip, *port).into()
            }
        };
        if !seen.insert(address.clone()) {
            let problem = Problem::new(format!("{address} is an endpoint twice"));
            fields.complain("endpoints", at.span.clone(), problem);
        }
        endpoints.push(found.says.at(at.value.to_string().into(), address));
    }
    endpoints
}

/// Whether a text is a name that an endpoint's zone or metadata may have.
pub(crate) fn is_name(text: &str) -> bool {
    check_name(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::compile;

    const REST: &str = "[listener.web]\naddress = \"127.0.0.1:0\"\n\
                        [[route]]\nname = \"u\"\npath = \"/\"\nupstream = \"u\"\n";

    fn errors(upstream: &str) -> String {
        let text = format!("[upstream.u]\n{upstream}\n{REST}");
        compile("t.toml", &text, 1, &mut |_, _| Ok(Vec::new()))
            .map_or_else(|report| report.to_string(), |_| String::new())
    }

    #[test]
    fn every_mistake_is_told() {
        for (upstream, wanted) in [
            ("", "the key `endpoints` is missing"),
            ("discover = {}", "the key `type` is missing"),
            ("discover = { type = \"consul\" }", "upstream.u.discover.type: "),
            ("discover = { type = \"dnssrv\", name = \"a\" }", "did you mean \"dns-srv\"?"),
            ("discover = { type = \"dns\", name = \"a.b\" }", "the key `port` is missing"),
            ("discover = { type = \"dns\", name = \"10.0.0.1\", port = 1 }", "is an address; a name"),
            ("discover = { type = \"dns\", name = \"a..b\", port = 1 }", "is no name in the DNS"),
            ("discover = { type = \"dns-srv\", name = \"a\", port = 1 }", "unknown key `port`"),
            ("discover = { type = \"dns-srv\", name = \"a\", min_ttl = \"2m\", max_ttl = \"1m\" }", "shorter than"),
            ("discover = { type = \"file\" }", "the key `path` is missing"),
            ("discover = { type = \"registration\", token = \"short\" }", "at least 16 characters"),
            ("discover = { type = \"registration\", allow = \"10.0.0.1/8\" }", "did you mean \"10.0.0.0/8\"?"),
            ("discover = { type = \"registration\", max_shrink = 2 }", "discover.max_shrink"),
        ] {
            let errors = errors(upstream);
            assert!(errors.contains(wanted), "{upstream}: {errors}");
        }
        for sound in [
            "discover = { type = \"dns\", name = \"users.internal.\", port = 9000, servers = \"127.0.0.1:53\" }",
            "discover = { type = \"dns-srv\", name = \"_http._tcp.users\", keep = \"newest\" }",
            "discover = { type = \"file\", path = \"x.toml\" }\nendpoints = \"10.0.0.1:1\"",
            "discover = { type = \"registration\", allow = [] }",
        ] {
            assert_eq!(errors(sound), "", "{sound}");
        }
    }

    #[test]
    fn a_file_says_all_that_is_wrong_with_it_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("e.toml");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read_endpoints(&file, None).map(|file| file.endpoints.clone())
        };
        let sound = read(
            "endpoints = [\n \"10.0.0.1:80\",\n { address = \"[::1]:81\", weight = 3, priority = 1, zone = \"a\", \
             metadata = { version = \"2\" } },\n]\n",
        )
        .unwrap();
        let [one, two] = &*sound else { panic!("{sound:?}") };
        assert_eq!((&*one.name, one.weight, two.address.to_string()), ("10.0.0.1:80", 1, "[::1]:81".to_owned()));
        assert_eq!((two.weight, two.priority, two.zone.as_deref()), (3, 1, Some("a")));
        assert_eq!(two.metadata[0], ("version".into(), "2".into()));
        assert!(read("endpoints = []\n").unwrap().is_empty());
        let wrong = read(
            "endpoints = [\n \"10.0.0.1:80\",\n \"10.0.0.1:80\",\n \"users:80\",\n { address = \"10.0.0.2:0\" },\n \
             { address = \"10.0.0.3:1\", wieght = 3 },\n]\n",
        )
        .unwrap_err();
        for (place, why) in [
            (":3:2: error: ", "10.0.0.1:80 is an endpoint twice"),
            (":4:2: error: ", "\"users\" is a name; an IP address is wanted"),
            (":5:14: error: ", "has no port from 1"),
            (":6:28: error: ", "did you mean `weight`?"),
        ] {
            assert!(wrong.contains(place) && wrong.contains(why), "{place} {why}: {wrong}");
        }
        assert!(read("endpoints = [").unwrap_err().contains("e.toml:1:"));
        assert!(read("servers = []").unwrap_err().contains("the key `endpoints` is missing"));
        assert!(read_endpoints(&dir.path().join("none"), None).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_file_may_be_json_and_such_as_prometheus_reads() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("e.json");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read_endpoints(&file, None).map(|file| file.endpoints.clone())
        };
        let ours = read(
            r#"{"endpoints": ["10.0.0.1:80", {"address": "[::1]:81", "weight": 3, "metadata": {"version": "2"}}]}"#,
        );
        let [one, two] = &*ours.unwrap() else { panic!("two") };
        assert_eq!((&*one.name, one.weight, two.weight, two.metadata.len()), ("10.0.0.1:80", 1, 3, 1));
        let groups = r#"[
            {"targets": ["10.0.0.1:80", "10.0.0.2:80"], "labels": {"version": "2", "__meta_x": "/"}},
            {"targets": ["10.0.0.3:80"]}, {"targets": []}
        ]"#;
        let groups = read(groups).unwrap();
        let versions: Vec<Option<&str>> =
            groups.iter().map(|at| at.metadata.first().map(|(_, value)| &**value)).collect();
        assert_eq!(versions, [Some("2"), Some("2"), None]);
        assert!(read("[]").unwrap().is_empty() && read(r#"{"endpoints": []}"#).unwrap().is_empty());
        for (text, wanted) in [
            ("{\n\"endpoints\": [,]}", "e.json:2:15: error: "),
            ("[{}]", "group 0 has no list of `targets`"),
            ("[7]", "group 0 has no list of `targets`"),
            ("7", "an object with `endpoints`, or a list"),
            ("{}", "the key `endpoints` is missing"),
            (r#"{"endpoints": [{"address": "10.0.0.1:80", "wieght": 1}]}"#, "did you mean `weight`?"),
            (r#"[{"targets": ["10.0.0.1:80", "10.0.0.1:80"]}]"#, "10.0.0.1:80 is an endpoint twice"),
            (r#"[{"targets": [null]}]"#, "has no port"),
            (r#"[{"targets": ["10.0.0.1:80"], "labels": 7}]"#, "metadata"),
            ("", "e.json:1:1: error: "),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(wanted), "{text}: {said}");
        }
    }
}
