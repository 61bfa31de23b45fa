//! What must hold of the glue between rustls and the runtime's layer for any bytes: no panic, no plaintext that nobody
//! sent, errors that last.

use std::sync::Arc;
use std::time::Duration;

use ringway::tls::{
    Authorities, Certificate, ClientSettings, CoreClient, CoreServer, CoreSuites, CoreTickets, Protocol, Roots,
    ServerParts, ServerSettings, TicketKeys, Version, accept, connect,
};
use ringway_runtime::buffer::{Lease, Outbox};
use ringway_runtime::engine::{Layer, Received};

const PEM: &[u8] = include_bytes!("../tests/tls/fixed/server.pem");
/// The authority of that.
const AUTHORITY: &[u8] = include_bytes!("../tests/tls/fixed/other.pem");
const KEY: &[u8] = include_bytes!("../tests/tls/fixed/server.key");

/// What the other side really says, in four records.
const SAID: &[u8] = b"saidsaidsaidsaid";

/// A listener and an upstream, as one core has them.
pub(super) struct World {
    server: CoreServer,
    client: CoreClient,
}

impl World {
    pub(super) fn new() -> Self {
        let parts = ServerParts {
            certificates: vec![Certificate::read(PEM, KEY, None).unwrap()],
            client_auth: None,
            least: Version::Tls12,
            protocols: vec![Protocol::Http1],
            tickets: true,
            ticket_lifetime: Duration::from_hours(1),
            key_log: false,
            early: None,
        };
        let keys = CoreTickets::new(Arc::new(TicketKeys::new().unwrap()));
        let server = ServerSettings::new("web", parts).unwrap();
        let roots = Roots::Of(Authorities::read(AUTHORITY).unwrap());
        let client = ClientSettings::new(roots, None, None, Version::Tls12, vec![Protocol::Http1], false).unwrap();
        Self { server: server.on_core(&keys, &CoreSuites::of_new_core()).unwrap(), client: client.on_core().unwrap() }
    }
}

/// The first byte says what is done: bytes for a server, for a client, or for either once both have shaken hands. The
/// second is the size of the pieces, the third how much of what the other side really said goes before.
pub(super) fn tls_records(world: &World, data: &[u8]) {
    let [how, size, before, noise @ ..] = data else { return };
    let mut server = accept(&world.server, None).unwrap().0;
    let mut client = connect(&world.client, "localhost", None).unwrap().0;
    let mut wire = Vec::new();
    client.start(&mut wire).unwrap();
    match how % 4 {
        0 => feed(&mut *server, &wire, usize::from(*before), noise, usize::from(*size)),
        1 => {
            let flight = answer(&mut *server, wire);
            feed(&mut *client, &flight, usize::from(*before) * 8, noise, usize::from(*size));
        }
        which => {
            let mut to_server = wire;
            while !to_server.is_empty() {
                let to_client = answer(&mut *server, to_server);
                to_server = answer(&mut *client, to_client);
            }
            assert!(server.is_established() && client.is_established());
            let mut said = Vec::new();
            let (from, to) = if which == 2 { (client, server) } else { (server, client) };
            let (mut from, mut to) = (from, to);
            for _ in 0..SAID.len() / 4 {
                from.send(&outbox(b"said"), &mut said).unwrap();
            }
            feed(&mut *to, &said, usize::from(*before), noise, usize::from(*size));
        }
    }
}

fn outbox(bytes: &[u8]) -> Outbox {
    let mut outbox = Outbox::default();
    outbox.push(Lease::copied(bytes));
    outbox
}

fn answer(layer: &mut dyn Layer, wire: Vec<u8>) -> Vec<u8> {
    if wire.is_empty() {
        return wire;
    }
    let mut out = Received::default();
    layer.receive(wire.into(), &mut out).unwrap();
    out.send
}

/// Gives the layer the beginning of what was really said and then noise.
fn feed(layer: &mut dyn Layer, real: &[u8], count: usize, noise: &[u8], size: usize) {
    let count = count.min(real.len());
    let bytes = [&real[..count], noise].concat();
    let mut failed = false;
    let mut plain = Vec::new();
    for piece in bytes.chunks(size.max(1)) {
        let mut out = Received::default();
        let taken = layer.receive(Lease::copied(piece), &mut out);
        plain.extend(out.plain.iter().flat_map(|lease| lease.to_vec()));
        assert!(!(failed && taken.is_ok()), "an error lasts");
        failed |= taken.is_err();
        if failed {
            break;
        }
    }
    // Whatever else came, nobody could make it up, and nothing came twice or in another order.
    assert!(SAID.starts_with(&plain));
    let mut send = Vec::new();
    let _ = layer.send(&outbox(b"more"), &mut send);
    layer.finish(&mut send);
    let _ = layer.ended();
}
