//! The least of an HTTP/1.1 client and an origin that a simulated world needs.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ringway_runtime::engine::sim::World;
use ringway_runtime::engine::{Engine, Stream};

use super::ORIGIN_PORT;

/// The body of `length` bytes that every origin gives and every client expects.
pub(super) fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// An answer as a client got it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A connection and what was read from it too early.
pub(super) struct Peer {
    stream: Stream,
    ahead: Vec<u8>,
}

impl Peer {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    pub(super) async fn connect(engine: &Engine, address: SocketAddr) -> io::Result<Self> {
        engine.connect(address).await.map(Self::new)
    }

    pub(super) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream.with_outbox(|out| out.write(|out| out.extend_from_slice(bytes)));
        self.stream.drained().await
    }

    /// Reads more; an error at the end of the peer's bytes.
    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read().await? {
            Some(lease) => {
                self.ahead.extend_from_slice(&lease);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The next head, its empty line included.
    pub(super) async fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.ahead.drain(..at + 4).collect();
                return String::from_utf8(head).map_err(io::Error::other);
            }
            self.more().await?;
        }
    }

    pub(super) async fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < count {
            self.more().await?;
        }
        Ok(self.ahead.drain(..count).collect())
    }

    /// What comes next, at least a byte.
    pub(super) async fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.ahead.is_empty() {
            self.more().await?;
        }
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Asks for a body of `length` bytes.
    pub(super) async fn get(&mut self, length: usize) -> io::Result<Answer> {
        self.send(format!("GET /{length} HTTP/1.1\r\nHost: world\r\n\r\n").as_bytes()).await?;
        let head = self.head().await?;
        let status =
            head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(|| io::Error::other(head.clone()))?;
        let length = field(&head, "content-length").and_then(|length| length.parse().ok());
        let length = length.ok_or_else(|| io::Error::other(format!("no length: {head}")))?;
        Ok(Answer { status, body: self.bytes(length).await? })
    }
}

/// What `work` gives, or an error when that takes longer than `time`.
pub(super) async fn within<T>(
    engine: &Engine,
    time: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let timer = engine.timer();
    timer.set(engine.now() + time);
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result),
        Poll::Pending => timer.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
    })
    .await
}

/// The value of a field, by its name in lower case.
pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Starts an origin on a machine of its own: `GET /n` gives a body of `n` bytes. Returns its address.
pub(super) fn origin(world: &World, name: &str) -> SocketAddr {
    let engine = world.node(name).unwrap();
    let address = SocketAddr::new(world.address(name), ORIGIN_PORT);
    let listener = engine.listen(address).unwrap();
    let inner = engine.clone();
    engine.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            inner.spawn(async move { drop(answer(Peer::new(stream)).await) });
        }
    });
    address
}

async fn answer(mut peer: Peer) -> io::Result<()> {
    loop {
        let head = peer.head().await?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        let length: usize = path.trim_start_matches('/').parse().map_err(io::Error::other)?;
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await?;
        peer.send(&body(length)).await?;
    }
}
