//! Writing messages: each function appends to a buffer and allocates nothing beyond the buffer's growth.

use super::Version;
use super::values::{is_field_value, is_token};

/// The end of a line, and of a chunk's data.
pub const CRLF: &[u8] = b"\r\n";

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The end of a chunked body with trailers: their fields follow, then [`CRLF`].
pub const LAST_CHUNK_BEFORE_TRAILERS: &[u8] = b"0\r\n";

/// Appends a request line, `method SP target SP HTTP/1.1 CRLF`. Both parts come from a decoded head or are visible
/// ASCII for certain.
pub fn request_line(out: &mut Vec<u8>, method: &[u8], target: &[u8]) {
    debug_assert!(is_token(method), "a method that is no token");
    debug_assert!(!target.is_empty() && target.iter().all(u8::is_ascii_graphic), "a target that is not visible ASCII");
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Appends a status line. `status` is from 100 to 999; without a reason the registered phrase is written.
pub fn status_line(out: &mut Vec<u8>, version: Version, status: u16, reason: Option<&[u8]>) {
    debug_assert!((100..=999).contains(&status), "a status of other than three digits");
    out.extend_from_slice(match version {
        Version::Http10 => b"HTTP/1.0 ",
        Version::Http11 => b"HTTP/1.1 ",
    });
    decimal(out, u64::from(status));
    out.push(b' ');
    let reason = reason.unwrap_or_else(|| reason_phrase(status).as_bytes());
    debug_assert!(reason.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control()), "a control byte in a reason");
    out.extend_from_slice(reason);
    out.extend_from_slice(CRLF);
}

/// Appends a field line. Name and value come from a decoded head, or were checked with
/// [`is_token`] and [`is_field_value`]: nothing is checked here again, but in debug builds.
#[inline]
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(is_token(name), "a field name that is no token");
    debug_assert!(is_field_value(value), "a field value that would split the message");
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(CRLF);
}

/// Appends a number in decimal.
pub fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start = index;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Appends the line before a chunk of `len` bytes. The data and [`CRLF`] follow. Zero would end the body, so nothing
/// is written for it.
pub fn chunk_head(out: &mut Vec<u8>, len: usize) {
    if len == 0 {
        return;
    }
    let mut digits = [0; 16];
    let mut rest = len as u64;
    let mut start = digits.len();
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b"0123456789abcdef".get((rest & 15) as usize).copied().unwrap_or_default();
        rest >>= 4;
        start = index;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
    out.extend_from_slice(CRLF);
}

/// The registered reason phrase of a status (RFC 9110 section 15 and the registry it founds), or an empty one.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        208 => "Already Reported",
        226 => "IM Used",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        305 => "Use Proxy",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        506 => "Variant Also Negotiates",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// Appends a date as IMF-fixdate (RFC 9110 section 5.6.7), 29 bytes, of seconds since 1970-01-01T00:00:00Z. Times
/// after the year 9999 are written as its last second.
pub fn http_date(out: &mut Vec<u8>, unix_seconds: u64) {
    const LAST: u64 = 253_402_300_799;
    const DAYS: [&[u8; 5]; 7] = [b"Thu, ", b"Fri, ", b"Sat, ", b"Sun, ", b"Mon, ", b"Tue, ", b"Wed, "];
    const MONTHS: [&[u8; 5]; 12] = [
        b" Jan ", b" Feb ", b" Mar ", b" Apr ", b" May ", b" Jun ", b" Jul ", b" Aug ", b" Sep ", b" Oct ", b" Nov ",
        b" Dec ",
    ];
    let seconds = unix_seconds.min(LAST);
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    // Years here start in March, so that the leap day is a year's last; eras are 400 years of 146,097 days, and day
    // 0 of era 0 is 0000-03-01, which is 719,468 days before 1970-01-01.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31, 30, 31, 30, 31 days and so again: 153 days in five months.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);

    let two = |number: u64| [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8];
    out.extend_from_slice(DAYS.get((days % 7) as usize).copied().unwrap_or(&[0; 5]));
    out.extend_from_slice(&two(day_of_month));
    out.extend_from_slice(MONTHS.get(month as usize).copied().unwrap_or(&[0; 5]));
    out.extend_from_slice(&two(year / 100));
    out.extend_from_slice(&two(year));
    out.push(b' ');
    out.extend_from_slice(&two(second_of_day / 3600));
    out.push(b':');
    out.extend_from_slice(&two(second_of_day / 60 % 60));
    out.push(b':');
    out.extend_from_slice(&two(second_of_day % 60));
    out.extend_from_slice(b" GMT");
}
