//! Which endpoint a request goes to, through a running gateway.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::{Client, Config, Engine, Message, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    a_client_comes_back_to_its_endpoint_across_reloads,
    a_forged_cookie_is_worth_nothing,
    a_header_decides_on_the_endpoint,
    cookies_and_paths_decide_on_the_endpoint,
    a_claim_decides_on_the_endpoint,
    a_token_that_is_none_goes_anywhere,
    a_key_that_everybody_has_fills_no_endpoint,
    the_endpoint_with_the_fewest_requests_is_next,
    an_endpoint_has_no_more_requests_at_once_than_it_may,
    an_endpoint_has_no_more_connections_than_it_may,
    a_route_asks_for_a_version,
    an_endpoint_that_fails_is_not_tried_twice,
);

/// An origin that answers with its name and the head that it got.
fn named(name: &'static str) -> SocketAddr {
    let (origin, _) = Origin::serve(move |request, connection| {
        let head = String::from_utf8_lossy(&request.head.raw).into_owned();
        let length = head.len();
        connection.send(format!("HTTP/1.1 200 OK\r\nX-Name: {name}\r\nContent-Length: {length}\r\n\r\n{head}"));
        true
    });
    origin.address
}

fn name(answer: &Message) -> String {
    assert_eq!(answer.status(), 200, "{:?}", answer.head);
    answer.head.get("x-name").expect("an origin answered").to_owned()
}

/// Asks with these field lines.
fn ask(client: &mut Client, path: &str, fields: &str) -> Message {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")).response()
}

/// Who answers so many requests.
fn names(client: &mut Client, path: &str, fields: &str, count: usize) -> Vec<String> {
    let mut names: Vec<String> = (0..count).map(|_| name(&ask(client, path, fields))).collect();
    names.sort();
    names.dedup();
    names
}

const STICKY: &str = "sticky = { cookie = \"shop\", secret = \"hush\", max_age = \"1h\" }";

/// The name and value of the cookie that came with an answer.
fn cookie(answer: &Message) -> String {
    let line = answer.head.get("set-cookie").expect("a cookie");
    let (cookie, attributes) = line.split_once("; ").expect("attributes");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
    format!("Cookie: other=1; {cookie}\r\n")
}

fn a_client_comes_back_to_its_endpoint_across_reloads(engine: Engine) {
    let (one, two, three) = (named("one"), named("two"), named("three"));
    let config = || Config::new(engine).upstream(STICKY);
    let gateway = config().endpoint(one).endpoint(two).start();
    let mut client = gateway.connect();
    let first = ask(&mut client, "/", "");
    let (home, brought) = (name(&first), cookie(&first));
    for _ in 0..6 {
        let again = ask(&mut client, "/", &brought);
        assert_eq!(name(&again), home);
        assert!(!again.head.has("set-cookie"), "it has one that is good");
    }
    // Endpoints come and change places; the process is another one.
    let more = config().endpoint(three).endpoint(two).endpoint(one);
    gateway.run(&more);
    assert_eq!(names(&mut gateway.connect(), "/", &brought, 6), [home.as_str()]);
    let other = more.start();
    assert_eq!(names(&mut other.connect(), "/", &brought, 6), [home.as_str()]);
    // Its endpoint is gone: another one answers and gives its cookie.
    let left = if home == "one" { two } else { one };
    gateway.run(&config().endpoint(left).endpoint(three));
    let mut client = gateway.connect();
    let moved = ask(&mut client, "/", &brought);
    assert_ne!(name(&moved), home);
    let (home, brought) = (name(&moved), cookie(&moved));
    assert_eq!(names(&mut client, "/", &brought, 6), [home.as_str()]);
}

fn a_forged_cookie_is_worth_nothing(engine: Engine) {
    let config = Config::new(engine).endpoint(named("one")).endpoint(named("two"));
    let gateway = config.clone().upstream(STICKY).start();
    let mut client = gateway.connect();
    let good = cookie(&ask(&mut client, "/", ""));
    let last = if good.trim_end().ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}\r\n", &good[..good.len() - 3]);
    let twice = format!("{}{}", good.replace("shop=", "shop2="), "Cookie: shop=\r\n");
    for brought in [forged.as_str(), &twice, "Cookie: shop=127.0.0.1\r\n", "Cookie: shop\r\n"] {
        assert!(ask(&mut client, "/", brought).head.has("set-cookie"), "{brought}");
        assert_eq!(names(&mut client, "/", brought, 4), ["one", "two"], "{brought}");
    }
    // Signed by somebody with another secret.
    gateway.run(&config.upstream(&STICKY.replace("hush", "hash")));
    assert!(ask(&mut gateway.connect(), "/", &good).head.has("set-cookie"));
}

fn a_header_decides_on_the_endpoint(engine: Engine) {
    for balance in ["ring-hash", "maglev"] {
        let balance = format!("balance = {{ type = \"{balance}\", key = \"header:x-user\" }}");
        let config = ["a", "b", "c"].into_iter().fold(Config::new(engine), |config, at| config.endpoint(named(at)));
        let gateway = config.data(2).upstream(&balance).start();
        let mut all = Vec::new();
        for user in 0..24 {
            let fields = format!("x-USER: user-{user}\r\n");
            // Whichever core has the connection.
            let mut found: Vec<String> = (0..4).flat_map(|_| names(&mut gateway.connect(), "/", &fields, 2)).collect();
            found.dedup();
            assert_eq!(found.len(), 1, "{balance}: user {user} met {found:?}");
            all.append(&mut found);
        }
        all.sort();
        all.dedup();
        assert_eq!(all, ["a", "b", "c"], "{balance}");
        assert!(names(&mut gateway.connect(), "/", "", 40).len() > 1, "without a key it goes anywhere");
    }
}

fn cookies_and_paths_decide_on_the_endpoint(engine: Engine) {
    let endpoints = ["a", "b", "c", "d"].map(|name| format!("\"{}\"", named(name))).join(", ");
    let upstream = |name: &str, key: &str, path: &str| {
        format!(
            "[upstream.{name}]\nendpoints = [{endpoints}]\nbalance = {{ type = \"maglev\", key = \"{key}\" }}\n\
             [[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"{name}\"\n"
        )
    };
    let more = upstream("by-cookie", "cookie:id", "/c") + &upstream("by-path", "path:user", "/{any}/{user}/x");
    let gateway = Config::new(engine).more(&more).start();
    let mut client = gateway.connect();
    let (mut by_cookie, mut by_path) = (Vec::new(), Vec::new());
    for user in 0..16 {
        let found = names(&mut client, "/c", &format!("Cookie: a=1\r\nCookie: b=2; id=user-{user}\r\n"), 3);
        let of_path = names(&mut client, &format!("/u/user-{user}/x"), "", 3);
        assert_eq!((found.len(), &found), (1, &of_path), "the same key, the same endpoint");
        assert_eq!(names(&mut client, &format!("/other/user-{user}/x?q=1"), "", 2), of_path);
        by_cookie.extend(found);
        by_path.extend(of_path);
    }
    by_cookie.sort();
    by_cookie.dedup();
    assert!(by_cookie.len() > 2, "{by_cookie:?}");
}

/// A field with a token that has this payload and signature.
fn token(payload: &str, signature: &str) -> String {
    let [header, payload] = ["{\"alg\":\"HS256\"}", payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("Authorization: Bearer {header}.{payload}.{signature}\r\n")
}

/// Three origins behind a balancer that hashes a claim.
fn by_claim(engine: Engine, balance: &str, claim: &str) -> Config {
    let balance = format!("balance = {{ type = \"{balance}\", key = \"claim:{claim}\" }}");
    let config = ["a", "b", "c"].into_iter().fold(Config::new(engine), |config, at| config.endpoint(named(at)));
    config.data(2).upstream(&balance)
}

fn a_claim_decides_on_the_endpoint(engine: Engine) {
    for (balance, claim) in [("ring-hash", "sub"), ("maglev", "/n/tenant~1id")] {
        let gateway = by_claim(engine, balance, claim).start();
        let mut all = Vec::new();
        for user in 0..24 {
            // Whatever else a token says, however it says it, and whoever signed it.
            let tokens = [
                token(&format!("{{\"sub\":\"{user}\",\"n\":{{\"tenant/id\":{user}}},\"iat\":1}}"), "AAAA"),
                token(&format!("{{\"n\" : {{\"tenant\\/id\": \"{user}\"}} ,\"s\\u0075b\" :{user}}}"), "BBBBBB"),
            ];
            let mut found: Vec<String> =
                tokens.iter().flat_map(|fields| names(&mut gateway.connect(), "/", fields, 4)).collect();
            found.dedup();
            assert_eq!(found.len(), 1, "{claim}: user {user} met {found:?}");
            all.append(&mut found);
        }
        all.sort();
        all.dedup();
        assert_eq!(all, ["a", "b", "c"], "{claim}");
    }
}

fn a_token_that_is_none_goes_anywhere(engine: Engine) {
    let gateway = by_claim(engine, "maglev", "sub").limits("request_line = \"16KiB\"").start();
    let mut client = gateway.connect();
    let good = token("{\"sub\":\"ann\"}", "AAAA");
    let home = names(&mut client, "/", &good, 4);
    assert_eq!(home.len(), 1, "{home:?}");
    let large = token(&format!("{{\"sub\":\"ann\",\"x\":\"{}\"}}", "x".repeat(7000)), "AAAA");
    for fields in [
        "",
        "Authorization: Basic YTpi\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer e30.e30\r\n",
        &good.replace("Bearer ", ""),
        &good.replace(".AAAA", ".AAAA.AAAA.AAAA"),
        &good.replace(".AAAA", ".AA=="),
        &token("{\"sub\":\"ann\",\"sub\":\"ann\"}", "AAAA"),
        &token("{\"sub\":\"ann\"", "AAAA"),
        &token("{\"sub\":[\"ann\"]}", "AAAA"),
        &token(&format!("{{\"sub\":\"{}\"}}", "x".repeat(257)), "AAAA"),
        &token(&format!("{{\"sub\":\"ann\",\"x\":{}{}}}", "[".repeat(100), "]".repeat(100)), "AAAA"),
        &large,
    ] {
        assert!(names(&mut client, "/", fields, 40).len() > 1, "{}", fields.get(..200).unwrap_or(fields));
    }
    // Just below the bound it counts.
    let large = large.replace(&URL_SAFE_NO_PAD.encode("x".repeat(1500)), "");
    assert_eq!(names(&mut client, "/", &large, 4), home);
}

/// An origin that says who came and keeps each request to `/hold` until it may go.
fn holding(name: &'static str, came: mpsc::Sender<&'static str>, go: Arc<Barrier>) -> SocketAddr {
    let (origin, _) = Origin::serve(move |request, connection| {
        // The test may be over.
        let _ = came.send(name);
        if request.head.line.starts_with("GET /hold") {
            go.wait();
        }
        connection.send(format!("HTTP/1.1 200 OK\r\nX-Name: {name}\r\nContent-Length: 0\r\n\r\n"));
        true
    });
    origin.address
}

fn next(came: &Receiver<&'static str>) -> &'static str {
    came.recv_timeout(PATIENCE).expect("an origin is asked")
}

fn the_endpoint_with_the_fewest_requests_is_next(engine: Engine) {
    let (send, came) = mpsc::channel();
    let go = Arc::new(Barrier::new(2));
    let config = ["one", "two"]
        .into_iter()
        .fold(Config::new(engine), |config, name| config.endpoint(holding(name, send.clone(), go.clone())));
    let gateway = config.data(2).upstream("balance = \"least-requests\"").start();
    let mut held = gateway.connect();
    held.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    let busy = next(&came);
    // On whatever core they are: while one has a request, the other is asked. On one connection a request has ended before
    // the next begins.
    let mut client = gateway.connect();
    for _ in 0..8 {
        assert_ne!(name(&client.get("/quick")), busy);
        assert_ne!(next(&came), busy);
    }
    go.wait();
    assert_eq!(name(&held.response()), busy);
    assert!((0..64).any(|_| name(&client.get("/quick")) == busy), "it is asked again");
}

fn a_key_that_everybody_has_fills_no_endpoint(engine: Engine) {
    let (send, came) = mpsc::channel();
    let go = Arc::new(Barrier::new(4));
    let config = ["one", "two"]
        .into_iter()
        .fold(Config::new(engine), |config, name| config.endpoint(holding(name, send.clone(), go.clone())));
    let balance = "balance = { type = \"maglev\", key = \"header:x-user\", max_load = 125 }";
    let gateway = config.data(2).upstream(balance).start();
    let mut clients: Vec<Client> = (0..3).map(|_| gateway.connect()).collect();
    let mut asked = Vec::new();
    for client in &mut clients {
        client.send("GET /hold HTTP/1.1\r\nHost: test\r\nX-User: same\r\n\r\n");
        asked.push(next(&came));
    }
    // The third would be more than 1.25 times an even share.
    assert!(asked[0] == asked[1] && asked[1] != asked[2], "{asked:?}");
    go.wait();
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
}

fn an_endpoint_has_no_more_requests_at_once_than_it_may(engine: Engine) {
    let (send, came) = mpsc::channel();
    let go = Arc::new(Barrier::new(2));
    let origin = holding("one", send, go.clone());
    let upstream = |wait: &str| {
        format!(
            "[upstream.u]\nendpoints = [{{ address = \"{origin}\", max_requests = 1 }}]\npool = {{ wait = \"{wait}\" }}\n\
             [[route]]\nname = \"r\"\npath = \"/{{rest...}}\"\nupstream = \"u\"\n"
        )
    };
    let gateway = Config::new(engine).data(2).more(&upstream("100ms")).start();
    let mut held = gateway.connect();
    held.send("GET /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    next(&came);
    for _ in 0..4 {
        assert_eq!(gateway.connect().get("/quick").code(), "pool_timeout");
    }
    assert!(came.try_recv().is_err(), "nothing more went there");
    // With time enough they wait, also for a place that comes free on another core.
    gateway.run(&Config::new(engine).data(2).more(&upstream("20s")));
    let mut waiting: Vec<Client> = (0..4).map(|_| gateway.connect()).collect();
    for client in &mut waiting {
        client.send("GET /quick HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    go.wait();
    assert_eq!(name(&held.response()), "one");
    for client in &mut waiting {
        assert_eq!(name(&client.response()), "one");
    }
}

fn an_endpoint_has_no_more_connections_than_it_may(engine: Engine) {
    let (one, two) = (Origin::listen(), Origin::listen());
    let (first, second) = (one.address, two.address);
    let upstream = format!(
        "[upstream.u]\nendpoints = [{{ address = \"{first}\", max_connections = 1 }}, \"{second}\"]\n\
         [[route]]\nname = \"r\"\npath = \"/{{rest...}}\"\nupstream = \"u\"\n"
    );
    let gateway = Config::new(engine).more(&upstream).start();
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    // One goes to the first, all others to the second, though it is not their turn.
    let mut connection = one.accept();
    connection.request();
    let mut others: Vec<_> = (0..3).map(|_| two.accept()).collect();
    for other in &mut others {
        other.request();
        other.answer("two");
    }
    one.expect_no_connection();
    connection.answer("one");
    let mut answers: Vec<String> = clients.iter_mut().map(|client| client.response().text().to_owned()).collect();
    answers.sort();
    assert_eq!(answers, ["one", "two", "two", "two"]);
    // Its connection is idle now, and used again.
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut next = gateway.connect();
    next.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    connection.request();
    connection.answer("one again");
    one.expect_no_connection();
}

fn a_route_asks_for_a_version(engine: Engine) {
    let (old, new, newest) = (named("old"), named("new"), named("newest"));
    let upstream = format!(
        "[upstream.u]\nendpoints = [\n\
         {{ address = \"{old}\", metadata = {{ version = \"v1\" }} }},\n\
         {{ address = \"{new}\", metadata = {{ version = \"v2\" }} }},\n\
         {{ address = \"{newest}\", metadata = {{ version = \"v2\", canary = \"yes\" }} }}]\n"
    );
    let route = |name: &str, path: &str, subset: &str| {
        format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"u\"\n{subset}\n")
    };
    let all = upstream
        + &route("all", "/all", "")
        + &route("v1", "/v1", "subset = { version = \"v1\" }")
        + &route("v2", "/v2", "subset = { version = \"v2\" }")
        + &route("canary", "/canary", "subset = { canary = \"yes\", version = \"v2\" }");
    let gateway = Config::new(engine).more(&all).start();
    let mut client = gateway.connect();
    assert_eq!(names(&mut client, "/all", "", 6), ["new", "newest", "old"]);
    assert_eq!(names(&mut client, "/v1", "", 4), ["old"]);
    assert_eq!(names(&mut client, "/v2", "", 4), ["new", "newest"]);
    assert_eq!(names(&mut client, "/canary", "", 4), ["newest"]);
}

fn an_endpoint_that_fails_is_not_tried_twice(engine: Engine) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let (broken, _) = Origin::serve(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        false
    });
    for balance in ["random", "two-choices", "least-requests", "peak-ewma", "adaptive", "ring-hash", "maglev"] {
        let gateway = Config::new(engine)
            .endpoint(broken.address)
            .endpoint(Origin::refusing())
            .endpoint(named("good"))
            .upstream(&format!("balance = \"{balance}\"\nretry = {{ attempts = 3 }}"))
            .start();
        let mut client = gateway.connect();
        for _ in 0..6 {
            let before = asked.load(Ordering::SeqCst);
            assert_eq!(name(&client.get("/")), "good", "{balance}");
            assert!(asked.load(Ordering::SeqCst) <= before + 1, "{balance}");
        }
    }
}
