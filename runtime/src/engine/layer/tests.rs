//! A toy layer over every engine: each byte is sent as its complement, in frames of their own.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use super::super::tests::ends::expect_end_along;
use super::super::tests::{listen, over_every_engine, pattern};
use super::super::{Engine, Stream};
use super::{Layer, LayerRoom, Received};
use crate::buffer::{Lease, Outbox};

/// A frame is its length in two bytes and that many bytes. Both sides send `HELLO` first; an empty frame is the end.
#[derive(Default)]
struct Toy {
    partial: Vec<u8>,
    is_established: bool,
    ended: bool,
}

const HELLO: &[u8] = b"hello";
const MOST: usize = 1000;

fn frame(bytes: &[u8], send: &mut Vec<u8>) {
    send.extend((bytes.len() as u16).to_be_bytes());
    send.extend(bytes.iter().map(|byte| !byte));
}

impl Toy {
    fn frames(&mut self, out: &mut Received) -> io::Result<()> {
        loop {
            let Some(&[high, low]) = self.partial.get(..2) else { return Ok(()) };
            let end = 2 + usize::from(u16::from_be_bytes([high, low]));
            let Some(bytes) = self.partial.get(2..end) else { return Ok(()) };
            let plain: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
            self.partial.drain(..end);
            if plain.is_empty() {
                (out.ended, self.ended) = (true, true);
            } else if self.is_established {
                out.plain.push_back(plain.into());
            } else if plain == HELLO {
                self.is_established = true;
            } else {
                frame(b"no", &mut out.send);
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no hello"));
            }
        }
    }
}

impl Layer for Toy {
    fn start(&mut self, send: &mut Vec<u8>) -> io::Result<()> {
        frame(HELLO, send);
        Ok(())
    }

    fn receive(&mut self, bytes: Lease, out: &mut Received) -> io::Result<()> {
        self.partial.extend_from_slice(&bytes);
        self.frames(out)
    }

    fn ended(&mut self) -> io::Result<()> {
        if self.ended { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn is_established(&self) -> bool {
        self.is_established
    }

    fn send(&mut self, plain: &Outbox, send: &mut Vec<u8>) -> io::Result<()> {
        plain.slices(|slice| {
            slice.chunks(MOST).for_each(|part| frame(part, send));
            true
        });
        Ok(())
    }

    fn finish(&mut self, send: &mut Vec<u8>) {
        frame(b"", send);
    }
}

fn toy(stream: Stream, room: &LayerRoom) -> Stream {
    stream.layered(Box::<Toy>::default(), room, None)
}

async fn established(stream: &Stream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_established(cx)).await
}

async fn write(stream: &Stream, bytes: &[u8]) -> io::Result<()> {
    for part in bytes.chunks(10_000) {
        stream.with_outbox(|outbox| outbox.push(Lease::copied(part)));
        stream.flush();
        poll_fn(|cx| stream.poll_unsent_at_most(cx, 20_000)).await?;
    }
    stream.drained().await?;
    stream.shut_down_write()
}

async fn read_all(stream: &Stream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(lease) = stream.read().await? {
        all.extend_from_slice(&lease);
    }
    Ok(all)
}

/// A connected pair without layers.
async fn pair(engine: &Engine) -> (Stream, Stream) {
    let (address, listener) = listen(engine);
    let (connected, accepted) = join_both(engine.connect(address), listener.accept()).await;
    (connected.unwrap(), accepted.unwrap().0)
}

async fn join_both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut one, mut other) = (None, None);
    poll_fn(|cx| {
        if one.is_none()
            && let Poll::Ready(done) = a.as_mut().poll(cx)
        {
            one = Some(done);
        }
        if other.is_none()
            && let Poll::Ready(done) = b.as_mut().poll(cx)
        {
            other = Some(done);
        }
        if one.is_some() && other.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (one.unwrap(), other.unwrap())
}

#[test]
fn the_end_is_said_once_behind_what_was_written() {
    over_every_engine(|engine| async move {
        let room = LayerRoom::default();
        let (client, server) = pair(&engine).await;
        let client = toy(client, &room);
        server.with_outbox(|outbox| outbox.write(|out| frame(HELLO, out)));
        server.flush();
        established(&client).await.unwrap();
        client.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(b"last")));
        client.flush();
        client.say_end();
        client.say_end();
        client.drained().await.unwrap();
        client.shut_down_write().unwrap();
        let mut all = Vec::new();
        for bytes in [HELLO, b"last", b""] {
            frame(bytes, &mut all);
        }
        assert_eq!(read_all(&server).await.unwrap(), all);
        // Without a layer there is nothing to say.
        server.say_end();
        server.shut_down_write().unwrap();
    });
}

#[test]
fn what_a_layer_says_last_and_the_end_come_along_with_the_last_bytes() {
    let [mut hello, mut all] = [const { Vec::new() }; 2];
    frame(HELLO, &mut hello);
    for bytes in [HELLO, b"last", b""] {
        frame(bytes, &mut all);
    }
    expect_end_along(|stream| toy(stream, &LayerRoom::default()), hello.leak(), all.leak(), 2);
}

#[test]
fn bytes_pass_a_layer_both_ways_and_end_where_the_peer_says_so() {
    over_every_engine(|engine| async move {
        let room = LayerRoom::default();
        let (client, server) = pair(&engine).await;
        let (client, server) = (toy(client, &room), toy(server, &room));
        // What is written before the other side has agreed waits for that.
        client.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(b"early")));
        client.flush();
        assert!(client.unsent() >= 5);
        let (one, other) = join_both(established(&client), established(&server)).await;
        one.and(other).unwrap();
        let bytes = pattern(300_000);
        let (sent, received) = join_both(write(&client, &bytes), read_all(&server)).await;
        sent.unwrap();
        assert_eq!(received.unwrap(), [b"early".as_slice(), &bytes].concat());
        // The other way is still open.
        let (sent, received) = join_both(write(&server, &bytes[..1234]), read_all(&client)).await;
        sent.unwrap();
        assert_eq!(received.unwrap(), &bytes[..1234]);
        assert!(!poll_fn(|cx| client.poll_still(cx)).await && client.detach().is_err());
    });
}

#[test]
fn an_end_that_the_peer_did_not_announce_is_an_error() {
    over_every_engine(|engine| async move {
        let room = LayerRoom::default();
        let (raw, server) = pair(&engine).await;
        let server = toy(server, &room);
        let mut hello = Vec::new();
        frame(HELLO, &mut hello);
        frame(b"part", &mut hello);
        raw.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(&hello)));
        raw.flush();
        raw.drained().await.unwrap();
        established(&server).await.unwrap();
        raw.shut_down_write().unwrap();
        let read = server.read().await;
        // A simulated network may break before it delivers.
        if let Ok(read) = read {
            assert_eq!(read.as_deref(), Some(&b"part"[..]));
            assert!(server.read().await.is_err());
        }
    });
}

#[test]
fn who_breaks_the_protocol_is_told_and_cut() {
    over_every_engine(|engine| async move {
        let room = LayerRoom::default();
        let (raw, server) = pair(&engine).await;
        let server = toy(server, &room);
        let mut wrong = Vec::new();
        frame(b"hallo", &mut wrong);
        raw.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(&wrong)));
        raw.flush();
        assert!(established(&server).await.is_err());
        assert!(server.read().await.is_err() && server.shut_down_write().is_err());
        assert!(poll_fn(|cx| server.poll_unsent_at_most(cx, 0)).await.is_err());
    });
}

#[test]
fn a_watched_stream_stays_quiet_while_only_the_layer_is_spoken_to() {
    over_every_engine(|engine| async move {
        let room = LayerRoom::default();
        let (client, server) = pair(&engine).await;
        let (client, server) = (toy(client, &room), toy(server, &room));
        let (one, other) = join_both(established(&client), established(&server)).await;
        one.and(other).unwrap();
        assert!(client.watch() && client.is_quiet());
        server.with_outbox(|outbox| outbox.write(|out| out.extend_from_slice(b"unasked")));
        server.flush();
        while client.is_quiet() {
            engine.sleep(std::time::Duration::from_millis(1)).await;
        }
        assert!(!client.watch());
    });
}
