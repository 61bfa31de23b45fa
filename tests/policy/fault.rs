//! `type = "fault"`.

use super::Metrics;
use crate::support::{Client, Config, Engine, Origin, on_both_engines};

on_both_engines!(
    a_refusal_has_its_status_and_a_code,
    only_requests_with_the_fields_are_hurt,
    a_share_of_the_requests_is_refused,
    requests_past_the_bound_are_not_delayed,
    a_request_may_be_delayed_and_then_refused,
    a_plan_that_leaves_a_policy_as_it_is_leaves_its_count,
);

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn a_refusal_has_its_status_and_a_code(engine: Engine) {
    let origin = Origin::listen();
    let abort = "policies = [{ type = \"fault\", abort = { status = 429 } }]";
    let (metrics, config) = Metrics::of(Config::new(engine).origin(&origin).route(abort));
    let gateway = config.start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!((answer.status(), &*answer.code()), (429, "fault_injected"));
    }
    let labels = [("reason", "fault_injected"), ("side", "internal")];
    assert_eq!(metrics.read().counter("ringway_refusals_total", &labels), Some(2));
    origin.expect_no_connection();
}

fn only_requests_with_the_fields_are_hurt(engine: Engine) {
    let (origin, _) = Origin::serve(|_, upstream| upstream.try_send(HELLO));
    let abort = "policies = [{ type = \"fault\", headers = { x-chaos = { prefix = \"y\" }, x-b = true }, \
                 abort = { status = 500 } }]";
    let gateway = Config::new(engine).origin(&origin).route(abort).start();
    let mut client = gateway.connect();
    let mut status =
        |fields: &str| client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).response().status();
    assert_eq!(status(""), 200);
    assert_eq!(status("X-Chaos: yes\r\n"), 200);
    assert_eq!(status("X-Chaos: no\r\nX-B: 1\r\n"), 200);
    assert_eq!(status("X-Chaos: yes\r\nX-B: 1\r\n"), 500);
}

fn a_share_of_the_requests_is_refused(engine: Engine) {
    let service = "[service.s]\ntype = \"respond\"\n[[route]]\nname = \"s\"\npath = \"/\"\nservice = \"s\"\n\
                   policies = [{ type = \"fault\", abort = { percentage = 25, status = 503 } }]\n";
    let gateway = Config::new(engine).more(service).start();
    let mut client = gateway.connect();
    let refused = (0..2000).filter(|_| client.get("/").status() == 503).count();
    // Sixteen standard deviations to either side.
    assert!((190..810).contains(&refused), "{refused} of 2000");
}

fn requests_past_the_bound_are_not_delayed(engine: Engine) {
    let (origin, _) = Origin::serve(|_, upstream| upstream.try_send(HELLO));
    let delay = "[policy.slow]\ntype = \"fault\"\ndelay = { time = \"1h\" }\nmax_active = 2\n";
    let other = "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"origin\"\npolicies = [\"slow\"]\n";
    let config = Config::new(engine).origin(&origin).route("policies = [\"slow\"]").more(delay).more(other);
    let (metrics, config) = Metrics::of(config);
    let gateway = config.start();
    let mut slow: Vec<Client> = Vec::new();
    for path in ["/", "/other"] {
        let mut client = gateway.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        slow.push(client);
        // It waits once it was counted; what is behind it then finds its place taken.
        while metrics.policy("evaluations", "slow") < slow.len() as u64 {
            std::thread::yield_now();
        }
    }
    // The bound is one for both routes.
    let mut client = gateway.connect();
    assert_eq!((client.get("/").text(), client.get("/other").text()), ("hello", "hello"));
    // A place that comes free is taken again.
    let mut gone = slow.remove(0);
    gone.finish();
    gone.expect_end();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    while metrics.policy("evaluations", "slow") < 5 {
        std::thread::yield_now();
    }
    let mut next = gateway.connect();
    assert_eq!(next.get("/").text(), "hello");
    client.expect_nothing_yet();
}

fn a_request_may_be_delayed_and_then_refused(engine: Engine) {
    let origin = Origin::listen();
    let both = "policies = [{ type = \"fault\", delay = { time = \"1ms\", distribution = \"exponential\" }, abort = { status = 502 } }]";
    let gateway = Config::new(engine).origin(&origin).route(both).start();
    let mut client = gateway.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/").code(), "fault_injected");
    }
    origin.expect_no_connection();
}

fn a_plan_that_leaves_a_policy_as_it_is_leaves_its_count(engine: Engine) {
    let (origin, _) = Origin::serve(|_, upstream| upstream.try_send(HELLO));
    let config = |time: &str, more: &str| {
        let slow = format!("[policy.slow]\ntype = \"fault\"\ndelay = {{ time = \"{time}\" }}\nmax_active = 1\n{more}");
        Config::new(engine).origin(&origin).route("policies = [\"slow\"]").more(&slow)
    };
    let (metrics, first) = Metrics::of(config("30m", ""));
    let gateway = first.start();
    let mut slow = gateway.connect();
    slow.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    while metrics.policy("evaluations", "slow") == 0 {
        std::thread::yield_now();
    }
    let other = "[[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"origin\"\n";
    gateway.run(&config("30m", other).cores(&metrics.directory()));
    // The one place is still taken.
    assert_eq!(gateway.connect().get("/").text(), "hello");
    gateway.run(&config("20m", other).cores(&metrics.directory()));
    let mut next = gateway.connect();
    next.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    while metrics.policy("evaluations", "slow") < 3 {
        std::thread::yield_now();
    }
    assert_eq!(gateway.connect().get("/").text(), "hello");
    next.expect_nothing_yet();
    slow.expect_nothing_yet();
}
