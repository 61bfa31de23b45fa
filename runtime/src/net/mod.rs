//! Sockets: listeners, their placement over cores, and the options of a stream.

mod address;
pub mod handover;
mod ktls;
mod listen;
mod unix;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use socket2::{Protocol, SockRef, Socket, Type};

pub use address::{Address, Remote, UNIX_NAME_MAX, UnixName};
pub(crate) use ktls::{CONTROL, Offered, control, offer};
pub use ktls::{Cipher, SendKeys, has_kernel_tls};
pub use listen::{ListenSpec, Placement, bind_for_cores, bind_more, place_among, set_backlog};
pub(crate) use listen::{accept_queued, is_unix, refuse_new};
pub use unix::{Access, bind_unix};

/// A new socket towards `address`, with small writes sent at once.
pub(crate) fn stream_socket(address: &Address) -> io::Result<OwnedFd> {
    let protocol = address.socket_addr().map(|_| Protocol::TCP);
    let socket = Socket::new(address.domain(), Type::STREAM, protocol)?;
    if protocol.is_some() {
        socket.set_tcp_nodelay(true)?;
    }
    Ok(socket.into())
}

/// Where a socket is bound.
pub(crate) fn local_address(socket: &impl AsFd) -> io::Result<SocketAddr> {
    SockRef::from(socket)
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "the socket has no IP address"))
}

pub(crate) fn shut_down_write(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).shutdown(std::net::Shutdown::Write)
}

/// Makes the coming close a reset, so that the peer cannot take what it got for the whole.
pub(crate) fn reset_on_close(socket: &(impl AsFd + AsRawFd)) {
    // A socket that cannot linger is closed already, and that is all a reset would do.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
