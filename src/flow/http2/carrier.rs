//! What carries streams as HTTP/1.1, one after the other: this end of a pair of streams, whose other end is a client.

use std::task::{Context, Poll};

use ringway_proto::http1::{Body, Event, Framing, HeadScan, Method, RequestHead, Span, Trailers, encode};
use ringway_proto::http2;
use ringway_runtime::engine::Stream;

use super::super::client::Client;
use super::super::connection;
use super::super::input::Input;
use super::head;

/// Bytes each way that count as sent before the other end has read them.
const PIPE: usize = 16 << 10;

/// A carrier, and how far it is with the stream that it carries.
pub(super) struct Carrier {
    pub(super) stream: http2::Stream,
    /// The other end is a client.
    pub(super) to: Stream,
    pub(super) request: Request,
    pub(super) answer: Answer,
    /// What came of the answer and was not dealt with.
    pub(super) input: Input,
    pub(super) scan: HeadScan,
    /// What is there of the answer says nothing without more.
    pub(super) is_stuck: bool,
}

/// How far the request is.
#[derive(Default)]
pub(super) struct Request {
    pub(super) method: Method,
    /// More of it may come.
    pub(super) is_open: bool,
    /// Its body goes on in chunks.
    pub(super) is_chunked: bool,
    /// It asks for another protocol. What comes before that is spoken waits in `early`.
    pub(super) is_upgrade: bool,
    pub(super) early: Vec<u8>,
    /// Bytes of the body that the peer was not told to be out of the way.
    pub(super) held: usize,
}

/// How far the answer is.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) at: At,
    /// So many bytes at the front of the input are data that waits for its turn.
    pub(super) data: usize,
    /// The body ends with them.
    pub(super) ends: bool,
    /// What was found behind them.
    pub(super) after: Option<Event>,
    /// Another request may follow on the carrier.
    pub(super) keep_alive: bool,
}

#[derive(Default)]
pub(super) enum At {
    /// The head is to come.
    #[default]
    Head,
    Body(Body),
    /// Another protocol is spoken.
    Raw,
}

impl Carrier {
    /// A carrier for a stream of this client.
    pub(super) fn new(client: &Client, stream: http2::Stream) -> Box<Self> {
        let engine = &client.state.engine;
        // As a PROXY header to an upstream would have it.
        let (to, end) = engine.pair(PIPE, client.stream.local_address().ok());
        engine.spawn(connection::serve(client.carried(end)));
        let (input, scan) = (Input::default(), HeadScan::default());
        Box::new(Self {
            stream,
            to,
            request: Request::default(),
            answer: Answer::default(),
            input,
            scan,
            is_stuck: false,
        })
    }

    /// Makes it ready for another stream. False where it cannot carry one.
    pub(super) fn is_ready_again(&mut self) -> bool {
        let is_over = !self.request.is_open && !self.request.is_upgrade && self.input.is_empty();
        if !is_over || !self.answer.keep_alive || !self.to.is_quiet() {
            return false;
        }
        (self.request, self.answer) = (Request::default(), Answer::default());
        self.scan.reset();
        self.is_stuck = false;
        true
    }

    /// Passes on the head of a request that the codec has checked. `protocol` is that of an extended CONNECT.
    pub(super) fn begin(
        &mut self,
        client: &Client,
        head: &RequestHead,
        text: &[u8],
        protocol: Option<&[u8]>,
        end: bool,
    ) {
        let is_upgrade = protocol.is_some();
        self.request = Request {
            method: if is_upgrade { Method::Get } else { head.method },
            is_open: !end,
            is_chunked: head.framing == Framing::Chunked && !is_upgrade,
            is_upgrade,
            ..Request::default()
        };
        let engine = &client.state.engine;
        let random = if is_upgrade { [engine.random(), engine.random()] } else { [0; 2] };
        self.to.with_outbox(|outbox| outbox.write(|out| head::write(out, head, text, protocol, random)));
        self.to.flush();
    }

    /// Passes on a piece of the body, which lies in `input`.
    pub(super) fn body(&mut self, input: &Input, data: Span, end: bool) {
        let Request { is_chunked, is_upgrade, early, held, is_open, .. } = &mut self.request;
        *held += data.len();
        *is_open = !end;
        let is_raw = matches!(self.answer.at, At::Raw);
        if *is_upgrade && !is_raw {
            // Bounded by the window, as nobody says that it is out of the way.
            early.extend_from_slice(data.of(input.bytes()));
            return;
        }
        self.to.with_outbox(|outbox| {
            if !data.is_empty() {
                if *is_chunked {
                    outbox.write(|out| encode::chunk_head(out, data.len()));
                }
                input.send(data, outbox);
                if *is_chunked {
                    outbox.write(|out| out.extend_from_slice(encode::CRLF));
                }
            }
            if end && *is_chunked {
                outbox.write(|out| out.extend_from_slice(encode::LAST_CHUNK));
            }
        });
        self.to.flush();
        if end && is_raw {
            // Whether it hears of it shows in what it answers.
            let _ = self.to.shut_down_write();
        }
    }

    /// Ends the body with trailers. Behind a body of stated length there is no place for any.
    pub(super) fn trailers(&mut self, trailers: Trailers, text: &[u8]) {
        if self.request.is_upgrade || !self.request.is_chunked {
            return self.body(&Input::default(), Span::default(), true);
        }
        self.request.is_open = false;
        self.to.with_outbox(|outbox| {
            outbox.write(|out| {
                out.extend_from_slice(encode::LAST_CHUNK_BEFORE_TRAILERS);
                for (name, value) in trailers.iter(text) {
                    encode::field(out, name, value);
                }
                out.extend_from_slice(encode::CRLF);
            });
        });
        self.to.flush();
    }

    /// The other protocol is spoken from now on: what came too early follows.
    pub(super) fn switch(&mut self) {
        self.answer.at = At::Raw;
        let early = std::mem::take(&mut self.request.early);
        if !early.is_empty() {
            self.to.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(&early)));
            self.to.flush();
        }
        if !self.request.is_open {
            let _ = self.to.shut_down_write();
        }
    }

    /// How many bytes of the body are out of the way that were not before.
    pub(super) fn poll_taken(&mut self, cx: &Context<'_>) -> usize {
        let is_early = self.request.is_upgrade && !matches!(self.answer.at, At::Raw);
        if self.request.held == 0 || is_early || self.to.poll_unsent_at_most(cx, 0).is_pending() {
            return 0;
        }
        std::mem::take(&mut self.request.held)
    }

    /// Reads more of the answer. False when nothing is there.
    pub(super) fn poll_more(&mut self, cx: &Context<'_>) -> Poll<Option<()>> {
        self.input.gather();
        match self.to.poll_read(cx) {
            Poll::Ready(Ok(Some(lease))) => {
                self.input.add(lease);
                Poll::Ready(Some(()))
            }
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Carriers that are kept for the next streams of a connection.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "streams hold the box: moving it would copy the whole carrier")]
pub(super) struct Spare(Vec<Box<Carrier>>);

impl Spare {
    /// More are not kept.
    const MOST: usize = 32;

    pub(super) fn take(&mut self, client: &Client, stream: http2::Stream) -> Box<Carrier> {
        while let Some(mut carrier) = self.0.pop() {
            if carrier.to.is_quiet() {
                carrier.stream = stream;
                return carrier;
            }
        }
        Carrier::new(client, stream)
    }

    pub(super) fn keep(&mut self, mut carrier: Box<Carrier>) {
        if self.0.len() < Self::MOST && carrier.is_ready_again() {
            self.0.push(carrier);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
