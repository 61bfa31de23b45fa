//! What both proxies do with bytes: decode a head, write it anew without its hop-by-hop fields, pass the body on.

use ringway_proto::http1::{
    Body, Field, Framing, HeadScan, Known, Limits, Progress, RequestHead, ResponseHead, Version, decode_request,
    decode_response, encode,
};

/// Bytes one read may take; also the start of every buffer.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// The bytes are not HTTP as they should be: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// One request after the other on one pair of connections.
#[derive(Default)]
pub(super) struct Exchange {
    limits: Limits,
    scan: HeadScan,
    request: RequestHead,
    response: ResponseHead,
    /// The body being passed on; `None` while a head is awaited.
    body: Option<Body>,
}

impl Exchange {
    /// Moves what can be moved of a request from `input` to `out`, and says whether that was all of it.
    pub(super) fn request(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<bool, Refused> {
        if self.body.is_none() {
            let decoded = decode_request(input, &mut self.scan, &self.limits, &mut self.request);
            if decoded.map_err(|_| Refused)? == Progress::Partial {
                return Ok(false);
            }
            let head = &self.request;
            encode::request_line(out, head.method_span.of(input), head.target.whole.of(input));
            fields(out, input, &head.fields, head.framing);
            self.body = Some(Body::new(head.framing));
            take(input, head.len);
        }
        self.pass_body(input, out)
    }

    /// The same for its response; interim ones are dropped.
    pub(super) fn response(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<bool, Refused> {
        while self.body.is_none() {
            let method = self.request.method;
            let decoded = decode_response(input, &mut self.scan, &self.limits, method, &mut self.response);
            if decoded.map_err(|_| Refused)? == Progress::Partial {
                return Ok(false);
            }
            let head = &self.response;
            if head.upgrade {
                return Err(Refused);
            }
            if !head.is_interim() {
                encode::status_line(out, Version::Http11, head.status, Some(head.reason.of(input)));
                fields(out, input, &head.fields, head.framing);
                self.body = Some(Body::new(head.framing));
            }
            take(input, head.len);
        }
        self.pass_body(input, out)
    }

    /// Both sides may carry another request.
    pub(super) fn goes_on(&self) -> bool {
        self.request.keep_alive && self.response.keep_alive
    }

    /// Passes body bytes with the framing they have, once it has been checked.
    fn pass_body(&mut self, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<bool, Refused> {
        let Some(body) = &mut self.body else { return Ok(false) };
        let mut at = 0;
        while !body.is_done() {
            let rest = input.get(at..).unwrap_or_default();
            let event = body.decode(rest, &self.limits).map_err(|_| Refused)?;
            if event.consumed == 0 {
                break;
            }
            at += event.consumed;
        }
        out.extend_from_slice(input.get(..at).unwrap_or_default());
        take(input, at);
        let done = body.is_done();
        if done {
            self.body = None;
        }
        Ok(done)
    }
}

/// Writes the fields that go on, and the one that frames the body.
fn fields(out: &mut Vec<u8>, input: &[u8], fields: &[Field], framing: Framing) {
    for field in fields.iter().filter(|field| !field.hop_by_hop && field.known != Known::Expect) {
        encode::field(out, field.name.of(input), field.value.of(input));
    }
    if framing == Framing::Chunked {
        encode::field(out, b"Transfer-Encoding", b"chunked");
    }
    out.extend_from_slice(encode::CRLF);
}

fn take(input: &mut Vec<u8>, count: usize) {
    if count == input.len() {
        input.clear();
    } else {
        input.drain(..count.min(input.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_passes_heads_without_hop_by_hop_fields_and_bodies_as_they_are() {
        let wire = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: y\r\ny: 1\r\n\r\n\
            3\r\nabc\r\n0\r\n\r\n";
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let mut exchange = Exchange::default();
        for _ in 0..2 {
            let (mut input, mut out) = (Vec::new(), Vec::new());
            let mut done = false;
            for &byte in wire {
                assert!(!done);
                input.push(byte);
                done = exchange.request(&mut input, &mut out).unwrap();
            }
            assert!(done && input.is_empty());
            let sent = String::from_utf8(out).unwrap();
            assert_eq!(sent, "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
            let (mut input, mut out) = (answer.to_vec(), Vec::new());
            assert_eq!(exchange.response(&mut input, &mut out), Ok(true));
            assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            assert!(exchange.goes_on());
        }
    }
}
