//! From a header block to a head (RFC 9113 sections 8.2 and 8.3).
//!
//! A head is written as the text that HTTP/1.1 would have, into the caller's buffer, with the same ranges: a request line,
//! Host from `:authority`, the fields one a line, an empty line. So whatever works on heads works on these, and they are
//! sent on to HTTP/1.1 as they stand. A block is always read to its end, also when its head was refused: else the tables
//! would differ.

use super::config::Limits;
use super::error::HeadError;
use super::priority::Priority;
use crate::hpack::{self, Block, Decoder, FIELD_COST, HpackError};
use crate::http1::{
    Field, FieldError, Framing, FramingError, Known, METHOD_MAX, Method, RequestError, RequestHead, ResponseError,
    ResponseHead, Span, Target, Trailers, Version, path_target, values,
};

/// By how much a block may pass the limit on lists before it is not even read to its end.
const BOMB: usize = 4;

/// What is put aside while a block is read. It keeps its memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pseudo: Vec<u8>,
    cookies: Vec<u8>,
}

/// What a head says beside what stands in it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The first thing that is wrong with it.
    pub(super) error: Option<HeadError>,
    pub(super) length: Option<u64>,
    pub(super) priority: Priority,
    /// `:protocol`, as a range of the text, behind the head.
    pub(super) protocol: Option<Span>,
    pub(super) is_https: bool,
}

/// A pseudo-header field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pseudo {
    Authority,
    Method,
    Path,
    Scheme,
    Status,
    Protocol,
}

impl Pseudo {
    fn of(field: &hpack::Field, text: &[u8]) -> Option<Self> {
        match field.static_name {
            1 => Some(Self::Authority),
            2 => Some(Self::Method),
            4 => Some(Self::Path),
            6 => Some(Self::Scheme),
            8 => Some(Self::Status),
            _ if field.name.of(text) == b":protocol" => Some(Self::Protocol),
            _ => None,
        }
    }
}

/// The values of the pseudo-header fields, as ranges of the scratch.
#[derive(Default)]
struct Pseudos([Option<Span>; 6]);

impl Pseudos {
    fn get(&self, pseudo: Pseudo) -> Option<Span> {
        self.0.get(pseudo as usize).copied().flatten()
    }

    fn set(&mut self, pseudo: Pseudo, value: Span) -> Result<(), HeadError> {
        match self.0.get_mut(pseudo as usize) {
            Some(place @ None) => {
                *place = Some(value);
                Ok(())
            }
            _ => Err(HeadError::PseudoDuplicate),
        }
    }
}

/// What kind of head is read.
trait Kind {
    /// Whether it has this pseudo-header field.
    const PSEUDOS: &'static [Pseudo];
    /// Writes what stands before the fields.
    fn begin(&mut self, walk: &mut Walk<'_>, pseudos: &Pseudos, values: &[u8]) -> Result<(), HeadError>;
}

/// A head that is being written.
struct Walk<'a> {
    text: &'a mut Vec<u8>,
    fields: &'a mut Vec<Field>,
    cookies: &'a mut Vec<u8>,
    limits: &'a Limits,
    notes: Notes,
    host: Option<Span>,
    is_request: bool,
    /// Whether Host was written from `:authority`.
    has_authority: bool,
    has_expect: bool,
    has_early_data: bool,
    has_priority: bool,
    has_cookie: bool,
}

impl Walk<'_> {
    /// Takes a field whose line stands at the end of the text, from `mark` on.
    fn field(&mut self, field: &hpack::Field, mark: usize) -> Result<(), HeadError> {
        let (name, value) = (field.name.of(self.text), field.value.of(self.text));
        if field.static_name == 0 {
            check_name(name)?;
        }
        check_value(value)?;
        if name.len() + value.len() + 2 > self.limits.line {
            return Err(HeadError::LineTooLong);
        }
        let known = Known::of(name);
        match known {
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Http2Settings => return Err(HeadError::ConnectionSpecific),
            Known::Te if !value.eq_ignore_ascii_case(b"trailers") => return Err(HeadError::BadTe),
            Known::ContentLength => {
                if self.notes.length.is_some() {
                    return Err(FramingError::DuplicateLength.into());
                }
                self.notes.length = Some(values::content_length(value).map_err(|error| match error {
                    values::LengthError::Malformed => FramingError::BadLength,
                    values::LengthError::List => FramingError::DuplicateLength,
                    values::LengthError::Overflow => FramingError::LengthOverflow,
                })?);
            }
            Known::Host | Known::Expect if !self.is_request => {}
            Known::Host if self.has_authority => {
                // The same once more; what differs depends on who reads it (section 8.3.1).
                let is_same = self.host.is_some_and(|host| host.of(self.text).eq_ignore_ascii_case(value));
                self.text.truncate(mark);
                return if is_same { Ok(()) } else { Err(RequestError::HostMismatch.into()) };
            }
            Known::Host => {
                if self.host.is_some() {
                    return Err(RequestError::DuplicateHost.into());
                }
                self.host = Some(field.value);
            }
            Known::Cookie => {
                // Compression may split it; whoever speaks no HTTP/2 needs it whole (section 8.2.3).
                // An empty piece would leave a space at an end.
                if !self.cookies.is_empty() && !value.is_empty() {
                    self.cookies.extend_from_slice(b"; ");
                }
                self.has_cookie = true;
                self.cookies.extend_from_slice(value);
                self.text.truncate(mark);
                return if self.cookies.len() > self.limits.line { Err(HeadError::LineTooLong) } else { Ok(()) };
            }
            Known::Expect => {
                if self.has_expect || !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(RequestError::ExpectationFailed.into());
                }
                self.has_expect = true;
            }
            Known::EarlyData => self.has_early_data = true,
            Known::Other if !self.has_priority && name == b"priority" => {
                self.has_priority = true;
                self.notes.priority = Priority::parse(value);
            }
            _ => {}
        }
        self.push(field.name, field.value, known)
    }

    fn push(&mut self, name: Span, value: Span, known: Known) -> Result<(), HeadError> {
        if self.fields.len() >= self.limits.fields {
            return Err(HeadError::TooManyFields);
        }
        self.fields.push(Field { name, value, known, hop_by_hop: known.is_connection_specific() });
        Ok(())
    }

    /// Appends a line of ours.
    fn line(&mut self, name: &[u8], value: &[u8], known: Known) -> Result<Span, HeadError> {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(b": ");
        self.text.extend_from_slice(value);
        let (name_end, value_end) = (start + name.len(), self.text.len());
        self.text.extend_from_slice(b"\r\n");
        let value = Span::new(name_end + 2, value_end);
        self.push(Span::new(start, name_end), value, known)?;
        Ok(value)
    }

    fn refuse(&mut self, error: HeadError) {
        self.notes.error.get_or_insert(error);
    }
}

fn check_name(name: &[u8]) -> Result<(), HeadError> {
    if name.iter().any(u8::is_ascii_uppercase) {
        Err(HeadError::Uppercase)
    } else if name.is_empty() {
        Err(FieldError::EmptyName.into())
    } else if values::is_token(name) {
        Ok(())
    } else {
        Err(FieldError::BadName.into())
    }
}

fn check_value(value: &[u8]) -> Result<(), HeadError> {
    if values::is_field_value(value) {
        return Ok(());
    }
    Err(match value.iter().find(|byte| byte.is_ascii_control() && **byte != b'\t') {
        Some(0) => FieldError::Nul.into(),
        Some(b'\r') => FieldError::BareCr.into(),
        Some(b'\n') => FieldError::BareLf.into(),
        Some(_) => FieldError::ControlByte.into(),
        None => HeadError::SpaceAroundValue,
    })
}

/// Reads a whole block.
fn read<K: Kind>(
    kind: &mut K,
    block: &[u8],
    decoder: &mut Decoder,
    scratch: &mut Vec<u8>,
    walk: &mut Walk<'_>,
) -> Result<(), HpackError> {
    let mut reader = Block::new(block, walk.limits.list.saturating_mul(BOMB));
    let mut pseudos = Pseudos::default();
    let mut list = 0;
    let mut begun = false;
    scratch.clear();
    walk.text.clear();
    walk.fields.clear();
    walk.cookies.clear();
    loop {
        let into = if begun { &mut *walk.text } else { &mut *scratch };
        let mark = into.len();
        let Some(mut field) = decoder.next(&mut reader, into)? else {
            break;
        };
        list += field.name.len() + field.value.len() + FIELD_COST;
        if list > walk.limits.list {
            walk.notes.error.get_or_insert(HeadError::TooLarge);
        }
        if walk.notes.error.is_some() {
            into.truncate(mark);
            continue;
        }
        if field.name.of(into).first() == Some(&b':') {
            let error = match Pseudo::of(&field, into) {
                _ if K::PSEUDOS.is_empty() => Err(HeadError::PseudoInTrailers),
                Some(_) if begun => Err(HeadError::PseudoLate),
                Some(pseudo) if K::PSEUDOS.contains(&pseudo) => pseudos.set(pseudo, field.value),
                _ => Err(HeadError::PseudoUnknown),
            };
            if let Err(error) = error {
                into.truncate(mark);
                walk.refuse(error);
            }
            continue;
        }
        let start = if begun {
            mark
        } else {
            begun = true;
            if let Err(error) = kind.begin(walk, &pseudos, scratch) {
                walk.refuse(error);
                continue;
            }
            // The first field was put where the pseudo-header fields are.
            let start = walk.text.len();
            walk.text.extend_from_slice(scratch.get(mark..).unwrap_or_default());
            let moved = |span: Span| Span::new(span.start as usize + start - mark, span.end as usize + start - mark);
            (field.name, field.value) = (moved(field.name), moved(field.value));
            start
        };
        if let Err(error) = walk.field(&field, start) {
            walk.text.truncate(start);
            walk.refuse(error);
        }
    }
    if !begun
        && walk.notes.error.is_none_or(HeadError::is_answerable)
        && let Err(error) = kind.begin(walk, &pseudos, scratch)
    {
        walk.refuse(error);
    }
    if walk.has_cookie {
        let cookies = std::mem::take(walk.cookies);
        if let Err(error) = walk.line(b"cookie", &cookies, Known::Cookie) {
            walk.refuse(error);
        }
        *walk.cookies = cookies;
    }
    Ok(())
}

struct Request<'a> {
    head: &'a mut Parts,
    extended: bool,
}

/// What the request line of a head says.
#[derive(Default)]
struct Parts {
    method: Method,
    method_span: Span,
    target: Target,
    protocol: Option<Span>,
}

impl Kind for Request<'_> {
    const PSEUDOS: &'static [Pseudo] =
        &[Pseudo::Authority, Pseudo::Method, Pseudo::Path, Pseudo::Scheme, Pseudo::Protocol];

    fn begin(&mut self, walk: &mut Walk<'_>, pseudos: &Pseudos, values: &[u8]) -> Result<(), HeadError> {
        let method = pseudos.get(Pseudo::Method).ok_or(HeadError::PseudoMissing)?.of(values);
        if !values::is_token(method) {
            return Err(RequestError::BadMethod.into());
        }
        if method.len() > METHOD_MAX {
            return Err(RequestError::MethodTooLong.into());
        }
        self.head.method = Method::from_token(method);
        walk.text.extend_from_slice(method);
        self.head.method_span = Span::new(0, method.len());
        let (scheme, path) = (pseudos.get(Pseudo::Scheme), pseudos.get(Pseudo::Path));
        let (authority, protocol) = (pseudos.get(Pseudo::Authority), pseudos.get(Pseudo::Protocol));
        if let Some(protocol) = protocol {
            // RFC 8441 section 4. Where it was not offered, nobody may send it.
            if !self.extended {
                return Err(HeadError::PseudoUnknown);
            }
            if self.head.method != Method::Connect {
                return Err(HeadError::PseudoForbidden);
            }
            if !values::is_token(protocol.of(values)) {
                return Err(HeadError::BadProtocol);
            }
            if authority.is_none() {
                return Err(HeadError::PseudoMissing);
            }
            self.head.protocol = Some(protocol);
        } else if self.head.method == Method::Connect {
            // Section 8.5.
            let well_formed = scheme.is_none() && path.is_none();
            return Err(if !well_formed {
                HeadError::PseudoForbidden
            } else if authority.is_none() {
                HeadError::PseudoMissing
            } else {
                HeadError::Connect
            });
        }
        let (Some(scheme), Some(path)) = (scheme, path) else {
            return Err(HeadError::PseudoMissing);
        };
        walk.notes.is_https = match scheme.of(values) {
            scheme if scheme.eq_ignore_ascii_case(b"https") => true,
            scheme if scheme.eq_ignore_ascii_case(b"http") => false,
            _ => return Err(HeadError::BadScheme),
        };
        let path = path.of(values);
        if path.len() > walk.limits.line {
            return Err(HeadError::TargetTooLong);
        }
        walk.text.push(b' ');
        // A path of CONNECT is a path like any other (RFC 8441 section 4).
        let method = if self.head.method == Method::Connect { Method::Get } else { self.head.method };
        self.head.target = path_target(path, walk.text.len(), method)?;
        walk.text.extend_from_slice(path);
        walk.text.extend_from_slice(b" HTTP/1.1\r\n");
        if let Some(authority) = authority {
            let authority = authority.of(values);
            if values::authority(authority).is_none() {
                return Err(RequestError::BadHost.into());
            }
            walk.host = Some(walk.line(b"host", authority, Known::Host)?);
            walk.has_authority = true;
        }
        Ok(())
    }
}

/// Everything a block is read with.
pub(super) struct Reader<'a> {
    pub(super) decoder: &'a mut Decoder,
    pub(super) scratch: &'a mut Scratch,
    pub(super) limits: &'a Limits,
}

impl Reader<'_> {
    /// Reads a request.
    pub(super) fn request(
        self,
        block: &[u8],
        end: bool,
        extended: bool,
        head: &mut RequestHead,
        text: &mut Vec<u8>,
    ) -> Result<Notes, HpackError> {
        let mut fields = std::mem::take(&mut head.fields);
        let mut parts = Parts::default();
        let mut walk = Walk { is_request: true, ..walk(text, &mut fields, &mut self.scratch.cookies, self.limits) };
        read(&mut Request { head: &mut parts, extended }, block, self.decoder, &mut self.scratch.pseudo, &mut walk)?;
        if walk.notes.error.is_none() {
            match walk.host {
                None => walk.refuse(RequestError::HostMissing.into()),
                Some(host) if !walk.has_authority && values::authority(host.of(walk.text)).is_none() => {
                    walk.refuse(RequestError::BadHost.into());
                }
                Some(_) if parts.protocol.is_some() && walk.notes.length.is_some() => {
                    walk.refuse(HeadError::ConnectLength);
                }
                Some(_) => {}
            }
        }
        walk.text.extend_from_slice(b"\r\n");
        let Walk { host, has_expect, has_early_data, mut notes, .. } = walk;
        let framing = match notes.length {
            Some(length) => Framing::Length(length),
            None if end => Framing::None,
            None => Framing::Chunked,
        };
        *head = RequestHead {
            method: parts.method,
            method_span: parts.method_span,
            target: parts.target,
            host: host.unwrap_or_default(),
            version: Version::Http11,
            fields,
            framing,
            keep_alive: true,
            expect_continue: has_expect && !end,
            upgrade: false,
            early_data: has_early_data,
            len: text.len(),
        };
        if let Some(protocol) = parts.protocol {
            let start = text.len();
            text.extend_from_slice(protocol.of(&self.scratch.pseudo));
            notes.protocol = Some(Span::new(start, text.len()));
        }
        Ok(notes)
    }

    /// Reads a response; `is_head` if it answers a HEAD.
    pub(super) fn response(
        self,
        block: &[u8],
        end: bool,
        is_head: bool,
        head: &mut ResponseHead,
        text: &mut Vec<u8>,
    ) -> Result<Notes, HpackError> {
        let mut fields = std::mem::take(&mut head.fields);
        let mut walk = walk(text, &mut fields, &mut self.scratch.cookies, self.limits);
        let mut status = Response { status: 0 };
        read(&mut status, block, self.decoder, &mut self.scratch.pseudo, &mut walk)?;
        let status = status.status;
        let is_interim = (100..200).contains(&status);
        if is_interim && end {
            walk.refuse(HeadError::InterimEnd);
        }
        if (is_interim || status == 204) && walk.notes.length.is_some_and(|length| length > 0) {
            walk.refuse(ResponseError::BodyForbidden.into());
        }
        walk.text.extend_from_slice(b"\r\n");
        let notes = walk.notes;
        let framing = match notes.length {
            _ if end || is_head || is_interim || status == 204 || status == 304 => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        *head = ResponseHead {
            status,
            reason: Span::default(),
            version: Version::Http11,
            fields,
            framing,
            content_length: notes.length,
            keep_alive: true,
            upgrade: false,
            len: text.len(),
        };
        Ok(notes)
    }

    /// Reads trailers.
    pub(super) fn trailers(
        self,
        block: &[u8],
        fields: &mut Vec<Field>,
        text: &mut Vec<u8>,
    ) -> Result<(Notes, Trailers), HpackError> {
        let mut walk = walk(text, fields, &mut self.scratch.cookies, self.limits);
        read(&mut Nothing, block, self.decoder, &mut self.scratch.pseudo, &mut walk)?;
        let notes = walk.notes;
        Ok((notes, Trailers { section: Span::new(0, text.len()) }))
    }
}

fn walk<'a>(
    text: &'a mut Vec<u8>,
    fields: &'a mut Vec<Field>,
    cookies: &'a mut Vec<u8>,
    limits: &'a Limits,
) -> Walk<'a> {
    Walk {
        text,
        fields,
        cookies,
        limits,
        notes: Notes::default(),
        host: None,
        is_request: false,
        has_authority: false,
        has_expect: false,
        has_early_data: false,
        has_priority: false,
        has_cookie: false,
    }
}

struct Response {
    status: u16,
}

impl Kind for Response {
    const PSEUDOS: &'static [Pseudo] = &[Pseudo::Status];

    fn begin(&mut self, walk: &mut Walk<'_>, pseudos: &Pseudos, values: &[u8]) -> Result<(), HeadError> {
        let status = pseudos.get(Pseudo::Status).ok_or(HeadError::PseudoMissing)?.of(values);
        let [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] = *status else {
            return Err(ResponseError::BadStatus.into());
        };
        self.status = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
        if self.status == 101 {
            return Err(HeadError::SwitchingProtocols);
        }
        walk.text.extend_from_slice(b"HTTP/1.1 ");
        walk.text.extend_from_slice(status);
        walk.text.extend_from_slice(b" \r\n");
        Ok(())
    }
}

struct Nothing;

impl Kind for Nothing {
    const PSEUDOS: &'static [Pseudo] = &[];

    fn begin(&mut self, _: &mut Walk<'_>, _: &Pseudos, _: &[u8]) -> Result<(), HeadError> {
        Ok(())
    }
}
