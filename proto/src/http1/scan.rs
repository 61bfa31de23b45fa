//! How far a section of lines has been read, so that bytes that arrive one at a time cost linear work.

use memchr::memchr;

use super::known::Seen;

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
    /// The fields so far.
    pub(super) seen: Seen,
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

    /// Whether the line to read next has not been looked at.
    #[inline]
    pub(super) fn is_fresh(&self) -> bool {
        self.searched <= self.at
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

#[cfg(test)]
mod tests {
    use super::super::{Limits, Progress, RequestHead, decode_request};
    use super::*;

    #[test]
    fn a_line_without_its_end_is_not_offered_again() {
        let input = b"0123456789\nabc";
        let mut scan = HeadScan::default();
        assert_eq!(scan.window(&input[..1], 100, 100).map(|window| window.bytes.len()), Some(1));
        scan.partial(1);
        for end in 1..11 {
            assert!(scan.window(&input[..end], 100, 100).is_none());
            assert_eq!(scan.searched, end);
        }
        assert_eq!(scan.window(input, 100, 100).map(|window| window.bytes.len()), Some(input.len()));
        scan.advance(11);
        assert_eq!(scan.window(input, 100, 100).map(|window| window.bytes), Some(&b"abc"[..]));
    }

    #[test]
    fn a_line_that_reached_its_limit_is_offered_at_once() {
        let mut scan = HeadScan::default();
        scan.partial(1);
        assert_eq!(scan.window(b"0123456789", 8, 100).map(|window| window.cut), Some(Cut::Line));
        assert_eq!(scan.window(b"0123456789", 100, 10).map(|window| window.cut), Some(Cut::Section));
        assert_eq!(scan.window(b"0123456789", 8, 10).map(|window| window.cut), Some(Cut::Line));
    }

    #[test]
    fn whole_lines_are_left_behind_as_bytes_arrive_one_by_one() {
        let input = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\n\r\n";
        let (mut scan, mut head) = (HeadScan::default(), RequestHead::default());
        for end in 1..input.len() {
            let progress = decode_request(&input[..end], &mut scan, &Limits::default(), &mut head);
            assert_eq!(progress, Ok(Progress::Partial));
            let line = input[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            assert_eq!((scan.at, scan.searched), (line, end));
        }
        let progress = decode_request(input, &mut scan, &Limits::default(), &mut head);
        assert_eq!((progress, scan), (Ok(Progress::Complete), HeadScan::default()));
    }
}
