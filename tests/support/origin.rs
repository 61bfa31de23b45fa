//! Origins. The test accepts their connections and answers on them itself, or lets threads do it.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;
use super::message::{Head, Message, Wire, came, write_until_stuck};

/// A listening origin.
#[derive(Debug)]
pub(crate) struct Origin {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// Answers each request of a connection: false ends it.
type Handler = dyn Fn(&Message, &mut OriginConn) -> bool + Send + Sync;

impl Origin {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let socket = SockRef::from(&listener);
        socket.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        // Room for all that a test connects at once: the kernel drops what finds none, and tries again after a second.
        socket.listen(1024).expect("a longer line");
        Self { listener, address }
    }

    /// The gateway's next connection.
    pub(crate) fn accept(&self) -> OriginConn {
        let (stream, _) = self.listener.accept().expect("the gateway connects");
        OriginConn { wire: Wire::new(stream) }
    }

    /// Fails if the gateway connected.
    pub(crate) fn expect_no_connection(&self) {
        self.listener.set_nonblocking(true).expect("non-blocking");
        let accepted = self.listener.accept();
        self.listener.set_nonblocking(false).expect("blocking");
        if let Ok((stream, _)) = accepted {
            let (bytes, _) = Wire::new(stream).rest();
            panic!("the origin was reached: {}", bytes.escape_ascii());
        }
    }

    /// The address of an origin that refuses every connection.
    pub(crate) fn refusing() -> SocketAddr {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
        // Bound and not listening, to the end of all tests: otherwise another one's origin may get the port.
        std::mem::forget(socket);
        address
    }

    /// An address for a server of others that cannot say which free port it got: none that the kernel gives to those who
    /// ask for any, and none twice.
    pub(crate) fn elsewhere() -> SocketAddr {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let first = 20_000 + std::process::id() as usize % 10_000;
        loop {
            let port = (first + NEXT.fetch_add(1, Ordering::Relaxed)) as u16;
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                return listener.local_addr().expect("an address");
            }
        }
    }

    /// An origin that accepts nothing: its line of connections is full.
    pub(crate) fn full() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        socket.listen(0).expect("a listening socket");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("an address");
        // It stays in the line, though it is closed on this side.
        TcpStream::connect(address).expect("one place");
        Self { listener, address }
    }

    /// Serves by threads until the test process ends, and counts its connections.
    pub(crate) fn serve(
        handler: impl Fn(&Message, &mut OriginConn) -> bool + Send + Sync + 'static,
    ) -> (Self, Arc<AtomicUsize>) {
        let origin = Self::listen();
        let listener = origin.listener.try_clone().expect("a second handle");
        SockRef::from(&listener).set_read_timeout(None).expect("no deadline");
        let handler: Arc<Handler> = Arc::new(handler);
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                counted.fetch_add(1, Ordering::SeqCst);
                let handler = handler.clone();
                thread::spawn(move || {
                    let mut connection = OriginConn { wire: Wire::new(stream) };
                    connection.wire.stream.set_read_timeout(None).expect("no deadline");
                    while let Some(request) = connection.next_request() {
                        if !handler(&request, &mut connection) {
                            return;
                        }
                    }
                });
            }
        });
        (origin, count)
    }
}

/// A connection the gateway made.
#[derive(Debug)]
pub(crate) struct OriginConn {
    wire: Wire,
}

impl OriginConn {
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.wire.stream
    }

    /// Its socket, of which nothing was read.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.wire.stream
    }

    /// The next request head.
    pub(crate) fn head(&mut self) -> Head {
        came(self.wire.head())
    }

    /// The next request, with its body.
    pub(crate) fn request(&mut self) -> Message {
        let head = came(self.wire.head());
        came(self.wire.body(head, false))
    }

    /// The next request, unless the connection ends before it is whole.
    fn next_request(&mut self) -> Option<Message> {
        let head = self.wire.head().ok()?;
        self.wire.body(head, false).ok()
    }

    /// Reads one chunk and throws it away. Its size: 0 is the last, with no trailers.
    pub(crate) fn chunk(&mut self) -> usize {
        came(self.wire.chunk()).len()
    }

    /// Throws away what was read and not asked for, and says how much it was.
    pub(crate) fn take_unread(&mut self) -> usize {
        std::mem::take(&mut self.wire.unread).len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        came(self.wire.take(count))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.stream.write_all(bytes.as_ref()).expect("the gateway takes the bytes");
        self
    }

    /// Appends what comes next to `bytes`. False when the connection has ended.
    pub(crate) fn take_some(&mut self, bytes: &mut Vec<u8>) -> bool {
        let more = self.wire.fill().unwrap_or(false);
        bytes.append(&mut self.wire.unread);
        more
    }

    /// Sends until nothing more goes for a while, and says how many bytes went.
    pub(crate) fn send_until_stuck(&mut self, most: usize) -> usize {
        write_until_stuck(&self.wire.stream, most)
    }

    /// Sends what the gateway may refuse to take.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.wire.stream.write_all(bytes).is_ok()
    }

    /// Answers 200 with `body`.
    pub(crate) fn answer(&mut self, body: &str) -> &mut Self {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// Ends what the origin sends; it still reads.
    pub(crate) fn finish(&mut self) {
        self.wire.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.wire.stream).set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// Whether no byte waits to be read now.
    pub(crate) fn nothing_waits(&self) -> bool {
        self.wire.stream.set_nonblocking(true).expect("non-blocking");
        let peeked = self.wire.stream.peek(&mut [0]);
        self.wire.stream.set_nonblocking(false).expect("blocking");
        self.wire.unread.is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// What is left until the gateway ends the connection, in whatever way.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let (bytes, end) = self.wire.rest();
        if let Err(error) = end {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the gateway holds on to the connection");
        }
        bytes
    }

    /// Fails unless the gateway ends the connection without another byte.
    pub(crate) fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more than was expected: {}", rest.escape_ascii());
    }
}
