//! What time does to a connection.

use std::time::Duration;

use super::super::error::{ConnectionError, Fault, Reset, Side};
use super::super::frame;
use super::super::streams::How;
use super::{Connection, Event, LIVE_PING, Leaving};

impl Connection {
    /// When [`Connection::on_time`] has something to do next. It moves with what happens, so ask after each call.
    pub fn deadline(&self) -> Option<Duration> {
        if self.dead.is_some() {
            return None;
        }
        let config = &self.config;
        let ping = match (self.ping, config.ping_after) {
            (Some(sent), _) => Some(sent + config.ping_timeout),
            (None, Some(after)) => Some(self.heard + after),
            (None, None) => None,
        };
        let leaving = match self.leaving {
            Leaving::Announced(until) => Some(until),
            _ => None,
        };
        let all = [
            (!self.is_acked).then(|| self.settings_sent + config.settings_timeout),
            ping,
            leaving,
            self.block.map(|block| block.since + config.block_timeout),
            self.stall_check,
            self.shut.filter(|_| self.schedule.next().is_some()).map(|shut| shut + config.stall_timeout),
        ];
        all.into_iter().flatten().min()
    }

    /// Does what is due. To be called again while it gives an event.
    pub fn on_time(&mut self, now: Duration) -> Result<Option<Event>, ConnectionError> {
        if let Some(error) = self.dead {
            return Err(error);
        }
        let config = self.config;
        if !self.is_acked && now >= self.settings_sent + config.settings_timeout {
            return Err(self.fail(Fault::SettingsTimeout));
        }
        if self.block.is_some_and(|block| now >= block.since + config.block_timeout) {
            return Err(self.fail(Fault::BlockTimeout));
        }
        // A peer that takes nothing at all holds all of its streams (CVE-2019-9517).
        if self.schedule.next().is_some() && self.shut.is_some_and(|shut| now >= shut + config.stall_timeout) {
            return Err(self.fail(Fault::Stalled));
        }
        if matches!(self.leaving, Leaving::Announced(until) if now >= until) {
            self.leave();
        }
        match (self.ping, config.ping_after) {
            // Any frame shows that the peer lives.
            (Some(sent), _) if now >= sent + config.ping_timeout && self.heard <= sent => {
                return Err(self.fail(Fault::PingTimeout));
            }
            (Some(sent), _) if now >= sent + config.ping_timeout => self.ping = None,
            (None, Some(after)) if now >= self.heard + after => self.send_ping(now),
            _ => {}
        }
        self.stalled(now)
    }

    /// Sends a PING, if none is out: [`Event::Pong`] follows, and [`Connection::round_trip`] is measured anew.
    pub fn send_ping(&mut self, now: Duration) {
        if self.ping.is_none() {
            self.ping = Some(now);
            self.control(|out| frame::ping(out, 0, LIVE_PING));
        }
    }

    /// Ends a stream whose peer keeps its window shut. One that does so again and again loses the connection.
    fn stalled(&mut self, now: Duration) -> Result<Option<Event>, ConnectionError> {
        if self.stall_check.take_if(|check| now >= *check).is_none() {
            return Ok(None);
        }
        let timeout = self.config.stall_timeout;
        let mut stalled = None;
        let mut next: Option<Duration> = None;
        for stream in self.streams.iter() {
            let Some(until) = self.streams.get(stream).and_then(|entry| entry.stalled).map(|since| since + timeout)
            else {
                continue;
            };
            if now >= until && stalled.is_none() {
                stalled = Some(stream);
            } else {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
        }
        self.stall_check = next;
        let Some(stream) = stalled else { return Ok(None) };
        let fault = Fault::Stalled;
        let code = fault.error_code();
        self.control(|out| frame::with_number(out, frame::RST_STREAM, stream.id(), code.to_u32()));
        self.close(stream, How::ResetByUs, now);
        self.spend(self.config.budget.costs.stall, now).map_err(|fault| self.fail(fault))?;
        let reset = Reset { side: Side::Local, code, fault: Some(fault), is_retry_safe: false };
        Ok(Some(Event::Reset { stream, reset }))
    }
}
