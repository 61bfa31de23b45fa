//! curl, OpenSSL and Python's `ssl` agree with the gateway on versions, suites, key exchanges and what is spoken inside.

use std::process::Command;

use super::{Authority, HELLO, curl, run, s_client, with};
use crate::support::{Engine, on_both_engines};

on_both_engines!(
    curl_and_python_get_answers_over_both_versions,
    suites_and_key_exchanges_are_as_documented,
    older_versions_are_refused_with_their_alert,
    what_is_spoken_inside_is_agreed_on,
    openssl_goes_on_with_its_session,
);

const PYTHON: &str = "
import socket, ssl, sys
port, ca, version = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=ca)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
context.set_alpn_protocols(['http/1.1'])
with socket.create_connection(('127.0.0.1', port)) as raw, context.wrap_socket(raw, server_hostname='localhost') as s:
    s.sendall(b'GET / HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n')
    data = b''
    while part := s.recv(4096):
        data += part
    print(s.version(), s.selected_alpn_protocol(), data.split(b'\\r\\n\\r\\n')[1].decode())
";

fn curl_and_python_get_answers_over_both_versions(engine: Engine) {
    let authority = Authority::new("authority");
    let gateway = with(engine, &authority.issue("server", &["localhost"])).more(HELLO).start();
    for (version, curls, pythons) in [("TLSv1.2", "1.2", "TLSv1_2"), ("TLSv1.3", "1.3", "TLSv1_3")] {
        for (inside, http) in [("--http2", "2"), ("--http1.1", "1.1")] {
            let mut command = curl(&authority, gateway.address, "localhost");
            command.args([&format!("--tlsv{curls}"), "--tls-max", curls, inside, "--write-out", " %{http_version}"]);
            assert_eq!(run(&mut command), (format!("hello {http}"), true));
        }
        let port = gateway.address.port().to_string();
        let mut python = Command::new("python3");
        python.args(["-c", PYTHON, &port]).arg(&authority.file).arg(pythons);
        assert_eq!(run(&mut python), (format!("{version} http/1.1 hello\n"), true));
    }
    // Who does not trust the authority does not go on.
    let other = Authority::new("other");
    let (said, is_well) = run(&mut curl(&other, gateway.address, "localhost"));
    assert!(!is_well && said.contains("certificate"), "{said}");
}

fn suites_and_key_exchanges_are_as_documented(engine: Engine) {
    let authority = Authority::new("authority");
    let gateway = with(engine, &authority.issue("server", &["localhost"])).more(HELLO).start();
    for (words, suite) in [
        (&["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"][..], "TLS_AES_256_GCM_SHA384"),
        (&["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], "TLS_AES_128_GCM_SHA256"),
        (&["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], "TLS_CHACHA20_POLY1305_SHA256"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], "ECDHE-ECDSA-CHACHA20-POLY1305"),
        // The order of the gateway counts, not that of the client.
        (&["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"], "TLS_AES_128_GCM_SHA256"),
        (
            &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"],
            "TLS_AES_256_GCM_SHA384",
        ),
        (&["-tls1_2"], "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (&["-groups", "X25519"], "TLS_AES_128_GCM_SHA256"),
        (&["-groups", "P-256"], "TLS_AES_128_GCM_SHA256"),
        (&["-groups", "P-384"], "TLS_AES_128_GCM_SHA256"),
    ] {
        let (said, is_well) = s_client(gateway.address, &[&["-brief", "-servername", "localhost"], words].concat());
        assert!(is_well && said.contains(&format!("Ciphersuite: {suite}")), "{words:?}: {said}");
    }
    // No suite without forward secrecy.
    let (said, _) = s_client(gateway.address, &["-brief", "-tls1_2", "-cipher", "AES256-GCM-SHA384"]);
    assert!(said.contains("alert handshake failure"), "{said}");
}

fn older_versions_are_refused_with_their_alert(engine: Engine) {
    let authority = Authority::new("authority");
    let issued = authority.issue("server", &["localhost"]);
    let gateway = with(engine, &issued).more(HELLO).start();
    let (said, _) = s_client(gateway.address, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]);
    // Its hello lacks what TLS 1.2 must have, which is seen first.
    assert!(said.contains("alert handshake failure"), "{said}");
    let newest = with(engine, &issued).listener("tls.min_version = \"1.3\"").more(HELLO).start();
    let (said, _) = s_client(newest.address, &["-tls1_2"]);
    assert!(said.contains("alert protocol version"), "{said}");
    let (said, is_well) = s_client(newest.address, &["-tls1_3", "-brief"]);
    assert!(is_well, "{said}");
}

fn what_is_spoken_inside_is_agreed_on(engine: Engine) {
    let authority = Authority::new("authority");
    let gateway = with(engine, &authority.issue("server", &["localhost"])).more(HELLO).start();
    let (said, _) = s_client(gateway.address, &["-alpn", "h3,http/1.1"]);
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    let (said, is_well) = s_client(gateway.address, &[]);
    assert!(is_well && said.contains("No ALPN negotiated"), "{said}");
    let (said, _) = s_client(gateway.address, &["-alpn", "spdy/1"]);
    assert!(said.contains("alert no application protocol"), "{said}");
}

fn openssl_goes_on_with_its_session(engine: Engine) {
    let authority = Authority::new("authority");
    let gateway = with(engine, &authority.issue("server", &["localhost"])).data(2).more(HELLO).start();
    // It connects once, and then five times with the session of the first; a version that has no session ids in the
    // clear would wait for tickets, which come with the first read.
    let (said, _) = s_client(gateway.address, &["-reconnect", "-tls1_2", "-servername", "localhost"]);
    assert_eq!((said.matches("New, TLSv1.2").count(), said.matches("Reused, TLSv1.2").count()), (1, 5), "{said}");
}
