//! How far a section of lines has been read, so that bytes that arrive one at a time cost linear work.

use memchr::memchr;

/// How far a head has been read. It goes with one head: the next calls pass the same bytes and more, the same scan
/// and the same head. After a complete head it is ready for the next one; to give up on a head, reset it.
///
/// Lines that were whole are never looked at again. A line that was not is searched for its end, each byte once,
/// and read again only when the end is there or a limit is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeadScan {
    /// Where the line to read next starts.
    pub(super) at: usize,
    /// Up to where that line has no end; `at` when nothing is known of it.
    searched: usize,
    /// Whether the start line is behind.
    pub(super) started: bool,
}

/// Why there is no more to read in a [`Window`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    /// More may arrive.
    Input,
    /// A longer line is over the limit.
    Line,
    /// A longer section is over the limit.
    Section,
}

/// The bytes from the start of a line to as far as the line may reach.
pub(super) struct Window<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) cut: Cut,
}

impl HeadScan {
    /// Forgets what was read.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// The line to read next, or `None` if it is already known not to be whole.
    #[inline]
    pub(super) fn window<'a>(&mut self, input: &'a [u8], line_max: usize, section_max: usize) -> Option<Window<'a>> {
        let line_end = self.at.saturating_add(line_max).saturating_add(2);
        let (bound, cut) = if line_end <= section_max { (line_end, Cut::Line) } else { (section_max, Cut::Section) };
        let (end, cut) = if input.len() < bound { (input.len(), Cut::Input) } else { (bound, cut) };
        if cut == Cut::Input && self.searched > self.at {
            let fresh = input.get(self.searched..end).unwrap_or_default();
            if memchr(b'\n', fresh).is_none() {
                self.searched = self.searched.max(end);
                return None;
            }
        }
        Some(Window { bytes: input.get(self.at..end).unwrap_or_default(), cut })
    }

    /// Notes that the line is not whole in the first `len` bytes of input.
    pub(super) fn partial(&mut self, len: usize) {
        self.searched = len;
    }

    /// Moves past a line of `len` bytes, its CRLF included.
    #[inline]
    pub(super) fn advance(&mut self, len: usize) {
        self.at += len;
        self.searched = self.at;
    }
}
