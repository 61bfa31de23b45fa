//! The Unix sockets of control, from bind to unlink.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ringway_runtime::net::{self, Access, UnixName};

/// The file of a socket; it goes with this, unless another process has put its own there. It must go before its listener
/// closes: until then no other file can have its number.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
    /// Another process goes on with the socket, so the file stays.
    is_shared: AtomicBool,
}

impl SocketFile {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file where it is: another process goes on with the socket.
    pub(super) fn leave(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// The process that shared the socket has let go of it.
    pub(super) fn own(&self) {
        self.is_shared.store(false, Ordering::Relaxed);
    }

    /// For a socket that was just bound at this path.
    pub(super) fn of(path: &Path) -> Self {
        let device_and_inode = identity(path).unwrap_or_default();
        Self { path: path.to_owned(), device_and_inode, is_shared: AtomicBool::new(false) }
    }

    /// For a socket at this path that the gateway before has bound. Until [`SocketFile::own`] the file is still that
    /// one's.
    pub(super) fn inherited(path: &Path) -> Self {
        let this = Self::of(path);
        this.leave();
        this
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is_shared.load(Ordering::Relaxed) && identity(&self.path) == Some(self.device_and_inode) {
            // A file that stays is replaced by the next gateway.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Binds a socket with mode 0600. Its directory is made where only that is missing.
pub(super) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), String> {
    let shown = path.display();
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
        fs::create_dir(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    }
    make_room(path)?;
    let listener = UnixListener::bind(path).map_err(|error| format!("cannot listen on {shown}: {error}"))?;
    let file = SocketFile::of(path);
    // Whoever connects before this is turned away by the look at its user.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .and_then(|()| listener.set_nonblocking(true))
        .map_err(|error| format!("{shown}: {error}"))?;
    Ok((listener, file))
}

/// Goes on with a socket that the gateway before has bound, where it is this path's. Until [`SocketFile::own`] the file
/// is still that one's.
pub(super) fn go_on(listener: UnixListener, path: &Path) -> Option<(UnixListener, SocketFile)> {
    let address = listener.local_addr().ok()?;
    identity(path).filter(|_| address.as_pathname() == Some(path))?;
    Some((listener, SocketFile::inherited(path)))
}

/// Whether a gateway could listen on a Unix socket. Nothing is changed for that.
pub(crate) fn is_unix_free(name: &UnixName) -> Result<(), String> {
    let Some(path) = name.path() else {
        return net::bind_unix(name, 1, &Access::default()).map(drop).map_err(|error| error.to_string());
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(format!("cannot listen on unix:{name}: there is no directory {}", directory.display()));
    }
    if rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_err() {
        return Err(format!("cannot listen on unix:{name}: {} is not writable", directory.display()));
    }
    is_stale(path).map(drop)
}

/// Removes a socket that a process left behind. Anything else there is an error.
pub(super) fn make_room(path: &Path) -> Result<(), String> {
    if is_stale(path)? {
        fs::remove_file(path).map_err(|error| format!("cannot remove the stale {}: {error}", path.display()))?;
    }
    Ok(())
}

/// Whether there is a socket that a process left behind. Anything else there is an error.
fn is_stale(path: &Path) -> Result<bool, String> {
    let shown = path.display();
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(false) };
    if !metadata.file_type().is_socket() {
        return Err(format!("{shown} is there and is no socket; remove it, or name another path"));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(format!("{shown} is in use: another process answers there. Is a gateway running already?")),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("{shown} is there, and whether it is in use cannot be told: {error}")),
    }
}

/// The user that a socket belongs to.
pub(super) fn owner(listener: &UnixListener) -> Option<u32> {
    let address = listener.local_addr().ok()?;
    fs::symlink_metadata(address.as_pathname()?).ok().map(|metadata| metadata.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_and_a_file_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/admin.sock");
        let (listener, file) = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(owner(&listener).is_some());
        assert!(bind(&path).unwrap_err().contains("is in use"));
        // Somebody removed it by hand, and another gateway has bound there.
        fs::remove_file(&path).unwrap();
        let (other, new) = bind(&path).unwrap();
        drop(file);
        assert!(path.exists(), "the file of another is left alone");
        // As after kill -9: nobody listens, and the file is still there.
        drop((listener, other));
        let (_listener, newest) = bind(&path).unwrap();
        drop(newest);
        assert!(!path.exists());
        drop(new);
        fs::write(&path, "precious").unwrap();
        assert!(bind(&path).unwrap_err().contains("is no socket"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
