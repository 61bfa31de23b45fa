//! Carries the messages of one side to the other, compressed as that one wants them.

use super::{Compressor, Expander};
use crate::websocket::{FrameError, FrameHead, Key, Kind, Opcode, Utf8, encode, mask};

/// How much of a message is gathered before it goes on as a frame.
const FRAME: usize = 16 << 10;
/// Room that is kept from one message to the next.
const KEEP: usize = 4 << 10;
/// Bytes that a message may expand to whatever it was compressed to.
const RATIO_FROM: u64 = 64 << 10;

/// What holds for the messages of one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoderSettings {
    /// Bytes that a message may have once it is expanded.
    pub message: u64,
    /// To how many times its compressed bytes a message may expand, beyond its first 64 KiB.
    pub ratio: u32,
    /// Shorter messages go on as they are.
    pub compress_from: usize,
}

/// A part of a data frame, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What the message is of.
    pub kind: Kind,
    /// The message came compressed.
    pub is_compressed: bool,
    /// The part.
    pub payload: &'a [u8],
    /// What it is masked with, and which byte of its frame the first one is.
    pub mask: Option<Key>,
    /// The message ends with it.
    pub is_end: bool,
}

/// Bytes that were worked on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Work {
    /// Compressed bytes that came.
    pub expanded_from: u64,
    /// What they expanded to.
    pub expanded_to: u64,
    /// Bytes that were compressed.
    pub compressed_from: u64,
    /// What they were compressed to.
    pub compressed_to: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// Too little has come to know whether it is worth it.
    Undecided,
    Plain,
    Packed,
}

/// The message under way.
#[derive(Debug)]
struct Current {
    mode: Mode,
    /// A frame of it went out.
    has_begun: bool,
    came: u64,
    expanded: u64,
    utf8: Utf8,
}

/// Carries the messages of one side to the other. It gathers up to about 16 KiB for a frame, and what one piece expands to.
#[derive(Debug)]
pub struct Recoder {
    settings: RecoderSettings,
    expander: Option<Expander>,
    compressor: Option<Compressor>,
    masks: bool,
    /// Of the frame whose payload came last: what goes on is masked with it. It comes from the client, whose choice it is to
    /// hide from others what it sends (RFC 6455 section 10.3).
    key: [u8; 4],
    current: Option<Current>,
    /// What came, the mask off.
    came: Vec<u8>,
    plain: Vec<u8>,
    packed: Vec<u8>,
    work: Work,
}

impl Recoder {
    /// For messages of a side that agreed on compression where there is an expander, to one that did where there is a
    /// compressor. What goes on is masked where that is a server.
    pub fn new(
        settings: RecoderSettings,
        expander: Option<Expander>,
        compressor: Option<Compressor>,
        masks: bool,
    ) -> Self {
        Self {
            settings,
            expander,
            compressor,
            masks,
            key: [0; 4],
            current: None,
            came: Vec::new(),
            plain: Vec::new(),
            packed: Vec::new(),
            work: Work::default(),
        }
    }

    /// Takes a part of a frame that was checked, and appends to `out` whole frames that go on. An error is final.
    pub fn take(&mut self, piece: Piece<'_>, out: &mut Vec<u8>) -> Result<(), FrameError> {
        let mut current = self.current.take().unwrap_or_else(|| Current {
            mode: if self.compressor.is_some() { Mode::Undecided } else { Mode::Plain },
            has_begun: false,
            came: 0,
            expanded: 0,
            utf8: Utf8::default(),
        });
        if let Some((key, _)) = piece.mask.filter(|_| !piece.payload.is_empty()) {
            self.key = key;
        }
        if piece.is_compressed {
            self.expand(piece, &mut current)?;
        } else {
            unmask(piece, &mut self.plain);
        }
        self.pass(piece, &mut current, out)?;
        if piece.is_end {
            for room in [&mut self.came, &mut self.plain, &mut self.packed] {
                room.clear();
                room.shrink_to(KEEP);
            }
        } else {
            self.current = Some(current);
        }
        Ok(())
    }

    /// What was worked on since the last call.
    pub fn work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }

    fn expand(&mut self, piece: Piece<'_>, current: &mut Current) -> Result<(), FrameError> {
        // The reader refuses what was not agreed on.
        let Some(expander) = &mut self.expander else { return Err(FrameError::ReservedBits) };
        self.came.clear();
        unmask(piece, &mut self.came);
        current.came += self.came.len() as u64;
        let ratio = u64::from(self.settings.ratio);
        let by_ratio = RATIO_FROM.saturating_add(current.came.saturating_mul(ratio));
        let most = self.settings.message.min(by_ratio);
        let (start, before) = (self.plain.len(), current.expanded);
        let mut result = expander.expand(&self.came, &mut self.plain, most.saturating_sub(before));
        if result.is_ok() && piece.is_end {
            let so_far = before + (self.plain.len() - start) as u64;
            result = expander.end(&mut self.plain, most.saturating_sub(so_far));
        }
        let new = self.plain.get(start..).unwrap_or_default();
        current.expanded += new.len() as u64;
        self.work.expanded_from += self.came.len() as u64;
        self.work.expanded_to += new.len() as u64;
        match result {
            Err(FrameError::MessageTooLarge) if by_ratio < self.settings.message => {
                return Err(FrameError::ExpandsTooMuch);
            }
            result => result?,
        }
        if piece.kind == Kind::Text && (!current.utf8.feed(new) || (piece.is_end && !current.utf8.is_whole())) {
            return Err(FrameError::InvalidUtf8);
        }
        Ok(())
    }

    /// Passes on what is gathered, where it is enough or all.
    fn pass(&mut self, piece: Piece<'_>, current: &mut Current, out: &mut Vec<u8>) -> Result<(), FrameError> {
        if current.mode == Mode::Undecided && self.plain.len() >= self.settings.compress_from.max(1) {
            current.mode = Mode::Packed;
        } else if current.mode == Mode::Undecided && piece.is_end {
            current.mode = Mode::Plain;
        }
        let gathered = match (&mut self.compressor, current.mode) {
            (_, Mode::Undecided) => return Ok(()),
            (Some(compressor), Mode::Packed) => {
                let before = self.packed.len();
                compressor.compress(&self.plain, &mut self.packed)?;
                if piece.is_end {
                    compressor.end(&mut self.packed)?;
                }
                self.work.compressed_from += self.plain.len() as u64;
                self.work.compressed_to += (self.packed.len() - before) as u64;
                self.plain.clear();
                &mut self.packed
            }
            _ => &mut self.plain,
        };
        if gathered.len() < FRAME && !piece.is_end {
            return Ok(());
        }
        let opcode = match piece.kind {
            _ if current.has_begun => Opcode::Continuation,
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        };
        let is_marked = current.mode == Mode::Packed && !current.has_begun;
        let head = FrameHead {
            fin: piece.is_end,
            reserved: if is_marked { FrameHead::COMPRESSED } else { 0 },
            mask: self.masks.then_some(self.key),
            ..FrameHead::new(opcode, 0)
        };
        encode::frame(out, head, gathered);
        current.has_begun = true;
        gathered.clear();
        Ok(())
    }
}

fn unmask(piece: Piece<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(piece.payload);
    if let (Some((key, offset)), Some(new)) = (piece.mask, out.get_mut(start..)) {
        mask(new, key, offset);
    }
}
