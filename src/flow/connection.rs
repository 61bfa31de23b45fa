//! One client connection: request after request until it ends.

use super::client::Client;
use super::decode::{Next, next};
use super::{After, account, linger, passing, reply, serve};

/// Serves the requests of a connection in order.
pub(super) async fn serve(mut client: Client) {
    let after = loop {
        match next(&mut client).await {
            Next::Request(mut exchange) => {
                client.requests += 1;
                let after = serve::serve(&mut client, &mut exchange).await;
                account::done(&client, &exchange);
                client.state.give_back(exchange);
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
            Next::Refused(mut exchange, reason) => {
                let after = reply::refuse(&mut client, &mut exchange, reason);
                account::done(&client, &exchange);
                client.state.give_back(exchange);
                break after;
            }
            Next::Leave => match passing::leave(client).await {
                Some(stays) => client = stays,
                None => return,
            },
            Next::Closed => break After::Close,
            Next::Gone => break After::Gone,
        }
    };
    linger::end(&client, after).await;
}
