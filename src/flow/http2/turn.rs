//! What each turn of a connection of HTTP/2 does, whichever side of it the gateway is: receive, go on with what is ready,
//! send what is due, and wait.

use std::task::{Context, Poll};

use ringway_proto::http2::{Connection, Stream as Id};
use ringway_runtime::clock::Instant;
use ringway_runtime::core::Ready;
use ringway_runtime::engine::{Stream, Timer};

use super::super::input::Input;

/// Bytes that one turn reads, at most: then others have theirs.
const READS: usize = 64 << 10;

/// One side of a connection.
pub(crate) trait Role {
    /// How a connection ends.
    type End;

    /// The connection itself.
    fn wire(&self) -> &Stream;
    /// What came by it and was not dealt with.
    fn input(&mut self) -> &mut Input;
    /// The connection and the state of its protocol.
    fn parts(&mut self) -> (&Stream, &mut Connection);
    fn timer(&self) -> &Timer;
    /// The keys of what is carried and can go on.
    fn ready(&self) -> &Ready;
    /// Unsent bytes past which nothing more is written.
    fn high(&self) -> usize;

    /// Takes notice of what does not come by the wire.
    fn notices(&mut self, cx: &Context<'_>) -> Option<Self::End>;
    /// Has the codec read the input up to the next event, and acts upon that. False when there is none.
    fn event(&mut self) -> Result<bool, Self::End>;
    /// Goes on with what is carried under this key, if it is there.
    fn carry(&mut self, key: usize, cx: &Context<'_>);
    /// Sends data of a stream, whose turn it is. False when nothing can be sent.
    fn send(&mut self, stream: Id, cx: &Context<'_>) -> bool;
    /// The peer has taken bytes since the last turn.
    fn took(&mut self) {}
    /// Looks at the connection when all there was to do is done.
    fn rest(&mut self) -> Option<Self::End>;
    /// When something is to be done though nothing comes.
    fn due(&mut self) -> Instant;
    /// Does that.
    fn on_time(&mut self) -> Option<Self::End>;
    /// The end of a connection of which the peer is gone.
    fn gone(&self) -> Self::End;
}

/// Does all there is to do. Ready when the connection ends.
pub(crate) fn poll<R: Role>(role: &mut R, cx: &Context<'_>) -> Poll<R::End> {
    role.took();
    loop {
        if let Some(end) = role.notices(cx) {
            return Poll::Ready(end);
        }
        if let Err(end) = receive(role, cx) {
            return Poll::Ready(end);
        }
        // What finds it full is left alone, though the flush may make room at once.
        let mut was_full = is_full(role);
        while !is_full(role)
            && let Some(key) = role.ready().next()
        {
            role.carry(key, cx);
        }
        while !is_full(role)
            && let Some(stream) = role.parts().1.turn()
            && role.send(stream, cx)
        {}
        let is_more = !role.ready().is_empty();
        if role.parts().1.has_output() && !is_full(role) {
            output(role);
        }
        was_full |= is_full(role);
        role.wire().flush();
        if let Some(end) = role.rest() {
            return Poll::Ready(end);
        }
        if was_full {
            match role.wire().poll_unsent_at_most(cx, role.high() / 2) {
                Poll::Ready(Ok(())) => {
                    role.took();
                    continue;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(role.gone()),
                Poll::Pending => {}
            }
        } else if is_more {
            continue;
        }
        let due = role.due();
        role.timer().set(due);
        if role.timer().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if let Some(end) = role.on_time() {
            return Poll::Ready(end);
        }
    }
}

/// Writes the control frames that wait.
pub(crate) fn output<R: Role>(role: &mut R) {
    let (wire, h2) = role.parts();
    wire.with_outbox(|outbox| outbox.write(|out| h2.output(out)));
}

fn is_full<R: Role>(role: &R) -> bool {
    role.wire().unsent() > role.high()
}

/// Reads what the peer sent, but no more than its share.
fn receive<R: Role>(role: &mut R, cx: &Context<'_>) -> Result<(), R::End> {
    let mut read = 0;
    loop {
        // A frame may say more than it takes bytes.
        while role.event()? {}
        role.input().gather();
        if read >= READS {
            cx.waker().wake_by_ref();
            return Ok(());
        }
        match role.wire().poll_read(cx) {
            Poll::Ready(Ok(Some(lease))) => {
                read += lease.len();
                role.input().add(lease);
            }
            Poll::Ready(_) => return Err(role.gone()),
            Poll::Pending => return Ok(()),
        }
    }
}
