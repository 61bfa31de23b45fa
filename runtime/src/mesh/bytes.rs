//! A bounded ring of byte strings between one sender and one receiver: a [`spsc`] ring of blocks, of which a string takes
//! as many as it needs. All of them are shown to the receiver at once, so it sees whole strings or none.

use super::spsc;

/// Bytes of a block: a cache line.
const BLOCK: usize = 64;
/// Bytes of a string's length, which comes first.
const LENGTH: usize = size_of::<u32>();

#[repr(align(64))]
struct Block([u8; BLOCK]);

/// Blocks that a string of so many bytes takes.
fn blocks(bytes: usize) -> usize {
    (LENGTH + bytes).div_ceil(BLOCK)
}

/// A ring that holds at least `capacity` bytes, the strings' lengths and the rest of their last blocks included. Its
/// memory is used once strings have been there.
pub fn channel(capacity: usize) -> (Sender, Receiver) {
    let (sender, receiver) = spsc::channel(capacity.div_ceil(BLOCK));
    (Sender { blocks: sender }, Receiver { blocks: receiver })
}

/// The end that puts strings in. There is one.
pub struct Sender {
    blocks: spsc::Sender<Block>,
}

impl Sender {
    /// Puts a string in, where it fits and `spare` bytes stay free behind it. Whether it did.
    pub fn push(&mut self, bytes: &[u8], spare: usize) -> bool {
        let Ok(length) = u32::try_from(bytes.len()) else { return false };
        let count = blocks(bytes.len());
        if !self.blocks.has_room(count + spare.div_ceil(BLOCK)) {
            return false;
        }
        let (first, rest) = bytes.split_at(bytes.len().min(BLOCK - LENGTH));
        let mut head = Block([0; BLOCK]);
        head.0[..LENGTH].copy_from_slice(&length.to_le_bytes());
        head.0[LENGTH..LENGTH + first.len()].copy_from_slice(first);
        let rest = rest.chunks(BLOCK).map(|chunk| {
            let mut block = Block([0; BLOCK]);
            block.0[..chunk.len()].copy_from_slice(chunk);
            block
        });
        // There is room for all of them, unless the receiver has ended: then it takes none.
        self.blocks.push_from(&mut std::iter::once(head).chain(rest)) == count
    }

    /// Bytes that the ring holds at most, all told.
    pub fn capacity(&self) -> usize {
        self.blocks.capacity() * BLOCK
    }
}

/// The end that takes strings out. There is one.
pub struct Receiver {
    blocks: spsc::Receiver<Block>,
}

impl Receiver {
    /// Puts the oldest string in the place of what is in `string`. False when there is none.
    pub fn pop(&mut self, string: &mut Vec<u8>) -> bool {
        string.clear();
        let Some(Block(head)) = self.blocks.pop() else { return false };
        let (length, first) = head.split_at(LENGTH);
        let length = length.iter().rev().fold(0, |length, &byte| length << 8 | usize::from(byte));
        string.extend_from_slice(&first[..length.min(first.len())]);
        for Block(block) in self.blocks.pop_chunk(blocks(length) - 1) {
            string.extend_from_slice(&block[..(length - string.len()).min(BLOCK)]);
        }
        true
    }

    /// Whether the sender has ended and everything is taken.
    pub fn is_ended(&mut self) -> bool {
        self.blocks.is_ended()
    }
}
