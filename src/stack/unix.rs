use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

/// A socket's address holds 108 bytes, and `--root` may lie deeper than that. The folder is opened instead, and the
/// socket addressed through the descriptor, which is short wherever the folder is.
struct ShortPath {
    folder: OwnedFd,
}

impl ShortPath {
    fn new(path: &Path) -> io::Result<(Self, &OsStr)> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket needs a folder and a name"));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok((Self { folder: rustix::fs::open(dir, flags, Mode::empty())? }, name))
    }

    fn to(&self, name: &OsStr) -> PathBuf {
        Path::new("/proc/self/fd").join(self.folder.as_raw_fd().to_string()).join(name)
    }
}

/// Listens on a socket only its owner may connect to, replacing a stale one.
///
/// The caller holds the lock that says nobody else listens there. The socket gets its mode before its name, so there is
/// no moment at which somebody else could connect.
///
/// # Errors
/// When the folder is missing or not writable.
pub fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let (folder, name) = ShortPath::new(path)?;
    let mut fresh = name.to_owned();
    fresh.push(".new");
    let fresh = folder.to(&fresh);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&fresh, folder.to(name))?;
    Ok(listener)
}

/// Makes the folder of a socket that a container has mounted: entered by the container's user, written by us alone. One that is there
/// stays the same one, or the container would keep the one it had.
///
/// # Errors
/// When it cannot be made, or its mode not be set.
pub fn shared_door(folder: &Path) -> io::Result<()> {
    base::file::private_dir(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))
}

/// Connects to a socket, however deep its folder lies.
///
/// # Errors
/// When nobody listens there, or this user may not connect.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (folder, name) = ShortPath::new(path)?;
    UnixStream::connect(folder.to(name)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deep_folder_and_a_stale_socket_are_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a-rather-long-folder-name/".repeat(8));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("agent.sock");
        assert!(path.as_os_str().len() > 150);
        drop(bind_private(&path).unwrap());
        assert!(connect(&path).await.is_err(), "nobody listens on a stale socket");
        let listener = bind_private(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (client, server) = tokio::join!(connect(&path), listener.accept());
        let peer = server.unwrap().0.peer_cred().unwrap();
        assert_eq!(peer.pid(), i32::try_from(std::process::id()).ok());
        client.unwrap();
    }
}
