//! `docs/recipes/17-grpc.toml`: services of gRPC for programs and browsers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::grpc;
use crate::support::{Child, Client, Engine, on_both_engines};

const RECIPE: &str = include_str!("../../docs/recipes/17-grpc.toml");

on_both_engines!(programs_call_methods_each_in_its_way, browsers_call_the_catalog,);

#[test]
fn the_recipe_stands() {
    super::recipe("17-grpc");
}

/// The recipe at a free port, before one server for all of its upstreams.
struct Services {
    _child: Child,
    _server: Child,
    _dir: TempDir,
    address: SocketAddr,
}

fn services(engine: Engine) -> Services {
    let (server, endpoint) = grpc::server(&["--health"], &[]);
    let mut text = RECIPE.replace("127.0.0.1:8080", "127.0.0.1:0");
    text = text.replace("data = \"all\"", &format!("data = 1\nengine = \"{}\"\nbuffers = 64", engine.name()));
    text = text.replace("\"127.0.0.1:9701\", \"127.0.0.1:9702\"", "\"127.0.0.1:9701\"");
    for port in ["9701", "9711"] {
        text = text.replace(&format!("127.0.0.1:{port}"), &endpoint.to_string());
    }
    // The server has one service, and calls its methods by other names.
    text = text.replace("service = \"shop.Orders\"", "service = \"well\"");
    for (ours, theirs) in [("Orders/Get", "Fail"), ("Orders/Watch", "Count"), ("Orders/{method}", "{method}")] {
        text = text.replace(&format!("\"/shop.{ours}\""), &format!("\"/test.Calls/{theirs}\""));
    }
    let rewrite = "policies = [\"for-scripts\", { type = \"rewrite\", path = \"/test.Calls/{method}\" }]\ngrpc =";
    text = text.replace("policies = [\"for-scripts\"]\ngrpc =", rewrite);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ringway.toml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    let mut child = Child::start(command.arg("run").arg(&file).stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(child.stdout()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit_once(' ').unwrap().1.parse().unwrap();
    Services { _child: child, _server: server, _dir: dir, address }
}

fn programs_call_methods_each_in_its_way(engine: Engine) {
    let services = services(engine);
    grpc::call(
        services.address,
        &[],
        r#"
plan = lambda key, codes: json.dumps({"key": key, "codes": codes}).encode()
assert json.loads(unary("Fail", plan("a", [14, 8]))) == [None, "1", "2"]
assert 0 < json.loads(unary("Meta", timeout=3000))["remaining"] <= 61
assert len(list(stream("Count", json.dumps({"messages": 10}).encode()))) == 10
fails(lambda: unary("/shop.Nothing/Get"), Code.UNIMPLEMENTED, "no_route")
"#,
    );
}

fn browsers_call_the_catalog(engine: Engine) {
    let services = services(engine);
    let mut client = Client::connect(services.address);
    let origin = "Origin: https://shop.example.com\r\n";
    client.send(format!(
        "OPTIONS /shop.Catalog/Echo HTTP/1.1\r\nHost: a\r\n{origin}Access-Control-Request-Method: POST\r\n\r\n"
    ));
    let preflight = client.response().head;
    assert_eq!((preflight.status(), preflight.get("access-control-allow-methods")), (204, Some("POST")));
    assert_eq!(preflight.get("access-control-allow-origin"), Some("https://shop.example.com"));
    client.send(format!(
        "POST /shop.Catalog/Echo HTTP/1.1\r\nHost: a\r\n{origin}Content-Type: application/grpc-web+proto\r\n\
         X-Grpc-Web: 1\r\nContent-Length: 10\r\n\r\n\0\0\0\0\x05hello"
    ));
    let answer = client.response();
    assert_eq!(answer.status(), 200, "{:?}", answer.head);
    assert!(answer.head.get("access-control-expose-headers").unwrap().contains("grpc-status"));
    assert!(answer.body.starts_with(b"\0\0\0\0\x05hello\x80"), "{}", answer.body.escape_ascii());
    assert!(String::from_utf8_lossy(&answer.body).contains("grpc-status: 0\r\n"));
}
