//! The directory in which certificates are kept: a file `NAME.pem` for each, with its key and its chain, which is there
//! whole or not at all whenever the machine stops. Nobody but its owner may read any of it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::is_name;
use crate::tls::Certificate;

/// Bytes of a file at most.
const FILE_MAX: u64 = 256 << 10;
/// The first line of a file of a certificate that an authority issued by ACME.
const BY_ACME: &str = "# from an authority, by ACME\n";
const UPLOADED: &str = "# uploaded\n";
/// What is for ACME: accounts and orders under way.
pub(super) const ACME: &str = "acme";

/// Where a certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Somebody brought it, through the admin API.
    Upload,
    /// An authority issued it, by ACME.
    Acme,
}

impl Source {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Acme => "acme",
        }
    }
}

/// A certificate that is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The certificate with its key.
    pub certificate: Certificate,
    /// Where it came from.
    pub source: Source,
}

impl Kept {
    fn is_same(&self, other: &Self) -> bool {
        self.source == other.source && self.certificate.is_same(&other.certificate)
    }
}

/// All that are kept, by their names.
pub type Set = BTreeMap<Arc<str>, Kept>;

/// Whether two hold the same.
pub(super) fn is_same(one: &Set, other: &Set) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|((name, one), (of, other))| name == of && one.is_same(other))
}

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Store {
    dir: PathBuf,
    max: usize,
}

/// What was found in the directory, and what is wrong there.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) set: Set,
    pub(super) warnings: Vec<String>,
}

/// Whether a certificate may have this name.
pub(super) fn may_be_name(name: &str) -> Result<(), String> {
    if !is_name(name) || name.starts_with('.') {
        return Err("name: 1 to 64 letters, digits, `-`, `_` and `.` are wanted, and no `.` at the front".to_owned());
    }
    if name == "all" || name == ACME {
        return Err(format!("name: \"{name}\" has another meaning"));
    }
    Ok(())
}

impl Store {
    /// The directory, made where it is not there.
    pub(super) fn open(dir: &Path, max: u32) -> Result<Self, String> {
        let at = |error: io::Error| format!("certificates.directory: {}: {error}", dir.display());
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(dir).map_err(at)?;
        let mode = fs::metadata(dir).map_err(at)?.permissions().mode();
        if mode & 0o022 != 0 {
            return Err(format!("certificates.directory: others may write to {}; chmod go-w", dir.display()));
        }
        builder.create(dir.join(ACME)).map_err(at)?;
        // What a process left behind that was ended in the middle of writing.
        for dir in [dir.to_owned(), dir.join(ACME)] {
            for entry in fs::read_dir(&dir).map_err(at)?.flatten() {
                let name = entry.file_name();
                let ends = entry.path().extension().is_some_and(|end| end == "new");
                let is_left = ends && name.to_str().is_some_and(|name| name.starts_with('.'));
                if is_left && is_old(&entry.path()) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(Self { dir: dir.to_owned(), max: max as usize })
    }

    /// With another bound.
    pub(super) fn set_max(&mut self, max: u32) {
        self.max = max as usize;
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.pem"))
    }

    /// Whether there is a file for one of this name, whatever is in it.
    pub(super) fn has_file(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    /// The directory of what is for ACME.
    pub(super) fn acme(&self) -> PathBuf {
        self.dir.join(ACME)
    }

    /// Reads all that are there. One that cannot be read is left out, and said.
    pub(super) fn read(&self) -> Result<Found, String> {
        let at = |error: io::Error| format!("{}: {error}", self.dir.display());
        let mut found = Found::default();
        let mut names: Vec<String> = fs::read_dir(&self.dir)
            .map_err(at)?
            .flatten()
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".pem")?.to_owned()))
            .filter(|name| may_be_name(name).is_ok())
            .collect();
        names.sort();
        if names.len() > self.max {
            let (count, max) = (names.len(), self.max);
            found.warnings.push(format!("{count} certificates are kept; only the first {max} are used"));
            names.truncate(max);
        }
        for name in names {
            let file = self.file(&name);
            match read_one(&file) {
                Ok((kept, mode)) => {
                    if mode & 0o077 != 0 {
                        let warning = format!("{}: others may read it; chmod go=", file.display());
                        found.warnings.push(warning);
                    }
                    found.set.insert(name.into(), kept);
                }
                // It has gone meanwhile.
                Err(Wrong::Io(error)) if error.kind() == ErrorKind::NotFound => {}
                Err(Wrong::Io(error)) => found.warnings.push(format!("{}: {error}", file.display())),
                Err(Wrong::Said(why)) => found.warnings.push(format!("{} {why}", file.display())),
            }
        }
        Ok(found)
    }

    /// Whether there is room for one of this name.
    pub(super) fn has_room(&self, set: &Set, name: &str) -> bool {
        set.len() < self.max || set.contains_key(name)
    }

    /// Keeps one. When this returns it is on the disk.
    pub(super) fn put(&self, name: &str, source: Source, key: &str, chain: &str) -> io::Result<()> {
        let head = match source {
            Source::Upload => UPLOADED,
            Source::Acme => BY_ACME,
        };
        write_whole(&self.file(name), format!("{head}{}\n{}\n", key.trim(), chain.trim()).as_bytes())
    }

    /// Removes one. When this returns that is on the disk.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.file(name))?;
        File::open(&self.dir)?.sync_all()
    }
}

/// Whether a file has not been written to for a while.
fn is_old(file: &Path) -> bool {
    let age = fs::metadata(file).and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age.as_secs() > 60)
}

/// Writes a file that nobody else may read, so that whoever reads it finds all of this or all of what was there before,
/// whenever the machine stops.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    // Another gateway may be writing the same.
    let new = directory.join(format!(".{name}.{}.new", std::process::id()));
    let _ = fs::remove_file(&new);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    File::open(directory)?.sync_all()
}

/// What is in a file that is not too large; nothing where it is not there.
pub(super) fn read_whole(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match open(path) {
        Ok((bytes, _)) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "is no file"));
    }
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("has more than {FILE_MAX} bytes")));
    }
    Ok((bytes, mode))
}

enum Wrong {
    Io(io::Error),
    Said(String),
}

fn read_one(path: &Path) -> Result<(Kept, u32), Wrong> {
    let (bytes, mode) = open(path).map_err(Wrong::Io)?;
    let source = if bytes.starts_with(BY_ACME.as_bytes()) { Source::Acme } else { Source::Upload };
    let certificate = Certificate::read(&bytes, &bytes, None).map_err(|wrong| Wrong::Said(wrong.why))?;
    Ok((Kept { certificate, source }, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = include_str!("../../../tests/tls/fixed/server.pem");
    const KEY: &str = include_str!("../../../tests/tls/fixed/server.key");

    #[test]
    fn what_is_put_is_read_again_and_what_is_wrong_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        let store = Store::open(&root, 2).unwrap();
        store.put("site", Source::Upload, KEY, PEM).unwrap();
        store.put("other", Source::Acme, KEY, PEM).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&root), mode(&root.join("site.pem"))), (0o700, 0o600));
        let found = store.read().unwrap();
        assert_eq!(found.warnings, Vec::<String>::new());
        let sources: Vec<_> = found.set.iter().map(|(name, kept)| (&**name, kept.source)).collect();
        assert_eq!(sources, [("other", Source::Acme), ("site", Source::Upload)]);
        assert!(store.has_room(&found.set, "site") && !store.has_room(&found.set, "third"));
        // What was left by a process that was ended, what is no certificate, and one too many.
        fs::write(root.join(".site.pem.1.new"), "half").unwrap();
        fs::write(root.join("aaa.pem"), "nothing").unwrap();
        let found = store.read().unwrap();
        assert_eq!(found.set.len(), 1);
        assert!(found.warnings[0].contains("only the first 2") && found.warnings[1].contains("has no certificate"));
        fs::set_permissions(root.join("other.pem"), fs::Permissions::from_mode(0o644)).unwrap();
        store.remove("aaa").unwrap();
        let found = store.read().unwrap();
        assert!(found.warnings[0].contains("others may read it"), "{:?}", found.warnings);
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(Store::open(&root, 2).unwrap_err().contains("others may write"));
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for name in ["", ".a", "a/b", "all", "acme", "a b"] {
            assert!(may_be_name(name).is_err(), "{name}");
        }
        assert!(may_be_name("www.example-1_a").is_ok());
    }
}
