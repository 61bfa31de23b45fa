//! Heads, trailers and bodies of requests, and HPACK.

use super::wire::*;
use super::{Encoder, ErrorCode as E, Expect, Row, Start, send};
use Expect::{Answer, Connection, Stream};
use Start::{Answering, Silent};

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "a");

/// Section, case of h2spec, name, what is wrong, and the fields of a whole request.
type Malformed = (&'static str, &'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Rows of heads that are malformed.
#[rustfmt::skip]
const MALFORMED: &[Malformed] = &[
    ("9113 8.3", "http2/8.1.2.1/1", "pseudo_unknown", "an unknown pseudo-header field", &[METHOD, SCHEME, PATH, AUTHORITY, (":test", "x")]),
    ("9113 8.3", "http2/8.1.2.1/2", "pseudo_of_response", "`:status` in a request", &[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")]),
    ("9113 8.3", "http2/8.1.2.1/4", "pseudo_after_field", "a pseudo-header field after a field", &[METHOD, SCHEME, AUTHORITY, ("x-test", "ok"), PATH]),
    ("9113 8.3", "http2/8.1.2.3/5", "method_twice", "`:method` twice", &[METHOD, SCHEME, PATH, AUTHORITY, METHOD]),
    ("9113 8.3", "http2/8.1.2.3/6", "scheme_twice", "`:scheme` twice", &[METHOD, SCHEME, PATH, AUTHORITY, SCHEME]),
    ("9113 8.3", "http2/8.1.2.3/7", "path_twice", "`:path` twice", &[METHOD, SCHEME, PATH, AUTHORITY, PATH]),
    ("9113 8.3", "", "authority_twice", "`:authority` twice", &[METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY]),
    ("9113 8.3.1", "http2/8.1.2.3/1", "path_empty", "an empty `:path`", &[METHOD, SCHEME, (":path", ""), AUTHORITY]),
    ("9113 8.3.1", "http2/8.1.2.3/2", "method_missing", "no `:method`", &[SCHEME, PATH, AUTHORITY]),
    ("9113 8.3.1", "http2/8.1.2.3/3", "scheme_missing", "no `:scheme`", &[METHOD, PATH, AUTHORITY]),
    ("9113 8.3.1", "http2/8.1.2.3/4", "path_missing", "no `:path`", &[METHOD, SCHEME, AUTHORITY]),
    ("9113 8.3.1", "", "nothing", "no field at all", &[]),
    ("9113 8.3.1", "", "authority_missing", "neither `:authority` nor Host", &[METHOD, SCHEME, PATH]),
    ("9113 8.3.1", "", "authority_empty", "an empty `:authority`", &[METHOD, SCHEME, PATH, (":authority", "")]),
    ("9113 8.3.1", "", "authority_with_user", "`:authority` with user information", &[METHOD, SCHEME, PATH, (":authority", "u@a")]),
    ("9113 8.3.1", "", "authority_with_path", "`:authority` with a slash", &[METHOD, SCHEME, PATH, (":authority", "a/b")]),
    ("9113 8.3.1", "", "authority_with_space", "`:authority` with a space", &[METHOD, SCHEME, PATH, (":authority", "a b")]),
    ("9113 8.3.1", "", "authority_splits", "`:authority` with a line break", &[METHOD, SCHEME, PATH, (":authority", "a\r\nx: y")]),
    ("9113 8.3.1", "", "host_differs", "Host other than `:authority`", &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "b")]),
    ("9113 8.3.1", "", "host_twice", "Host twice", &[METHOD, SCHEME, PATH, ("host", "a"), ("host", "a")]),
    ("9113 8.3.1", "", "host_bad", "Host that is none", &[METHOD, SCHEME, PATH, ("host", "a/b")]),
    ("9113 8.3.1", "", "path_without_slash", "`:path` without a slash", &[METHOD, SCHEME, (":path", "index"), AUTHORITY]),
    ("9113 8.3.1", "", "path_absolute", "`:path` with a scheme", &[METHOD, SCHEME, (":path", "http://a/"), AUTHORITY]),
    ("9113 8.3.1", "", "path_asterisk", "`:path` of `*` without OPTIONS", &[METHOD, SCHEME, (":path", "*"), AUTHORITY]),
    ("9113 8.3.1", "", "path_with_space", "`:path` with a space", &[METHOD, SCHEME, (":path", "/a b"), AUTHORITY]),
    ("9113 8.3.1", "", "path_splits", "`:path` with a line break", &[METHOD, SCHEME, (":path", "/ HTTP/1.1\r\nx: y"), AUTHORITY]),
    ("9113 8.3.1", "", "path_with_fragment", "`:path` with a fragment", &[METHOD, SCHEME, (":path", "/a#b"), AUTHORITY]),
    ("9113 8.3.1", "", "path_not_ascii", "`:path` beyond ASCII", &[METHOD, SCHEME, (":path", "/\u{e4}"), AUTHORITY]),
    ("9113 8.3.1", "", "method_no_token", "`:method` that is no token", &[(":method", "GET /"), SCHEME, PATH, AUTHORITY]),
    ("9113 8.3.1", "", "method_splits", "`:method` with a line break", &[(":method", "GET\r\n"), SCHEME, PATH, AUTHORITY]),
    ("9113 8.3.1", "", "method_empty", "an empty `:method`", &[(":method", ""), SCHEME, PATH, AUTHORITY]),
    ("9113 8.3.1", "", "scheme_other", "a scheme that is not HTTP's", &[METHOD, (":scheme", "ftp"), PATH, AUTHORITY]),
    ("9113 8.2", "http2/8.1.2/1", "uppercase_name", "an upper-case letter in a field name", &[METHOD, SCHEME, PATH, AUTHORITY, ("X-Test", "ok")]),
    ("9113 8.2.1", "", "name_with_space", "a space in a field name", &[METHOD, SCHEME, PATH, AUTHORITY, ("x test", "ok")]),
    ("9113 8.2.1", "", "name_with_colon", "a colon in a field name", &[METHOD, SCHEME, PATH, AUTHORITY, ("x:y", "ok")]),
    ("9113 8.2.1", "", "name_with_break", "a line break in a field name", &[METHOD, SCHEME, PATH, AUTHORITY, ("x\r\ny", "ok")]),
    ("9113 8.2.1", "", "name_not_ascii", "a field name beyond ASCII", &[METHOD, SCHEME, PATH, AUTHORITY, ("x-\u{e4}", "ok")]),
    ("9113 8.2.1", "", "name_empty", "an empty field name", &[METHOD, SCHEME, PATH, AUTHORITY, ("", "ok")]),
    ("9113 8.2.1", "", "value_with_nul", "NUL in a field value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "a\0b")]),
    ("9113 8.2.1", "", "value_with_cr", "CR in a field value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "a\rb")]),
    ("9113 8.2.1", "", "value_with_lf", "LF in a field value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "a\nb: c")]),
    ("9113 8.2.1", "", "value_with_control", "another control byte in a field value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "a\u{1}b")]),
    ("9113 8.2.1", "", "value_begins_with_space", "a field value that begins with a space", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", " a")]),
    ("9113 8.2.1", "", "value_ends_with_tab", "a field value that ends with a tab", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "a\t")]),
    ("9113 8.2.1", "", "cookie_splits", "a line break in a cookie", &[METHOD, SCHEME, PATH, AUTHORITY, ("cookie", "a\r\nb: c")]),
    ("9113 8.2.2", "http2/8.1.2.2/1", "connection", "Connection", &[METHOD, SCHEME, PATH, AUTHORITY, ("connection", "keep-alive")]),
    ("9113 8.2.2", "http2/8.1.2.2/2", "te_other", "TE other than `trailers`", &[METHOD, SCHEME, PATH, AUTHORITY, ("te", "trailers, deflate;q=0.5")]),
    ("9113 8.2.2", "", "keep_alive", "Keep-Alive", &[METHOD, SCHEME, PATH, AUTHORITY, ("keep-alive", "x")]),
    ("9113 8.2.2", "", "proxy_connection", "Proxy-Connection", &[METHOD, SCHEME, PATH, AUTHORITY, ("proxy-connection", "x")]),
    ("9113 8.2.2", "", "transfer_encoding", "Transfer-Encoding", &[METHOD, SCHEME, PATH, AUTHORITY, ("transfer-encoding", "chunked")]),
    ("9113 8.2.2", "", "upgrade", "Upgrade", &[METHOD, SCHEME, PATH, AUTHORITY, ("upgrade", "h2c")]),
    ("9113 8.2.2", "", "http2_settings", "HTTP2-Settings", &[METHOD, SCHEME, PATH, AUTHORITY, ("http2-settings", "x")]),
    ("9113 8.1.1", "", "length_without_data", "Content-Length above 0 and no DATA", &[METHOD, SCHEME, PATH, AUTHORITY, ("content-length", "1")]),
    ("9113 8.1.1", "", "length_twice", "Content-Length twice", &[METHOD, SCHEME, PATH, AUTHORITY, ("content-length", "0"), ("content-length", "0")]),
    ("9113 8.1.1", "", "length_no_number", "Content-Length that is no number", &[METHOD, SCHEME, PATH, AUTHORITY, ("content-length", "+0")]),
    ("9113 8.5", "", "connect_with_path", "CONNECT with a path", &[(":method", "CONNECT"), SCHEME, PATH, AUTHORITY]),
    ("9113 8.5", "", "connect_without_authority", "CONNECT without `:authority`", &[(":method", "CONNECT")]),
    ("8441 4", "", "protocol_not_offered", "`:protocol` though it was not offered", &[(":method", "CONNECT"), SCHEME, PATH, AUTHORITY, (":protocol", "websocket")]),
];

pub(super) fn rows() -> Vec<Row> {
    let malformed = MALFORMED.iter().map(|&(section, h2spec, name, says, fields)| {
        send((section, h2spec, name), says, Silent, headers(1, true, &block(fields)), Stream(1, E::ProtocolError))
    });
    malformed.chain(bodies()).chain(compression()).collect()
}

fn bodies() -> Vec<Row> {
    let post = |length: &'static str| headers(1, false, &request("POST", &[("content-length", length)]));
    let trailers = |fields: &[(&str, &str)]| headers(1, true, &block(fields));
    let open = || headers(1, false, &request("POST", &[]));
    vec![
        send(("9113 8.1", "generic/4/1", "request_get"), "GET", Answering, headers(1, true, &get(&[])), Answer(1)),
        send(
            ("9113 8.1", "generic/4/2", "request_head"),
            "HEAD",
            Answering,
            headers(1, true, &request("HEAD", &[])),
            Answer(1),
        ),
        send(
            ("9113 8.1", "generic/4/3", "request_post"),
            "POST with a body",
            Answering,
            [post("4"), data(1, true, b"test")].concat(),
            Answer(1),
        ),
        send(
            ("9113 8.1", "generic/4/4", "request_trailers"),
            "POST with trailers",
            Answering,
            [open(), data(1, false, b"test"), trailers(&[("x-test", "ok")])].concat(),
            Answer(1),
        ),
        send(
            ("9113 8.1", "http2/8.1/1", "trailers_without_end"),
            "a second HEADERS that does not end the stream",
            Silent,
            [open(), data(1, false, b"test"), headers(1, false, &block(&[("x", "y")]))].concat(),
            Stream(1, E::ProtocolError),
        ),
        send(
            ("9113 8.1", "http2/8.1.2.1/3", "pseudo_in_trailers"),
            "a pseudo-header field in trailers",
            Silent,
            [open(), trailers(&[(":method", "POST")])].concat(),
            Stream(1, E::ProtocolError),
        ),
        send(
            ("9113 8.1", "", "trailers_malformed"),
            "a malformed field in trailers",
            Silent,
            [open(), trailers(&[("X", "y")])].concat(),
            Stream(1, E::ProtocolError),
        ),
        send(
            ("9113 8.1", "", "trailers_after_end"),
            "trailers after the end",
            Silent,
            [open(), data(1, true, b""), trailers(&[("x", "y")])].concat(),
            Stream(1, E::StreamClosed),
        ),
        send(
            ("9113 8.1.1", "http2/8.1.2.6/1", "length_of_one_frame"),
            "less DATA than Content-Length",
            Silent,
            [post("5"), data(1, true, b"test")].concat(),
            Stream(1, E::ProtocolError),
        ),
        send(
            ("9113 8.1.1", "http2/8.1.2.6/2", "length_of_two_frames"),
            "more DATA than Content-Length, in two frames",
            Silent,
            [post("5"), data(1, false, b"test"), data(1, true, b"test")].concat(),
            Stream(1, E::ProtocolError),
        ),
        send(
            ("9113 8.1.1", "", "length_before_trailers"),
            "less DATA than Content-Length before trailers",
            Silent,
            [post("5"), data(1, false, b"test"), trailers(&[("x", "y")])].concat(),
            Stream(1, E::ProtocolError),
        ),
        send(
            ("9113 8.2.3", "", "cookies_in_pieces"),
            "a cookie in pieces",
            Answering,
            headers(1, true, &get(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")])),
            Answer(1),
        ),
        send(
            ("9113 8.2.2", "", "te_trailers"),
            "TE of `trailers`",
            Answering,
            headers(1, true, &get(&[("te", "trailers")])),
            Answer(1),
        ),
        send(
            ("9113 8.3.1", "", "host_the_same"),
            "Host that is `:authority`",
            Answering,
            headers(1, true, &get(&[("host", "A")])),
            Answer(1),
        ),
        send(
            ("9113 8.3.1", "", "host_alone"),
            "Host instead of `:authority`",
            Answering,
            headers(1, true, &block(&[METHOD, SCHEME, PATH, ("host", "a")])),
            Answer(1),
        ),
        send(
            ("9113 8.3.1", "", "path_asterisk_options"),
            "OPTIONS of `*`",
            Answering,
            headers(1, true, &block(&[(":method", "OPTIONS"), SCHEME, (":path", "*"), AUTHORITY])),
            Answer(1),
        ),
        send(
            ("9113 8.5", "", "connect_is_answered"),
            "CONNECT, which gets an answer",
            Answering,
            headers(1, true, &block(&[(":method", "CONNECT"), (":authority", "a:80")])),
            Answer(1),
        ),
        send(
            ("9113 10.5.1", "", "head_too_large_is_answered"),
            "a head above SETTINGS_MAX_HEADER_LIST_SIZE, which gets an answer",
            Answering,
            headers(1, true, &[&get(&[])[..], &[0x90; 700]].concat()),
            Answer(1),
        ),
    ]
}

/// A request with more at its end, and a POST whose block is these bytes.
fn compression() -> Vec<Row> {
    let with = |more: &[u8]| headers(1, true, &[&get(&[])[..], more].concat());
    let encoded = || {
        let (mut encoder, mut out) = (Encoder::new(4096), Vec::new());
        encoder.begin(&mut out);
        for (name, value) in [METHOD, SCHEME, PATH, AUTHORITY, ("user-agent", "test"), ("x-test", "a value")] {
            encoder.field(name.as_bytes(), value.as_bytes(), &mut out);
        }
        headers(1, true, &out)
    };
    let fine = |h2spec, name, says, more: &[u8]| send(("7541 6", h2spec, name), says, Answering, with(more), Answer(1));
    let broken = |section, h2spec, name, says, more: &[u8]| {
        send((section, h2spec, name), says, Silent, with(more), Connection(E::CompressionError))
    };
    let first = |bytes: &[u8]| headers(1, true, &[bytes, &get(&[])[..]].concat());
    vec![
        send(
            ("7541 6", "generic/5/1", "hpack_indexed"),
            "indexed fields",
            Answering,
            headers(1, true, &[0x82, 0x86, 0x84, 0x41, 1, b'a']),
            Answer(1),
        ),
        fine("generic/5/2", "hpack_incremental", "a literal that is indexed, with an indexed name", b"\x7a\x04test"),
        fine("generic/5/3", "hpack_incremental_huffman", "the same in Huffman code", b"\x7a\x83\x49\x50\x9f"),
        fine(
            "generic/5/4",
            "hpack_incremental_name",
            "a literal that is indexed, with its name",
            b"\x40\x06x-test\x04test",
        ),
        send(
            ("7541 6", "generic/5/5", "hpack_incremental_name_huffman"),
            "the same in Huffman code",
            Answering,
            encoded(),
            Answer(1),
        ),
        fine("generic/5/6", "hpack_literal", "a literal with an indexed name", b"\x0f\x2b\x04test"),
        fine("generic/5/7", "hpack_literal_huffman", "the same in Huffman code", b"\x0f\x2b\x83\x49\x50\x9f"),
        fine("generic/5/8", "hpack_literal_name", "a literal with its name", b"\x00\x06x-test\x04test"),
        fine(
            "generic/5/9",
            "hpack_literal_name_huffman",
            "the same in Huffman code",
            b"\x00\x85\xf2\xb4\xa7\xb0\xff\x83\x49\x50\x9f",
        ),
        fine("generic/5/10", "hpack_never", "a literal never indexed, with an indexed name", b"\x1f\x2b\x04test"),
        fine("generic/5/11", "hpack_never_huffman", "the same in Huffman code", b"\x1f\x2b\x83\x49\x50\x9f"),
        fine("generic/5/12", "hpack_never_name", "a literal never indexed, with its name", b"\x10\x06x-test\x04test"),
        fine(
            "generic/5/13",
            "hpack_never_name_huffman",
            "the same in Huffman code",
            b"\x10\x85\xf2\xb4\xa7\xb0\xff\x83\x49\x50\x9f",
        ),
        send(
            ("7541 6.3", "generic/5/14", "hpack_size_update"),
            "a table size update",
            Answering,
            first(b"\x3f\xe1\x1f"),
            Answer(1),
        ),
        send(
            ("7541 6.3", "generic/5/15", "hpack_size_updates"),
            "two table size updates",
            Answering,
            first(b"\x20\x3f\xe1\x1f"),
            Answer(1),
        ),
        broken(
            "7541 2.3.3",
            "hpack/2.3.3/1 http2/4.3/1",
            "hpack_index_too_large",
            "an index past both tables",
            b"\xff\x00",
        ),
        broken(
            "7541 2.3.3",
            "hpack/2.3.3/2",
            "hpack_name_index_too_large",
            "a literal with an index past both tables",
            b"\x7f\x10\x04test",
        ),
        broken(
            "7541 4.2",
            "hpack/4.2/1",
            "hpack_late_size_update",
            "a table size update at the end of a block",
            b"\x3f\xe1\x1f",
        ),
        send(
            ("7541 4.2", "", "hpack_third_size_update"),
            "a third table size update",
            Silent,
            first(b"\x20\x20\x20"),
            Connection(E::CompressionError),
        ),
        broken(
            "7541 5.1",
            "",
            "hpack_integer_overflow",
            "an integer that is too large",
            b"\xff\xff\xff\xff\xff\xff\x0f",
        ),
        broken("7541 5.1", "", "hpack_integer_cut_short", "an integer that is cut short", b"\xff\xff"),
        broken(
            "7541 5.2",
            "hpack/5.2/1",
            "hpack_padding_too_long",
            "Huffman code with padding of eight bits",
            b"\x00\x01x\x82\x1f\xff",
        ),
        broken(
            "7541 5.2",
            "hpack/5.2/2",
            "hpack_padding_of_zeros",
            "Huffman code with padding of zeros",
            b"\x00\x01x\x81\x18",
        ),
        broken("7541 5.2", "hpack/5.2/3", "hpack_eos", "Huffman code with EOS", b"\x00\x01x\x84\xff\xff\xff\xff"),
        broken("7541 5.2", "", "hpack_string_cut_short", "a string that is cut short", b"\x00\x01x\x05abc"),
        broken("7541 6.1", "hpack/6.1/1", "hpack_index_zero", "index 0", b"\x80"),
        send(
            ("7541 6.3", "hpack/6.3/1", "hpack_size_update_too_large"),
            "a table size above SETTINGS_HEADER_TABLE_SIZE",
            Silent,
            first(b"\x3f\xe2\x1f"),
            Connection(E::CompressionError),
        ),
        send(
            ("7541 7.3", "", "hpack_bomb"),
            "a block that stands for far more than is allowed",
            Silent,
            headers(1, true, &[&b"\x40\x01x\x7f\x80\x1e"[..], &[b'y'; 3967], &[0xbe; 1000]].concat()),
            Connection(E::EnhanceYourCalm),
        ),
        send(
            ("9113 4.3", "", "block_of_refused_stream_counts"),
            "a block that is refused and fills the table all the same",
            Answering,
            [
                headers(1, true, b"\x40\x01X\x01y"),
                headers(3, true, &[&get(&[])[..], b"\x40\x01x\x01z"].concat()),
                headers(5, true, &[&get(&[])[..], b"\xbe"].concat()),
            ]
            .concat(),
            Stream(1, E::ProtocolError),
        ),
        send(
            ("9113 6.10", "", "block_too_many_frames"),
            "a header block in more frames than are accepted",
            Silent,
            [frame(HEADERS, END_STREAM, 1, b""), frame(CONTINUATION, 0, 1, b"").repeat(9)].concat(),
            Connection(E::EnhanceYourCalm),
        ),
        send(
            ("9113 6.10", "", "block_too_large"),
            "a header block that is longer than accepted",
            Silent,
            [
                frame(HEADERS, END_STREAM, 1, &[0x82; 16_384]),
                frame(CONTINUATION, 0, 1, &[0x82; 16_384]),
                frame(CONTINUATION, 0, 1, &[0x82; 1]),
            ]
            .concat(),
            Connection(E::EnhanceYourCalm),
        ),
    ]
}
