//! Notices when a file changes: one of the config, or one of endpoints.
//!
//! What is watched are directories: editors and tools put a new file in the place of the old one, and a link that leads
//! to the file may be put in the place of another. Whether anything has changed is for the one who reads the config to
//! say, so an event too many does no harm.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringway_runtime::clock::Instant;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

use super::events::{Event, Events};
use super::log::Log;

/// Directories watched at most.
const MAX_DIRECTORIES: usize = 1024;
/// Links followed for one file at most, as the kernel does.
const MAX_LINKS: usize = 40;
/// A change is told when nothing more has happened for so long.
const QUIET: Duration = Duration::from_millis(50);
const BUFFER: usize = 16 << 10;

/// Watches some files.
pub(super) struct Watcher {
    events: Events,
    /// What is told of a change.
    changed: fn() -> Event,
    /// The least time between two: where much is written beside the files, they are not read all the time.
    rest: Duration,
    /// What the files are, for warnings.
    what: &'static str,
    inotify: Option<Arc<OwnedFd>>,
    files: Vec<PathBuf>,
    watches: BTreeSet<i32>,
    /// Something happened: other directories may be the ones to watch now.
    is_stale: bool,
}

impl Watcher {
    /// Watches nothing yet.
    pub(super) fn new(events: Events, changed: fn() -> Event, rest: Duration, what: &'static str) -> Self {
        let (files, watches) = (Vec::new(), BTreeSet::new());
        Self { events, changed, rest, what, inotify: None, files, watches, is_stale: false }
    }

    /// An event came.
    pub(super) fn look_again(&mut self) {
        self.is_stale = true;
    }

    /// Watches these files, or none. What cannot be watched is a warning.
    pub(super) fn watch(&mut self, files: Option<&[PathBuf]>, log: &mut Log<'_>) {
        let files = files.unwrap_or_default();
        if self.files == files && !self.is_stale {
            return;
        }
        let is_new = self.files != files;
        self.files = files.to_vec();
        self.is_stale = false;
        if let Err(error) = self.rewatch(is_new, log) {
            log.warn(format_args!("the {} cannot be watched: {error}", self.what));
        }
    }

    fn rewatch(&mut self, is_new: bool, log: &mut Log<'_>) -> io::Result<()> {
        let inotify = match &self.inotify {
            Some(inotify) => inotify.clone(),
            None if self.files.is_empty() => return Ok(()),
            None => {
                let inotify = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
                let (inner, events, changed, rest) = (inotify.clone(), self.events.clone(), self.changed, self.rest);
                let listen = move || listen(&inner, &events, changed, rest);
                thread::Builder::new().name("ringway-watch".to_owned()).spawn(listen)?;
                self.inotify.insert(inotify).clone()
            }
        };
        let directories: BTreeSet<PathBuf> = self.files.iter().flat_map(|file| directories(file)).collect();
        if is_new && directories.len() > MAX_DIRECTORIES {
            let (count, what) = (directories.len(), self.what);
            log.warn(format_args!("only {MAX_DIRECTORIES} of the {count} directories of the {what} are watched"));
        }
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        // One that is not there appears in its parent, if that matters to the config.
        let watch = |directory: &PathBuf| inotify::add_watch(&*inotify, directory, flags).ok();
        let watches: BTreeSet<i32> = directories.iter().take(MAX_DIRECTORIES).filter_map(watch).collect();
        for &gone in self.watches.difference(&watches) {
            // The kernel drops the watch on what was deleted by itself.
            let _ = inotify::remove_watch(&*inotify, gone);
        }
        let is_more = !watches.is_subset(&self.watches);
        self.watches = watches;
        if is_more {
            // What happened between the reading and this would go unnoticed.
            let _ = self.events.send((self.changed)());
        }
        Ok(())
    }
}

/// The directories in which something happens when `file` becomes another: its own, and those of the links on the way.
fn directories(file: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    'links: for _ in 0..MAX_LINKS {
        let mut at = PathBuf::new();
        let mut rest = path.components();
        while let Some(component) = rest.next() {
            at.push(component);
            let (Component::Normal(_), Ok(target)) = (component, fs::read_link(&at)) else { continue };
            let parent = at.parent().unwrap_or(Path::new("/")).to_owned();
            path = parent.join(target).join(rest.as_path());
            found.insert(parent);
            continue 'links;
        }
        break;
    }
    found.extend(path.parent().map(Path::to_owned));
    found
}

/// Tells of each burst of changes once, until control has ended.
fn listen(inotify: &OwnedFd, events: &Events, changed: fn() -> Event, rest: Duration) {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut reader = Reader::new(inotify, &mut buffer);
    let mut told = Instant::default();
    loop {
        let Ok(event) = reader.next() else { return };
        if event.file_name().is_some_and(|name| is_passing(&name.to_string_lossy())) {
            continue;
        }
        let rest = rest.saturating_sub(Instant::now().since(told));
        thread::sleep(rest);
        // What else belongs to the same change.
        while !reader.is_buffer_empty() || has_more(inotify) {
            if reader.next().is_err() {
                return;
            }
        }
        told = Instant::now();
        if events.send(changed()).is_err() {
            return;
        }
    }
}

/// Whether something happens within the quiet time.
fn has_more(inotify: &OwnedFd) -> bool {
    let Ok(quiet) = Timespec::try_from(QUIET) else { return false };
    poll(&mut [PollFd::new(&inotify.as_fd(), PollFlags::IN)], Some(&quiet)).is_ok_and(|ready| ready > 0)
}

/// Whether a name is one that editors give to files for a while. `..data` is a link to what a container's config is.
fn is_passing(name: &str) -> bool {
    (name.starts_with('.') && name != "..data") || name.ends_with('~')
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_directory_on_the_way_to_a_file_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for made in ["etc", "releases/1", "data/2024"] {
            fs::create_dir_all(root.join(made)).unwrap();
        }
        fs::write(root.join("releases/1/plain.toml"), "").unwrap();
        symlink("releases/1", root.join("current")).unwrap();
        symlink("2024", root.join("data/..data")).unwrap();
        fs::write(root.join("data/2024/linked.toml"), "").unwrap();
        symlink("..data/linked.toml", root.join("data/linked.toml")).unwrap();
        symlink(root.join("data/linked.toml"), root.join("etc/far.toml")).unwrap();
        let found = |file: &str| -> Vec<String> {
            let all = directories(&root.join(file));
            all.iter().map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect()
        };
        assert_eq!(found("releases/1/plain.toml"), ["releases/1"]);
        assert_eq!(found("current/plain.toml"), ["", "releases/1"]);
        assert_eq!(found("data/linked.toml"), ["data", "data/2024"]);
        assert_eq!(found("etc/far.toml"), ["data", "data/2024", "etc"]);
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(found("loop"), [""]);
        assert_eq!(found("absent/file.toml"), ["absent"]);
    }
}
