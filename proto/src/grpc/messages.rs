//! Whole messages, for an endpoint.

use super::{FrameError, Prefix, Reader};

/// A whole frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incoming<'a> {
    /// What it is.
    pub prefix: Prefix,
    /// What it has.
    pub payload: &'a [u8],
}

/// Gathers messages: no more than one at a time, of as many bytes as its reader allows.
#[derive(Clone, Debug)]
pub struct Messages {
    reader: Reader,
    gathered: Vec<u8>,
    is_whole: bool,
}

impl Messages {
    /// Of what this reader follows.
    pub const fn new(reader: Reader) -> Self {
        Self { reader, gathered: Vec::new(), is_whole: false }
    }

    /// Takes in what comes next: how many bytes, and a message where one is whole with them.
    ///
    /// # Errors
    ///
    /// As [`Reader::next`].
    pub fn next(&mut self, bytes: &[u8]) -> Result<(usize, Option<Incoming<'_>>), FrameError> {
        if std::mem::take(&mut self.is_whole) {
            self.gathered.clear();
        }
        let step = self.reader.next(bytes)?;
        let end = bytes.get(step.taken - step.payload..step.taken);
        self.gathered.extend_from_slice(end.unwrap_or_default());
        self.is_whole = step.is_end;
        let prefix = self.reader.prefix();
        Ok((step.taken, step.is_end.then_some(Incoming { prefix, payload: &self.gathered })))
    }

    /// Nothing more comes.
    ///
    /// # Errors
    ///
    /// As [`Reader::finish`].
    pub fn finish(&self) -> Result<(), FrameError> {
        self.reader.finish()
    }
}
