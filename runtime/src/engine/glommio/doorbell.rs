//! Looking for messages from other threads, and being woken for them.

use std::io::{self, Write};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::net;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use futures_io::AsyncRead;
use glommio::net::UnixStream;

use super::{Glommio, yield_now};
use crate::mesh::doorbell::Doorbell;
use crate::mesh::port::Inbox;

impl Glommio {
    /// A task looks for messages and, when there are none, waits for a byte on a socket: glommio waits for nothing but
    /// sockets. As it does not tell when its executor sleeps, the task that waits is what sleeps here: the first
    /// message to a core that does other things rings too, which costs a system call and at most one in each turn.
    pub(crate) fn attach(self: &Rc<Self>, inbox: Weak<dyn Inbox>) -> io::Result<Arc<Doorbell>> {
        let (bell, socket) = net::UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let doorbell = Arc::new(Doorbell::new(move || {
            // A bell that is full of rings has rung; one whose other end is gone rings for nobody.
            let _ = (&bell).write(&[1]);
        }));
        // SAFETY: the descriptor is open and given away here.
        let mut socket = unsafe { UnixStream::from_raw_fd(socket.into_raw_fd()) };
        let this = doorbell.clone();
        self.spawn(Box::pin(async move {
            let mut rings = [0; 8];
            loop {
                let Some(inbox) = inbox.upgrade() else { return };
                inbox.deliver();
                if this.sleep().may_sleep(|| inbox.has_mail()) {
                    drop(inbox);
                    let read = std::future::poll_fn(|cx| Pin::new(&mut socket).poll_read(cx, &mut rings)).await;
                    this.sleep().awake();
                    if !matches!(read, Ok(1..)) {
                        return;
                    }
                } else {
                    drop(inbox);
                    yield_now().await;
                }
            }
        }));
        Ok(doorbell)
    }
}
