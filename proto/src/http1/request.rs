//! Decoding a request head (RFC 9112 sections 2, 3, 5).

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::framing::survey;
use super::head::{Framing, Limits, Method, Progress, RequestHead, Target, TargetForm, Version};
use super::known::Seen;
use super::line::{FieldLine, LineEnd, field_line, line_end, ordinary_line, token_len, visible_len};
use super::scan::{Cut, HeadScan};
use super::values::authority;
use super::{Field, FieldError, Known, RequestError, Span};

/// Bytes of a line's end.
const CRLF: usize = 2;
/// A path of at most so many bytes is short.
const SHORT_PATH: usize = 12;
/// Longest method, in bytes. The longest registered one has 17 (`UPDATEREDIRECTREF`).
pub(crate) const METHOD_MAX: usize = 32;

/// Decodes the request head at the start of `input`.
///
/// While it answers [`Progress::Partial`], call it again with the same bytes and more, the same `scan` and the same
/// `head`. One empty line before the request line is skipped (RFC 9112 section 2.2) and counted in
/// [`RequestHead::len`]. What is malformed is refused by the end of its line, not only by the end of the head.
///
/// After an error, or to start over, [`HeadScan::reset`] the scan.
pub fn decode_request(
    input: &[u8],
    scan: &mut HeadScan,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Progress, RequestError> {
    let head_max = limits.head.min(u32::MAX as usize);
    while !scan.started {
        let Some(window) = scan.window(input, limits.line, head_max) else {
            return Ok(Progress::Partial);
        };
        match request_line(window.bytes, scan.at, head)? {
            StartLine::Blank if scan.at > 0 => return Err(RequestError::BlankLine),
            StartLine::Blank => scan.advance(2),
            StartLine::Whole(len) => {
                scan.advance(len);
                scan.started = true;
                head.fields.clear();
            }
            StartLine::Partial => match window.cut {
                Cut::Line => return Err(RequestError::LineTooLong),
                Cut::Section => return Err(RequestError::HeadTooLarge),
                Cut::Input => {
                    scan.partial(input.len());
                    return Ok(Progress::Partial);
                }
            },
        }
    }
    if read_fields(input, scan, limits, head_max, &mut head.fields, RequestError::HeadTooLarge)? == Progress::Partial {
        return Ok(Progress::Partial);
    }
    head.len = scan.at;
    let seen = scan.seen;
    scan.reset();
    conclude(input, head, seen)?;
    Ok(Progress::Complete)
}

/// Reads the field lines of a head up to and with its empty line.
#[inline]
pub(super) fn read_fields<E: From<FieldError>>(
    input: &[u8],
    scan: &mut HeadScan,
    limits: &Limits,
    head_max: usize,
    fields: &mut Vec<Field>,
    too_large: E,
) -> Result<Progress, E> {
    let section = input.get(..head_max).unwrap_or(input);
    loop {
        let bytes = section.get(scan.at..).unwrap_or_default();
        if bytes.starts_with(b"\r\n") {
            scan.advance(CRLF);
            return Ok(Progress::Complete);
        }
        // What nearly all lines are needs no window around it.
        if scan.is_fresh()
            && let Some(line) = ordinary_line(bytes)
            && line.value_end <= limits.line
            && fields.len() < limits.fields
        {
            let known = Known::of(bytes.get(..line.name_end).unwrap_or_default());
            scan.seen.add(known);
            push_field(fields, scan.at, known, line.name_end, line.value_start..line.value_end);
            scan.advance(line.len());
            continue;
        }
        let Some(window) = scan.window(input, limits.line, head_max) else {
            return Ok(Progress::Partial);
        };
        let line = field_line(window.bytes).map_err(|error| match error {
            FieldError::ObsFold if fields.is_empty() => FieldError::SpaceBeforeFirstField,
            error => error,
        })?;
        match line {
            FieldLine::Field { name_end, value_start, value_end, len } => {
                if fields.len() >= limits.fields {
                    return Err(FieldError::TooMany.into());
                }
                let known = Known::of(window.bytes.get(..name_end).unwrap_or_default());
                scan.seen.add(known);
                push_field(fields, scan.at, known, name_end, value_start..value_end);
                scan.advance(len);
            }
            FieldLine::End => {
                scan.advance(CRLF);
                return Ok(Progress::Complete);
            }
            FieldLine::Partial => {
                return match window.cut {
                    Cut::Line => Err(FieldError::LineTooLong.into()),
                    Cut::Section => Err(too_large),
                    Cut::Input => {
                        scan.partial(input.len());
                        Ok(Progress::Partial)
                    }
                };
            }
        }
    }
}

/// Notes the field of a line that starts at `at` in the input.
#[inline]
fn push_field(fields: &mut Vec<Field>, at: usize, known: Known, name_end: usize, value: Range<usize>) {
    fields.push(Field {
        name: Span::new(at, at + name_end),
        value: Span::new(at + value.start, at + value.end),
        known,
        hop_by_hop: known.is_connection_specific(),
    });
}

/// Derives what the whole head says.
#[inline]
fn conclude(input: &[u8], head: &mut RequestHead, seen: Seen) -> Result<(), RequestError> {
    let found = survey(input, &mut head.fields, head.version, seen)?;
    head.framing = match found.length {
        _ if found.chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::None,
    };
    head.keep_alive = found.persists(head.version);
    head.upgrade = found.upgrade;
    head.early_data = seen.has(Known::EarlyData);
    head.host = effective_host(input, head, found.host, found.host_again)?;
    head.expect_continue = false;
    // HTTP/1.0 has no expectations (RFC 9110 section 10.1.1).
    if let Some(expect) = found.expect
        && head.version == Version::Http11
    {
        if found.expect_again || !expect.of(input).eq_ignore_ascii_case(b"100-continue") {
            return Err(RequestError::ExpectationFailed);
        }
        head.expect_continue = !matches!(head.framing, Framing::None | Framing::Length(0));
    }
    Ok(())
}

/// The authority the request is for (RFC 9112 sections 3.2 and 3.3).
fn effective_host(input: &[u8], head: &RequestHead, host: Option<Span>, again: bool) -> Result<Span, RequestError> {
    if again {
        return Err(RequestError::DuplicateHost);
    }
    let Some(host) = host else {
        if head.version == Version::Http11 {
            return Err(RequestError::HostMissing);
        }
        return Ok(head.target.authority);
    };
    if authority(host.of(input)).is_none() {
        return Err(RequestError::BadHost);
    }
    match head.target.form {
        TargetForm::Origin | TargetForm::Asterisk => Ok(host),
        // The target's authority counts (section 3.2.2), but a client owes both to be the same (section 3.2). Where
        // they differ, somebody behind or before us will go by the other one, so it is refused.
        TargetForm::Absolute if !host.of(input).eq_ignore_ascii_case(head.target.authority.of(input)) => {
            Err(RequestError::HostMismatch)
        }
        TargetForm::Absolute | TargetForm::Authority => Ok(head.target.authority),
    }
}

/// What the line before the fields is.
enum StartLine {
    Partial,
    /// An empty line.
    Blank,
    /// The request line, with its length and CRLF.
    Whole(usize),
}

/// Reads `method SP target SP version CRLF` from the start of `bytes`, which is `at` in the input.
#[inline]
fn request_line(bytes: &[u8], at: usize, head: &mut RequestHead) -> Result<StartLine, RequestError> {
    let method_end = token_len(bytes);
    if method_end == 0 {
        return before_method(bytes);
    }
    if method_end > METHOD_MAX {
        return Err(RequestError::MethodTooLong);
    }
    let after_method = bytes.get(method_end..).unwrap_or_default();
    if !matches!(after_method, [b' ', ..]) {
        return match line_end(after_method) {
            LineEnd::Partial => Ok(StartLine::Partial),
            LineEnd::Whole => Err(RequestError::BadRequestLine),
            LineEnd::BareCr => Err(FieldError::BareCr.into()),
            LineEnd::BareLf => Err(FieldError::BareLf.into()),
            LineEnd::Byte(_) => Err(RequestError::BadMethod),
        };
    }
    let target_start = method_end + 1;
    let target_end = target_start + visible_len(bytes.get(target_start..).unwrap_or_default());
    let after_target = bytes.get(target_end..).unwrap_or_default();
    if !matches!(after_target, [b' ', ..]) {
        return match line_end(after_target) {
            LineEnd::Partial => Ok(StartLine::Partial),
            LineEnd::Whole => Err(RequestError::BadRequestLine),
            LineEnd::BareCr => Err(FieldError::BareCr.into()),
            LineEnd::BareLf => Err(FieldError::BareLf.into()),
            LineEnd::Byte(_) => Err(RequestError::BadTarget),
        };
    }
    let version_start = target_end + 1;
    let after_version = bytes.get(version_start..).unwrap_or_default();
    let len = if after_version.starts_with(b"HTTP/1.1\r\n") {
        head.version = Version::Http11;
        version_start + 10
    } else {
        let version_len = visible_len(after_version);
        match line_end(after_version.get(version_len..).unwrap_or_default()) {
            LineEnd::Partial => return Ok(StartLine::Partial),
            LineEnd::BareCr => return Err(FieldError::BareCr.into()),
            LineEnd::BareLf => return Err(FieldError::BareLf.into()),
            LineEnd::Byte(b' ') => return Err(RequestError::BadRequestLine),
            LineEnd::Byte(_) => return Err(RequestError::BadVersion),
            LineEnd::Whole => {}
        }
        head.version = match version(after_version.get(..version_len).unwrap_or_default()) {
            Some((1, 1)) => Version::Http11,
            Some((1, 0)) => Version::Http10,
            Some(_) => return Err(RequestError::VersionUnsupported),
            None => return Err(RequestError::BadVersion),
        };
        version_start + version_len + 2
    };
    let method = bytes.get(..method_end).unwrap_or_default();
    head.method = Method::from_token(method);
    head.method_span = Span::new(at, at + method_end);
    let target = bytes.get(target_start..target_end).unwrap_or_default();
    head.target = read_target(target, at + target_start, head.method)?;
    Ok(StartLine::Whole(len))
}

#[cold]
fn before_method(bytes: &[u8]) -> Result<StartLine, RequestError> {
    match line_end(bytes) {
        LineEnd::Partial => Ok(StartLine::Partial),
        LineEnd::Whole => Ok(StartLine::Blank),
        LineEnd::BareCr => Err(FieldError::BareCr.into()),
        LineEnd::BareLf => Err(FieldError::BareLf.into()),
        LineEnd::Byte(b' ' | b'\t') => Err(RequestError::LeadingSpace),
        LineEnd::Byte(_) => Err(RequestError::BadMethod),
    }
}

/// The numbers of an HTTP-version (RFC 9112 section 2.3).
pub(super) fn version(bytes: &[u8]) -> Option<(u8, u8)> {
    match bytes {
        [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] => {
            Some((major - b'0', minor - b'0'))
        }
        _ => None,
    }
}

/// Reads a target of visible ASCII that starts at `at` in the input (RFC 9112 section 3.2).
#[inline]
fn read_target(target: &[u8], at: usize, method: Method) -> Result<Target, RequestError> {
    let whole = Span::new(at, at + target.len());
    if target.is_empty() {
        return Err(RequestError::BadRequestLine);
    }
    if method == Method::Connect {
        // CONNECT takes nothing but authority form, with its port (RFC 9110 section 9.3.6).
        return match authority(target) {
            Some(parts) if parts.port.is_some() => {
                Ok(Target { form: TargetForm::Authority, whole, authority: whole, ..Target::default() })
            }
            _ => Err(RequestError::BadTarget),
        };
    }
    if target.first() == Some(&b'/') {
        let (path, query) = path_and_query(target, at)?;
        return Ok(Target { form: TargetForm::Origin, whole, authority: Span::default(), path, query });
    }
    if target == b"*" {
        if method != Method::Options {
            return Err(RequestError::BadTarget);
        }
        return Ok(Target { form: TargetForm::Asterisk, whole, ..Target::default() });
    }
    absolute_target(target, at, whole)
}

/// Reads a `:path` of HTTP/2, which has origin or asterisk form and nothing else, and starts at `at` in the input
/// (RFC 9113 section 8.3.1).
pub(crate) fn path_target(path: &[u8], at: usize, method: Method) -> Result<Target, RequestError> {
    let is_form = matches!(path, [b'/', ..] | b"*");
    if !is_form || visible_len(path) != path.len() || method == Method::Connect {
        return Err(RequestError::BadTarget);
    }
    read_target(path, at, method)
}

/// `scheme://authority[path][?query]`
fn absolute_target(target: &[u8], at: usize, whole: Span) -> Result<Target, RequestError> {
    let colon = memchr(b':', target).ok_or(RequestError::BadTarget)?;
    let (scheme, rest) = target.split_at_checked(colon).ok_or(RequestError::BadTarget)?;
    let rest = rest.strip_prefix(b"://").ok_or(RequestError::BadTarget)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(RequestError::TargetScheme);
    }
    let start = colon + 3;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (host, tail) = rest.split_at_checked(end).ok_or(RequestError::BadTarget)?;
    if authority(host).is_none() {
        return Err(RequestError::BadTarget);
    }
    let (path, query) = path_and_query(tail, at + start + end)?;
    Ok(Target { form: TargetForm::Absolute, whole, authority: Span::new(at + start, at + start + end), path, query })
}

/// Splits `path[?query]`, which starts at `at` in the input.
#[inline]
fn path_and_query(bytes: &[u8], at: usize) -> Result<(Span, Option<Span>), RequestError> {
    let end = at + bytes.len();
    // Short paths, which many are, are looked through quicker than the search is called.
    let mark = if bytes.len() <= SHORT_PATH {
        bytes.iter().position(|byte| matches!(byte, b'?' | b'#'))
    } else {
        memchr2(b'?', b'#', bytes)
    };
    let Some(mark) = mark else {
        return Ok((Span::new(at, end), None));
    };
    if bytes.get(mark..).unwrap_or_default().contains(&b'#') {
        return Err(RequestError::TargetFragment);
    }
    Ok((Span::new(at, at + mark), Some(Span::new(at + mark + 1, end))))
}
