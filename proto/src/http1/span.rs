//! Ranges of a decoder's input.

/// A half-open byte range of a decoder's input, counted from the input's first byte.
///
/// A span stays true while the bytes keep their distance from the start of the input; it holds no reference, so
/// the buffer may move or grow.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start..end`. Both are within a head or a body piece, which are capped at `u32::MAX` bytes.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && u32::try_from(end).is_ok(), "a span past 4 GiB");
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes of `input` this span names; empty where the span does not lie within `input`.
    #[inline]
    pub fn of<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        input.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Bytes in the span.
    #[inline]
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether the span holds no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }
}
