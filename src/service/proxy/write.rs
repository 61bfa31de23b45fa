//! How parts of a message are written to one side or the other.

use ringway_proto::http1::{self, Trailers};
use ringway_runtime::buffer::Outbox;
use ringway_runtime::engine::Stream;

use crate::flow::{Client, Input};

/// Ends a chunked body with the trailers that may be passed on.
pub(super) fn put_trailers(out: &mut Vec<u8>, trailers: Trailers, bytes: &[u8]) {
    put_fields(out, trailers.iter(bytes));
}

/// Ends a chunked body with these fields.
pub(super) fn put_fields<'f>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) {
    out.extend_from_slice(http1::encode::LAST_CHUNK_BEFORE_TRAILERS);
    for (name, value) in fields {
        http1::encode::field(out, name, value);
    }
    out.extend_from_slice(http1::encode::CRLF);
}

/// Appends a chunk, where there is something for one.
pub(super) fn put_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        http1::encode::chunk_head(out, bytes.len());
        out.extend_from_slice(bytes);
        out.extend_from_slice(http1::encode::CRLF);
    }
}

/// Whether less than `high` bytes are unsent, if need be after sending.
pub(super) fn has_room(stream: &Stream, high: usize) -> bool {
    stream.unsent() <= high || {
        stream.flush();
        stream.unsent() <= high
    }
}

/// Lets `write` append to what goes to the client, and counts it.
pub(super) fn write_client(client: &Client, written: &mut u64, write: impl FnOnce(&mut Outbox)) {
    client.stream.with_outbox(|outbox| {
        let before = outbox.len();
        write(outbox);
        let bytes = (outbox.len() - before) as u64;
        *written += bytes;
        client.state.metrics.client_sent(bytes);
    });
}

/// Puts body bytes into an outbox, in a chunk of their own where the receiver is sent chunks.
pub(super) fn send_data(outbox: &mut Outbox, input: &Input, span: http1::Span, chunked: bool) {
    if chunked {
        outbox.write(|out| http1::encode::chunk_head(out, span.len()));
    }
    input.send(span, outbox);
    if chunked {
        outbox.write(|out| out.extend_from_slice(http1::encode::CRLF));
    }
}
