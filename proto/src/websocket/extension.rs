//! `Sec-WebSocket-Extensions` (RFC 6455 section 9.1), of which permessage-deflate (RFC 7692) is understood.

use super::Side;
use crate::http1::values;

/// One extension of a list, as it stands there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension<'a> {
    /// The whole element, trimmed.
    pub text: &'a [u8],
    /// Its name.
    pub name: &'a [u8],
    params: Option<&'a [u8]>,
}

/// What permessage-deflate was offered or agreed on with (RFC 7692 section 7.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Deflate {
    /// The server forgets after each message.
    pub server_no_context_takeover: bool,
    /// The client forgets after each message.
    pub client_no_context_takeover: bool,
    /// The most that the server's window may have, as a power of two.
    pub server_max_window_bits: Option<u8>,
    /// The same of the client. An offer may have the parameter without a value.
    pub client_max_window_bits: Option<Option<u8>>,
}

/// What one that compresses itself agrees to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Willing {
    /// The largest window of either side, as a power of two, 9 to 15.
    pub bits: u8,
    /// Whether what was sent before may be remembered.
    pub context_takeover: bool,
}

/// The extensions of a field value, in order; an error where it is malformed.
pub fn list(value: &[u8]) -> impl Iterator<Item = Result<Extension<'_>, Malformed>> {
    elements(value, b',').filter(|element| !element.is_empty()).map(|text| {
        let mut parts = elements(text, b';');
        let name = parts.next().unwrap_or_default();
        let params = text.get(name.len()..).unwrap_or_default();
        let params = values::trim(params).strip_prefix(b";");
        let extension = Extension { text, name, params };
        let is_right = values::is_token(name) && extension.params().all(|param| param.is_ok());
        if is_right { Ok(extension) } else { Err(Malformed) }
    })
}

/// A value breaks the grammar of RFC 6455 section 9.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// The parts of a value, trimmed; what is in quotes separates nothing.
fn elements(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut left = Some(value);
    std::iter::from_fn(move || {
        let rest = left?;
        let (mut in_quotes, mut escaped) = (false, false);
        let end = rest.iter().position(|&byte| {
            let is_end = byte == separator && !in_quotes;
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_quotes => escaped = true,
                b'"' => in_quotes = !in_quotes,
                _ => {}
            }
            is_end
        });
        left = end.and_then(|end| rest.get(end + 1..));
        Some(values::trim(end.map_or(rest, |end| rest.get(..end).unwrap_or_default())))
    })
}

impl<'a> Extension<'a> {
    /// Each parameter with its value, quotes off.
    fn params(self) -> impl Iterator<Item = Result<(&'a [u8], Option<&'a [u8]>), Malformed>> {
        self.params.into_iter().flat_map(|params| elements(params, b';')).map(|param| {
            let Some(at) = param.iter().position(|&byte| byte == b'=') else {
                return if values::is_token(param) { Ok((param, None)) } else { Err(Malformed) };
            };
            let (name, value) = (param.get(..at).unwrap_or_default(), param.get(at + 1..).unwrap_or_default());
            let (name, value) = (values::trim(name), values::trim(value));
            // What is in the quotes must be a token, too (RFC 6455 section 9.1). Escapes are not taken: nobody sends them.
            let plain = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
            if values::is_token(name) && values::is_token(plain) { Ok((name, Some(plain))) } else { Err(Malformed) }
        })
    }

    /// Whether it is permessage-deflate, with whatever parameters.
    pub fn is_deflate(self) -> bool {
        self.name == b"permessage-deflate"
    }

    /// What it says, where it is permessage-deflate with parameters that an offer may have (RFC 7692 section 7.1): known
    /// ones, each once, with values that they may have.
    pub fn deflate(self) -> Option<Deflate> {
        if !self.is_deflate() {
            return None;
        }
        let mut found = Deflate::default();
        for param in self.params() {
            let (name, value) = param.ok()?;
            let set = |flag: &mut bool| (value.is_none() && !std::mem::replace(flag, true)).then_some(());
            match name {
                b"server_no_context_takeover" => set(&mut found.server_no_context_takeover)?,
                b"client_no_context_takeover" => set(&mut found.client_no_context_takeover)?,
                b"server_max_window_bits" if found.server_max_window_bits.is_none() => {
                    found.server_max_window_bits = Some(bits(value?)?);
                }
                b"client_max_window_bits" if found.client_max_window_bits.is_none() => {
                    found.client_max_window_bits = Some(match value {
                        Some(value) => Some(bits(value)?),
                        None => None,
                    });
                }
                _ => return None,
            }
        }
        Some(found)
    }
}

/// 8 to 15, without a leading zero.
fn bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

impl Deflate {
    /// What a client that is willing to so much offers.
    pub fn offer(willing: Willing) -> Self {
        let bits = (willing.bits < 15).then_some(willing.bits);
        Self {
            server_no_context_takeover: !willing.context_takeover,
            client_no_context_takeover: !willing.context_takeover,
            server_max_window_bits: bits,
            client_max_window_bits: Some(bits),
        }
    }

    /// How a server that is willing to so much answers this offer (RFC 7692 section 7.1).
    #[must_use]
    pub fn answer(&self, willing: Willing) -> Self {
        let within = |bits: Option<u8>| {
            let bits = bits.unwrap_or(15).min(willing.bits);
            (bits < 15).then_some(bits)
        };
        Self {
            server_no_context_takeover: self.server_no_context_takeover || !willing.context_takeover,
            client_no_context_takeover: self.client_no_context_takeover || !willing.context_takeover,
            // A limit of the client's is confirmed, whatever it is.
            server_max_window_bits: within(self.server_max_window_bits).or(self.server_max_window_bits),
            // A client that did not offer it cannot be limited.
            client_max_window_bits: self.client_max_window_bits.and_then(|most| within(most).map(Some)),
        }
    }

    /// The window that what a side sends needs, as a power of two, and whether that side forgets after each message; of
    /// what was agreed on.
    pub fn of(&self, side: Side) -> (u8, bool) {
        let (bits, forgets) = match side {
            Side::Client => (self.client_max_window_bits.flatten(), self.client_no_context_takeover),
            Side::Server => (self.server_max_window_bits, self.server_no_context_takeover),
        };
        (bits.unwrap_or(15), forgets)
    }

    /// Appends it as one element of a list.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"permessage-deflate");
        let flags = [
            (self.server_no_context_takeover, &b"; server_no_context_takeover"[..]),
            (self.client_no_context_takeover, b"; client_no_context_takeover"),
        ];
        for (_, name) in flags.iter().filter(|(is_set, _)| *is_set) {
            out.extend_from_slice(name);
        }
        let limits = [
            (self.server_max_window_bits.map(Some), &b"; server_max_window_bits"[..]),
            (self.client_max_window_bits, b"; client_max_window_bits"),
        ];
        for (bits, name) in limits {
            let Some(bits) = bits else { continue };
            out.extend_from_slice(name);
            if let Some(bits) = bits {
                out.extend_from_slice(format!("={bits}").as_bytes());
            }
        }
    }

    /// Whether an answer may agree to this offer so (RFC 7692 section 7.1).
    pub fn may_be_answered(&self, answer: &Self) -> bool {
        let kept = |offered: bool, answered: bool| answered || !offered;
        // A client that offers the parameter without a value takes any window; one that does not, takes no limit.
        let client_window = match (self.client_max_window_bits, answer.client_max_window_bits) {
            (_, None) => true,
            (None, Some(_)) | (_, Some(None)) => false,
            (Some(most), Some(Some(bits))) => most.is_none_or(|most| bits <= most),
        };
        // The server may always take a smaller window than it must.
        let server_window = match (self.server_max_window_bits, answer.server_max_window_bits) {
            (Some(most), Some(bits)) => bits <= most,
            (Some(_), None) => false,
            (None, _) => true,
        };
        kept(self.server_no_context_takeover, answer.server_no_context_takeover) && client_window && server_window
    }
}
