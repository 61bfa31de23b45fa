//! One side of a WebSocket connection: what comes from it, and what it was told.

use std::time::Duration;

use ringway_proto::websocket::deflate::Recoder;
use ringway_proto::websocket::{CloseCode, Event, Limits, Opcode, Reader, Side, encode};
use ringway_runtime::buffer::Lease;
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Engine, Stream};

use crate::observe::{ControlFrame, Metrics, WebsocketError, WebsocketSide};
use crate::plan::{Rate, Websocket};

/// Whether a side may still send bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Half {
    /// It may.
    Open,
    /// It has ended; the last of it is on its way to the other side.
    Ending,
    /// The other side was told.
    Ended,
}

/// Says when there is too much, with as many at once as there may be in the time of the rate (GCRA).
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    /// Between two.
    each: Duration,
    /// Of all that may come at once.
    burst: Duration,
    /// When all that came would have come at the rate.
    due: Instant,
}

impl Meter {
    fn new(rate: Rate) -> Self {
        Self { each: rate.per / rate.count, burst: rate.per, due: Instant::default() }
    }

    fn admits(&mut self, now: Instant) -> bool {
        let due = self.due.max(now) + self.each;
        let is_within = due <= now + self.burst;
        if is_within {
            self.due = due;
        }
        is_within
    }
}

/// Whether there may be one more.
fn admits(meter: &mut Option<Meter>, now: Instant) -> bool {
    meter.as_mut().is_none_or(|meter| meter.admits(now))
}

/// The meters of a side.
#[derive(Default, Debug)]
pub(super) struct Meters {
    pub(super) messages: Option<Meter>,
    pub(super) frames: Option<Meter>,
    pub(super) control_frames: Option<Meter>,
}

/// One side.
#[derive(Debug)]
pub(super) struct Leg {
    /// Reads what comes from it.
    pub(super) reader: Reader,
    /// Has its messages as the other side wants them, where that is not as they come.
    pub(super) recoder: Option<Box<Recoder>>,
    /// What came from it and waits: for room on the other side, or for others on this core.
    pub(super) parked: Option<Lease>,
    /// Others had their turn since something was parked.
    pub(super) has_rested: bool,
    pub(super) meters: Meters,
    pub(super) half: Half,
    /// Messages that came from it.
    pub(super) messages: u64,
    /// A close frame went to it: nothing follows.
    pub(super) was_told: bool,
    /// It did what ends the connection: what else comes from it is not looked at.
    pub(super) is_deaf: bool,
    /// The frame that was on its way to it will never end, so that nothing more can be said to it.
    pub(super) is_lost: bool,
    /// What it is to be told once the frame that is on its way to it has ended.
    pub(super) to_tell: Option<CloseCode>,
    /// When bytes came from it last.
    pub(super) heard: Instant,
    /// When a ping went to it that nothing came after.
    pub(super) pinged: Option<Instant>,
    /// What is in our pings to it.
    mark: u64,
    /// What goes to it is masked.
    is_server: bool,
}

impl Leg {
    pub(super) fn new(
        from: Side,
        settings: &Websocket,
        deflate: bool,
        recoder: Option<Recoder>,
        engine: &Engine,
    ) -> Self {
        let meter = |rate: Option<Rate>| rate.map(Meter::new);
        let limits: Limits = settings.limits;
        let meters = match from {
            Side::Client => Meters {
                messages: meter(settings.messages),
                frames: meter(settings.frames),
                control_frames: meter(settings.control_frames),
            },
            Side::Server => Meters::default(),
        };
        Self {
            reader: Reader::new(from, limits, deflate),
            recoder: recoder.map(Box::new),
            parked: None,
            has_rested: false,
            meters,
            half: Half::Open,
            messages: 0,
            was_told: false,
            is_deaf: false,
            is_lost: false,
            to_tell: None,
            heard: engine.now(),
            pinged: None,
            mark: engine.random(),
            is_server: from == Side::Server,
        }
    }

    /// Counts what was read. Whether it is for the other side, and what of it is too much.
    pub(super) fn account(
        &mut self,
        metrics: &Metrics,
        moved: &mut Instant,
        side: WebsocketSide,
        event: Event,
        now: Instant,
    ) -> (bool, Option<WebsocketError>) {
        match event {
            Event::Held | Event::AfterClose => (false, None),
            Event::Data { is_end, message, .. } => {
                *moved = now;
                let mut failed = None;
                if is_end && !admits(&mut self.meters.frames, now) {
                    failed = Some(WebsocketError::FrameRate);
                }
                if let Some(message) = message {
                    self.messages += 1;
                    metrics.websocket_message(side, message.kind, message.bytes);
                    if !admits(&mut self.meters.messages, now) {
                        failed = Some(WebsocketError::MessageRate);
                    }
                }
                (true, failed)
            }
            Event::Ping | Event::Pong | Event::Close(_) => {
                let is_ours = event == Event::Pong && self.answers_us();
                if !is_ours {
                    *moved = now;
                    metrics.websocket_control(side, kind(event));
                }
                let is_within = admits(&mut self.meters.control_frames, now);
                (!is_ours, (!is_within).then_some(WebsocketError::ControlRate))
            }
        }
    }

    /// Whether a frame may stand before what comes from it next.
    pub(super) fn is_between_frames(&self) -> bool {
        // What is recoded goes on in whole frames.
        self.recoder.is_some() || self.reader.is_between_frames()
    }

    /// Whether the pong that was just read answers our last ping. Nobody else can know what was in it.
    pub(super) fn answers_us(&self) -> bool {
        self.reader.control() == self.mark.to_be_bytes()
    }

    /// The key for a frame to it. What is masked is ours and the same whoever is connected, so that the key has nothing to
    /// hide (RFC 6455 section 10.3 is about what others choose).
    fn key(&self, engine: &Engine) -> Option<[u8; 4]> {
        self.is_server.then(|| (engine.random() as u32).to_be_bytes())
    }

    /// Sends it a ping, between two frames.
    pub(super) fn ping(&mut self, stream: &Stream, engine: &Engine) {
        let key = self.key(engine);
        self.mark = engine.random();
        self.pinged = Some(engine.now());
        stream.with_outbox(|outbox| {
            outbox.write(|out| encode::control(out, Opcode::Ping, &self.mark.to_be_bytes(), key));
        });
        stream.flush();
    }

    /// Sends it a close frame, between two frames.
    pub(super) fn tell(&mut self, code: CloseCode, stream: &Stream, engine: &Engine) {
        let key = self.key(engine);
        (self.was_told, self.to_tell) = (true, None);
        stream.with_outbox(|outbox| outbox.write(|out| encode::close(out, Some(code), "", key)));
        stream.flush();
    }
}

fn kind(control: Event) -> ControlFrame {
    match control {
        Event::Ping => ControlFrame::Ping,
        Event::Pong => ControlFrame::Pong,
        _ => ControlFrame::Close,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_lets_through_its_rate_and_as_many_at_once() {
        let mut meter = Meter::new(Rate { count: 10, per: Duration::from_secs(1) });
        let start = Instant::default() + Duration::from_secs(100);
        assert_eq!((0..20).filter(|_| meter.admits(start)).count(), 10);
        assert!(!meter.admits(start + Duration::from_millis(99)));
        assert!(meter.admits(start + Duration::from_millis(100)));
        assert!(!meter.admits(start + Duration::from_millis(100)));
        assert_eq!((0..20).filter(|_| meter.admits(start + Duration::from_mins(1))).count(), 10);
    }
}
