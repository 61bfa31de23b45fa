//! rustls behind the runtime's layer: records in, plaintext out, and back.
//!
//! Records are decrypted where they were received, as long as nobody else has a lease on that buffer. What is left of a
//! record or of a message of the handshake waits in `partial` for its rest; at most what rustls allows of one.

use super::client::CoreClient;
use super::server::CoreServer;
use super::session::{Failure, Session};
use ringway_runtime::buffer::Lease;
use ringway_runtime::engine::{Layer, Received};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{CommonState, Error};
use std::cell::{Cell, OnceCell};
use std::io;
use std::rc::Rc;

/// Bytes of a record's header (RFC 8446 section 5.1).
const HEADER: usize = 5;
/// Plaintext of one record at most.
const RECORD: usize = 1 << 14;
/// What a record adds to its plaintext at most, with any suite.
const OVERHEAD: usize = 64;
/// Bytes kept of a partial record; memory beyond is given back.
const KEEP: usize = 512;

/// How a handshake went, as far as it has gone.
#[derive(Debug, Default)]
pub struct Handshake {
    session: OnceCell<Session>,
    failure: Cell<Option<Failure>>,
}

impl Handshake {
    /// What was agreed on, once it was.
    pub fn session(&self) -> Option<&Session> {
        self.session.get()
    }

    /// Why nothing was agreed on.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.get()
    }
}

/// One side of a connection of rustls.
trait Side {
    type Data;
    const IS_SERVER: bool;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn state(&self) -> &CommonState;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    const IS_SERVER: bool = true;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn state(&self) -> &CommonState {
        self
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    const IS_SERVER: bool = false;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn state(&self) -> &CommonState {
        self
    }
}

struct Tls<S> {
    side: S,
    partial: Vec<u8>,
    handshake: Rc<Handshake>,
    /// The peer has said that nothing follows.
    ended: bool,
    /// What went wrong. rustls is not asked again then: it would look for what is gone.
    broken: Option<Error>,
}

/// The layer of a connection that was accepted, and how its handshake goes.
pub fn accept(config: &CoreServer) -> io::Result<(Box<dyn Layer>, Rc<Handshake>)> {
    let side = UnbufferedServerConnection::new(config.clone()).map_err(io::Error::other)?;
    Ok(Tls::boxed(side))
}

/// The layer of a connection to `host`, and how its handshake goes.
pub fn connect(client: &CoreClient, host: &str) -> io::Result<(Box<dyn Layer>, Rc<Handshake>)> {
    let name = client.name_of(host).ok_or(io::ErrorKind::InvalidInput)?;
    let side = UnbufferedClientConnection::new(client.config.clone(), name).map_err(io::Error::other)?;
    Ok(Tls::boxed(side))
}

/// Appends what is to be sent of a handshake or an alert.
fn encode<D>(mut data: EncodeTlsData<'_, D>, send: &mut Vec<u8>) -> Result<(), Error> {
    let start = send.len();
    // Asked with no room, it tells how much it wants.
    let wanted = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(wanted)) => wanted.required_size,
        Err(EncodeError::AlreadyEncoded) | Ok(_) => return Ok(()),
    };
    send.resize(start + wanted, 0);
    let done = data.encode(send.get_mut(start..).unwrap_or_default());
    done.map(|_| ()).map_err(|error| Error::General(error.to_string()))
}

/// Bytes that are missing of the last record in `bytes`, at least one; of its header where not even that is there.
fn missing(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        let Some(&[_, _, _, high, low]) = rest.first_chunk::<HEADER>() else { return HEADER - rest.len() };
        let whole = HEADER + usize::from(u16::from_be_bytes([high, low]));
        match rest.split_at_checked(whole) {
            Some((_, next)) => rest = next,
            None => return whole - rest.len(),
        }
    }
}

impl<S: Side + 'static> Tls<S> {
    fn boxed(side: S) -> (Box<dyn Layer>, Rc<Handshake>) {
        let handshake = Rc::<Handshake>::default();
        let this = Self { side, partial: Vec::new(), handshake: handshake.clone(), ended: false, broken: None };
        (Box::new(this), handshake)
    }

    /// Has rustls take all it can of `bytes`, and says how many it took.
    fn drive(&mut self, bytes: &mut [u8], out: &mut Received) -> Result<usize, Error> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.side.process(bytes.get_mut(used..).unwrap_or_default());
            let state = match state {
                Ok(state) => state,
                Err(error) => {
                    self.last_words(bytes.get_mut(used + discard..).unwrap_or_default(), &mut out.send);
                    return Err(error);
                }
            };
            let more = match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        out.plain.extend_from_slice(record.payload);
                    }
                    true
                }
                ConnectionState::EncodeTlsData(data) => {
                    encode(data, &mut out.send)?;
                    true
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    true
                }
                ConnectionState::PeerClosed => {
                    (self.ended, out.ended) = (true, true);
                    true
                }
                ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) | ConnectionState::Closed => false,
                _ => return Err(Error::General("early data was not asked for".to_owned())),
            };
            used += discard;
            if !more {
                return Ok(used);
            }
        }
    }

    /// What rustls has still to tell the peer after an error. It must not look at `bytes` again, which it does once it has
    /// nothing more to tell.
    fn last_words(&mut self, bytes: &mut [u8], send: &mut Vec<u8>) {
        while self.side.state().wants_write() {
            match self.side.process(bytes).state {
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    if encode(data, send).is_err() {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// Takes note of what was agreed on, once it was.
    fn settle(&mut self) -> Result<(), Error> {
        if self.handshake.session.get().is_none() && self.is_established() {
            let session = Session::of(self.side.state(), S::IS_SERVER)?;
            // Nobody else sets it.
            let _ = self.handshake.session.set(session);
        }
        Ok(())
    }

    fn take(&mut self, mut bytes: Lease, out: &mut Received) -> Result<(), Error> {
        out.plain.reserve(bytes.len());
        // First the rest of a record that came in parts.
        while !self.partial.is_empty() && !bytes.is_empty() {
            let count = missing(&self.partial).min(bytes.len());
            self.partial.extend_from_slice(bytes.get(..count).unwrap_or_default());
            bytes.advance(count);
            self.drive_partial(out)?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(whole) = bytes.get_mut() else {
            self.partial.extend_from_slice(&bytes);
            return self.drive_partial(out);
        };
        let used = self.drive(whole, out)?;
        self.partial.extend_from_slice(whole.get(used..).unwrap_or_default());
        Ok(())
    }

    fn drive_partial(&mut self, out: &mut Received) -> Result<(), Error> {
        let mut partial = std::mem::take(&mut self.partial);
        let used = self.drive(&mut partial, out)?;
        partial.drain(..used);
        if partial.is_empty() && partial.capacity() > KEEP {
            partial = Vec::new();
        }
        self.partial = partial;
        Ok(())
    }

    fn failed(&mut self, error: &Error) -> io::Error {
        self.broken = Some(error.clone());
        if self.handshake.session.get().is_none() && self.handshake.failure.get().is_none() {
            self.handshake.failure.set(Some(Failure::from(error)));
        }
        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
    }

    fn still_whole(&self) -> io::Result<()> {
        self.broken.as_ref().map_or(Ok(()), |error| Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())))
    }

    /// Appends `plain` as records, or the end where there is none.
    fn write(&mut self, plain: Option<&[u8]>, send: &mut Vec<u8>) -> Result<(), Error> {
        loop {
            match self.side.process(&mut self.partial).state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let start = send.len();
                    let length = plain.map_or(0, <[u8]>::len);
                    let mut room = length + (length / RECORD + 1) * OVERHEAD;
                    loop {
                        send.resize(start + room, 0);
                        let to = send.get_mut(start..).unwrap_or_default();
                        let written = match plain {
                            Some(plain) => traffic.encrypt(plain, to),
                            None => traffic.queue_close_notify(to),
                        };
                        match written {
                            Ok(count) => {
                                send.truncate(start + count);
                                return Ok(());
                            }
                            Err(EncryptError::InsufficientSize(wanted)) if wanted.required_size > room => {
                                room = wanted.required_size;
                            }
                            Err(error) => {
                                send.truncate(start);
                                return Err(Error::General(error.to_string()));
                            }
                        }
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, send)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.ended = true,
                _ => return Err(Error::HandshakeNotComplete),
            }
        }
    }
}

impl<S: Side + 'static> Layer for Tls<S> {
    fn start(&mut self, send: &mut Vec<u8>) -> io::Result<()> {
        let mut out = Received { send: std::mem::take(send), ..Received::default() };
        let driven = self.drive(&mut [], &mut out);
        *send = out.send;
        driven.map(|_| ()).map_err(|error| self.failed(&error))
    }

    fn receive(&mut self, bytes: Lease, out: &mut Received) -> io::Result<()> {
        self.still_whole()?;
        self.take(bytes, out).and_then(|()| self.settle()).map_err(|error| self.failed(&error))
    }

    fn ended(&mut self) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        if self.handshake.session.get().is_none() && self.handshake.failure.get().is_none() {
            self.handshake.failure.set(Some(Failure::Gone));
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer left without close_notify"))
    }

    fn is_established(&self) -> bool {
        !self.side.state().is_handshaking()
    }

    fn send(&mut self, plain: &[u8], send: &mut Vec<u8>) -> io::Result<()> {
        self.still_whole()?;
        self.write(Some(plain), send).map_err(|error| self.failed(&error))
    }

    fn finish(&mut self, send: &mut Vec<u8>) {
        // Before anything is agreed on there is nothing to end.
        if self.broken.is_none() && self.is_established() {
            let _ = self.write(None, send);
        }
    }
}
