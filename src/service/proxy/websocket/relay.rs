//! Frames both ways until the connection is closed.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ringway_proto::websocket::{CloseCode, Event as Read, Side};
use ringway_runtime::buffer::Lease;
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::Stream;

use super::super::relay::stream_buffer;
use super::end::{Cause, Open, note};
use super::handshake::Terms;
use super::leg::{Half, Leg};
use super::reload::carry_over;
use super::terminate::recoders;
use crate::flow::{After, Client, Exchange, Input};
use crate::observe::{ControlFrame, Metrics, Timeout, WebsocketEnd, WebsocketError, WebsocketSide};
use crate::plan::Websocket;
use crate::upstream::Connection;

/// One of the two sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    Client,
    Upstream,
}

impl Who {
    pub(super) const BOTH: [Self; 2] = [Self::Client, Self::Upstream];

    pub(super) fn side(self) -> WebsocketSide {
        match self {
            Self::Client => WebsocketSide::Client,
            Self::Upstream => WebsocketSide::Upstream,
        }
    }
}

pub(super) enum Event {
    Came(Who, Option<Lease>),
    Room,
    /// What was parked goes on.
    Rested(Who, Lease),
    Broken(Who),
    /// The core is to end, or runs another plan.
    Notice,
    Time,
}

pub(super) struct Relay<'a> {
    pub(super) client: &'a mut Client,
    pub(super) exchange: &'a mut Exchange,
    pub(super) connection: &'a Connection,
    pub(super) metrics: Rc<Metrics>,
    pub(super) settings: Arc<Websocket>,
    pub(super) from_client: Leg,
    pub(super) from_upstream: Leg,
    /// When either side did something last.
    pub(super) moved: Instant,
    /// When the connection is closed that cannot stay.
    leaves: Option<Instant>,
    /// By when it must have ended, once somebody wants that.
    pub(super) over: Option<Instant>,
    /// The core knows whom to wake.
    is_watched: bool,
    /// How often endpoints were taken out or in again when it was last seen to.
    drains: u64,
    /// It was heard that the core is to end.
    is_last: bool,
    pub(super) open: Open,
}

/// Carries frames until both sides have ended, one broke, or the gateway has closed the connection. `rest` came after the
/// 101.
pub(in crate::service::proxy) async fn run(
    client: &mut Client,
    exchange: &mut Exchange,
    connection: Connection,
    rest: Input,
    terms: Terms,
) -> After {
    let route = exchange.route.and_then(|id| client.running.plan.route(id));
    let settings = route.map_or_else(Arc::default, |route| route.websocket.clone());
    let engine = &client.state.engine;
    let (up, down) = recoders(&terms, &settings);
    let mut relay = Relay {
        metrics: client.state.metrics.clone(),
        from_client: Leg::new(Side::Client, &settings, terms.client.is_some(), up, engine),
        from_upstream: Leg::new(Side::Server, &settings, terms.upstream.is_some(), down, engine),
        moved: client.now(),
        leaves: None,
        over: None,
        is_watched: false,
        drains: 0,
        is_last: false,
        open: Open::new(client),
        client,
        exchange,
        connection: &connection,
        settings,
    };
    let early = std::mem::take(&mut relay.client.input);
    for (who, mut input) in [(Who::Client, early), (Who::Upstream, rest)] {
        let count = input.bytes().len();
        if count > 0 {
            relay.take(who, input.take_front(count));
        }
    }
    let after = relay.go_on().await;
    relay.end();
    after
}

impl Relay<'_> {
    async fn go_on(&mut self) -> After {
        loop {
            if !self.pass_end() {
                return After::Gone;
            }
            if self.is_done() {
                return self.after();
            }
            self.client.timer.set(self.next_time());
            match poll_fn(|cx| self.poll(cx)).await {
                Event::Came(who, Some(lease)) => {
                    match who {
                        Who::Client => self.metrics.client_received(lease.len() as u64),
                        Who::Upstream => self.metrics.upstream_received(lease.len() as u64),
                    }
                    self.take(who, lease);
                }
                Event::Rested(who, lease) => self.recode(who, &lease),
                Event::Came(who, None) => {
                    self.leg(who).half = Half::Ending;
                    self.ended(who.side(), WebsocketEnd::ABNORMAL);
                }
                Event::Room => {}
                Event::Broken(who) => {
                    self.ended(who.side(), WebsocketEnd::ABNORMAL);
                    return After::Gone;
                }
                Event::Notice => self.heed(),
                Event::Time => {
                    if self.time_is_up() {
                        return self.after();
                    }
                }
            }
        }
    }

    pub(super) fn leg(&mut self, who: Who) -> &mut Leg {
        match who {
            Who::Client => &mut self.from_client,
            Who::Upstream => &mut self.from_upstream,
        }
    }

    /// Looks at what came from one side and passes it on as it came, in one piece unless something of it stays here.
    fn take(&mut self, who: Who, lease: Lease) {
        if self.leg(who).recoder.is_some() {
            return self.take_to_recode(who, &lease);
        }
        let now = self.client.now();
        let (leg, other, to) = match who {
            Who::Client => (&mut self.from_client, &mut self.from_upstream, self.connection.stream()),
            Who::Upstream => (&mut self.from_upstream, &mut self.from_client, &self.client.stream),
        };
        if who == Who::Client {
            self.exchange.traffic.received += lease.len() as u64;
        }
        (leg.heard, leg.pinged) = (now, None);
        if leg.is_deaf {
            return;
        }
        let (mut start, mut at, mut passed, mut failed) = (0, 0, 0, None);
        while at < lease.len() {
            let step = match leg.reader.next(lease.get(at..).unwrap_or_default()) {
                Ok(step) => step,
                Err(error) => {
                    failed = Some(WebsocketError::Frame(error));
                    break;
                }
            };
            let next = at + step.taken;
            // After a close frame to the other side nothing follows.
            let mut is_passed = !other.was_told;
            let (goes_on, too_much) = leg.account(&self.metrics, &mut self.moved, who.side(), step.event, now);
            is_passed &= goes_on;
            failed = too_much;
            if step.is_held || !is_passed {
                passed += push(to, &lease, start, at);
                start = next;
                if step.is_held && is_passed {
                    passed += to.with_outbox(|outbox| {
                        let held = leg.reader.held();
                        outbox.write(|out| out.extend_from_slice(held));
                        held.len()
                    });
                }
            }
            at = next;
            if let Read::Close(code) = step.event {
                other.was_told |= is_passed;
                self.over.get_or_insert(now + self.settings.close_timeout);
                self.open.close(who.side(), WebsocketEnd::code(code.map(CloseCode::get)));
            }
            if failed.is_some() {
                break;
            }
        }
        if start == 0 && at == lease.len() {
            passed += at;
            to.with_outbox(|outbox| outbox.push(lease));
        } else {
            // A frame that began here and is broken does not go.
            passed += push(to, &lease, start, at);
        }
        self.passed_on(who, passed, failed);
    }

    /// So many bytes of what came from one side went on, until something was wrong with it or nothing was.
    pub(super) fn passed_on(&mut self, who: Who, passed: usize, failed: Option<WebsocketError>) {
        let (leg, other, to) = match who {
            Who::Client => (&self.from_client, &mut self.from_upstream, self.connection.stream()),
            Who::Upstream => (&self.from_upstream, &mut self.from_client, &self.client.stream),
        };
        if leg.is_between_frames()
            && let Some(code) = other.to_tell
        {
            other.tell(code, to, &self.client.state.engine);
            self.metrics.websocket_control(WebsocketSide::Gateway, ControlFrame::Close);
        }
        to.flush();
        self.count_passed(who, passed);
        if let Some(error) = failed {
            self.leg(who).is_deaf = true;
            self.close(Cause::Error(who.side(), error));
        }
    }

    /// So many bytes go to the other side.
    fn count_passed(&mut self, who: Who, passed: usize) {
        match who {
            Who::Client => self.metrics.upstream_sent(passed as u64),
            Who::Upstream => {
                self.exchange.traffic.sent += passed as u64;
                self.metrics.client_sent(passed as u64);
            }
        }
    }

    /// The gateway closes the connection: each side is told as soon as a frame may stand there.
    #[cold]
    pub(super) fn close(&mut self, cause: Cause) {
        note(self.client, self.exchange, cause);
        self.ended(WebsocketSide::Gateway, cause.code().get());
        self.leaves = None;
        let (to_client, to_upstream) = cause.codes();
        for (who, code) in Who::BOTH.into_iter().zip([to_client, to_upstream]) {
            let (leg, other, stream) = match who {
                Who::Client => (&mut self.from_client, &self.from_upstream, &self.client.stream),
                Who::Upstream => (&mut self.from_upstream, &self.from_client, self.connection.stream()),
            };
            if leg.was_told {
                continue;
            }
            if other.is_between_frames() {
                leg.tell(code, stream, &self.client.state.engine);
                self.metrics.websocket_control(WebsocketSide::Gateway, ControlFrame::Close);
            } else if other.is_deaf || other.half != Half::Open {
                (leg.was_told, leg.is_lost) = (true, true);
            } else {
                leg.to_tell = Some(code);
            }
        }
    }

    /// Somebody ended the connection so, and the rest follows.
    fn ended(&mut self, by: WebsocketSide, code: u16) {
        self.open.close(by, code);
        self.over.get_or_insert(self.client.now() + self.settings.close_timeout);
    }

    /// Tells the endpoint that the client has ended, once everything before is sent. False when the endpoint is broken.
    fn pass_end(&mut self) -> bool {
        let upstream = self.connection.stream();
        if self.from_client.half == Half::Ending && upstream.unsent() == 0 {
            self.from_client.half = Half::Ended;
            return upstream.shut_down_write().is_ok();
        }
        true
    }

    /// Whether nothing more is to be done here. Who serves ends first (RFC 6455 section 7.1.1), so the endpoint's end is
    /// waited for unless nothing can be said to it.
    fn is_done(&self) -> bool {
        self.from_upstream.half != Half::Open || self.from_upstream.is_lost
    }

    /// What becomes of the client's connection.
    fn after(&self) -> After {
        if self.from_client.is_lost { After::Reset } else { After::Close }
    }

    /// Hears that the core ends, runs another plan, or has endpoints taken out.
    #[cold]
    fn heed(&mut self) {
        (self.is_last, self.drains) = (self.client.is_last(), self.client.state.drains());
        if !self.is_last && !self.is_drained() {
            let stays = !self.client.is_behind() || carry_over(self.client, self.exchange, self.connection).is_some();
            if stays {
                return;
            }
        }
        // Not all at once: they all come again.
        let spread = self.settings.drain.min(self.client.running.plan.cores.drain_timeout / 2);
        let part = self.client.state.engine.random() % 1024;
        let at = self.client.now() + spread * part as u32 / 1024;
        self.leaves = Some(self.leaves.map_or(at, |leaves| leaves.min(at)));
    }

    /// Whether an operator took its endpoint out.
    fn is_drained(&self) -> bool {
        let upstream = self.connection.upstream();
        let endpoint = upstream.endpoints.get(self.connection.endpoint());
        endpoint.is_some_and(|endpoint| self.client.state.is_drained(&upstream.name, &endpoint.name))
    }

    fn idle_at(&self) -> Instant {
        self.moved + self.settings.idle.unwrap_or(self.client.listener().timeouts.tunnel_idle)
    }

    /// When something must be done though nothing comes.
    fn next_time(&self) -> Instant {
        if let Some(over) = self.over {
            return over;
        }
        let mut at = self.idle_at();
        if let Some(leaves) = self.leaves {
            at = at.min(leaves);
        }
        if let Some(interval) = self.settings.ping_interval {
            for leg in [&self.from_client, &self.from_upstream] {
                at = at.min(leg.pinged.map_or(leg.heard + interval, |pinged| pinged + self.settings.ping_timeout));
            }
        }
        at
    }

    /// Does what is due. True when the end has taken as long as it may.
    #[cold]
    fn time_is_up(&mut self) -> bool {
        let now = self.client.now();
        if let Some(over) = self.over {
            return over <= now;
        }
        if self.leaves.is_some_and(|leaves| leaves <= now) {
            self.close(Cause::Drain);
        } else if self.idle_at() <= now {
            self.metrics.timed_out(Timeout::Tunnel);
            self.close(Cause::Idle);
        } else if let Some(interval) = self.settings.ping_interval {
            for who in Who::BOTH {
                self.ping(who, now, interval);
            }
        }
        false
    }

    /// Sends a ping to a side that is silent, and closes the connection where it was sent one.
    fn ping(&mut self, who: Who, now: Instant, interval: std::time::Duration) {
        let high = stream_buffer(self.client);
        let (leg, other, stream) = match who {
            Who::Client => (&mut self.from_client, &self.from_upstream, &self.client.stream),
            Who::Upstream => (&mut self.from_upstream, &self.from_client, self.connection.stream()),
        };
        match leg.pinged {
            Some(pinged) if pinged + self.settings.ping_timeout <= now => {
                leg.is_deaf = true;
                self.close(Cause::Error(who.side(), WebsocketError::PingTimeout));
            }
            None if leg.heard + interval <= now => {
                // One that is in the middle of a frame, or takes nothing, is asked next time.
                if leg.was_told || !other.is_between_frames() || stream.unsent() > high {
                    leg.heard = now;
                    return;
                }
                leg.ping(stream, &self.client.state.engine);
                self.metrics.websocket_control(WebsocketSide::Gateway, ControlFrame::Ping);
            }
            _ => {}
        }
    }

    /// Notes how it ended.
    fn end(&mut self) {
        let (received, sent) = (self.from_client.messages, self.from_upstream.messages);
        self.open.close(WebsocketSide::Gateway, WebsocketEnd::ABNORMAL);
        self.exchange.websocket = self.open.end.map(|end| WebsocketEnd { received, sent, ..end });
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Event> {
        if !std::mem::replace(&mut self.is_watched, true) {
            self.client.watch(cx);
        }
        let client = &*self.client;
        let is_news = (client.is_last() && !self.is_last)
            || (client.is_behind() && self.leaves.is_none())
            || client.state.drains() != self.drains;
        if is_news && self.over.is_none() {
            return Poll::Ready(Event::Notice);
        }
        if (self.from_client.parked.is_some() || self.from_upstream.parked.is_some())
            && let Poll::Ready(event) = self.poll_parked(cx)
        {
            return Poll::Ready(event);
        }
        let client = &*self.client;
        let high = stream_buffer(client);
        let upstream = self.connection.stream();
        let sides = [
            (Who::Client, &client.stream, Who::Upstream, upstream, &self.from_client),
            (Who::Upstream, upstream, Who::Client, &client.stream, &self.from_upstream),
        ];
        for (who, from, other, to, leg) in sides {
            let enough = match leg.half {
                // It may send what it likes, and nobody takes it.
                Half::Open if who == Who::Client && self.from_client.is_deaf => continue,
                // Its turn comes again.
                Half::Open if to.unsent() <= high && leg.parked.is_some() => continue,
                Half::Open if to.unsent() <= high => {
                    if let Poll::Ready(read) = from.poll_read(cx) {
                        return Poll::Ready(read.map_or(Event::Broken(who), |lease| Event::Came(who, lease)));
                    }
                    continue;
                }
                Half::Open => high / 2,
                Half::Ending => 0,
                Half::Ended => continue,
            };
            if let Poll::Ready(room) = to.poll_unsent_at_most(cx, enough) {
                return Poll::Ready(room.map_or(Event::Broken(other), |()| Event::Room));
            }
        }
        self.client.timer.poll(cx).map(|()| Event::Time)
    }
}

/// Passes on a part of what came, and says how much that is.
fn push(to: &Stream, lease: &Lease, start: usize, end: usize) -> usize {
    if end <= start {
        return 0;
    }
    to.with_outbox(|outbox| outbox.push(lease.slice(start, end)));
    end - start
}
