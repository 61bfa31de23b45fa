//! Answers of the gateway's own, and what policies make of requests and answers.

use crate::support::{Config, Engine, Gateway, Origin, Transfer, on_both_engines};

on_both_engines!(
    a_fixed_response_has_its_status_fields_and_body,
    a_fixed_response_to_head_and_one_of_204_have_no_body,
    a_redirect_keeps_what_its_template_names,
    a_problem_says_what_is_wrong_and_nothing_internal,
    header_policies_edit_requests,
    header_policies_edit_answers,
    header_policies_edit_answers_of_the_gateways_own,
    fields_of_the_gateways_own_are_edited_too,
    policies_apply_in_order_and_in_reverse_on_the_way_back,
    a_prefix_is_stripped,
    paths_and_queries_are_rewritten,
);

const HELLO: &str = "[service.hello]\ntype = \"respond\"\nstatus = 203\nbody = \"hello\\n\"\n\
                     headers = { cache-control = \"no-store\" }\n\
                     [[route]]\nname = \"hello\"\npath = \"/hello\"\nservice = \"hello\"\n";

fn a_fixed_response_has_its_status_fields_and_body(engine: Engine) {
    let gateway = Config::new(engine).more(HELLO).start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        let answer = client.get("/hello");
        assert_eq!((answer.status(), answer.text(), answer.transfer), (203, "hello\n", Transfer::Length));
        assert_eq!(answer.head.get("cache-control"), Some("no-store"));
        assert_eq!(answer.head.get("content-type"), Some("text/plain; charset=utf-8"));
        assert!(answer.head.has("date"));
    }
}

fn a_fixed_response_to_head_and_one_of_204_have_no_body(engine: Engine) {
    let empty = "[service.empty]\ntype = \"respond\"\nstatus = 204\n\
                 [[route]]\nname = \"empty\"\npath = \"/empty\"\nservice = \"empty\"\n";
    let gateway = Config::new(engine).more(HELLO).more(empty).start();
    let mut client = gateway.connect();
    client.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /empty HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status(), head.get("content-length")), (203, Some("6")));
    let head = client.head();
    assert_eq!((head.status(), head.get("content-length"), head.get("content-type")), (204, None, None));
    assert_eq!(client.get("/hello").text(), "hello\n");
}

fn a_redirect_keeps_what_its_template_names(engine: Engine) {
    let moved = "[service.moved]\ntype = \"redirect\"\nstatus = 301\nlocation = \"https://{host}/new/{page}?{query}\"\n\
                 [[route]]\nname = \"moved\"\npath = \"/old/{page}\"\nservice = \"moved\"\n";
    let gateway = Config::new(engine).more(moved).start();
    let mut client = gateway.connect();
    client.send("GET /old/a%41b?x=1 HTTP/1.1\r\nHost: example.com:8080\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status(), answer.text()), (301, ""));
    assert_eq!(answer.head.get("location"), Some("https://example.com:8080/new/aAb?x=1"));
    // A query is passed on as it came: still encoded.
    let answer = client.get("/old/b?x=%0d%0aSet-Cookie:a");
    assert_eq!(answer.head.get("location"), Some("https://test/new/b?x=%0d%0aSet-Cookie:a"));
    assert!(!answer.head.has("set-cookie"));
}

fn a_problem_says_what_is_wrong_and_nothing_internal(engine: Engine) {
    let gateway = Config::new(engine).endpoint(Origin::refusing()).start();
    let mut client = gateway.connect();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = client.get("/secret/path");
        assert_eq!((answer.status(), answer.code().as_str()), (502, "upstream_connect_failed"));
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let mut keys: Vec<_> = problem.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["code", "correlation_id", "detail", "status", "title", "type"]);
        assert_eq!((problem["title"].as_str(), problem["type"].as_str()), (Some("Bad Gateway"), Some("about:blank")));
        let id = problem["correlation_id"].as_str().unwrap().to_owned();
        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        ids.push(id);
        for internal in ["127.0.0.1", "secret", "origin"] {
            assert!(!answer.text().contains(internal), "{}", answer.text());
        }
    }
    assert_ne!(ids[0], ids[1]);
}

fn header_policies_edit_requests(engine: Engine) {
    let origin = Origin::listen();
    let edits = "path = \"/users/{id}\"\npolicies = [{ type = \"headers\", request = { \
                 set = { x-user = \"{id}\", host = \"inner.example\", x-id = \"{request_id}\" }, \
                 add = { x-more = [\"1\", \"{method}\"] }, remove = [\"x-debug\"], \
                 rename = { x-old = \"x-new\" } } }]";
    let gateway = Config::new(engine).origin(&origin).route(edits).start();
    let mut client = gateway.connect();
    client.send(
        "GET /users/7 HTTP/1.1\r\nHost: outer\r\nX-User: evil\r\nX-user: evil\r\nX-More: 0\r\nX-Debug: 1\r\n\
         X-OLD: kept\r\n\r\n",
    );
    let request = origin.accept().request().head;
    assert_eq!(request.get("x-user"), Some("7"));
    assert_eq!(request.get("host"), Some("inner.example"));
    assert_eq!(request.get("x-id").map(str::len), Some(16));
    assert_eq!(request.all("x-more"), ["0", "1", "GET"]);
    assert_eq!((request.get("x-debug"), request.get("x-old"), request.get("x-new")), (None, None, Some("kept")));
    assert_eq!(request.get("x-forwarded-host"), Some("outer"));
}

const ANSWER_EDITS: &str = "policies = [{ type = \"headers\", response = { set = { server = \"mine\", \
                            content-type = \"text/x-set\" }, add = { link = [\"<a>\", \"<b>\"] }, \
                            remove = [\"cache-control\"], rename = { x-old = \"x-new\" } } }]";

fn header_policies_edit_answers(engine: Engine) {
    let origin = Origin::listen();
    let gateway = Config::new(engine).origin(&origin).route(ANSWER_EDITS).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    upstream.request();
    upstream.send(
        "HTTP/1.1 200 OK\r\nServer: theirs\r\nContent-Type: text/html\r\nCache-Control: private\r\nX-Old: 1\r\n\
         Content-Length: 0\r\n\r\n",
    );
    let answer = client.response().head;
    assert_eq!((answer.get("server"), answer.get("content-type")), (Some("mine"), Some("text/x-set")));
    assert_eq!(answer.all("link"), ["<a>", "<b>"]);
    assert_eq!((answer.get("cache-control"), answer.get("x-old"), answer.get("x-new")), (None, None, Some("1")));
}

fn header_policies_edit_answers_of_the_gateways_own(engine: Engine) {
    let route = HELLO
        .replace("headers = {", "headers = { x-old = \"1\", ")
        .replace("path =", &format!("{ANSWER_EDITS}\npath ="));
    let gateway = Config::new(engine).more(&route).start();
    let answer = gateway.connect().get("/hello").head;
    assert_eq!((answer.get("server"), answer.get("content-type")), (Some("mine"), Some("text/x-set")));
    assert_eq!(answer.all("link"), ["<a>", "<b>"]);
    assert_eq!((answer.get("cache-control"), answer.get("x-old"), answer.get("x-new")), (None, None, Some("1")));
}

fn fields_of_the_gateways_own_are_edited_too(engine: Engine) {
    let origin = Origin::listen();
    let edits = "policies = [{ type = \"headers\", request = { set = { x-forwarded-proto = \"https\", \
                 via = \"mine\" }, remove = [\"x-forwarded-host\"], rename = { x-forwarded-for = \"x-real-ip\" } }, \
                 response = { set = { date = \"never\" }, remove = [\"via\"] } }]";
    let gateway = Config::new(engine).origin(&origin).route(edits).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    let request = upstream.request().head;
    assert_eq!((request.get("x-forwarded-proto"), request.get("via")), (Some("https"), Some("mine")));
    assert_eq!((request.get("x-forwarded-host"), request.get("x-forwarded-for")), (None, None));
    assert_eq!(request.get("x-real-ip"), Some("127.0.0.1"));
    upstream.answer("");
    let answer = client.response().head;
    assert_eq!((answer.get("date"), answer.get("via")), (Some("never"), None));
}

fn policies_apply_in_order_and_in_reverse_on_the_way_back(engine: Engine) {
    let origin = Origin::listen();
    let edits = |name: &str| {
        format!(
            "{{ type = \"headers\", request = {{ set = {{ x-in = \"{name}\" }} }}, \
             response = {{ set = {{ x-out = \"{name}\" }} }} }}"
        )
    };
    let policies = format!("policies = [{}, {}]", edits("first"), edits("second"));
    let gateway = Config::new(engine).origin(&origin).route(&policies).start();
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut upstream = origin.accept();
    assert_eq!(upstream.request().head.get("x-in"), Some("second"));
    upstream.answer("");
    assert_eq!(client.response().head.get("x-out"), Some("first"));
}

fn target(engine: Engine, route: &str, sent: &str) -> String {
    let origin = Origin::listen();
    let gateway: Gateway = Config::new(engine).origin(&origin).route(route).start();
    let mut client = gateway.connect();
    client.send(format!("GET {sent} HTTP/1.1\r\nHost: a\r\n\r\n"));
    origin.accept().request().head.line
}

fn a_prefix_is_stripped(engine: Engine) {
    let route = "policies = [{ type = \"rewrite\", strip_prefix = \"/api\" }]";
    assert_eq!(target(engine, route, "/api/users?x=1"), "GET /users?x=1 HTTP/1.1");
    assert_eq!(target(engine, route, "/api"), "GET / HTTP/1.1");
    assert_eq!(target(engine, route, "/apis"), "GET /apis HTTP/1.1");
    // What is stripped is a prefix of the normal path.
    assert_eq!(target(engine, route, "/%61pi/./users"), "GET /users HTTP/1.1");
}

fn paths_and_queries_are_rewritten(engine: Engine) {
    let route = "path = \"/u/{id}/{rest...}\"\n\
                 policies = [{ type = \"rewrite\", path = \"/v2/{id}\", query = \"rest={rest}&{query}\" }]";
    assert_eq!(target(engine, route, "/u/7/a/b?c=d"), "GET /v2/7?rest=a/b&c=d HTTP/1.1");
    let dropped = "policies = [{ type = \"rewrite\", query = \"\" }]";
    assert_eq!(target(engine, dropped, "/a?c=d"), "GET /a HTTP/1.1");
}
