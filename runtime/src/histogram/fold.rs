//! Runs that one process hands over to another: what the earlier ones counted, and how it is kept.
//!
//! As long as an earlier process lives its files are read beside those of the newest. Once it has ended they are folded
//! into one file, which says up to which generation it counts. Readers leave out files of those generations, so that
//! nothing is counted twice between the making of that file and the removal of the others.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::file::{self, BEFORE, CreateError, place_of};
use super::layout::{STATE_CLOSED, STATE_WORD};
use super::reader::{Problem, ReadError, Reader, read_dir};
use super::schema::{SchemaBuilder, Unit};
use super::snapshot::{Metric, Process, Snapshot, State, Value};
use super::writer::{Start, fill, prefix};

/// How often a directory is read again because files went meanwhile.
const READS: u32 = 100;

/// All that a metrics directory holds.
#[derive(Debug, Default)]
pub struct Found {
    /// The metrics of each core and process, in the order of generations and cores.
    pub files: Vec<Result<Snapshot, ReadError>>,
    /// What processes counted that handed their run over and have ended.
    pub before: Option<Snapshot>,
}

/// Reads a whole metrics directory, consistently even while files are folded.
pub fn read_all(dir: &Path) -> Result<Found, ReadError> {
    let mut reads = 1;
    loop {
        let before = read_before(dir);
        let mut files = read_dir(dir)?;
        let is_gone = |file: &Result<Snapshot, ReadError>| {
            file.as_ref().is_err_and(
                |error| matches!(&error.problem, Problem::Io(error) if error.kind() == io::ErrorKind::NotFound),
            )
        };
        let has_changed = covers(&before) != covers(&read_before(dir)) || files.iter().any(is_gone);
        if has_changed && reads < READS {
            reads += 1;
            continue;
        }
        if let Some(covered) = covers(&before) {
            let is_covered =
                |process: &Process| process.is_same_run(&covered) && process.generation <= covered.generation;
            files.retain(|file| !file.as_ref().is_ok_and(|file| file.cores.iter().any(is_covered)));
        }
        let before = before.unwrap_or_else(|error| {
            files.push(Err(error));
            None
        });
        return Ok(Found { files, before });
    }
}

fn read_before(dir: &Path) -> Result<Option<Snapshot>, ReadError> {
    match Reader::open_unchecked(&dir.join(BEFORE)).and_then(|reader| reader.snapshot()) {
        Ok(found) => Ok(Some(found)),
        Err(ReadError { problem: Problem::Io(error), .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn covers(before: &Result<Option<Snapshot>, ReadError>) -> Option<Process> {
    before.as_ref().ok()?.as_ref()?.cores.first().copied()
}

/// Why earlier generations could not be folded.
#[derive(Debug)]
pub enum FoldError {
    /// The directory, or what was folded before, cannot be read.
    Read(ReadError),
    /// The file cannot be made.
    Create(CreateError),
    /// It was made, but files that it stands for cannot be removed.
    Remove(PathBuf, io::Error),
}

impl std::fmt::Display for FoldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Create(error) => error.fmt(f),
            Self::Remove(dir, error) => write!(f, "{}: could not remove what was folded: {error}", dir.display()),
        }
    }
}

impl std::error::Error for FoldError {}

/// Folds what earlier generations of the run of `newest` counted, as far as they have ended. Only the newest process of a
/// run may do so. Returns whether some have not ended.
pub fn fold(dir: &Path, newest: &Start) -> Result<bool, FoldError> {
    let Found { files, before } = read_all(dir).map_err(FoldError::Read)?;
    let is_of_run = |process: &Process| (process.wall_ns, process.mono_ns) == (newest.wall_ns, newest.mono_ns);
    let is_earlier = |process: &Process| is_of_run(process) && process.generation < newest.generation;
    let earlier: Vec<Snapshot> = files.into_iter().flatten().filter(|file| file.cores.iter().any(is_earlier)).collect();
    let processes = || earlier.iter().flat_map(|file| &file.cores);
    let lives = |process: &&Process| process.state == State::Running;
    let first_alive = processes().filter(lives).map(|process| process.generation).min();
    let has_ended = |process: &Process| first_alive.is_none_or(|alive| process.generation < alive);
    let Some(last) = processes().filter(|process| has_ended(process)).map(|process| process.generation).max() else {
        return Ok(first_alive.is_some());
    };
    let mut sum = before
        .filter(|before| before.cores.iter().any(is_of_run))
        .unwrap_or(Snapshot { cores: Vec::new(), metrics: Vec::new() });
    for file in earlier.into_iter().filter(|file| file.cores.iter().any(has_ended)) {
        sum.add_earlier(file);
    }
    let start = Start { core: 0, segment: 0, generation: last, hidden: false, ..*newest };
    write(dir, &start, &sum.metrics).map_err(FoldError::Create)?;
    file::remove(dir, |name| place_of(name).is_some_and(|place| place.generation <= last))
        .map_err(|error| FoldError::Remove(dir.to_owned(), error))?;
    Ok(first_alive.is_some())
}

fn write(dir: &Path, start: &Start, metrics: &[Metric]) -> Result<(), CreateError> {
    let mut schema = SchemaBuilder::new();
    let mut values: Vec<u64> = Vec::new();
    for Metric { name, labels, unit, value } in metrics {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(label, value)| (&**label, &**value)).collect();
        let unit: Unit = *unit;
        match value {
            Value::Counter(count) => {
                schema.counter(name, unit, &labels);
                values.push(*count);
            }
            Value::Histogram(found) => {
                schema.histogram(name, unit, found.shape(), &labels);
                values.push(found.max());
                values.extend(found.counts());
            }
            // What has ended has none.
            Value::Gauge(_) => {}
        }
    }
    let failed = |why: String| CreateError {
        path: dir.join(BEFORE),
        step: "describe what was counted before",
        source: io::Error::other(why),
    };
    let schema = schema.build().map_err(|error| failed(error.to_string()))?;
    let prefix = prefix(start, &schema);
    file::create(dir, BEFORE, false, schema.file_bytes(), |words| {
        fill(words, &prefix);
        for (word, value) in words.iter().skip(prefix.len() / 8).zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        if let Some(state) = words.get(STATE_WORD) {
            state.store(STATE_CLOSED, Ordering::Relaxed);
        }
    })
    .map(drop)
}
