//! The answer to a client while it goes there: its head, the body in the coding that the client understands, and trailers.

use ringway_proto::grpc::FrameError;
use ringway_proto::http1::{self, Body, EventKind, Framing, Version};

use super::grpc;
use super::write::{has_room, put_chunk, put_trailers, send_data, write_client};
use crate::flow::encode::{self, Coding};
use crate::flow::web::WebAnswer;
use crate::flow::{Client, Exchange, Input, way_out, web};

/// What a client of gRPC-Web is told where a server says nothing.
const NO_STATUS: [(&[u8], &[u8]); 2] = [(b"grpc-status", b"2"), (b"grpc-message", b"the upstream sent no status")];

/// The response while its body is under way.
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) coding: Coding,
    /// Whether the client finds the end of the body by the end of the connection.
    pub(super) until_close: bool,
    pub(super) close: bool,
    pub(super) reusable: bool,
    /// It is one to a call of gRPC, whose status comes in trailers.
    pub(super) is_rpc: bool,
    /// What makes gRPC-Web of it, where that is wanted.
    pub(super) web: Option<Box<WebAnswer>>,
}

impl Answer {
    /// The response whose head was read goes to the client.
    fn new(client: &Client, exchange: &Exchange) -> Self {
        let response = &exchange.response;
        let framing = response.framing;
        let to_new_client = exchange.head.version == Version::Http11;
        let unbounded = matches!(framing, Framing::Chunked | Framing::UntilClose);
        let coding = if unbounded && to_new_client { Coding::Chunked } else { Coding::Identity };
        let until_close = unbounded && !to_new_client;
        // A request body that has not come whole would be taken for the next request.
        let unread = !exchange.body.is_done();
        Self {
            body: Body::new(framing),
            coding,
            until_close,
            close: until_close || unread || encode::must_close(client, exchange),
            reusable: response.keep_alive && !unread,
            is_rpc: false,
            web: None,
        }
    }

    /// Writes the head, which `input` begins with.
    pub(super) fn begin(client: &mut Client, exchange: &mut Exchange, input: &mut Input, written: &mut u64) -> Self {
        let mut answer = Self::new(client, exchange);
        if exchange.rpc.is_some() {
            answer.begin_rpc(exchange, input.bytes());
        }
        if answer.body.is_done() {
            let bytes = input.bytes();
            let fields = exchange.response.fields.iter();
            grpc::answered(client, exchange, fields.map(|field| (field.name.of(bytes), field.value.of(bytes))));
        }
        write_head(client, exchange, input, written, answer.coding, answer.close);
        answer
    }

    /// An answer to a call of gRPC, which may be none of gRPC itself.
    #[cold]
    fn begin_rpc(&mut self, exchange: &mut Exchange, bytes: &[u8]) {
        self.is_rpc = web::is_grpc(&exchange.response.fields, bytes);
        let answer = if self.is_rpc { WebAnswer::begin(exchange, bytes) } else { None };
        if answer.is_some() && !self.body.is_done() {
            // Trailers come behind what the server sends.
            (self.web, self.coding) = (answer, Coding::Chunked);
        }
    }

    /// Ends the body of an answer of gRPC-Web with these fields, unless that is inside a message.
    #[cold]
    pub(super) fn end_web<'f>(
        &mut self,
        client: &Client,
        written: &mut u64,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
    ) -> Result<(), &'static str> {
        let Some(web) = &mut self.web else { return Ok(()) };
        let frame = web.trailers(fields).map_err(FrameError::code)?;
        write_client(client, written, |outbox| {
            outbox.write(|out| {
                put_chunk(out, frame);
                out.extend_from_slice(http1::encode::LAST_CHUNK);
            });
        });
        self.web = None;
        Ok(())
    }

    /// Moves what is there of the body to the client, as long as it has at most `high` bytes to send. True when that was
    /// all; an error is the rule that the body breaks.
    pub(super) fn send(
        &mut self,
        client: &Client,
        exchange: &Exchange,
        input: &mut Input,
        written: &mut u64,
        high: usize,
    ) -> Result<bool, &'static str> {
        let limits = client.listener().limits.of_responses();
        let chunked = self.coding == Coding::Chunked;
        let mut failed = None;
        while !self.body.is_done() && !input.is_empty() && has_room(&client.stream, high) {
            let event = match self.body.decode(input.bytes(), &limits) {
                Ok(event) => event,
                Err(error) => {
                    failed = Some(error.code());
                    break;
                }
            };
            match event.kind {
                EventKind::Data(span) => {
                    let instead = self.web.as_mut().map(|web| web.piece(span.of(input.bytes())));
                    match instead {
                        None | Some(Ok(None)) => {
                            write_client(client, written, |outbox| send_data(outbox, input, span, chunked));
                        }
                        Some(Ok(Some(text))) => {
                            write_client(client, written, |outbox| outbox.write(|out| put_chunk(out, text)));
                        }
                        Some(Err(error)) => {
                            failed = Some(error.code());
                            break;
                        }
                    }
                }
                EventKind::Trailers(trailers) => {
                    let bytes = input.bytes();
                    grpc::answered(client, exchange, trailers.iter(bytes));
                    if self.web.is_some() {
                        failed = self.end_web(client, written, trailers.iter(bytes)).err();
                    } else if chunked {
                        write_client(client, written, |outbox| outbox.write(|out| put_trailers(out, trailers, bytes)));
                    }
                }
                EventKind::End if chunked && self.web.is_none() => {
                    write_client(client, written, |outbox| {
                        outbox.write(|out| out.extend_from_slice(http1::encode::LAST_CHUNK));
                    });
                }
                EventKind::End => {}
                EventKind::NeedMore => {
                    input.consume(event.consumed);
                    input.gather();
                    break;
                }
            }
            input.consume(event.consumed);
        }
        let done = self.body.is_done();
        if done && failed.is_none() && self.web.is_some() {
            failed = self.end_web(client, written, NO_STATUS.into_iter()).err();
        }
        client.stream.flush();
        failed.map_or(Ok(done), Err)
    }
}

/// Writes the head of the response that was read, past the policies that the request met.
pub(super) fn write_head(
    client: &mut Client,
    exchange: &mut Exchange,
    input: &mut Input,
    written: &mut u64,
    coding: Coding,
    close: bool,
) {
    way_out(client, exchange);
    let before = *written;
    write_client(client, written, |outbox| {
        outbox.write(|out| encode::response_head(out, client, exchange, input.bytes(), coding, close));
    });
    exchange.traffic.heads += *written - before;
    exchange.ledger.status = exchange.response.status;
    input.consume(exchange.response.len);
}
