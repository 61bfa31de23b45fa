//! The tries of one request: whether it goes out again after one that failed, when, and what is kept of its body for that.
//!
//! A request is sent again only if nothing of it was sent before, or if it may be done twice and all that was sent of it
//! is still there.

use std::time::Duration;

use ringway_proto::http1::{Framing, Known, ResponseHead};
use ringway_runtime::clock::Instant;

use super::grpc;
use super::hedge::Race;
use super::mirror::Copy;
use crate::flow::{Client, Exchange};
use crate::plan::{Retry, RouteRetry};
use crate::upstream::Pool;

/// How a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// No connection came about.
    Connect,
    /// The connection ended before the first byte of a response.
    Reset,
    /// The endpoint did nothing for it, and said so.
    Refused,
    /// As `Reset`, and it had served other requests before: most likely it ended before it saw this one.
    Stale,
    /// The head of the response did not come in time.
    Timeout,
    /// The response is of a status that is asked for again, not before this time has passed.
    Status(Duration),
    /// The same, and its server said when exactly.
    Told(Duration),
}

pub(super) struct Tries<'p> {
    pool: &'p Pool,
    retry: &'p Retry,
    deadline: Instant,
    /// How many there may be.
    most: u32,
    made: u32,
    /// It may be done twice.
    is_repeatable: bool,
    /// All that was sent of the body is still there.
    is_whole: bool,
    /// What is sent of the body is kept.
    keeps: bool,
    /// Bytes kept, in the exchange.
    kept: usize,
    /// How long after it was sent the request goes to another endpoint as well, if it does.
    hedge_after: Option<Duration>,
    /// Tries that are under way beside the one whose answer is read.
    pub(super) race: Option<Box<Race>>,
    /// The copy of the request for another upstream.
    pub(super) copy: &'p mut Option<Box<Copy>>,
    /// Bytes of the body that came, over all tries.
    pub(super) body_bytes: u64,
    /// The client was told to send its body.
    pub(super) continued: bool,
}

impl<'p> Tries<'p> {
    pub(super) fn new(
        pool: &'p Pool,
        exchange: &Exchange,
        route: RouteRetry,
        may_go_elsewhere: bool,
        copy: &'p mut Option<Box<Copy>>,
        now: Instant,
        deadline: Instant,
    ) -> Self {
        let retry = &pool.upstream().retry;
        let most = route.attempts.unwrap_or(retry.attempts);
        let may_be_done_twice = route.non_idempotent.unwrap_or(retry.non_idempotent);
        let is_repeatable = exchange.head.method.is_idempotent() || may_be_done_twice;
        let fits = match exchange.head.framing {
            Framing::Length(length) => length <= u64::from(retry.body),
            _ => true,
        };
        pool.budget().asked(now);
        // An endpoint that a cookie names is the one that is meant.
        let hedging = pool.hedging().filter(|_| {
            is_repeatable
                && route.hedge != Some(false)
                && may_go_elsewhere
                && !exchange.head.upgrade
                && pool.has_several()
        });
        Self {
            pool,
            retry,
            deadline,
            most,
            made: 1,
            is_repeatable,
            is_whole: true,
            // What an endpoint of HTTP/2 refuses goes out again whatever it is.
            keeps: (is_repeatable || pool.upstream().http2.is_enabled) && fits,
            kept: 0,
            hedge_after: hedging.and_then(|hedging| hedging.ask(now)),
            race: None,
            copy,
            body_bytes: 0,
            continued: false,
        }
    }

    /// By when the head of the response to a request whose last byte goes now must be there.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.retry.per_try.map(|per_try| now + per_try)
    }

    /// So many more bytes of the body go to an endpoint, `keep` appends them to what is kept.
    pub(super) fn sent(&mut self, exchange: &mut Exchange, bytes: usize, keep: impl Fn(&mut Vec<u8>)) {
        if let Some(copy) = self.copy {
            copy.add(bytes, &keep);
        }
        let fits = self.keeps
            && self.kept + bytes <= self.retry.body as usize
            && self.pool.budget().keep(bytes, self.retry.bodies);
        if fits {
            self.kept += bytes;
            keep(&mut exchange.kept);
        } else {
            (self.keeps, self.is_whole) = (false, false);
            self.let_go();
            exchange.kept.clear();
        }
    }

    fn let_go(&mut self) {
        self.pool.budget().let_go(std::mem::take(&mut self.kept));
    }

    /// How long its answer is waited for alone.
    #[inline]
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        self.hedge_after.filter(|_| self.is_whole)
    }

    /// From now on it is under way at several endpoints.
    pub(super) fn begin_race(&mut self, race: Race) {
        self.hedge_after = None;
        self.race = Some(Box::new(race));
    }

    /// Whether it is under way at others beside the one whose answer is read.
    pub(super) fn has_others(&self) -> bool {
        self.race.as_ref().is_some_and(|race| race.has_others())
    }

    /// It was under way at several, and none of them answered it.
    #[inline]
    pub(super) fn end_race(&mut self) {
        if let Some(race) = self.race.take() {
            race.end();
        }
    }

    /// Nobody will ask for the body again: this response goes to the client.
    pub(super) fn settle(&mut self, client: &Client, exchange: &mut Exchange) {
        if let Some(copy) = self.copy.take_if(|copy| copy.is_whole) {
            copy.send(client, exchange);
        }
        if let Some(race) = self.race.take() {
            race.settle(client, exchange.head.method);
        }
        (self.keeps, self.is_whole) = (false, false);
        self.let_go();
        exchange.kept.clear();
    }

    /// When the request goes out again instead of this response being the answer, if it does.
    pub(super) fn instead_of(&mut self, client: &Client, exchange: &Exchange, bytes: &[u8]) -> Option<Instant> {
        let response = &exchange.response;
        if self.retry.on.statuses.has(response.status) {
            let after = retry_after(response, bytes, self.retry.retry_after)?;
            return self.again(client, Failed::Status(after));
        }
        if exchange.rpc.is_none() || self.retry.on.codes.is_empty() {
            return None;
        }
        let failed = grpc::failed(response, bytes, self.retry)?;
        self.again(client, failed)
    }

    /// When the request goes out again after a try that failed, if it does.
    pub(super) fn again(&mut self, client: &Client, failed: Failed) -> Option<Instant> {
        let now = client.now();
        if self.has_others() {
            // The next try is under way.
            return Some(now);
        }
        let on = &self.retry.on;
        let (is_wanted, is_safe) = match failed {
            // Nothing was sent this time, and what was sent before may be done twice.
            Failed::Connect => (on.connect, true),
            Failed::Refused => (true, true),
            Failed::Reset => (on.reset, self.is_repeatable),
            Failed::Timeout => (on.timeout, self.is_repeatable),
            Failed::Stale | Failed::Status(_) | Failed::Told(_) => (true, self.is_repeatable),
        };
        // The end of a stale connection is no failure of its endpoint's.
        let is_left = failed == Failed::Stale || self.made < self.most;
        if !is_wanted || !is_safe || !is_left || !self.is_whole {
            return None;
        }
        let at = match failed {
            Failed::Stale | Failed::Refused => now,
            Failed::Status(after) => now + after + self.backoff(client),
            Failed::Told(after) => now + after,
            Failed::Connect | Failed::Reset | Failed::Timeout => now + self.backoff(client),
        };
        if at >= self.deadline {
            return None;
        }
        if !self.pool.budget().take(now) {
            self.pool.series().out_of_budget();
            return None;
        }
        if failed != Failed::Stale {
            self.made += 1;
        }
        self.pool.series().retried();
        Some(at)
    }

    /// A random part of a time that doubles with every try ("full jitter"), so that clients of an endpoint that failed
    /// do not come back together.
    fn backoff(&self, client: &Client) -> Duration {
        let Some(first) = self.retry.backoff else { return Duration::ZERO };
        let most = first.saturating_mul(1 << (self.made - 1).min(16)).min(self.retry.backoff_max);
        let part = client.state.engine.random() >> 32;
        Duration::from_nanos(((most.as_nanos() * u128::from(part)) >> 32) as u64)
    }
}

impl Drop for Tries<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// What a response says of how long to wait (RFC 9110 section 10.2.3); nothing where that is longer than `most`, or a
/// date: who gives one means to be away for long.
fn retry_after(response: &ResponseHead, bytes: &[u8], most: Duration) -> Option<Duration> {
    let mut fields = response.fields.iter().filter(|field| field.known == Known::Other);
    let field = fields.find(|field| field.name.of(bytes).eq_ignore_ascii_case(b"retry-after"));
    let Some(field) = field else { return Some(Duration::ZERO) };
    let seconds = std::str::from_utf8(field.value.of(bytes)).ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds)).filter(|after| *after <= most)
}
