//! `grpc-timeout`: up to eight digits and a unit.

use std::time::Duration;

use crate::http1::encode::decimal;

const DIGITS: usize = 8;
const MOST: u64 = 99_999_999;
const SECOND: u64 = 1_000_000_000;
/// The units, and their nanoseconds.
const UNITS: [(u8, u64); 6] =
    [(b'n', 1), (b'u', 1_000), (b'm', 1_000_000), (b'S', SECOND), (b'M', 60 * SECOND), (b'H', 3_600 * SECOND)];

/// The time that a field says; nothing where it is malformed. What is longer than some centuries is that long.
pub fn read(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let (_, size) = UNITS.iter().find(|(known, _)| known == unit)?;
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Duration::from_nanos(number.saturating_mul(*size)))
}

/// Appends a time in the finest unit that it fits: never more of it, and at least one of the least that can be said.
pub fn write(time: Duration, out: &mut Vec<u8>) {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let fits = |(_, size): &&(u8, u64)| nanos / size <= MOST;
    let (unit, size) = UNITS.iter().find(fits).unwrap_or(&(b'H', 3_600 * SECOND));
    decimal(out, (nanos / size).clamp(1, MOST));
    out.push(*unit);
}
