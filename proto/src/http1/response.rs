//! Decoding a response head (RFC 9112 sections 4, 5, 6).

use super::framing::{Survey, survey};
use super::head::{Framing, Limits, Method, Progress, ResponseHead, Version};
use super::line::{LineEnd, line_end, text_len};
use super::request::{read_fields, version};
use super::scan::{Cut, HeadScan};
use super::{FieldError, ResponseError, Span};

/// Decodes the response head at the start of `input`, which answers a request with the method `request`.
///
/// While it answers [`Progress::Partial`], call it again with the same bytes and more, the same `scan` and the same
/// `head`. An interim response (1xx) is a head by itself; see [`ResponseHead::is_interim`].
///
/// After an error, or to start over, [`HeadScan::reset`] the scan.
pub fn decode_response(
    input: &[u8],
    scan: &mut HeadScan,
    limits: &Limits,
    request: Method,
    head: &mut ResponseHead,
) -> Result<Progress, ResponseError> {
    let head_max = limits.head.min(u32::MAX as usize);
    if !scan.started {
        let Some(window) = scan.window(input, limits.line, head_max) else {
            return Ok(Progress::Partial);
        };
        let Some(len) = status_line(window.bytes, head)? else {
            return match window.cut {
                Cut::Line => Err(ResponseError::LineTooLong),
                Cut::Section => Err(ResponseError::HeadTooLarge),
                Cut::Input => {
                    scan.partial(input.len());
                    Ok(Progress::Partial)
                }
            };
        };
        scan.advance(len);
        scan.started = true;
        head.fields.clear();
    }
    if read_fields(input, scan, limits, head_max, &mut head.fields, ResponseError::HeadTooLarge)? == Progress::Partial {
        return Ok(Progress::Partial);
    }
    head.len = scan.at;
    let seen = scan.seen;
    scan.reset();
    let found = survey(input, &mut head.fields, head.version, seen)?;
    head.content_length = found.length;
    head.framing = framing(head.status, request, &found)?;
    head.keep_alive = found.persists(head.version) && head.framing != Framing::UntilClose;
    head.upgrade = head.status == 101;
    if head.upgrade && !found.upgrade {
        return Err(ResponseError::BadSwitch);
    }
    Ok(Progress::Complete)
}

/// RFC 9112 section 6.3.
fn framing(status: u16, request: Method, found: &Survey) -> Result<Framing, ResponseError> {
    if matches!(status, 100..=199 | 204) {
        if found.chunked || found.length.is_some_and(|length| length > 0) {
            return Err(ResponseError::BodyForbidden);
        }
        return Ok(Framing::None);
    }
    if request == Method::Head || status == 304 || (request == Method::Connect && matches!(status, 200..=299)) {
        return Ok(Framing::None);
    }
    Ok(match found.length {
        _ if found.chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    })
}

/// Reads `version SP status [SP reason] CRLF` from the start of `bytes`; gives the line's length with CRLF, or
/// `None` if it is not whole. The space before an empty reason may be missing, as many servers leave it out.
#[inline]
fn status_line(bytes: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, ResponseError> {
    let mut end = 0;
    loop {
        end += text_len(bytes.get(end..).unwrap_or_default());
        match line_end(bytes.get(end..).unwrap_or_default()) {
            LineEnd::Whole => break,
            // HTAB is allowed in the reason, which starts after 13 bytes.
            LineEnd::Byte(b'\t') if end >= 13 => end += 1,
            LineEnd::Partial => return Ok(None),
            LineEnd::BareCr => return Err(FieldError::BareCr.into()),
            LineEnd::BareLf => return Err(FieldError::BareLf.into()),
            LineEnd::Byte(_) if end < 13 => return Err(ResponseError::BadStatusLine),
            LineEnd::Byte(_) => return Err(ResponseError::BadReason),
        }
    }
    let line = bytes.get(..end).unwrap_or_default();
    let Some((version_bytes, [b' ', rest @ ..])) = line.split_at_checked(8) else {
        return Err(ResponseError::BadStatusLine);
    };
    head.version = match version(version_bytes) {
        Some((1, 1)) => Version::Http11,
        Some((1, 0)) => Version::Http10,
        Some(_) => return Err(ResponseError::VersionUnsupported),
        None => return Err(ResponseError::BadVersion),
    };
    let Some((&[hundreds, tens, ones], reason)) = rest.split_first_chunk::<3>() else {
        return Err(ResponseError::BadStatus);
    };
    if !matches!(hundreds, b'1'..=b'5') || !tens.is_ascii_digit() || !ones.is_ascii_digit() {
        return Err(ResponseError::BadStatus);
    }
    head.status = u16::from(hundreds - b'0') * 100 + u16::from(tens - b'0') * 10 + u16::from(ones - b'0');
    head.reason = match reason {
        [] => Span::default(),
        [b' ', ..] => Span::new(13, end),
        _ => return Err(ResponseError::BadStatus),
    };
    Ok(Some(end + 2))
}
