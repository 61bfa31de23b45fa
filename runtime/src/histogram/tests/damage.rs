use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::super::layout::{self, Header};
use super::super::reader::{parse, process_start_ticks};
use super::super::{LAYOUT_VERSION, Problem, Reader, State, Writer, read_dir};
use super::{START, small};

fn image() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    Writer::create(dir.path(), &START, &small().schema).map(drop).expect("a file");
    fs::read(dir.path().join("core-3.metrics")).expect("the file")
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect()
}

fn schema_bytes(image: &[u8]) -> usize {
    u64::from_le_bytes(image[32..40].try_into().expect("eight bytes")) as usize
}

/// As somebody would who forges a file.
pub(super) fn make_checksum_right(image: &mut [u8]) {
    let schema_end = schema_bytes(image).saturating_add(128).min(image.len());
    let covered = image[..96].iter().chain(&image[128..schema_end]);
    let sum =
        covered.fold(0xcbf2_9ce4_8422_2325_u64, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    image[96..104].copy_from_slice(&sum.to_le_bytes());
}

/// What a reader says of a file with these bytes.
fn told(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("core-3.metrics");
    fs::write(&path, bytes).expect("a file");
    let error = Reader::open(&path).map(drop).expect_err("a refusal");
    assert_eq!(error.path, path);
    error.problem.to_string()
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let image = image();
    for len in [0, 4, 8, 64, 127, 128, 200, 4096, image.len() - 8] {
        assert_eq!(told(&image[..len]), "the file is cut short", "{len} bytes");
    }
}

#[test]
fn a_file_of_another_kind_is_refused() {
    assert_eq!(told(b"#!/bin/sh\necho hello\n"), "not a Ringway metrics file");
    assert_eq!(told(&[0; 8192]), "not a Ringway metrics file");
}

#[test]
fn a_later_layout_is_refused_by_its_number() {
    let mut image = image();
    image[8] = 9;
    assert_eq!(told(&image), format!("layout version 9, but this release reads version {LAYOUT_VERSION}"));
}

#[test]
fn a_flipped_bit_in_header_or_schema_is_found() {
    let image = image();
    let schema_end = 128 + schema_bytes(&image);
    for at in (0..104).chain(128..schema_end) {
        let mut damaged = words(&image);
        damaged[at / 8] ^= 1 << (at % 8 * 8 + 3);
        assert!(parse(&damaged).is_err(), "byte {at} can change unseen");
    }
}

#[test]
fn a_forged_file_with_a_right_checksum_is_refused_for_what_it_says() {
    const NO_SENSE: &str = "a metric in the schema makes no sense";
    let image = image();
    // Entries: a counter with one label, a gauge, a histogram.
    let first = 128;
    let second = first + u32::from_le_bytes(image[first..first + 4].try_into().expect("four bytes")) as usize;
    let third = second + u32::from_le_bytes(image[second..second + 4].try_into().expect("four bytes")) as usize;
    let file_bytes = image.len().to_le_bytes();
    let first_offset = &image[first + 8..first + 16];
    let cases: [(usize, &[u8], &str); 13] = [
        (first + 4, &[9], NO_SENSE),
        (first + 5, &[9], NO_SENSE),
        (third + 6, &[0], NO_SENSE),
        (third + 7, &[64], NO_SENSE),
        (first + 8, &file_bytes, NO_SENSE),
        (first + 8, &[0; 8], NO_SENSE),
        (first + 16, &[16], NO_SENSE),
        (first + 26, &[9], NO_SENSE),
        (first + 36, b"\n", NO_SENSE),
        (second - 8, b"\x1b", NO_SENSE),
        (second + 8, first_offset, "two metrics share a place"),
        (56, &[4], "the schema is longer than its metrics"),
        (56, &[6], "an entry runs past its end"),
    ];
    for (at, bytes, expected) in cases {
        let mut forged = image.clone();
        forged[at..at + bytes.len()].copy_from_slice(bytes);
        make_checksum_right(&mut forged);
        let problem = parse(&words(&forged)).expect_err("a refusal").to_string();
        assert_eq!(problem, format!("the file is corrupt: {expected}"), "{at}: {bytes:?}");
    }
    for at in [12, 16, 24, 40, 48] {
        let mut forged = image.clone();
        forged[at] ^= 8;
        let problem = parse(&words(&forged)).expect_err("a refusal");
        assert!(matches!(problem, Problem::Corrupt(_) | Problem::Truncated), "{at}: {problem}");
    }
}

#[test]
fn a_directory_a_pipe_and_a_missing_file_are_refused_and_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = |path: &Path| Reader::open(path).map(drop).expect_err("a refusal").to_string();
    assert_eq!(open(dir.path()), format!("{}: not a regular file", dir.path().display()));
    let missing = dir.path().join("missing");
    assert!(open(&missing).starts_with(&format!("{}: No such file", missing.display())));
    let pipe = dir.path().join("core-0.metrics");
    let name = std::ffi::CString::new(pipe.to_str().expect("a path")).expect("no NUL");
    // SAFETY: mkfifo reads a C string that lives until it returns.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert_eq!(open(&pipe), format!("{}: not a regular file", pipe.display()));
}

#[test]
fn a_writer_that_is_gone_without_a_word_has_died() {
    let schema = small().schema;
    let state = |pid, process_start_ticks| {
        let header = Header { core: 1, pid, generation: 0, process_start_ticks, wall_ns: 2, mono_ns: 3 };
        let mut image = words(&layout::encode(&header, &schema.entries, schema.words));
        image.resize(schema.file_bytes() / 8, 0);
        parse(&image).expect("a sound image").cores[0].state
    };
    let us = std::process::id();
    let start = process_start_ticks(us).expect("we run");
    assert_eq!(state(us, start), State::Running);
    assert_eq!(state(us, start + 1), State::Died, "another process has the pid now");
    assert_eq!(state(u32::MAX, start), State::Died);
}

#[test]
fn one_bad_file_does_not_hide_the_others() {
    let dir = tempfile::tempdir().expect("a directory");
    Writer::create(dir.path(), &START, &small().schema).map(drop).expect("a file");
    fs::write(dir.path().join("core-12.metrics"), "junk, and more junk").expect("a file");
    fs::write(dir.path().join("other.txt"), "junk").expect("a file");
    let found = read_dir(dir.path()).expect("a listing");
    assert_eq!(found.len(), 2);
    assert!(found[0].is_ok());
    let error = found[1].as_ref().expect_err("junk");
    assert!(matches!(error.problem, Problem::Foreign), "{error}");
    let missing = PathBuf::from("no-such-directory");
    assert_eq!(read_dir(&missing).map(drop).expect_err("a refusal").path, missing);
}

proptest! {
    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(parse(&words(&bytes)).is_err());
    }

    /// Damage that keeps the checksum right reaches every check behind it.
    #[test]
    fn a_forged_header_or_schema_never_panics_and_stays_in_bounds(
        forged in prop::collection::vec((0_usize..96, prop_oneof![any::<u8>(), Just(0), Just(255), Just(8)]), 1..4),
        deep in prop::collection::vec((0_usize..400, any::<u8>()), 0..3),
    ) {
        let mut image = image();
        let schema_bytes = schema_bytes(&image);
        for (at, byte) in forged {
            // The magic and the version would end the reading at once.
            if at >= 12 && deep.is_empty() {
                image[at] = byte;
            }
        }
        for (at, byte) in deep {
            image[128 + at % schema_bytes] = byte;
        }
        make_checksum_right(&mut image);
        if let Ok(found) = parse(&words(&image)) {
            prop_assert!(found.metrics.len() <= 5);
        }
    }

    #[test]
    fn any_values_read_as_numbers(values in prop::collection::vec((0_usize..20_000, any::<u64>()), 1..20)) {
        let mut image = words(&image());
        let values_word = image[40 / 8] as usize / 8;
        let value_words = image.len() - values_word;
        for (at, value) in values {
            image[values_word + at % value_words] = value;
        }
        let found = parse(&image).expect("values are never refused");
        let duration = found.histogram("duration_seconds", &[]).expect("the histogram");
        prop_assert!(duration.quantile(0.5) <= duration.max());
        prop_assert!(duration.mean() <= duration.max() as f64 * 1.01 + 1.0);
    }
}
