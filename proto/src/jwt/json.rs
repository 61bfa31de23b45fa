//! JSON (RFC 8259) with nothing kept but the one value that is looked for.

use super::base64url::Bytes;
use super::{DEPTH_MAX, Path, TokenError, Value};

/// What comes next.
#[derive(Clone, Copy)]
enum Next {
    /// A value.
    Value,
    /// A value, or the end of the array that has just begun.
    ValueOrEnd,
    /// A name.
    Name,
    /// A name, or the end of the object that has just begun.
    NameOrEnd,
    /// A comma, or the end of what is open.
    More,
}

/// What the value that comes next is to the path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    /// Nothing.
    Beside,
    /// On the way to what is looked for.
    OnTheWay,
    /// What is looked for.
    Wanted,
}

/// Reads a text from its first byte to its last.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    bytes: Bytes<'a>,
    /// The next byte; none at the end.
    ahead: Option<u8>,
    /// What is open: a bit for each, set where it is an object.
    open: u32,
    /// How much is open.
    depth: usize,
    /// How much of it, from outside, is on the way of the path.
    followed: usize,
    /// Which steps of the path were found.
    found: u32,
}

impl<'a> Scan<'a> {
    pub(super) fn new(bytes: Bytes<'a>) -> Self {
        Self { bytes, ahead: None, open: 0, depth: 0, followed: 0, found: 0 }
    }

    /// Whether what the path leads to is there and has a text, which `out` then has.
    pub(super) fn run(mut self, path: &Path, out: &mut Value) -> Result<bool, TokenError> {
        self.step()?;
        self.skip_space()?;
        if self.ahead != Some(b'{') {
            return Err(TokenError::Json);
        }
        let (mut next, mut is, mut is_there) = (Next::Value, Is::OnTheWay, false);
        loop {
            self.skip_space()?;
            let Some(byte) = self.ahead else { return Err(TokenError::Json) };
            next = match (next, byte) {
                (Next::Value | Next::ValueOrEnd, _) if byte != b']' || matches!(next, Next::Value) => {
                    let what = is;
                    is = Is::Beside;
                    if byte == b'{' || byte == b'[' {
                        self.begin(byte == b'{', what)?
                    } else {
                        is_there |= self.scalar(byte, if what == Is::Wanted { Some(&mut *out) } else { None })?;
                        Next::More
                    }
                }
                (Next::Name | Next::NameOrEnd, b'"') => {
                    is = self.name(path)?;
                    Next::Value
                }
                (Next::More, b',') => {
                    self.step()?;
                    if self.is_in_object() { Next::Name } else { Next::Value }
                }
                (Next::More | Next::NameOrEnd, b'}') if self.is_in_object() => self.end()?,
                (Next::More | Next::ValueOrEnd, b']') if !self.is_in_object() => self.end()?,
                _ => return Err(TokenError::Json),
            };
            if self.depth == 0 {
                self.skip_space()?;
                return if self.ahead.is_none() { Ok(is_there) } else { Err(TokenError::Json) };
            }
        }
    }

    fn step(&mut self) -> Result<(), TokenError> {
        self.ahead = self.bytes.next()?;
        Ok(())
    }

    fn skip_space(&mut self) -> Result<(), TokenError> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.ahead {
            self.step()?;
        }
        Ok(())
    }

    fn is_in_object(&self) -> bool {
        self.open & 1 == 1
    }

    fn begin(&mut self, is_object: bool, what: Is) -> Result<Next, TokenError> {
        if self.depth == DEPTH_MAX {
            return Err(TokenError::TooDeep);
        }
        self.open = self.open << 1 | u32::from(is_object);
        self.depth += 1;
        if is_object && what == Is::OnTheWay {
            self.followed = self.depth;
        }
        self.step()?;
        Ok(if is_object { Next::NameOrEnd } else { Next::ValueOrEnd })
    }

    fn end(&mut self) -> Result<Next, TokenError> {
        self.open >>= 1;
        self.depth -= 1;
        self.followed = self.followed.min(self.depth);
        self.step()?;
        Ok(Next::More)
    }

    /// Reads a name and its colon.
    fn name(&mut self, path: &Path) -> Result<Is, TokenError> {
        let inside = self.depth - 1;
        let step = path.step(inside).filter(|_| self.followed == self.depth);
        let Some((wanted, is_last)) = step else {
            self.string(|_| {})?;
            self.colon()?;
            return Ok(Is::Beside);
        };
        let mut left = Some(wanted.as_bytes());
        self.string(|byte| left = left.and_then(|left| left.strip_prefix(&[byte])))?;
        self.colon()?;
        if !left.is_some_and(<[u8]>::is_empty) {
            return Ok(Is::Beside);
        }
        // What is inside a name comes once, as the name does.
        let bit = 1 << inside;
        if self.found & bit != 0 {
            return Err(TokenError::Twice);
        }
        self.found |= bit;
        Ok(if is_last { Is::Wanted } else { Is::OnTheWay })
    }

    fn colon(&mut self) -> Result<(), TokenError> {
        self.skip_space()?;
        self.expect(b':')
    }

    fn expect(&mut self, byte: u8) -> Result<(), TokenError> {
        if self.ahead != Some(byte) {
            return Err(TokenError::Json);
        }
        self.step()
    }

    /// Reads a value that is neither object nor array. Whether it is one that was wanted and has a text.
    fn scalar(&mut self, first: u8, mut out: Option<&mut Value>) -> Result<bool, TokenError> {
        let mut push = |byte| {
            if let Some(out) = &mut out {
                out.push(byte);
            }
        };
        let has_text = match first {
            b'"' => {
                self.string(push)?;
                true
            }
            b't' => self.word(b"true", push)?,
            b'f' => self.word(b"false", push)?,
            b'n' => {
                self.word(b"null", |_| {})?;
                false
            }
            b'-' | b'0'..=b'9' => self.number(&mut push)?,
            _ => return Err(TokenError::Json),
        };
        Ok(has_text && out.is_some())
    }

    fn word(&mut self, word: &[u8], mut push: impl FnMut(u8)) -> Result<bool, TokenError> {
        for &byte in word {
            self.expect(byte)?;
            push(byte);
        }
        Ok(true)
    }

    /// Reads a number. Whether it is an integer.
    fn number(&mut self, push: &mut impl FnMut(u8)) -> Result<bool, TokenError> {
        if self.ahead == Some(b'-') {
            push(b'-');
            self.step()?;
        }
        if self.ahead == Some(b'0') {
            push(b'0');
            self.step()?;
        } else {
            self.digits(push)?;
        }
        let mut is_integer = true;
        if self.ahead == Some(b'.') {
            is_integer = false;
            self.step()?;
            self.digits(&mut |_| {})?;
        }
        if let Some(b'e' | b'E') = self.ahead {
            is_integer = false;
            self.step()?;
            if let Some(b'+' | b'-') = self.ahead {
                self.step()?;
            }
            self.digits(&mut |_| {})?;
        }
        Ok(is_integer)
    }

    /// Reads digits, at least one.
    fn digits(&mut self, push: &mut impl FnMut(u8)) -> Result<(), TokenError> {
        let mut is_one = false;
        while let Some(digit @ b'0'..=b'9') = self.ahead {
            push(digit);
            is_one = true;
            self.step()?;
        }
        if is_one { Ok(()) } else { Err(TokenError::Json) }
    }

    /// Reads a string, of which `push` gets each byte as it is meant.
    fn string(&mut self, mut push: impl FnMut(u8)) -> Result<(), TokenError> {
        self.step()?;
        loop {
            match self.ahead {
                Some(b'"') => return self.step(),
                Some(b'\\') => {
                    self.step()?;
                    self.escape(&mut push)?;
                }
                None | Some(..b' ') => return Err(TokenError::Json),
                Some(byte) => {
                    push(byte);
                    self.step()?;
                }
            }
        }
    }

    fn escape(&mut self, push: &mut impl FnMut(u8)) -> Result<(), TokenError> {
        let byte = match self.ahead {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.step()?;
                let character = self.character()?;
                character.encode_utf8(&mut [0; 4]).bytes().for_each(push);
                return Ok(());
            }
            _ => return Err(TokenError::Json),
        };
        push(byte);
        self.step()
    }

    /// Reads what is behind `\u`: a character, or the first half of one and then the second.
    fn character(&mut self) -> Result<char, TokenError> {
        let unit = self.unit()?;
        let mut units = [unit, 0];
        let mut len = 1;
        if (0xd800..0xdc00).contains(&unit) {
            self.expect(b'\\')?;
            self.expect(b'u')?;
            units = [unit, self.unit()?];
            len = 2;
        }
        let mut read = char::decode_utf16(units.into_iter().take(len));
        match (read.next(), read.next()) {
            (Some(Ok(character)), None) => Ok(character),
            _ => Err(TokenError::Json),
        }
    }

    fn unit(&mut self) -> Result<u16, TokenError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.ahead.and_then(|byte| char::from(byte).to_digit(16)).ok_or(TokenError::Json)?;
            unit = unit << 4 | digit as u16;
            self.step()?;
        }
        Ok(unit)
    }
}
