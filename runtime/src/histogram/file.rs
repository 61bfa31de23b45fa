//! Making the file of one core: allocated in full before it is mapped, complete before it has its name.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

/// Why a metrics file could not be made: the place, the step and the system's reason.
#[derive(Debug)]
pub struct CreateError {
    /// The directory or file.
    pub path: PathBuf,
    /// What was being done, as in "could not ...".
    pub step: &'static str,
    /// The system's reason.
    pub source: io::Error,
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: could not {}: {}", self.path.display(), self.step, self.source)
    }
}

impl std::error::Error for CreateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The name of the file that holds what earlier generations counted, once they have ended.
pub(super) const BEFORE: &str = "before.metrics";

/// Where a file belongs. In order: generation, core, segment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) generation: u32,
    pub(super) core: u32,
    pub(super) segment: u32,
}

/// The name of a core's file inside the metrics directory: its first, segment 0, or one that was added later; of the
/// process that began the run, generation 0, or of one that took it over.
pub fn file_name(core: u32, segment: u32, generation: u32) -> String {
    let generation = if generation == 0 { String::new() } else { format!(".g{generation}") };
    let segment = if segment == 0 { String::new() } else { format!(".{segment}") };
    format!("core-{core}{generation}{segment}.metrics")
}

/// The place that a file name stands for.
pub(super) fn place_of(name: &str) -> Option<Place> {
    let mut parts = name.strip_prefix("core-")?.strip_suffix(".metrics")?.split('.').peekable();
    let core = parts.next()?.parse().ok()?;
    let generation = parts.next_if(|part| part.starts_with('g')).map_or(Some(0), |part| part.get(1..)?.parse().ok())?;
    let segment = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    // "core-01.metrics" and "core-+1.metrics" are not ours.
    (file_name(core, segment, generation) == name).then_some(Place { generation, core, segment })
}

/// Removes the files of cores that are not in `keep`, what an earlier run added to those that are, and what a killed
/// process left half made. Returns how many files went.
pub fn remove_stale(dir: &Path, keep: &[u32]) -> io::Result<usize> {
    let is_first = |place: Place| place.segment == 0 && place.generation == 0 && keep.contains(&place.core);
    remove(dir, |name| name == BEFORE || place_of(name).is_some_and(|place| !is_first(place)) || is_half_made(name))
}

/// Removes what killed processes left half made. Returns how many files went.
pub fn remove_half_made(dir: &Path) -> io::Result<usize> {
    remove(dir, is_half_made)
}

fn is_half_made(name: &str) -> bool {
    temporary(name).is_some_and(|(_, pid)| super::reader::process_start_ticks(pid).is_none())
}

pub(super) fn remove(dir: &Path, is_over: impl Fn(&str) -> bool) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&is_over) {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => removed += 1,
            }
        }
    }
    Ok(removed)
}

/// Gives the hidden files of this process their names, so that readers see them.
pub fn publish(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let own = name.to_str().and_then(temporary).filter(|&(_, pid)| pid == std::process::id());
        if let Some((name, _)) = own {
            fs::rename(entry.path(), dir.join(name))?;
        }
    }
    Ok(())
}

fn temporary_name(name: &str) -> String {
    format!(".{name}.{}", std::process::id())
}

/// The name that a file will have, and the process that makes it.
fn temporary(name: &str) -> Option<(&str, u32)> {
    let (file, pid) = name.strip_prefix('.')?.rsplit_once('.')?;
    (file == BEFORE || place_of(file).is_some()).then_some(())?;
    Some((file, pid.parse().ok()?))
}

/// Memory shared with a file, or anonymous.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<AtomicU64>,
    bytes: usize,
}

// SAFETY: the mapping is owned, and its words are only reached as atomics.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `bytes` of a file that has them allocated.
    fn of_file(file: &File, bytes: usize) -> io::Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use. The file's blocks are
        // allocated and only its owner could take them away, so no access faults.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Mapping { start, bytes })
    }

    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: start is page-aligned and the mapping, readable and writable, lives as long as self; every other
        // process and thread reaches it as whole words too.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes / 8) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that mmap gave, and no reference to it outlives self.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Makes the file `name` in `dir`, `bytes` long and allocated, lets `fill` write its words, then gives it its name.
/// A file of that name is replaced in one step; who has it open or mapped keeps the old one. A hidden file gets its name
/// only with [`publish`].
pub(super) fn create(
    dir: &Path,
    name: &str,
    hidden: bool,
    bytes: usize,
    fill: impl FnOnce(&[AtomicU64]),
) -> Result<Mapping, CreateError> {
    let at = |path: &Path, step| {
        let path = path.to_owned();
        move |source| CreateError { path, step, source }
    };
    prepare_dir(dir).map_err(at(dir, "use the directory for metrics"))?;
    let temporary = dir.join(temporary_name(name));
    let file = open_new(&temporary).map_err(at(&temporary, "create the file"))?;
    let made = allocate(&file, bytes)
        .map_err(at(&temporary, "allocate the file in full"))
        .and_then(|()| Mapping::of_file(&file, bytes).map_err(at(&temporary, "map the file")))
        .and_then(|mapping| {
            fill(mapping.words());
            if !hidden {
                let path = dir.join(name);
                fs::rename(&temporary, &path).map_err(at(&path, "put the file in its place"))?;
            }
            Ok(mapping)
        });
    if made.is_err() {
        // The first error is the one to report; a leftover is removed by the next start.
        let _ = fs::remove_file(&temporary);
    }
    made
}

/// Creates the directory where it is missing, and refuses one in which other users could swap our files.
fn prepare_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    let found = fs::metadata(dir)?;
    // SAFETY: geteuid has no precondition and cannot fail.
    let user = unsafe { libc::geteuid() };
    let writable_by_others = found.mode() & 0o022 != 0;
    let sticky = found.mode() & 0o1000 != 0;
    if (found.uid() != user && found.uid() != 0) || (writable_by_others && !sticky) {
        let reason = "it belongs to another user or others can write to it; choose one that is yours";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(())
}

fn open_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o644);
    match options.open(path) {
        // Only a dead process that had our pid can have left it.
        Err(found) if found.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        opened => opened,
    }
}

/// Gives the file all its blocks now, so that a store to the mapping can never find the disk full and fault.
pub(super) fn allocate(file: &File, bytes: usize) -> io::Result<()> {
    // Past the limit the kernel would kill the process with SIGXFSZ instead of failing the call.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: limit is a valid place for the answer.
    if unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) } == 0 && bytes as u64 > limit.rlim_cur {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    loop {
        // SAFETY: the descriptor is open for writing as long as `file` lives.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, bytes as libc::off_t) } {
            0 => return Ok(()),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}
