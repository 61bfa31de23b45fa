//! What others make of the API and its page: schemathesis and a browser.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Place, TOKEN, tcp_of};
use crate::support::{Config, Engine, Gateway, Origin};

fn started(place: &Place, origin: &Origin) -> (Gateway, SocketAddr) {
    let config: Config = place.config(Engine::Ring).data(2).origin(origin);
    let gateway = config.more(&place.section_with_tcp()).start();
    let tcp = tcp_of(&gateway);
    (gateway, tcp)
}

#[test]
fn schemathesis_finds_the_api_as_it_is_described() {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/schemathesis");
    assert!(tool.exists(), "{} is missing: tools/setup installs it", tool.display());
    let place = Place::new();
    let origin = Origin::listen();
    let (gateway, tcp) = started(&place, &origin);
    let output = Command::new(tool)
        .current_dir(place.dir.path())
        .args(["run", "docs.json", "--url", &format!("http://{tcp}")].map(|word| match word {
            "docs.json" => concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json"),
            word => word,
        }))
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        // It would end the gateway.
        .args(["--exclude-path", "/v1/drain"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1", "--workers", "1"])
        .args(["--checks", "all", "--generation-database", "none", "--no-color"])
        .output()
        .expect("schemathesis runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

#[test]
fn a_browser_shows_the_page_and_wants_the_token() {
    let place = Place::new();
    let origin = Origin::listen();
    let (gateway, tcp) = started(&place, &origin);
    assert_eq!(gateway.connect().get("/hello").text(), "hello");
    let without = dom(&place, tcp, "");
    assert!(without.contains("a token is wanted"), "{without}");
    assert!(!without.contains(&origin.address.to_string()), "nothing is shown without the token");
    let page = dom(&place, tcp, &format!("#token={TOKEN}"));
    for wanted in
        ["plan 1, running", "/hello", &origin.address.to_string(), "in use", "1 (runs)", "aria-label=\"requests"]
    {
        assert!(page.contains(wanted), "no {wanted:?} in\n{page}");
    }
    assert!(!page.contains("role=\"alert\">"), "{page}");
    assert_eq!(gateway.stop().exit.code(), Some(0));
}

/// The page as a browser has it after its script has run.
fn dom(place: &Place, tcp: SocketAddr, fragment: &str) -> String {
    let output = Command::new("chromium-headless-shell")
        .args(["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", place.dir.path().join("browser").display()))
        .arg(format!("http://{tcp}/{fragment}"))
        .stderr(Stdio::null())
        .output()
        .expect("chromium-headless-shell runs: tools/setup installs it");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
