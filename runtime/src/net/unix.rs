//! Listening sockets of the Unix family. All cores accept from one: the kernel hands each connection to one of them.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use socket2::{Domain, Socket, Type};

use super::address::{Address, UnixName};

/// Who may connect to a Unix socket by its file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Access {
    /// The permission bits of the file.
    pub mode: u32,
    /// The user that it belongs to: a name or a number. The process's own where nothing is said.
    pub owner: Option<String>,
    /// The group that it belongs to.
    pub group: Option<String>,
}

impl Access {
    /// Gives the file at `path` these owners and this mode.
    pub fn set(&self, path: &Path) -> io::Result<()> {
        let shown = path.display();
        let id = |name: &Option<String>, file, what| {
            name.as_ref().map(|name| find_id(name, file, what)).transpose().map_err(io::Error::other)
        };
        let owner = id(&self.owner, "/etc/passwd", "user")?;
        let group = id(&self.group, "/etc/group", "group")?;
        if owner.is_some() || group.is_some() {
            chown(path, owner, group).map_err(|error| {
                let hint = match error.kind() {
                    io::ErrorKind::PermissionDenied => "; that takes CAP_CHOWN, or a group that the gateway is in",
                    _ => "",
                };
                io::Error::new(error.kind(), format!("cannot give {shown} to another: {error}{hint}"))
            })?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(self.mode))
            .map_err(|error| io::Error::new(error.kind(), format!("cannot set the mode of {shown}: {error}")))
    }
}

/// The number of a user or a group: the third field of its line.
fn find_id(name: &str, file: &str, what: &str) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = lines.find_map(|fields| if fields.first() == Some(&name) { fields.get(2)?.parse().ok() } else { None });
    found.ok_or_else(|| format!("there is no {what} \"{name}\" in {file}; its number does, too"))
}

/// Binds a Unix socket and listens. No client gets in before its file has its owners and its mode. Whoever calls has made
/// sure that nothing is there.
pub fn bind_unix(name: &UnixName, backlog: u32, access: &Access) -> io::Result<OwnedFd> {
    let address = Address::Unix(name.clone());
    let explain = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse if name.is_abstract() => "; another process has the name",
            io::ErrorKind::AddrInUse => "; something is there already",
            io::ErrorKind::NotFound => "; there is no such directory",
            io::ErrorKind::PermissionDenied => "; the directory must be writable for the gateway",
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}{hint}"))
    };
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address.to_sock_addr()?).map_err(explain)?;
    let listens = match name.path() {
        None => Ok(()),
        Some(path) => access.set(path),
    };
    if let Err(error) = listens.and_then(|()| socket.listen(backlog as i32)) {
        if let Some(path) = name.path() {
            // It is this call's own.
            let _ = fs::remove_file(path);
        }
        return Err(error);
    }
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_has_its_mode_and_its_owners_before_anybody_gets_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.sock");
        let name = UnixName::new(path.to_str().unwrap()).unwrap();
        let own = fs::metadata(dir.path()).unwrap();
        let access = Access { mode: 0o620, owner: Some(own.uid().to_string()), group: None };
        let socket = bind_unix(&name, 8, &access).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid()), (0o620, own.uid()));
        UnixStream::connect(&path).unwrap();
        UnixListener::from(socket).accept().unwrap();
        assert!(bind_unix(&name, 8, &access).unwrap_err().to_string().contains("something is there"));
        fs::remove_file(&path).unwrap();
        let unknown = Access { owner: Some("nobody-of-this-name".to_owned()), ..access };
        assert!(bind_unix(&name, 8, &unknown).unwrap_err().to_string().contains("there is no user"));
        assert!(!path.exists(), "what was bound in vain is removed");
    }

    #[test]
    fn an_abstract_name_belongs_to_one() {
        let name = UnixName::new(&format!("@ringway-test-{}", std::process::id())).unwrap();
        let socket = bind_unix(&name, 8, &Access::default()).unwrap();
        assert!(bind_unix(&name, 8, &Access::default()).unwrap_err().to_string().contains("another process"));
        drop(socket);
        bind_unix(&name, 8, &Access::default()).unwrap();
    }
}
