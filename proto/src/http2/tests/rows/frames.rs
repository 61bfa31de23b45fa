//! Single frames of streams: DATA, HEADERS, PRIORITY, RST_STREAM, WINDOW_UPDATE, CONTINUATION, PUSH_PROMISE.

use super::wire::*;
use super::{Do, ErrorCode as E, Expect, Row, Start, send, steps};
use Expect::{Answer, Connection, Data, Fine, Stream};
use Start::{Answering, Silent};

fn priority(stream: u32, depends: u32, weight: u8) -> Vec<u8> {
    frame(PRIORITY, 0, stream, &[&depends.to_be_bytes()[..], &[weight]].concat())
}

/// HEADERS with a priority, padding and a whole block.
fn with_priority(stream: u32, depends: u32) -> Vec<u8> {
    let payload = [&depends.to_be_bytes()[..], &[255], &get(&[])].concat();
    frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, stream, &payload)
}

pub(super) fn rows() -> Vec<Row> {
    let open = || headers(1, false, &request("POST", &[]));
    let get1 = || headers(1, true, &get(&[]));
    let part = |at: usize| get(&[])[..at].to_vec();
    let rest = |at: usize| get(&[])[at..].to_vec();
    let padded = |kind, flags, padding: u8, body: &[u8], tail: usize| {
        frame(kind, flags | PADDED, 1, &[&[padding][..], body, &vec![0; tail]].concat())
    };
    vec![
        send(
            ("9113 6.1", "generic/3.1/1", "data"),
            "DATA",
            Answering,
            [open(), data(1, true, b"test")].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.1", "generic/3.1/2", "data_twice"),
            "DATA twice",
            Answering,
            [open(), data(1, false, b"te"), data(1, true, b"st")].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.1", "generic/3.1/3", "data_padded"),
            "DATA with padding",
            Answering,
            [open(), padded(DATA, END_STREAM, 6, b"test", 6)].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.1", "", "data_only_padding"),
            "DATA of padding alone",
            Answering,
            [open(), padded(DATA, END_STREAM, 255, b"", 255)].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.1", "http2/6.1/1", "data_on_zero"),
            "DATA on stream 0",
            Silent,
            data(0, true, b"test"),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.1", "http2/6.1/2", "data_half_closed"),
            "DATA on a stream that it has ended",
            Silent,
            [get1(), data(1, true, b"test")].concat(),
            Stream(1, E::StreamClosed),
        ),
        send(
            ("9113 6.1", "http2/6.1/3", "data_bad_padding"),
            "DATA with padding as long as its payload",
            Silent,
            [open(), padded(DATA, END_STREAM, 5, b"test", 0)].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.1", "", "data_padding_without_length"),
            "DATA that says it is padded and is empty",
            Silent,
            [open(), frame(DATA, PADDED, 1, b"")].concat(),
            Connection(E::FrameSizeError),
        ),
        send(("9113 6.2", "generic/3.2/1", "headers"), "HEADERS", Answering, get1(), Answer(1)),
        send(
            ("9113 6.2", "generic/3.2/2", "headers_padded"),
            "HEADERS with padding",
            Answering,
            padded(HEADERS, END_STREAM | END_HEADERS, 8, &get(&[]), 8),
            Answer(1),
        ),
        send(
            ("9113 6.2", "generic/3.2/3", "headers_with_priority"),
            "HEADERS with a priority",
            Answering,
            with_priority(1, 0),
            Answer(1),
        ),
        send(
            ("9113 6.2", "http2/6.2/1 http2/4.3/2", "headers_then_priority"),
            "PRIORITY inside a header block",
            Silent,
            [frame(HEADERS, END_STREAM, 1, &part(9)), priority(1, 0, 1)].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.2", "http2/6.2/2 http2/4.3/3", "headers_then_headers"),
            "HEADERS of another stream inside a header block",
            Silent,
            [frame(HEADERS, END_STREAM, 1, &part(9)), headers(3, true, &get(&[]))].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.2", "http2/6.2/3", "headers_on_zero"),
            "HEADERS on stream 0",
            Silent,
            headers(0, true, &get(&[])),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.2", "http2/6.2/4", "headers_bad_padding"),
            "HEADERS with padding longer than its payload",
            Silent,
            padded(HEADERS, END_STREAM | END_HEADERS, 255, &get(&[]), 0),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.2", "", "headers_padding_without_length"),
            "HEADERS that says it is padded and is empty",
            Silent,
            frame(HEADERS, END_HEADERS | PADDED, 1, b""),
            Connection(E::FrameSizeError),
        ),
        send(
            ("9113 6.2", "", "headers_priority_cut_short"),
            "HEADERS too short for the priority it says it has",
            Silent,
            frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, &[0; 4]),
            Connection(E::FrameSizeError),
        ),
        send(
            ("9113 6.3", "generic/3.3/1", "priority_least"),
            "PRIORITY with weight 1",
            Answering,
            [priority(1, 0, 0), get1()].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.3", "generic/3.3/2", "priority_most"),
            "PRIORITY with weight 256",
            Answering,
            [priority(1, 0, 255), get1()].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.3", "generic/3.3/3", "priority_dependency"),
            "PRIORITY with a dependency",
            Answering,
            [priority(1, 0, 255), priority(3, 1, 255), get1()].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.3", "generic/3.3/4", "priority_exclusive"),
            "PRIORITY with the exclusive bit",
            Answering,
            [priority(3, 1 | 1 << 31, 255), get1()].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.3", "generic/3.3/5", "priority_then_lower_stream"),
            "PRIORITY for an idle stream, then a lower stream",
            Answering,
            [priority(7, 0, 255), get1()].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.3", "http2/6.3/1", "priority_on_zero"),
            "PRIORITY on stream 0",
            Silent,
            priority(0, 1, 0),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.3", "http2/6.3/2", "priority_bad_length"),
            "PRIORITY of a length other than 5",
            Silent,
            [open(), frame(PRIORITY, 0, 1, &[0; 4])].concat(),
            Stream(1, E::FrameSizeError),
        ),
        send(
            ("9113 6.3", "", "priority_bad_length_idle"),
            "the same on an idle stream, of which nothing can be reset",
            Silent,
            frame(PRIORITY, 0, 1, &[0; 4]),
            Connection(E::FrameSizeError),
        ),
        send(
            ("9113 5.3.1", "http2/5.3.1/1", "headers_depend_on_themselves"),
            "HEADERS that depend on themselves (RFC 7540)",
            Silent,
            with_priority(1, 1),
            Stream(1, E::ProtocolError),
        ),
        send(
            ("9113 5.3.1", "http2/5.3.1/2", "priority_depends_on_itself"),
            "PRIORITY that depends on itself (RFC 7540)",
            Silent,
            [open(), priority(1, 1, 255)].concat(),
            Stream(1, E::ProtocolError),
        ),
        send(
            ("9113 6.4", "generic/3.4/1", "reset"),
            "RST_STREAM",
            Silent,
            [open(), of_number(RST_STREAM, 1, 8)].concat(),
            Fine,
        ),
        send(
            ("9113 6.4", "http2/6.4/1", "reset_on_zero"),
            "RST_STREAM on stream 0",
            Silent,
            of_number(RST_STREAM, 0, 8),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.4", "http2/6.4/2 http2/5.1/2", "reset_idle"),
            "RST_STREAM on an idle stream",
            Silent,
            of_number(RST_STREAM, 1, 8),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.4", "http2/6.4/3", "reset_bad_length"),
            "RST_STREAM of a length other than 4",
            Silent,
            [open(), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            Connection(E::FrameSizeError),
        ),
        send(
            ("9113 8.4", "http2/8.2/1", "push_promise"),
            "PUSH_PROMISE",
            Silent,
            [open(), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &get(&[])].concat())].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.9", "generic/3.9/1", "window"),
            "WINDOW_UPDATE on stream 0",
            Answering,
            [window(0, 1), get1()].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.9", "generic/3.9/2", "window_of_stream"),
            "WINDOW_UPDATE on a stream",
            Answering,
            [open(), window(1, 1), data(1, true, b"")].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.9", "http2/6.9/1", "window_zero"),
            "WINDOW_UPDATE of 0",
            Silent,
            window(0, 0),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.9", "http2/6.9/2", "window_zero_of_stream"),
            "WINDOW_UPDATE of 0 on a stream",
            Silent,
            [open(), window(1, 0)].concat(),
            Stream(1, E::ProtocolError),
        ),
        send(
            ("9113 6.9", "http2/6.9/3", "window_bad_length"),
            "WINDOW_UPDATE of a length other than 4",
            Silent,
            frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            Connection(E::FrameSizeError),
        ),
        send(
            ("9113 6.9.1", "http2/6.9.1/1", "window_of_one"),
            "an initial window of 1",
            Answering,
            [settings(&[(4, 1)]), get1()].concat(),
            Data(1, 1),
        ),
        send(
            ("9113 6.9.1", "http2/6.9.1/2", "window_overflow"),
            "WINDOW_UPDATE above 2^31-1",
            Silent,
            [window(0, MAX), window(0, MAX)].concat(),
            Connection(E::FlowControlError),
        ),
        send(
            ("9113 6.9.1", "http2/6.9.1/3", "window_overflow_of_stream"),
            "the same on a stream",
            Silent,
            [open(), window(1, MAX), window(1, MAX)].concat(),
            Stream(1, E::FlowControlError),
        ),
        steps(
            ("9113 6.9.1", "", "data_above_window"),
            "DATA above the window of its stream",
            Silent,
            vec![Do::Hold, Do::Send([open(), data(1, false, &[0; 16_384]).repeat(6)].concat())],
            Stream(1, E::FlowControlError),
        ),
        steps(
            ("9113 6.9.1", "", "data_above_connection_window"),
            "DATA above the window of the connection",
            Silent,
            vec![
                Do::Hold,
                Do::Send(
                    (0..8)
                        .flat_map(|at| {
                            let id = 2 * at + 1;
                            [headers(id, false, &request("POST", &[])), data(id, false, &[0; 13_107]).repeat(5)]
                                .concat()
                        })
                        .collect(),
                ),
            ],
            Connection(E::FlowControlError),
        ),
        steps(
            ("9113 6.9.2", "http2/6.9.2/1", "window_changes_after_headers"),
            "an initial window of 0, a request, one of 1",
            Answering,
            vec![Do::Send(settings(&[(4, 0)])), Do::Send(get1()), Do::Send(settings(&[(4, 1)]))],
            Data(1, 1),
        ),
        steps(
            ("9113 6.9.2", "http2/6.9.2/2", "window_below_zero"),
            "a window that a smaller setting puts below zero",
            Answering,
            vec![
                Do::Send(settings(&[(4, 3)])),
                Do::Send(get1()),
                Do::Send(settings(&[(4, 2)])),
                Do::Send(window(1, 2)),
            ],
            Data(1, 4),
        ),
        send(
            ("9113 6.9.2", "", "setting_overflows_window"),
            "a setting that puts a window above 2^31-1",
            Silent,
            [open(), window(1, 1), settings(&[(4, MAX)])].concat(),
            Connection(E::FlowControlError),
        ),
        send(
            ("9113 6.10", "generic/3.10/1", "continuation"),
            "CONTINUATION",
            Answering,
            [frame(HEADERS, END_STREAM, 1, &part(9)), frame(CONTINUATION, END_HEADERS, 1, &rest(9))].concat(),
            Answer(1),
        ),
        send(
            ("9113 6.10", "generic/3.10/2 http2/6.10/1", "continuation_twice"),
            "CONTINUATION twice, cut anywhere",
            Answering,
            [
                frame(HEADERS, END_STREAM, 1, &part(1)),
                frame(CONTINUATION, 0, 1, &get(&[])[1..12]),
                frame(CONTINUATION, END_HEADERS, 1, &rest(12)),
            ]
            .concat(),
            Answer(1),
        ),
        send(
            ("9113 6.10", "http2/6.10/2", "continuation_interrupted"),
            "DATA inside a header block",
            Silent,
            [frame(HEADERS, 0, 1, &part(9)), data(1, true, b"test")].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.10", "http2/6.10/3", "continuation_on_zero"),
            "CONTINUATION on stream 0",
            Silent,
            [frame(HEADERS, END_STREAM, 1, &part(9)), frame(CONTINUATION, END_HEADERS, 0, &rest(9))].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.10", "", "continuation_of_another"),
            "CONTINUATION of another stream",
            Silent,
            [frame(HEADERS, END_STREAM, 1, &part(9)), frame(CONTINUATION, END_HEADERS, 3, &rest(9))].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.10", "http2/6.10/4", "continuation_after_whole_headers"),
            "CONTINUATION after a whole header block",
            Silent,
            [open(), frame(CONTINUATION, END_HEADERS, 1, &get(&[]))].concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.10", "http2/6.10/5", "continuation_after_whole_block"),
            "CONTINUATION after one that ended the block",
            Silent,
            [
                frame(HEADERS, 0, 1, &part(9)),
                frame(CONTINUATION, END_HEADERS, 1, &rest(9)),
                frame(CONTINUATION, END_HEADERS, 1, &get(&[])),
            ]
            .concat(),
            Connection(E::ProtocolError),
        ),
        send(
            ("9113 6.10", "http2/6.10/6", "continuation_after_data"),
            "CONTINUATION after DATA",
            Silent,
            [open(), data(1, false, b"test"), frame(CONTINUATION, END_HEADERS, 1, &get(&[]))].concat(),
            Connection(E::ProtocolError),
        ),
    ]
}
