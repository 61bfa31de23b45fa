//! From fields to a block.

use super::static_table::{LEN as STATIC_LEN, name_index, value_index};
use super::table::Table;
use super::{huffman, integer};

/// Places in each of the two tables that find entries. The dynamic table has at most 128 entries by default.
const SLOTS: usize = 256;

/// Hashes of fields that were seen and not indexed.
const SEEN: usize = 64;

/// Longest name that is lowered on the stack.
const NAME_ROOM: usize = 64;

/// Cookies below this many bytes can be guessed by whoever can have them compressed beside a guess (RFC 7541
/// section 7.1.3).
const SHORT_COOKIE: usize = 20;

/// How a field may be represented.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    /// In the table, if it seems worth it.
    Index,
    /// Not in the table: the value is another one nearly every time.
    Literal,
    /// Never in any table, also not further on: the value is a secret.
    Never,
}

/// The encoder of one direction of a connection.
///
/// What it puts into its table: everything while there is room, then only what it sees a second time, so that values
/// that never come back do not drive out those that do. Paths, lengths, validators and the like never go in;
/// credentials, Set-Cookie and short cookies are marked so that nobody further on puts them into a table either.
pub struct Encoder {
    table: Table,
    /// The size set by the settings of the peer and the smallest since the last block, if a block has to say so.
    pending: Option<(usize, usize)>,
    /// The most that we use, whatever the peer allows.
    most: usize,
    /// For each hash the number of an entry with that field, and with that name. They may be out of date.
    fields: Box<[u32]>,
    names: Box<[u32]>,
    seen: [u32; SEEN],
}

impl Encoder {
    /// An encoder whose table has at most `most` bytes; the peer starts with [`DEFAULT_TABLE_SIZE`](super::DEFAULT_TABLE_SIZE).
    pub fn new(most: usize) -> Self {
        let start = super::DEFAULT_TABLE_SIZE;
        let pending = (most < start).then_some((most, most));
        Self {
            table: Table::new(start.min(most)),
            pending,
            most,
            fields: Box::default(),
            names: Box::default(),
            seen: [0; SEEN],
        }
    }

    /// The peer allows a table of `size` bytes. The next block says what we make of it.
    pub fn set_max(&mut self, size: usize) {
        let size = size.min(self.most);
        let smallest = self.pending.map_or(size, |(smallest, _)| smallest.min(size));
        if size != self.table.max() || self.pending.is_some() {
            self.pending = Some((smallest, size));
        }
    }

    /// Begins a block: appends what changed about the table (RFC 7541 section 4.2).
    #[inline]
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some((smallest, size)) = self.pending.take() {
            if smallest < size {
                self.resize(smallest, out);
            }
            self.resize(size, out);
        }
    }

    fn resize(&mut self, size: usize, out: &mut Vec<u8>) {
        self.table.set_max(size);
        integer::write(out, 0x20, 5, size);
    }

    /// Appends a field; its name is written in lower case.
    pub fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if !name.iter().any(u8::is_ascii_uppercase) {
            return self.lower_field(name, value, out);
        }
        let mut room = [0; NAME_ROOM];
        if let Some(lower) = room.get_mut(..name.len()) {
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            self.lower_field(lower, value, out);
        } else {
            self.lower_field(&name.to_ascii_lowercase(), value, out);
        }
    }

    fn lower_field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        let static_name = name_index(name);
        let policy = policy(static_name, name, value);
        if policy == Policy::Never {
            let index = static_name.or_else(|| self.find_name(name, hash(0, name)));
            return literal(0x10, 4, index, name, value, out);
        }
        if let Some(first) = static_name
            && let Some(index) = value_index(first, value)
        {
            return integer::write(out, 0x80, 7, index);
        }
        let name_hash = hash(0, name);
        if policy == Policy::Literal {
            let index = static_name.or_else(|| self.find_name(name, name_hash));
            return literal(0, 4, index, name, value, out);
        }
        let field_hash = hash(name_hash, value);
        if let Some(at) = self.find(&self.fields, field_hash)
            && self.table.is(at, name, Some(value))
        {
            return integer::write(out, 0x80, 7, at + STATIC_LEN + 1);
        }
        let index = static_name.or_else(|| self.find_name(name, name_hash));
        if !self.is_worth_it(name, value, field_hash) {
            return literal(0, 4, index, name, value, out);
        }
        literal(0x40, 6, index, name, value, out);
        self.table.insert(name, value, 0);
        if self.fields.is_empty() {
            self.fields = vec![0; SLOTS].into_boxed_slice();
            self.names = vec![0; SLOTS].into_boxed_slice();
        }
        let number = self.table.inserted();
        for (slots, hash) in [(&mut self.fields, field_hash), (&mut self.names, name_hash)] {
            if let Some(slot) = slots.get_mut(hash as usize % SLOTS) {
                *slot = number;
            }
        }
    }

    /// The entry that a place of a table points to, if it is still there.
    #[inline]
    fn find(&self, slots: &[u32], hash: u32) -> Option<usize> {
        let number = *slots.get(hash as usize % SLOTS)?;
        let at = self.table.inserted().wrapping_sub(number) as usize;
        (at < self.table.len()).then_some(at)
    }

    fn find_name(&self, name: &[u8], hash: u32) -> Option<usize> {
        let at = self.find(&self.names, hash)?;
        self.table.is(at, name, None).then_some(at + STATIC_LEN + 1)
    }

    /// Whether a field goes into the table.
    fn is_worth_it(&mut self, name: &[u8], value: &[u8], hash: u32) -> bool {
        if self.table.has_room(name.len(), value.len()) {
            return true;
        }
        // A field that would drive out half of the table is not worth it.
        if name.len() + value.len() > self.table.max() / 2 {
            return false;
        }
        let Some(seen) = self.seen.get_mut(hash as usize % SEEN) else {
            return false;
        };
        // Zero is "none"; a field of that hash is indexed at once.
        std::mem::replace(seen, hash) == hash
    }
}

/// Appends a literal field.
#[inline]
fn literal(pattern: u8, prefix: u32, index: Option<usize>, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    integer::write(out, pattern, prefix, index.unwrap_or_default());
    if index.is_none() {
        string(name, out);
    }
    string(value, out);
}

/// Appends a string, in Huffman code where that is shorter.
#[inline]
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_len(bytes);
    if coded < bytes.len() {
        integer::write(out, 0x80, 7, coded);
        huffman::encode(bytes, out);
    } else {
        integer::write(out, 0, 7, bytes.len());
        out.extend_from_slice(bytes);
    }
}

/// What becomes of a field with this name in lower case.
#[inline]
fn policy(static_name: Option<usize>, name: &[u8], value: &[u8]) -> Policy {
    let Some(index) = static_name else {
        return match name {
            b"x-api-key" | b"x-auth-token" | b"x-csrf-token" | b"x-amz-security-token" => Policy::Never,
            b"x-request-id" | b"x-correlation-id" | b"traceparent" | b"x-forwarded-for" | b"forwarded"
            | b"server-timing" => Policy::Literal,
            _ => Policy::Index,
        };
    };
    match index {
        AUTHORIZATION | PROXY_AUTHORIZATION | SET_COOKIE => Policy::Never,
        COOKIE if value.len() < SHORT_COOKIE => Policy::Never,
        // The path, Age, Content-Length and Content-Range, ETag, Expires, conditions, Last-Modified, Location, Range.
        4 | 21 | 28 | 30 | 34 | 36 | 39..=43 | 44 | 46 | 50 => Policy::Literal,
        _ => Policy::Index,
    }
}

const AUTHORIZATION: usize = 23;
const COOKIE: usize = 32;
const PROXY_AUTHORIZATION: usize = 49;
const SET_COOKIE: usize = 55;

/// A hash that is only good for finding: whoever makes two fields meet makes their own compression worse.
#[inline]
fn hash(seed: u32, bytes: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = u64::from(seed) ^ bytes.len() as u64;
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        state = (state.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    for &byte in tail {
        state = (state.rotate_left(23) ^ u64::from(byte)).wrapping_mul(FACTOR);
    }
    (state >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy_of(name: &str, value: &str) -> Policy {
        policy(name_index(name.as_bytes()), name.as_bytes(), value.as_bytes())
    }

    #[test]
    fn secrets_are_never_indexed_and_what_always_differs_is_not() {
        for name in ["authorization", "proxy-authorization", "set-cookie", "x-api-key"] {
            assert!(policy_of(name, "a value that is long enough") == Policy::Never, "{name}");
        }
        assert!(policy_of("cookie", "session=1234") == Policy::Never);
        assert!(policy_of("cookie", "session=0123456789abcdef0123456789abcdef") == Policy::Index);
        for name in [
            ":path",
            "age",
            "content-length",
            "content-range",
            "etag",
            "expires",
            "if-match",
            "if-modified-since",
            "if-none-match",
            "if-range",
            "if-unmodified-since",
            "last-modified",
            "location",
            "range",
            "x-request-id",
            "traceparent",
        ] {
            assert!(policy_of(name, "x") == Policy::Literal, "{name}");
        }
        for name in [":authority", ":method", ":scheme", "accept", "user-agent", "content-type", "date", "vary", "x-a"]
        {
            assert!(policy_of(name, "x") == Policy::Index, "{name}");
        }
    }
}
