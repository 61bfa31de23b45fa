//! Our records against those of rustls, which knows nothing of them: every suite, either side, in any pieces.

use super::tests::{AUTHORITY, KEY, PEM, Side, World, hello, outbox};
use super::*;
use proptest::prelude::*;
use ringway_runtime::engine::Received;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection, version};
use std::io::{Read, Write};

/// What is done, in turn.
#[derive(Clone, Debug)]
enum Step {
    /// We send, in these pieces.
    Send(Vec<usize>),
    /// The peer sends so much.
    Receive(usize),
    /// The peer has other keys used, by both.
    Update,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => proptest::collection::vec(0_usize..30_000, 1..4).prop_map(Step::Send),
        3 => (0_usize..60_000).prop_map(Step::Receive),
        1 => Just(Step::Update),
    ]
}

fn bytes(length: usize, turn: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251 + turn) as u8).collect()
}

/// rustls on the other side, with one suite alone.
fn peer(is_server: bool, suite: usize) -> Connection {
    let mut provider = default_provider();
    // TLS 1.2 with a key of ECDSA, which is what the certificate has.
    let mut suites = ALL_CIPHER_SUITES.to_vec();
    suites.retain(|suite| !format!("{:?}", suite.suite()).contains("_RSA_"));
    provider.cipher_suites = vec![suites[suite % suites.len()]];
    let versions: &[&rustls::SupportedProtocolVersion] =
        if provider.cipher_suites[0].tls13().is_some() { &[&version::TLS13] } else { &[&version::TLS12] };
    let provider = Arc::new(provider);
    let chain = |pem: &[u8]| CertificateDer::pem_slice_iter(pem).map(Result::unwrap).collect::<Vec<_>>();
    if is_server {
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let config = builder.with_no_client_auth().with_single_cert(chain(PEM), key).unwrap();
        ServerConnection::new(Arc::new(config)).unwrap().into()
    } else {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain(AUTHORITY));
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap().into()
    }
}

/// Carries bytes both ways in pieces of these sizes until nobody has anything to say: what we have read, and the peer.
fn carry(ours: &mut Side, peer: &mut Connection, mut wire: Vec<u8>, sizes: &[usize]) -> [Vec<u8>; 2] {
    let mut read = [Vec::new(), Vec::new()];
    let mut sizes = sizes.iter().copied().cycle();
    let mut to_us = Vec::new();
    loop {
        while peer.wants_write() {
            peer.write_tls(&mut to_us).unwrap();
        }
        if wire.is_empty() && to_us.is_empty() {
            return read;
        }
        let count = sizes.next().unwrap_or(usize::MAX);
        let piece: Vec<u8> = to_us.drain(..count.min(to_us.len())).collect();
        if !piece.is_empty() {
            let mut out = Received::default();
            ours.0.receive(piece.into(), &mut out).unwrap();
            wire.extend(out.send);
            read[0].extend(out.plain.iter().flat_map(|lease| lease.to_vec()));
        }
        let piece: Vec<u8> = wire.drain(..count.min(wire.len())).collect();
        let mut rest = &piece[..];
        while !rest.is_empty() {
            peer.read_tls(&mut rest).unwrap();
            peer.process_new_packets().unwrap();
            // That nothing is there for now is no error here.
            let _ = peer.reader().read_to_end(&mut read[1]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rustls_reads_what_we_send_and_we_what_it_sends(
        is_server in any::<bool>(),
        suite in 0_usize..6,
        sizes in proptest::collection::vec(1_usize..20_000, 1..8),
        steps in proptest::collection::vec(step(), 1..12),
    ) {
        let world = World::new(Version::Tls12);
        let (client, server) = world.sides();
        let mut ours = if is_server { server } else { client };
        let mut peer = peer(!is_server, suite);
        let first = if is_server { Vec::new() } else { hello(&mut ours) };
        carry(&mut ours, &mut peer, first, &sizes);
        peer.set_buffer_limit(None);
        prop_assert!(ours.0.is_established() && !peer.is_handshaking());
        let is_tls13 = ours.1.session().unwrap().version == Version::Tls13;
        for (turn, step) in steps.into_iter().enumerate() {
            let mut wire = Vec::new();
            let mut wanted = [Vec::new(), Vec::new()];
            match step {
                Step::Send(lengths) => {
                    let pieces: Vec<Vec<u8>> = lengths.iter().map(|length| bytes(*length, turn)).collect();
                    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
                    ours.0.send(&outbox(&pieces), &mut wire).unwrap();
                    wanted[1] = pieces.concat();
                }
                Step::Receive(length) => {
                    wanted[0] = bytes(length, turn);
                    peer.writer().write_all(&wanted[0]).unwrap();
                }
                Step::Update if is_tls13 => peer.refresh_traffic_keys().unwrap(),
                Step::Update => {}
            }
            let read = carry(&mut ours, &mut peer, wire, &sizes);
            prop_assert!(read == wanted);
        }
        let mut end = Vec::new();
        ours.0.finish(&mut end);
        peer.send_close_notify();
        carry(&mut ours, &mut peer, end, &sizes);
        prop_assert!(ours.0.ended().is_ok());
        prop_assert!(peer.process_new_packets().unwrap().peer_has_closed());
    }
}
