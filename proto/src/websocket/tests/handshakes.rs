//! The opening handshake, field by field.

use crate::websocket::AnswerError;
use crate::websocket::HandshakeError::{self, Extensions, Key, Protocol, Version};
use crate::websocket::extension::{self, Deflate};
use crate::websocket::handshake::{Agreed, accept, answer, request};

type Fields<'a> = &'a [(&'a str, &'a str)];

const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION_13: (&str, &str) = ("Sec-WebSocket-Version", "13");
const ACCEPTED: (&str, &str) = ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
const PROTOCOL: &str = "Sec-WebSocket-Protocol";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

fn bytes(fields: Fields<'_>) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn asked(more: Fields<'_>) -> Result<(), HandshakeError> {
    let all = [&[("Host", "a"), VERSION_13, KEY], more].concat();
    request(bytes(&all)).map(|key| assert_eq!(key, KEY.1.as_bytes()))
}

fn answered(request: Fields<'_>, more: Fields<'_>) -> Result<Agreed, AnswerError> {
    let request = [&[VERSION_13, KEY], request].concat();
    answer(bytes(&[&[ACCEPTED], more].concat()), &bytes(&request), true)
}

#[test]
fn the_example_of_the_rfc_is_accepted() {
    assert_eq!(accept(KEY.1.as_bytes()), ACCEPTED.1.as_bytes());
    assert_eq!(asked(&[(PROTOCOL, "chat, superchat"), ("ORIGIN", "http://example.com")]), Ok(()));
    assert_eq!(answered(&[(PROTOCOL, "chat, superchat")], &[(PROTOCOL, "chat")]), Ok(Agreed::default()));
}

#[test]
fn requests_that_are_none_are_refused() {
    assert_eq!(request(bytes(&[KEY])), Err(Version));
    assert_eq!(request(bytes(&[KEY, ("Sec-WebSocket-Version", "8")])), Err(Version));
    assert_eq!(request(bytes(&[KEY, ("Sec-WebSocket-Version", "13, 8")])), Err(Version));
    assert_eq!(asked(&[VERSION_13]), Err(Version));
    assert_eq!(request(bytes(&[VERSION_13])), Err(Key));
    assert_eq!(asked(&[KEY]), Err(Key));
    for key in [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ==a",
        "dGhlIHNhbXBsZSBub25jZQ!=",
        "dGhl IHNhbXBsZSBub25jZ==",
    ] {
        assert_eq!(request(bytes(&[VERSION_13, ("Sec-WebSocket-Key", key)])), Err(Key), "{key}");
    }
    for protocol in ["", "a b", "chat, chat", "a, (b)"] {
        assert_eq!(asked(&[(PROTOCOL, protocol)]), Err(Protocol), "{protocol}");
    }
    assert_eq!(asked(&[(PROTOCOL, "a"), (PROTOCOL, "b")]), Ok(()));
    assert_eq!(asked(&[(PROTOCOL, "a"), (PROTOCOL, "a")]), Err(Protocol));
    for extensions in ["a b", "permessage-deflate; ", "a; b=\"c", "a; b=\"c d\"", ";a", "a; =b"] {
        assert_eq!(asked(&[(EXTENSIONS, extensions)]), Err(Extensions), "{extensions}");
    }
    for extensions in ["", "permessage-deflate; client_max_window_bits", "foo; a=\"b\", bar", "x-webkit-deflate-frame"]
    {
        assert_eq!(asked(&[(EXTENSIONS, extensions)]), Ok(()), "{extensions}");
    }
}

#[test]
fn answers_that_were_not_offered_are_refused() {
    let offer: Fields<'_> = &[(PROTOCOL, "chat"), (EXTENSIONS, "permessage-deflate; client_max_window_bits, foo")];
    assert_eq!(answered(offer, &[ACCEPTED]), Err(AnswerError::Accept));
    assert_eq!(answer(bytes(&[]), &bytes(&[KEY]), true), Err(AnswerError::Accept));
    assert_eq!(answer(bytes(&[("Sec-WebSocket-Accept", "x")]), &bytes(&[KEY]), true), Err(AnswerError::Accept));
    for protocol in ["other", "chat, chat", "", "CHAT"] {
        assert_eq!(answered(offer, &[(PROTOCOL, protocol)]), Err(AnswerError::Protocol), "{protocol}");
    }
    assert_eq!(answered(offer, &[(PROTOCOL, "chat"), (PROTOCOL, "chat")]), Err(AnswerError::Protocol));
    for extensions in [
        "foo",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "bar",
        "permessage-deflate; server_max_window_bits",
    ] {
        assert_eq!(answered(offer, &[(EXTENSIONS, extensions)]), Err(AnswerError::Extensions), "{extensions}");
    }
    assert_eq!(answered(&[], &[(EXTENSIONS, "permessage-deflate")]), Err(AnswerError::Extensions));
    let agreed = answered(offer, &[(EXTENSIONS, "permessage-deflate; client_max_window_bits=10")]).unwrap();
    assert_eq!(agreed.deflate.unwrap().client_max_window_bits, Some(Some(10)));
    let hidden = answer(bytes(&[ACCEPTED, (EXTENSIONS, "permessage-deflate")]), &bytes(&[KEY, offer[1]]), false);
    assert_eq!(hidden, Err(AnswerError::Extensions));
}

fn deflate(text: &str) -> Option<Deflate> {
    let mut all = extension::list(text.as_bytes());
    let found = all.next().unwrap().unwrap().deflate();
    assert!(all.next().is_none());
    found
}

#[test]
fn parameters_of_deflate_are_those_of_its_rfc() {
    assert_eq!(deflate("permessage-deflate"), Some(Deflate::default()));
    let all = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=\"10\"; client_max_window_bits = 8";
    let wanted = Deflate {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: Some(10),
        client_max_window_bits: Some(Some(8)),
    };
    assert_eq!(deflate(all), Some(wanted));
    for wrong in [
        "server_no_context_takeover=1",
        "server_no_context_takeover; server_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "client_max_window_bits=8; client_max_window_bits=8",
        "unknown",
    ] {
        assert_eq!(deflate(&format!("permessage-deflate; {wrong}")), None, "{wrong}");
    }
    assert_eq!(deflate("permessage-foo"), None);
}

#[test]
fn an_answer_keeps_to_its_offer() {
    for (offer, answer, may) in [
        ("", "", true),
        ("", "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9", true),
        ("", "; client_max_window_bits=9", false),
        ("; client_max_window_bits", "; client_max_window_bits=15", true),
        ("; client_max_window_bits=10", "; client_max_window_bits=11", false),
        ("; client_max_window_bits=10", "", true),
        ("; server_max_window_bits=10", "", false),
        ("; server_max_window_bits=10", "; server_max_window_bits=10", true),
        ("; server_max_window_bits=10", "; server_max_window_bits=11", false),
        ("; server_no_context_takeover", "", false),
    ] {
        let of = |params: &str| deflate(&format!("permessage-deflate{params}")).unwrap();
        assert_eq!(of(offer).may_be_answered(&of(answer)), may, "{offer} {answer}");
    }
}
