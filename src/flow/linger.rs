//! The end of a connection, so that the client sees the last answer whole.

use std::future::poll_fn;
use std::task::Poll;

use super::After;
use super::client::Client;

/// Ends the connection.
pub(super) async fn end(client: &Client, after: After) {
    match after {
        After::Gone => {}
        After::Reset => client.stream.reset_on_drop(),
        After::KeepAlive | After::Close | After::Truncated => {
            client.stream.say_end();
            if !client.unsent_at_most(0).await {
                // What it did not take must not look like the end.
                client.stream.reset_on_drop();
            } else if client.stream.shut_down_write().is_ok() {
                discard(client).await;
            }
        }
    }
}

/// Reads until the client's end: closing with unread bytes would send a reset, which may overtake the answer.
async fn discard(client: &Client) {
    client.timer.set(client.now() + client.listener().timeouts.linger);
    let mut left = client.listener().limits.linger as usize;
    loop {
        let read = poll_fn(|cx| match client.stream.poll_read(cx) {
            Poll::Ready(read) => Poll::Ready(read.ok().flatten()),
            Poll::Pending => client.timer.poll(cx).map(|()| None),
        })
        .await;
        match read {
            Some(lease) if lease.len() <= left => left -= lease.len(),
            _ => return,
        }
    }
}
