//! What a connection says and hears in HTTP/1.1: requests one behind the other, and answers in their order.

use std::collections::VecDeque;

use super::Failure;
use super::connection::{Answer, Sent};
use super::wire::Wire;
use crate::http::{self, Body, Framing, ResponseHead};

#[derive(Debug, Default)]
pub(super) struct Http1 {
    under_way: VecDeque<Sent>,
    /// The start of a head whose end has not come.
    partial: Vec<u8>,
    /// The answer being read.
    reading: Option<(ResponseHead, Body)>,
    /// Bytes of requests still to be written, and where in a request the next one is.
    unsent: usize,
    at: usize,
}

impl Http1 {
    /// Ready for another connection, with the memory of the last.
    pub(super) fn clear(&mut self) {
        (self.reading, self.unsent, self.at) = (None, 0, 0);
        self.partial.clear();
        self.under_way.clear();
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.under_way.front().map(|sent| sent.started)
    }

    /// Counts one more request of `length` bytes; [`Http1::flush`] writes it.
    pub(super) fn push(&mut self, sent: Sent, length: usize) {
        self.under_way.push_back(sent);
        self.unsent += length;
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Writes what there is room for. `requests` holds the request of `length` bytes as often as one write may need it.
    pub(super) fn flush(&mut self, wire: &mut Wire, requests: &[u8], length: usize) -> Result<(), Failure> {
        while self.unsent > 0 {
            let bytes = requests.get(self.at..self.at + self.unsent).ok_or(Failure::Unsent)?;
            let count = wire.write(bytes)?;
            if count == 0 {
                return Ok(());
            }
            self.unsent -= count;
            self.at = (self.at + count) % length;
        }
        Ok(())
    }

    /// Takes answers off `input`, which follows what earlier calls were given, and tells each complete one.
    pub(super) fn consume(
        &mut self,
        input: &[u8],
        to_head_request: bool,
        answered: &mut impl FnMut(Answer),
    ) -> Result<(), Failure> {
        if self.partial.is_empty() {
            let used = self.consume_all(input, to_head_request, answered)?;
            self.partial.extend_from_slice(input.get(used..).unwrap_or_default());
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(input);
            let used = self.consume_all(&whole, to_head_request, answered)?;
            whole.drain(..used);
            self.partial = whole;
        }
        Ok(())
    }

    fn consume_all(
        &mut self,
        input: &[u8],
        to_head_request: bool,
        answered: &mut impl FnMut(Answer),
    ) -> Result<usize, Failure> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            let (head, body) = match &mut self.reading {
                Some((head, body)) => {
                    at += body.skip(rest).map_err(|_| Failure::Malformed)?;
                    (*head, *body)
                }
                None if rest.is_empty() => return Ok(at),
                None => {
                    if self.under_way.is_empty() {
                        return Err(Failure::Malformed);
                    }
                    let head = http::response_head(rest, to_head_request).map_err(|_| Failure::Malformed)?;
                    let Some(head) = head else { return Ok(at) };
                    at += head.len;
                    // An interim answer (1xx) only announces the one that counts.
                    if head.status >= 200 {
                        self.reading = Some((head, Body::new(head.framing)));
                    }
                    continue;
                }
            };
            if !body.is_done() {
                return Ok(at);
            }
            self.reading = None;
            let Some(sent) = self.under_way.pop_front() else { return Err(Failure::Malformed) };
            answered(Answer { sent, status: head.status, body: body.content, close: head.close });
        }
    }

    /// Tells of the end of the stream: the answer it completes, or the failure it is.
    pub(super) fn end(&mut self) -> Result<Option<Answer>, Failure> {
        match self.reading.take() {
            Some((head, body)) if head.framing == Framing::UntilClose => {
                let sent = self.under_way.pop_front();
                let answer = |sent| Answer { sent, status: head.status, body: body.content, close: true };
                if self.under_way.is_empty() { Ok(sent.map(answer)) } else { Err(Failure::Closed) }
            }
            Some(_) => Err(Failure::Truncated),
            None if self.under_way.is_empty() => Ok(None),
            None => Err(Failure::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(requests: u64) -> Http1 {
        let mut connection = Http1::default();
        for intended in 0..requests {
            connection.push(Sent { intended, started: intended, lateness: 0, is_held: false }, 1);
        }
        connection
    }

    fn feed(connection: &mut Http1, pieces: &[&[u8]]) -> (Vec<Answer>, Result<(), Failure>) {
        let mut answers = Vec::new();
        for piece in pieces {
            if let Err(failure) = connection.consume(piece, false, &mut |answer| answers.push(answer)) {
                return (answers, Err(failure));
            }
        }
        (answers, Ok(()))
    }

    #[test]
    fn pipelined_answers_come_in_order_however_they_are_cut() {
        let wire: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n";
        for cut in 0..wire.len() {
            let mut connection = connection(2);
            let (answers, outcome) = feed(&mut connection, &[&wire[..cut], &wire[cut..]]);
            outcome.unwrap();
            let seen: Vec<_> = answers.iter().map(|a| (a.sent.intended, a.status, a.body)).collect();
            assert_eq!(seen, [(0, 200, 3), (1, 404, 2)], "cut at {cut}");
            assert!(connection.end().unwrap().is_none());
        }
    }

    #[test]
    fn an_answer_nobody_asked_for_is_malformed() {
        let (answers, outcome) = feed(&mut connection(1), &[b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n"]);
        assert_eq!((answers.len(), outcome), (1, Err(Failure::Malformed)));
    }

    #[test]
    fn the_end_of_the_stream_is_told_by_where_it_came() {
        let end = |wire: &[u8]| {
            let mut connection = connection(1);
            feed(&mut connection, &[wire]).1.unwrap();
            connection.end().map(|answer| answer.map(|answer| answer.body))
        };
        assert_eq!(end(b""), Err(Failure::Closed));
        assert_eq!(end(b"HTTP/1.1 200 OK\r\nConte"), Err(Failure::Closed));
        assert_eq!(end(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Err(Failure::Truncated));
        assert_eq!(end(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), Err(Failure::Truncated));
        assert_eq!(end(b"HTTP/1.1 200 OK\r\n\r\nabc"), Ok(Some(3)));
    }
}
