//! The reading side. It needs nothing but the file and trusts nothing in it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::file::{Place, place_of};
use super::layout::{self, EPOCH_WORD, HEARTBEAT_WORD, LAYOUT_VERSION, STATE_CLOSED, STATE_WORD};
use super::schema::{Kind, MAX_FILE_BYTES};
use super::snapshot::{Distribution, Metric, Process, Snapshot, State, Value};

/// What is wrong with a metrics file.
#[derive(Debug)]
pub enum Problem {
    /// The system refused to open or read it.
    Io(io::Error),
    /// A directory, a device or a pipe.
    NotAFile,
    /// Larger than any metrics file, in bytes.
    TooLarge(u64),
    /// It does not start as a metrics file does.
    Foreign,
    /// Of a layout that this release does not read.
    Version(u32),
    /// Shorter than it says.
    Truncated,
    /// Something in it contradicts something else.
    Corrupt(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Io(error) => write!(f, "{error}"),
            Problem::NotAFile => write!(f, "not a regular file"),
            Problem::TooLarge(bytes) => {
                write!(f, "{bytes} bytes is more than a metrics file can have ({MAX_FILE_BYTES})")
            }
            Problem::Foreign => write!(f, "not a Ringway metrics file"),
            Problem::Version(found) => {
                write!(f, "layout version {found}, but this release reads version {LAYOUT_VERSION}")
            }
            Problem::Truncated => write!(f, "the file is cut short"),
            Problem::Corrupt(what) => write!(f, "the file is corrupt: {what}"),
        }
    }
}

impl std::error::Error for Problem {}

/// A metrics file that could not be read, and why.
#[derive(Debug)]
pub struct ReadError {
    /// The file or directory.
    pub path: PathBuf,
    /// The reason.
    pub problem: Problem,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.problem)
    }
}

/// An open metrics file. It stays readable when its writer ends or a new run replaces it.
///
/// The file is read, not mapped, so a file that shrinks under the reader is an error and not a signal. The kernel
/// copies aligned words whole, so a word is never half old and half new.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
}

impl Reader {
    /// Opens a file and checks that it is whole.
    pub fn open(path: &Path) -> Result<Reader, ReadError> {
        let reader = Reader::open_unchecked(path)?;
        reader.snapshot()?;
        Ok(reader)
    }

    pub(super) fn open_unchecked(path: &Path) -> Result<Reader, ReadError> {
        let fail = |problem| ReadError { path: path.to_owned(), problem };
        // Without O_NONBLOCK, opening a pipe that somebody left there would hang.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| fail(Problem::Io(error)))?;
        Ok(Reader { path: path.to_owned(), file })
    }

    /// Everything in the file as it stands now.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        read_words(&self.file)
            .and_then(|words| parse(&words))
            .map_err(|problem| ReadError { path: self.path.clone(), problem })
    }
}

/// The metrics of each core that has files in a directory, in the order of the cores, those of earlier generations
/// first; a file that cannot be read is an error of its own. The files of one core are one snapshot, as far as one
/// process wrote them.
pub fn read_dir(dir: &Path) -> Result<Vec<Result<Snapshot, ReadError>>, ReadError> {
    let fail = |error| ReadError { path: dir.to_owned(), problem: Problem::Io(error) };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if let Some(place) = entry.file_name().to_str().and_then(place_of) {
            files.push((place, entry.path()));
        }
    }
    files.sort();
    let mut cores: Vec<Result<Snapshot, ReadError>> = Vec::new();
    for (Place { generation, core, segment }, path) in files {
        let found = Reader::open_unchecked(&path).and_then(|reader| reader.snapshot());
        let is_of =
            |base: &Snapshot| base.cores.iter().any(|process| (process.generation, process.core) == (generation, core));
        let base = cores.last_mut().and_then(|last| last.as_mut().ok());
        match (found, base.filter(|base| segment > 0 && is_of(base))) {
            (Ok(found), Some(base)) => base.add_segment(found),
            // Between the first look at the directory and the second a new run can have taken it over.
            (Ok(_), None) if segment > 0 => {}
            (found, _) => cores.push(found),
        }
    }
    Ok(cores)
}

fn read_words(file: &File) -> Result<Vec<u64>, Problem> {
    let found = file.metadata().map_err(Problem::Io)?;
    if !found.is_file() {
        return Err(Problem::NotAFile);
    }
    if found.len() > MAX_FILE_BYTES as u64 {
        return Err(Problem::TooLarge(found.len()));
    }
    let mut words = vec![0_u64; found.len() as usize / 8];
    // SAFETY: the bytes are those of the vector, initialized, borrowed for as long as the slice lives, and any bytes
    // make a u64. They start on a word, which is what keeps the kernel's copy from splitting one.
    let bytes = unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), words.len() * 8) };
    match file.read_exact_at(bytes, 0) {
        Ok(()) => Ok(words),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Problem::Truncated),
        Err(error) => Err(Problem::Io(error)),
    }
}

/// Reads a whole file, given as words.
pub(super) fn parse(words: &[u64]) -> Result<Snapshot, Problem> {
    let (header, entries, values_word) = layout::decode(words)?;
    let header_word = |at: usize| words.get(at).copied().unwrap_or(0);
    let state = if header_word(STATE_WORD) == STATE_CLOSED {
        State::Closed
    } else if process_start_ticks(header.pid) == Some(header.process_start_ticks) {
        State::Running
    } else {
        State::Died
    };
    let process = Process {
        pid: header.pid,
        start_ticks: header.process_start_ticks,
        core: header.core,
        generation: header.generation,
        wall_ns: header.wall_ns,
        mono_ns: header.mono_ns,
        epoch: header_word(EPOCH_WORD),
        heartbeat_mono_ns: header_word(HEARTBEAT_WORD),
        state,
    };
    let mut metrics = Vec::with_capacity(entries.len());
    for entry in entries {
        let first = values_word + entry.word;
        let values = words.get(first..first + entry.words()).ok_or(Problem::Truncated)?;
        let Some((&value, buckets)) = values.split_first() else { return Err(Problem::Truncated) };
        let value = match entry.kind {
            Kind::Counter => Value::Counter(value),
            Kind::Gauge => Value::Gauge(value.cast_signed()),
            Kind::Histogram(shape) => Value::Histogram(Distribution::new(shape, value, buckets.to_vec())),
        };
        metrics.push(Metric { name: entry.name, labels: entry.labels, unit: entry.unit, value });
    }
    Ok(Snapshot { cores: vec![process], metrics })
}

/// When a process started, in clock ticks since boot: with the pid it names one process for good. `None` where there
/// is no such process, or only what its parent has not yet collected. Fields 3 and 22 of proc(5)'s stat.
pub(super) fn process_start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command's name in parentheses and may itself hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(22 - 4)?.parse().ok()
}
