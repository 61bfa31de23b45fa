//! What a connection says and hears in HTTP/2: many requests at once, and their answers in any order.

use std::sync::Arc;
use std::time::Duration;

use ringway_proto::http1::ResponseHead;
use ringway_proto::http2::{Client, Event, RequestLine, Stream};

use super::Failure;
use super::connection::{Answer, Sent};
use super::wire::Wire;
use crate::multiplex::{Bodies, config};

/// A request as HTTP/2 has it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) is_https: bool,
    pub(crate) authority: String,
    pub(crate) path: String,
    /// Names and values.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Arc<[u8]>,
}

impl Request {
    /// The same as a call of gRPC; its body is a message.
    pub(crate) fn of_grpc(mut self) -> Self {
        // Calls have no length, as they may have any number of messages.
        self.fields.retain(|(name, _)| name != "content-length");
        let fields = [("te", "trailers"), ("content-type", "application/grpc")];
        self.fields.extend(fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }
}

/// A request under way.
#[derive(Debug)]
struct UnderWay {
    sent: Sent,
    status: u16,
    body: u64,
}

/// What a call of gRPC that failed counts as: no status of HTTP.
const CALL_FAILED: u16 = 0;

pub(super) struct Http2 {
    client: Client,
    streams: u32,
    bodies: Bodies,
    out: Vec<u8>,
    at: usize,
    head: ResponseHead,
    text: Vec<u8>,
    /// By the slot of the stream.
    under_way: Vec<Option<UnderWay>>,
    count: usize,
    /// The start of a frame whose end has not come.
    partial: Vec<u8>,
}

impl Http2 {
    pub(super) fn new(streams: usize, now: u64) -> Self {
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        Self {
            client: Client::new(&config(streams), Duration::from_nanos(now)),
            streams,
            bodies: Bodies::default(),
            out: Vec::new(),
            at: 0,
            head: ResponseHead::default(),
            text: Vec::new(),
            under_way: Vec::new(),
            count: 0,
            partial: Vec::new(),
        }
    }

    /// Ready for another connection.
    pub(super) fn begin(&mut self, now: u64) {
        *self = Self::new(self.streams as usize, now);
    }

    pub(super) fn under_way(&self) -> usize {
        self.count
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.under_way.iter().flatten().map(|under_way| under_way.sent.started).min()
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.client.is_leaving()
    }

    /// Opens a stream; [`Http2::flush`] writes it.
    pub(super) fn push(&mut self, sent: Sent, request: &Request) -> Result<(), Failure> {
        let now = Duration::from_nanos(sent.started);
        let line = RequestLine {
            method: request.method.as_bytes(),
            scheme: if request.is_https { b"https" } else { b"http" },
            authority: request.authority.as_bytes(),
            path: request.path.as_bytes(),
            protocol: None,
        };
        let fields = request.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let end = request.body.is_empty();
        let stream = self.client.request(&line, fields, end, now, &mut self.out).map_err(|_| Failure::Unsent)?;
        if !end {
            self.bodies.send(&mut self.client, stream, request.body.clone(), false, now);
        }
        let slot = stream.slot();
        if slot >= self.under_way.len() {
            self.under_way.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.under_way.get_mut(slot) {
            *place = Some(UnderWay { sent, status: 0, body: 0 });
            self.count += 1;
        }
        Ok(())
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.at < self.out.len() || self.client.has_output() || self.client.turn().is_some()
    }

    /// Writes what there is room for.
    pub(super) fn flush(&mut self, wire: &mut Wire, now: u64) -> Result<(), Failure> {
        loop {
            self.bodies.write(&mut self.client, Duration::from_nanos(now), &mut self.out);
            let Some(left @ [_, ..]) = self.out.get(self.at..) else { return Ok(()) };
            let count = wire.write(left)?;
            self.at += count;
            if self.at < self.out.len() {
                if count == 0 {
                    return Ok(());
                }
                continue;
            }
            self.out.clear();
            self.at = 0;
        }
    }

    /// Takes answers off `input`, which follows what earlier calls were given, and tells each complete one. A stream that
    /// is reset is a failure of the connection.
    pub(super) fn consume(&mut self, input: &[u8], now: u64, answered: &mut impl FnMut(Answer)) -> Result<(), Failure> {
        if self.partial.is_empty() {
            let used = self.consume_all(input, now, answered)?;
            self.partial.extend_from_slice(input.get(used..).unwrap_or_default());
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(input);
            let used = self.consume_all(&whole, now, answered)?;
            whole.drain(..used);
            self.partial = whole;
        }
        Ok(())
    }

    fn consume_all(&mut self, input: &[u8], now: u64, answered: &mut impl FnMut(Answer)) -> Result<usize, Failure> {
        let now = Duration::from_nanos(now);
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let step = self.client.receive(rest, now, &mut self.head, &mut self.text);
            let step = step.map_err(|_| Failure::Malformed)?;
            at += step.consumed;
            match step.event {
                None => return Ok(at),
                Some(Event::Response { .. }) if self.head.is_interim() => {}
                Some(Event::Response { stream, end }) => {
                    let (head, text) = (&self.head, &self.text);
                    let fields = || head.fields.iter().map(|field| (field.name.of(text), field.value.of(text)));
                    let status = if end { status(head.status, fields()) } else { head.status };
                    self.of(stream)?.status = status;
                    if end {
                        answered(self.finish(stream)?);
                    }
                }
                Some(Event::Data { stream, data, end }) => {
                    self.client.consumed(stream, data.len(), now);
                    self.of(stream)?.body += data.len() as u64;
                    if end {
                        answered(self.finish(stream)?);
                    }
                }
                Some(Event::Trailers { stream, trailers }) => {
                    let of_head = self.of(stream)?.status;
                    self.of(stream)?.status = status(of_head, trailers.iter(&self.text));
                    answered(self.finish(stream)?);
                }
                Some(Event::Reset { .. }) => return Err(Failure::Reset),
                Some(_) => {}
            }
        }
    }

    fn of(&mut self, stream: Stream) -> Result<&mut UnderWay, Failure> {
        self.under_way.get_mut(stream.slot()).and_then(Option::as_mut).ok_or(Failure::Malformed)
    }

    fn finish(&mut self, stream: Stream) -> Result<Answer, Failure> {
        let under_way = self.under_way.get_mut(stream.slot()).and_then(Option::take).ok_or(Failure::Malformed)?;
        self.count -= 1;
        let UnderWay { sent, status, body } = under_way;
        Ok(Answer { sent, status, body, close: false })
    }
}

/// The status of an answer that ends with these fields: a call of gRPC has failed where they say so.
fn status<'a>(of_head: u16, mut fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> u16 {
    match fields.find(|(name, _)| *name == b"grpc-status") {
        Some((_, value)) if value != b"0" => CALL_FAILED,
        _ => of_head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_failed_has_no_status() {
        let ok: (&[u8], &[u8]) = (b"grpc-status", b"0");
        let failed: (&[u8], &[u8]) = (b"grpc-status", b"14");
        let other: (&[u8], &[u8]) = (b"x-a", b"1");
        assert_eq!(status(200, [other, ok].into_iter()), 200);
        assert_eq!(status(200, [other, failed].into_iter()), CALL_FAILED);
        assert_eq!(status(503, [other].into_iter()), 503);
    }
}
