//! Certificates that an authority issues by ACME, against Pebble, the test server of Let's Encrypt, over loopback; and
//! against a double where Pebble cannot do what an authority may.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tempfile::TempDir;

use super::{Authority, Client, doubles, get, run};
use crate::admin::Place;
use crate::support::dns::{self, NameServer};
use crate::support::{Child, Config, Engine, Gateway, PATIENCE, Reserved, on_both_engines};

on_both_engines!(
    a_certificate_is_issued_once_the_authority_is_there_and_renewed,
    a_challenge_over_tls_is_answered,
    a_certificate_is_renewed_when_its_authority_wants,
);

const AAAA: u16 = 28;

/// Where an authority will be, and what it is to look like.
pub(crate) struct Plan {
    /// Who vouches for its server.
    pub(crate) authority: Authority,
    names: NameServer,
    /// Of its API, and of its management.
    ports: [Reserved; 2],
    /// Of what is asked in its place.
    front: Option<u16>,
    /// Seconds.
    validity: u32,
    external_account: bool,
    /// How many of a hundred nonces it refuses.
    nonces_refused: u32,
    dir: TempDir,
}

/// Pebble as it runs.
pub(crate) struct Pebble {
    child: Child,
    management: u16,
    ca: PathBuf,
}

impl Plan {
    fn new() -> Self {
        Self::with(&["a.test", "b.test"])
    }

    /// One for which these names lead to this machine.
    pub(crate) fn with(all: &[&str]) -> Self {
        let names = NameServer::start();
        for name in all {
            names.says(name, dns::A, dns::addresses(0, &[Ipv4Addr::LOCALHOST]));
            names.says(name, AAAA, dns::addresses(0, &[]));
        }
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("server of the authority");
        authority.issue("pebble", &["localhost"]);
        let ports = [Reserved::new(), Reserved::new()];
        Self { authority, names, ports, front: None, validity: 86_400, external_account: false, nonces_refused: 0, dir }
    }

    /// Where its directory is, before it runs, too.
    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.front.unwrap_or_else(|| self.ports[0].port()))
    }

    /// `[certificates]` and `[acme.site]` for it.
    fn section(&self, place: &Place, more: &str) -> String {
        let (dir, ca) = (place.path().join("certificates"), self.authority.file.display());
        let url = self.directory();
        format!(
            "[certificates]\ndirectory = \"{}\"\n[acme.site]\nnames = [\"a.test\", \"b.test\"]\nterms_agreed = true\n\
             directory = \"{url}\"\nca = \"{ca}\"\nretry = \"1s\"\nretry_max = \"2s\"\n{more}\n",
            dir.display()
        )
    }

    /// Starts it; names lead to these ports.
    pub(crate) fn start(&self, http: u16, tls: u16) -> Pebble {
        let file = |end: &str| self.authority.path().join(format!("pebble.{end}"));
        let [api, management] = self.ports.each_ref().map(Reserved::port);
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{api}"), "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": file("pem"), "privateKey": file("key"), "httpPort": http, "tlsPort": tls,
            "ocspResponderURL": "", "certificateValidityPeriod": self.validity,
            "externalAccountBindingRequired": self.external_account,
            "externalAccountMACKeys": { "kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W" },
        } });
        let path = self.dir.path().join("pebble.json");
        fs::write(&path, config.to_string()).unwrap();
        let mut command = Command::new("sh");
        // It says everything on its standard output.
        command.args(["-c", "exec pebble -config \"$0\" -dnsserver \"$1\" >&2"]);
        command.arg(&path).arg(self.names.address.to_string());
        // It still takes one in a hundred valid authorizations again.
        command.envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_AUTHZREUSE", "0")]);
        command.env("PEBBLE_WFE_NONCEREJECT", self.nonces_refused.to_string());
        let child = Child::start(&mut command);
        child.says("ACME directory available at");
        // It says so when it is about to listen.
        let start = Instant::now();
        for port in [api, management] {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                assert!(start.elapsed() < PATIENCE, "{}", child.wait().errors);
                thread::yield_now();
            }
        }
        Pebble { child, management, ca: self.authority.file.clone() }
    }
}

impl Pebble {
    /// A client that trusts what it issues.
    pub(crate) fn client(&self) -> Client {
        let url = format!("https://localhost:{}/roots/0", self.management);
        let (pem, done) =
            run(Command::new("curl").args(["--silent", "--show-error", "--cacert"]).arg(&self.ca).arg(url));
        assert!(done, "{pem}");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let mut client = Client::of_roots(roots, rustls::ALL_VERSIONS);
        client.config.resumption = rustls::client::Resumption::disabled();
        client
    }
}

/// A gateway that sends everybody from its first listener to its second, which shows what is issued.
fn config(engine: Engine, place: &Place, section: &str) -> Config {
    let secure = "[listener.secure]\naddress = \"127.0.0.1:0\"\ntls = { stored = \"site\" }\n";
    let admin = place.section("");
    place
        .config(engine)
        .listener("policies = [{ type = \"redirect\", scheme = \"https\" }]")
        .more(&format!("{secure}{admin}\n{section}"))
}

fn shown(client: &Client, address: SocketAddr) -> Option<CertificateDer<'static>> {
    let mut stream = client.connect(address, "a.test").ok()?;
    assert_eq!(get(&mut stream, "/hello").unwrap().1, b"hello");
    stream.conn.peer_certificates().map(|chain| chain[0].clone())
}

/// Where the only account with an authority is kept.
fn account(place: &Place) -> PathBuf {
    let kept = fs::read_dir(place.path().join("certificates/acme")).unwrap().flatten().map(|entry| entry.path());
    let is_account =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"account-"));
    let [account] = kept.filter(is_account).collect::<Vec<_>>().try_into().unwrap();
    account
}

fn issued(gateway: &Gateway) -> String {
    gateway.child.says("certificate site was issued")
}

fn a_certificate_is_issued_once_the_authority_is_there_and_renewed(engine: Engine) {
    let place = Place::new();
    // An order that meets three refused nonces in a row fails, and goes on at the next try.
    let plan = Plan { validity: 15, nonces_refused: 15, ..Plan::new() };
    let gateway = config(engine, &place, &plan.section(&place, "")).start();
    let (plain, secure) = (gateway.addresses[0], gateway.addresses[1]);
    // The authority is away, and nobody is shown anything.
    let said = gateway.child.says("was not issued");
    assert!(said.contains("1 in a row, there is none") && said.contains("cannot connect to localhost"), "{said}");
    let pebble = plan.start(plain.port(), secure.port());
    let client = pebble.client();
    issued(&gateway);
    let first = shown(&client, secure).expect("a handshake");
    let list = place.json("/v1/certificates");
    let one = &list["certificates"][0];
    assert_eq!((&one["name"], &one["source"], &one["listeners"]), (&json!("site"), &json!("acme"), &json!(["secure"])));
    assert_eq!((&list["acme"][0]["state"], &list["acme"][0]["failures_in_a_row"]), (&json!("good"), &json!(0)));
    assert!(place.get("/metrics").text.contains("ringway_acme_failures_in_a_row{certificate=\"site\"} 0"));
    // What it asked for is not there any more, and everybody else is sent on.
    assert_eq!(gateway.connect().get("/.well-known/acme-challenge/x").status(), 308);
    let mut stays = client.connect(secure, "b.test").unwrap();
    // With a request behind it, it may wait for longer than a renewal takes.
    assert_eq!(get(&mut stays, "/hello").unwrap().1, b"hello");
    issued(&gateway);
    assert_ne!(shown(&client, secure).expect("a handshake"), first);
    assert_eq!(get(&mut stays, "/hello").unwrap().1, b"hello");
    // By another that is asked for by hand, too; and the account is the same all the time.
    let done = place.command(&["certificates", "renew", "site"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    issued(&gateway);
    account(&place);
    let reply = place.post("/v1/certificates/delete", "{\"name\":\"site\"}");
    assert!(reply.status == 409 && reply.text.contains("would get it again"), "{}", reply.text);
}

fn a_challenge_over_tls_is_answered(engine: Engine) {
    let place = Place::new();
    let plan = Plan { external_account: true, ..Plan::new() };
    let external = "challenge = \"tls-alpn-01\"\nexternal_account = { id = \"kid-1\", key = \
                    \"zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\" }";
    let gateway = config(engine, &place, &plan.section(&place, external)).start();
    let secure = gateway.addresses[1];
    let pebble = plan.start(Reserved::new().port(), secure.port());
    let client = pebble.client();
    issued(&gateway);
    assert!(shown(&client, secure).is_some());
    // Nobody is asked anything now, so nobody speaks that.
    let mut asks = pebble.client();
    asks.config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    assert!(asks.connect(secure, "a.test").is_err());
}

fn a_certificate_is_renewed_when_its_authority_wants(engine: Engine) {
    let place = Place::new();
    let mut plan = Plan::new();
    // The first one at once, and the second one in some hours, which is long before two thirds of its lifetime.
    let (front, heard) = doubles::advising(&plan.authority, plan.ports[0].port(), &[(-7200, -3600), (7200, 10_800)]);
    plan.front = Some(front.port());
    let gateway = config(engine, &place, &plan.section(&place, "")).start();
    gateway.child.says("was not issued");
    let pebble = plan.start(gateway.address.port(), gateway.addresses[1].port());
    let client = pebble.client();
    issued(&gateway);
    let first = shown(&client, gateway.addresses[1]).expect("a handshake");
    let said = gateway.child.says("as its authority wants (https://localhost/why)");
    assert!(said.contains("certificate site is renewed in "), "{said}");
    issued(&gateway);
    assert_ne!(shown(&client, gateway.addresses[1]).expect("a handshake"), first);
    gateway.child.says("as its authority wants");
    let list = place.json("/v1/certificates");
    let acme = &list["acme"][0];
    let at = |value: &serde_json::Value| value.as_i64().unwrap();
    let (start, end) = (at(&acme["window"]["start"]), at(&acme["window"]["end"]));
    assert!(end - start == 3600 || end - start == 3601 || end - start == 3599, "{list}");
    assert!((start..=end).contains(&at(&acme["next"])) && start > doubles::from_now(3600), "{list}");
    assert_eq!((&acme["explanation"], &acme["state"]), (&json!("https://localhost/why"), &json!("good")));
    let done = place.command(&["certificates"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.contains("its authority says when it is renewed (https://localhost/why)"), "{text}");
    // What an order replaces is said; where the authority will not have that, it gets the order without.
    let heard = heard.lock().unwrap();
    assert_eq!(heard.asked.len(), 2);
    assert_eq!(heard.replaces, [None, Some(heard.asked[0].clone()), None]);
}

#[test]
fn a_challenge_that_fails_is_told_and_the_last_good_certificate_stays() {
    let place = Place::new();
    let plan = Plan::new();
    let gateway = config(Engine::Ring, &place, &plan.section(&place, "contact = \"mailto:a@a.test\"")).start();
    let pebble = plan.start(gateway.address.port(), gateway.addresses[1].port());
    let client = pebble.client();
    issued(&gateway);
    let first = shown(&client, gateway.addresses[1]).unwrap();
    // Pebble takes an account's word for a name that it has seen before once in a hundred orders, whatever it is told.
    // Another account is made where there is none, and no name has been seen of that one.
    fs::remove_file(account(&place)).unwrap();
    // One of the names leads elsewhere now.
    plan.names.says("b.test", dns::A, dns::Says::Failure);
    plan.names.says("b.test", AAAA, dns::Says::Failure);
    assert_eq!(place.post("/v1/certificates/renew", "{\"name\":\"site\"}").status, 200);
    let said = gateway.child.says("was not issued");
    let said = said.lines().last().unwrap();
    assert!(said.contains("1 in a row, the one that is there stays, again in"), "{said}");
    assert!(said.contains("b.test: urn:ietf:params:acme:error:"), "{said}");
    assert!(gateway.child.says("was not issued").contains("2 in a row"));
    let list = place.json("/v1/certificates");
    let state = list["acme"][0]["state"].as_str().unwrap();
    assert!(["failing", "ordering"].contains(&state), "{list}");
    assert!(list["acme"][0]["error"].as_str().unwrap().contains("b.test: urn:"), "{list}");
    assert_eq!(shown(&client, gateway.addresses[1]).unwrap(), first);
    plan.names.says("b.test", dns::A, dns::addresses(0, &[Ipv4Addr::LOCALHOST]));
    plan.names.says("b.test", AAAA, dns::addresses(0, &[]));
    issued(&gateway);
    assert_ne!(shown(&client, gateway.addresses[1]).unwrap(), first);
}

#[test]
fn what_was_issued_before_a_kill_is_fetched_and_not_ordered_again() {
    let place = Place::new();
    let plan = Plan::new();
    let config = config(Engine::Ring, &place, &plan.section(&place, ""));
    let dir = place.path().join("certificates");
    // There is no place for what is issued.
    fs::create_dir_all(dir.join("site.pem")).unwrap();
    let gateway = config.start();
    let pebble = plan.start(gateway.address.port(), gateway.addresses[1].port());
    let client = pebble.client();
    assert!(gateway.child.says("cannot be kept").contains("was not issued"));
    gateway.child.signal(Signal::KILL);
    let _ = gateway.child.wait();
    assert!(dir.join("acme/site.order.json").exists());
    fs::remove_dir(dir.join("site.pem")).unwrap();
    let gateway = config.start();
    issued(&gateway);
    assert!(shown(&client, gateway.addresses[1]).is_some());
    assert!(!dir.join("acme/site.order.json").exists());
    pebble.child.signal(Signal::TERM);
    let said = pebble.child.wait().errors;
    assert_eq!(said.matches("Issued certificate serial").count(), 1, "{said}");
}

#[test]
fn gateways_that_share_a_directory_order_once_and_answer_for_each_other() {
    let (one, other) = (Place::new(), Place::new());
    let plan = Plan::new();
    let section = plan.section(&one, "");
    let gateways = [config(Engine::Ring, &one, &section).start(), config(Engine::Ring, &other, &section).start()];
    for gateway in &gateways {
        gateway.child.says("was not issued");
    }
    // The authority meets the first one, whoever orders.
    let pebble = plan.start(gateways[0].address.port(), gateways[0].addresses[1].port());
    let client = pebble.client();
    let shows = |gateway: &Gateway| {
        loop {
            if let Some(shown) = shown(&client, gateway.addresses[1]) {
                return shown;
            }
            thread::yield_now();
        }
    };
    assert_eq!(shows(&gateways[0]), shows(&gateways[1]));
    pebble.child.signal(Signal::TERM);
    let said = pebble.child.wait().errors;
    assert_eq!(said.matches("Issued certificate serial").count(), 1, "{said}");
}

#[test]
fn an_authority_that_had_too_many_is_left_alone_for_as_long_as_it_says_even_after_a_restart() {
    let place = Place::new();
    let mut plan = Plan::new();
    plan.front = Some(doubles::busy(&plan.authority).port());
    let config = config(Engine::Ring, &place, &plan.section(&place, ""));
    let gateway = config.start();
    let said = gateway.child.says("was not issued");
    assert!(said.contains("again in 3600 s"), "{said}");
    assert!(said.contains("urn:ietf:params:acme:error:rateLimited: too many accounts"), "{said}");
    gateway.child.signal(Signal::KILL);
    let _ = gateway.child.wait();
    let gateway = config.start();
    let list = loop {
        let list = place.json("/v1/certificates");
        if list["acme"][0].is_object() {
            break list;
        }
        thread::yield_now();
    };
    let acme = &list["acme"][0];
    assert_eq!(
        (&acme["state"], &acme["orders"], &acme["failures_in_a_row"]),
        (&json!("failing"), &json!(0), &json!(1))
    );
    assert!(acme["next"].as_u64().unwrap() > std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 3000);
    assert!(!gateway.stop().errors.contains("was not issued"));
}
