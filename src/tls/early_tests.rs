//! Early data, with rustls as the client: in any pieces, answered before the handshake is done, taken once.

use super::tests::{AUTHORITY, KEY, PEM, Side, outbox, parts};
use super::*;
use proptest::prelude::*;
use ringway_runtime::engine::Received;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::{Read, Write};

/// A listener that takes early data, on two cores.
fn cores() -> [CoreServer; 2] {
    let certificates = vec![Certificate::read(PEM, KEY, None).unwrap()];
    let early = Some(EarlyParts { size: 16 << 10, sessions: 64 });
    let settings = ServerSettings::new("web", ServerParts { early, ..parts(certificates, Version::Tls12) }).unwrap();
    let keys = CoreTickets::new(Arc::new(TicketKeys::new().unwrap()));
    [(); 2].map(|()| settings.on_core(&keys, &CoreSuites::of_new_core()).unwrap())
}

/// Clients that send records of at most so many bytes.
fn clients(fragment: Option<usize>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(AUTHORITY).map(Result::unwrap));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.enable_early_data = true;
    config.max_fragment_size = fragment;
    Arc::new(config)
}

fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config.clone(), ServerName::try_from("localhost").unwrap()).unwrap()
}

fn says(client: &mut ClientConnection) -> Vec<u8> {
    let mut wire = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut wire).unwrap();
    }
    wire
}

fn hears(client: &mut ClientConnection, mut wire: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    while !wire.is_empty() {
        client.read_tls(&mut wire).unwrap();
        client.process_new_packets().unwrap();
        let _ = client.reader().read_to_end(&mut heard);
    }
    heard
}

/// Has the server hear bytes in pieces of these sizes. What came of it: plaintext, and what is to be sent.
fn hear(server: &mut Side, wire: &[u8], sizes: &[usize]) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut plain, mut send) = (Vec::new(), Vec::new());
    let mut rest = wire;
    for size in sizes.iter().cycle() {
        let (piece, next) = rest.split_at(rest.len().min(*size));
        let mut out = Received::default();
        server.0.receive(piece.to_vec().into(), &mut out)?;
        plain.extend(out.plain.iter().flat_map(|lease| lease.to_vec()));
        send.extend(out.send);
        rest = next;
        if rest.is_empty() {
            break;
        }
    }
    Ok((plain, send))
}

/// Shakes hands in full, so that the client has a ticket.
fn meet(core: &CoreServer, config: &Arc<ClientConfig>) {
    let (mut client, mut server) = (connection(config), accept(core, None).unwrap());
    while client.is_handshaking() || client.wants_write() {
        let wire = says(&mut client);
        let (_, answer) = hear(&mut server, &wire, &[usize::MAX]).unwrap();
        hears(&mut client, &answer);
    }
    assert!(server.1.is_done());
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn early_data_is_answered_before_the_handshake_is_done(
        sizes in proptest::collection::vec(1_usize..3000, 1..6),
        is_small in any::<bool>(),
        early in 1_usize..6000,
        lengths in proptest::collection::vec(0_usize..40_000, 2..5),
    ) {
        let (cores, config) = (cores(), clients(is_small.then_some(32)));
        meet(&cores[0], &config);
        let (mut client, mut server) = (connection(&config), accept(&cores[1], None).unwrap());
        let early = bytes(early);
        client.early_data().unwrap().write_all(&early).unwrap();
        let (plain, mut send) = hear(&mut server, &says(&mut client), &sizes).unwrap();
        prop_assert!(plain == early);
        prop_assert!(server.0.is_established() && !server.1.is_done());
        prop_assert_eq!(server.1.early_data(), EarlyData::Taken);
        prop_assert!(server.1.session().is_some_and(|session| session.resumed));
        // Its answer, which its client reads before it has said anything more.
        let answer = bytes(lengths[0]);
        server.0.send(&outbox(&[&answer]), &mut send).unwrap();
        prop_assert!(hears(&mut client, &send) == answer);
        prop_assert!(client.is_early_data_accepted());
        // More of the answer while the handshake comes to its end, piece by piece.
        let mut rest = says(&mut client);
        let mut turn = sizes.iter().cycle();
        while !rest.is_empty() {
            let piece: Vec<u8> = rest.drain(..rest.len().min(*turn.next().unwrap() % 40 + 1)).collect();
            let (plain, mut send) = hear(&mut server, &piece, &[usize::MAX]).unwrap();
            prop_assert!(plain.is_empty());
            server.0.send(&outbox(&[b"some", b" more"]), &mut send).unwrap();
            prop_assert_eq!(hears(&mut client, &send), b"some more");
        }
        prop_assert!(server.1.is_done());
        for length in &lengths[1..] {
            let (body, mut send) = (bytes(*length), Vec::new());
            client.writer().write_all(&body).unwrap();
            let wire = says(&mut client);
            if !wire.is_empty() {
                prop_assert!(hear(&mut server, &wire, &sizes).unwrap().0 == body);
            }
            server.0.send(&outbox(&[&body]), &mut send).unwrap();
            prop_assert!(hears(&mut client, &send) == body);
        }
    }

    #[test]
    fn early_data_that_is_refused_is_passed_over(
        sizes in proptest::collection::vec(1_usize..3000, 1..6),
        early in 1_usize..4000,
    ) {
        let (cores, others, config) = (cores(), self::cores(), clients(None));
        meet(&cores[0], &config);
        let (mut client, mut server) = (connection(&config), accept(&others[0], None).unwrap());
        client.early_data().unwrap().write_all(&bytes(early)).unwrap();
        let (plain, send) = hear(&mut server, &says(&mut client), &sizes).unwrap();
        prop_assert!(plain.is_empty() && !server.0.is_established());
        prop_assert_eq!(server.1.early_data(), EarlyData::Refused);
        hears(&mut client, &send);
        prop_assert!(!client.is_early_data_accepted());
        client.writer().write_all(b"again").unwrap();
        let (plain, _) = hear(&mut server, &says(&mut client), &sizes).unwrap();
        prop_assert_eq!(plain, b"again");
        prop_assert!(server.1.is_done());
    }
}

#[test]
fn what_was_recorded_is_taken_on_no_core_again() {
    let (cores, config) = (cores(), clients(None));
    meet(&cores[0], &config);
    let mut client = connection(&config);
    client.early_data().unwrap().write_all(b"once").unwrap();
    let recorded = says(&mut client);
    let taken: Vec<Vec<u8>> = [1, 0, 1]
        .into_iter()
        .map(|core| hear(&mut accept(&cores[core], None).unwrap(), &recorded, &[usize::MAX]).unwrap().0)
        .collect();
    assert_eq!(taken, [&b"once"[..], b"", b""]);
}

#[test]
fn more_early_data_than_is_taken_ends_the_connection() {
    let (cores, config) = (cores(), clients(None));
    meet(&cores[0], &config);
    // The client was told of more.
    let mut small = cores[0].clone();
    Arc::make_mut(&mut small.config).max_early_data_size = 100;
    let (mut client, mut server) = (connection(&config), accept(&small, None).unwrap());
    client.early_data().unwrap().write_all(&bytes(60)).unwrap();
    let first = says(&mut client);
    client.early_data().unwrap().write_all(&bytes(60)).unwrap();
    let second = says(&mut client);
    let (plain, _) = hear(&mut server, &first, &[usize::MAX]).unwrap();
    assert!(plain == bytes(60) && server.0.is_established());
    let mut out = Received::default();
    assert!(server.0.receive(second.into(), &mut out).is_err());
    assert!(out.plain.is_empty() && !out.send.is_empty() && !server.0.is_established());
    assert!(server.0.send(&outbox(&[b"no"]), &mut Vec::new()).is_err());
}

#[test]
fn who_waits_for_the_end_of_a_handshake_hears_of_it() {
    use std::task::{Context, Poll, Waker};
    let (cores, config) = (cores(), clients(None));
    let cx = Context::from_waker(Waker::noop());
    for ends_well in [true, false] {
        meet(&cores[0], &config);
        let (mut client, mut server) = (connection(&config), accept(&cores[0], None).unwrap());
        client.early_data().unwrap().write_all(b"early").unwrap();
        let (_, send) = hear(&mut server, &says(&mut client), &[usize::MAX]).unwrap();
        assert!(server.1.poll_done(&cx).is_pending());
        let handshake = server.1.clone();
        if ends_well {
            hears(&mut client, &send);
            hear(&mut server, &says(&mut client), &[usize::MAX]).unwrap();
        }
        drop(server);
        assert_eq!(handshake.poll_done(&cx), Poll::Ready(ends_well));
    }
}

#[test]
fn an_answer_may_end_before_the_handshake() {
    let (cores, config) = (cores(), clients(None));
    meet(&cores[0], &config);
    let (mut client, mut server) = (connection(&config), accept(&cores[0], None).unwrap());
    client.early_data().unwrap().write_all(b"early").unwrap();
    let (_, mut send) = hear(&mut server, &says(&mut client), &[usize::MAX]).unwrap();
    server.0.send(&outbox(&[b"all"]), &mut send).unwrap();
    server.0.finish(&mut send);
    assert_eq!(hears(&mut client, &send), b"all");
    // With close_notify it reads an end and no error.
    assert_eq!(client.reader().read(&mut [0]).unwrap(), 0);
    // What the client has still to say does no harm.
    hear(&mut server, &says(&mut client), &[usize::MAX]).unwrap();
    assert!(server.1.is_done());
}
