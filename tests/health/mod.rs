//! Endpoints that fail: found ill, left out, not asked for a time, and found well again, through a running gateway.

mod killed;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::support::{Client, Config, Engine, Message, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    an_endpoint_whose_checks_fail_is_left_and_comes_back,
    an_endpoint_that_is_killed_is_left_and_comes_back,
    a_check_asks_for_what_the_config_says,
    a_check_reads_status_and_body,
    an_endpoint_is_asked_by_one_core_for_all,
    what_is_known_of_an_endpoint_outlives_a_reload,
    an_endpoint_may_have_to_show_first_that_it_is_well,
    an_endpoint_that_takes_no_connection_is_left,
    an_endpoint_that_answers_badly_is_ejected,
    the_last_endpoints_are_not_ejected,
    an_open_breaker_answers_fifty_thousand_requests_by_itself,
    a_breaker_closes_when_its_endpoint_is_well_again,
    a_fallback_answers_while_the_breaker_is_open,
    a_fixed_response_may_be_the_fallback,
    a_breaker_of_the_upstream_counts_all_endpoints,
    a_breaker_stays_open_across_a_reload_and_goes_with_its_key,
);

/// An origin that can be made ill, and what it was asked.
struct Patient {
    origin: Origin,
    /// It answers its checks with 200.
    is_well: Arc<AtomicBool>,
    /// It answers everything else with 200.
    is_good: Arc<AtomicBool>,
    checks: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Patient {
    fn new(name: &'static str) -> Self {
        let (is_well, is_good) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let (checks, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (well, good, checked, asked) = (is_well.clone(), is_good.clone(), checks.clone(), requests.clone());
        let (origin, _) = Origin::serve(move |request, connection| {
            let is_check = request.head.raw.starts_with(b"GET /health ");
            let (count, is_fine) = if is_check { (&checked, &well) } else { (&asked, &good) };
            count.fetch_add(1, Ordering::SeqCst);
            let status = if is_fine.load(Ordering::SeqCst) { "200 OK" } else { "500 Internal Server Error" };
            connection.try_send(format!("HTTP/1.1 {status}\r\nX-Name: {name}\r\nContent-Length: 0\r\n\r\n").as_bytes())
        });
        Self { origin, is_well, is_good, checks, requests }
    }

    fn bad(name: &'static str) -> Self {
        let patient = Self::new(name);
        patient.is_good.store(false, Ordering::SeqCst);
        patient
    }

    fn asked(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn name(answer: &Message) -> &str {
    answer.head.get("x-name").unwrap_or("the gateway")
}

/// Asks until so many answers in a row are as wanted.
fn until(client: &mut Client, row: usize, wanted: impl Fn(&Message) -> bool) {
    let (begun, mut well) = (Instant::now(), 0);
    while well < row {
        assert!(begun.elapsed() < PATIENCE, "it never comes to that");
        well = if wanted(&client.get("/")) { well + 1 } else { 0 };
    }
}

const QUICK: &str = "path = \"/health\", interval = \"20ms\", unhealthy_after = 1, healthy_after = 1";

fn quick(engine: Engine) -> Config {
    Config::new(engine).upstream(&format!("health = {{ {QUICK} }}\nfailover = {{ panic = \"off\" }}"))
}

fn an_endpoint_whose_checks_fail_is_left_and_comes_back(engine: Engine) {
    let (one, two) = (Patient::new("one"), Patient::new("two"));
    let gateway = quick(engine).data(2).origin(&one.origin).origin(&two.origin).start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        until(&mut client, 1, |answer| name(answer) == "one");
        one.is_well.store(false, Ordering::SeqCst);
        until(&mut client, 20, |answer| name(answer) == "two");
        one.is_well.store(true, Ordering::SeqCst);
    }
    until(&mut client, 1, |answer| name(answer) == "one");
}

fn an_endpoint_that_is_killed_is_left_and_comes_back(engine: Engine) {
    let two = Patient::new("two");
    let one = Origin::listen();
    let address = one.address;
    let gateway = quick(engine).upstream("retry = { attempts = 1 }").endpoint(address).origin(&two.origin).start();
    let mut client = gateway.connect();
    drop(one);
    until(&mut client, 20, |answer| name(answer) == "two");
    // Somebody listens there again.
    let again = std::net::TcpListener::bind(address).expect("the same port");
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = again.accept() {
            let mut bytes = [0; 4096];
            while std::io::Read::read(&mut stream, &mut bytes).is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 200 OK\r\nX-Name: one\r\nContent-Length: 0\r\n\r\n";
                if std::io::Write::write_all(&mut stream, answer).is_err() {
                    break;
                }
            }
        }
    });
    until(&mut client, 1, |answer| name(answer) == "one");
}

fn a_check_asks_for_what_the_config_says(engine: Engine) {
    let (requests, checks) = (Origin::listen(), Origin::listen());
    let port = checks.address.port();
    let health = format!("health = {{ path = \"/well?deep=1\", host = \"users.test\", port = {port}, jitter = 0 }}");
    let _gateway = Config::new(engine).origin(&requests).upstream(&health).start();
    let mut connection = checks.accept();
    let request = connection.request();
    let head = String::from_utf8_lossy(&request.head.raw).into_owned();
    assert!(head.starts_with("GET /well?deep=1 HTTP/1.1\r\nHost: users.test\r\n"), "{head}");
    assert!(head.contains("\r\nUser-Agent: ringway-health\r\n"), "{head}");
    requests.expect_no_connection();
}

fn a_check_reads_status_and_body(engine: Engine) {
    for (says, is_well) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall fine!", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nall well", false),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfi\n\r\n0\r\n\r\n",
            false,
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n3\r\nne\n\r\n0\r\n\r\n",
            true,
        ),
        ("HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\nfine", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\nfine fine", false),
        ("nonsense\r\n\r\n", false),
        ("", false),
    ] {
        let (checks, _) = Origin::serve(move |_, connection| {
            connection.try_send(says.as_bytes());
            false
        });
        let port = checks.address.port();
        let health = format!(
            "failover = {{ panic = \"off\" }}\nhealth = {{ status = [\"200-204\", 302], body = \"fine\", port = {port}, \
             interval = \"20ms\", unhealthy_after = 1, healthy_after = 1, start = \"{}\" }}",
            if is_well { "unhealthy" } else { "healthy" }
        );
        let patient = Patient::new("one");
        let gateway = Config::new(engine).origin(&patient.origin).upstream(&health).start();
        let wanted = if is_well { 200 } else { 503 };
        until(&mut gateway.connect(), 10, |answer| answer.status() == wanted);
    }
}

fn an_endpoint_is_asked_by_one_core_for_all(engine: Engine) {
    let (patient, checks) = (Patient::new("one"), Origin::listen());
    let port = checks.address.port();
    let health = format!("health = {{ interval = \"1h\", jitter = 0, port = {port} }}");
    let gateway = Config::new(engine).data(2).origin(&patient.origin).upstream(&health).start();
    checks.accept().answer("well");
    // Whatever is to begin on any core has begun: each has served requests, and a plan came after those.
    for _ in 0..20 {
        assert_eq!(gateway.connect().get("/").status(), 200);
    }
    gateway.reload(&Config::new(engine).data(2).origin(&patient.origin).upstream(&health).route("priority = \"high\""));
    assert_eq!(gateway.connect().get("/").status(), 200);
    checks.expect_no_connection();
}

fn what_is_known_of_an_endpoint_outlives_a_reload(engine: Engine) {
    let (one, two, three) = (Patient::new("one"), Patient::new("two"), Patient::new("three"));
    let gateway = quick(engine).origin(&one.origin).origin(&two.origin).start();
    let mut client = gateway.connect();
    one.is_well.store(false, Ordering::SeqCst);
    until(&mut client, 20, |answer| name(answer) == "two");
    let before = one.asked();
    // Another upstream: checks that say nothing for hours, another endpoint, other places.
    let slow = QUICK.replace("20ms", "9h").replace("unhealthy_after = 1", "unhealthy_after = 9");
    let other = Config::new(engine).upstream(&format!("health = {{ {slow} }}\nfailover = {{ panic = \"off\" }}"));
    gateway.run(&other.origin(&three.origin).origin(&two.origin).origin(&one.origin));
    let mut client = gateway.connect();
    let mut names: Vec<String> = (0..20).map(|_| name(&client.get("/")).to_owned()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["three", "two"]);
    assert_eq!(one.asked(), before);
    // Without checks nothing speaks against it any more.
    gateway.run(&Config::new(engine).origin(&two.origin).origin(&one.origin));
    let mut client = gateway.connect();
    let names = [(); 2].map(|()| name(&client.get("/")).to_owned());
    assert!(names.contains(&"one".to_owned()), "{names:?}");
    let (before, checked) = (one.checks.load(Ordering::SeqCst), one.asked());
    for _ in 0..20 {
        client.get("/");
    }
    assert_eq!((one.checks.load(Ordering::SeqCst), one.asked()), (before, checked + 10));
}

fn an_endpoint_may_have_to_show_first_that_it_is_well(engine: Engine) {
    let patient = Patient::new("one");
    patient.is_well.store(false, Ordering::SeqCst);
    let health = format!("health = {{ {QUICK}, start = \"unhealthy\" }}\nfailover = {{ panic = \"off\" }}");
    let gateway = Config::new(engine).origin(&patient.origin).upstream(&health).start();
    let mut client = gateway.connect();
    let refused = client.get("/");
    assert_eq!((refused.status(), refused.text().contains("\"no_endpoint\"")), (503, true), "{}", refused.text());
    patient.is_well.store(true, Ordering::SeqCst);
    until(&mut client, 5, |answer| answer.status() == 200);
}

fn an_endpoint_that_takes_no_connection_is_left(engine: Engine) {
    let two = Patient::new("two");
    let gateway = Config::new(engine)
        .upstream("health = { type = \"tcp\", interval = \"20ms\", unhealthy_after = 2 }\nretry = { attempts = 1 }")
        .endpoint(Origin::refusing())
        .origin(&two.origin)
        .start();
    until(&mut gateway.connect(), 20, |answer| name(answer) == "two");
    assert_eq!(two.checks.load(Ordering::SeqCst), 0, "nothing is asked");
}

fn an_endpoint_that_answers_badly_is_ejected(engine: Engine) {
    let (one, two) = (Patient::bad("one"), Patient::new("two"));
    let gateway = Config::new(engine)
        .data(2)
        .upstream("outlier = { consecutive_failures = 3, eject_for = \"1h\" }")
        .origin(&one.origin)
        .origin(&two.origin)
        .start();
    let statuses: Vec<u16> = (0..40).map(|_| gateway.connect().get("/").status()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 3, "{statuses:?}");
    assert_eq!(one.asked(), 3);
    // It comes back by itself, and is out again at once: so it goes until it is well.
    let back = Config::new(engine)
        .upstream("outlier = { consecutive_failures = 2, eject_for = \"20ms\", max_eject_for = \"20ms\" }")
        .origin(&one.origin)
        .origin(&two.origin)
        .start();
    let mut client = back.connect();
    until(&mut client, 1, |_| one.asked() > 9);
    one.is_good.store(true, Ordering::SeqCst);
    until(&mut client, 1, |answer| name(answer) == "one" && answer.status() == 200);
    until(&mut client, 20, |answer| answer.status() == 200);
}

fn the_last_endpoints_are_not_ejected(engine: Engine) {
    let (one, two) = (Patient::bad("one"), Patient::bad("two"));
    let outlier = "outlier = { consecutive_failures = 1, eject_for = \"1h\", max_ejected = 0.5 }";
    let gateway = Config::new(engine).upstream(outlier).origin(&one.origin).origin(&two.origin).start();
    let mut client = gateway.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 500);
    }
    let mut asked = [one.asked(), two.asked()];
    asked.sort_unstable();
    assert_eq!(asked, [1, 19]);
}

/// Asks so often over one connection, many requests at once.
fn flood(client: &mut Client, requests: usize) -> Vec<Message> {
    const AT_ONCE: usize = 100;
    let batch = "GET /flood HTTP/1.1\r\nHost: test\r\n\r\n".repeat(AT_ONCE);
    let one = |_| {
        client.send(&batch);
        (0..AT_ONCE).map(|_| client.response()).collect::<Vec<_>>()
    };
    (0..requests / AT_ONCE).flat_map(one).collect()
}

fn is_refused(answer: &Message) -> bool {
    answer.status() == 503 && answer.text().contains("\"code\":\"breaker_open\"")
}

fn an_open_breaker_answers_fifty_thousand_requests_by_itself(engine: Engine) {
    let one = Patient::bad("one");
    let breaker =
        "breaker = { failure_ratio = 0.5, window = \"10s\", min_requests = 20, open_for = \"2h\", jitter = 0 }";
    let gateway = Config::new(engine).data(2).upstream(breaker).origin(&one.origin).start();
    let mut client = gateway.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 500);
    }
    let answers = flood(&mut client, 50_000);
    assert!(answers.iter().all(is_refused));
    // The other core knows, too.
    for _ in 0..10 {
        assert!(is_refused(&gateway.connect().get("/")));
    }
    let seconds: u64 = answers[0].head.get("retry-after").and_then(|after| after.parse().ok()).expect("seconds");
    assert!((7000..=7200).contains(&seconds), "{seconds}");
    assert_eq!(one.asked(), 20);
}

fn a_breaker_closes_when_its_endpoint_is_well_again(engine: Engine) {
    let one = Patient::bad("one");
    // Long enough for the count below to be read before the first probe, on a busy machine, too.
    let breaker = "breaker = { consecutive_failures = 3, open_for = \"300ms\", max_open_for = \"300ms\", probes = 2 }";
    let gateway = Config::new(engine).upstream(breaker).origin(&one.origin).start();
    let mut client = gateway.connect();
    until(&mut client, 1, is_refused);
    assert_eq!(one.asked(), 3);
    // Probes go through now and then, and fail.
    until(&mut client, 1, |_| one.asked() > 6);
    one.is_good.store(true, Ordering::SeqCst);
    until(&mut client, 50, |answer| answer.status() == 200);
}

fn a_fallback_answers_while_the_breaker_is_open(engine: Engine) {
    let (one, spare) = (Patient::bad("one"), Patient::new("spare"));
    let gateway = Config::new(engine)
        .upstream("breaker = { min_requests = 4, open_for = \"1h\", fallback = \"spare\" }")
        .origin(&one.origin)
        .more(&format!("[upstream.spare]\nendpoints = \"{}\"", spare.origin.address))
        .start();
    let mut client = gateway.connect();
    for _ in 0..4 {
        assert_eq!(client.get("/").status(), 500);
    }
    for _ in 0..10 {
        let answer = client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody").response();
        assert_eq!((answer.status(), name(&answer)), (200, "spare"));
    }
    assert_eq!((one.asked(), spare.asked()), (4, 10));
}

fn a_fixed_response_may_be_the_fallback(engine: Engine) {
    let (one, spare) = (Patient::bad("one"), Patient::bad("spare"));
    let breaker = "breaker = { min_requests = 4, open_for = \"1h\", fallback = ";
    let gateway = Config::new(engine)
        .upstream(&format!("{breaker}\"spare\" }}"))
        .origin(&one.origin)
        .more(&format!(
            "[upstream.spare]\nendpoints = \"{}\"\n{breaker}\"sorry\" }}\n[service.sorry]\ntype = \"respond\"\n\
             status = 200\nbody = \"later\"\nheaders = {{ retry-after = \"60\" }}\n",
            spare.origin.address
        ))
        .start();
    let mut client = gateway.connect();
    // Four open the breaker of the first, four more that of the other one.
    for _ in 0..8 {
        assert_eq!(client.get("/").status(), 500);
    }
    for _ in 0..4 {
        let answer = client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody").response();
        assert_eq!((answer.status(), answer.text(), answer.head.get("retry-after")), (200, "later", Some("60")));
    }
    assert_eq!((one.asked(), spare.asked()), (4, 4));
}

fn a_breaker_of_the_upstream_counts_all_endpoints(engine: Engine) {
    let all = [(); 4].map(|()| Patient::bad("bad"));
    let mut config =
        Config::new(engine).upstream("breaker = { of = \"upstream\", min_requests = 8, open_for = \"1h\" }");
    for patient in &all {
        config = config.origin(&patient.origin);
    }
    let gateway = config.start();
    let mut client = gateway.connect();
    for _ in 0..8 {
        assert_eq!(client.get("/").status(), 500);
    }
    for _ in 0..10 {
        assert!(is_refused(&client.get("/")));
    }
    assert_eq!(all.iter().map(Patient::asked).sum::<usize>(), 8);
}

fn a_breaker_stays_open_across_a_reload_and_goes_with_its_key(engine: Engine) {
    let one = Patient::bad("one");
    let config = |keys: &str| Config::new(engine).upstream(keys).origin(&one.origin);
    let gateway = config("breaker = { of = \"both\", min_requests = 2, open_for = \"1h\" }").start();
    let mut client = gateway.connect();
    until(&mut client, 2, is_refused);
    gateway.run(&config("breaker = { of = \"both\", min_requests = 5, open_for = \"2h\" }"));
    assert!(is_refused(&gateway.connect().get("/")));
    gateway.run(&config(""));
    assert_eq!(gateway.connect().get("/").status(), 500);
    // It begins anew.
    gateway.run(&config("breaker = { of = \"both\", min_requests = 2, open_for = \"1h\" }"));
    assert_eq!(gateway.connect().get("/").status(), 500);
}
