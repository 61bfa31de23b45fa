//! Which policies a request meets, in which order, and what its answer meets.

use super::Metrics;
use crate::support::{Config, Engine, Origin, on_both_engines};

on_both_engines!(
    those_of_the_listener_come_first_and_answers_meet_all_in_reverse,
    requests_without_a_route_meet_those_of_the_listener,
    requests_that_cannot_be_understood_meet_none,
    an_answer_meets_those_that_its_request_went_past,
    refusals_on_the_way_meet_them_too,
    a_policy_may_answer_before_a_route_is_missed,
    one_name_is_one_policy_and_places_without_a_name_are_told_apart,
    a_rewrite_goes_on_from_the_one_before,
    what_a_later_policy_removes_is_gone,
);

fn marks(name: &str) -> String {
    format!(
        "{{ type = \"headers\", request = {{ add = {{ x-in = \"{name}\" }} }}, \
         response = {{ add = {{ x-out = \"{name}\" }} }} }}"
    )
}

fn policies(names: &[&str]) -> String {
    format!("policies = [{}]", names.iter().map(|name| marks(name)).collect::<Vec<_>>().join(", "))
}

fn those_of_the_listener_come_first_and_answers_meet_all_in_reverse(engine: Engine) {
    let origin = Origin::listen();
    let config = Config::new(engine).origin(&origin);
    let gateway = config.listener(&policies(&["l1", "l2"])).route(&policies(&["r1", "r2"])).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().head.all("x-in"), ["l1", "l2", "r1", "r2"]);
    upstream.answer("");
    assert_eq!(client.response().head.all("x-out"), ["r2", "r1", "l2", "l1"]);
}

fn requests_without_a_route_meet_those_of_the_listener(engine: Engine) {
    let route = "[service.s]\ntype = \"respond\"\n[[route]]\nname = \"s\"\npath = \"/s\"\nmethods = [\"GET\"]\nservice = \"s\"\n";
    let route = format!("{route}{}\n", policies(&["r"]));
    let gateway = Config::new(engine).listener(&policies(&["l"])).more(&route).start();
    let mut client = gateway.connect();
    let missed = client.get("/absent");
    assert_eq!((missed.status(), missed.head.all("x-out")), (404, vec!["l"]));
    client.send("POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let missed = client.response();
    assert_eq!((missed.status(), missed.head.all("x-out")), (405, vec!["l"]));
    assert_eq!(missed.head.get("allow"), Some("GET, HEAD"));
    assert_eq!(client.get("/s").head.all("x-out"), ["r", "l"]);
}

fn requests_that_cannot_be_understood_meet_none(engine: Engine) {
    let (metrics, config) = Metrics::of(Config::new(engine).listener(&policies(&["l"])));
    let route = "[service.s]\ntype = \"respond\"\n[[route]]\nname = \"s\"\npath = \"/s\"\nservice = \"s\"\n";
    let gateway = config.more(route).start();
    let mut client = gateway.connect();
    let ambiguous = client.get("/a/%2e%2e/b//c");
    assert_eq!((ambiguous.status(), ambiguous.head.all("x-out")), (400, vec![]));
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status(), 404);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    let malformed = client.response();
    assert_eq!((malformed.status(), malformed.head.all("x-out")), (400, vec![]));
    assert_eq!(metrics.policy("evaluations", "listener/web/headers"), 0);
}

fn an_answer_meets_those_that_its_request_went_past(engine: Engine) {
    let origin = Origin::listen();
    let stop = "{ type = \"respond\", status = 503, headers = { retry-after = \"9\" } }";
    let chain = format!("policies = [{}, {stop}, {}]", marks("before"), marks("behind"));
    let (metrics, config) = Metrics::of(Config::new(engine).origin(&origin).listener(&policies(&["l"])).route(&chain));
    let gateway = config.start();
    let answer = gateway.connect().get("/");
    assert_eq!((answer.status(), answer.head.all("x-out")), (503, vec!["before", "l"]));
    assert_eq!(answer.head.get("retry-after"), Some("9"));
    origin.expect_no_connection();
    assert_eq!(metrics.policy("evaluations", "route/all/headers"), 1);
    assert_eq!(metrics.policy("evaluations", "route/all/respond"), 1);
    assert_eq!(metrics.policy("evaluations", "route/all/headers/2"), 0);
}

fn refusals_on_the_way_meet_them_too(engine: Engine) {
    let config = Config::new(engine).endpoint(Origin::refusing());
    let gateway = config.listener(&policies(&["l"])).route(&policies(&["r"])).route("body = \"4B\"").start();
    let mut client = gateway.connect();
    let failed = client.get("/");
    assert_eq!((&*failed.code(), failed.head.all("x-out")), ("upstream_connect_failed", vec!["r", "l"]));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    let large = client.response();
    assert_eq!((&*large.code(), large.head.all("x-out")), ("body_too_large", vec!["r", "l"]));
}

fn a_policy_may_answer_before_a_route_is_missed(engine: Engine) {
    let closed = "policies = [{ type = \"respond\", status = 401, body = \"who are you?\" }]";
    let route = "[service.s]\ntype = \"respond\"\n[[route]]\nname = \"s\"\npath = \"/s\"\nservice = \"s\"\n";
    let gateway = Config::new(engine).listener(closed).more(route).start();
    let mut client = gateway.connect();
    // Nobody learns which paths there are.
    for path in ["/s", "/absent"] {
        let answer = client.get(path);
        assert_eq!((answer.status(), answer.text()), (401, "who are you?"));
    }
}

fn one_name_is_one_policy_and_places_without_a_name_are_told_apart(engine: Engine) {
    let config = "[policy.p]\ntype = \"headers\"\nresponse = { add = { x-p = \"{path}\" } }\n\
        [service.s]\ntype = \"respond\"\n\
        [[route]]\nname = \"one\"\npath = \"/one/{a}\"\nservice = \"s\"\n\
        policies = [\"p\", { type = \"headers\", response = { set = { x-a = \"{a}\" } } }, \"p\"]\n\
        [[route]]\nname = \"two\"\npath = \"/two/{b}/{a}\"\nservice = \"s\"\n\
        policies = [\"p\", { type = \"headers\", response = { set = { x-a = \"{a}\" } } }]\n";
    let (metrics, config) = Metrics::of(Config::new(engine).more(config));
    let gateway = config.start();
    let mut client = gateway.connect();
    let one = client.get("/one/1").head;
    assert_eq!((one.all("x-p"), one.get("x-a")), (vec!["/one/1", "/one/1"], Some("1")));
    let two = client.get("/two/2/3").head;
    assert_eq!((two.all("x-p"), two.get("x-a")), (vec!["/two/2/3"], Some("3")));
    assert_eq!(metrics.policy("evaluations", "p"), 3);
    assert_eq!(metrics.policy("evaluations", "route/one/headers"), 1);
    assert_eq!(metrics.policy("evaluations", "route/two/headers"), 1);
}

fn a_rewrite_goes_on_from_the_one_before(engine: Engine) {
    let origin = Origin::listen();
    let listener = "policies = [{ type = \"rewrite\", strip_prefix = \"/a\", query = \"l=1\" }]";
    let route = "policies = [{ type = \"rewrite\", strip_prefix = \"/b\" }]";
    let gateway = Config::new(engine).origin(&origin).listener(listener).route(route).start();
    let mut client = gateway.connect();
    client.send("GET /a/b/c?x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(origin.accept().request().head.line, "GET /c?l=1 HTTP/1.1");
}

fn what_a_later_policy_removes_is_gone(engine: Engine) {
    let origin = Origin::listen();
    let first =
        "{ type = \"headers\", request = { set = { x-a = \"1\", x-b = \"2\" } }, response = { remove = [\"x-o\"] } }";
    let second = "{ type = \"headers\", request = { remove = [\"x-a\"], rename = { x-b = \"x-c\" } }, \
                  response = { set = { x-o = \"1\", x-p = \"2\" } } }";
    let route = format!("policies = [{first}, {second}]");
    let gateway = Config::new(engine).origin(&origin).route(&route).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-A: 0\r\n\r\n");
    let mut upstream = origin.accept();
    let request = upstream.request().head;
    assert_eq!((request.get("x-a"), request.get("x-b"), request.get("x-c")), (None, None, Some("2")));
    upstream.answer("");
    let answer = client.response().head;
    assert_eq!((answer.get("x-o"), answer.get("x-p")), (None, Some("2")));
}
