//! Streams: their states, identifiers and number.

use super::wire::*;
use super::{Do, ErrorCode as E, Expect, Row, Start, send, steps};
use Expect::{Answer, Connection, Fine, Stream};
use Start::{Answering, Silent};

pub(super) fn rows() -> Vec<Row> {
    let open = || headers(1, false, &request("POST", &[]));
    let whole = || headers(1, true, &get(&[]));
    let priority = || frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 15]);
    let reset = || of_number(RST_STREAM, 1, 8);
    let continued = || frame(CONTINUATION, END_HEADERS, 1, &get(&[]));
    let many = |count: u32| (0..count).flat_map(|at| headers(2 * at + 1, true, &get(&[]))).collect::<Vec<u8>>();
    vec![
        send(
            ("9113 5.1", "generic/2/1", "priority_idle"),
            "PRIORITY on an idle stream",
            Answering,
            [priority(), whole()].concat(),
            Answer(1),
        ),
        send(
            ("9113 5.1", "generic/2/2", "window_half_closed"),
            "WINDOW_UPDATE on a stream that it has ended",
            Silent,
            [whole(), window(1, 1)].concat(),
            Fine,
        ),
        send(
            ("9113 5.1", "generic/2/3", "priority_half_closed"),
            "PRIORITY on a stream that it has ended",
            Silent,
            [whole(), priority()].concat(),
            Fine,
        ),
        send(
            ("9113 5.1", "generic/2/4", "reset_half_closed"),
            "RST_STREAM on a stream that it has ended",
            Silent,
            [whole(), reset()].concat(),
            Fine,
        ),
        steps(
            ("9113 5.1", "generic/2/5", "priority_closed"),
            "PRIORITY on a closed stream",
            Answering,
            vec![Do::Send(whole()), Do::Answered(1), Do::Send(priority())],
            Answer(1),
        ),
        send(
            ("9113 5.1", "http2/5.1/1", "data_idle"),
            "DATA on an idle stream",
            Silent,
            data(1, true, b"test"),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1", "http2/5.1/3", "window_idle"),
            "WINDOW_UPDATE on an idle stream",
            Silent,
            window(1, 100),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1", "http2/5.1/4", "continuation_idle"),
            "CONTINUATION on an idle stream",
            Silent,
            continued(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1", "http2/5.1/5", "data_after_end"),
            "DATA after the end",
            Silent,
            [whole(), data(1, true, b"test")].concat(),
            Stream(1, E::StreamClosed),
        ),
        send(
            ("9113 5.1", "http2/5.1/6", "headers_after_end"),
            "HEADERS after the end",
            Silent,
            [whole(), whole()].concat(),
            Stream(1, E::StreamClosed),
        ),
        send(
            ("9113 5.1", "http2/5.1/7", "continuation_after_end"),
            "CONTINUATION after the end",
            Silent,
            [whole(), continued()].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1", "http2/5.1/8", "data_after_reset"),
            "DATA after its RST_STREAM",
            Silent,
            [open(), reset(), data(1, true, b"test")].concat(),
            Stream(1, E::StreamClosed),
        ),
        send(
            ("9113 5.1", "http2/5.1/9", "headers_after_reset"),
            "HEADERS after its RST_STREAM",
            Silent,
            [open(), reset(), whole()].concat(),
            Stream(1, E::StreamClosed),
        ),
        send(
            ("9113 5.1", "http2/5.1/10", "continuation_after_reset"),
            "CONTINUATION after its RST_STREAM",
            Silent,
            [open(), reset(), continued()].concat(),
            Connection(E::ProtocolError),
        ),
        steps(
            ("9113 5.1", "http2/5.1/11", "data_closed"),
            "DATA on a closed stream",
            Answering,
            vec![Do::Send(whole()), Do::Answered(1), Do::Send(data(1, true, b"test"))],
            Connection(E::StreamClosed),
        ),
        steps(
            ("9113 5.1", "http2/5.1/12", "headers_closed"),
            "HEADERS on a closed stream",
            Answering,
            vec![Do::Send(whole()), Do::Answered(1), Do::Send(whole())],
            Connection(E::StreamClosed),
        ),
        steps(
            ("9113 5.1", "http2/5.1/13", "continuation_closed"),
            "CONTINUATION on a closed stream",
            Answering,
            vec![Do::Send(whole()), Do::Answered(1), Do::Send(continued())],
            Connection(E::ProtocolError),
        ),
        steps(
            ("9113 5.1", "", "reset_closed"),
            "RST_STREAM and WINDOW_UPDATE on a closed stream, which may have been under way",
            Answering,
            vec![Do::Send(whole()), Do::Answered(1), Do::Send([reset(), window(1, 5)].concat())],
            Answer(1),
        ),
        steps(
            ("9113 5.1", "", "frames_after_our_reset"),
            "DATA, trailers, WINDOW_UPDATE that were under way when we reset",
            Silent,
            vec![
                Do::Send(open()),
                Do::Reset(1),
                Do::Send([data(1, false, b"test"), window(1, 5), headers(1, true, &block(&[("x", "y")]))].concat()),
            ],
            Fine,
        ),
        send(
            ("9113 5.1.1", "http2/5.1.1/1", "even_stream"),
            "a stream with an even number",
            Silent,
            headers(2, true, &get(&[])),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1.1", "http2/5.1.1/2", "lower_stream"),
            "a stream with a lower number than the one before",
            Silent,
            [headers(5, true, &get(&[])), headers(3, true, &get(&[]))].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1.1", "", "skipped_stream"),
            "DATA on a stream that was skipped and so is closed",
            Silent,
            [headers(5, true, &get(&[])), data(3, true, b"test")].concat(),
            Connection(E::StreamClosed),
        ),
        send(
            ("9113 5.1.1", "", "data_even_stream"),
            "DATA on a stream with an even number, which a server opens",
            Silent,
            data(2, true, b""),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 5.1.2", "http2/5.1.2/1", "too_many_streams"),
            "a stream above SETTINGS_MAX_CONCURRENT_STREAMS",
            Silent,
            many(101),
            Stream(201, E::RefusedStream),
        ),
        send(("9113 5.1.2", "", "as_many_streams_as_allowed"), "as many streams as allowed", Silent, many(100), Fine),
    ]
}
