//! Points in time as logs and pages write them, in UTC.

use ringway_proto::http1::encode::http_date;

/// The parts of a date.
struct Date {
    /// As in `Sun, 06 Nov 1994 08:49:37 GMT`.
    text: Vec<u8>,
}

impl Date {
    fn of(unix_ns: u64) -> Self {
        let mut text = Vec::with_capacity(29);
        http_date(&mut text, unix_ns / 1_000_000_000);
        Self { text }
    }

    fn part(&self, from: usize, to: usize) -> &[u8] {
        self.text.get(from..to).unwrap_or_default()
    }

    fn month(&self) -> u8 {
        const MONTHS: [&[u8]; 12] =
            [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
        MONTHS.iter().position(|&month| month == self.part(8, 11)).map_or(0, |at| at as u8 + 1)
    }
}

/// Appends it as `1994-11-06T08:49:37.000000Z` (RFC 3339).
pub(crate) fn rfc3339(out: &mut Vec<u8>, unix_ns: u64) {
    let date = Date::of(unix_ns);
    let month = date.month();
    out.extend_from_slice(date.part(12, 16));
    out.extend([b'-', b'0' + month / 10, b'0' + month % 10, b'-']);
    out.extend_from_slice(date.part(5, 7));
    out.push(b'T');
    out.extend_from_slice(date.part(17, 25));
    out.push(b'.');
    micros(out, unix_ns);
    out.push(b'Z');
}

/// Appends it as `06/Nov/1994:08:49:37 +0000`, the form of the combined log format.
pub(crate) fn common(out: &mut Vec<u8>, unix_ns: u64) {
    let date = Date::of(unix_ns);
    for (from, to, behind) in [(5, 7, b'/'), (8, 11, b'/'), (12, 16, b':')] {
        out.extend_from_slice(date.part(from, to));
        out.push(behind);
    }
    out.extend_from_slice(date.part(17, 25));
    out.extend_from_slice(b" +0000");
}

/// Appends the microseconds of the second, six digits.
pub(crate) fn micros(out: &mut Vec<u8>, nanos: u64) {
    let mut left = nanos / 1000 % 1_000_000;
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit += (left % 10) as u8;
        left /= 10;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: fn(&mut Vec<u8>, u64), unix_ns: u64) -> String {
        let mut out = Vec::new();
        write(&mut out, unix_ns);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_written_as_the_standards_have_them() {
        for (unix_ns, strict, of_web_servers) in [
            (0, "1970-01-01T00:00:00.000000Z", "01/Jan/1970:00:00:00 +0000"),
            (784_111_777_000_001_999, "1994-11-06T08:49:37.000001Z", "06/Nov/1994:08:49:37 +0000"),
            (951_782_399_999_999_999, "2000-02-28T23:59:59.999999Z", "28/Feb/2000:23:59:59 +0000"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000000Z", "29/Feb/2000:00:00:00 +0000"),
        ] {
            assert_eq!((&*text(rfc3339, unix_ns), &*text(common, unix_ns)), (strict, of_web_servers));
        }
    }
}
