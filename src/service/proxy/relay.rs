//! One request and its response between a client and an endpoint: both directions at once, with backpressure.
//!
//! Each side is read only while the other side has less than [`stream_buffer`] bytes to send; a small exchange never waits for
//! anything but the endpoint's answer.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use ringway_proto::grpc::{FrameError, message};
use ringway_proto::http1::{self, EventKind, Framing, HeadScan, Progress as Decoded, Version};
use ringway_runtime::buffer::Lease;
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::Stream;

use super::answer::{Answer, write_head};
use super::discard::Rest;
use super::tries::{Failed, Tries};
use super::websocket;
use super::write::{has_room, put_chunk, put_fields, put_trailers, send_data, write_client};
use crate::flow::encode::{self, Coding};
use crate::flow::{After, Bound, Client, Exchange, Input, Progress, rpc};
use crate::observe::{Reason, Timeout, UpstreamFailure};
use crate::plan::{Sticky, UpstreamTimeouts};
use crate::upstream::Connection;

/// What framing adds to a piece of a body at most.
pub(super) const ROOM: usize = 32;
/// How an attempt ended well.
pub(super) enum Sent {
    /// The response went to the client.
    Done { after: After, reusable: bool },
    /// The whole request went out then, and nothing came yet: it goes to another endpoint as well, so long after that.
    Slow { whole: Instant, after: Duration },
    /// The endpoint switched protocols; these bytes came after its head. With what was agreed on where frames of
    /// WebSocket are to be looked at.
    Upgraded(Box<(Input, Option<websocket::Terms>)>),
    /// The response is not the answer unless nothing better comes: the request goes out again then.
    Held { at: Instant, rest: Box<Rest> },
}

/// How an attempt failed.
pub(super) struct Failure {
    pub(super) reason: Reason,
    /// What the endpoint did wrong; nothing when it was the client.
    pub(super) kind: Option<UpstreamFailure>,
    /// More of it, for the log alone.
    pub(super) detail: &'static str,
    /// How the try failed, where another one may do better.
    pub(super) failed: Option<Failed>,
    /// A part of the response went to the client already, or the client is gone: no other answer is possible.
    pub(super) started: bool,
    /// What becomes of the client's connection then.
    pub(super) after: After,
}

impl Failure {
    /// Why the answer broke off, unless the client left by itself.
    pub(super) fn breaks_off(&self) -> Option<Reason> {
        (self.after != After::Gone).then_some(self.reason)
    }
}

/// Why the wait for the next event ended with no event.
#[derive(Clone, Copy)]
enum Due {
    Total,
    FirstByte,
    Try,
    Hedge,
    UpstreamIdle,
    ClientBody,
    ClientBodyRate,
    ClientSend,
    ClientSendRate,
}

enum Event {
    Client(io::Result<Option<Lease>>),
    Upstream(io::Result<Option<Lease>>),
    /// A side that was full has room, or is broken.
    ClientRoom(bool),
    UpstreamRoom(bool),
    Due,
}

/// What a relay waits for.
struct Next {
    /// The next time something must have happened, and what that is.
    at: Instant,
    due: Due,
    /// The sides that have enough to send, so that the other one is not read.
    client_full: bool,
    upstream_full: bool,
}

pub(super) struct Relay<'a, 'p> {
    client: &'a mut Client,
    exchange: &'a mut Exchange,
    connection: &'a Connection,
    tries: &'a mut Tries<'p>,
    /// By when the head of the response must be there, once the whole request is sent: a try is not the client's time.
    try_due: Option<Instant>,
    /// The endpoint that the client's cookie named.
    brought: Option<usize>,
    timeouts: &'a UpstreamTimeouts,
    deadline: Instant,
    /// What the endpoint sent and was not dealt with.
    answer_input: Input,
    scan: HeadScan,
    answer: Option<Answer>,
    /// When the endpoint last did something it was waited for.
    upstream_moved: Instant,
    client_reads: Progress,
    client_takes: Progress,
    /// Bytes written to the client.
    written: u64,
    /// Those of them that the kernel had taken when it was last looked at, less what was left of earlier answers.
    /// Nothing before the client is full for the first time.
    taken: Option<i64>,
    /// The endpoint takes no more of the request body.
    refused_body: bool,
}

impl<'a, 'p> Relay<'a, 'p> {
    pub(super) fn new(
        client: &'a mut Client,
        exchange: &'a mut Exchange,
        connection: &'a Connection,
        tries: &'a mut Tries<'p>,
        brought: Option<usize>,
        deadline: Instant,
    ) -> Self {
        let now = client.now();
        let timeouts = &connection.upstream().timeout;
        Self {
            client,
            exchange,
            connection,
            try_due: None,
            tries,
            brought,
            timeouts,
            deadline,
            answer_input: Input::default(),
            scan: HeadScan::default(),
            answer: None,
            upstream_moved: now,
            client_reads: Progress::default(),
            client_takes: Progress::default(),
            written: 0,
            taken: None,
            refused_body: false,
        }
    }

    fn upstream(&self) -> &'a Stream {
        self.connection.stream()
    }

    /// Begins with the request.
    pub(super) fn begin(&mut self) {
        send_request(self.client, self.exchange, self.connection);
        self.exchange.ledger.sent = self.client.now();
        self.exchange.ledger.first_byte = Instant::default();
        if self.exchange.body.is_done() {
            if let Some(copy) = self.tries.copy {
                copy.is_whole = true;
            }
            self.upstream().flush();
        }
    }

    /// Begins with a response that was held back: it is the client's now. `input` begins with its head.
    pub(super) fn resume(&mut self, input: Input) {
        self.answer_input = input;
        self.begin_answer();
    }

    /// Begins with a response that begins with `input`.
    pub(super) fn read_on(&mut self, input: Input) {
        self.answer_input = input;
    }

    /// Goes on to the end of the response.
    pub(super) async fn run(&mut self) -> Result<Sent, Box<Failure>> {
        loop {
            if self.body_goes_on() {
                self.send_body()?;
            }
            if !self.answer_input.is_empty()
                && let Some(end) = self.receive_head()?
            {
                return Ok(end);
            }
            if self.answer.is_some() && self.send_answer()? {
                return Ok(self.finish());
            }
            let next = self.next();
            self.client.timer.set(next.at);
            match self.wait(&next).await {
                Event::Client(read) => self.client_read(read)?,
                Event::Upstream(read) => self.upstream_read(read)?,
                Event::ClientRoom(true) | Event::UpstreamRoom(true) => self.upstream_moved = self.client.now(),
                Event::ClientRoom(false) => return Err(self.client_gone().into()),
                // The endpoint's answer, if there is one, tells more than the failed write.
                Event::UpstreamRoom(false) => self.refused_body = true,
                // What moved meanwhile moves the deadline.
                Event::Due if matches!(next.due, Due::Hedge) => {
                    // Only now, so that a time which moved meanwhile is no reason.
                    if let Some(slow) = self.slow() {
                        return Ok(slow);
                    }
                }
                Event::Due if self.next().at > self.client.now() => {}
                Event::Due => return Err(self.timed_out(next.due).into()),
            }
        }
    }

    /// Moves what is there of the request body to the endpoint.
    fn send_body(&mut self) -> Result<(), Failure> {
        let upstream = self.connection.stream();
        let chunked = self.exchange.head.framing == Framing::Chunked;
        while self.body_goes_on() && !self.client.input.is_empty() && has_room(upstream, self.high()) {
            let limits = self.client.listener().limits.of_requests();
            let event = match self.exchange.body.decode(self.client.input.bytes(), &limits) {
                Ok(event) => event,
                Err(error) => return Err(self.client_fault(Reason::Body(error))),
            };
            match event.kind {
                EventKind::Data(span) => {
                    self.tries.body_bytes += span.len() as u64;
                    if self.tries.body_bytes > self.exchange.body_limit {
                        // The decoder is past these bytes: they must never be decoded again.
                        self.consume(event.consumed);
                        return Err(self.client_fault(Reason::BodyTooLarge));
                    }
                    if self.exchange.web.is_some() && self.send_web(span, event.consumed)? {
                        continue;
                    }
                    let input = &self.client.input;
                    upstream.with_outbox(|outbox| send_data(outbox, input, span, chunked));
                    self.tries.sent(self.exchange, span.len() + ROOM, |kept| {
                        if chunked {
                            http1::encode::chunk_head(kept, span.len());
                        }
                        kept.extend_from_slice(span.of(input.bytes()));
                        if chunked {
                            kept.extend_from_slice(http1::encode::CRLF);
                        }
                    });
                    self.client.state.metrics.upstream_sent(span.len() as u64);
                }
                EventKind::Trailers(_) | EventKind::End if self.web_is_cut() => {
                    self.consume(event.consumed);
                    return Err(self.client_fault(Reason::Grpc(FrameError::Truncated)));
                }
                EventKind::Trailers(trailers) => {
                    let bytes = self.client.input.bytes();
                    upstream.with_outbox(|outbox| outbox.write(|out| put_trailers(out, trailers, bytes)));
                    self.tries.sent(self.exchange, event.consumed + ROOM, |kept| put_trailers(kept, trailers, bytes));
                }
                EventKind::End => {
                    if chunked {
                        let last = http1::encode::LAST_CHUNK;
                        upstream.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(last)));
                        self.tries.sent(self.exchange, last.len(), |kept| kept.extend_from_slice(last));
                    }
                }
                EventKind::NeedMore => {
                    self.consume(event.consumed);
                    self.client.input.gather();
                    break;
                }
            }
            self.consume(event.consumed);
            self.upstream_moved = self.client.now();
        }
        if let Some(copy) = self.tries.copy {
            copy.is_whole = self.exchange.body.is_done();
        }
        upstream.flush();
        if self.exchange.head.expect_continue
            && !self.tries.continued
            && self.answer.is_none()
            && !self.exchange.body.is_done()
            && self.client.input.is_empty()
        {
            // The route accepted and the endpoint is reached: the client may send its body.
            self.tries.continued = true;
            let before = self.written;
            write_client(self.client, &mut self.written, |outbox| {
                outbox.write(|out| {
                    http1::encode::status_line(out, Version::Http11, 100, None);
                    out.extend_from_slice(http1::encode::CRLF);
                });
            });
            self.exchange.traffic.heads += self.written - before;
            self.client.stream.flush();
        }
        Ok(())
    }

    /// Looks at a piece of the body of a call of gRPC-Web, the input up to `consumed`. True when it was sent in another
    /// form, and is dealt with.
    #[cold]
    fn send_web(&mut self, span: http1::Span, consumed: usize) -> Result<bool, Failure> {
        let Some(mut web) = self.exchange.web.take() else { return Ok(false) };
        let is_last = self.exchange.body.is_done();
        let mut sent = web.request(span.of(self.client.input.bytes())).map(|instead| {
            let Some(bytes) = instead else { return false };
            if !bytes.is_empty() {
                self.upstream().with_outbox(|outbox| outbox.write(|out| put_chunk(out, bytes)));
                self.tries.sent(self.exchange, bytes.len() + ROOM, |kept| put_chunk(kept, bytes));
                self.client.state.metrics.upstream_sent(bytes.len() as u64);
            }
            true
        });
        // A body of stated length ends with its last byte, and says nothing of it.
        if is_last && sent.is_ok() {
            sent = web.request_ends().and(sent);
            if sent == Ok(true) {
                let last = http1::encode::LAST_CHUNK;
                self.upstream().with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(last)));
                self.tries.sent(self.exchange, last.len(), |kept| kept.extend_from_slice(last));
            }
        }
        self.exchange.web = Some(web);
        if sent != Ok(false) {
            // The decoder is past these bytes: they must never be decoded again.
            self.consume(consumed);
            self.upstream_moved = self.client.now();
        }
        sent.map_err(|error| self.client_fault(Reason::Grpc(error)))
    }

    /// Whether the body of a call of gRPC-Web would end inside a message.
    fn web_is_cut(&self) -> bool {
        self.exchange.web.as_ref().is_some_and(|web| web.request_ends().is_err())
    }

    /// Bytes of the request body are dealt with.
    fn consume(&mut self, bytes: usize) {
        self.client.input.consume(bytes);
        self.exchange.traffic.received += bytes as u64;
    }

    /// Decodes response heads as they come. Interim ones go on to the client at once.
    fn receive_head(&mut self) -> Result<Option<Sent>, Failure> {
        while self.answer.is_none() && !self.answer_input.is_empty() {
            let limits = self.client.listener().limits.of_responses();
            let method = self.exchange.head.method;
            let decoded = http1::decode_response(
                self.answer_input.bytes(),
                &mut self.scan,
                &limits,
                method,
                &mut self.exchange.response,
            );
            match decoded {
                Ok(Decoded::Complete) => {}
                Ok(Decoded::Partial) => {
                    self.answer_input.gather();
                    return Ok(None);
                }
                Err(error) => return Err(self.protocol_error(error.code())),
            }
            if self.exchange.response.is_interim() {
                self.forward_interim();
                continue;
            }
            if self.exchange.response.upgrade {
                return self.upgrade().map(Some);
            }
            let bytes = self.answer_input.bytes();
            if let Some(at) = self.tries.instead_of(self.client, self.exchange, bytes) {
                return Ok(Some(self.hold(at)));
            }
            self.begin_answer();
        }
        Ok(None)
    }

    fn forward_interim(&mut self) {
        let exchange = &*self.exchange;
        // A client of HTTP/1.0 knows no interim responses (RFC 9110 section 15.2), and 100 was ours to send.
        if exchange.head.version == Version::Http11 && exchange.response.status != 100 {
            let bytes = self.answer_input.bytes();
            let before = self.written;
            write_client(self.client, &mut self.written, |outbox| {
                outbox.write(|out| encode::interim_head(out, exchange, bytes));
            });
            self.exchange.traffic.heads += self.written - before;
            self.client.stream.flush();
        }
        self.answer_input.consume(self.exchange.response.len);
    }

    /// The response that was read is the client's only if no other try comes about.
    fn hold(&mut self, at: Instant) -> Sent {
        let response = &self.exchange.response;
        let keep_alive = response.keep_alive && !self.body_goes_on() && !self.refused_body;
        let input = std::mem::take(&mut self.answer_input);
        Sent::Held { at, rest: Box::new(Rest::new(response, input, keep_alive)) }
    }

    fn upgrade(&mut self) -> Result<Sent, Failure> {
        // Raw bytes flow only if the client asked for it and has nothing of its request left to send.
        if !encode::forwards_upgrade(&self.exchange.head, self.exchange.head_bytes()) || !self.exchange.body.is_done() {
            return Err(self.failed(Reason::UpstreamProtocolError, UpstreamFailure::Protocol));
        }
        let websocket = websocket::agree(self.client, self.exchange, self.answer_input.bytes());
        let websocket = websocket.map_err(|error| self.protocol_error(error.code()))?;
        self.add_cookie();
        let (client, exchange) = (&mut *self.client, &mut *self.exchange);
        write_head(client, exchange, &mut self.answer_input, &mut self.written, Coding::Identity, false);
        self.client.stream.flush();
        Ok(Sent::Upgraded(Box::new((std::mem::take(&mut self.answer_input), websocket))))
    }

    /// Writes the head of the response, which goes to the client.
    fn begin_answer(&mut self) {
        self.tries.settle(self.client, self.exchange);
        self.add_cookie();
        self.answer = Some(Answer::begin(self.client, self.exchange, &mut self.answer_input, &mut self.written));
    }

    /// A client that the endpoint's cookie did not bring gets it.
    fn add_cookie(&mut self) {
        if let Some((sticky, value)) = self.connection.cookie(self.brought) {
            let secure = self.exchange.secure;
            self.exchange
                .edit_answer(|edits, _| edits.add(b"set-cookie", |out| set_cookie(out, sticky, value, secure)));
        }
    }

    /// Moves what is there of the response body to the client. True when that was all.
    fn send_answer(&mut self) -> Result<bool, Failure> {
        let Some(answer) = &mut self.answer else { return Ok(false) };
        let high = stream_buffer(self.client);
        let sent = answer.send(self.client, self.exchange, &mut self.answer_input, &mut self.written, high);
        sent.map_err(|code| self.protocol_error(code))
    }

    /// A client of gRPC whose answer has begun is told why it ends: in trailers, which its status is in.
    #[cold]
    pub(super) fn say_why(&mut self, failure: &mut Failure) {
        let Some(answer) = self.answer.as_mut().filter(|answer| answer.is_rpc && answer.coding == Coding::Chunked)
        else {
            return;
        };
        if !failure.started || failure.after != After::Truncated {
            return;
        }
        let reason = failure.reason;
        let code = rpc::code(reason, reason.status());
        let (mut status, mut why, mut text) = (Vec::new(), Vec::new(), Vec::new());
        code.write(&mut status);
        rpc::why(reason, self.exchange.id, &mut why);
        message::write(&why, &mut text);
        let fields = [(&b"grpc-status"[..], &status[..]), (&b"grpc-message"[..], &text[..])];
        if answer.web.is_none() {
            write_client(self.client, &mut self.written, |outbox| {
                outbox.write(|out| put_fields(out, fields.into_iter()));
            });
        } else if answer.end_web(self.client, &mut self.written, fields.into_iter()).is_err() {
            // Inside a message they would be taken for a part of it.
            return;
        }
        self.client.stream.flush();
        rpc::answered(self.client, code);
        // The answer is whole now, whatever it says.
        failure.after = if answer.close { After::Close } else { After::KeepAlive };
    }

    /// What went to the client counts for the request.
    pub(super) fn account(&mut self) {
        self.exchange.traffic.sent += self.written;
    }

    fn finish(&self) -> Sent {
        let Some(answer) = &self.answer else { return Sent::Done { after: After::Gone, reusable: false } };
        let after = if answer.close { After::Close } else { After::KeepAlive };
        // Bytes after the end of a response belong to no request: such a connection is not used again.
        Sent::Done { after, reusable: answer.reusable && self.answer_input.is_empty() }
    }

    /// What may come next.
    fn next(&mut self) -> Next {
        let now = self.client.now();
        let mut next = Next {
            at: self.deadline,
            due: Due::Total,
            client_full: self.client_is_full(),
            upstream_full: self.upstream_is_full(),
        };
        let Next { client_full, upstream_full, .. } = next;
        let mut sooner = |at: Instant, due: Due| {
            if at < next.at {
                (next.at, next.due) = (at, due);
            }
        };
        let body_done = !self.body_goes_on();
        if body_done && self.answer.is_none() {
            sooner(self.whole_at() + self.timeouts.first_byte, Due::FirstByte);
        } else if upstream_full || (self.answer.is_some() && !client_full) {
            sooner(self.upstream_moved + self.timeouts.idle, Due::UpstreamIdle);
        }
        if body_done
            && self.answer.is_none()
            && let Some(after) = self.tries.hedge_after()
            && self.answer_input.is_empty()
        {
            sooner(self.whole_at() + after, Due::Hedge);
        }
        if body_done
            && self.answer.is_none()
            && let Some(due) = self.tries.due(now)
        {
            sooner(*self.try_due.get_or_insert(due), Due::Try);
        }
        let timeouts = &self.client.listener().timeouts;
        if !body_done && !upstream_full {
            match self.client_reads.wait(now, timeouts.body_idle, timeouts) {
                Bound::Idle(at) => sooner(at, Due::ClientBody),
                Bound::Rate(at) => sooner(at, Due::ClientBodyRate),
            }
        } else {
            self.client_reads.pause(now);
        }
        // A stream of HTTP/2 may have to wait for others: its connection is watched instead.
        if client_full && !self.client.is_carried() {
            let taken = self.written as i64 - self.client.stream.unsent() as i64;
            let before = *self.taken.get_or_insert(taken);
            if taken > before {
                self.client_takes.moved((taken - before) as u64, now);
                self.taken = Some(taken);
            }
            match self.client_takes.wait(now, timeouts.send_idle, timeouts) {
                Bound::Idle(at) => sooner(at, Due::ClientSend),
                Bound::Rate(at) => sooner(at, Due::ClientSendRate),
            }
        } else {
            self.client_takes.pause(now);
        }
        next
    }

    /// When the whole request had gone out.
    fn whole_at(&self) -> Instant {
        self.upstream_moved.max(self.exchange.ledger.sent)
    }

    /// What is to be done where nothing came for as long as an answer is waited for alone.
    fn slow(&self) -> Option<Sent> {
        let (whole, after) = (self.whole_at(), self.tries.hedge_after()?);
        (whole + after <= self.client.now()).then_some(Sent::Slow { whole, after })
    }

    /// Whether there is request body still to be read and passed on.
    fn body_goes_on(&self) -> bool {
        !self.exchange.body.is_done() && !self.refused_body
    }

    /// Unsent bytes of one side past which the other is not read.
    fn high(&self) -> usize {
        stream_buffer(self.client)
    }

    fn client_is_full(&self) -> bool {
        self.client.stream.unsent() > self.high()
    }

    fn upstream_is_full(&self) -> bool {
        self.body_goes_on() && self.upstream().unsent() > self.high()
    }

    async fn wait(&self, next: &Next) -> Event {
        let upstream = self.upstream();
        let client = &*self.client;
        let low = self.high() / 2;
        let Next { client_full, upstream_full, .. } = *next;
        // With the body behind, a read tells that the client left; what it sends early waits in the input.
        let read_client = !upstream_full && (client.input.is_empty() || self.body_goes_on());
        poll_fn(|cx| {
            if !client_full && let Poll::Ready(read) = upstream.poll_read(cx) {
                return Poll::Ready(Event::Upstream(read));
            }
            if read_client && let Poll::Ready(read) = client.stream.poll_read(cx) {
                return Poll::Ready(Event::Client(read));
            }
            if client_full && let Poll::Ready(room) = client.stream.poll_unsent_at_most(cx, low) {
                return Poll::Ready(Event::ClientRoom(room.is_ok()));
            }
            if upstream_full && let Poll::Ready(room) = upstream.poll_unsent_at_most(cx, low) {
                return Poll::Ready(Event::UpstreamRoom(room.is_ok()));
            }
            client.timer.poll(cx).map(|()| Event::Due)
        })
        .await
    }

    fn client_read(&mut self, read: io::Result<Option<Lease>>) -> Result<(), Failure> {
        let Ok(Some(lease)) = read else { return Err(self.client_gone()) };
        self.client.state.metrics.client_received(lease.len() as u64);
        self.client_reads.moved(lease.len() as u64, self.client.now());
        self.client.input.add(lease);
        Ok(())
    }

    fn upstream_read(&mut self, read: io::Result<Option<Lease>>) -> Result<(), Failure> {
        match read {
            Ok(Some(lease)) => {
                // A head that has begun gets no more time by coming piece by piece.
                if self.answer.is_some() || self.answer_input.is_empty() {
                    self.upstream_moved = self.client.now();
                }
                if self.exchange.ledger.first_byte == Instant::default() {
                    self.exchange.ledger.first_byte = self.upstream_moved;
                }
                self.client.state.metrics.upstream_received(lease.len() as u64);
                self.answer_input.add(lease);
                Ok(())
            }
            Ok(None) => self.upstream_ended(),
            // Of a connection that requests share: the endpoint promises that it did nothing.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && self.answer.is_none() => {
                Err(Failure { failed: Some(Failed::Refused), ..self.upstream_broke() })
            }
            Err(_) => Err(self.upstream_broke()),
        }
    }

    /// The endpoint sends no more: the end of a body that ends so, and a failure otherwise.
    fn upstream_ended(&mut self) -> Result<(), Failure> {
        let Some(answer) = &mut self.answer else { return Err(self.upstream_broke()) };
        if answer.body.finish().is_err() {
            return Err(self.upstream_broke());
        }
        answer.reusable = false;
        if answer.coding == Coding::Chunked {
            write_client(self.client, &mut self.written, |outbox| {
                outbox.write(|out| out.extend_from_slice(http1::encode::LAST_CHUNK));
            });
        }
        Ok(())
    }

    fn upstream_broke(&self) -> Failure {
        if self.answer.is_some() {
            return self.failed(Reason::UpstreamReset, UpstreamFailure::Truncated);
        }
        let is_reset = self.exchange.ledger.first_byte == Instant::default();
        Failure {
            failed: is_reset.then_some(Failed::Reset),
            ..self.failed(Reason::UpstreamReset, UpstreamFailure::Reset)
        }
    }

    /// A failure that is no fault of the endpoint's.
    fn client_fault(&self, reason: Reason) -> Failure {
        Failure { kind: None, ..self.failed(reason, UpstreamFailure::Reset) }
    }

    fn client_gone(&self) -> Failure {
        Failure { started: true, after: After::Gone, ..self.client_fault(Reason::Internal) }
    }

    /// The endpoint breaks the rule of this code.
    fn protocol_error(&self, detail: &'static str) -> Failure {
        Failure { detail, ..self.failed(Reason::UpstreamProtocolError, UpstreamFailure::Protocol) }
    }

    fn failed(&self, reason: Reason, kind: UpstreamFailure) -> Failure {
        let after = match &self.answer {
            // A body that ends with the connection looks whole unless the connection ends in a reset.
            Some(answer) if answer.until_close => After::Reset,
            _ => After::Truncated,
        };
        Failure { reason, kind: Some(kind), detail: "", failed: None, started: self.answer.is_some(), after }
    }

    fn timed_out(&self, due: Due) -> Failure {
        let (timeout, reason) = match due {
            Due::Total if self.exchange.has_deadline => (Timeout::Deadline, Reason::DeadlineExceeded),
            Due::Total => (Timeout::Total, Reason::UpstreamTimeoutTotal),
            // Never by itself; see `slow`.
            Due::FirstByte | Due::Hedge => (Timeout::FirstByte, Reason::UpstreamTimeoutFirstByte),
            Due::Try => (Timeout::Try, Reason::UpstreamTimeoutTry),
            Due::UpstreamIdle => (Timeout::Idle, Reason::UpstreamTimeoutIdle),
            Due::ClientBody => (Timeout::Body, Reason::BodyTimeout),
            Due::ClientSend => (Timeout::Send, Reason::BodyTimeout),
            Due::ClientBodyRate | Due::ClientSendRate => (Timeout::Rate, Reason::RateTooSlow),
        };
        self.client.state.metrics.timed_out(timeout);
        let failure = self.failed(reason, UpstreamFailure::Timeout);
        match due {
            // It takes nothing, so nothing more can be said to it.
            Due::ClientSend | Due::ClientSendRate => Failure { kind: None, after: After::Reset, ..failure },
            Due::ClientBody | Due::ClientBodyRate => Failure { kind: None, ..failure },
            Due::FirstByte | Due::Try | Due::Hedge | Due::UpstreamIdle => {
                Failure { failed: Some(Failed::Timeout), ..failure }
            }
            // A client that gives little time says nothing of the endpoint.
            Due::Total if self.exchange.has_deadline => Failure { kind: None, ..failure },
            Due::Total => failure,
        }
    }
}

/// Writes the request for an endpoint: its head, and what was kept of its body.
pub(super) fn send_request(client: &Client, exchange: &Exchange, connection: &Connection) {
    connection.stream().with_outbox(|outbox| {
        let before = outbox.len();
        outbox.write(|out| {
            encode::request_head(out, client, exchange);
            out.extend_from_slice(&exchange.kept);
        });
        client.state.metrics.upstream_sent((outbox.len() - before) as u64);
    });
}

/// A cookie for the whole site that scripts of a page do not see.
fn set_cookie(out: &mut Vec<u8>, sticky: &Sticky, value: &[u8], secure: bool) {
    for part in [sticky.cookie.as_bytes(), b"=", value, b"; Path=/; HttpOnly; SameSite=Lax"] {
        out.extend_from_slice(part);
    }
    if let Some(age) = sticky.max_age {
        // Writing to a Vec cannot fail.
        let _ = io::Write::write_fmt(out, format_args!("; Max-Age={}", age.as_secs().max(1)));
    }
    if secure {
        out.extend_from_slice(b"; Secure");
    }
}

/// Unsent bytes of one side of this client's exchanges past which the other side is not read.
pub(super) fn stream_buffer(client: &Client) -> usize {
    client.listener().limits.stream_buffer as usize
}
