//! `ringway explain` and the gateway that runs agree, whatever the config and the request.

use std::cell::RefCell;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use ringway::cli::explain::{Answer, Asked, Explanation, explain};
use ringway::plan::Plan;
use ringway_runtime::engine::sim::World;

use super::http::{Peer, field};
use super::{Gateway, ORIGIN_PORT, PORT, plan};

/// Configs, and requests on each: 10,000 in all.
const CONFIGS: u32 = 100;
const REQUESTS: usize = 100;

const HOSTS: [&str; 6] = ["a.test", "b.test", "x.b.test", "*.b.test", "*.test", "A.test"];
const SEGMENTS: [&str; 6] = ["a", "b", "a%20b", "{one}", "*", "{two}"];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "PURGE"];
const SENT_METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "OPTIONS", "PURGE", "CONNECT", "get", "B@D"];
const SENT_HOSTS: [&str; 9] =
    ["a.test", "b.test", "x.b.test", "y.x.b.test", "A.TEST:80", "c.test.", "other", "10.0.0.1", "a.test:x"];
const SENT_SEGMENTS: [&str; 13] =
    ["a", "b", "c", "a%20b", "a%20B", "%61", "..", ".", "", "%2e%2e", "a%2fb", "%zz", "a;b"];

fn predicates(key: &'static str) -> impl Strategy<Value = String> {
    select(vec!["true", "\"1\"", "{ prefix = \"1\" }"]).prop_map(move |test| format!("{{ {key} = {test} }}"))
}

/// A route without its name.
fn route() -> impl Strategy<Value = String> {
    let rest = select(vec!["", "", "/{rest...}", "/"]);
    let path = (prop::collection::vec(select(SEGMENTS.to_vec()), 0..3), rest).prop_map(|(segments, rest)| {
        // A name stands once in a path.
        let mut seen: Vec<&str> = Vec::new();
        let mut path = String::new();
        for segment in segments {
            if !segment.starts_with('{') || !seen.contains(&segment) {
                seen.push(segment);
                path = path + "/" + segment;
            }
        }
        path += rest;
        if path.is_empty() { "/".to_owned() } else { path }
    });
    (
        subsequence(HOSTS.to_vec(), 0..3),
        path,
        subsequence(METHODS.to_vec(), 0..3),
        prop::option::weighted(0.3, predicates("x-test")),
        prop::option::weighted(0.3, predicates("q")),
        select(vec!["upstream = \"echo\"", "service = \"moved\"", "service = \"hello\""]),
        prop::option::weighted(0.3, select(vec![0, 3, 7])),
        select(vec![
            "",
            ", { type = \"rewrite\", path = \"/new{path}\" }",
            ", { type = \"rewrite\", query = \"was={path}\" }",
            ", { type = \"rewrite\", strip_prefix = \"/a\" }, { type = \"rewrite\", query = \"\" }",
            ", { type = \"redirect\", status = 307, location = \"/early{path_query}\" }",
            ", { type = \"redirect\", trailing_slash = \"add\" }",
            ", { type = \"respond\", status = 203, body = \"early\" }",
            ", { type = \"respond\", status = 203, body = \"early\", shadow = true }",
        ]),
    )
        .prop_map(|(hosts, path, methods, header, query, action, body, rewrite)| {
            let mut text = format!("path = \"{path}\"\n{action}\n");
            if !hosts.is_empty() {
                writeln!(text, "hosts = {hosts:?}").unwrap();
            }
            if !methods.is_empty() {
                writeln!(text, "methods = {methods:?}").unwrap();
            }
            for (key, value) in [("headers", header), ("query", query)] {
                if let Some(value) = value {
                    writeln!(text, "{key} = {value}").unwrap();
                }
            }
            if let Some(body) = body {
                writeln!(text, "body = \"{body}B\"").unwrap();
            }
            let edit = "request = { remove = [\"x-test\"], set = { x-asked = \"{method} {path_query}\" } }";
            let seen = if path.contains("{one}") { "{path}|{one}" } else { "{path}" };
            writeln!(
                text,
                "policies = [\"name\", {{ type = \"headers\", {edit}, response = {{ set = {{ x-seen = \"{seen}\" }} }} }}{rewrite}]"
            )
            .unwrap();
            text.replace("\"name\"", "NAME")
        })
}

/// The tables that all configs share.
fn common(origin: SocketAddr) -> String {
    format!(
        "[limits]\nbody = \"5B\"\nrequest_line = \"256B\"\n[upstream.echo]\nendpoints = [\"{origin}\"]\n\
         [service.moved]\ntype = \"redirect\"\nstatus = 308\nlocation = \"/moved{{path_query}}\"\n\
         [service.hello]\ntype = \"respond\"\nstatus = 202\nbody = \"hello\"\n"
    )
}

/// A config of as many of `routes` as get along.
fn config(origin: SocketAddr, routes: &[String]) -> String {
    let mut config = common(origin);
    for (at, route) in routes.iter().enumerate() {
        let name = format!("{{ type = \"headers\", response = {{ set = {{ x-route = \"r{at}\" }} }} }}");
        let more = format!("{config}[[route]]\nname = \"r{at}\"\n{}\n", route.replace("NAME", &name));
        let whole = format!("[listener.web]\naddress = \"0.0.0.0:{PORT}\"\n{more}");
        match ringway::config::compile("world.toml", &whole, 1, &mut |_, _| Err(String::new())) {
            Ok(_) => config = more,
            Err(report) => assert!(report.to_string().contains("same"), "only conflicts are expected: {report}"),
        }
    }
    config
}

#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: usize,
}

fn request() -> impl Strategy<Value = Request> {
    let path = (prop::collection::vec(select(SENT_SEGMENTS.to_vec()), 0..4), any::<bool>())
        .prop_map(|(segments, slash)| format!("/{}{}", segments.join("/"), if slash { "/" } else { "" }));
    let target = prop_oneof![
        30 => path.clone(),
        1 => Just("*".to_owned()),
        1 => Just("//a.test/a".to_owned()),
        1 => Just("/é".to_owned()),
        1 => Just(format!("/{}", "long".repeat(70))),
        2 => path.prop_map(|path| format!("http://b.test{path}")),
    ];
    let query = select(vec!["", "", "?", "?q", "?q=1", "?q=12&r", "?r=1&q=%31", "?q=2&q=1"]);
    let header = prop::option::of(select(vec!["", "1", "12", "2"]));
    (
        select(SENT_METHODS.to_vec()),
        target,
        query,
        select(SENT_HOSTS.to_vec()),
        header,
        select(vec![0, 0, 0, 2, 5, 6, 9]),
    )
        .prop_map(|(method, target, query, host, header, body)| {
            // A client has both from the same URL.
            let host = if target.starts_with("http:") { "b.test" } else { host };
            let mut headers = vec![("Host".to_owned(), host.to_owned())];
            headers.extend(header.map(|value| ("X-Test".to_owned(), value.to_owned())));
            if body > 0 {
                headers.push(("Content-Length".to_owned(), body.to_string()));
            }
            headers.push(("Connection".to_owned(), "close".to_owned()));
            Request { method, target: target + query, headers, body }
        })
}

/// Answers with the target and two fields that it saw.
fn echo(world: &World) -> SocketAddr {
    let engine = world.node("echo").unwrap();
    let address = SocketAddr::new(world.address("echo"), ORIGIN_PORT);
    let listener = engine.listen(address).unwrap();
    let inner = engine.clone();
    engine.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            inner.spawn(async move {
                let mut peer = Peer::new(stream);
                while let Ok(head) = peer.head().await {
                    let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                    peer.bytes(length).await.unwrap();
                    let target = head.split(' ').nth(1).unwrap();
                    let asked = field(&head, "x-asked").unwrap_or_default();
                    let test = field(&head, "x-test").is_some();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Target: {target}\r\nX-Asked: {asked}\r\nX-Test-Came: {test}\r\n\r\n"
                    );
                    peer.send(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

/// Sends all requests, each on a connection of its own, and returns head and body of the answers.
fn ask(world: &World, address: SocketAddr, requests: &[Request]) -> Vec<(String, String)> {
    let engine = world.node("client").unwrap();
    let answers = Rc::new(RefCell::new(Vec::new()));
    let (inner, into, requests) = (engine.clone(), answers.clone(), requests.to_vec());
    let count = requests.len();
    engine.spawn(async move {
        for request in requests {
            let mut text = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
            for (name, value) in &request.headers {
                write!(text, "{name}: {value}\r\n").unwrap();
            }
            text += "\r\n";
            text += &"x".repeat(request.body);
            let mut peer = Peer::connect(&inner, address).await.unwrap();
            peer.send(text.as_bytes()).await.unwrap();
            let head = peer.head().await.unwrap();
            let mut body = Vec::new();
            while let Ok(more) = peer.some().await {
                body.extend(more);
            }
            into.borrow_mut().push((head, String::from_utf8(body).unwrap()));
        }
    });
    world.run_until(|| answers.borrow().len() == count).unwrap();
    answers.take()
}

fn asked(request: &Request) -> Asked {
    Asked {
        method: request.method.to_owned(),
        url: request.target.clone(),
        headers: request.headers.clone(),
        listener: None,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

/// What the explanation promises that the answer holds.
fn agree(plan: &Plan, request: &Request, said: &Explanation<'_>, head: &str, body: &str) {
    let context = || format!("{request:?}\n{said:?}\n{head}{body}");
    let status: u16 = head[9..12].parse().unwrap();
    let is = |name: &str, wanted: Option<&str>| assert_eq!(field(head, name), wanted, "{name}: {}", context());
    is("x-route", said.route.map(|route| &*route.name));
    let writes = said.steps.iter().flat_map(|step| &step.does);
    let seen = writes.clone().find_map(|line| line.strip_prefix("response: writes x-seen: "));
    if said.route.is_some() && !said.steps.is_empty() {
        is("x-seen", seen.map(str::trim));
    }
    match &said.answer {
        Answer::Refused(refused) => {
            assert_eq!(status, refused.status, "{}", context());
            if request.method != "HEAD" {
                assert!(body.contains(&format!("\"code\":\"{}\"", refused.reason.code())), "{}", context());
            }
            let allow = refused.allow.join(", ");
            is("allow", (!allow.is_empty()).then_some(&*allow));
        }
        Answer::Policy(by_policy, fields) => {
            assert_eq!(status, *by_policy, "{}", context());
            let location = fields.iter().find(|(name, _)| name == "location");
            is("location", location.map(|(_, value)| value.as_str()));
        }
        Answer::Upstream(id, target) => {
            assert_eq!(status, 200, "{}", context());
            assert_eq!(&*plan.upstream(id.upstream).unwrap().name, "echo");
            is("x-target", Some(target));
            let asked = writes.clone().find_map(|line| line.strip_prefix("request: writes x-asked: "));
            is("x-asked", asked);
            is("x-test-came", Some("false"));
            let drops = writes.filter(|line| line.as_str() == "request: drops X-Test").count();
            assert_eq!(drops, request.headers.iter().filter(|(name, _)| name == "X-Test").count(), "{}", context());
        }
        Answer::Redirect(to, location) => {
            assert_eq!(status, *to, "{}", context());
            is("location", Some(location));
        }
        Answer::Health(..) => panic!("no route has one"),
        Answer::Respond(respond) => assert_eq!(status, respond.status, "{}", context()),
    }
    let others = plan.routes.len() - usize::from(said.route.is_some());
    assert!(said.lost.len() == others || said.path.is_none(), "every other route has a reason: {}", context());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CONFIGS, ..ProptestConfig::default() })]

    #[test]
    fn explain_and_the_running_gateway_agree(
        seed in any::<u64>(),
        routes in prop::collection::vec(route(), 1..10),
        requests in prop::collection::vec(request(), REQUESTS..=REQUESTS),
    ) {
        let world = World::new(seed);
        let config = config(echo(&world), &routes);
        let plan = plan(&format!("[listener.web]\naddress = \"0.0.0.0:{PORT}\"\n{config}"));
        let gateway = Gateway::start(&world, 1, &config);
        let answers = ask(&world, gateway.address, &requests);
        for (request, (head, body)) in requests.iter().zip(&answers) {
            let said = explain(&plan, &asked(request));
            let said = said.unwrap_or_else(|error| panic!("{request:?}: {error}"));
            agree(&plan, request, &said, head, body);
        }
    }
}
