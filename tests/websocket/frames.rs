//! Framing, pings, reserved bits, opcodes, fragmentation and UTF-8 (RFC 6455 sections 5 and 8), both ways.

use super::{BINARY, CLOSE, DEFLATE, FIN, PING, PONG, TEXT, c, gateway, open, open_with, s};
use crate::support::{Engine, Gateway, on_both_engines};

on_both_engines!(
    frames_of_every_length_pass_as_they_are,
    control_frames_pass_between_fragments,
    frames_pass_byte_by_byte,
    many_frames_at_once_pass_in_order,
    a_client_that_breaks_the_framing_is_closed,
    an_endpoint_that_breaks_the_framing_is_closed,
    text_that_is_not_utf8_is_closed,
    nothing_of_a_broken_frame_is_passed_on,
    compressed_frames_pass_once_they_are_agreed_on,
    a_large_message_flows_with_backpressure,
);

fn frames_of_every_length_pass_as_they_are(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut open = open(&gateway, &origin);
    for len in [0, 1, 2, 3, 4, 5, 7, 8, 124, 125, 126, 127, 128, 2047, 2048, 2049, 65_535, 65_536, 200_000] {
        let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        open.up(c(FIN | BINARY, &bytes));
        open.down(s(FIN | BINARY, &bytes));
        let text = "aé€𐍈".repeat(len / 10);
        open.up(c(FIN | TEXT, &text));
        open.down(s(FIN | TEXT, &text));
    }
}

fn control_frames_pass_between_fragments(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut open = open(&gateway, &origin);
    open.up([c(TEXT, "κό"), c(FIN | PING, "p"), c(0, ""), c(FIN | PONG, [7; 125]), c(FIN, "σμε")].concat());
    open.down([s(BINARY, ""), s(FIN | PING, ""), s(0, "x"), s(FIN | PONG, "q"), s(FIN, "")].concat());
    // The characters of a text may be cut anywhere.
    let text = "κόσμε 𐍈".as_bytes();
    for at in 1..text.len() {
        open.up([c(TEXT, &text[..at]), c(FIN, &text[at..])].concat());
        open.down([s(TEXT, &text[..at]), s(FIN | PING, ""), s(FIN, &text[at..])].concat());
    }
}

fn frames_pass_byte_by_byte(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut open = open(&gateway, &origin);
    let up = [c(TEXT, "κόσμε"), c(FIN | PING, "ping"), c(FIN, "!"), c(FIN | BINARY, [9; 130])].concat();
    let down = [s(TEXT, "κόσμε"), s(FIN | PONG, "pong"), s(FIN, "!"), s(FIN | BINARY, [9; 130])].concat();
    for byte in &up {
        open.client.send([*byte]);
    }
    assert_eq!(open.upstream.take(up.len()), up);
    for byte in &down {
        open.upstream.send([*byte]);
    }
    assert_eq!(open.client.take(down.len()), down);
}

fn many_frames_at_once_pass_in_order(engine: Engine) {
    let (gateway, origin) = gateway(engine, "control_rate = \"off\"");
    let mut open = open(&gateway, &origin);
    let many = |frame: fn(u8, &[u8]) -> Vec<u8>| {
        let all = (0..2000_u32).map(|at| {
            let first = if at % 7 == 0 { FIN | PING } else { FIN | BINARY };
            frame(first, &at.to_be_bytes().repeat(at as usize % 30))
        });
        all.collect::<Vec<_>>().concat()
    };
    open.up(many(|first, payload| c(first, payload)));
    open.down(many(|first, payload| s(first, payload)));
}

/// Frames that break the protocol, and the code that they are closed with. `frame` masks them or not.
fn broken(frame: fn(u8, &[u8]) -> Vec<u8>, masked: u8) -> Vec<(&'static str, Vec<u8>, u16)> {
    vec![
        ("RSV1", frame(FIN | 0x40 | TEXT, b""), 1002),
        ("RSV2", frame(FIN | 0x20 | TEXT, b""), 1002),
        ("RSV3", frame(FIN | 0x10 | BINARY, b"x"), 1002),
        ("RSV1 of a ping", frame(FIN | 0x40 | PING, b""), 1002),
        ("opcode 3", frame(FIN | 3, b""), 1002),
        ("opcode 7", frame(7, b"x"), 1002),
        ("opcode 11", frame(FIN | 0xb, b""), 1002),
        ("opcode 15", frame(FIN | 0xf, b""), 1002),
        ("a fragmented ping", frame(PING, b""), 1002),
        ("a fragmented close", frame(CLOSE, b""), 1002),
        ("a long ping", frame(FIN | PING, &[0; 126]), 1002),
        ("a continuation of nothing", frame(FIN, b"x"), 1002),
        ("a text inside a text", [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat(), 1002),
        ("a length that is too long", vec![FIN | BINARY, masked | 0x7e, 0, 125, 0, 0, 0, 0], 1002),
        ("64 bits for 16", vec![FIN | BINARY, masked | 0x7f, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0], 1002),
        ("a negative length", vec![FIN | BINARY, masked | 0x7f, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002),
        ("half a code", frame(FIN | CLOSE, &[3]), 1002),
        ("code 999", frame(FIN | CLOSE, &999_u16.to_be_bytes()), 1002),
        ("code 1005", frame(FIN | CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("code 1006", frame(FIN | CLOSE, &1006_u16.to_be_bytes()), 1002),
        ("code 5000", frame(FIN | CLOSE, &5000_u16.to_be_bytes()), 1002),
        ("a reason that is not UTF-8", frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007),
    ]
}

fn a_client_that_breaks_the_framing_is_closed(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut cases = broken(|first, payload| c(first, payload), 0x80);
    cases.push(("a frame without a mask", s(FIN | TEXT, "x"), 1002));
    for (what, frames, code) in cases {
        let mut open = open(&gateway, &origin);
        open.up(c(FIN | TEXT, "before"));
        open.client.send(&frames);
        if what == "a text inside a text" {
            assert_eq!(open.upstream_reads(), (TEXT, b"a".to_vec()));
        }
        eprintln!("{what}");
        open.expect_closed(code, 1001);
    }
}

fn an_endpoint_that_breaks_the_framing_is_closed(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut cases = broken(|first, payload| s(first, payload), 0);
    cases.push(("a frame with a mask", c(FIN | TEXT, "x"), 1002));
    for (what, frames, code) in cases {
        let mut open = open(&gateway, &origin);
        open.down(s(FIN | TEXT, "before"));
        open.upstream.send(&frames);
        if what == "a text inside a text" {
            assert_eq!(open.client_reads(), (TEXT, b"a".to_vec()));
        }
        eprintln!("{what}");
        open.expect_closed(1014, code);
    }
}

fn text_that_is_not_utf8_is_closed(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    for text in [
        &b"\xff"[..],
        b"ok\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65",
        b"\xc3",
        b"\xf0\x9f\x98",
    ] {
        let mut open = open(&gateway, &origin);
        open.client.send(c(FIN | TEXT, text));
        open.expect_closed(1007, 1001);
        let mut open = super::open(&gateway, &origin);
        open.upstream.send(s(FIN | TEXT, text));
        open.expect_closed(1014, 1007);
    }
    // It is seen at the first wrong byte, while the frame is still under way: its receiver can only be cut off.
    let mut open = open(&gateway, &origin);
    let frame = c(FIN | TEXT, [&b"some text "[..], &[b'x'; 100], b"\xff", &[b'y'; 1000]].concat());
    open.up(&frame[..60]);
    open.client.send(&frame[60..200]);
    assert_eq!(open.client_reads(), (FIN | CLOSE, super::code(1007)));
    open.upstream.expect_end();
}

fn nothing_of_a_broken_frame_is_passed_on(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut open = open(&gateway, &origin);
    open.client.send([c(FIN | TEXT, "good"), c(FIN | TEXT, b"bad \xff"), c(FIN | TEXT, "never")].concat());
    assert_eq!(open.upstream_reads(), (FIN | TEXT, b"good".to_vec()));
    open.expect_closed(1007, 1001);
}

fn compressed_frames_pass_once_they_are_agreed_on(engine: Engine) {
    let (gateway, origin) = Gateway::before(engine);
    let mut open = open_with(&gateway, &origin, DEFLATE);
    // RFC 7692 section 7.2.3.1; what is compressed is not looked into.
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    open.up(c(FIN | 0x40 | TEXT, hello));
    open.down([s(0x40 | TEXT, &hello[..3]), s(FIN | PING, ""), s(FIN, &hello[3..])].concat());
    open.up(c(FIN | TEXT, "plain"));
    open.client.send([c(0x40 | TEXT, &hello[..3]), c(FIN | 0x40, &hello[3..])].concat());
    assert_eq!(open.upstream_reads(), (0x40 | TEXT, hello[..3].to_vec()));
    open.expect_closed(1002, 1001);
    let mut open = open_with(&gateway, &origin, DEFLATE);
    open.upstream.send(s(FIN | 0x20 | TEXT, hello));
    open.expect_closed(1014, 1002);
}

fn a_large_message_flows_with_backpressure(engine: Engine) {
    const LEN: usize = 32 << 20;
    let (gateway, origin) = Gateway::before(engine);
    let mut open = open(&gateway, &origin);
    let frame = c(FIN | BINARY, vec![5; LEN]);
    let mut sender = open.client.stream().try_clone().unwrap();
    let sent = frame.clone();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut sender, &sent).unwrap());
    assert!(open.upstream.take(frame.len()) == frame);
    writer.join().unwrap();
    open.down(s(FIN | TEXT, "still here"));
    let resident = gateway.child.resident();
    assert!(resident < 64 << 20, "{resident} bytes for one connection");
}
