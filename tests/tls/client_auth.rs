//! Clients that show certificates, and those that should.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rcgen::SerialNumber;
use rustls::HandshakeKind;

use super::authority::{expired, spiffe};
use super::{Authority, Client, HELLO, Issued, curl, get, run, s_client, with};
use crate::support::{Config, Engine, Origin, PATIENCE, on_both_engines};

on_both_engines!(
    a_client_without_the_right_certificate_is_refused_with_the_right_alert,
    a_client_may_do_without_where_that_is_allowed,
    a_revoked_certificate_is_refused,
    a_list_that_comes_with_a_reload_ends_sessions_too,
    a_session_whose_certificate_has_expired_since_ends,
    the_upstream_hears_who_the_client_is,
);

fn asking(engine: Engine, authority: &Authority, how: &str) -> Config {
    let ca = authority.file.display();
    let lines = format!("tls.client_auth = \"{how}\"\ntls.client_ca = \"{ca}\"");
    with(engine, &authority.issue("server", &["localhost"])).listener(&lines)
}

fn showing(command: &mut Command, issued: &Issued) {
    command.arg("--cert").arg(&issued.certificate).arg("--key").arg(&issued.key);
}

fn a_client_without_the_right_certificate_is_refused_with_the_right_alert(engine: Engine) {
    let authority = Authority::new("authority");
    let stranger = Authority::new("stranger");
    let gateway = asking(engine, &authority, "required").more(HELLO).start();
    let good = authority.issue("good", &["client.test"]);
    let old = authority.issue_as("old", &["client.test"], &rcgen::PKCS_ECDSA_P256_SHA256, expired);
    let strange = stranger.issue("strange", &["client.test"]);
    for version in ["1.2", "1.3"] {
        let asked = |issued: Option<&Issued>| {
            let mut command = curl(&authority, gateway.address, "localhost");
            command.args([&format!("--tlsv{version}"), "--tls-max", version]);
            // It keeps this alert to itself.
            if version == "1.2" && issued.is_some_and(|issued| issued.certificate == old.certificate) {
                let (certificate, key) = (old.certificate.to_str().unwrap(), old.key.to_str().unwrap());
                return s_client(gateway.address, &["-tls1_2", "-cert", certificate, "-key", key]);
            }
            if let Some(issued) = issued {
                showing(&mut command, issued);
            }
            run(&mut command)
        };
        assert_eq!(asked(Some(&good)), ("hello".to_owned(), true));
        for (issued, alert) in
            [(None, "certificate required"), (Some(&old), "certificate expired"), (Some(&strange), "unknown ca")]
        {
            let (said, is_well) = asked(issued);
            assert!(!is_well && said.contains(alert), "{version} {issued:?}: {said}");
        }
    }
}

fn a_client_may_do_without_where_that_is_allowed(engine: Engine) {
    let authority = Authority::new("authority");
    let stranger = Authority::new("stranger");
    let gateway = asking(engine, &authority, "optional").more(HELLO).start();
    assert_eq!(run(&mut curl(&authority, gateway.address, "localhost")), ("hello".to_owned(), true));
    let mut command = curl(&authority, gateway.address, "localhost");
    showing(&mut command, &stranger.issue("strange", &["client.test"]));
    let (said, is_well) = run(&mut command);
    assert!(!is_well && said.contains("unknown ca"), "{said}");
}

fn numbered(serial: u64) -> impl FnOnce(&mut rcgen::CertificateParams) {
    move |params| params.serial_number = Some(SerialNumber::from(serial))
}

fn a_revoked_certificate_is_refused(engine: Engine) {
    let authority = Authority::new("authority");
    let good = authority.issue_as("good", &["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256, numbered(7));
    let bad = authority.issue_as("bad", &["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256, numbered(8));
    let list = authority.revoke(8);
    let crl = format!("tls.client_crl = \"{}\"", list.display());
    let gateway = asking(engine, &authority, "required").listener(&crl).more(HELLO).start();
    let mut command = curl(&authority, gateway.address, "localhost");
    showing(&mut command, &good);
    assert_eq!(run(&mut command), ("hello".to_owned(), true));
    let mut command = curl(&authority, gateway.address, "localhost");
    showing(&mut command, &bad);
    let (said, is_well) = run(&mut command);
    assert!(!is_well && said.contains("certificate revoked"), "{said}");
}

const RESUMES: &str = "
import socket, ssl, sys
port, ca, cert, key, go = int(sys.argv[1]), *sys.argv[2:5], sys.argv[5]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
def get(session):
    with socket.create_connection(('127.0.0.1', port)) as raw, \\
            context.wrap_socket(raw, server_hostname='localhost', session=session) as s:
        s.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')
        while s.recv(4096):
            pass
        return s.session, s.session_reused
session, _ = get(None)
_, reused = get(session)
print('reused', reused, flush=True)
open(go + '.ready', 'w').close()
import os, time
while not os.path.exists(go):
    time.sleep(0.01)
try:
    print('reused', get(session)[1])
except ssl.SSLError as error:
    print(error)
";

/// A session that a client got with its certificate must not outlive the trust in that.
fn a_list_that_comes_with_a_reload_ends_sessions_too(engine: Engine) {
    let authority = Authority::new("authority");
    let client = authority.issue_as("client", &["a.test"], &rcgen::PKCS_ECDSA_P256_SHA256, numbered(8));
    let config = asking(engine, &authority, "required").more(HELLO);
    let gateway = config.start();
    let go = authority.path().join("go");
    let mut python = Command::new("python3");
    python.args(["-c", RESUMES, &gateway.address.port().to_string()]).arg(&authority.file);
    python.arg(&client.certificate).arg(&client.key).arg(&go);
    let running = std::thread::spawn(move || run(&mut python));
    wait_for(&go.with_extension("ready"), &running);
    let crl = format!("tls.client_crl = \"{}\"", authority.revoke(8).display());
    gateway.run(&config.listener(&crl));
    std::fs::write(&go, "").unwrap();
    let (said, _) = running.join().unwrap();
    assert!(said.starts_with("reused True\n") && said.contains("CERTIFICATE_REVOKED"), "{said}");
}

fn a_session_whose_certificate_has_expired_since_ends(engine: Engine) {
    let authority = Authority::new("authority");
    let gateway = asking(engine, &authority, "required").more(HELLO).start();
    let brief = authority.issue_as("brief", &["client.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
        params.not_after = (SystemTime::now() + Duration::from_secs(8)).into();
    });
    let client = Client::showing(&authority, &brief);
    let asked = || {
        let mut stream = client.connect(gateway.address, "localhost")?;
        get(&mut stream, "/").map(|_| stream.conn.handshake_kind())
    };
    assert_eq!(asked().unwrap(), Some(HandshakeKind::Full));
    let begun = Instant::now();
    // It goes on with its session as long as its certificate is good, and no longer.
    while let Ok(kind) = asked() {
        assert_eq!(kind, Some(HandshakeKind::Resumed));
        assert!(begun.elapsed() < PATIENCE, "the session goes on");
    }
}

fn wait_for<T>(file: &Path, running: &std::thread::JoinHandle<T>) {
    while !file.exists() && !running.is_finished() {
        std::thread::yield_now();
    }
}

fn the_upstream_hears_who_the_client_is(engine: Engine) {
    let authority = Authority::new("authority");
    let (origin, _) = Origin::serve(|request, connection| {
        let said = ["x-subject", "x-names", "x-spiffe"].map(|name| request.head.all(name).join("+"));
        let text = said.join("|");
        connection.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()));
        true
    });
    let policy = "policies = [{ type = \"headers\", request.set = { x-subject = \"{client_subject}\", \
                  x-names = \"{client_names}\", x-spiffe = \"{client_spiffe_id}\" } }]";
    let gateway = asking(engine, &authority, "optional").origin(&origin).route(policy).start();
    let alice = authority.issue_as(
        "alice",
        &["alice.test"],
        &rcgen::PKCS_ECDSA_P256_SHA256,
        spiffe("spiffe://example.test/alice"),
    );
    // What the client says of itself counts for nothing.
    let mut command = curl(&authority, gateway.address, "localhost");
    command.args(["-H", "x-subject: CN=root", "-H", "x-spiffe: spiffe://example.test/root"]);
    showing(&mut command, &alice);
    let said = "CN=alice|DNS:alice.test, URI:spiffe://example.test/alice|spiffe://example.test/alice".to_owned();
    assert_eq!(run(&mut command), (said, true));
    let mut command = curl(&authority, gateway.address, "localhost");
    command.args(["-H", "x-subject: CN=root", "-H", "x-spiffe: spiffe://example.test/root"]);
    assert_eq!(run(&mut command), ("||".to_owned(), true));
}
