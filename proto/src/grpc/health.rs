//! The messages of `grpc.health.v1.Health/Check`. They are small enough to be read and written by hand.

/// The path of the method.
pub const PATH: &str = "/grpc.health.v1.Health/Check";

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// How a service is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serving {
    /// Not known.
    Unknown,
    /// Well.
    Serving,
    /// Not well.
    NotServing,
    /// There is no such service.
    ServiceUnknown,
    /// Something that is not known here.
    Other,
}

/// Appends a request, without its prefix. An empty name asks for the server as a whole.
pub fn request(service: &str, out: &mut Vec<u8>) {
    if service.is_empty() {
        return;
    }
    out.push(1 << 3 | BYTES as u8);
    let mut len = service.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(service.as_bytes());
}

/// What a response says; nothing where it is malformed. Fields that are not known are passed over.
pub fn response(message: &[u8]) -> Option<Serving> {
    let (mut left, mut status) = (message, 0);
    while !left.is_empty() {
        let tag = varint(&mut left)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, VARINT) => status = varint(&mut left)?,
            (_, VARINT) => _ = varint(&mut left)?,
            (_, FIXED64) => left = left.get(8..)?,
            (_, FIXED32) => left = left.get(4..)?,
            (_, BYTES) => {
                let len = usize::try_from(varint(&mut left)?).ok()?;
                left = left.get(len..)?;
            }
            _ => return None,
        }
    }
    Some(match status {
        0 => Serving::Unknown,
        1 => Serving::Serving,
        2 => Serving::NotServing,
        3 => Serving::ServiceUnknown,
        _ => Serving::Other,
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for at in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        // The tenth byte has one bit of the 64.
        if at == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
