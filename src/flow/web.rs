//! A call of gRPC-Web, on its way to a server of gRPC and back.

use ringway_proto::grpc::{FrameError, Wire, content_type, web};
use ringway_proto::http1::{Field, Framing, Known, Version, values};

use super::exchange::Exchange;

/// What makes gRPC of a call, and gRPC-Web of its answer.
pub(crate) struct Web {
    request: web::Request,
    room: Vec<u8>,
    /// Until the answer begins.
    answer: Option<Box<WebAnswer>>,
}

/// What makes gRPC-Web of an answer.
pub(crate) struct WebAnswer {
    response: web::Response,
    wire: Wire,
    room: Vec<u8>,
}

/// Begins with a call of gRPC-Web, whose messages may have `most` bytes; other requests are left as they are. Whoever
/// speaks HTTP/1.0 takes no trailers in any form.
#[cold]
pub(crate) fn begin(exchange: &mut Exchange, most: u32) {
    let Some(wire) = exchange.rpc.filter(|wire| wire.is_web() && exchange.head.version == Version::Http11) else {
        return;
    };
    let is_text = wire == Wire::WebText;
    let mut edits = std::mem::take(&mut exchange.edits);
    edits.next_policy();
    edits.set(b"content-type", |out| {
        let rest = format_of(&exchange.head.fields, exchange.head_bytes());
        out.extend_from_slice(Wire::Grpc.content_type().as_bytes());
        out.extend_from_slice(rest);
    });
    exchange.edits = edits;
    let wire = accepted(exchange).unwrap_or(wire);
    // What its length will be is not known before it was read.
    if is_text && matches!(exchange.head.framing, Framing::Length(length) if length > 0) {
        exchange.head.framing = Framing::Chunked;
    }
    let response = web::Response::new(wire == Wire::WebText, most);
    let answer = Some(Box::new(WebAnswer { response, wire, room: Vec::new() }));
    exchange.web = Some(Box::new(Web { request: web::Request::new(is_text, most), room: Vec::new(), answer }));
}

/// The first form of gRPC-Web that the client says it takes.
fn accepted(exchange: &Exchange) -> Option<Wire> {
    let mut kinds = exchange.fields().all("accept").flat_map(|value| value.split(|&byte| byte == b','));
    kinds.find_map(|kind| content_type(values::trim(kind)).map(|(wire, _)| wire).filter(|wire| wire.is_web()))
}

/// What stands behind the content type of a call or an answer; nothing where it is none of gRPC.
fn format_of<'a>(fields: &[Field], bytes: &'a [u8]) -> &'a [u8] {
    let kind = fields.iter().find(|field| field.known == Known::ContentType);
    kind.and_then(|kind| content_type(kind.value.of(bytes))).map(|(_, rest)| rest).unwrap_or_default()
}

/// Whether an answer is one of gRPC.
pub(crate) fn is_grpc(fields: &[Field], bytes: &[u8]) -> bool {
    let kind = fields.iter().find(|field| field.known == Known::ContentType);
    kind.and_then(|kind| content_type(kind.value.of(bytes))).is_some_and(|(wire, _)| wire == Wire::Grpc)
}

impl Web {
    /// Looks at a piece of the body: what goes on instead of it, if anything does.
    pub(crate) fn request(&mut self, data: &[u8]) -> Result<Option<&[u8]>, FrameError> {
        self.room.clear();
        self.request.push(data, &mut self.room)?;
        Ok(self.is_text().then_some(&self.room))
    }

    /// The body has ended.
    pub(crate) fn request_ends(&self) -> Result<(), FrameError> {
        self.request.finish()
    }

    /// Whether what comes is not what goes on.
    pub(crate) fn is_text(&self) -> bool {
        self.request.is_text()
    }
}

impl WebAnswer {
    /// Begins with an answer of gRPC, whose head has these fields: the client is told what it gets.
    pub(crate) fn begin(exchange: &mut Exchange, bytes: &[u8]) -> Option<Box<Self>> {
        let answer = exchange.web.as_mut()?.answer.take()?;
        let mut edits = std::mem::take(&mut exchange.answer);
        edits.set(b"content-type", |out| {
            out.extend_from_slice(answer.wire.content_type().as_bytes());
            out.extend_from_slice(format_of(&exchange.response.fields, bytes));
        });
        exchange.answer = edits;
        Some(answer)
    }

    /// Looks at a piece of the body: what goes on instead of it, if anything does.
    pub(crate) fn piece(&mut self, data: &[u8]) -> Result<Option<&[u8]>, FrameError> {
        self.room.clear();
        self.response.push(data, &mut self.room)?;
        Ok(self.response.is_text().then_some(&self.room))
    }

    /// The trailers as the end of the body.
    pub(crate) fn trailers<'a>(
        &mut self,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<&[u8], FrameError> {
        self.room.clear();
        self.response.trailers(fields, &mut self.room)?;
        Ok(&self.room)
    }
}
