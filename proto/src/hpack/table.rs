//! The dynamic table (RFC 7541 sections 2.3.2 and 4), the same for both directions.

use std::collections::VecDeque;

use super::FIELD_COST;

/// Room that is taken first, in bytes. It doubles as it is needed.
const ROOM_MIN: usize = 256;

/// One entry: where its name starts and how long its parts are. The value follows the name.
#[derive(Clone, Copy)]
struct Entry {
    /// Counted over all bytes ever written, and so wrapping; the low bits are the place in the ring.
    at: u32,
    name: u32,
    value: u32,
    /// What the owner wants to know of the name without reading it.
    tag: u8,
}

impl Entry {
    fn size(self) -> usize {
        self.name as usize + self.value as usize + FIELD_COST
    }
}

/// Entries newest first, their bytes in one ring.
pub(super) struct Table {
    /// Empty, or a power of two long.
    ring: Vec<u8>,
    entries: VecDeque<Entry>,
    /// Where the next byte goes.
    end: u32,
    /// Bytes in use.
    used: usize,
    /// The size as the specification counts it, and its maximum.
    size: usize,
    max: usize,
    /// Entries ever inserted.
    inserted: u32,
}

impl Table {
    pub(super) fn new(max: usize) -> Self {
        Self { ring: Vec::new(), entries: VecDeque::new(), end: 0, used: 0, size: 0, max, inserted: 0 }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many entries there have been, wrapping: the number of the newest.
    pub(super) fn inserted(&self) -> u32 {
        self.inserted
    }

    /// Changes the maximum, evicts what is too much.
    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
        self.evict(0);
        // What is far too large for the new maximum is not kept.
        if self.used == 0 && self.ring.len() > max.next_power_of_two().max(ROOM_MIN) {
            self.ring = Vec::new();
        }
    }

    /// Makes room for `more`, as far as there is any to make.
    fn evict(&mut self, more: usize) {
        while self.size + more > self.max {
            let Some(oldest) = self.entries.pop_back() else {
                break;
            };
            self.size -= oldest.size();
            self.used -= oldest.size() - FIELD_COST;
        }
    }

    /// Whether an entry fits without another leaving.
    pub(super) fn has_room(&self, name: usize, value: usize) -> bool {
        self.size + name + value + FIELD_COST <= self.max
    }

    /// Inserts an entry. One that is larger than the table empties it (section 4.4).
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8], tag: u8) {
        let len = name.len() + value.len();
        self.evict(len + FIELD_COST);
        if len + FIELD_COST > self.max {
            return;
        }
        self.reserve(len);
        let at = self.end;
        self.write(name);
        self.write(value);
        self.size += len + FIELD_COST;
        self.inserted = self.inserted.wrapping_add(1);
        self.entries.push_front(Entry { at, name: name.len() as u32, value: value.len() as u32, tag });
    }

    /// Makes the ring large enough for `more` bytes.
    fn reserve(&mut self, more: usize) {
        let need = self.used + more;
        if need <= self.ring.len() {
            return;
        }
        let mut ring = vec![0; need.next_power_of_two().max(ROOM_MIN)];
        let start = self.end.wrapping_sub(self.used as u32);
        let (head, tail) = parts(&self.ring, start, self.used);
        copy_in(&mut ring, start, head);
        copy_in(&mut ring, start.wrapping_add(head.len() as u32), tail);
        self.ring = ring;
    }

    fn write(&mut self, bytes: &[u8]) {
        copy_in(&mut self.ring, self.end, bytes);
        self.end = self.end.wrapping_add(bytes.len() as u32);
        self.used += bytes.len();
    }

    /// The lengths of the name and the value of an entry, and its tag; 0 is the newest.
    pub(super) fn entry(&self, index: usize) -> Option<(usize, usize, u8)> {
        let entry = self.entries.get(index)?;
        Some((entry.name as usize, entry.value as usize, entry.tag))
    }

    /// Appends the name of an entry, and with `between` after it its value.
    pub(super) fn append(&self, index: usize, between: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        let (head, tail) = parts(&self.ring, entry.at, entry.name as usize);
        out.extend_from_slice(head);
        out.extend_from_slice(tail);
        if let Some(between) = between {
            out.extend_from_slice(between);
            let (head, tail) = parts(&self.ring, entry.at.wrapping_add(entry.name), entry.value as usize);
            out.extend_from_slice(head);
            out.extend_from_slice(tail);
        }
    }

    /// Whether an entry has this name, and this value if one is given.
    pub(super) fn is(&self, index: usize, name: &[u8], value: Option<&[u8]>) -> bool {
        let Some(entry) = self.entries.get(index) else {
            return false;
        };
        entry.name as usize == name.len()
            && equals(parts(&self.ring, entry.at, name.len()), name)
            && value.is_none_or(|value| {
                entry.value as usize == value.len()
                    && equals(parts(&self.ring, entry.at.wrapping_add(entry.name), value.len()), value)
            })
    }
}

#[inline]
fn equals((head, tail): (&[u8], &[u8]), bytes: &[u8]) -> bool {
    // Few wrap around, and what was found by its hash is the same nearly always.
    if tail.is_empty() {
        return head == bytes;
    }
    bytes.split_at_checked(head.len()).is_some_and(|(front, back)| front == head && back == tail)
}

/// The `len` bytes of a ring from `at` on, in one part or two.
#[inline]
fn parts(ring: &[u8], at: u32, len: usize) -> (&[u8], &[u8]) {
    let start = at as usize & ring.len().wrapping_sub(1);
    if let Some(whole) = ring.get(start..start + len) {
        return (whole, &[]);
    }
    let head = ring.get(start..).unwrap_or_default();
    (head, ring.get(..len - head.len()).unwrap_or_default())
}

/// Copies bytes into a ring from `at` on.
fn copy_in(ring: &mut [u8], at: u32, bytes: &[u8]) {
    let start = at as usize & ring.len().wrapping_sub(1);
    let first = bytes.len().min(ring.len().saturating_sub(start));
    let (front, back) = bytes.split_at(first);
    if let Some(room) = ring.get_mut(start..start + first) {
        room.copy_from_slice(front);
    }
    if let Some(room) = ring.get_mut(..back.len()) {
        room.copy_from_slice(back);
    }
}
