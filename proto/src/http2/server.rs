//! The side that answers.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::config::Config;
use super::connection::{Connection, Head, Inbox, Step};
use super::error::{ConnectionError, SendError};
use super::streams::Stream;
use crate::http1::RequestHead;

/// A connection as a server has it. What both sides have in common stands at [`Connection`].
pub struct Server(Connection);

impl Server {
    /// A connection that was just accepted. Its settings wait in the output.
    pub fn new(config: &Config, now: Duration) -> Self {
        Self(Connection::new(true, config, now))
    }

    /// Deals with the start of `input`, up to the next event. Heads go to `head` and `text`, where the ranges of `head`
    /// lie; trailers go to `text` alone. What is there is overwritten by each head and each trailers section, so the
    /// caller puts other storage in its place when it gets one.
    pub fn receive(
        &mut self,
        input: &[u8],
        now: Duration,
        head: &mut RequestHead,
        text: &mut Vec<u8>,
    ) -> Result<Step, ConnectionError> {
        self.0.receive(input, now, &mut Inbox { head: Head::Request(head), text })
    }

    /// Sends the head of a response, or an interim one (1xx). Fields that speak of a connection are left out; the names
    /// of the others are written in lower case.
    pub fn respond<'a>(
        &mut self,
        stream: Stream,
        status: u16,
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
        end: bool,
        now: Duration,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.0.response_head(stream, status, fields, end, now, out)
    }
}

impl Deref for Server {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}
