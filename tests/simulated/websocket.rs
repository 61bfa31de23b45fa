//! WebSocket connections that go on while plans replace each other: nothing is lost, and no plan before is kept for them.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use ringway::core::FromCore;
use ringway_runtime::engine::sim::{Faults, World, explore};

use super::http::Peer;
use super::{Gateway, ORIGIN_PORT};

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: world\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// A text of three bytes, with a mask of zeros and without.
const MASKED: &[u8] = b"\x81\x83\0\0\0\0abc";
const PLAIN: &[u8] = b"\x81\x03abc";
const MESSAGES: u64 = 30;
const PLANS: u64 = 10;

/// An origin that sends a text for each that it gets.
fn echoes(world: &World) -> SocketAddr {
    let engine = world.node("echo").unwrap();
    let address = SocketAddr::new(world.address("echo"), ORIGIN_PORT);
    let listener = engine.listen(address).unwrap();
    let inner = engine.clone();
    engine.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            inner.spawn(async move {
                let mut peer = Peer::new(stream);
                if peer.head().await.is_ok() && peer.send(SWITCH.as_bytes()).await.is_ok() {
                    while peer.bytes(MASKED.len()).await.is_ok_and(|frame| frame == MASKED) {
                        if peer.send(PLAIN).await.is_err() {
                            break;
                        }
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_connection_goes_on_from_plan_to_plan_and_keeps_none() {
    for faults in [Faults::default(), Faults::rough()] {
        explore(0..10, |world: &World| {
            world.set_faults(faults.clone());
            let origin = echoes(world);
            let config = |epoch: u64| {
                format!(
                    "[limits]\nheaders = {}\n[upstream.echo]\nendpoints = [\"{origin}\"]\n\
                     [[route]]\nname = \"chat\"\npath = \"/chat\"\nupstream = \"echo\"\n",
                    50 + epoch
                )
            };
            let gateway = Gateway::start(world, 1, &config(1));
            let client = world.node("client").unwrap();
            let (echoed, asked) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let (to, counts, wanted) = (gateway.address, echoed.clone(), asked.clone());
            let inner = client.clone();
            client.spawn(async move {
                let mut peer = Peer::connect(&inner, to).await.unwrap();
                peer.send(REQUEST.as_bytes()).await.unwrap();
                assert!(peer.head().await.unwrap().starts_with("HTTP/1.1 101"));
                while counts.get() < MESSAGES * PLANS {
                    while counts.get() >= wanted.get() {
                        inner.sleep(std::time::Duration::from_millis(1)).await;
                    }
                    peer.send(MASKED).await.unwrap();
                    assert_eq!(peer.bytes(PLAIN.len()).await.unwrap(), PLAIN);
                    counts.set(counts.get() + 1);
                }
            });
            for plan in 1..=PLANS {
                asked.set(plan * MESSAGES);
                world.run_until(|| echoed.get() > (plan - 1) * MESSAGES).unwrap();
                gateway.change(world, plan + 1, &config(plan + 1));
                world.run_until(|| echoed.get() == plan * MESSAGES).unwrap();
            }
            // The one that runs is all that the core has.
            let released = || gateway.heard(|message| matches!(message, FromCore::Released(_))) as u64;
            world.run_until(|| released() == PLANS).unwrap();
        });
    }
}
