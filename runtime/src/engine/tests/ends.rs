//! How streams end, and what the other side sees of it.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::super::{EngineKind, Stream, run};
use super::{KINDS, join, listen, over_connected, small};
use crate::buffer::Lease;

#[test]
fn a_reset_is_an_error() {
    over_connected(|_, outgoing, incoming| async move {
        outgoing.reset_on_drop();
        drop(outgoing);
        assert_eq!(incoming.read().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_dropped_stream_ends_the_peer() {
    over_connected(|_, outgoing, incoming| async move {
        drop(incoming);
        assert!(outgoing.read().await.unwrap().is_none());
    });
}

#[test]
fn writing_to_a_peer_that_went_is_an_error_in_the_end() {
    over_connected(|engine, outgoing, incoming| async move {
        drop(incoming);
        let error = loop {
            outgoing.with_outbox(|out| out.write(|out| out.extend_from_slice(b"anybody there?")));
            if let Err(error) = outgoing.drained().await {
                break error;
            }
            engine.sleep(Duration::from_millis(1)).await;
        };
        assert!(matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{error}");
        assert!(!outgoing.is_quiet());
    });
}

#[test]
fn an_idle_stream_notices_that_its_peer_went() {
    over_connected(|engine, outgoing, incoming| async move {
        assert!(outgoing.watch());
        assert!(outgoing.is_quiet());
        drop(incoming);
        while outgoing.is_quiet() {
            engine.sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn a_half_closed_stream_still_receives() {
    over_connected(|_, outgoing, incoming| async move {
        outgoing.shut_down_write().unwrap();
        assert!(incoming.read().await.unwrap().is_none());
        incoming.with_outbox(|out| out.write(|out| out.extend_from_slice(b"late")));
        incoming.flush();
        let mut seen = Vec::new();
        while seen.len() < 4 {
            seen.extend_from_slice(&outgoing.read().await.unwrap().unwrap());
        }
        assert_eq!(seen, b"late");
    });
}

/// Has a server write `last` and end, saying the end before that on every second connection, and looks whether that saves
/// so many packets each. The client begins with `first`.
pub(in crate::engine) fn expect_end_along(
    wrap: fn(Stream) -> Stream,
    first: &'static [u8],
    last: &'static [u8],
    saved: u32,
) {
    const PAIRS: u32 = 20;
    run(EngineKind::Ring, &small(), |engine| async move {
        let (address, listener) = listen(&engine);
        engine.spawn(async move {
            for is_said in [false, true].into_iter().cycle() {
                let stream = wrap(listener.accept().await.unwrap().0);
                poll_fn(|cx| stream.poll_established(cx)).await.unwrap();
                stream.with_outbox(|out| out.push(Lease::copied(b"last")));
                stream.flush();
                if is_said {
                    stream.say_end();
                }
                stream.drained().await.unwrap();
                stream.shut_down_write().unwrap();
            }
        });
        let packets = move || {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(first).unwrap();
            let mut seen = Vec::new();
            client.read_to_end(&mut seen).unwrap();
            assert_eq!(seen, last);
            packets_received(&client)
        };
        let (apart, along) = join(move || (0..PAIRS).fold((0, 0), |(a, b), _| (a + packets(), b + packets()))).await;
        // The kernel sends what has waited for 200 ms, on a machine that is so slow.
        assert!(along + saved * PAIRS - PAIRS / 2 <= apart, "{along} packets, and {apart} where the end was not said");
    })
    .unwrap();
}

fn packets_received(socket: &TcpStream) -> u32 {
    /// Where `tcpi_segs_in` lies in `struct tcp_info` (linux/tcp.h), in words.
    const SEGS_IN: usize = 35;
    let mut info = [0u32; 64];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes.
    let result = unsafe {
        let (option, info) = (libc::TCP_INFO, info.as_mut_ptr().cast());
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, info, &raw mut length)
    };
    assert_eq!(result, 0);
    info[SEGS_IN]
}

#[test]
fn the_end_comes_along_with_the_last_bytes() {
    expect_end_along(|stream| stream, b"", b"last", 1);
}

#[test]
fn last_bytes_whose_end_was_said_do_not_wait_for_it_when_the_stream_is_dropped() {
    for kind in KINDS {
        run(kind, &small(), |engine| async move {
            let (address, listener) = listen(&engine);
            engine.spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                stream.with_outbox(|out| out.push(Lease::copied(b"last")));
                stream.flush();
                stream.say_end();
                stream.drained().await.unwrap();
            });
            let mut seen = Vec::new();
            join(move || TcpStream::connect(address).unwrap().read_to_end(&mut seen).map(|_| seen)).await
        })
        .map(|seen| assert_eq!(seen.unwrap(), b"last"))
        .unwrap();
    }
}
