//! The corpora of the fuzz targets, and damage done to them.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

/// The seeds of one fuzz target, which are checked in.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 6, "the corpus of {target} is incomplete");
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One change of a seed: where, of which kind, and with what byte.
pub(crate) type Change = (prop::sample::Index, u8, u8);

/// A change with one of these bytes, or with any.
pub(crate) fn change(likely: &'static [u8]) -> impl Strategy<Value = Change> {
    (any::<prop::sample::Index>(), 0..4_u8, prop_oneof![prop::sample::select(likely), any::<u8>()])
}

/// Replaces, inserts and removes bytes.
pub(crate) fn damage(bytes: &mut Vec<u8>, changes: Vec<Change>) {
    for (at, kind, byte) in changes {
        let at = at.index(bytes.len() + 1);
        match kind {
            0 => bytes.insert(at, byte),
            1 if at < bytes.len() => bytes[at] = byte,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.truncate(at.max(1)),
            _ => {}
        }
    }
}
