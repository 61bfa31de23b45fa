//! The values of fields, and the messages of health.

use std::time::Duration;

use proptest::prelude::*;

use super::super::health::{Serving, request, response};
use super::super::{Code, FrameError, Pushback, Said, Wire, content_type, message, timeout};

#[test]
fn codes_are_read_as_they_are_written() {
    for (number, code) in (0..).zip(Code::ALL) {
        assert_eq!((code.number(), Code::of(number)), (number, Some(code)));
        let mut out = Vec::new();
        code.write(&mut out);
        assert_eq!(out, number.to_string().as_bytes());
        assert_eq!(Code::read(&out), Some(code), "{}", code.name());
    }
    for wrong in ["", "17", "00", "01", "-1", " 1", "1 ", "x", "100", "1x"] {
        assert_eq!(Code::read(wrong.as_bytes()), None, "{wrong}");
    }
}

#[test]
fn a_status_of_http_has_a_code() {
    use Code::{Internal, PermissionDenied, Unauthenticated, Unavailable, Unimplemented, Unknown};
    for (status, code) in [
        (400, Internal),
        (401, Unauthenticated),
        (403, PermissionDenied),
        (404, Unimplemented),
        (429, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (200, Unknown),
        (500, Unknown),
        (413, Unknown),
    ] {
        assert_eq!(Code::of_http(status), code, "{status}");
    }
}

#[test]
fn texts_are_encoded_where_they_must_be() {
    for (text, value) in [
        ("plain text, 1/2", "plain text, 1/2"),
        ("100%", "100%25"),
        ("a\r\nb", "a%0D%0Ab"),
        ("zwölf", "zw%C3%B6lf"),
        ("\x7f", "%7F"),
        ("", ""),
    ] {
        let (mut out, mut read) = (Vec::new(), Vec::new());
        message::write(text.as_bytes(), &mut out);
        assert_eq!(out, value.as_bytes());
        message::read(&out, &mut read);
        assert_eq!(read, text.as_bytes());
    }
    for (value, text) in [("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%%41", "%A"), ("%c3%b6", "ö")] {
        let mut read = Vec::new();
        message::read(value.as_bytes(), &mut read);
        assert_eq!(read, text.as_bytes(), "{value}");
    }
}

#[test]
fn times_are_up_to_eight_digits_and_a_unit() {
    for (value, nanos) in [
        ("250m", Some(250_000_000)),
        ("0n", Some(0)),
        ("99999999n", Some(99_999_999)),
        ("5u", Some(5_000)),
        ("2S", Some(2_000_000_000)),
        ("3M", Some(180_000_000_000)),
        ("1H", Some(3_600_000_000_000)),
        ("99999999H", Some(u64::MAX)),
        ("123456789n", None),
        ("1s", None),
        ("1", None),
        ("m", None),
        ("+1m", None),
        ("", None),
    ] {
        assert_eq!(timeout::read(value.as_bytes()), nanos.map(Duration::from_nanos), "{value}");
    }
}

#[test]
fn a_server_says_when_it_may_be_asked_again() {
    for (value, pushback) in [
        ("0", Pushback::After(Duration::ZERO)),
        ("250", Pushback::After(Duration::from_millis(250))),
        ("9999999999", Pushback::After(Duration::from_millis(9_999_999_999))),
        ("-1", Pushback::Never),
        ("", Pushback::Never),
        ("soon", Pushback::Never),
        ("99999999999", Pushback::Never),
    ] {
        assert_eq!(Pushback::read(value.as_bytes()), pushback, "{value}");
        let fields = [(&b"Grpc-Status"[..], &b"14"[..]), (b"grpc-retry-pushback-ms", value.as_bytes())];
        let said = Said::of(fields.into_iter());
        assert_eq!((said.code(), said.pushback), (Some(Code::Unavailable), pushback));
    }
    let twice = [(&b"grpc-status"[..], &b"0"[..]), (b"grpc-status", b"14")];
    assert_eq!(Said::of(twice.into_iter()).code(), None);
    assert_eq!(Said::of(std::iter::empty()), Said::default());
}

#[test]
fn content_types_are_known() {
    use Wire::{Grpc, Web, WebText};
    for (value, known) in [
        ("application/grpc", Some((Grpc, ""))),
        ("application/grpc+proto", Some((Grpc, "+proto"))),
        ("Application/gRPC; charset=utf-8", Some((Grpc, "; charset=utf-8"))),
        ("application/grpc-web", Some((Web, ""))),
        ("application/grpc-web+json", Some((Web, "+json"))),
        ("application/grpc-web-text", Some((WebText, ""))),
        ("APPLICATION/GRPC-WEB-TEXT+proto", Some((WebText, "+proto"))),
        ("application/grpc-webs", None),
        ("application/grpc-", None),
        ("application/grp", None),
        ("text/plain", None),
        ("", None),
    ] {
        let found = content_type(value.as_bytes());
        assert_eq!(found, known.map(|(wire, rest)| (wire, rest.as_bytes())), "{value}");
        assert!(known.is_none_or(|(wire, _)| wire.is_web() == value.to_lowercase().contains("web")));
    }
}

#[test]
fn errors_have_codes_and_texts() {
    for error in FrameError::ALL {
        assert!(error.code().starts_with("grpc_") && !error.to_string().is_empty());
    }
}

#[test]
fn a_request_of_health_is_one_field() {
    for (service, message) in [
        (String::new(), vec![]),
        ("a.B".to_owned(), b"\x0a\x03a.B".to_vec()),
        ("x".repeat(200), [b"\x0a\xc8\x01".to_vec(), vec![b'x'; 200]].concat()),
    ] {
        let mut out = Vec::new();
        request(&service, &mut out);
        assert_eq!(out, message);
    }
}

#[test]
fn a_response_of_health_may_have_more_than_is_known() {
    for (message, serving) in [
        (&b""[..], Some(Serving::Unknown)),
        (b"\x08\x01", Some(Serving::Serving)),
        (b"\x08\x02", Some(Serving::NotServing)),
        (b"\x08\x03", Some(Serving::ServiceUnknown)),
        (b"\x08\x09", Some(Serving::Other)),
        (b"\x08\x01\x08\x02", Some(Serving::NotServing)),
        (b"\x12\x02\x08\x02\x08\x01", Some(Serving::Serving)),
        (b"\x1d1234\x2112345678\x28\xff\x01\x08\x01", Some(Serving::Serving)),
        (b"\x08", None),
        (b"\x08\x80", None),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", None),
        (b"\x12\x05\x08", None),
        (b"\x0b\x0c", None),
        (b"\x00\x01", None),
    ] {
        assert_eq!(response(message), serving, "{message:x?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_as_it_is_written(text in prop::collection::vec(any::<u8>(), 0..50)) {
        let (mut out, mut read) = (Vec::new(), Vec::new());
        message::write(&text, &mut out);
        prop_assert!(out.iter().all(|byte| matches!(byte, b' '..=b'~')));
        message::read(&out, &mut read);
        prop_assert_eq!(read, text);
    }

    #[test]
    fn a_time_is_read_as_no_more_and_not_much_less(nanos in 1u64..=u64::MAX / 2) {
        let mut out = Vec::new();
        timeout::write(Duration::from_nanos(nanos), &mut out);
        let read = timeout::read(&out).map(|time| time.as_nanos() as u64);
        prop_assert!(read.is_some_and(|read| read <= nanos && nanos - read <= nanos / 10_000), "{nanos} {read:?}");
    }

    #[test]
    fn no_response_of_health_breaks_it(message in prop::collection::vec(any::<u8>(), 0..40)) {
        response(&message);
    }
}
