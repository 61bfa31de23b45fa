//! Two sides in memory: whatever pieces records come in, and whatever else comes.

use super::*;
use proptest::prelude::*;
use ringway_runtime::buffer::{Lease, Outbox};
use ringway_runtime::engine::{Layer, Received};
use std::rc::Rc;
use std::time::Duration;

pub(super) const PEM: &[u8] = include_bytes!("../../tests/tls/fixed/server.pem");
/// The authority of that.
pub(super) const AUTHORITY: &[u8] = include_bytes!("../../tests/tls/fixed/other.pem");
pub(super) const KEY: &[u8] = include_bytes!("../../tests/tls/fixed/server.key");

pub(super) type Side = (Box<dyn Layer>, Rc<Handshake>);

pub(super) struct World {
    server: CoreServer,
    client: CoreClient,
}

pub(super) fn parts(certificates: Vec<Certificate>, least: Version) -> ServerParts {
    ServerParts {
        certificates,
        client_auth: None,
        least,
        protocols: vec![Protocol::Http1],
        tickets: true,
        ticket_lifetime: Duration::from_hours(1),
        key_log: false,
        early: None,
    }
}

impl World {
    pub(super) fn new(least: Version) -> Self {
        let parts = parts(vec![Certificate::read(PEM, KEY, None).unwrap()], least);
        let keys = CoreTickets::new(Arc::new(TicketKeys::new().unwrap()));
        let roots = Roots::Of(Authorities::read(AUTHORITY).unwrap());
        let client = ClientSettings::new(roots, None, None, least, vec![Protocol::Http1], false).unwrap();
        Self {
            server: ServerSettings::new("web", parts).unwrap().on_core(&keys, &CoreSuites::of_new_core()).unwrap(),
            client: client.on_core().unwrap(),
        }
    }

    pub(super) fn sides(&self) -> (Side, Side) {
        (connect(&self.client, "localhost", None).unwrap(), accept(&self.server, None).unwrap())
    }
}

/// Carries bytes both ways in pieces of these sizes, in turn, until nobody has anything to say. What each has read.
fn carry(sides: [&mut Side; 2], mut wires: [Vec<u8>; 2], sizes: &[usize]) -> [Vec<u8>; 2] {
    let mut read = [Vec::new(), Vec::new()];
    let mut sizes = sizes.iter().copied().cycle();
    let [client, server] = sides;
    let sides = [client, server];
    while wires.iter().any(|wire| !wire.is_empty()) {
        for from in 0..2 {
            let count = sizes.next().unwrap_or(usize::MAX).min(wires[from].len());
            if count == 0 {
                continue;
            }
            let piece: Vec<u8> = wires[from].drain(..count).collect();
            let mut out = Received::default();
            sides[1 - from].0.receive(piece.into(), &mut out).unwrap();
            wires[1 - from].extend(out.send);
            read[1 - from].extend(out.plain.iter().flat_map(|lease| lease.to_vec()));
        }
    }
    read
}

/// What is to be sent, in these pieces.
pub(super) fn outbox(pieces: &[&[u8]]) -> Outbox {
    let mut outbox = Outbox::default();
    for piece in pieces {
        outbox.push(Lease::copied(piece));
    }
    outbox
}

pub(super) fn hello(side: &mut Side) -> Vec<u8> {
    let mut send = Vec::new();
    side.0.start(&mut send).unwrap();
    send
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn records_may_come_in_any_pieces(
        sizes in proptest::collection::vec(1_usize..6000, 1..8),
        lengths in proptest::collection::vec(0_usize..40_000, 1..4),
        newest in any::<bool>(),
    ) {
        let world = World::new(if newest { Version::Tls13 } else { Version::Tls12 });
        let (mut client, mut server) = world.sides();
        let first = hello(&mut client);
        carry([&mut client, &mut server], [first, Vec::new()], &sizes);
        for side in [&client, &server] {
            let session = side.1.session().unwrap();
            prop_assert_eq!((session.version, session.protocol, session.resumed), (Version::Tls13, Protocol::Http1, false));
        }
        for length in lengths {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 31 + at / 251) as u8).collect();
            let mut wires = [Vec::new(), Vec::new()];
            client.0.send(&outbox(&[&bytes]), &mut wires[0]).unwrap();
            server.0.send(&outbox(&[&bytes]), &mut wires[1]).unwrap();
            let read = carry([&mut client, &mut server], wires, &sizes);
            prop_assert!(read[0] == bytes && read[1] == bytes);
        }
        let mut end = Vec::new();
        client.0.finish(&mut end);
        carry([&mut client, &mut server], [end, Vec::new()], &sizes);
        prop_assert!(server.0.ended().is_ok() && client.0.ended().is_err());
    }

    #[test]
    fn whatever_comes_is_answered_or_refused(
        noise in proptest::collection::vec(any::<u8>(), 0..600),
        at in 0_usize..4000,
        flip in 1_u8..,
        sizes in proptest::collection::vec(1_usize..2000, 1..5),
        shared in any::<bool>(),
    ) {
        let world = World::new(Version::Tls12);
        let (mut client, mut server) = world.sides();
        let mut wire = hello(&mut client);
        let length = wire.len();
        if let Some(byte) = wire.get_mut(at % (2 * length)) {
            *byte ^= flip;
        }
        wire.extend(noise);
        let mut sizes = sizes.into_iter().cycle();
        let mut rest = Lease::from(wire);
        let mut failed = false;
        while !rest.is_empty() {
            let count = sizes.next().unwrap_or(1);
            // One that somebody else holds as well must not be changed.
            let piece = if shared { rest.slice(0, count) } else { Lease::copied(&rest[..count.min(rest.len())]) };
            let before = rest.to_vec();
            rest.advance(count);
            let mut out = Received::default();
            let taken = server.0.receive(piece, &mut out);
            prop_assert!(rest.is_empty() || rest[..] == before[before.len() - rest.len()..]);
            prop_assert!(out.plain.is_empty());
            // An error says why, and stays one.
            prop_assert!(!(failed && taken.is_ok()));
            failed = taken.is_err();
            prop_assert_eq!(server.1.failure().is_some(), failed);
            let mut send = Vec::new();
            prop_assert!(server.0.send(&outbox(&[b"early"]), &mut send).is_err() || server.0.is_established());
        }
    }
}

#[test]
fn a_ticket_is_good_for_its_listener_and_for_a_time() {
    use rustls::server::ProducesTickets;
    let first = Arc::new(TicketKeys::new().unwrap());
    let core = |keys: &Arc<TicketKeys>| CoreTickets::new(keys.clone());
    let of = |keys: &Arc<CoreTickets>, listener: u8| tickets::Ticketer {
        keys: keys.clone(),
        context: [listener; 32],
        lifetime: Duration::from_secs(1),
        hello: Arc::default(),
    };
    let (one, other) = (core(&first), core(&first));
    let ticket = of(&one, 1).encrypt(b"session").unwrap();
    assert_eq!(of(&other, 1).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    assert_eq!(of(&other, 2).decrypt(&ticket), None);
    for at in 0..ticket.len() {
        let mut wrong = ticket.clone();
        wrong[at] ^= 1;
        assert_eq!(of(&other, 1).decrypt(&wrong), None);
        assert_eq!(of(&other, 1).decrypt(&ticket[..at]), None);
    }
    // A core that has not heard of new keys reads what one that has seals with them, and the other way round.
    let second = Arc::new(first.rotated().unwrap());
    one.set(second.clone());
    let newer = of(&one, 1).encrypt(b"session").unwrap();
    assert!(of(&other, 1).decrypt(&newer).is_some() && of(&one, 1).decrypt(&ticket).is_some());
    let third = Arc::new(second.rotated().unwrap());
    one.set(third.clone());
    assert!(of(&one, 1).decrypt(&ticket).is_some());
    one.set(Arc::new(third.rotated().unwrap()));
    assert!(of(&one, 1).decrypt(&ticket).is_none() && of(&one, 1).decrypt(&newer).is_some());
}

/// The kinds of the handshake messages in clear at the start of what a server says.
fn kinds(mut flight: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some((&[22, _, _, high, low], rest)) = flight.split_first_chunk::<5>() {
        let (mut record, rest) = rest.split_at(u16::from_be_bytes([high, low]).into());
        while let Some((&[kind, a, b, c], rest)) = record.split_first_chunk::<4>() {
            kinds.push(kind);
            record = &rest[u32::from_be_bytes([0, a, b, c]) as usize..];
        }
        flight = rest;
    }
    kinds
}

#[test]
fn a_client_of_tls_1_2_keeps_its_ticket_as_long_as_the_key_is_in_use() {
    let keys = TicketKeys::new().unwrap();
    let core = CoreTickets::new(Arc::new(keys.clone()));
    let parts = parts(vec![Certificate::read(PEM, KEY, None).unwrap()], Version::Tls12);
    let server = ServerSettings::new("web", parts).unwrap().on_core(&core, &CoreSuites::of_new_core()).unwrap();
    let newest = World { server: server.clone(), ..World::new(Version::Tls12) };
    let mut older = World { server, ..World::new(Version::Tls12) };
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(Authorities::read(AUTHORITY).unwrap().store)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    older.client.config = Arc::new(config);
    // Whether a session went on, and whether its client was given another ticket in the first flight.
    let come = |world: &World| {
        let (mut client, mut server) = world.sides();
        let mut out = Received::default();
        server.0.receive(hello(&mut client).into(), &mut out).unwrap();
        let gets_ticket = kinds(&out.send).contains(&4);
        carry([&mut client, &mut server], [Vec::new(), out.send], &[usize::MAX]);
        (server.1.session().unwrap().resumed, gets_ticket)
    };
    assert_eq!(come(&older), (false, false));
    for _ in 0..3 {
        assert_eq!(come(&older), (true, false));
    }
    core.set(Arc::new(keys.rotated().unwrap()));
    assert_eq!(come(&older), (true, true));
    assert_eq!(come(&older), (true, false));
    // In TLS 1.3 each is good for once, so that each handshake brings another.
    let resumed = [(); 4].map(|()| (come(&newest).0, come(&older).0));
    assert_eq!(resumed, [(false, true), (true, true), (true, true), (true, true)]);
}

#[test]
fn what_files_hold_is_checked() {
    let other = include_bytes!("../../tests/tls/fixed/other.key");
    let wrong = |chain: &[u8], key: &[u8]| Certificate::read(chain, key, None).unwrap_err();
    assert_eq!(wrong(PEM, other), Wrong { file: WhichFile::Key, why: "does not belong to the certificate".to_owned() });
    assert_eq!(wrong(KEY, KEY).file, WhichFile::Certificate);
    assert_eq!(wrong(PEM, PEM).file, WhichFile::Key);
    assert_eq!(
        wrong(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", KEY).file,
        WhichFile::Certificate
    );
    let good = Certificate::read(PEM, KEY, None).unwrap();
    assert_eq!((good.names(), good.kind()), (&["localhost".to_owned(), "*.example.test".to_owned()][..], "ecdsa"));
}

#[test]
fn a_listener_without_a_certificate_says_so_until_one_is_stored() {
    let settings = ServerSettings::new("web", parts(Vec::new(), Version::Tls12)).unwrap();
    let keys = CoreTickets::new(Arc::new(TicketKeys::new().unwrap()));
    let with = |settings: &ServerSettings| World {
        server: settings.on_core(&keys, &CoreSuites::of_new_core()).unwrap(),
        ..World::new(Version::Tls12)
    };
    let (mut client, mut server) = with(&settings).sides();
    let mut out = Received::default();
    assert!(server.0.receive(hello(&mut client).into(), &mut out).is_err());
    assert_eq!(server.1.failure(), Some(Failure::NoneToShow));
    assert!(!out.send.is_empty(), "the client is told");
    let stored = [Certificate::read(PEM, KEY, None).unwrap()];
    let settings = settings.with_stored(&stored, &[]).unwrap();
    assert!(settings.with_stored(&stored, &[]).is_none(), "it has that already");
    assert!(settings.own_certificates().is_empty() && settings.certificates().len() == 1);
    let (mut client, mut server) = with(&settings).sides();
    let first = hello(&mut client);
    carry([&mut client, &mut server], [first, Vec::new()], &[usize::MAX]);
    assert!(!server.1.session().unwrap().is_challenge);
    assert!(settings.with_stored(&[], &[]).is_some_and(|settings| settings.certificates().is_empty()));
}
