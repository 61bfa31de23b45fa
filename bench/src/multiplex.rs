//! Bodies on their way over a connection of HTTP/2, either side's: each goes as its turn and the windows allow.

use std::sync::Arc;
use std::time::Duration;

use ringway_proto::http2::{Budget, Config, Connection, Stream};

/// Bytes that are put together in one go, so that what a socket does not take stays small.
const ONCE: usize = 256 * 1024;

/// What a connection of HTTP/2 allows here: everything, since nobody attacks. Windows are so large that they are rarely
/// spoken of.
pub(crate) fn config(streams: u32) -> Config {
    Config {
        streams,
        stream_window: 1 << 20,
        stream_window_max: 16 << 20,
        connection_window: 16 << 20,
        connection_window_max: 64 << 20,
        control: 1 << 20,
        budget: Budget { capacity: u32::MAX, per_second: u32::MAX, ..Budget::default() },
        ..Config::default()
    }
}

struct Body {
    bytes: Arc<[u8]>,
    at: usize,
    /// `grpc-status: 0` follows.
    is_grpc_answer: bool,
}

/// What is being sent, by the slot of its stream.
#[derive(Default)]
pub(crate) struct Bodies(Vec<Option<Body>>);

impl Bodies {
    /// Has a body sent on a stream whose head says that one follows; [`Bodies::write`] does it.
    pub(crate) fn send(
        &mut self,
        connection: &mut Connection,
        stream: Stream,
        bytes: Arc<[u8]>,
        is_grpc_answer: bool,
        now: Duration,
    ) {
        let slot = stream.slot();
        if slot >= self.0.len() {
            self.0.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.0.get_mut(slot) {
            *place = Some(Body { bytes, at: 0, is_grpc_answer });
        }
        connection.wants(stream, true, now);
    }

    /// Forgets the body of a stream that was reset.
    pub(crate) fn forget(&mut self, stream: Stream) {
        if let Some(place) = self.0.get_mut(stream.slot()) {
            *place = None;
        }
    }

    /// Appends what can be sent now, and all control frames.
    pub(crate) fn write(&mut self, connection: &mut Connection, now: Duration, out: &mut Vec<u8>) {
        while out.len() < ONCE
            && let Some(stream) = connection.turn()
        {
            let Some(Some(body)) = self.0.get_mut(stream.slot()) else {
                connection.wants(stream, false, now);
                continue;
            };
            let left = body.bytes.get(body.at..).unwrap_or_default();
            let Some(len) = connection.data(stream, left.len(), !body.is_grpc_answer, now, out) else { break };
            out.extend_from_slice(left.get(..len).unwrap_or_default());
            body.at += len;
            if body.at == body.bytes.len() {
                if body.is_grpc_answer {
                    let status: (&[u8], &[u8]) = (b"grpc-status", b"0");
                    // A stream that takes none has ended: there is nobody to tell.
                    let _ = connection.trailers(stream, std::iter::once(status), now, out);
                }
                self.forget(stream);
            }
        }
        connection.output(out);
    }
}

/// A message of gRPC of so many bytes, with its prefix: not compressed, and its length.
pub(crate) fn grpc_message(len: u64) -> Vec<u8> {
    let mut message = vec![0];
    message.extend_from_slice(&(len as u32).to_be_bytes());
    message.resize(message.len() + len as usize, b'x');
    message
}
