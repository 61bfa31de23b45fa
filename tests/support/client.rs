//! A raw client: sends exactly the bytes it is told to.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::message::{Head, Message, Wire, came, write_until_stuck};

/// One connection to the gateway.
#[derive(Debug)]
pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("the gateway accepts")
    }

    /// Nothing when the gateway resets the connection before it is known to be there.
    pub(crate) fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&address, super::PATIENCE).ok()?;
        Some(Self { wire: Wire::new(stream) })
    }

    /// A connection that is there already.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { wire: Wire::new(stream) }
    }

    /// With a receive buffer of about `bytes`, so that the sender soon notices that nobody reads.
    pub(crate) fn connect_with_small_buffer(address: SocketAddr, bytes: usize) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a buffer size");
        socket.connect(&address.into()).expect("the gateway accepts");
        Self { wire: Wire::new(socket.into()) }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.wire.stream
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.stream.write_all(bytes.as_ref()).expect("the gateway takes the bytes");
        self
    }

    /// Sends until nothing more goes for a while, and says how many bytes went.
    pub(crate) fn send_until_stuck(&mut self, most: usize) -> usize {
        write_until_stuck(&self.wire.stream, most)
    }

    /// Sends what the gateway may refuse to take.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.wire.stream.write_all(bytes).is_ok()
    }

    /// Sends `GET path` with a Host, and reads the answer.
    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).response()
    }

    /// The next head, interim ones included.
    pub(crate) fn head(&mut self) -> Head {
        came(self.wire.head())
    }

    /// The next response to a request other than HEAD.
    pub(crate) fn response(&mut self) -> Message {
        let head = came(self.wire.head());
        self.body_of(head)
    }

    /// The body that belongs to `head`.
    pub(crate) fn body_of(&mut self, head: Head) -> Message {
        let status = head.status();
        if status < 200 || status == 204 || status == 304 {
            return Message { head, ..Message::default() };
        }
        came(self.wire.body(head, true))
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        came(self.wire.take(count))
    }

    /// Appends what comes next to `bytes`. False when the connection has ended.
    pub(crate) fn take_some(&mut self, bytes: &mut Vec<u8>) -> bool {
        let more = self.wire.fill().unwrap_or(false);
        bytes.append(&mut self.wire.unread);
        more
    }

    /// Throws away what was read and not asked for, and says how much it was.
    pub(crate) fn take_unread(&mut self) -> usize {
        std::mem::take(&mut self.wire.unread).len()
    }

    /// Says that nothing more comes.
    pub(crate) fn finish(&mut self) {
        self.wire.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.wire.stream).set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// What is left until the gateway ends the connection in order.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let (bytes, end) = self.wire.rest();
        end.unwrap_or_else(|error| panic!("no orderly end: {error}; after {}", bytes.escape_ascii()));
        bytes
    }

    /// What is left until the gateway ends the connection, and whether a reset ended it.
    pub(crate) fn rest_or_reset(&mut self) -> (Vec<u8>, bool) {
        let (bytes, end) = self.wire.rest();
        match end {
            Ok(()) => (bytes, false),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => (bytes, true),
            Err(error) => panic!("neither an end nor a reset: {error}"),
        }
    }

    /// Fails unless the gateway ends the connection in order, with nothing more to say.
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more than was expected: {}", rest.escape_ascii());
    }

    /// Fails unless nothing waits to be read now.
    pub(crate) fn expect_nothing_yet(&mut self) {
        assert!(self.wire.unread.is_empty(), "{}", self.wire.unread.escape_ascii());
        self.wire.stream.set_nonblocking(true).expect("non-blocking");
        let mut byte = [0];
        let peeked = self.wire.stream.peek(&mut byte);
        self.wire.stream.set_nonblocking(false).expect("blocking");
        assert!(peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "something came early");
    }
}
