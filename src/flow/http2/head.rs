//! The head of a request as HTTP/1.1 has it.

use ringway_proto::http1::encode::{self, CRLF};
use ringway_proto::http1::{Framing, RequestHead};

/// Appends a request that the codec has checked. `protocol` is that of an extended CONNECT (RFC 8441), which becomes an
/// upgrade; its key is made of `random`.
pub(super) fn write(out: &mut Vec<u8>, head: &RequestHead, text: &[u8], protocol: Option<&[u8]>, random: [u64; 2]) {
    let whole = text.get(..head.len).unwrap_or(text);
    let lines = whole.strip_suffix(CRLF).unwrap_or(whole);
    let Some(protocol) = protocol else {
        out.extend_from_slice(lines);
        if head.framing == Framing::Chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        out.extend_from_slice(CRLF);
        return;
    };
    out.extend_from_slice(b"GET");
    out.extend_from_slice(lines.strip_prefix(b"CONNECT").unwrap_or(lines));
    out.extend_from_slice(b"connection: upgrade\r\n");
    encode::field(out, b"upgrade", protocol);
    let has_key = head.fields.iter().any(|field| field.name.of(text) == b"sec-websocket-key");
    if protocol == b"websocket" && !has_key {
        // HTTP/2 has no use for one, and HTTP/1.1 wants one (RFC 8441 section 5).
        encode::field(out, b"sec-websocket-key", &key(random));
    }
    out.extend_from_slice(CRLF);
}

/// 16 bytes in base64 (RFC 6455 section 4.1).
fn key(random: [u64; 2]) -> [u8; 24] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = u128::from(random[0]) << 64 | u128::from(random[1]);
    let mut key = [b'='; 24];
    for digit in key.iter_mut().take(22) {
        *digit = DIGITS.get((bits >> 122) as usize).copied().unwrap_or(b'A');
        bits <<= 6;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        assert_eq!(&key([0, 0]), b"AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(&key([u64::MAX, u64::MAX]), b"/////////////////////w==");
        // RFC 6455 section 1.3.
        let nonce = u128::from_be_bytes(*b"the sample nonce");
        assert_eq!(&key([(nonce >> 64) as u64, nonce as u64]), b"dGhlIHNhbXBsZSBub25jZQ==");
    }
}
