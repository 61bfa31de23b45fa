//! What a server can do wrong to a client. Stream 1 is a GET that is whole, stream 3 a POST that is not.

use super::wire::*;
use super::{Do, ErrorCode as E, Expect, Row, Start, send, steps};
use Expect::{Connection, Fine, Stream};
use Start::{Client, FreshClient};

pub(super) fn rows() -> Vec<Row> {
    let ok = |more: &[(&str, &str)]| block(&[&[(":status", "200")][..], more].concat());
    let head = |end: bool| headers(1, end, &ok(&[]));
    let status = |status: &str, end: bool| headers(1, end, &block(&[(":status", status)]));
    let go = |last: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), 0_u32.to_be_bytes()].concat());
    let bad = |section, name, says, input: Vec<u8>| {
        send((section, "", name), says, Client, input, Stream(1, E::ProtocolError))
    };
    vec![
        send(("9113 3.4", "", "client_settings_first"), "SETTINGS first", FreshClient, settings(&[]), Fine),
        send(
            ("9113 3.4", "", "client_settings_missing"),
            "a first frame other than SETTINGS",
            FreshClient,
            head(true),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 3.4", "", "client_http1_answer"),
            "an answer in HTTP/1.1",
            FreshClient,
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.5.2", "", "client_setting_push"),
            "SETTINGS_ENABLE_PUSH of 1 from a server",
            Client,
            settings(&[(2, 1)]),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.5.2", "", "client_setting_no_push"),
            "SETTINGS_ENABLE_PUSH of 0 from a server",
            Client,
            settings(&[(2, 0)]),
            Fine,
        ),
        send(
            ("9113 6.6", "", "client_push_promise"),
            "PUSH_PROMISE though we refuse pushes",
            Client,
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &get(&[])].concat()),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1.1", "", "client_headers_even"),
            "HEADERS on an even stream",
            Client,
            headers(2, true, &ok(&[])),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1", "", "client_headers_idle"),
            "HEADERS on a stream that we did not open",
            Client,
            headers(5, true, &ok(&[])),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1", "", "client_data_idle"),
            "DATA on a stream that we did not open",
            Client,
            data(5, true, b""),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1", "", "client_reset_idle"),
            "RST_STREAM on a stream that we did not open",
            Client,
            of_number(RST_STREAM, 5, 0),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1", "", "client_window_idle"),
            "WINDOW_UPDATE on a stream that we did not open",
            Client,
            window(5, 1),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1", "", "client_data_after_end"),
            "DATA after the end",
            Client,
            [headers(3, true, &ok(&[])), data(3, true, b"x")].concat(),
            Stream(3, E::StreamClosed),
        ),
        send(
            ("9113 5.1", "", "client_data_closed"),
            "DATA on a stream that both ended",
            Client,
            [head(true), data(1, true, b"x")].concat(),
            Connection(E::StreamClosed),
        ),
        send(
            ("9113 5.1", "", "client_headers_closed"),
            "HEADERS on a stream that both ended",
            Client,
            [head(true), head(true)].concat(),
            Connection(E::StreamClosed),
        ),
        steps(
            ("9113 5.1", "", "client_frames_after_our_reset"),
            "a response that was under way when we reset",
            Client,
            vec![
                Do::Reset(1),
                Do::Send([head(false), data(1, false, b"test"), headers(1, true, &block(&[("x", "y")]))].concat()),
            ],
            Fine,
        ),
        send(
            ("9113 8.1", "", "client_response"),
            "a response with interim ones, data and trailers",
            Client,
            [
                status("100", false),
                status("103", false),
                head(false),
                data(1, false, b"test"),
                headers(1, true, &block(&[("x", "y")])),
            ]
            .concat(),
            Fine,
        ),
        bad("9113 8.1", "client_data_before_head", "DATA before the head", data(1, true, b"test")),
        bad(
            "9113 8.1",
            "client_data_after_interim",
            "DATA after an interim response",
            [status("103", false), data(1, true, b"x")].concat(),
        ),
        bad("9113 8.1", "client_interim_ends", "an interim response that ends the stream", status("100", true)),
        bad(
            "9113 8.1",
            "client_trailers_without_end",
            "trailers that do not end the stream",
            [head(false), headers(1, false, &block(&[("x", "y")]))].concat(),
        ),
        bad(
            "9113 8.1",
            "client_pseudo_in_trailers",
            "`:status` in trailers",
            [head(false), status("200", true)].concat(),
        ),
        bad(
            "9113 8.1.1",
            "client_length_short",
            "less DATA than Content-Length",
            [headers(1, false, &ok(&[("content-length", "5")])), data(1, true, b"test")].concat(),
        ),
        bad(
            "9113 8.1.1",
            "client_length_long",
            "more DATA than Content-Length",
            [headers(1, false, &ok(&[("content-length", "3")])), data(1, true, b"test")].concat(),
        ),
        bad(
            "9113 8.1.1",
            "client_length_without_data",
            "Content-Length above 0 and no DATA",
            headers(1, true, &ok(&[("content-length", "3")])),
        ),
        bad(
            "9113 8.1.1",
            "client_data_in_204",
            "DATA in an answer of 204",
            [status("204", false), data(1, true, b"x")].concat(),
        ),
        bad(
            "9113 8.1.1",
            "client_data_in_304",
            "DATA in an answer of 304",
            [status("304", false), data(1, true, b"x")].concat(),
        ),
        send(
            ("9113 8.1.1", "", "client_length_in_304"),
            "Content-Length in an answer of 304",
            Client,
            headers(1, true, &block(&[(":status", "304"), ("content-length", "3")])),
            Fine,
        ),
        bad("9113 8.3.2", "client_status_missing", "no `:status`", headers(1, true, &block(&[("x", "y")]))),
        bad(
            "9113 8.3.2",
            "client_status_twice",
            "`:status` twice",
            headers(1, true, &block(&[(":status", "200"), (":status", "200")])),
        ),
        bad("9113 8.3.2", "client_status_short", "`:status` of two digits", status("20", true)),
        bad("9113 8.3.2", "client_status_splits", "`:status` with a line break", status("200\r\n", true)),
        bad("9113 8.3.2", "client_status_too_large", "`:status` of 600", status("600", true)),
        bad(
            "9113 8.3",
            "client_pseudo_of_request",
            "`:path` in a response",
            headers(1, true, &block(&[(":status", "200"), (":path", "/")])),
        ),
        bad("9113 8.6", "client_switching", "101, which HTTP/2 does not have", status("101", false)),
        bad(
            "9113 8.2.1",
            "client_uppercase_name",
            "an upper-case letter in a field name",
            headers(1, true, &ok(&[("X-A", "b")])),
        ),
        bad(
            "9113 8.2.1",
            "client_value_splits",
            "a line break in a field value",
            headers(1, true, &ok(&[("x", "a\r\nb: c")])),
        ),
        bad("9113 8.2.2", "client_connection", "Connection", headers(1, true, &ok(&[("connection", "close")]))),
        bad(
            "9113 8.2.2",
            "client_transfer_encoding",
            "Transfer-Encoding",
            headers(1, true, &ok(&[("transfer-encoding", "chunked")])),
        ),
        send(("9113 6.8", "", "client_goaway"), "GOAWAY that leaves a stream behind", Client, go(1), Fine),
        send(
            ("9113 6.8", "", "client_goaway_grows"),
            "GOAWAY with a later stream than the one before",
            Client,
            [go(1), go(3)].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.8", "", "client_goaway_in_two_steps"),
            "GOAWAY of a server in two steps",
            Client,
            [go(MAX), go(3)].concat(),
            Fine,
        ),
        send(
            ("9113 6.9.1", "", "client_window_overflow"),
            "WINDOW_UPDATE above 2^31-1 on a stream",
            Client,
            [window(1, MAX), window(1, MAX)].concat(),
            Stream(1, E::FlowControlError),
        ),
        send(
            ("9218 7.1", "", "client_priority_update"),
            "PRIORITY_UPDATE from a server",
            Client,
            frame(PRIORITY_UPDATE, 0, 0, b"\0\0\0\x01u=1"),
            Connection(E::ProtocolError),
        ),
        send(
            ("7541 4.2", "", "client_hpack_late_size_update"),
            "a table size update at the end of a block",
            Client,
            headers(1, true, &[&ok(&[])[..], b"\x20"].concat()),
            Connection(E::CompressionError),
        ),
    ]
}
