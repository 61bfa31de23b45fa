//! Addresses for servers that have to be told where to listen.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port of this machine that the kernel gives to nobody by itself. Whoever binds it with `SO_REUSEADDR`, as servers do,
/// can listen there: this socket is bound, and does not listen.
pub(crate) struct Reserved {
    pub(crate) address: SocketAddr,
    _socket: Socket,
}

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
        Self { address, _socket: socket }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}
