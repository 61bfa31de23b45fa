//! permessage-deflate that the gateway speaks itself (RFC 7692), with each side on its own.

use serde_json::json;

use super::records::counter;
use super::{BINARY, CLOSE, DEFLATE, FIN, Open, PING, PONG, TEXT, c, code, gateway, pack, request, s, switch, unpack};
use crate::observe::hdr_json;
use crate::support::{Config, Engine, Gateway, Origin, on_both_engines};

on_both_engines!(
    each_side_agrees_with_the_gateway,
    an_endpoint_that_agrees_to_what_was_not_offered_is_refused,
    messages_go_on_as_the_other_side_wants_them,
    control_frames_pass_between_recoded_fragments,
    messages_that_go_in_pieces_come_out_whole,
    what_a_side_said_before_is_known_where_that_was_agreed_on,
    what_is_no_deflate_or_no_text_is_closed,
    a_bomb_is_closed_before_it_goes_off,
    a_message_that_expands_waits_for_room,
    work_is_counted,
);

const MARK: u8 = 0x40;
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

/// A gateway that compresses itself, with these keys of `deflate` and of `websocket`.
fn terminating(engine: Engine, deflate: &str, more: &str) -> (Gateway, Origin) {
    gateway(engine, &format!("compression = \"terminate\", deflate = {{ {deflate} }}, {more} drain = \"1s\""))
}

fn extensions(value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("Sec-WebSocket-Extensions: {value}\r\n") }
}

/// Opens a connection: what the client offers, and what the endpoint answers.
fn open_as(gateway: &Gateway, origin: &Origin, offer: &str, answer: &str) -> (Open, Option<String>, Option<String>) {
    let mut client = gateway.connect();
    client.send(request(&extensions(offer)));
    let mut upstream = origin.accept();
    let offered = upstream.head().get("sec-websocket-extensions").map(str::to_owned);
    upstream.send(switch(&extensions(answer)));
    let head = client.head();
    assert_eq!(head.status(), 101);
    let told = head.get("sec-websocket-extensions").map(str::to_owned);
    (Open { client, upstream }, offered, told)
}

/// Only the client compresses.
fn open_client(gateway: &Gateway, origin: &Origin) -> Open {
    open_as(gateway, origin, "permessage-deflate", "").0
}

fn each_side_agrees_with_the_gateway(engine: Engine) {
    const NO_CONTEXT: &str = "; server_no_context_takeover; client_no_context_takeover";
    let forgets = format!("permessage-deflate{NO_CONTEXT}");
    let forgetting_offer = format!("{forgets}; client_max_window_bits");
    for (keys, offer, offered, told) in [
        ("", "", Some(&*forgetting_offer), None),
        ("", "permessage-deflate", Some(&*forgetting_offer), Some(&*forgets)),
        ("upstream = false", "permessage-deflate; client_max_window_bits", None, Some(&*forgets)),
        ("context_takeover = true", "x-other", Some("permessage-deflate; client_max_window_bits"), None),
        (
            "context_takeover = true, window_bits = 10",
            "permessage-deflate; client_max_window_bits",
            Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=10"),
            Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=10"),
        ),
        (
            "context_takeover = true, upstream = false",
            "permessage-deflate; a=b, permessage-deflate; server_max_window_bits=9; client_no_context_takeover",
            None,
            Some("permessage-deflate; client_no_context_takeover; server_max_window_bits=9"),
        ),
    ] {
        let (gateway, origin) = terminating(engine, keys, "");
        let (mut open, was_offered, was_told) = open_as(&gateway, &origin, offer, "");
        assert_eq!((was_offered.as_deref(), was_told.as_deref()), (offered, told), "{keys} {offer}");
        open.up(c(FIN | TEXT, "short"));
        open.down(s(FIN | TEXT, "short"));
    }
}

fn an_endpoint_that_agrees_to_what_was_not_offered_is_refused(engine: Engine) {
    for (keys, answer) in [
        ("upstream = false", "permessage-deflate"),
        ("", "permessage-deflate"),
        ("window_bits = 10, context_takeover = true", "permessage-deflate; server_max_window_bits=11"),
        ("", "x-other"),
    ] {
        let (gateway, origin) = terminating(engine, keys, "");
        let mut client = gateway.connect();
        client.send(request(DEFLATE));
        let mut upstream = origin.accept();
        upstream.head();
        upstream.send(switch(&extensions(answer)));
        assert_eq!(client.head().status(), 502, "{keys} {answer}");
    }
}

fn messages_go_on_as_the_other_side_wants_them(engine: Engine) {
    let texts: Vec<String> = ["", "short", "é€𐍈"]
        .iter()
        .map(|text| (*text).to_owned())
        .chain([128, 20_000].map(|len| "ab€".repeat(len)))
        .collect();
    // Only the client compresses.
    let (gateway, origin) = terminating(engine, "", "");
    let mut open = open_client(&gateway, &origin);
    for text in &texts {
        open.client.send(c(FIN | MARK | TEXT, pack(text.as_bytes())));
        open.client.send(c(FIN | TEXT, text));
        for _ in 0..2 {
            let (mut all, mut first) = (Vec::new(), TEXT);
            loop {
                let (head, part) = open.upstream_reads();
                all.extend(part);
                assert_eq!(head & !FIN, first);
                first = 0;
                if head & FIN != 0 {
                    break;
                }
            }
            assert!(all == text.as_bytes());
        }
        open.upstream.send(s(FIN | TEXT, text));
        let (head, payload) = open.client_reads();
        let is_packed = text.len() >= 128;
        assert_eq!(head, FIN | TEXT | if is_packed { MARK } else { 0 });
        assert!(if is_packed { unpack(&payload) } else { payload } == text.as_bytes());
    }
    // Only the endpoint does.
    let (mut open, ..) = open_as(
        &gateway,
        &origin,
        "",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=9",
    );
    for text in &texts {
        open.upstream.send(s(FIN | MARK | BINARY, pack(text.as_bytes())));
        let (mut all, mut is_over) = (Vec::new(), false);
        while !is_over {
            let (head, part) = open.client_reads();
            all.extend(part);
            is_over = head & FIN != 0;
        }
        assert!(all == text.as_bytes());
        open.client.send(c(FIN | BINARY, text));
        let (head, payload) = open.upstream_reads();
        let is_packed = text.len() >= 128;
        assert_eq!(head, FIN | BINARY | if is_packed { MARK } else { 0 });
        assert!(if is_packed { unpack(&payload) } else { payload } == text.as_bytes());
    }
    open.up(c(FIN | CLOSE, code(1000)));
    open.down(s(FIN | CLOSE, code(1000)));
}

fn control_frames_pass_between_recoded_fragments(engine: Engine) {
    let (gateway, origin) = terminating(engine, "", "");
    let mut open = open_client(&gateway, &origin);
    let frames =
        [c(MARK | TEXT, &HELLO[..3]), c(FIN | PING, "p"), c(0, ""), c(FIN | PONG, [7; 125]), c(FIN, &HELLO[3..])];
    open.client.send(frames.concat());
    assert_eq!(open.upstream_reads(), (FIN | PING, b"p".to_vec()));
    assert_eq!(open.upstream_reads(), (FIN | PONG, vec![7; 125]));
    assert_eq!(open.upstream_reads(), (FIN | TEXT, b"Hello".to_vec()));
    // Byte by byte, too.
    for byte in frames.concat() {
        open.client.send([byte]);
    }
    assert_eq!(open.upstream_reads(), (FIN | PING, b"p".to_vec()));
    assert_eq!(open.upstream_reads(), (FIN | PONG, vec![7; 125]));
    assert_eq!(open.upstream_reads(), (FIN | TEXT, b"Hello".to_vec()));
    // The rules of framing hold as ever.
    open.client.send([c(FIN | MARK | TEXT, HELLO), c(MARK | TEXT, HELLO), c(FIN | MARK, HELLO)].concat());
    assert_eq!(open.upstream_reads(), (FIN | TEXT, b"Hello".to_vec()));
    open.expect_closed(1002, 1001);
}

fn messages_that_go_in_pieces_come_out_whole(engine: Engine) {
    let (gateway, origin) = terminating(engine, "", "");
    let mut open = open_client(&gateway, &origin);
    let plain: Vec<u8> = (0..300_000_u32).flat_map(|at| (at / 7).wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let packed = pack(&plain);
    let mut frames: Vec<Vec<u8>> = packed.chunks(1000).map(|part| c(0, part)).collect();
    frames[0][0] = MARK | BINARY;
    *frames.last_mut().unwrap().first_mut().unwrap() = FIN;
    let mut sender = open.client.stream().try_clone().unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &frames.concat()).unwrap());
    let (mut all, mut first) = (Vec::new(), BINARY);
    loop {
        let (head, part) = open.upstream_reads();
        assert_eq!(head & !FIN, std::mem::replace(&mut first, 0));
        all.extend(part);
        if head & FIN != 0 {
            break;
        }
    }
    writer.join().unwrap();
    assert!(all == plain);
}

fn what_a_side_said_before_is_known_where_that_was_agreed_on(engine: Engine) {
    // RFC 7692 section 7.2.3.2: the second message refers to the first one.
    let again = b"\xf2\x00\x11\x00\x00";
    let (gateway, origin) = terminating(engine, "context_takeover = true, min_size = \"1B\"", "");
    let mut open = open_client(&gateway, &origin);
    open.client.send([c(FIN | MARK | TEXT, HELLO), c(FIN | MARK | TEXT, again)].concat());
    for _ in 0..2 {
        assert_eq!(open.upstream_reads(), (FIN | TEXT, b"Hello".to_vec()));
    }
    let long = "a long message that is said twice, word by word";
    open.upstream.send([s(FIN | TEXT, long), s(FIN | TEXT, long)].concat());
    let (first, second) = (open.client_reads().1, open.client_reads().1);
    assert!(second.len() < first.len() / 2, "{second:x?}");
    let (gateway, origin) = terminating(engine, "", "");
    let mut open = open_client(&gateway, &origin);
    open.client.send([c(FIN | MARK | TEXT, HELLO), c(FIN | MARK | TEXT, again)].concat());
    assert_eq!(open.upstream_reads(), (FIN | TEXT, b"Hello".to_vec()));
    open.expect_closed(1007, 1001);
}

fn what_is_no_deflate_or_no_text_is_closed(engine: Engine) {
    let (gateway, origin) = terminating(engine, "", "");
    for (what, opcode, payload) in [
        ("a kind of block that there is not", BINARY, b"\xff".to_vec()),
        ("a distance into nothing", TEXT, b"\xf2\x00\x11\x00\x00".to_vec()),
        ("no text", TEXT, pack(b"ok \xed\xa0\x80")),
        ("half a character", TEXT, pack(b"ok \xc3")),
    ] {
        eprintln!("{what}");
        let mut open = open_client(&gateway, &origin);
        open.client.send(c(FIN | MARK | opcode, &payload));
        open.expect_closed(1007, 1001);
        let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        let (mut open, ..) = open_as(&gateway, &origin, "", agreed);
        open.upstream.send(s(FIN | MARK | opcode, &payload));
        open.expect_closed(1014, 1007);
    }
}

fn a_bomb_is_closed_before_it_goes_off(engine: Engine) {
    let bomb = pack(&vec![0; 32 << 20]);
    for (deflate, keys) in
        [("max_ratio = 2000", "max_message = \"1MiB\","), ("", "max_message = \"unlimited\","), ("max_ratio = 2", "")]
    {
        let (gateway, origin) = terminating(engine, deflate, keys);
        let (mut open, ..) = open_as(&gateway, &origin, "permessage-deflate", "");
        open.client.send(c(FIN | MARK | BINARY, &bomb));
        let mut received = 0;
        loop {
            let (head, payload) = open.upstream_reads();
            if head == FIN | CLOSE {
                assert_eq!(payload, code(1001));
                break;
            }
            received += payload.len();
        }
        assert!(received < 8 << 20, "{received}");
        assert_eq!(open.client_reads(), (FIN | CLOSE, code(1009)));
        assert!(gateway.child.resident() < 64 << 20);
    }
}

fn a_message_that_expands_waits_for_room(engine: Engine) {
    const LEN: usize = 48 << 20;
    let (gateway, origin) = terminating(engine, "max_ratio = 2000", "");
    let mut open = open_client(&gateway, &origin);
    let before = gateway.child.resident();
    open.client.send(c(FIN | MARK | BINARY, pack(&vec![7; LEN])));
    // The endpoint takes nothing but the first frame.
    let (mut head, part) = open.upstream_reads();
    let mut left = LEN - part.len();
    // Others are served meanwhile, and what waits is bounded.
    let mut other = open_client(&gateway, &origin);
    other.client.send(c(FIN | MARK | TEXT, HELLO));
    assert_eq!(other.upstream_reads(), (FIN | TEXT, b"Hello".to_vec()));
    assert!(gateway.child.resident() < before + (16 << 20));
    while head & FIN == 0 {
        let (next, part) = open.upstream_reads();
        assert!(part.iter().all(|byte| *byte == 7));
        (head, left) = (next, left - part.len());
    }
    assert_eq!(left, 0);
}

fn work_is_counted(engine: Engine) {
    let (origin, dir) = (Origin::listen(), tempfile::tempdir().unwrap());
    let metrics = format!("metrics_dir = \"{}\"", dir.path().display());
    let config = Config::new(engine).origin(&origin).cores(&metrics);
    let gateway = config.route("websocket = { compression = \"terminate\" }").start();
    let mut open = open_client(&gateway, &origin);
    open.client.send(c(FIN | MARK | TEXT, HELLO));
    open.upstream_reads();
    open.upstream.send(s(FIN | TEXT, "a".repeat(1000)));
    let packed = open.client_reads().1.len() as u64;
    drop(open);
    gateway.stop();
    let found = hdr_json(dir.path());
    for (side, stage, bytes) in [
        ("client", "expanded_from", 7),
        ("client", "expanded_to", 5),
        ("client", "compressed_from", 0),
        ("upstream", "compressed_from", 1000),
        ("upstream", "compressed_to", packed),
    ] {
        let labels = json!({"side": side, "stage": stage});
        assert_eq!(counter(&found, "ringway_websocket_recoded_bytes_total", &labels), bytes, "{labels}");
    }
}
