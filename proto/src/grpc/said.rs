//! What trailers, or a head without a body, say of a call.

use std::time::Duration;

use super::Code;

/// What a server says of another try ([A6]).
///
/// [A6]: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pushback {
    /// Nothing.
    #[default]
    Nothing,
    /// It may come so much later.
    After(Duration),
    /// It should not come.
    Never,
}

impl Pushback {
    /// What `grpc-retry-pushback-ms` says: milliseconds, and anything else means that there should be no other try.
    pub fn read(value: &[u8]) -> Self {
        let is_number = (1..=10).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        let millis = std::str::from_utf8(value).ok().filter(|_| is_number).and_then(|text| text.parse().ok());
        millis.map_or(Self::Never, |millis| Self::After(Duration::from_millis(millis)))
    }
}

/// What is said of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Said<'a> {
    /// `grpc-status` as it came; nothing where there is none.
    pub status: Option<&'a [u8]>,
    /// `grpc-retry-pushback-ms`.
    pub pushback: Pushback,
}

impl<'a> Said<'a> {
    /// By these fields. Of several of one name the last counts, but for a status, of which there may be only one.
    pub fn of(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut said = Self::default();
        for (name, value) in fields {
            if name.eq_ignore_ascii_case(b"grpc-status") {
                // What is said twice is no code.
                said.status = Some(if said.status.is_none() { value } else { b"" });
            } else if name.eq_ignore_ascii_case(b"grpc-retry-pushback-ms") {
                said.pushback = Pushback::read(value);
            }
        }
        said
    }

    /// The code; nothing where there is none, or no known one.
    pub fn code(&self) -> Option<Code> {
        self.status.and_then(Code::read)
    }
}
