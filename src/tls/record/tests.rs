//! What peers may do after the handshake, and what they are told of what they may not. That records are those of TLS is
//! for the tests with rustls as the peer.

use super::keys::Keys;
use super::*;
use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384;
use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{ConnectionTrafficSecrets, SupportedCipherSuite};

/// A schedule of keys that both sides know: each is its turn.
struct Toy<const IS_SERVER: bool> {
    turns: [u8; 2],
    tickets: Vec<Vec<u8>>,
}

fn secrets(is_tls13: bool, from_server: bool, turn: u8) -> ConnectionTrafficSecrets {
    let byte = 2 * turn + u8::from(from_server);
    let (key, iv) = (AeadKey::from([byte; 32]), Iv::from([byte; 12]));
    if is_tls13 {
        ConnectionTrafficSecrets::Aes256Gcm { key, iv }
    } else {
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }
    }
}

impl<const IS_SERVER: bool> Kept for Toy<IS_SERVER> {
    const IS_SERVER: bool = IS_SERVER;
    fn update(&mut self, send: bool) -> Result<(u64, ConnectionTrafficSecrets), Error> {
        self.turns[usize::from(send)] += 1;
        Ok((0, secrets(true, send == IS_SERVER, self.turns[usize::from(send)])))
    }
    fn ticket(&mut self, message: &[u8]) -> Result<(), Error> {
        self.tickets.push(message.to_vec());
        Ok(())
    }
}

fn side<const IS_SERVER: bool>(is_tls13: bool) -> Records<Toy<IS_SERVER>> {
    let kept = is_tls13.then(|| Toy { turns: [0; 2], tickets: Vec::new() });
    let SupportedCipherSuite::Tls13(suite) = TLS13_AES_256_GCM_SHA384 else { unreachable!() };
    let keys = |from_server| Keys::new(is_tls13, (0, secrets(is_tls13, from_server, 0)), true).unwrap();
    Records::new(kept, &suite.common, keys(IS_SERVER), keys(!IS_SERVER))
}

/// What came of bytes: the plaintext, what is sent for it, and the error.
fn take<K: Kept>(records: &mut Records<K>, wire: &mut [u8]) -> (Vec<u8>, Vec<u8>, Option<Error>) {
    let (mut plain, mut send) = (Plain::default(), Vec::new());
    let taken = records.receive(wire, 0, &mut plain, &mut send);
    let read = plain.take().flat_map(|piece| wire[piece].to_vec()).collect();
    if let Ok(taken) = taken {
        assert_eq!(taken, wire.len());
    }
    (read, send, taken.err())
}

/// The records in `wire`, by what they are and what they hold.
fn opened(keys: &mut Keys, wire: &mut [u8]) -> Vec<(ContentType, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = wire;
    while let Some(&[.., high, low]) = rest.first_chunk::<HEADER>() {
        let (record, next) = rest.split_at_mut(HEADER + usize::from(u16::from_be_bytes([high, low])));
        let (kind, piece) = keys.open(record).unwrap();
        found.push((kind, record[piece].to_vec()));
        rest = next;
    }
    found
}

type Client = Records<Toy<false>>;

fn sealed(client: &mut Client, kind: ContentType, plain: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    client.record(kind, plain, &mut wire).unwrap();
    wire
}

fn data(client: &mut Client, plain: &[u8]) -> Vec<u8> {
    sealed(client, ContentType::ApplicationData, plain)
}

fn update(client: &mut Client, request: bool) -> Vec<u8> {
    let mut wire = Vec::new();
    client.update(request, &mut wire).unwrap();
    wire
}

/// Has the client use other keys without a word.
fn next_keys(client: &mut Client) {
    client.sends = Sends::Here(Keys::new(true, client.kept().unwrap().update(true).unwrap(), false).unwrap());
}

const KEY_UPDATE: u8 = 24;
const HELLO: u8 = 1;
const TICKET: u8 = 4;

/// What a client does that it may not, in the versions where it can, and the alert that a server tells it.
#[test]
fn whatever_a_peer_may_not_do_ends_the_connection_and_it_is_told_why() {
    use ContentType::{Alert, ApplicationData, ChangeCipherSpec, Handshake};
    type Does = fn(&mut Client) -> Vec<u8>;
    const BOTH: &[bool] = &[true, false];
    const NEW: &[bool] = &[true];
    const OLD: &[bool] = &[false];
    let cases: &[(&str, &[bool], Does, Option<u8>)] = &[
        (
            "a tag that is wrong",
            BOTH,
            |c| {
                let mut wire = data(c, b"said");
                *wire.last_mut().unwrap() ^= 1;
                wire
            },
            Some(20),
        ),
        (
            "a header that was changed",
            OLD,
            |c| {
                let mut wire = data(c, b"said");
                wire[2] = 2;
                wire
            },
            Some(20),
        ),
        ("a record again", BOTH, |c| data(c, b"said").repeat(2), Some(20)),
        ("a record too short for a tag", BOTH, |_| vec![23, 3, 3, 0, 5, 1, 2, 3, 4, 5], Some(20)),
        ("a record without anything", BOTH, |_| vec![23, 3, 3, 0, 0], Some(20)),
        ("a header that says too much", NEW, |_| vec![23, 3, 3, 0x41, 1], Some(22)),
        ("a header that said too much before", OLD, |_| vec![23, 3, 3, 0x48, 1], Some(22)),
        ("too much plaintext", BOTH, |c| data(c, &vec![1; MOST + 1]), Some(22)),
        ("too much padding", NEW, |c| data(c, &vec![0; MOST + 1]), Some(22)),
        ("a record that is nothing", BOTH, |_| vec![9, 3, 3, 0, 30], Some(50)),
        ("another protocol", BOTH, |_| b"\x17TP/1.1".to_vec(), Some(50)),
        ("ciphers that change", BOTH, |_| vec![20, 3, 3, 0, 1, 1], Some(10)),
        ("sealed ciphers that change", BOTH, |c| sealed(c, ChangeCipherSpec, &[1]), Some(10)),
        ("an open handshake", NEW, |_| vec![22, 3, 3, 0, 4, 0, 0, 0, 0], Some(10)),
        ("an open alert", NEW, |_| vec![21, 3, 3, 0, 2, 2, 40], Some(10)),
        ("an open handshake before", OLD, |_| [&[22, 3, 3, 0, 20][..], &[0; 20]].concat(), Some(20)),
        ("inside nothing that is known", NEW, |c| sealed(c, ContentType::Unknown(99), b"?"), Some(10)),
        ("inside nothing but padding", NEW, |c| sealed(c, ContentType::Unknown(0), &[0; 9]), Some(10)),
        ("nothing again and again", BOTH, |c| (0..33).flat_map(|_| data(c, b"")).collect(), Some(10)),
        ("an empty handshake", BOTH, |c| sealed(c, Handshake, b""), Some(50)),
        ("an alert cut short", BOTH, |c| sealed(c, Alert, &[2]), Some(50)),
        ("an alert that is neither", BOTH, |c| sealed(c, Alert, &[3, 0]), Some(50)),
        ("an alert", BOTH, |c| sealed(c, Alert, &[2, 40]), None),
        ("a warning", NEW, |c| sealed(c, Alert, &[1, 46]), Some(50)),
        ("many warnings", BOTH, |c| (0..5).flat_map(|_| sealed(c, Alert, &[1, 90])).collect(), Some(10)),
        (
            "data in a message",
            NEW,
            |c| [sealed(c, Handshake, &[KEY_UPDATE, 0, 0]), sealed(c, ApplicationData, b"said")].concat(),
            Some(10),
        ),
        (
            "an end in a message",
            OLD,
            |c| [sealed(c, Handshake, &[HELLO, 0, 0]), sealed(c, Alert, &[1, 0])].concat(),
            Some(10),
        ),
        ("a message that servers send", NEW, |c| sealed(c, Handshake, &[TICKET, 0, 0, 9]), Some(10)),
        ("a message that is too long", OLD, |c| sealed(c, Handshake, &[HELLO, 1, 0, 0]), Some(50)),
        ("a handshake again", NEW, |c| sealed(c, Handshake, &[HELLO, 0, 0, 0]), Some(10)),
        (
            "a handshake again and again",
            OLD,
            |c| [sealed(c, Handshake, &[HELLO, 0, 0, 0]), sealed(c, Handshake, &[HELLO, 0, 0, 0])].concat(),
            Some(10),
        ),
        ("other keys before there were any", OLD, |c| sealed(c, Handshake, &[KEY_UPDATE, 0, 0, 1, 0]), Some(10)),
        ("other keys in another way", NEW, |c| sealed(c, Handshake, &[KEY_UPDATE, 0, 0, 1, 2]), Some(47)),
        ("other keys in too many words", NEW, |c| sealed(c, Handshake, &[KEY_UPDATE, 0, 0, 2, 0, 0]), Some(47)),
        ("other keys and more", NEW, |c| sealed(c, Handshake, &[KEY_UPDATE, 0, 0, 1, 0, KEY_UPDATE]), Some(10)),
        ("other keys again and again", NEW, |c| (0..33).flat_map(|_| update(c, false)).collect(), Some(10)),
        (
            "the keys of before",
            NEW,
            |c| {
                let before = c.sends.used();
                let mut wire = update(c, false);
                let mut old = side::<false>(true);
                for _ in 0..=before {
                    data(&mut old, b"");
                }
                wire.extend(data(&mut old, b"said"));
                wire
            },
            Some(20),
        ),
    ];
    for &(name, versions, does, alert) in cases {
        for &is_tls13 in versions {
            let (mut client, mut server) = (side::<false>(is_tls13), side::<true>(is_tls13));
            let first = data(&mut client, b"first");
            let mut wire = [first, does(&mut client)].concat();
            let (mut plain, mut send) = (Plain::default(), Vec::new());
            let error = server.receive(&mut wire, 0, &mut plain, &mut send).expect_err(name);
            // What came before is read.
            let read: Vec<u8> = plain.take().flat_map(|piece| wire[piece].to_vec()).collect();
            assert!(read.starts_with(b"first"), "{name}: {error}");
            let said = opened(&mut client.receives, &mut send);
            let last = said.last().map(|(kind, bytes)| (*kind, bytes.clone()));
            assert_eq!(last, alert.map(|alert| (Alert, vec![2, alert])), "{name}, TLS 1.3: {is_tls13}: {error}");
        }
    }
}

#[test]
fn what_peers_may_do_goes_on() {
    use ContentType::{Alert, Handshake};
    type Does = fn(&mut Client) -> Vec<u8>;
    let cases: &[(&str, bool, Does)] = &[
        ("nothing, for a while", true, |c| (0..32).flat_map(|_| data(c, b"")).collect()),
        ("some warnings", false, |c| (0..4).flat_map(|_| sealed(c, Alert, &[1, 90])).collect()),
        ("other keys, often", true, |c| (0..32).flat_map(|_| update(c, true)).collect()),
        ("other keys, in pieces", true, |c| {
            let wire: Vec<u8> = [KEY_UPDATE, 0, 0, 1, 0].iter().flat_map(|b| sealed(c, Handshake, &[*b])).collect();
            next_keys(c);
            wire
        }),
        ("one handshake again, in pieces", false, |c| {
            [HELLO, 0, 0, 3, 7, 7, 7].iter().flat_map(|b| sealed(c, Handshake, &[*b])).collect()
        }),
    ];
    for &(name, is_tls13, does) in cases {
        let (mut client, mut server) = (side::<false>(is_tls13), side::<true>(is_tls13));
        let mut wire = [data(&mut client, b"one "), does(&mut client), data(&mut client, b"two")].concat();
        let (read, _, error) = take(&mut server, &mut wire);
        assert_eq!((&read[..], error), (&b"one two"[..], None), "{name}");
    }
}

#[test]
fn a_request_to_shake_hands_again_is_answered_with_a_warning() {
    let (mut client, mut server) = (side::<false>(false), side::<true>(false));
    let mut wire = sealed(&mut client, ContentType::Handshake, &[HELLO, 0, 0, 0]);
    let (_, mut send, error) = take(&mut server, &mut wire);
    assert_eq!(error, None);
    assert_eq!(opened(&mut client.receives, &mut send), [(ContentType::Alert, vec![1, 100])]);
}

#[test]
fn whatever_follows_the_end_is_ignored() {
    for is_tls13 in [true, false] {
        let (mut client, mut server) = (side::<false>(is_tls13), side::<true>(is_tls13));
        let mut wire = data(&mut client, b"said");
        client.end(&mut wire);
        wire.extend(b"whatever");
        let (read, send, error) = take(&mut server, &mut wire);
        assert_eq!((&read[..], send.len(), error, server.has_ended()), (&b"said"[..], 0, None, true));
    }
}

fn send<K: Kept>(records: &mut Records<K>, pieces: &[&[u8]]) -> (Vec<u8>, Result<(), Error>) {
    let mut wire = Vec::new();
    let length = pieces.iter().map(|piece| piece.len()).sum();
    let each = |to: &mut dyn FnMut(&'static [u8]) -> bool| {
        for piece in pieces {
            if !to(piece.to_vec().leak()) {
                return;
            }
        }
    };
    let sent = records.send(length, each, &mut wire);
    (wire, sent)
}

#[test]
fn records_are_as_few_as_may_be_and_keep_to_their_room() {
    for is_tls13 in [true, false] {
        for (pieces, wanted) in [
            (&[][..], &[][..]),
            (&[10, 20, 30], &[60]),
            (&[100, MOST], &[MOST, 100]),
            (&[MOST], &[MOST]),
            (&[3 * MOST + 1, 1], &[MOST, MOST, MOST, 2]),
        ] {
            let (mut client, mut server) = (side::<false>(is_tls13), side::<true>(is_tls13));
            let pieces: Vec<Vec<u8>> = pieces.iter().map(|length| vec![7; *length]).collect();
            let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &**piece).collect();
            let (mut wire, sent) = send(&mut client, &pieces);
            assert_eq!(sent, Ok(()));
            let lengths: Vec<usize> =
                opened(&mut server.receives, &mut wire).iter().map(|(_, bytes)| bytes.len()).collect();
            assert_eq!(lengths, wanted);
        }
    }
}

#[test]
fn keys_are_changed_before_they_have_sealed_too_much() {
    let (mut client, mut server) = (side::<false>(true), side::<true>(true));
    client.most_sealed = 4;
    for turn in 0..20_u8 {
        let (mut wire, sent) = send(&mut client, &[&[turn; 3]]);
        assert_eq!(sent, Ok(()));
        let (read, _, error) = take(&mut server, &mut wire);
        assert_eq!((&read[..], error), (&[turn; 3][..], None));
        assert!(client.sends.used() < 4);
    }
    // The other side was asked to do the same, and does before it sends.
    assert_eq!(server.kept().unwrap().turns, [6, 0]);
    let (mut wire, _) = send(&mut server, &[b"said"]);
    let (read, _, error) = take(&mut client, &mut wire);
    assert_eq!((&read[..], error, server.kept().unwrap().turns), (&b"said"[..], None, [6, 1]));
}

#[test]
fn before_tls_1_3_the_connection_ends_instead() {
    let (mut client, mut server) = (side::<false>(false), side::<true>(false));
    client.most_sealed = 4;
    for _ in 0..3 {
        take(&mut server, &mut send(&mut client, &[b"said"]).0);
    }
    let (mut wire, sent) = send(&mut client, &[b"said"]);
    assert_eq!(sent, Err(Error::EncryptError));
    let (read, _, error) = take(&mut server, &mut wire);
    assert_eq!((read.len(), error, server.has_ended()), (0, None, true));
}

fn pass<K: Kept>(records: &mut Records<K>, pieces: &[usize]) -> (Vec<u8>, Result<(), Error>) {
    let mut send = Vec::new();
    let each = |to: &mut dyn FnMut(&'static [u8]) -> bool| {
        for piece in pieces {
            to(vec![0; *piece].leak());
        }
    };
    let passed = records.pass(each, &mut send);
    (send, passed)
}

/// The open record of an alert.
const CLOSE_NOTIFY: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];

#[test]
fn what_the_kernel_seals_is_counted_and_ends_before_its_keys_are_used_up() {
    for is_tls13 in [true, false] {
        let mut server = side::<true>(is_tls13);
        // Two of them are sealed here.
        assert_eq!(send(&mut server, &[&vec![7; MOST + 1]]).1, Ok(()));
        assert!(server.offer().is_some());
        server.offered(true);
        assert!(server.offer().is_none());
        server.most_sealed = 10;
        for (pieces, used) in [(&[][..], 2), (&[1], 3), (&[MOST, 1], 5), (&[MOST + 1, 0], 7)] {
            assert_eq!(pass(&mut server, pieces), (Vec::new(), Ok(())));
            assert_eq!(server.sends.used(), used, "{pieces:?}");
        }
        assert_eq!(pass(&mut server, &[1]), (Vec::new(), Ok(())));
        let (send, passed) = pass(&mut server, &[1]);
        assert_eq!(send, CLOSE_NOTIFY);
        assert_eq!(passed, Err(Error::General("the kernel's keys are used up".to_owned())));
    }
}

#[test]
fn where_the_kernel_does_not_seal_all_goes_on_here() {
    let (mut client, mut server) = (side::<false>(true), side::<true>(true));
    assert!(client.offer().is_some());
    client.offered(false);
    assert!(client.offer().is_none());
    let (read, _, error) = take(&mut server, &mut send(&mut client, &[b"said"]).0);
    assert_eq!((&read[..], error), (&b"said"[..], None));
}

#[test]
fn what_is_no_data_is_left_open_for_the_kernel() {
    let (mut client, mut server) = (side::<false>(false), side::<true>(false));
    server.offered(true);
    let mut wire = sealed(&mut client, ContentType::Handshake, &[HELLO, 0, 0, 0]);
    let (_, said, error) = take(&mut server, &mut wire);
    assert_eq!((&said[..], error), (&[21, 3, 3, 0, 2, 1, 100][..], None));
    let (_, said, error) = take(&mut server, &mut [23, 3, 3, 0, 0]);
    assert_eq!((&said[..], error), (&[21, 3, 3, 0, 2, 2, 20][..], Some(Error::DecryptError)));
    let mut end = Vec::new();
    server.end(&mut end);
    assert_eq!(end, CLOSE_NOTIFY);
    assert_eq!(server.sends.used(), 3);
    // And nothing is sealed with keys that the kernel has.
    assert!(send(&mut server, &[b"said"]).1.is_err());
}

#[test]
fn a_peer_that_wants_other_keys_gets_nothing_more_of_the_kernel() {
    let (mut client, mut server) = (side::<false>(true), side::<true>(true));
    take(&mut server, &mut update(&mut client, true));
    // First the keys change, then the kernel may have them.
    assert!(server.offer().is_none());
    assert_eq!(send(&mut server, &[b"said"]).1, Ok(()));
    assert!(server.offer().is_some());
    server.offered(true);
    take(&mut server, &mut update(&mut client, false));
    assert_eq!(pass(&mut server, &[1]), (Vec::new(), Ok(())));
    take(&mut server, &mut update(&mut client, true));
    let (send, passed) = pass(&mut server, &[1]);
    assert_eq!((send, passed.is_err()), (CLOSE_NOTIFY.to_vec(), true));
}

#[test]
fn sequence_numbers_do_not_begin_again() {
    for is_tls13 in [true, false] {
        let keys = || Keys::new(is_tls13, (u64::MAX - 0x10000, secrets(is_tls13, true, 0)), false).unwrap();
        let (mut sends, mut receives) = (keys(), keys());
        for is_last in [false, true] {
            let mut wire = Vec::new();
            let start = sends.begin(&mut wire);
            wire.extend(b"said");
            assert_eq!(sends.seal(ContentType::ApplicationData, start, &mut wire).is_err(), is_last);
            // Nothing of the plaintext is left where it could not be sealed.
            assert_eq!(wire.is_empty(), is_last);
            assert_eq!(receives.open(&mut wire).is_err(), is_last);
        }
    }
}

#[test]
fn a_client_keeps_its_tickets() {
    let (mut client, mut server) = (side::<false>(true), side::<true>(true));
    let mut wire = Vec::new();
    server.record(ContentType::Handshake, &[TICKET, 0, 0, 2, 7, 8, TICKET, 0], &mut wire).unwrap();
    server.record(ContentType::Handshake, &[0, 1, 9], &mut wire).unwrap();
    assert_eq!(take(&mut client, &mut wire).2, None);
    assert_eq!(client.kept().unwrap().tickets, [vec![7, 8], vec![9]]);
}

/// A record of any kind with anything in it, often what it should be.
fn record() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let message = prop_oneof![Just(KEY_UPDATE), Just(HELLO), Just(TICKET), any::<u8>()];
    prop_oneof![
        4 => (Just(23), proptest::collection::vec(any::<u8>(), 0..3000)),
        1 => (Just(22), (message, 0_u8..4, proptest::collection::vec(0_u8..3, 0..6)).prop_map(|(kind, length, rest)| {
            [vec![kind, 0, 0, length], rest].concat()
        })),
        1 => (Just(22), proptest::collection::vec(any::<u8>(), 0..20)),
        1 => (Just(21), proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(2), Just(90), any::<u8>()], 0..4)),
        1 => (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)),
    ]
}

proptest! {
    /// Whatever a peer seals: what is read is the data that came before it went wrong, in order, and an error is said.
    #[test]
    fn whatever_a_peer_seals_is_read_or_refused(
        is_tls13 in any::<bool>(),
        is_server in any::<bool>(),
        records in proptest::collection::vec(record(), 1..12),
    ) {
        let (mut client, mut server) = (side::<false>(is_tls13), side::<true>(is_tls13));
        let (mut wire, mut said) = (Vec::new(), Vec::new());
        for (kind, plain) in &records {
            let kind = ContentType::from(*kind);
            if is_server {
                client.record(kind, plain, &mut wire).unwrap();
                // Before TLS 1.3 it is refused as all else is that is not to be.
                if is_tls13 && (kind, plain.as_slice()) == (ContentType::Handshake, &[KEY_UPDATE, 0, 0, 1, 0][..]) {
                    next_keys(&mut client);
                }
            } else {
                server.record(kind, plain, &mut wire).unwrap();
            }
            if kind == ContentType::ApplicationData {
                said.extend_from_slice(plain);
            }
        }
        let (read, answer, error) =
            if is_server { take(&mut server, &mut wire) } else { take(&mut client, &mut wire) };
        prop_assert!(said.starts_with(&read));
        let has_ended = if is_server { server.has_ended() } else { client.has_ended() };
        prop_assert!(error.is_some() || has_ended || read == said);
        let told = match &error {
            Some(error) => alert_of(error).is_none() || !answer.is_empty(),
            None => true,
        };
        prop_assert!(told);
    }
}
