//! The bytes of a metrics file, both ways. `docs/metrics-files.md` is the same in prose; change them together.

use super::buckets::Shape;
use super::reader::Problem;
use super::schema::{Entry, Kind, MAX_FILE_BYTES, MAX_LABELS, MAX_METRICS, Unit, is_label_value, is_name};

/// The first eight bytes of every metrics file.
pub const MAGIC: [u8; 8] = *b"RINGWAYM";
/// The layout that this release writes and reads.
pub const LAYOUT_VERSION: u32 = 1;

/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 128;
/// Bytes of a schema entry before its label lengths.
const ENTRY_BYTES: usize = 32;
/// The values start on a page of their own.
const PAGE_BYTES: usize = 4096;
/// What the checksum covers of the header: all that comes before it.
const CHECKED_BYTES: usize = 96;

/// Header words that change while the file is written.
pub(super) const EPOCH_WORD: usize = 104 / 8;
pub(super) const HEARTBEAT_WORD: usize = 112 / 8;
pub(super) const STATE_WORD: usize = 120 / 8;

/// The state word of a file that its writer has closed; it starts as zero.
pub(super) const STATE_CLOSED: u64 = 1;

// The mapped words are the file's bytes: there is no byte swap on the writing side.
const _: () = assert!(cfg!(target_endian = "little"), "metrics files are little-endian");

/// What a header says, without the places of things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) core: u32,
    pub(super) pid: u32,
    pub(super) generation: u32,
    pub(super) process_start_ticks: u64,
    pub(super) wall_ns: u64,
    pub(super) mono_ns: u64,
}

/// A word for the maximum, then the buckets.
pub(super) const fn histogram_words(shape: Shape) -> usize {
    1 + shape.buckets()
}

pub(super) fn values_offset(entries: &[Entry]) -> usize {
    (HEADER_BYTES + entries.iter().map(entry_bytes).sum::<usize>()).next_multiple_of(PAGE_BYTES)
}

fn entry_bytes(entry: &Entry) -> usize {
    let text: usize = entry.labels.iter().map(|(label, value)| 4 + label.len() + value.len()).sum();
    (ENTRY_BYTES + entry.name.len() + text).next_multiple_of(8)
}

/// Everything before the values; the rest of the file is zero.
pub(super) fn encode(header: &Header, entries: &[Entry], value_words: usize) -> Vec<u8> {
    let values_offset = values_offset(entries);
    let schema_bytes: usize = entries.iter().map(entry_bytes).sum();
    let mut out = Vec::with_capacity(values_offset);
    out.extend_from_slice(&MAGIC);
    put_u32(&mut out, LAYOUT_VERSION);
    put_u32(&mut out, HEADER_BYTES as u32);
    put_u64(&mut out, (values_offset + value_words * 8) as u64);
    put_u64(&mut out, HEADER_BYTES as u64);
    put_u64(&mut out, schema_bytes as u64);
    put_u64(&mut out, values_offset as u64);
    put_u64(&mut out, value_words as u64 * 8);
    put_u32(&mut out, entries.len() as u32);
    put_u32(&mut out, header.core);
    put_u32(&mut out, header.pid);
    put_u32(&mut out, header.generation);
    put_u64(&mut out, header.process_start_ticks);
    put_u64(&mut out, header.wall_ns);
    put_u64(&mut out, header.mono_ns);
    let mut schema = Vec::with_capacity(schema_bytes);
    for entry in entries {
        encode_entry(&mut schema, entry, values_offset);
    }
    let sum = checksum(&[&out, &schema]);
    put_u64(&mut out, sum);
    out.resize(HEADER_BYTES, 0);
    out.extend_from_slice(&schema);
    out.resize(values_offset, 0);
    out
}

fn encode_entry(out: &mut Vec<u8>, entry: &Entry, values_offset: usize) {
    let start = out.len();
    let (kind, precision, range) = match entry.kind {
        Kind::Counter => (1, 0, 0),
        Kind::Gauge => (2, 0, 0),
        Kind::Histogram(shape) => (3, shape.precision(), shape.range()),
    };
    let unit = match entry.unit {
        Unit::None => 0,
        Unit::Seconds => 1,
        Unit::Bytes => 2,
    };
    put_u32(out, entry_bytes(entry) as u32);
    out.extend_from_slice(&[kind, unit, precision, range]);
    put_u64(out, (values_offset + entry.word * 8) as u64);
    put_u64(out, entry.words() as u64 * 8);
    put_u16(out, entry.name.len() as u16);
    put_u16(out, entry.labels.len() as u16);
    put_u32(out, 0);
    for (label, value) in &entry.labels {
        put_u16(out, label.len() as u16);
        put_u16(out, value.len() as u16);
    }
    out.extend_from_slice(entry.name.as_bytes());
    for (label, value) in &entry.labels {
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    out.resize(start + entry_bytes(entry), 0);
}

/// Reads a whole file, given as words. Nothing in it is trusted.
///
/// Returns the header, the entries with their words counted from the start of the values, and the word at which the
/// values start.
pub(super) fn decode(words: &[u64]) -> Result<(Header, Vec<Entry>, usize), Problem> {
    let file_bytes = words.len() * 8;
    if words.first().is_some_and(|&magic| magic != u64::from_le_bytes(MAGIC)) {
        return Err(Problem::Foreign);
    }
    let header_words = words.get(..HEADER_BYTES / 8).ok_or(Problem::Truncated)?;
    let header_bytes: Vec<u8> = header_words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut header = Cursor(&header_bytes);
    header.take(MAGIC.len())?;
    let version = header.u32()?;
    if version != LAYOUT_VERSION {
        return Err(Problem::Version(version));
    }
    let header_len = header.u32()? as usize;
    let stated_bytes = header.size()?;
    if stated_bytes > file_bytes {
        return Err(Problem::Truncated);
    }
    let schema_offset = header.size()?;
    let schema_bytes = header.size()?;
    let values_offset = header.size()?;
    let values_bytes = header.size()?;
    let metrics = header.u32()? as usize;
    let fixed = Header {
        core: header.u32()?,
        pid: header.u32()?,
        generation: header.u32()?,
        process_start_ticks: header.u64()?,
        wall_ns: header.u64()?,
        mono_ns: header.u64()?,
    };
    let stated_sum = header.u64()?;

    let places_hold = header_len == HEADER_BYTES
        && schema_offset == HEADER_BYTES
        && stated_bytes == file_bytes
        && stated_bytes <= MAX_FILE_BYTES
        && schema_bytes.is_multiple_of(8)
        && values_offset.is_multiple_of(8)
        && schema_offset.checked_add(schema_bytes).is_some_and(|end| end <= values_offset)
        && values_offset.checked_add(values_bytes) == Some(file_bytes)
        && metrics <= MAX_METRICS;
    if !places_hold {
        return Err(Problem::Corrupt("the places in the header do not fit the file"));
    }
    let schema_words = words.get(schema_offset / 8..(schema_offset + schema_bytes) / 8).ok_or(Problem::Truncated)?;
    let schema: Vec<u8> = schema_words.iter().flat_map(|word| word.to_le_bytes()).collect();
    if checksum(&[header_bytes.get(..CHECKED_BYTES).unwrap_or_default(), &schema]) != stated_sum {
        return Err(Problem::Corrupt("the checksum of header and schema is wrong"));
    }
    let mut rest = Cursor(&schema);
    let mut entries = Vec::with_capacity(metrics);
    let mut next_word = 0;
    for _ in 0..metrics {
        let entry = decode_entry(&mut rest, values_offset, values_bytes)?;
        if entry.word < next_word {
            return Err(Problem::Corrupt("two metrics share a place"));
        }
        next_word = entry.word + entry.words();
        entries.push(entry);
    }
    if !rest.0.is_empty() {
        return Err(Problem::Corrupt("the schema is longer than its metrics"));
    }
    Ok((fixed, entries, values_offset / 8))
}

fn decode_entry(schema: &mut Cursor<'_>, values_offset: usize, values_bytes: usize) -> Result<Entry, Problem> {
    const ODD: Problem = Problem::Corrupt("a metric in the schema makes no sense");
    let entry_bytes = schema.u32()? as usize;
    let mut fields = Cursor(schema.take(entry_bytes.checked_sub(4).ok_or(ODD)?)?);
    let &[kind, unit, precision, range] = fields.take(4)? else { return Err(ODD) };
    let kind = match kind {
        1 => Kind::Counter,
        2 => Kind::Gauge,
        3 => Kind::Histogram(Shape::new(precision, range).ok_or(ODD)?),
        _ => return Err(ODD),
    };
    let unit = match unit {
        0 => Unit::None,
        1 => Unit::Seconds,
        2 => Unit::Bytes,
        _ => return Err(ODD),
    };
    let offset = fields.size()?;
    let bytes = fields.size()?;
    let name_bytes = fields.u16()? as usize;
    let label_count = fields.u16()? as usize;
    fields.u32()?;
    if label_count > MAX_LABELS {
        return Err(ODD);
    }
    let mut lengths = Vec::with_capacity(label_count);
    for _ in 0..label_count {
        lengths.push((fields.u16()? as usize, fields.u16()? as usize));
    }
    let name = fields.text(name_bytes)?;
    let mut labels = Vec::with_capacity(label_count);
    for (label_bytes, value_bytes) in lengths {
        labels.push((fields.text(label_bytes)?, fields.text(value_bytes)?));
    }
    let texts_hold = is_name(&name) && labels.iter().all(|(label, value)| is_name(label) && is_label_value(value));
    let word = offset.checked_sub(values_offset).ok_or(ODD)? / 8;
    let entry = Entry { name, labels, kind, unit, word };
    let place_holds = offset.is_multiple_of(8)
        && bytes == entry.words() * 8
        && (offset - values_offset).checked_add(bytes).is_some_and(|end| end <= values_bytes);
    if texts_hold && place_holds { Ok(entry) } else { Err(ODD) }
}

/// FNV-1a, 64 bits: it finds damage, it does not resist forgery.
fn checksum(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Problem::Corrupt("an entry runs past its end"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        self.take(N)?.try_into().map_err(|_| Problem::Truncated)
    }

    fn u16(&mut self) -> Result<u16, Problem> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Problem> {
        self.array().map(u64::from_le_bytes)
    }

    fn size(&mut self) -> Result<usize, Problem> {
        usize::try_from(self.u64()?).map_err(|_| Problem::Corrupt("a size is past any memory"))
    }

    fn text(&mut self, bytes: usize) -> Result<String, Problem> {
        let text = str::from_utf8(self.take(bytes)?).map_err(|_| Problem::Corrupt("a name is not UTF-8"))?;
        Ok(text.to_owned())
    }
}
