//! `docs/recipes/26-certificates.toml`: a site on https whose certificates the gateway keeps itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::support::{Child, Client, Engine, Origin, on_both_engines};
use crate::tls::Client as TlsClient;
use crate::tls::acme::Plan;

const RECIPE: &str = include_str!("../../docs/recipes/26-certificates.toml");

on_both_engines!(one_certificate_is_issued_and_another_brought,);

#[test]
fn the_recipe_stands() {
    super::recipe("26-certificates");
}

fn one_certificate_is_issued_and_another_brought(engine: Engine) {
    let plan = Plan::with(&["www.example.com", "example.com"]);
    let shop = Origin::listen();
    let (url, ca) = (plan.directory(), plan.authority.file.display().to_string());
    let mut text = RECIPE.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:8443", "127.0.0.1:0");
    text = text.replace("data = \"all\"", &format!("data = 1\nengine = \"{}\"\nbuffers = 64", engine.name()));
    text = text.replace("127.0.0.1:9911", &shop.address.to_string());
    let directory = "directory = \"https://acme-v02.api.letsencrypt.org/directory\"";
    text =
        text.replace(directory, &format!("directory = \"{url}\"\nca = \"{ca}\"\nretry = \"1s\"\nretry_max = \"1s\""));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ringway.toml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.arg("run").arg(&file).env("RINGWAY_STATE", dir.path()).stdout(Stdio::piped());
    let mut child = Child::start(&mut command);
    let mut line = String::new();
    BufReader::new(child.stdout()).read_line(&mut line).unwrap();
    let addresses = line.trim().rsplit_once("listening on ").unwrap().1;
    let address = |listener: &str| listener.rsplit_once(' ').unwrap().1.parse().unwrap();
    let [plain, secure]: [SocketAddr; 2] = addresses.split(", ").map(address).collect::<Vec<_>>().try_into().unwrap();
    let issued = plan.start(plain.port(), secure.port());
    child.says("certificate site was issued");
    let of_issued = issued.client();
    assert!(of_issued.connect(secure, "www.example.com").is_ok() && of_issued.connect(secure, "example.com").is_ok());
    let other = plan.authority.issue("shop", &["shop.example.com"]);
    let trusting = TlsClient::trusting(&plan.authority);
    assert!(trusting.connect(secure, "shop.example.com").is_err());
    let socket = dir.path().join("admin.sock").display().to_string();
    let (chain, key) = (other.certificate.display().to_string(), other.key.display().to_string());
    let said = super::ringway(&["admin", "--socket", &socket, "certificates", "put", "shop", &chain, &key]);
    assert_eq!(said, "kept and shown\n");
    let mut stream = trusting.connect(secure, "shop.example.com").unwrap();
    let asked = std::thread::spawn(move || crate::tls::get_from(&mut stream, "shop.example.com", "/x"));
    shop.accept().answer("from the shop");
    let (head, body) = asked.join().unwrap().unwrap();
    assert_eq!(body, b"from the shop");
    assert!(head.contains("strict-transport-security: max-age=31536000\r\n"), "{head}");
    let moved = Client::connect(plain).get("/x");
    assert_eq!(moved.status(), 308);
    let listed = super::ringway(&["admin", "--socket", &socket, "certificates"]);
    assert!(
        listed.contains("site (acme, ecdsa): ") && listed.contains("shop (upload, ecdsa): shop.example.com"),
        "{listed}"
    );
}
