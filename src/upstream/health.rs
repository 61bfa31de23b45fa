//! Health checks: each endpoint is asked at times whether it is well, by one core for all of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway_proto::grpc::health::Serving;
use ringway_proto::grpc::{self, Messages, Reader, Said};
use ringway_proto::http1::{self, Body, EventKind, HeadScan, Method, Progress, ResponseHead};
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::{Engine, Stream, Timer};
use ringway_runtime::net::Address;

use super::http2::{Dial, Mux};
use super::secure::Secure;
use super::{Cause, Change, Pool, hash};
use crate::observe::{Activity, UpstreamEvent};
use crate::plan::{Check, Health, Limits, ProxyVersion, Upstream};

/// Bytes of an answer's body that are looked at.
const BODY_MOST: usize = 64 << 10;

/// How a check ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Checked {
    /// There was none yet.
    #[default]
    Never,
    /// Well.
    Passed,
    /// No connection.
    Refused,
    /// Not in time.
    Timeout,
    /// The connection ended before the answer did.
    Reset,
    /// The answer breaks the protocol.
    Protocol,
    /// Another status than those wanted.
    Status,
    /// The body has not what is wanted.
    Body,
    /// The call came to another status of gRPC than 0.
    GrpcStatus,
    /// Its service says that it is not well.
    NotServing,
}

impl Checked {
    const ALL: [Self; 10] = [
        Self::Never,
        Self::Passed,
        Self::Refused,
        Self::Timeout,
        Self::Reset,
        Self::Protocol,
        Self::Status,
        Self::Body,
        Self::GrpcStatus,
        Self::NotServing,
    ];

    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Passed => "passed",
            Self::Refused => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::Body => "body",
            Self::GrpcStatus => "grpc-status",
            Self::NotServing => "not-serving",
        }
    }
}

/// What the checks of one endpoint said, for as long as plans have it.
#[derive(Debug, Default)]
pub(super) struct Known {
    last: AtomicU8,
    /// Checks in a row that ended as the last one.
    row: AtomicU32,
}

impl Known {
    /// How the last check ended.
    pub(super) fn last(&self) -> Checked {
        Checked::ALL.get(usize::from(self.last.load(Ordering::Relaxed))).copied().unwrap_or_default()
    }

    /// Takes in one more: whether the endpoint is well now, where that is beyond doubt.
    pub(super) fn add(&self, plan: &Health, checked: Checked) -> Option<bool> {
        let is_well = checked == Checked::Passed;
        let before = self.last();
        // Only the core that asks writes.
        let same = before != Checked::Never && (before == Checked::Passed) == is_well;
        let row = if same { self.row.load(Ordering::Relaxed).saturating_add(1) } else { 1 };
        self.row.store(row, Ordering::Relaxed);
        self.last.store(checked as u8, Ordering::Relaxed);
        let wanted = if is_well { plan.healthy_after } else { plan.unhealthy_after };
        (row >= wanted).then_some(is_well)
    }
}

/// Which core this is, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// From 0.
    pub core: usize,
    /// How many there are.
    pub cores: usize,
}

impl Seat {
    /// Whether this core asks that endpoint.
    fn owns(self, upstream: &Upstream, endpoint: usize) -> bool {
        let Some(found) = upstream.endpoints.get(endpoint) else { return false };
        let name = format!("{}\0{}\0{}", upstream.name, found.name, found.address);
        hash(name.as_bytes()) % self.cores.max(1) as u64 == self.core as u64
    }
}

/// The checks that one core has under way.
#[derive(Debug, Default)]
pub struct Checks {
    under_way: Cell<u32>,
    most: Cell<u32>,
    /// Those that wait for their turn, the first one first.
    waiting: RefCell<VecDeque<Waker>>,
}

impl Checks {
    /// So many may be under way at once.
    pub fn limit(&self, most: u32) {
        self.most.set(most);
        // Whoever finds no room waits again.
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until one more may be under way.
    pub(crate) async fn turn(self: &Rc<Self>) -> CheckTurn {
        poll_fn(|cx| {
            if self.under_way.get() < self.most.get().max(1) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push_back(cx.waker().clone());
            Poll::Pending
        })
        .await;
        self.under_way.set(self.under_way.get() + 1);
        CheckTurn(self.clone())
    }
}

/// One of the checks that may be under way.
pub(crate) struct CheckTurn(Rc<Checks>);

impl Drop for CheckTurn {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        let next = self.0.waiting.borrow_mut().pop_front();
        if let Some(next) = next {
            next.wake();
        }
    }
}

/// Asks the endpoints of this core's share, for as long as the pool is that of a plan.
pub(super) fn start(pool: &Rc<Pool>, engine: &Engine, checks: &Rc<Checks>, seat: Seat) {
    let upstream = pool.upstream();
    let Some(plan) = &upstream.health else { return };
    for at in (0..upstream.endpoints.len()).filter(|&at| seat.owns(upstream, at)) {
        engine.spawn(watch(Rc::downgrade(pool), engine.clone(), checks.clone(), plan.clone(), at));
    }
}

async fn watch(pool: Weak<Pool>, engine: Engine, checks: Rc<Checks>, plan: Health, at: usize) {
    engine.label(Activity::Housekeeping.label());
    let timer = engine.timer();
    poll_fn(|cx| {
        if let Some(pool) = pool.upgrade() {
            pool.wake_when_retired(cx.waker().clone());
        }
        Poll::Ready(())
    })
    .await;
    // As a plan before had it; or soon, but not all endpoints in one moment.
    let soon = engine.now() + part(plan.interval, u64::from(plan.jitter), engine.random());
    let known = pool.upgrade().and_then(|pool| pool.next_check(at));
    let mut next = known.map_or(soon, |known| known.min(engine.now() + plan.interval));
    loop {
        // A pool that is retired has its tasks end at once, however long the interval.
        timer.set(next);
        poll_fn(|cx| match pool.upgrade() {
            Some(pool) if !pool.is_retired() => timer.poll(cx),
            _ => Poll::Ready(()),
        })
        .await;
        let begun = engine.now();
        {
            let turn = checks.turn().await;
            let Some(pool) = pool.upgrade().filter(|pool| !pool.is_retired()) else { return };
            pool.set_next_check(at, begun + plan.interval);
            let checked = check(&engine, &timer, &plan, &pool, at).await;
            drop(turn);
            if !pool.judges() {
                return;
            }
            pool.checked(at, &plan, checked);
        }
        let longer = part(plan.interval, 2 * u64::from(plan.jitter), engine.random());
        let least = plan.interval.saturating_sub(part(plan.interval, u64::from(plan.jitter), u64::MAX));
        next = begun + least + longer;
        if let Some(pool) = pool.upgrade() {
            pool.set_next_check(at, next);
        }
    }
}

/// Asks an endpoint once.
async fn check(engine: &Engine, timer: &Timer, plan: &Health, pool: &Pool, at: usize) -> Checked {
    let upstream = pool.upstream();
    let Some(endpoint) = upstream.endpoints.get(at) else { return Checked::Never };
    let address = &endpoint.address.with_port(plan.port);
    let (version, secure) = (upstream.proxy_protocol, pool.secure());
    let dial = pool.dials(&endpoint.name, address, plan.timeout, Duration::ZERO);
    let asked = Probed { name: &endpoint.name, address, version, secure, dial };
    probe(engine, timer, &plan.check, asked, engine.now() + plan.timeout).await
}

/// Who a check asks.
pub(crate) struct Probed<'a> {
    /// What it is called where the check says nothing else.
    pub(crate) name: &'a str,
    /// Where it is.
    pub(crate) address: &'a Address,
    /// Which PROXY header it wants.
    pub(crate) version: Option<ProxyVersion>,
    /// Where it speaks TLS.
    pub(crate) secure: Option<&'a Secure>,
    /// How to connect to it where it speaks HTTP/2.
    pub(crate) dial: Option<Dial<'a>>,
}

impl Probed<'_> {
    async fn connect(&self, engine: &Engine) -> Result<Stream, Checked> {
        if let Some(dial) = &self.dial {
            return Mux::default().connect(dial).await.map_err(|_| Checked::Refused);
        }
        let stream = engine.connect(self.address).await.map_err(|_| Checked::Refused)?;
        if let Some(version) = self.version {
            // It names no client: this connection is nobody's but ours. An endpoint that waits for it would complain of a
            // connection without one.
            stream.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(&version.own_header())));
            stream.drained().await.map_err(|_| Checked::Reset)?;
        }
        match self.secure {
            None => Ok(stream),
            Some(secure) => Ok(secure.over(stream, self.name).await.ok_or(Checked::Refused)?.0),
        }
    }
}

/// Asks whoever is at an address.
pub(crate) async fn probe(engine: &Engine, timer: &Timer, check: &Check, to: Probed<'_>, deadline: Instant) -> Checked {
    match check {
        Check::Tcp => within(timer, deadline, connects(engine, &to)).await,
        Check::Grpc { service, host } => {
            let left = deadline.since(engine.now());
            let request = grpc_request(service, host.as_deref().unwrap_or(to.name), left);
            within(timer, deadline, calls(engine, &to, &request)).await
        }
        Check::Http { path, host, status, body } => {
            let host = host.as_deref().unwrap_or(to.name);
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ringway-health\r\nConnection: close\r\n\r\n"
            );
            let asked = asks(engine, &to, request.as_bytes(), status, body.as_deref());
            within(timer, deadline, asked).await
        }
    }
}

/// Somewhere up to this many millionths of a time.
fn part(of: Duration, millionths: u64, random: u64) -> Duration {
    let most = of.as_nanos() * u128::from(millionths) / 1_000_000;
    Duration::from_nanos((most * u128::from(random as u32) / u128::from(u32::MAX)) as u64)
}

async fn within(timer: &Timer, deadline: Instant, check: impl Future<Output = Checked>) -> Checked {
    timer.set(deadline);
    let mut check = pin!(check);
    poll_fn(|cx| match check.as_mut().poll(cx) {
        Poll::Ready(checked) => Poll::Ready(checked),
        Poll::Pending => timer.poll(cx).map(|()| Checked::Timeout),
    })
    .await
}

async fn connects(engine: &Engine, to: &Probed<'_>) -> Checked {
    to.connect(engine).await.map_or_else(|failed| failed, |_| Checked::Passed)
}

/// Sends a request, and reads the head of its answer: with what has come, which begins with it.
async fn begin(
    engine: &Engine,
    to: &Probed<'_>,
    request: &[u8],
    method: Method,
) -> Result<(Stream, Vec<u8>, ResponseHead), Checked> {
    let stream = to.connect(engine).await?;
    stream.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(request)));
    stream.flush();
    let (mut bytes, mut head) = (Vec::new(), ResponseHead::default());
    read_head(&stream, &mut bytes, &mut head, &Limits::default().of_responses(), method).await?;
    Ok((stream, bytes, head))
}

async fn asks(
    engine: &Engine,
    to: &Probed<'_>,
    request: &[u8],
    status: &[std::ops::RangeInclusive<u16>],
    wanted: Option<&str>,
) -> Checked {
    let (stream, mut bytes, head) = match begin(engine, to, request, Method::Get).await {
        Ok(begun) => begun,
        Err(failed) => return failed,
    };
    let limits = Limits::default().of_responses();
    if !status.iter().any(|range| range.contains(&head.status)) {
        return Checked::Status;
    }
    let Some(wanted) = wanted else { return Checked::Passed };
    bytes.drain(..head.len);
    let (mut body, mut found) = (Body::new(head.framing), Vec::new());
    loop {
        while !body.is_done() && !bytes.is_empty() {
            let Ok(event) = body.decode(&bytes, &limits) else { return Checked::Protocol };
            if let EventKind::Data(span) = event.kind {
                found.extend_from_slice(span.of(&bytes));
            }
            let needs_more = event.kind == EventKind::NeedMore;
            bytes.drain(..event.consumed);
            if needs_more {
                break;
            }
        }
        if found.windows(wanted.len().max(1)).any(|part| part == wanted.as_bytes()) || wanted.is_empty() {
            return Checked::Passed;
        }
        if body.is_done() || found.len() >= BODY_MOST {
            return Checked::Body;
        }
        match read(&stream, &mut bytes).await {
            Some(true) => {}
            Some(false) if body.finish().is_ok() => return Checked::Body,
            Some(false) | None => return Checked::Reset,
        }
    }
}

/// A call of `grpc.health.v1.Health/Check`.
fn grpc_request(service: &str, host: &str, left: Duration) -> Vec<u8> {
    let (mut message, mut timeout) = (Vec::new(), Vec::new());
    grpc::health::request(service, &mut message);
    grpc::timeout::write(left, &mut timeout);
    let (path, timeout) = (grpc::health::PATH, String::from_utf8_lossy(&timeout));
    let length = grpc::PREFIX + message.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/grpc\r\nTE: trailers\r\n\
         Grpc-Timeout: {timeout}\r\nUser-Agent: ringway-health\r\nContent-Length: {length}\r\nConnection: te\r\n\r\n"
    );
    let prefix = grpc::Prefix::DATA.to_bytes(message.len() as u32);
    [head.as_bytes(), &prefix, &message].concat()
}

/// Makes such a call, and reads what it comes to.
async fn calls(engine: &Engine, to: &Probed<'_>, request: &[u8]) -> Checked {
    let (stream, mut bytes, head) = match begin(engine, to, request, Method::Post).await {
        Ok(begun) => begun,
        Err(failed) => return failed,
    };
    let limits = Limits::default().of_responses();
    if head.status != 200 {
        return Checked::Status;
    }
    let of_head = is_ok(head.fields.iter().map(|field| (field.name.of(&bytes), field.value.of(&bytes))));
    let mut body = Body::new(head.framing);
    if body.is_done() {
        // Without a message it cannot be well.
        return if of_head == Some(false) { Checked::GrpcStatus } else { Checked::Protocol };
    }
    bytes.drain(..head.len);
    let (mut messages, mut serving) = (Messages::new(Reader::new(BODY_MOST as u32)), None);
    loop {
        while !body.is_done() && !bytes.is_empty() {
            let Ok(event) = body.decode(&bytes, &limits) else { return Checked::Protocol };
            match event.kind {
                EventKind::Data(span) => {
                    let mut left = span.of(&bytes);
                    while !left.is_empty() {
                        let Ok((taken, incoming)) = messages.next(left) else { return Checked::Protocol };
                        // There is one message, and it is not compressed, as nothing was said of that.
                        if let Some(incoming) = incoming
                            && (serving.is_some() || incoming.prefix.is_compressed())
                        {
                            return Checked::Protocol;
                        } else if let Some(incoming) = incoming {
                            serving = grpc::health::response(incoming.payload);
                            if serving.is_none() {
                                return Checked::Protocol;
                            }
                        }
                        left = left.get(taken..).unwrap_or_default();
                    }
                }
                EventKind::Trailers(trailers) => {
                    return match (is_ok(trailers.iter(&bytes)), serving) {
                        (Some(true), Some(Serving::Serving)) => Checked::Passed,
                        (Some(true), Some(_)) => Checked::NotServing,
                        (Some(false), _) => Checked::GrpcStatus,
                        (None, _) | (Some(true), None) => Checked::Protocol,
                    };
                }
                EventKind::NeedMore | EventKind::End => {}
            }
            bytes.drain(..event.consumed);
            if event.kind == EventKind::NeedMore {
                break;
            }
        }
        if body.is_done() {
            // An answer of gRPC ends with its status.
            return Checked::Protocol;
        }
        if read(&stream, &mut bytes).await != Some(true) {
            return Checked::Reset;
        }
    }
}

/// Whether a call came to the code 0, where these fields say so.
fn is_ok<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<bool> {
    Said::of(fields).status.map(|status| grpc::Code::read(status) == Some(grpc::Code::Ok))
}

/// Reads up to the head of an answer, with which `bytes` begin then.
async fn read_head(
    stream: &Stream,
    bytes: &mut Vec<u8>,
    head: &mut ResponseHead,
    limits: &http1::Limits,
    method: Method,
) -> Result<(), Checked> {
    let mut scan = HeadScan::default();
    loop {
        match http1::decode_response(bytes, &mut scan, limits, method, head) {
            Ok(Progress::Complete) if head.is_interim() => {
                bytes.drain(..head.len);
                scan.reset();
                continue;
            }
            Ok(Progress::Complete) => return Ok(()),
            Ok(Progress::Partial) => {}
            Err(_) => return Err(Checked::Protocol),
        }
        if read(stream, bytes).await != Some(true) {
            return Err(Checked::Reset);
        }
    }
}

/// Adds what comes next: false at the end, nothing where the connection broke.
async fn read(stream: &Stream, bytes: &mut Vec<u8>) -> Option<bool> {
    let lease = poll_fn(|cx| stream.poll_read(cx)).await.ok()?;
    bytes.extend_from_slice(lease.as_deref().unwrap_or_default());
    Some(lease.is_some())
}

impl Pool {
    /// A check of one endpoint ended.
    fn checked(&self, at: usize, plan: &Health, checked: Checked) {
        let is_passed = checked == Checked::Passed;
        self.series().event(if is_passed { UpstreamEvent::CheckPassed } else { UpstreamEvent::CheckFailed });
        let Some(is_well) = self.shared().health(at).and_then(|known| known.add(plan, checked)) else { return };
        if self.shared().set_standing(at, Cause::Unhealthy, !is_well, self.now()) {
            self.tell(Change::health(at, is_well, checked.name()));
        }
    }
}
