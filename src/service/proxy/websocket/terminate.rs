//! Messages that go on as the other side wants them: each side agreed on permessage-deflate with the gateway, which
//! expands and compresses between them.

use std::task::{Context, Poll};

use ringway_proto::websocket::deflate::{Compressor, Expander, Piece, Recoder, RecoderSettings};
use ringway_proto::websocket::{CloseCode, Event as Read, Reader, Side};
use ringway_runtime::buffer::Lease;

use super::super::relay::stream_buffer;
use super::handshake::Terms;
use super::leg::Half;
use super::relay::{Event, Relay, Who};
use crate::observe::{WebsocketEnd, WebsocketError};
use crate::plan::Websocket;

/// So many bytes are expanded before it is seen whether there is room for more: half a mebibyte at most.
const PIECE: usize = 512;
/// After so many bytes expanded or compressed others on this core have their turn.
const WORK: u64 = 256 << 10;

/// What carries messages of the client, and those of the endpoint. Nothing where they go on as they come.
pub(super) fn recoders(terms: &Terms, settings: &Websocket) -> (Option<Recoder>, Option<Recoder>) {
    let Some(own) = terms.terminated else { return (None, None) };
    if terms.client.is_none() && terms.upstream.is_none() {
        return (None, None);
    }
    let limits = RecoderSettings {
        message: settings.limits.message,
        ratio: own.max_ratio,
        compress_from: own.min_size as usize,
    };
    let expander = |(bits, forgets)| Expander::new(bits, forgets);
    let compressor = |(bits, forgets): (u8, bool)| {
        Compressor::new(own.level, bits.min(own.willing.bits), forgets || !own.willing.context_takeover)
    };
    let up = Recoder::new(
        limits,
        terms.client.map(|agreed| expander(agreed.of(Side::Client))),
        terms.upstream.and_then(|agreed| compressor(agreed.of(Side::Client))),
        true,
    );
    let down = Recoder::new(
        limits,
        terms.upstream.map(|agreed| expander(agreed.of(Side::Server))),
        terms.client.and_then(|agreed| compressor(agreed.of(Side::Server))),
        false,
    );
    (Some(up), Some(down))
}

impl Relay<'_> {
    /// Has what came from one side go on as the other wants it.
    pub(super) fn take_to_recode(&mut self, who: Who, lease: &Lease) {
        let now = self.client.now();
        if who == Who::Client {
            self.exchange.traffic.received += lease.len() as u64;
        }
        let leg = self.leg(who);
        (leg.heard, leg.pinged) = (now, None);
        self.recode(who, lease);
    }

    /// The same, of what came before. It goes on for as long as the other side takes what comes of it.
    pub(super) fn recode(&mut self, who: Who, lease: &Lease) {
        let (now, high) = (self.client.now(), stream_buffer(self.client));
        let (leg, other, to) = match who {
            Who::Client => (&mut self.from_client, &mut self.from_upstream, self.connection.stream()),
            Who::Upstream => (&mut self.from_upstream, &mut self.from_client, &self.client.stream),
        };
        let Some(mut recoder) = leg.recoder.take().filter(|_| !leg.is_deaf) else { return };
        let (mut at, mut passed, mut worked, mut failed) = (0, 0, 0, None);
        while at < lease.len() && failed.is_none() {
            if worked >= WORK || to.unsent() > high {
                (leg.parked, leg.has_rested) = (Some(lease.slice(at, lease.len())), false);
                break;
            }
            let input = lease.get(at..lease.len().min(at + PIECE)).unwrap_or_default();
            let key = leg.reader.key();
            let step = match leg.reader.next(input) {
                Ok(step) => step,
                Err(error) => {
                    failed = Some(WebsocketError::Frame(error));
                    break;
                }
            };
            at += step.taken;
            let taken = input.get(..step.taken).unwrap_or_default();
            let (goes_on, too_much) = leg.account(&self.metrics, &mut self.moved, who.side(), step.event, now);
            failed = too_much;
            if !goes_on || other.was_told {
                continue;
            }
            let result = to.with_outbox(|outbox| {
                outbox.write(|out| {
                    let start = out.len();
                    let result = if let Read::Data { payload, message, .. } = step.event {
                        let (payload, mask) = Reader::payload_of(key, taken, payload);
                        message.or(leg.reader.message()).map_or(Ok(()), |about| {
                            let (kind, is_compressed) = (about.kind, about.is_compressed);
                            recoder.take(Piece { kind, is_compressed, payload, mask, is_end: message.is_some() }, out)
                        })
                    } else {
                        out.extend_from_slice(if step.is_held { leg.reader.held() } else { taken });
                        Ok(())
                    };
                    passed += out.len() - start;
                    result
                })
            });
            if let Err(error) = result {
                failed = Some(WebsocketError::Frame(error));
            }
            let work = recoder.work();
            worked += work.expanded_to + work.compressed_from;
            self.metrics.websocket_recoded(who.side(), work);
            if let Read::Close(code) = step.event {
                other.was_told = true;
                self.over.get_or_insert(now + self.settings.close_timeout);
                self.open.close(who.side(), WebsocketEnd::code(code.map(CloseCode::get)));
            }
        }
        leg.recoder = Some(recoder);
        self.passed_on(who, passed, failed);
    }

    /// What was parked goes on once there is room for it and others had their turn.
    pub(super) fn poll_parked(&mut self, cx: &Context<'_>) -> Poll<Event> {
        let high = stream_buffer(self.client);
        for who in Who::BOTH {
            let to = match who {
                Who::Client => self.connection.stream(),
                Who::Upstream => &self.client.stream,
            };
            let has_room = to.unsent() <= high;
            let leg = self.leg(who);
            if leg.is_deaf || leg.half != Half::Open {
                leg.parked = None;
            }
            if leg.parked.is_none() || !has_room {
                continue;
            }
            if std::mem::replace(&mut leg.has_rested, true) {
                let Some(lease) = leg.parked.take() else { continue };
                return Poll::Ready(Event::Rested(who, lease));
            }
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
