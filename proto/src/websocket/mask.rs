//! Masking (RFC 6455 section 5.3), eight bytes at a time.

/// Masks `bytes` in place, or takes the mask off, which is the same. The first of them is byte `offset` of its payload.
pub fn mask(bytes: &mut [u8], key: [u8; 4], offset: u64) {
    let key = turned(key, offset);
    let wide = wide(key);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// The key as it is from byte `offset` of a payload on.
pub(super) fn turned(mut key: [u8; 4], offset: u64) -> [u8; 4] {
    key.rotate_left((offset % 4) as usize);
    key
}

/// The key twice.
pub(super) fn wide(key: [u8; 4]) -> u64 {
    let [a, b, c, d] = key;
    u64::from_ne_bytes([a, b, c, d, a, b, c, d])
}
