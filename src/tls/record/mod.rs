//! The record layer once both sides have shaken hands.
//!
//! rustls shakes hands and then gives up its keys ([`rustls::kernel`]). From then on records are opened in the buffer they
//! were received in and sealed in the one they are sent from. What rustls keeps of TLS 1.3 is the schedule of keys: it gives
//! the next ones when a side updates its, and stores the tickets that a client gets. Of TLS 1.2 it keeps nothing, and listeners
//! take its keys over as they are ([`returned`]).
//!
//! What peers may do is what rustls lets them, and no more.
//!
//! The kernel may take over the sealing ([`Records::offer`]). Then it is told of what is no data as records that are not
//! sealed, and what it seals is counted here, as nobody counts there.

mod keys;
mod returned;

use keys::Keys;
pub use returned::CoreSuites;
pub(super) use returned::Returned;
use ringway_runtime::net::SendKeys;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{
    AlertDescription, CipherSuiteCommon, ContentType, Error, ExtractedSecrets, HandshakeType, InvalidMessage,
    PeerMisbehaved,
};
use std::ops::Range;

/// Bytes of a record's header (RFC 8446 section 5.1).
pub(super) const HEADER: usize = 5;
/// Plaintext of one record at most.
pub(super) const MOST: usize = 1 << 14;
/// What a record may be longer than its plaintext, in TLS 1.3 and before.
const LONGER: [usize; 2] = [256, 2048];
/// The outer type of every sealed record of TLS 1.3.
pub(super) const DATA: u8 = 23;
/// A message after the handshake at most, without its header.
const MESSAGE: usize = 0xffff;
/// Plaintexts up to this many bytes are moved next to the one before: one long piece is cheaper to pass on than two.
const JOIN: usize = 2048;
/// Records without plaintext in a row.
const EMPTY: u8 = 32;
/// Updates of the peer's keys without data between them.
const UPDATES: u8 = 32;
/// Warnings that are let pass.
const WARNINGS: u8 = 4;
/// Requests to shake hands again that are answered with a warning.
const RENEGOTIATIONS: u8 = 1;

/// What rustls has kept of a connection of TLS 1.3.
pub(super) trait Kept {
    /// Whether the other side is a client.
    const IS_SERVER: bool;
    /// The keys that come after those in use, in this direction.
    fn update(&mut self, send: bool) -> Result<(u64, rustls::ConnectionTrafficSecrets), Error>;
    /// Stores a ticket. Only a client gets any.
    fn ticket(&mut self, message: &[u8]) -> Result<(), Error>;
}

impl Kept for KernelConnection<ServerConnectionData> {
    const IS_SERVER: bool = true;
    fn update(&mut self, send: bool) -> Result<(u64, rustls::ConnectionTrafficSecrets), Error> {
        if send { self.update_tx_secret() } else { self.update_rx_secret() }
    }
    fn ticket(&mut self, _: &[u8]) -> Result<(), Error> {
        Err(unexpected_message(HandshakeType::NewSessionTicket))
    }
}

impl Kept for KernelConnection<ClientConnectionData> {
    const IS_SERVER: bool = false;
    fn update(&mut self, send: bool) -> Result<(u64, rustls::ConnectionTrafficSecrets), Error> {
        if send { self.update_tx_secret() } else { self.update_rx_secret() }
    }
    fn ticket(&mut self, message: &[u8]) -> Result<(), Error> {
        self.handle_new_session_ticket(message)
    }
}

fn unexpected_message(got_type: HandshakeType) -> Error {
    Error::InappropriateHandshakeMessage { expect_types: Vec::new(), got_type }
}

fn unexpected_record(got_type: ContentType) -> Error {
    Error::InappropriateMessage { expect_types: vec![ContentType::ApplicationData], got_type }
}

/// What the peer is told of an error. Nothing where it has said itself that it gives up.
fn alert_of(error: &Error) -> Option<AlertDescription> {
    Some(match error {
        Error::DecryptError => AlertDescription::BadRecordMac,
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::InvalidMessage(InvalidMessage::InvalidKeyUpdate) => AlertDescription::IllegalParameter,
        Error::InvalidMessage(_) => AlertDescription::DecodeError,
        Error::PeerMisbehaved(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::AlertReceived(_) => return None,
        _ => AlertDescription::InternalError,
    })
}

/// Where plaintext lies in a buffer: pieces in order.
#[derive(Debug, Default)]
pub(super) struct Plain(Vec<Range<usize>>);

impl Plain {
    /// Takes note of plaintext, and moves it next to what lies before it where that is worth it.
    fn add(&mut self, piece: Range<usize>, bytes: &mut [u8]) {
        match self.0.last_mut() {
            Some(last) if piece.len() <= JOIN => {
                let (length, end) = (piece.len(), last.end);
                bytes.copy_within(piece, end);
                last.end = end + length;
            }
            _ => self.0.push(piece),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pieces, which are forgotten.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Range<usize>> {
        self.0.drain(..)
    }
}

/// What is left of the patience with a peer.
struct Patience {
    empty: u8,
    updates: u8,
    warnings: u8,
    renegotiations: u8,
}

impl Patience {
    const FULL: Self = Self { empty: EMPTY, updates: UPDATES, warnings: WARNINGS, renegotiations: RENEGOTIATIONS };
}

/// Takes one of `left`, or says that there is none.
fn spend(left: &mut u8, none: PeerMisbehaved) -> Result<(), Error> {
    *left = left.checked_sub(1).ok_or(none)?;
    Ok(())
}

/// Who seals what is sent.
enum Sends {
    /// Whoever holds these keys.
    Here(Keys),
    /// The kernel, which has used its keys for so many records at most.
    Kernel(u64),
}

impl Sends {
    /// Records that the keys have been used for.
    fn used(&self) -> u64 {
        match self {
            Self::Here(keys) => keys.used(),
            Self::Kernel(used) => *used,
        }
    }

    fn keys(&mut self) -> Result<&mut Keys, Error> {
        match self {
            Self::Here(keys) => Ok(keys),
            Self::Kernel(_) => Err(Error::General("the kernel has the keys".to_owned())),
        }
    }
}

/// The records of a connection both of whose sides have shaken hands.
pub(super) struct Records<K> {
    /// Nothing with TLS 1.2, whose keys are never changed.
    kept: Option<K>,
    sends: Sends,
    receives: Keys,
    /// Records that keys may seal.
    most_sealed: u64,
    /// The peer wants other keys to be used, which it is told before the next data.
    owes_update: bool,
    /// The beginning of a message that goes on in the next record.
    message: Vec<u8>,
    patience: Patience,
    ended: bool,
}

impl<K: Kept> Records<K> {
    /// The records of the side whose secrets these are, of TLS 1.3 where something is kept. With `keeps` the kernel may seal
    /// what is sent.
    pub(super) fn extracted(
        kept: Option<K>,
        suite: &CipherSuiteCommon,
        secrets: ExtractedSecrets,
        keeps: bool,
    ) -> Result<Self, Error> {
        let keys = |secrets, keeps| Keys::new(kept.is_some(), secrets, keeps);
        let (sends, receives) = (keys(secrets.tx, keeps)?, keys(secrets.rx, false)?);
        Ok(Self::new(kept, suite, sends, receives))
    }

    /// Those of TLS 1.2 with the keys that came back from its handshake.
    pub(super) fn returned(suite: &CipherSuiteCommon, returned: Returned, keeps: bool) -> Result<Self, Error> {
        let (mut sends, mut receives) = returned.take()?;
        receives.keep_from_kernel();
        if !keeps {
            sends.keep_from_kernel();
        }
        Ok(Self::new(None, suite, sends, receives))
    }

    fn new(kept: Option<K>, suite: &CipherSuiteCommon, sends: Keys, receives: Keys) -> Self {
        Self {
            kept,
            sends: Sends::Here(sends),
            receives,
            most_sealed: suite.confidentiality_limit,
            owes_update: false,
            message: Vec::new(),
            patience: Patience::FULL,
            ended: false,
        }
    }

    fn is_tls13(&self) -> bool {
        self.kept.is_some()
    }

    fn kept(&mut self) -> Result<&mut K, Error> {
        self.kept.as_mut().ok_or_else(|| Error::General("TLS 1.2 has one pair of keys".to_owned()))
    }

    /// Whether the peer has said that nothing follows.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Opens the records in `bytes` from `at` on, and says where the last whole one ends. What is to be said on them is
    /// appended to `send`, an alert included where this fails.
    pub(super) fn receive(
        &mut self,
        bytes: &mut [u8],
        mut at: usize,
        plain: &mut Plain,
        send: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let taken = loop {
            if self.ended {
                // Whatever follows is ignored (RFC 8446 section 6.1).
                return Ok(bytes.len());
            }
            match self.receive_one(bytes, at, plain, send) {
                Ok(Some(next)) => at = next,
                Ok(None) => break Ok(at),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = &taken
            && let Some(alert) = alert_of(error)
        {
            // Where even that fails there is nothing left to say.
            let _ = self.alert(2, alert, send);
        }
        taken
    }

    /// Where the record at `at` ends. Nothing while it is not all there.
    fn receive_one(
        &mut self,
        bytes: &mut [u8],
        at: usize,
        plain: &mut Plain,
        send: &mut Vec<u8>,
    ) -> Result<Option<usize>, Error> {
        let Some(&[kind, major, _, high, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<HEADER>()) else {
            return Ok(None);
        };
        let kind = ContentType::from(kind);
        let length = usize::from(u16::from_be_bytes([high, low]));
        if let ContentType::Unknown(_) = kind {
            return Err(InvalidMessage::InvalidContentType.into());
        }
        if major != 3 {
            return Err(InvalidMessage::UnknownProtocolVersion.into());
        }
        if length > MOST + LONGER[usize::from(!self.is_tls13())] {
            return Err(Error::PeerSentOversizedRecord);
        }
        // A change of ciphers belongs to the handshake, and before TLS 1.3 it shows what is sealed in it.
        if kind == ContentType::ChangeCipherSpec || (self.is_tls13() && kind != ContentType::ApplicationData) {
            return Err(unexpected_record(kind));
        }
        let end = at + HEADER + length;
        let Some(record) = bytes.get_mut(at..end) else { return Ok(None) };
        let (kind, piece) = self.receives.open(record)?;
        let piece = at + piece.start..at + piece.end;
        if !self.message.is_empty() && kind != ContentType::Handshake {
            return Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into());
        }
        if kind == ContentType::ApplicationData {
            if piece.is_empty() {
                spend(&mut self.patience.empty, PeerMisbehaved::TooManyEmptyFragments)?;
            } else {
                (self.patience.empty, self.patience.updates) = (EMPTY, UPDATES);
                plain.add(piece, bytes);
            }
            return Ok(Some(end));
        }
        let inside = bytes.get(piece).unwrap_or_default();
        match kind {
            ContentType::Alert => self.take_alert(inside)?,
            ContentType::Handshake => self.take_messages(inside, send)?,
            _ => return Err(unexpected_record(kind)),
        }
        Ok(Some(end))
    }

    fn take_alert(&mut self, alert: &[u8]) -> Result<(), Error> {
        let &[level, description] = alert else {
            return Err(InvalidMessage::MessageTooShort.into());
        };
        let description = AlertDescription::from(description);
        if description == AlertDescription::CloseNotify && (level == 1 || level == 2) {
            self.ended = true;
            return Ok(());
        }
        match level {
            1 => {}
            2 => return Err(Error::AlertReceived(description)),
            _ => return Err(InvalidMessage::UnexpectedMessage("an alert").into()),
        }
        spend(&mut self.patience.warnings, PeerMisbehaved::TooManyWarningAlertsReceived)?;
        if self.is_tls13() && description != AlertDescription::UserCanceled {
            return Err(InvalidMessage::UnexpectedMessage("a warning").into());
        }
        Ok(())
    }

    fn take_messages(&mut self, fragment: &[u8], send: &mut Vec<u8>) -> Result<(), Error> {
        if fragment.is_empty() {
            return Err(InvalidMessage::InvalidEmptyPayload.into());
        }
        if self.message.is_empty() {
            let left = self.take_whole_messages(fragment, send)?;
            self.message.extend_from_slice(left);
        } else {
            let mut message = std::mem::take(&mut self.message);
            message.extend_from_slice(fragment);
            let left = self.take_whole_messages(&message, send)?.len();
            message.drain(..message.len() - left);
            self.message = message;
        }
        Ok(())
    }

    /// Takes the messages that are all there. What is left of the last.
    fn take_whole_messages<'a>(&mut self, mut bytes: &'a [u8], send: &mut Vec<u8>) -> Result<&'a [u8], Error> {
        while let Some((&[kind, a, b, c], rest)) = bytes.split_first_chunk::<4>() {
            let kind = HandshakeType::from(kind);
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            // One that is not to be is not waited for.
            match kind {
                HandshakeType::KeyUpdate if self.is_tls13() => {
                    if length != 1 {
                        return Err(InvalidMessage::InvalidKeyUpdate.into());
                    }
                }
                HandshakeType::NewSessionTicket if self.is_tls13() && !K::IS_SERVER => {}
                HandshakeType::ClientHello if !self.is_tls13() && K::IS_SERVER => {}
                HandshakeType::HelloRequest if !self.is_tls13() && !K::IS_SERVER && length == 0 => {}
                _ => return Err(unexpected_message(kind)),
            }
            if length > MESSAGE {
                return Err(InvalidMessage::HandshakePayloadTooLarge.into());
            }
            let Some((message, rest)) = rest.split_at_checked(length) else { break };
            bytes = rest;
            match (kind, message) {
                (HandshakeType::KeyUpdate, &[request]) => {
                    if !rest.is_empty() {
                        return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
                    }
                    self.take_update(request)?;
                }
                (HandshakeType::NewSessionTicket, message) => self.kept()?.ticket(message)?,
                _ => {
                    spend(&mut self.patience.renegotiations, PeerMisbehaved::TooManyRenegotiationRequests)?;
                    self.alert(1, AlertDescription::NoRenegotiation, send)?;
                }
            }
        }
        Ok(bytes)
    }

    fn take_update(&mut self, request: u8) -> Result<(), Error> {
        spend(&mut self.patience.updates, PeerMisbehaved::TooManyKeyUpdateRequests)?;
        match request {
            0 => {}
            1 => self.owes_update = true,
            _ => return Err(InvalidMessage::InvalidKeyUpdate.into()),
        }
        self.receives = Keys::new(true, self.kept()?.update(false)?, false)?;
        Ok(())
    }

    /// Tells the peer that other keys are used from now on, and whether it is to do the same.
    fn update(&mut self, request: bool, send: &mut Vec<u8>) -> Result<(), Error> {
        let message = [u8::from(HandshakeType::KeyUpdate), 0, 0, 1, u8::from(request)];
        self.record(ContentType::Handshake, &message, send)?;
        let keeps = self.sends.keys()?.are_kept();
        self.sends = Sends::Here(Keys::new(true, self.kept()?.update(true)?, keeps)?);
        self.owes_update = false;
        Ok(())
    }

    fn record(&mut self, kind: ContentType, plain: &[u8], send: &mut Vec<u8>) -> Result<(), Error> {
        match &mut self.sends {
            Sends::Here(keys) => {
                let start = keys.begin(send);
                send.extend_from_slice(plain);
                keys.seal(kind, start, send)
            }
            Sends::Kernel(used) => {
                *used += 1;
                let [high, low] = (plain.len() as u16).to_be_bytes();
                send.extend_from_slice(&[u8::from(kind), 3, 3, high, low]);
                send.extend_from_slice(plain);
                Ok(())
            }
        }
    }

    fn alert(&mut self, level: u8, description: AlertDescription, send: &mut Vec<u8>) -> Result<(), Error> {
        self.record(ContentType::Alert, &[level, u8::from(description)], send)
    }

    /// Has other keys used before these have sealed as many records as they may. TLS 1.2 cannot do that.
    fn before_data(&mut self, send: &mut Vec<u8>) -> Result<(), Error> {
        let are_used_up = self.sends.used().saturating_add(1) >= self.most_sealed;
        match (are_used_up, self.is_tls13()) {
            (true, true) => self.update(true, send),
            (true, false) => {
                self.end(send);
                Err(Error::EncryptError)
            }
            (false, _) if self.owes_update => self.update(false, send),
            (false, _) => Ok(()),
        }
    }

    /// Appends `length` bytes as records: `pieces` gives them, in order, until it is told to stop.
    pub(super) fn send<'a>(
        &mut self,
        length: usize,
        mut pieces: impl FnMut(&mut dyn FnMut(&'a [u8]) -> bool),
        send: &mut Vec<u8>,
    ) -> Result<(), Error> {
        send.reserve(length + (length / MOST + 1) * (HEADER + self.sends.keys()?.shape().overhead()));
        let mut begun = None;
        let mut result = Ok(());
        pieces(&mut |piece| {
            result = self.append(piece, &mut begun, send);
            result.is_ok()
        });
        result?;
        begun.map_or(Ok(()), |start| self.sends.keys()?.seal(ContentType::ApplicationData, start, send))
    }

    /// Appends data to the record that has been begun, and to further ones. Those that are full are sealed.
    fn append(&mut self, mut piece: &[u8], begun: &mut Option<usize>, send: &mut Vec<u8>) -> Result<(), Error> {
        while !piece.is_empty() {
            let start = if let Some(start) = begun.take() {
                start
            } else {
                self.before_data(send)?;
                self.sends.keys()?.begin(send)
            };
            let keys = self.sends.keys()?;
            let filled = send.len() - start - HEADER - keys.shape().explicit();
            let (now, rest) = piece.split_at(piece.len().min(MOST - filled));
            send.extend_from_slice(now);
            piece = rest;
            if filled + now.len() < MOST {
                *begun = Some(start);
            } else {
                keys.seal(ContentType::ApplicationData, start, send)?;
            }
        }
        Ok(())
    }

    /// What the kernel can go on sealing with. Not while the peer waits for other keys.
    pub(super) fn offer(&self) -> Option<SendKeys> {
        match &self.sends {
            Sends::Here(keys) if !self.owes_update => keys.for_kernel(),
            _ => None,
        }
    }

    /// Whether the kernel seals from now on. It is not asked again.
    pub(super) fn offered(&mut self, is_taken: bool) {
        if is_taken {
            self.sends = Sends::Kernel(self.sends.used());
        } else if let Sends::Here(keys) = &mut self.sends {
            keys.keep_from_kernel();
        }
    }

    /// Counts data that the kernel is about to seal: `pieces` gives it. An error where its keys are not to be used any more, for
    /// the kernel does not change them; the peer is told of the end.
    ///
    /// A piece may begin a record of its own. A piece that the kernel takes in parts makes some more: for those there is the
    /// half power of two that RFC 8446 (section 5.5) leaves above the limit.
    pub(super) fn pass<'a>(
        &mut self,
        pieces: impl FnOnce(&mut dyn FnMut(&'a [u8]) -> bool),
        send: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let mut used = self.sends.used();
        pieces(&mut |piece| {
            used = used.saturating_add(piece.len().div_ceil(MOST) as u64);
            true
        });
        let why = if self.owes_update {
            "the peer wants other keys, and the kernel keeps those it has"
        } else if used.saturating_add(1) >= self.most_sealed {
            "the kernel's keys are used up"
        } else {
            self.sends = Sends::Kernel(used);
            return Ok(());
        };
        self.end(send);
        Err(Error::General(why.to_owned()))
    }

    /// Tells the peer that nothing follows.
    pub(super) fn end(&mut self, send: &mut Vec<u8>) {
        let _ = self.alert(1, AlertDescription::CloseNotify, send);
    }
}

#[cfg(test)]
mod tests;
