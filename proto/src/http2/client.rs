//! The side that asks.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::config::Config;
use super::connection::{Connection, Head, Inbox, RequestLine, Step};
use super::error::{ConnectionError, SendError};
use super::streams::Stream;
use crate::http1::ResponseHead;

/// A connection as a client has it. What both sides have in common stands at [`Connection`].
pub struct Client(Connection);

impl Client {
    /// A connection that was just made. The preface and our settings wait in the output.
    pub fn new(config: &Config, now: Duration) -> Self {
        Self(Connection::new(false, config, now))
    }

    /// Deals with the start of `input`, up to the next event, as [`Server::receive`](super::Server::receive) does.
    pub fn receive(
        &mut self,
        input: &[u8],
        now: Duration,
        head: &mut ResponseHead,
        text: &mut Vec<u8>,
    ) -> Result<Step, ConnectionError> {
        self.0.receive(input, now, &mut Inbox { head: Head::Response(head), text })
    }

    /// Opens a stream with a request. Host and fields that speak of a connection are left out; the names of the others are
    /// written in lower case.
    pub fn request<'a>(
        &mut self,
        line: &RequestLine<'_>,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        end: bool,
        now: Duration,
        out: &mut Vec<u8>,
    ) -> Result<Stream, SendError> {
        self.0.request_head(line, fields, end, now, out)
    }

    /// Whether a stream can be opened now: the server allows one more and does not go away.
    pub fn can_open(&self) -> bool {
        self.0.can_open()
    }

    /// Streams that may be open at once, as far as the server has said.
    pub fn most_streams(&self) -> u32 {
        self.0.most_streams()
    }

    /// Whether no stream will be opened any more: either side goes away.
    pub fn is_leaving(&self) -> bool {
        self.0.is_leaving()
    }

    /// Whether the server takes extended CONNECT (RFC 8441 section 3).
    pub fn has_extended_connect(&self) -> bool {
        self.0.takes_extended_connect()
    }
}

impl Deref for Client {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}
