//! A client's connection of HTTP/2. Each stream is carried as HTTP/1.1, over a pair of streams inside the core, by a client of
//! its own that the rest of the flow serves as any other: so routes, policies, limits, retries and logs are the same for
//! both. A carrier that is done with one stream carries the next.
//!
//! What comes is checked by the codec of HTTP/2 first, and then again by that of HTTP/1.1.

mod answer;
mod carrier;
mod driver;
mod head;
pub(crate) mod turn;

use std::future::{Future, poll_fn};
use std::pin::Pin;

use ringway_proto::http2::{Preface, preface};

use self::driver::Driver;
use super::client::{Client, Speaks};
use super::linger;
use crate::observe::Reason;

/// Whether what was refused as a request of HTTP/1.1 is the start of HTTP/2, which the listener allows.
pub(super) fn begins(client: &Client, refused: Reason) -> bool {
    matches!(refused, Reason::Request(_))
        && client.requests == 0
        && client.speaks == Speaks::Http1
        && client.listener().http2.is_enabled
        && preface(client.input.bytes()) != Preface::Other
}

/// Serves a connection of HTTP/2, of which the input of `client` may have the first bytes.
pub(super) fn serve(mut client: Client) -> Pin<Box<dyn Future<Output = ()>>> {
    client.speaks = Speaks::Http2;
    Box::pin(async move {
        let mut driver = Driver::new(client);
        let after = poll_fn(|cx| turn::poll(&mut driver, cx)).await;
        let client = driver.end();
        linger::end(&client, after).await;
    })
}
