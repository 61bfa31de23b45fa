//! Clients that read slowly: steady ones get everything, stalled ones see that they did not.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ringway_runtime::engine::Engine;
use ringway_runtime::engine::sim::{Faults, World, explore};

use super::http::{Peer, body, origin};
use super::{Gateway, ORIGIN_PORT};

/// More than all buffers between origin and client hold.
const LONG: usize = 1 << 20;

fn start(world: &World) -> Gateway {
    world.set_faults(Faults { send_buffer: 16 << 10, receive_buffer: 16 << 10, ..Faults::default() });
    let origin = origin(world, "origin");
    Gateway::start(
        world,
        1,
        &format!(
            "[timeouts]\nsend_idle = \"1s\"\nmin_rate = \"4KiB/s\"\nmin_rate_grace = \"1s\"\n\
             [upstream.origin]\nendpoints = [\"{origin}\"]\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origin\"\n"
        ),
    )
}

/// Asks for a body and reads it piece by piece with a rest before each.
async fn read_slowly(engine: &Engine, peer: &mut Peer, length: usize, rest: Duration) -> io::Result<Vec<u8>> {
    peer.head().await?;
    let mut got = Vec::new();
    while got.len() < length {
        engine.sleep(rest).await;
        got.extend(peer.some().await?);
    }
    Ok(got)
}

fn ask(world: &World, gateway: &Gateway, length: usize, rest: Duration) -> io::Result<Vec<u8>> {
    let engine = world.node("client").unwrap();
    let (inner, address) = (engine, gateway.address);
    world
        .run(async move {
            let mut peer = Peer::connect(&inner, address).await?;
            peer.send(format!("GET /{length} HTTP/1.1\r\nHost: world\r\n\r\n").as_bytes()).await?;
            read_slowly(&inner, &mut peer, length, rest).await
        })
        .unwrap()
}

#[test]
fn a_slow_but_steady_client_gets_the_whole_answer() {
    explore(0..5, |world| {
        let gateway = start(world);
        let before = world.now();
        let got = ask(world, &gateway, LONG, Duration::from_millis(200)).unwrap();
        assert!(got == body(LONG), "{} of {LONG} bytes", got.len());
        assert!(world.now().since(before) > Duration::from_secs(5), "the client was not slow enough for this test");
    });
}

#[test]
fn a_client_that_stalls_is_reset() {
    explore(0..5, |world| {
        let gateway = start(world);
        let error = ask(world, &gateway, LONG, Duration::from_secs(30)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_client_below_the_least_rate_is_reset() {
    explore(0..5, |world| {
        let gateway = start(world);
        // At most 16 KiB each 9 s, and never a whole second without progress of the kernel's.
        let error = ask(world, &gateway, LONG, Duration::from_secs(9)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    });
}

/// An origin that answers every request with one byte of a head each 400 ms.
fn trickling_origin(world: &World) -> SocketAddr {
    let engine = world.node("origin").unwrap();
    let address = SocketAddr::new(world.address("origin"), ORIGIN_PORT);
    let listener = engine.listen(address).unwrap();
    let inner = engine.clone();
    engine.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Peer::new(stream);
        let _ = peer.head().await;
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" {
            inner.sleep(Duration::from_millis(400)).await;
            if peer.send(&[*byte]).await.is_err() {
                return;
            }
        }
    });
    address
}

#[test]
fn a_response_head_that_trickles_gets_no_more_time_by_it() {
    explore(0..5, |world| {
        let origin = trickling_origin(world);
        let gateway = Gateway::start(
            world,
            1,
            &format!(
                "[upstream.origin]\nendpoints = [\"{origin}\"]\ntimeout = {{ first_byte = \"1s\" }}\n\
                 [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origin\"\n"
            ),
        );
        let engine = world.node("client").unwrap();
        let address = gateway.address;
        let before = world.now();
        let head = world
            .run(async move {
                let mut peer = Peer::connect(&engine, address).await?;
                peer.send(b"GET / HTTP/1.1\r\nHost: world\r\n\r\n").await?;
                peer.head().await
            })
            .unwrap()
            .unwrap();
        assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
        assert!(world.now().since(before) < Duration::from_secs(3), "it had as long as it wanted");
    });
}

#[test]
fn a_drain_sends_what_is_unsent() {
    explore(0..5, |world| {
        let gateway = start(world);
        let engine = world.node("client").unwrap();
        let address = gateway.address;
        // The whole answer is with the gateway, and most of it in its outbox.
        let length = 60 << 10;
        let peer = world
            .run(async move {
                let mut peer = Peer::connect(&engine, address).await?;
                peer.send(format!("GET /{length} HTTP/1.1\r\nHost: world\r\n\r\n").as_bytes()).await?;
                peer.head().await?;
                engine.sleep(Duration::from_millis(100)).await;
                io::Result::Ok((engine, peer))
            })
            .unwrap()
            .unwrap();
        let (engine, mut peer) = peer;
        gateway.raise();
        let got = world
            .run(async move {
                let mut got = Vec::new();
                while got.len() < length {
                    engine.sleep(Duration::from_millis(50)).await;
                    got.extend(peer.some().await?);
                }
                io::Result::Ok(got)
            })
            .unwrap()
            .unwrap();
        assert!(got == body(length));
        assert!(gateway.drain(world).iter().all(|ended| ended.cut == 0));
    });
}
