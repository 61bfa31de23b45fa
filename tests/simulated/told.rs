//! PROXY headers in and out, on networks of every kind and from core to core: no request is ever told of with the address of
//! another client.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringway_proto::proxy_protocol::{Extras, Limits, Progress, Said, decode, encode_v1, encode_v2};
use ringway_runtime::engine::Engine;
use ringway_runtime::engine::sim::{Faults, World, explore};

use super::http::{Peer, field, within};
use super::{Gateway, ORIGIN_PORT, seeds};

const PATIENCE: Duration = Duration::from_mins(10);
const CLIENTS: u8 = 12;

/// An origin that wants headers, and answers with the client that both the header and the request tell of.
fn origin(world: &World) -> SocketAddr {
    let engine = world.node("origin").unwrap();
    let address = SocketAddr::new(world.address("origin"), ORIGIN_PORT);
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
    let mut header = peer.bytes(16).await?;
    let length = u16::from_be_bytes([header[14], header[15]]);
    header.extend(peer.bytes(length.into()).await?);
    let Ok(Progress::Complete(found)) = decode(&header, &Limits::default()) else { panic!("{header:?}") };
    let Said::Inet { source, .. } = found.said else { panic!("{found:?}") };
    let source = source.ip().to_string();
    loop {
        let head = peer.head().await?;
        assert_eq!(field(&head, "x-forwarded-for"), Some(&*source), "a connection carries another client's request");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{source}", source.len());
        peer.send(answer.as_bytes()).await?;
    }
}

/// Asks on one connection, unless it breaks.
async fn ask(engine: &Engine, address: SocketAddr, client: u8) -> io::Result<()> {
    let own = SocketAddr::from(([192, 0, 2, client], 1));
    let said = Said::Inet { source: own, destination: address };
    let mut header = Vec::new();
    if client.is_multiple_of(2) {
        encode_v1(&said, &mut header);
    } else {
        encode_v2(&said, &Extras { checksum: true, ..Extras::default() }, &mut header);
    }
    let mut peer = Peer::connect(engine, address).await?;
    peer.send(&header).await?;
    for _ in 0..8 {
        peer.send(b"GET / HTTP/1.1\r\nHost: world\r\n\r\n").await?;
        let head = peer.head().await?;
        let length = field(&head, "content-length").and_then(|length| length.parse().ok());
        let body = peer.bytes(length.ok_or_else(|| io::Error::other(head.clone()))?).await?;
        if head.starts_with("HTTP/1.1 200") {
            assert_eq!(String::from_utf8_lossy(&body), own.ip().to_string(), "an answer for another client");
        }
        engine.sleep(Duration::from_millis(engine.random() % 3000)).await;
    }
    Ok(())
}

#[test]
fn no_request_is_told_of_with_another_client() {
    let well = Rc::new(Cell::new(0));
    for faults in [Faults::rough(), Faults { reset_per_million: 3000, refuse_per_million: 20_000, ..Faults::rough() }] {
        explore(seeds(15), |world| {
            world.set_time_limit(Duration::from_hours(24));
            world.set_faults(faults.clone());
            let origin = origin(world);
            let client_network = world.address("client");
            let config = format!(
                "trusted_proxies = \"{client_network}\"\nproxy_protocol = \"required\"\n\
                 [cores]\nplacement = \"least-loaded\"\n\
                 [upstream.o]\nendpoints = \"{origin}\"\nproxy_protocol = \"v2\"\npool = {{ max_idle = 4 }}\n\
                 [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"o\"\n"
            );
            let gateway = Gateway::start(world, 3, &config);
            let left = Rc::new(Cell::new(CLIENTS));
            for client in 0..CLIENTS {
                let engine = world.node("client").unwrap();
                let (inner, address, left, well) = (engine.clone(), gateway.address, left.clone(), well.clone());
                engine.spawn(async move {
                    if within(&inner, PATIENCE, ask(&inner, address, client)).await.is_ok() {
                        well.set(well.get() + 1);
                    }
                    left.set(left.get() - 1);
                });
            }
            world.run_until(|| left.get() == 0).unwrap();
            gateway.drain(world);
        });
    }
    assert!(well.get() > 100, "{} connections went well", well.get());
}
