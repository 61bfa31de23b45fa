//! One client connection: request after request until it ends.

use super::client::Client;
use super::decode::{Next, next};
use super::{After, account, http2, linger, passing, reply, serve};

/// Serves the requests of a connection in order.
///
/// The task of a connection that waits for its next request is kept small: what serves one is in a frame of the core's,
/// and the rarer ends are in boxes. A test holds its size.
pub(super) fn serve(client: Client) -> impl Future<Output = ()> + use<> {
    // Captured and not an argument of an async function, which would keep it twice.
    let mut client = client;
    let state = client.state.clone();
    async move {
        let after = loop {
            match next(&mut client).await {
                Next::Request(mut exchange) => {
                    client.requests += 1;
                    let after = state.frames.put(|| serve::serve(&mut client, &mut exchange)).await;
                    account::done(&client, &exchange);
                    state.give_back(exchange);
                    if after != After::KeepAlive {
                        break after;
                    }
                    client.idle_since = client.now();
                    // A client that sends requests and takes no answers would have us keep them all.
                    let most = client.listener().limits.stream_buffer as usize;
                    if client.stream.unsent() > most && !client.unsent_at_most(most).await {
                        break After::Reset;
                    }
                }
                Next::Refused(exchange, reason) if http2::begins(&client, reason) => {
                    state.give_back(exchange);
                    return http2::serve(client).await;
                }
                Next::Refused(mut exchange, reason) => {
                    let after = reply::refuse(&mut client, &mut exchange, reason);
                    account::done(&client, &exchange);
                    state.give_back(exchange);
                    break after;
                }
                Next::Leave => match Box::pin(passing::leave(client)).await {
                    Some(stays) => client = stays,
                    None => return,
                },
                Next::Closed => break After::Close,
                Next::Gone => break After::Gone,
            }
        };
        linger::end(&client, after).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_task<C, F>(_: fn(C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_that_waits_is_small() {
        let size = size_of_task(serve);
        assert!(size <= 456, "{size} bytes");
    }
}
