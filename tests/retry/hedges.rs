//! Requests that are slow go to another endpoint as well; the first answer is the client's.

use std::time::Instant;

use ringway_runtime::histogram::read_dir;
use tempfile::TempDir;

use crate::support::{Client, Config, Engine, Gateway, Origin, PATIENCE, on_both_engines};

use super::ask;

on_both_engines!(
    the_first_answer_wins_and_the_connection_of_a_late_one_is_kept,
    the_first_endpoint_may_still_win,
    only_what_may_be_done_twice_is_hedged,
    a_body_goes_along,
    a_body_that_is_too_long_to_keep_is_not_sent_again,
    there_are_no_more_hedges_than_the_budgets_say,
    a_route_may_have_none,
    a_bad_answer_does_not_win_while_a_better_one_may_come,
    a_try_that_fails_leaves_the_other,
    where_all_fail_the_client_hears_of_it,
    what_never_answers_is_closed_and_is_no_failure,
    a_client_that_leaves_ends_both,
    a_percentile_needs_answers_to_be_known,
    a_reload_switches_it_on,
);

const HEDGE: &str = "hedge = { after = \"30ms\", budget = 1 }";

struct World {
    gateway: Gateway,
    origins: [Origin; 2],
    dir: TempDir,
}

fn world(engine: Engine, retry: &str, more: &str) -> World {
    let origins = [Origin::listen(), Origin::listen()];
    let dir = tempfile::tempdir().unwrap();
    let gateway = config(engine, &origins, &dir, retry).upstream(more).start();
    World { gateway, origins, dir }
}

fn config(engine: Engine, origins: &[Origin; 2], dir: &TempDir, retry: &str) -> Config {
    let config = Config::new(engine).cores(&format!("metrics_dir = \"{}\"", dir.path().display()));
    config.origin(&origins[0]).origin(&origins[1]).upstream(&format!("retry = {{ backoff = \"off\", {retry} }}"))
}

impl World {
    fn hedges(&self, outcome: &str) -> u64 {
        let files = read_dir(self.dir.path()).unwrap().into_iter().map(Result::unwrap);
        let labels = [("upstream", "origin"), ("outcome", outcome)];
        files.filter_map(|file| file.counter("ringway_upstream_hedges_total", &labels)).sum()
    }

    /// A request that came later than another one and goes to the second endpoint is hedged at the first. When that one
    /// was not, it never will be.
    fn a_hedge_has_its_time(&self, path: &str) {
        let mut client = self.gateway.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let mut slow = self.origins[1].accept();
        slow.request();
        let mut quick = self.origins[0].accept();
        quick.request();
        quick.answer("quick");
        assert_eq!(client.response().text(), "quick");
        self.origins.iter().for_each(Origin::expect_no_connection);
    }

    /// Bytes that came from endpoints.
    fn received(&self) -> u64 {
        let files = read_dir(self.dir.path()).unwrap().into_iter().map(Result::unwrap);
        files.filter_map(|file| file.counter("ringway_received_bytes_total", &[("side", "upstream")])).sum()
    }

    fn counts(&self) -> [u64; 3] {
        ["sent", "won", "lost"].map(|outcome| self.hedges(outcome))
    }
}

fn get(client: &mut Client) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

fn the_first_answer_wins_and_the_connection_of_a_late_one_is_kept(engine: Engine) {
    let world = world(engine, HEDGE, "");
    let mut client = ask(&world.gateway, "GET");
    let mut slow = world.origins[0].accept();
    let head = slow.request().head.line;
    let mut quick = world.origins[1].accept();
    assert_eq!(quick.request().head.line, head);
    quick.answer("quick");
    assert_eq!(client.response().text(), "quick");
    slow.answer("late");
    assert_eq!(world.counts(), [1, 1, 0]);
    // Both serve further requests in turn; what came late belongs to none of them.
    for turn in 0..4 {
        let conn = if turn % 2 == 0 { &mut slow } else { &mut quick };
        get(&mut client);
        conn.request();
        conn.answer("next");
        assert_eq!(client.response().text(), "next");
    }
    // What came late came all the same.
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).len();
    assert_eq!(world.received(), (answer("quick") + answer("late") + 4 * answer("next")) as u64);
    world.origins.iter().for_each(Origin::expect_no_connection);
}

fn the_first_endpoint_may_still_win(engine: Engine) {
    let world = world(engine, HEDGE, "");
    let mut client = ask(&world.gateway, "GET");
    let mut first = world.origins[0].accept();
    first.request();
    let mut second = world.origins[1].accept();
    second.request();
    first.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_eq!(client.head().status(), 103);
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun");
    assert_eq!(client.head().status(), 200);
    second.answer("second");
    first.send("x".repeat(95));
    assert_eq!(client.take(100), format!("begun{}", "x".repeat(95)).into_bytes());
    assert_eq!(world.counts(), [1, 0, 1]);
}

fn only_what_may_be_done_twice_is_hedged(engine: Engine) {
    for (retry, method, twice) in
        [("", "POST", false), ("", "PATCH", false), ("", "DELETE", true), ("non_idempotent = true, ", "POST", true)]
    {
        let world = world(engine, &format!("{retry}{HEDGE}"), "");
        let mut client = ask(&world.gateway, method);
        let mut first = world.origins[0].accept();
        first.request();
        if twice {
            world.origins[1].accept().request();
        } else {
            world.a_hedge_has_its_time("/");
        }
        first.answer("ok");
        assert_eq!(client.response().text(), "ok", "{method}");
    }
}

fn a_body_goes_along(engine: Engine) {
    let world = world(engine, HEDGE, "");
    let mut client = world.gateway.connect();
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let mut first = world.origins[0].accept();
    first.head();
    // As long as it comes nobody is slow.
    client.send("3\r\ndef\r\n0\r\n\r\n");
    let mut second = world.origins[1].accept();
    assert_eq!(second.request().text(), "abcdef");
    second.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

fn a_body_that_is_too_long_to_keep_is_not_sent_again(engine: Engine) {
    let world = world(engine, HEDGE, "");
    let mut client = world.gateway.connect();
    let length = 20_000;
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length)));
    let mut first = world.origins[0].accept();
    first.request();
    world.a_hedge_has_its_time("/");
    first.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

fn there_are_no_more_hedges_than_the_budgets_say(engine: Engine) {
    for retry in [
        "hedge = { after = \"1ms\", budget = 0 }",
        "budget = 0, budget_floor = 0, hedge = { after = \"1ms\", budget = 1 }",
    ] {
        let world = world(engine, retry, "");
        let mut client = ask(&world.gateway, "GET");
        let mut first = world.origins[0].accept();
        first.request();
        let begun = Instant::now();
        while world.hedges("out_of_budget") == 0 {
            assert!(begun.elapsed() < PATIENCE, "nothing is denied");
            std::thread::yield_now();
        }
        first.answer("ok");
        assert_eq!(client.response().text(), "ok");
        assert_eq!(world.counts(), [0, 0, 0]);
    }
}

fn a_route_may_have_none(engine: Engine) {
    let origins = [Origin::listen(), Origin::listen()];
    let dir = tempfile::tempdir().unwrap();
    let hedged = "[[route]]\nname = \"hedged\"\npath = \"/hedged\"\nupstream = \"origin\"\n";
    let gateway = config(engine, &origins, &dir, HEDGE).route("retry = { hedge = false }").more(hedged).start();
    let world = World { gateway, origins, dir };
    let mut client = ask(&world.gateway, "GET");
    let mut first = world.origins[0].accept();
    first.request();
    world.a_hedge_has_its_time("/hedged");
    first.answer("ok");
    assert_eq!(client.response().text(), "ok");
}

fn a_bad_answer_does_not_win_while_a_better_one_may_come(engine: Engine) {
    let world = world(engine, &format!("on = [\"503\"], attempts = 2, {HEDGE}"), "");
    let mut client = ask(&world.gateway, "GET");
    let mut first = world.origins[0].accept();
    first.request();
    let mut second = world.origins[1].accept();
    second.request();
    second.send("HTTP/1.1 503 X\r\nContent-Length: 4\r\n\r\nbusy");
    client.expect_nothing_yet();
    first.answer("good");
    assert_eq!(client.response().text(), "good");
    assert_eq!(world.counts(), [1, 0, 1]);
}

fn a_try_that_fails_leaves_the_other(engine: Engine) {
    for first_fails in [true, false] {
        let world = world(engine, HEDGE, "");
        let mut client = ask(&world.gateway, "GET");
        let mut first = world.origins[0].accept();
        first.request();
        let mut second = world.origins[1].accept();
        second.request();
        let (failing, mut other) = if first_fails { (first, second) } else { (second, first) };
        failing.reset();
        client.expect_nothing_yet();
        other.answer("other");
        assert_eq!(client.response().text(), "other");
        assert_eq!(world.counts(), if first_fails { [1, 1, 0] } else { [1, 0, 1] });
    }
}

fn where_all_fail_the_client_hears_of_it(engine: Engine) {
    let world = world(engine, &format!("attempts = 1, {HEDGE}"), "");
    let mut client = ask(&world.gateway, "GET");
    let mut first = world.origins[0].accept();
    first.request();
    let mut second = world.origins[1].accept();
    second.request();
    second.reset();
    first.reset();
    assert_eq!(client.response().code(), "upstream_reset");
    assert_eq!(world.counts(), [1, 0, 1]);
}

fn what_never_answers_is_closed_and_is_no_failure(engine: Engine) {
    let world = world(engine, HEDGE, "breaker = { consecutive_failures = 1, open_for = \"1h\" }");
    let mut client = ask(&world.gateway, "GET");
    let mut silent = world.origins[0].accept();
    silent.request();
    let mut quick = world.origins[1].accept();
    quick.request();
    quick.answer("quick");
    assert_eq!(client.response().text(), "quick");
    silent.expect_end();
    // It is asked again.
    get(&mut client);
    let mut again = world.origins[0].accept();
    again.request();
    again.answer("again");
    assert_eq!(client.response().text(), "again");
}

fn a_client_that_leaves_ends_both(engine: Engine) {
    let world = world(engine, HEDGE, "");
    let client = ask(&world.gateway, "GET");
    let mut first = world.origins[0].accept();
    first.request();
    let mut second = world.origins[1].accept();
    second.request();
    client.reset();
    first.expect_end();
    second.expect_end();
}

fn a_percentile_needs_answers_to_be_known(engine: Engine) {
    let world = world(engine, "hedge = { after = \"p90\", at_least = \"40ms\", samples = 10, budget = 1 }", "");
    let mut client = ask(&world.gateway, "GET");
    let mut conns = Vec::new();
    for answered in 0..10 {
        if answered < 2 {
            conns.push(world.origins[answered].accept());
        }
        let conn = &mut conns[answered % 2];
        conn.request();
        conn.answer("ok");
        assert_eq!(client.response().text(), "ok");
        assert_eq!(world.counts(), [0, 0, 0]);
        get(&mut client);
    }
    // Now it is known what is slow.
    conns[0].request();
    conns[1].request();
    conns[1].answer("quick");
    assert_eq!(client.response().text(), "quick");
    assert_eq!(world.counts(), [1, 1, 0]);
}

fn a_reload_switches_it_on(engine: Engine) {
    let origins = [Origin::listen(), Origin::listen()];
    let dir = tempfile::tempdir().unwrap();
    let gateway = config(engine, &origins, &dir, "attempts = 2").start();
    let world = World { gateway, origins, dir };
    let mut client = ask(&world.gateway, "GET");
    let mut first = world.origins[0].accept();
    first.request();
    first.answer("ok");
    assert_eq!(client.response().text(), "ok");
    world.gateway.run(&config(engine, &world.origins, &world.dir, HEDGE));
    get(&mut client);
    // What the core knows of the endpoints and its connection to the first go on.
    let mut slow = world.origins[1].accept();
    slow.request();
    first.request();
    first.answer("quick");
    assert_eq!(client.response().text(), "quick");
}
