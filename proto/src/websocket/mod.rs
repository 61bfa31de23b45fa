//! WebSocket (RFC 6455) with the negotiation of permessage-deflate (RFC 7692), for either side and for what stands
//! between them.
//!
//! [`Reader`] follows the frames that one side sends and keeps none of their payload: it says where each frame and
//! message ends and refuses what breaks the protocol or a limit, so that a proxy can pass the bytes on as they came.
//! [`Messages`] stands on it and gathers whole messages, for an endpoint. [`encode`] writes frames. [`handshake`] checks
//! the requests and answers that the protocol begins with. [`deflate`] stands between sides that compress differently.
//!
//! A client masks what it sends, a server does not (RFC 6455 section 5.1): whoever reads says with [`Side`] who sends.
//!
//! ```
//! use ringway_proto::websocket::{Event, Kind, Limits, Reader, Side};
//!
//! let mut reader = Reader::new(Side::Server, Limits::default(), false);
//! // An unmasked text of one frame.
//! let step = reader.next(b"\x81\x05Hello").unwrap();
//! assert_eq!(step.taken, 7);
//! let Event::Data { message: Some(message), .. } = step.event else { panic!() };
//! assert_eq!((message.kind, message.bytes, message.frames), (Kind::Text, 5, 1));
//! ```

mod close;
pub mod deflate;
pub mod encode;
mod error;
pub mod extension;
mod frame;
pub mod handshake;
mod mask;
mod messages;
mod reader;
mod utf8;

pub use close::{Close, CloseCode};
pub use error::{AnswerError, FrameError, HandshakeError};
pub use frame::{CONTROL_MAX, FrameHead, HEAD_MAX, Opcode};
pub use mask::mask;
pub use messages::{Incoming, Messages};
pub use reader::{Event, Key, Kind, Message, Reader, Step};
pub use utf8::Utf8;

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The client: every frame is masked.
    Client,
    /// The server: none is.
    Server,
}

/// What one side may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Payload bytes of one frame.
    pub frame: u64,
    /// Payload bytes of one message, as they are sent: of a compressed one, the compressed bytes.
    pub message: u64,
    /// Frames of one message.
    pub fragments: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frame: 64 << 20, message: 64 << 20, fragments: 65_536 }
    }
}

#[cfg(test)]
mod tests;
