//! From a block to fields.

use super::static_table::{LEN as STATIC_LEN, STATIC, name_index};
use super::table::Table;
use super::{FIELD_COST, HpackError, huffman, integer};
use crate::http1::Span;

/// What stands between the name and the value of a field in the caller's buffer, and after it.
const BETWEEN: &[u8] = b": ";
const END: &[u8] = b"\r\n";

/// One decoded field, as ranges of the caller's buffer, where it stands as a line with its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// The name.
    pub name: Span,
    /// The value.
    pub value: Span,
    /// The first entry of the static table that has the name, 1 to 61; 0 if none has.
    pub static_name: u8,
    /// Whether the field must not be put into a table where it is sent on (RFC 7541 section 6.2.3).
    pub never_indexed: bool,
}

/// A block that is being read.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    bytes: &'a [u8],
    at: usize,
    /// What the fields may still come to.
    room: usize,
    /// Whether a field was read, and how many size updates.
    begun: bool,
    updates: u8,
}

impl<'a> Block<'a> {
    /// A whole block, whose fields may come to `most` bytes in all, each counted with [`FIELD_COST`] more.
    pub fn new(bytes: &'a [u8], most: usize) -> Self {
        Self { bytes, at: 0, room: most, begun: false, updates: 0 }
    }
}

/// The decoder of one direction of a connection.
pub struct Decoder {
    table: Table,
    /// The most that the peer may set the table to.
    allowed: usize,
    /// Set when the allowed size went below the table's: the smallest since, which the next block must go down to.
    owed: Option<usize>,
}

impl Decoder {
    /// A decoder whose table has at most `size` bytes.
    pub fn new(size: usize) -> Self {
        Self { table: Table::new(size), allowed: size, owed: None }
    }

    /// Changes the most that the peer may set its table to: to be called when it acknowledged the setting. If the
    /// table is larger, the next block has to begin with an update (RFC 9113 section 4.3.1).
    pub fn set_allowed(&mut self, size: usize) {
        self.allowed = size;
        if size < self.table.max() {
            self.owed = Some(self.owed.map_or(size, |owed| owed.min(size)));
        }
    }

    /// Bytes the table holds, as the specification counts them.
    pub fn table_size(&self) -> usize {
        self.table.size()
    }

    /// Reads the next field and appends it to `out`; `None` at the end of the block.
    #[inline]
    pub fn next(&mut self, block: &mut Block<'_>, out: &mut Vec<u8>) -> Result<Option<Field>, HpackError> {
        loop {
            let Some(&first) = block.bytes.get(block.at) else {
                return Ok(None);
            };
            if first & 0xe0 == 0x20 {
                self.resize(block)?;
                continue;
            }
            if !block.begun {
                if self.owed.is_some() {
                    return Err(HpackError::MissingTableUpdate);
                }
                block.begun = true;
            }
            return match first {
                0x80.. => self.indexed(block, out),
                0x40.. => self.literal(block, 6, out),
                _ => self.literal(block, 4, out),
            }
            .map(Some);
        }
    }

    /// A dynamic table size update (section 6.3).
    #[cold]
    fn resize(&mut self, block: &mut Block<'_>) -> Result<(), HpackError> {
        let size = integer::read(block.bytes, &mut block.at, 5)?;
        if size > self.allowed {
            return Err(HpackError::TableTooLarge);
        }
        // Two are enough to say how small the table was meanwhile, and how large it is (section 4.2).
        block.updates += 1;
        if block.begun || block.updates > 2 {
            return Err(HpackError::LateTableUpdate);
        }
        if self.owed.is_some_and(|owed| size <= owed) {
            self.owed = None;
        }
        self.table.set_max(size);
        Ok(())
    }

    /// An indexed field (section 6.1).
    fn indexed(&mut self, block: &mut Block<'_>, out: &mut Vec<u8>) -> Result<Field, HpackError> {
        let index = integer::read(block.bytes, &mut block.at, 7)?;
        let start = out.len();
        if let Some((name, value)) = STATIC.get(index.wrapping_sub(1)) {
            spend(block, name.len() + value.len())?;
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(BETWEEN);
            out.extend_from_slice(value.as_bytes());
            return Ok(finish(start, name.len(), first_static(index), false, out));
        }
        let index = index.checked_sub(STATIC_LEN + 1).ok_or(HpackError::BadIndex)?;
        let (name, value, static_name) = self.table.entry(index).ok_or(HpackError::BadIndex)?;
        spend(block, name + value)?;
        self.table.append(index, Some(BETWEEN), out);
        Ok(finish(start, name, static_name, false, out))
    }

    /// A literal field (section 6.2), its index in the low `prefix` bits.
    fn literal(&mut self, block: &mut Block<'_>, prefix: u32, out: &mut Vec<u8>) -> Result<Field, HpackError> {
        let first = block.bytes.get(block.at).copied().unwrap_or_default();
        let index = integer::read(block.bytes, &mut block.at, prefix)?;
        let start = out.len();
        spend(block, 0)?;
        let static_name = if index == 0 {
            string(block, out)?;
            name_index(out.get(start..).unwrap_or_default()).unwrap_or_default() as u8
        } else if let Some((name, _)) = STATIC.get(index - 1) {
            spend_more(block, name.len())?;
            out.extend_from_slice(name.as_bytes());
            first_static(index)
        } else {
            let index = index - STATIC_LEN - 1;
            let (name, _, static_name) = self.table.entry(index).ok_or(HpackError::BadIndex)?;
            spend_more(block, name)?;
            self.table.append(index, None, out);
            static_name
        };
        let name = out.len() - start;
        out.extend_from_slice(BETWEEN);
        string(block, out)?;
        if prefix == 6 {
            let value = out.get(start + name + BETWEEN.len()..).unwrap_or_default();
            self.table.insert(out.get(start..start + name).unwrap_or_default(), value, static_name);
        }
        Ok(finish(start, name, static_name, first & 0xf0 == 0x10, out))
    }
}

/// Counts a field with `len` bytes.
#[inline]
fn spend(block: &mut Block<'_>, len: usize) -> Result<(), HpackError> {
    spend_more(block, len + FIELD_COST)
}

#[inline]
fn spend_more(block: &mut Block<'_>, len: usize) -> Result<(), HpackError> {
    block.room = block.room.checked_sub(len).ok_or(HpackError::Bomb)?;
    Ok(())
}

/// Reads a string (section 5.2).
#[inline]
fn string(block: &mut Block<'_>, out: &mut Vec<u8>) -> Result<(), HpackError> {
    let coded = block.bytes.get(block.at).is_some_and(|&first| first >= 0x80);
    let len = integer::read(block.bytes, &mut block.at, 7)?;
    let bytes = block.bytes.get(block.at..block.at + len).ok_or(HpackError::Truncated)?;
    block.at += len;
    let start = out.len();
    if coded {
        huffman::decode(bytes, out)?;
    } else {
        out.extend_from_slice(bytes);
    }
    spend_more(block, out.len() - start)
}

/// The first static entry with the name of static entry `index`.
#[inline]
fn first_static(index: usize) -> u8 {
    match index {
        // `:method`, `:path`, `:scheme`, `:status`: all other names stand once.
        3 => 2,
        5 => 4,
        7 => 6,
        9..=14 => 8,
        _ => index as u8,
    }
}

#[inline]
fn finish(start: usize, name: usize, static_name: u8, never_indexed: bool, out: &mut Vec<u8>) -> Field {
    let (name_end, end) = (start + name, out.len());
    out.extend_from_slice(END);
    Field {
        name: Span::new(start, name_end),
        value: Span::new(name_end + BETWEEN.len(), end),
        static_name,
        never_indexed,
    }
}
