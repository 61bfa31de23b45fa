//! `deadline` of a route: by when a client wants its answer, and how upstreams are told.

use std::time::Duration;

use ringway_proto::grpc::timeout;
use ringway_runtime::clock::Wall;

/// `deadline` of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// What a client says it in.
    pub field: DeadlineField,
    /// Who is believed.
    pub trust: DeadlineTrust,
    /// The most time that a client may ask for; the total time of the route when absent.
    pub max: Option<Duration>,
    /// What the upstream is told it in.
    pub send: Box<[DeadlineField]>,
}

/// A field that has a deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadlineField {
    /// In lower case.
    pub name: Box<str>,
    /// How it is written.
    pub format: DeadlineFormat,
}

/// Whose deadlines are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineTrust {
    /// Those of the listener's trusted proxies.
    Proxies,
    /// Everybody's.
    Anyone,
    /// Nobody's.
    Nobody,
}

/// How a deadline is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineFormat {
    /// Milliseconds that are left.
    Millis,
    /// Seconds that are left, with decimals.
    Seconds,
    /// The point in time, in milliseconds since 1970.
    UnixMillis,
    /// `grpc-timeout`: up to eight digits and a unit.
    Grpc,
}

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
/// No number of a deadline has more digits: what is longer than some millennia says nothing.
const DIGITS: usize = 16;

fn number(digits: &[u8], most: usize) -> Option<u64> {
    if digits.is_empty() || digits.len() > most || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn seconds(value: &[u8]) -> Option<u64> {
    let mut parts = value.splitn(2, |byte| *byte == b'.');
    let whole = number(parts.next()?, DIGITS)?.saturating_mul(SECOND);
    let Some(decimals) = parts.next() else { return Some(whole) };
    let part = number(decimals, 9)? * 10_u64.pow(9 - decimals.len() as u32);
    Some(whole.saturating_add(part))
}

impl DeadlineFormat {
    /// The time that is left, none where it has passed. Nothing where that is not how it is written.
    pub fn read(self, value: &[u8], now: Wall) -> Option<Duration> {
        let nanos = match self {
            Self::Millis => number(value, DIGITS)?.saturating_mul(MILLI),
            Self::Seconds => seconds(value)?,
            Self::UnixMillis => number(value, DIGITS)?.saturating_mul(MILLI).saturating_sub(now.as_nanos()),
            Self::Grpc => return timeout::read(value),
        };
        Some(Duration::from_nanos(nanos))
    }

    /// Appends the time that is left: never more of it, and at least one of the least that can be said.
    pub fn write(self, left: Duration, now: Wall, out: &mut Vec<u8>) {
        let nanos = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        let millis = (nanos / MILLI).max(1);
        // Writing to a Vec cannot fail.
        let _ = match self {
            Self::Millis => std::io::Write::write_fmt(out, format_args!("{millis}")),
            Self::Seconds => std::io::Write::write_fmt(out, format_args!("{}.{:03}", millis / 1_000, millis % 1_000)),
            Self::UnixMillis => {
                std::io::Write::write_fmt(out, format_args!("{}", now.as_nanos().saturating_add(nanos) / MILLI))
            }
            Self::Grpc => {
                timeout::write(left, out);
                Ok(())
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Wall = Wall::from_nanos(1_700_000_000_000 * MILLI);
    const ALL: [DeadlineFormat; 4] =
        [DeadlineFormat::Millis, DeadlineFormat::Seconds, DeadlineFormat::UnixMillis, DeadlineFormat::Grpc];

    #[test]
    fn each_format_is_read_as_it_is_written_down() {
        use DeadlineFormat::{Grpc, Millis, Seconds, UnixMillis};
        for (format, value, nanos) in [
            (Millis, "250", Some(250 * MILLI)),
            (Millis, "0", Some(0)),
            (Millis, "9999999999999999", Some(u64::MAX)),
            (Millis, "99999999999999999", None),
            (Millis, "1.5", None),
            (Millis, "-1", None),
            (Millis, "+1", None),
            (Millis, "1ms", None),
            (Millis, "", None),
            (Seconds, "2", Some(2 * SECOND)),
            (Seconds, "0.25", Some(250 * MILLI)),
            (Seconds, "1.000000001", Some(SECOND + 1)),
            (Seconds, "1.", None),
            (Seconds, ".5", None),
            (Seconds, "1.0000000001", None),
            (Seconds, "1e3", None),
            (UnixMillis, "1700000000250", Some(250 * MILLI)),
            (UnixMillis, "1600000000000", Some(0)),
            (UnixMillis, "now", None),
            (Grpc, "250m", Some(250 * MILLI)),
            (Grpc, "99999999n", Some(99_999_999)),
            (Grpc, "5u", Some(5_000)),
            (Grpc, "2S", Some(2 * SECOND)),
            (Grpc, "3M", Some(180 * SECOND)),
            (Grpc, "1H", Some(3_600 * SECOND)),
            (Grpc, "99999999H", Some(u64::MAX)),
            (Grpc, "123456789n", None),
            (Grpc, "1s", None),
            (Grpc, "1", None),
            (Grpc, "m", None),
            (Grpc, "1 m", None),
            (Grpc, "", None),
        ] {
            assert_eq!(format.read(value.as_bytes(), NOW), nanos.map(Duration::from_nanos), "{format:?} {value}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_no_more_and_not_much_less(nanos in 1u64..=365 * 86_400 * SECOND) {
            for format in ALL {
                let mut out = Vec::new();
                format.write(Duration::from_nanos(nanos), NOW, &mut out);
                let read = format.read(&out, NOW).map(|left| left.as_nanos() as u64);
                prop_assert!(read.is_some(), "{format:?} {nanos} {:?}", String::from_utf8_lossy(&out));
                let read = read.unwrap_or_default();
                // What is less than the least that can be said is said as that.
                prop_assert!(read <= nanos.max(MILLI), "{format:?} {nanos} {read}");
                prop_assert!(nanos - read.min(nanos) <= MILLI.max(nanos / 10_000), "{format:?} {nanos} {read}");
            }
        }

        #[test]
        fn nothing_that_is_read_breaks_it(value in proptest::collection::vec(any::<u8>(), 0..20)) {
            for format in ALL {
                format.read(&value, NOW);
            }
        }
    }
}
