//! Length-prefixed messages: a byte of flags, a length of four bytes, and so many bytes.

use super::FrameError;

/// Bytes of a prefix.
pub const PREFIX: usize = 5;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix(u8);

impl Prefix {
    /// A message.
    pub const DATA: Self = Self(0);
    /// A message that is compressed as `grpc-encoding` says.
    pub const COMPRESSED: Self = Self(1);
    /// Trailers, in gRPC-Web.
    pub const TRAILERS: Self = Self(0x80);

    /// The frame that begins with this byte.
    pub const fn of(flags: u8) -> Self {
        Self(flags)
    }

    /// Whether it has trailers.
    pub const fn is_trailers(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Whether it is compressed.
    pub const fn is_compressed(self) -> bool {
        self.0 & 1 != 0
    }

    /// Before a frame of so many bytes.
    pub const fn to_bytes(self, len: u32) -> [u8; PREFIX] {
        let [a, b, c, d] = len.to_be_bytes();
        [self.0, a, b, c, d]
    }
}

/// Follows the messages that one side sends, and keeps none of their bytes.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Bytes that a message may have.
    most: u32,
    /// Whether trailers may come as a frame.
    is_web: bool,
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that have come; all of them inside a message.
    begun: usize,
    /// Bytes that the message still has.
    left: u32,
    has_trailers: bool,
}

/// What a reader made of what it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// So many bytes belong to one message, prefix included.
    pub taken: usize,
    /// Those at the end of them that are no prefix.
    pub payload: usize,
    /// The message ends with them.
    pub is_end: bool,
}

impl Reader {
    /// For gRPC, and for what a client of gRPC-Web sends. A message may have `most` bytes.
    pub const fn new(most: u32) -> Self {
        Self { most, is_web: false, prefix: [0; PREFIX], begun: 0, left: 0, has_trailers: false }
    }

    /// For what a server of gRPC-Web sends: trailers come as the last frame, and may have as many bytes as a message.
    pub const fn web(most: u32) -> Self {
        Self { is_web: true, ..Self::new(most) }
    }

    /// Takes in what comes next, up to the end of one message at most. Nothing is taken only where nothing is given.
    ///
    /// # Errors
    ///
    /// What is there breaks the protocol. Nothing more can be read.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Step, FrameError> {
        let mut taken = 0;
        if self.begun < PREFIX {
            if self.begun == 0
                && let Some(&flags) = bytes.first()
            {
                self.begin(flags)?;
            }
            let missing = self.prefix.get_mut(self.begun..).unwrap_or_default();
            taken = missing.len().min(bytes.len());
            for (to, from) in missing.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.begun += taken;
            if self.begun < PREFIX {
                return Ok(Step { taken, payload: 0, is_end: false });
            }
            let [_, a, b, c, d] = self.prefix;
            self.left = u32::from_be_bytes([a, b, c, d]);
            if self.left > self.most {
                return Err(FrameError::MessageTooLarge);
            }
        }
        let payload = (bytes.len() - taken).min(self.left as usize);
        self.left -= payload as u32;
        let is_end = self.left == 0;
        if is_end {
            self.has_trailers |= self.prefix().is_trailers();
            self.begun = 0;
        }
        Ok(Step { taken: taken + payload, payload, is_end })
    }

    /// The first byte says what follows: what may not be there goes no further than here.
    fn begin(&self, flags: u8) -> Result<(), FrameError> {
        if self.has_trailers {
            return Err(FrameError::AfterTrailers);
        }
        let known = if self.is_web { 0x81 } else { 0x01 };
        if flags & !known != 0 { Err(FrameError::UnknownFlag) } else { Ok(()) }
    }

    /// What is being read, or was last.
    pub fn prefix(&self) -> Prefix {
        let [flags, ..] = self.prefix;
        Prefix(flags)
    }

    /// Whether no message has begun that has not ended.
    pub fn is_between(&self) -> bool {
        self.begun == 0
    }

    /// Nothing more comes.
    ///
    /// # Errors
    ///
    /// A message has begun and not ended.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.is_between() { Ok(()) } else { Err(FrameError::Truncated) }
    }
}
