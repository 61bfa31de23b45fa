//! Certificates that are brought through the admin API: listed, replaced, deleted, refused, and there again after whatever
//! ends the gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Authority, Client, Issued, get};
use crate::admin::Place;
use crate::support::{Config, Engine, on_both_engines};

on_both_engines!(
    a_certificate_is_brought_replaced_and_deleted_while_clients_come,
    what_was_brought_is_there_after_a_kill_a_reload_and_an_upgrade,
);

/// A gateway with an admin API whose TLS listener shows what is kept.
fn config(place: &Place, engine: Engine, tls: &str, more: &str) -> Config {
    let dir = place.path().join("certificates");
    let kept = format!("[certificates]\ndirectory = \"{}\"\n{more}\n", dir.display());
    let section = place.section("");
    place.config(engine).listener(&format!("tls = {{ {tls} }}")).more(&format!("{section}\n{kept}"))
}

/// What is sent to keep a certificate.
fn put(name: &str, issued: &Issued) -> String {
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    json!({ "name": name, "certificate": read(&issued.certificate), "key": read(&issued.key) }).to_string()
}

fn names(list: &Value) -> Vec<(Value, Value, Value)> {
    let all = list["certificates"].as_array().unwrap().iter();
    all.map(|one| (one["name"].clone(), one["source"].clone(), one["listeners"].clone())).collect()
}

fn a_certificate_is_brought_replaced_and_deleted_while_clients_come(engine: Engine) {
    let authority = Authority::new("authority");
    let place = Place::new();
    let config = config(&place, engine, "stored = \"all\"", "").data(2).limits("handshakes_per_source = \"off\"");
    let gateway = config.start();
    let address = gateway.address;
    gateway.child.says("no handshake comes to an end until it has a certificate");
    let client = Client::trusting(&authority);
    // An alert and not a certificate that nobody should trust.
    assert!(client.connect(address, "localhost").unwrap_err().to_string().contains("AccessDenied"));
    assert_eq!(place.json("/v1/certificates"), json!({ "certificates": [], "acme": [] }));
    let reply = place.post("/v1/certificates/put", &put("site", &authority.issue("first", &["localhost"])));
    assert_eq!((reply.status, reply.json()["done"].clone()), (200, json!(true)), "{}", reply.text);
    let mut stays = client.connect(address, "localhost").unwrap();
    assert_eq!(get(&mut stays, "/hello").unwrap().1, b"hello");
    let (done, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (done, count) = (done.clone(), count.clone());
            let mut client = Client::trusting(&authority);
            client.config.resumption = rustls::client::Resumption::disabled();
            thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut stream = client.connect(address, "localhost").expect("a handshake");
                    assert_eq!(get(&mut stream, "/hello").expect("an answer").1, b"hello");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let shown = || {
        let mut client = Client::trusting(&authority);
        client.config.resumption = rustls::client::Resumption::disabled();
        client.connect(address, "localhost").unwrap().conn.peer_certificates().unwrap()[0].clone()
    };
    let mut before = shown();
    for _ in 0..5 {
        let seen = count.load(Ordering::Relaxed);
        let reply = place.post("/v1/certificates/put", &put("site", &authority.issue("next", &["localhost"])));
        assert_eq!(reply.status, 200, "{}", reply.text);
        let after = shown();
        assert_ne!(before, after, "the answer comes when every core shows it");
        before = after;
        while count.load(Ordering::Relaxed) < seen + 10 && clients.iter().all(|client| !client.is_finished()) {
            thread::yield_now();
        }
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    // Who was there before all of that is still served.
    assert_eq!(get(&mut stays, "/hello").unwrap().1, b"hello");
    let list = place.json("/v1/certificates");
    assert_eq!(names(&list), [(json!("site"), json!("upload"), json!(["web"]))]);
    let one = &list["certificates"][0];
    assert_eq!(
        (&one["names"], &one["key"], &one["issuer"]),
        (&json!(["localhost"]), &json!("ecdsa"), &json!("CN=authority"))
    );
    assert_eq!(one["fingerprint"].as_str().unwrap().len(), 64);
    assert!(!list.to_string().contains("PRIVATE"));
    // The last one that a listener has stays.
    let reply = place.post("/v1/certificates/delete", "{\"name\":\"site\"}");
    assert_eq!((reply.status, reply.json()["code"].clone()), (409, json!("refused")), "{}", reply.text);
    let other = place.post("/v1/certificates/put", &put("other", &authority.issue("other", &["other.test"])));
    assert_eq!(other.status, 200, "{}", other.text);
    assert_eq!(place.post("/v1/certificates/delete", "{\"name\":\"site\"}").status, 200);
    assert_eq!(names(&place.json("/v1/certificates")).len(), 1);
    assert_eq!(place.post("/v1/certificates/delete", "{\"name\":\"site\"}").status, 404);
    let metrics = place.get("/metrics").text;
    let line =
        "ringway_certificate_not_after_timestamp_seconds{certificate=\"other\",source=\"upload\",key=\"ecdsa\"} ";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn what_is_wrong_is_refused_with_its_place_and_nothing_changes() {
    let authority = Authority::new("authority");
    let (one, other) = (authority.issue("one", &["localhost"]), authority.issue("other", &["localhost"]));
    let old = authority.issue_as("old", &["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256, super::authority::expired);
    let place = Place::new();
    let gateway = config(&place, Engine::Ring, "stored = \"site\"", "max = 1").start();
    gateway.child.says("there is no certificate site yet");
    assert_eq!(place.post("/v1/certificates/put", &put("site", &one)).status, 200);
    let swapped = Issued { certificate: one.certificate.clone(), key: other.key.clone() };
    let both = json!({ "name": "site", "certificate": fs::read_to_string(&one.key).unwrap(), "key": "" }).to_string();
    let long = json!({ "name": "site", "certificate": "x".repeat(70_000), "key": "" }).to_string();
    for (body, status, code, said) in [
        (put("site", &swapped), 400, "invalid_certificate", "key: it does not belong to the certificate"),
        (put("site", &old), 400, "invalid_certificate", "certificate: it has expired"),
        (put("a/b", &one), 400, "invalid_certificate", "name: 1 to 64"),
        (both, 400, "invalid_certificate", "certificate: it has a private key in it"),
        (long, 400, "invalid_certificate", "certificate: it has 70000 bytes"),
        (put("more", &one), 409, "refused", "1 certificates are kept already"),
        ("{\"name\":\"site\"}".to_owned(), 400, "invalid_body", "certificate: a string is wanted"),
        (format!("{{\"name\":\"{}\"}}", "x".repeat(200_000)), 413, "body_too_large", "131072"),
    ] {
        let reply = place.post("/v1/certificates/put", &body);
        let problem = reply.json();
        let found = (reply.status, problem["code"].as_str().unwrap_or_default());
        assert_eq!(found, (status, code), "{said}: {}", reply.text);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{}", reply.text);
        assert!(!reply.text.contains("PRIVATE"));
    }
    let reply = place.post("/v1/certificates/delete", "{\"name\":\"site\"}");
    assert_eq!((reply.status, reply.json()["detail"].clone()), (409, json!("listener \"web\" names it")));
    assert!(Client::trusting(&authority).connect(gateway.address, "localhost").is_ok());
    // By the command it is the same.
    let file = |path: &Path| path.display().to_string();
    let done = place.command(&["certificates", "put", "site", &file(&other.certificate), &file(&other.key)]);
    assert_eq!((done.status.code(), &*done.stdout), (Some(0), &b"kept and shown\n"[..]), "{done:?}");
    let refused = place.command(&["certificates", "put", "site", &file(&one.certificate), &file(&other.key)]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("key: it does not belong"), "{refused:?}");
    let list = place.command(&["certificates"]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(
        list.starts_with("site (upload, ecdsa): localhost; good for ") && list.ends_with("shown by web\n"),
        "{list}"
    );
}

#[test]
fn without_a_directory_nothing_is_kept() {
    let place = Place::new();
    let _gateway = place.config(Engine::Ring).more(&place.section("")).start();
    let reply = place.post("/v1/certificates/delete", "{\"name\":\"site\"}");
    assert_eq!(reply.status, 409);
    assert!(reply.text.contains("certificates.directory is not set"), "{}", reply.text);
}

fn what_was_brought_is_there_after_a_kill_a_reload_and_an_upgrade(engine: Engine) {
    let authority = Authority::new("authority");
    let place = Place::new();
    let upgrade = format!("[control]\nupgrade_socket = \"{}\"\n", place.path().join("upgrade.sock").display());
    let config = config(&place, engine, "stored = [\"site\"]", "");
    let config = config.more(&upgrade);
    let dir = place.path().join("certificates");
    let trusting = Client::trusting(&authority);
    let shown = |address| {
        let mut client = Client::trusting(&authority);
        client.config.resumption = rustls::client::Resumption::disabled();
        client.connect(address, "localhost").unwrap().conn.peer_certificates().unwrap()[0].clone()
    };
    let gateway = config.start();
    assert_eq!(place.post("/v1/certificates/put", &put("site", &authority.issue("one", &["localhost"]))).status, 200);
    let first = shown(gateway.address);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("site.pem"))), (0o700, 0o600));
    gateway.run(&config);
    assert_eq!(shown(gateway.address), first);
    gateway.child.signal(Signal::KILL);
    let _ = gateway.child.wait();
    // What a gateway that was killed in the middle of writing leaves behind does no harm.
    fs::write(dir.join(".site.pem.1.new"), "half").unwrap();
    let gateway = config.start();
    assert_eq!(shown(gateway.address), first);
    assert_eq!(place.post("/v1/certificates/put", &put("site", &authority.issue("two", &["localhost"]))).status, 200);
    let second = shown(gateway.address);
    assert_ne!(first, second);
    // A plan of before has the certificates of now.
    let reply = place.post("/v1/reload", "{}");
    assert_eq!(reply.status, 200, "{}", reply.text);
    let reply = place.post("/v1/rollback", "{}");
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(shown(gateway.address), second);
    let successor = config.flag("--take-over").start();
    assert_eq!(shown(successor.address), second);
    let done = place.post("/v1/certificates/put", &put("site", &authority.issue("three", &["localhost"])));
    assert_eq!(done.status, 200, "{}", done.text);
    assert_ne!(shown(successor.address), second);
    assert!(trusting.connect(successor.address, "localhost").is_ok());
    drop(gateway);
}

#[test]
fn one_that_is_about_to_expire_is_warned_of() {
    let authority = Authority::new("authority");
    let place = Place::new();
    let warning = "expiry_warning = \"365d\"";
    let gateway = config(&place, Engine::Ring, "stored = \"all\"", warning).start();
    let soon = authority.issue_as("soon", &["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        let now = std::time::SystemTime::now();
        params.not_after = (now + std::time::Duration::from_hours(2401)).into();
    });
    assert_eq!(place.post("/v1/certificates/put", &put("site", &soon)).status, 200);
    gateway.child.says("certificate site expires in 100 d");
    // A file that somebody put there is taken up by itself.
    fs::copy(place.path().join("certificates/site.pem"), place.path().join("certificates/copy.pem")).unwrap();
    gateway.child.says("certificate copy changed");
    // One that cannot be read does not take away what is shown.
    fs::write(place.path().join("certificates/site.pem"), "nothing").unwrap();
    gateway.child.says("site.pem has no certificate in it");
    assert!(Client::trusting(&authority).connect(gateway.address, "localhost").is_ok());
}
