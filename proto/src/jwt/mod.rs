//! What a JSON Web Token (RFC 7519) in compact serialization (RFC 7515 section 3.1) says of itself, read in place.
//!
//! [`claim`] finds one claim. It does not look at the signature: whoever has made a token up is believed too. So what it
//! gives may choose between things that are all the same to everybody, and nothing else may hang on it.
//!
//! The payload is decoded a piece at a time and never whole: nothing is allocated, and what is on the stack is bounded.
//! As everywhere, what could be read in two ways is refused: digits of base64 with spare bits, padding, a claim that is
//! there twice (RFC 7519 section 4 leaves it open), text that is no UTF-8, half of a surrogate pair.
//!
//! ```
//! use ringway_proto::jwt::{Path, Value, claim};
//!
//! // {"sub":"ann","n":{"tenant":7}}
//! let token = b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJuIjp7InRlbmFudCI6N319.";
//! let mut value = Value::default();
//! assert_eq!(claim(token, &Path::new("sub").unwrap(), &mut value), Ok(Some(&b"ann"[..])));
//! assert_eq!(claim(token, &Path::new("/n/tenant").unwrap(), &mut value), Ok(Some(&b"7"[..])));
//! assert_eq!(claim(token, &Path::new("n").unwrap(), &mut value), Ok(None));
//! ```

mod base64url;
mod error;
mod json;
mod path;
mod value;

pub use error::TokenError;
pub use path::{Path, PathError, STEPS_MAX};
pub use value::{VALUE_MAX, Value};

use self::base64url::{Bytes, is_digits};
use self::json::Scan;

/// Bytes of a token at most.
pub const TOKEN_MAX: usize = 8 * 1024;
/// Objects and arrays inside each other at most, in a payload.
pub const DEPTH_MAX: usize = 32;

/// The text of a claim: a string, or as it is written an integer, `true` or `false`. Anything else, and a claim that is
/// not there, is `None`. The text lies in `value`.
///
/// # Errors
///
/// It is no token, or says one thing twice, or is beyond a bound.
pub fn claim<'a>(token: &[u8], path: &Path, value: &'a mut Value) -> Result<Option<&'a [u8]>, TokenError> {
    if token.len() > TOKEN_MAX {
        return Err(TokenError::TooLong);
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Parts);
    };
    // Of an unsecured token the signature is empty (RFC 7519 section 6).
    if header.is_empty() || !is_digits(header) || !is_digits(signature) {
        return Err(TokenError::Base64);
    }
    value.clear();
    let is_there = Scan::new(Bytes::new(payload)).run(path, value)?;
    if is_there { value.text().map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests;
