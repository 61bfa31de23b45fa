//! The head of a frame (RFC 6455 section 5.2).

use super::FrameError;

/// Bytes of the longest head.
pub const HEAD_MAX: usize = 14;
/// Payload bytes of a control frame at most (RFC 6455 section 5.5).
pub const CONTROL_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opcode {
    /// It goes on with the message of the frame before.
    Continuation = 0x0,
    /// It begins a text.
    Text = 0x1,
    /// It begins a message of bytes.
    Binary = 0x2,
    /// The last frame of a side.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping, or nothing.
    Pong = 0xa,
}

impl Opcode {
    /// Whether it is a control frame (RFC 6455 section 5.5).
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    const fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }
}

/// What stands before the payload of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    /// The last frame of its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 the highest: 4, 2 and 1.
    pub reserved: u8,
    /// What it is.
    pub opcode: Opcode,
    /// What the payload is masked with, where it is.
    pub mask: Option<[u8; 4]>,
    /// Payload bytes.
    pub len: u64,
}

impl FrameHead {
    /// RSV1, which marks a compressed message (RFC 7692 section 6).
    pub const COMPRESSED: u8 = 4;

    /// A whole frame of a server with nothing reserved.
    pub const fn new(opcode: Opcode, len: u64) -> Self {
        Self { fin: true, reserved: 0, opcode, mask: None, len }
    }

    /// Reads the head that `bytes` begin with, and how many bytes it has. Nothing while it is not whole; what its first
    /// bytes say wrong is refused before.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let &[first, second, ref rest @ ..] = bytes else {
            return match bytes {
                [first] if Opcode::of(first & 0xf).is_none() => Err(FrameError::UnknownOpcode),
                _ => Ok(None),
            };
        };
        let opcode = Opcode::of(first & 0xf).ok_or(FrameError::UnknownOpcode)?;
        let fin = first & FIN != 0;
        let short = second & !MASKED;
        if opcode.is_control() {
            if !fin {
                return Err(FrameError::ControlFragmented);
            }
            if usize::from(short) > CONTROL_MAX {
                return Err(FrameError::ControlTooLong);
            }
        }
        let (len, rest) = match short {
            LENGTH_16 => {
                let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let len = u64::from(u16::from_be_bytes(*len));
                if len < u64::from(LENGTH_16) {
                    return Err(FrameError::LengthNotMinimal);
                }
                (len, rest)
            }
            LENGTH_64 => {
                let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
                let len = u64::from_be_bytes(*len);
                if len >> 63 != 0 {
                    return Err(FrameError::LengthTooLong);
                }
                if u16::try_from(len).is_ok() {
                    return Err(FrameError::LengthNotMinimal);
                }
                (len, rest)
            }
            short => (u64::from(short), rest),
        };
        let (mask, rest) = if second & MASKED == 0 {
            (None, rest)
        } else {
            let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
            (Some(*mask), rest)
        };
        let reserved = (first & RESERVED) >> 4;
        Ok(Some((Self { fin, reserved, opcode, mask, len }, bytes.len() - rest.len())))
    }

    /// Appends the head.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let first = if self.fin { FIN } else { 0 } | (self.reserved << 4) & RESERVED | self.opcode as u8;
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        match self.len {
            0..=125 => out.extend_from_slice(&[first, masked | self.len as u8]),
            126..=0xffff => {
                out.extend_from_slice(&[first, masked | LENGTH_16]);
                out.extend_from_slice(&(self.len as u16).to_be_bytes());
            }
            _ => {
                out.extend_from_slice(&[first, masked | LENGTH_64]);
                out.extend_from_slice(&self.len.to_be_bytes());
            }
        }
        if let Some(mask) = self.mask {
            out.extend_from_slice(&mask);
        }
    }
}
