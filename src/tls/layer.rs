//! TLS behind the runtime's layer: records in, plaintext out, and back.
//!
//! rustls shakes hands. It gets one record at a time, so that it never sees one that comes after the handshake: those are
//! for [`Records`]. Records are opened where they were received, as long as nobody else has a lease on that buffer. What is
//! left of a record or of a message of the handshake waits in `partial` for its rest; at most what is allowed of one.
//!
//! Once both have, the kernel may seal what is sent in place of [`Records`], where it is to and can.
//!
//! A client whose early data is taken is served before its handshake is done: until then rustls has the records, too.

use super::client::CoreClient;
use super::handshake::{EarlyData, Handshake};
use super::record::{DATA, HEADER, Kept, MOST, Plain, Records, Returned};
use super::server::CoreServer;
use super::session::{Failure, Session};
use ringway_runtime::buffer::{Lease, Outbox};
use ringway_runtime::engine::{Layer, Received};
use ringway_runtime::net::SendKeys;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, ReadEarlyData, UnbufferedStatus, WriteTraffic,
};
use rustls::{CommonState, Error, ExtractedSecrets, PeerMisbehaved, SupportedCipherSuite};
use std::rc::Rc;
use std::{fmt, io};

/// Bytes kept of a partial record; memory beyond is given back.
const KEEP: usize = 512;
/// Room for the first flight of a handshake that goes on from an earlier session, of which rustls tells one record at a time.
const FLIGHT: usize = 256;
/// What rustls adds to the plaintext of a record, at most.
const LONGER: usize = 32;

/// Why a connection whose end nobody vouches for has failed. Many clients leave so, hence nothing is allocated for the words.
#[derive(Debug)]
struct WithoutCloseNotify;

impl fmt::Display for WithoutCloseNotify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer left without close_notify")
    }
}

impl std::error::Error for WithoutCloseNotify {}

/// Told whether the kernel seals what a connection sends, once it was asked to. Without one it is not asked.
pub type KernelAsked = Box<dyn FnOnce(bool)>;

/// One side of a connection of rustls.
trait Side: Sized + 'static {
    type Data;
    type Kept: Kept;
    const IS_SERVER: bool;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn state(&self) -> &CommonState;
    /// Appends data that came before the handshake was done.
    fn read_early(data: ReadEarlyData<'_, '_, Self::Data>, early: &mut Vec<u8>) -> Result<(), Error>;
    /// Gives up the keys of a connection whose handshake is done.
    fn give_up(self) -> Result<(ExtractedSecrets, Self::Kept), Error>;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    type Kept = KernelConnection<ServerConnectionData>;
    const IS_SERVER: bool = true;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn state(&self) -> &CommonState {
        self
    }
    fn read_early(mut data: ReadEarlyData<'_, '_, Self::Data>, early: &mut Vec<u8>) -> Result<(), Error> {
        while let Some(record) = data.next_record() {
            early.extend_from_slice(record?.payload);
        }
        Ok(())
    }
    fn give_up(self) -> Result<(ExtractedSecrets, Self::Kept), Error> {
        self.dangerous_into_kernel_connection()
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    type Kept = KernelConnection<ClientConnectionData>;
    const IS_SERVER: bool = false;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn state(&self) -> &CommonState {
        self
    }
    fn read_early(_: ReadEarlyData<'_, '_, Self::Data>, _: &mut Vec<u8>) -> Result<(), Error> {
        Err(too_early())
    }
    fn give_up(self) -> Result<(ExtractedSecrets, Self::Kept), Error> {
        self.dangerous_into_kernel_connection()
    }
}

/// Who has the connection.
enum Stage<S: Side> {
    /// rustls, until the handshake is done.
    Handshake(Box<S>),
    Traffic(Box<Records<S::Kept>>),
    /// Nobody any more. It is not asked again: what is gone would be looked for.
    Broken(Error),
}

struct Tls<S: Side> {
    stage: Stage<S>,
    partial: Vec<u8>,
    /// Bytes of `partial` that rustls has looked at, and keeps until a message is whole.
    shown: usize,
    /// Where plaintext lies in what is being received.
    plain: Plain,
    /// Data was taken though the handshake is not done: what is to be sent does not wait for that either.
    is_early: bool,
    handshake: Rc<Handshake>,
    /// Where keys of TLS 1.2 come back from rustls, where they do.
    returned: Option<Returned>,
    kernel: Option<KernelAsked>,
    /// The peer has said that nothing follows.
    ended: bool,
}

/// The layer of a connection that was accepted, and how its handshake goes.
pub fn accept(server: &CoreServer, kernel: Option<KernelAsked>) -> io::Result<(Box<dyn Layer>, Rc<Handshake>)> {
    let side = UnbufferedServerConnection::new(server.config.clone()).map_err(io::Error::other)?;
    Ok(Tls::boxed(side, Some(server.returned), kernel))
}

/// The layer of a connection to `host`, and how its handshake goes.
pub fn connect(
    client: &CoreClient,
    host: &str,
    kernel: Option<KernelAsked>,
) -> io::Result<(Box<dyn Layer>, Rc<Handshake>)> {
    let name = client.name_of(host).ok_or(io::ErrorKind::InvalidInput)?;
    let side = UnbufferedClientConnection::new(client.config.clone(), name).map_err(io::Error::other)?;
    Ok(Tls::boxed(side, None, kernel))
}

/// Appends what is to be sent of a handshake or an alert.
fn encode<D>(mut data: EncodeTlsData<'_, D>, send: &mut Vec<u8>) -> Result<(), Error> {
    let start = send.len();
    // Asked with no room, it tells how much it wants.
    let wanted = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(wanted)) => wanted.required_size,
        Err(EncodeError::AlreadyEncoded) | Ok(_) => return Ok(()),
    };
    if send.capacity() == 0 {
        send.reserve(wanted.max(FLIGHT));
    }
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

/// Where the record at `at` ends, where its header is there.
fn end_of_record(bytes: &[u8], at: usize) -> Option<usize> {
    let &[_, _, _, high, low] = bytes.get(at..)?.first_chunk::<HEADER>()?;
    Some(at + HEADER + usize::from(u16::from_be_bytes([high, low])))
}

/// Where the last whole record ends of those that begin at `at`.
fn end_of_records(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut last = None;
    while let Some(next) = end_of_record(bytes, at).filter(|next| *next <= bytes.len()) {
        (at, last) = (next, Some(next));
    }
    last
}

fn too_early() -> Error {
    Error::General("data came before the handshake was done".to_owned())
}

/// Lets `put` fill room at the end of `send`, which it may want more of.
fn encrypt(
    send: &mut Vec<u8>,
    room: usize,
    mut put: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Error> {
    let start = send.len();
    let mut room = room;
    loop {
        send.resize(start + room, 0);
        match put(send.get_mut(start..).unwrap_or_default()) {
            Ok(count) => {
                send.truncate(start + count);
                return Ok(());
            }
            Err(EncryptError::InsufficientSize(wanted)) if wanted.required_size > room => room = wanted.required_size,
            Err(_) => {
                send.truncate(start);
                return Err(Error::EncryptError);
            }
        }
    }
}

/// Has rustls send before the handshake is done. `shown` is what it keeps of a message that is not whole.
fn send_early<S: Side>(
    side: &mut S,
    shown: &mut [u8],
    write: impl FnOnce(WriteTraffic<'_, S::Data>) -> Result<(), Error>,
) -> Result<(), Error> {
    match side.process(shown).state? {
        ConnectionState::WriteTraffic(traffic) => write(traffic),
        _ => Err(Error::HandshakeNotComplete),
    }
}

/// What rustls has still to tell the peer after an error. It must not look at `bytes` again, which it does once it has
/// nothing more to tell.
fn last_words<S: Side>(side: &mut S, bytes: &mut [u8], send: &mut Vec<u8>) {
    while side.state().wants_write() {
        match side.process(bytes).state {
            Ok(ConnectionState::EncodeTlsData(data)) => {
                if encode(data, send).is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// Has rustls take all it can of `bytes`, and says how many it took. Data that it lets pass is appended to `early`.
fn shake<S: Side>(side: &mut S, bytes: &mut [u8], send: &mut Vec<u8>, early: &mut Vec<u8>) -> Result<usize, Error> {
    let mut used = 0;
    loop {
        let UnbufferedStatus { discard, state } = side.process(bytes.get_mut(used..).unwrap_or_default());
        let more = match state {
            Ok(ConnectionState::EncodeTlsData(data)) => {
                encode(data, send)?;
                true
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                true
            }
            Ok(ConnectionState::ReadEarlyData(data)) => {
                S::read_early(data, early)?;
                true
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => false,
            Ok(_) => return Err(too_early()),
            Err(error) => {
                last_words(side, bytes.get_mut(used + discard..).unwrap_or_default(), send);
                return Err(error);
            }
        };
        used += discard;
        if !more {
            return Ok(used);
        }
    }
}

impl<S: Side> Tls<S> {
    fn boxed(side: S, returned: Option<Returned>, kernel: Option<KernelAsked>) -> (Box<dyn Layer>, Rc<Handshake>) {
        let handshake = Rc::<Handshake>::default();
        let stage = Stage::Handshake(Box::new(side));
        let plain = Plain::default();
        let this = Self {
            stage,
            partial: Vec::new(),
            shown: 0,
            plain,
            is_early: false,
            handshake: handshake.clone(),
            returned,
            kernel,
            ended: false,
        };
        (Box::new(this), handshake)
    }

    /// Takes all that is whole in `bytes`, and says how many bytes that is.
    fn drive(&mut self, bytes: &mut [u8], out: &mut Received) -> Result<usize, Error> {
        let (mut used, mut end) = (0, std::mem::take(&mut self.shown));
        // What a client sent before it heard from here is shown at once: none of it is from after the handshake. Early data
        // that is refused stays there, is looked at again with each further record, and is counted each time.
        let mut has_spoken = false;
        while let Stage::Handshake(side) = &mut self.stage {
            let next = if has_spoken {
                end_of_records(bytes, end)
            } else {
                end_of_record(bytes, end).filter(|next| *next <= bytes.len())
            };
            if next.is_none() && self.handshake.early_data() == EarlyData::Refused {
                self.shown = end.saturating_sub(used);
                return Ok(used);
            }
            // What is not whole is shown, too: so a header that is wrong is refused as soon as it is there.
            let until = next.unwrap_or(bytes.len());
            let (said, mut early) = (out.send.len(), Vec::new());
            let taken = shake(&mut **side, bytes.get_mut(used..until).unwrap_or_default(), &mut out.send, &mut early);
            // Whatever comes behind them, these were let pass.
            self.pass_early(early, out)?;
            used += taken?;
            has_spoken = S::IS_SERVER && out.send.len() > said;
            self.settle()?;
            if self.has_records() && used != until {
                // Part of a message behind the last of the handshake: its rest would come under other keys.
                return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
            }
            let Some(next) = next else {
                self.shown = end.saturating_sub(used);
                return Ok(used);
            };
            if S::IS_SERVER && used < next && bytes.get(used) == Some(&DATA) && !self.is_early {
                // Sealed with keys that nobody here has.
                self.handshake.met_early_data(EarlyData::Refused);
            }
            end = next;
        }
        match &mut self.stage {
            Stage::Traffic(records) => {
                used = records.receive(bytes, used, &mut self.plain, &mut out.send)?;
                if records.has_ended() {
                    (self.ended, out.ended) = (true, true);
                }
                Ok(used)
            }
            Stage::Broken(error) => Err(error.clone()),
            Stage::Handshake(_) => Ok(used),
        }
    }

    fn has_records(&self) -> bool {
        matches!(self.stage, Stage::Traffic(_))
    }

    /// Passes on data that came before the handshake was done. What was agreed on is known by then.
    fn pass_early(&mut self, early: Vec<u8>, out: &mut Received) -> Result<(), Error> {
        let Stage::Handshake(side) = &self.stage else { return Ok(()) };
        if early.is_empty() {
            return Ok(());
        }
        if !self.is_early {
            self.is_early = true;
            self.handshake.met_early_data(EarlyData::Taken);
            self.handshake.agreed(Session::of(side.state(), S::IS_SERVER)?);
        }
        out.plain.push_back(early.into());
        Ok(())
    }

    /// Takes note of what was agreed on, once it was, and takes the keys over.
    fn settle(&mut self) -> Result<(), Error> {
        let Stage::Handshake(side) = &self.stage else { return Ok(()) };
        if side.state().is_handshaking() {
            return Ok(());
        }
        let session = Session::of(side.state(), S::IS_SERVER)?;
        let between = Stage::Broken(Error::HandshakeNotComplete);
        if let Stage::Handshake(side) = std::mem::replace(&mut self.stage, between) {
            let keeps = self.kernel.is_some();
            let records = match (side.state().negotiated_cipher_suite(), self.returned) {
                (Some(SupportedCipherSuite::Tls13(suite)), _) => {
                    let (secrets, kept) = side.give_up()?;
                    Records::extracted(Some(kept), &suite.common, secrets, keeps)?
                }
                (Some(SupportedCipherSuite::Tls12(suite)), Some(returned)) if !side.state().wants_write() => {
                    drop(side);
                    Records::returned(&suite.common, returned, keeps)?
                }
                (Some(SupportedCipherSuite::Tls12(suite)), _) => {
                    let (secrets, _) = side.give_up()?;
                    Records::extracted(None, &suite.common, secrets, keeps)?
                }
                (None, _) => return Err(Error::HandshakeNotComplete),
            };
            self.stage = Stage::Traffic(Box::new(records));
            self.handshake.agreed(session);
            self.handshake.over(true);
        }
        Ok(())
    }

    fn take(&mut self, mut bytes: Lease, out: &mut Received) -> Result<(), Error> {
        // First the rest of a record that came in parts.
        while !self.partial.is_empty() && !bytes.is_empty() {
            let count = missing(self.partial.get(self.shown..).unwrap_or_default()).min(bytes.len());
            self.partial.reserve(count);
            self.partial.extend_from_slice(bytes.get(..count).unwrap_or_default());
            bytes.advance(count);
            self.drive_partial(out)?;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.get_mut().is_none() {
            bytes = Lease::copied(&bytes);
        }
        let driven = self.drive(bytes.get_mut().unwrap_or_default(), out);
        if let Ok(used) = driven {
            self.partial.extend_from_slice(bytes.get(used..).unwrap_or_default());
        }
        self.pass_on(bytes, out);
        driven.map(|_| ())
    }

    fn drive_partial(&mut self, out: &mut Received) -> Result<(), Error> {
        let mut partial = std::mem::take(&mut self.partial);
        let driven = self.drive(&mut partial, out);
        if self.plain.is_empty() {
            partial.drain(..driven?);
            if partial.is_empty() && partial.capacity() > KEEP {
                partial = Vec::new();
            }
            self.partial = partial;
            return Ok(());
        }
        if let Ok(used) = driven {
            self.partial.extend_from_slice(partial.get(used..).unwrap_or_default());
        }
        self.pass_on(partial.into(), out);
        driven.map(|_| ())
    }

    /// Passes on the plaintext that lies in `bytes`.
    fn pass_on(&mut self, mut bytes: Lease, out: &mut Received) {
        let mut pieces = self.plain.take().peekable();
        while let Some(piece) = pieces.next() {
            if pieces.peek().is_some() {
                out.plain.push_back(bytes.slice(piece.start, piece.end));
            } else {
                bytes.truncate(piece.end);
                bytes.advance(piece.start);
                out.plain.push_back(bytes);
                return;
            }
        }
    }

    fn failed(&mut self, error: Error) -> io::Error {
        self.handshake.failed(Failure::from(&error));
        let shown = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        self.break_off(error);
        shown
    }

    /// Has nobody go on. The keys go, too.
    fn break_off(&mut self, why: Error) {
        self.stage = Stage::Broken(why);
        if let Some(returned) = self.returned {
            returned.clear();
        }
    }

    fn write(&mut self, plain: &Outbox, send: &mut Vec<u8>) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Traffic(records) => records.send(plain.len(), |each| plain.slices(each), send),
            Stage::Handshake(side) if self.is_early => {
                let mut whole = Vec::with_capacity(plain.len());
                plain.slices(|piece| {
                    whole.extend_from_slice(piece);
                    true
                });
                let room = whole.len() + (whole.len() / MOST + 1) * (HEADER + LONGER);
                send_early(&mut **side, &mut self.partial, |mut traffic| {
                    encrypt(send, room, |room| traffic.encrypt(&whole, room))
                })
            }
            Stage::Handshake(_) => Err(Error::HandshakeNotComplete),
            Stage::Broken(error) => Err(error.clone()),
        }
    }
}

impl<S: Side> Drop for Tls<S> {
    fn drop(&mut self) {
        if let Stage::Handshake(_) = self.stage {
            self.break_off(Error::HandshakeNotComplete);
        }
        // Nobody is to wait for what nobody brings about.
        self.handshake.over(false);
    }
}

impl<S: Side> Layer for Tls<S> {
    fn start(&mut self, send: &mut Vec<u8>) -> io::Result<()> {
        let mut out = Received { send: std::mem::take(send), ..Received::default() };
        let driven = self.drive(&mut [], &mut out);
        *send = out.send;
        driven.map(|_| ()).map_err(|error| self.failed(error))
    }

    fn receive(&mut self, bytes: Lease, out: &mut Received) -> io::Result<()> {
        self.take(bytes, out).map_err(|error| self.failed(error))
    }

    fn ended(&mut self) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        self.handshake.failed(Failure::Gone);
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, WithoutCloseNotify))
    }

    fn is_established(&self) -> bool {
        self.has_records() || (self.is_early && matches!(self.stage, Stage::Handshake(_)))
    }

    fn send(&mut self, plain: &Outbox, send: &mut Vec<u8>) -> io::Result<()> {
        self.write(plain, send).map_err(|error| self.failed(error))
    }

    fn finish(&mut self, send: &mut Vec<u8>) {
        match &mut self.stage {
            Stage::Traffic(records) => records.end(send),
            Stage::Handshake(side) if self.is_early => {
                // Where even that fails there is nothing left to say.
                let _ = send_early(&mut **side, &mut self.partial, |mut traffic| {
                    encrypt(send, HEADER + LONGER, |room| traffic.queue_close_notify(room))
                });
            }
            // Before anything is agreed on there is nothing to end.
            Stage::Handshake(_) | Stage::Broken(_) => {}
        }
    }

    fn offer(&mut self) -> Option<SendKeys> {
        match &self.stage {
            Stage::Traffic(records) => records.offer(),
            Stage::Handshake(_) | Stage::Broken(_) => None,
        }
    }

    fn offered(&mut self, is_taken: bool) {
        if let Stage::Traffic(records) = &mut self.stage {
            records.offered(is_taken);
        }
        if let Some(kernel) = self.kernel.take() {
            kernel(is_taken);
        }
    }

    fn pass(&mut self, plain: &Outbox, send: &mut Vec<u8>) -> io::Result<()> {
        let passed = match &mut self.stage {
            Stage::Traffic(records) => records.pass(|each| plain.slices(each), send),
            Stage::Broken(error) => Err(error.clone()),
            Stage::Handshake(_) => Err(Error::HandshakeNotComplete),
        };
        passed.map_err(|error| self.failed(error))
    }
}
