//! Files that survive a crash, refuse to be tricked, and say who holds them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags, flock};

/// A file could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read `{path}`", path = .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` is a {kind}, not a regular file", path = .path.display())]
    NotRegular { path: PathBuf, kind: &'static str },
    #[error("`{path}` has {size_bytes} bytes, more than the {max_bytes} allowed here", path = .path.display())]
    TooLarge { path: PathBuf, size_bytes: u64, max_bytes: u64 },
}

/// A lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("`{path}` is held by {holder}", path = .path.display())]
    Held { path: PathBuf, holder: String },
    #[error("cannot take the lock `{path}`", path = .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Begins the name of a file that is being written.
const UNFINISHED: &str = ".new-";

/// Returns the files in `dir` that a process was writing when it was killed, or that one is writing now.
pub fn unfinished(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_unfinished = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(UNFINISHED);
    entries.filter(is_unfinished).map(|entry| entry.path()).collect()
}

/// Replaces `path` by `bytes`: after a crash it holds the old content or the new, never a mixture.
///
/// A temporary file beside it is written, synced and renamed, and the folder synced. `mode` is the file's mode.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(dir)?;
    temporary.write_all(bytes)?;
    temporary.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|failed| failed.error)?;
    sync_dir(dir)
}

/// Writes a result where a person asked for it: a regular file is replaced atomically; a pipe, a terminal or a link (`/dev/stdout`) is
/// written to and stays what it is.
pub fn write_output(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => OpenOptions::new().write(true).truncate(true).open(path)?.write_all(bytes),
        _ => write_atomic(path, bytes, 0o644),
    }
}

/// Makes renames and new names in `dir` durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Opens a regular file for reading. A FIFO, socket, device or folder is refused without waiting on it.
pub fn open_regular(path: &Path) -> Result<File, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC;
    // NONBLOCK keeps the open of a FIFO without a writer from hanging; on a regular file it changes nothing.
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    Err(ReadError::NotRegular { path: path.to_owned(), kind: kind_name(kind) })
}

/// Opens a regular file as [`open_regular`] does, and refuses a symbolic link in its place: for folders that somebody with fewer
/// rights may write to.
pub fn open_regular_nofollow(path: &Path) -> Result<File, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(ReadError::NotRegular { path: path.to_owned(), kind: kind_name(found.file_type()) });
    }
    let flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // Between the look and the opening it may have become something else: the flags and the second look see to that.
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path).map_err(failed)?;
    let kind = file.metadata().map_err(failed)?.file_type();
    if kind.is_file() { Ok(file) } else { Err(ReadError::NotRegular { path: path.to_owned(), kind: kind_name(kind) }) }
}

/// Names what a directory entry is, for messages.
pub fn kind_name(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_dir() => "folder",
        kind if kind.is_fifo() => "named pipe",
        kind if kind.is_socket() => "socket",
        kind if kind.is_symlink() => "symbolic link",
        kind if kind.is_block_device() || kind.is_char_device() => "device",
        _ => "special file",
    }
}

/// Reads a whole regular file of at most `max_bytes`; a larger one is refused before it is read.
pub fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, ReadError> {
    whole(open_regular(path)?, path, max_bytes)
}

/// As [`read_bounded`], following no symbolic link in the file's place.
pub fn read_bounded_nofollow(path: &Path, max_bytes: u64) -> Result<Vec<u8>, ReadError> {
    whole(open_regular_nofollow(path)?, path, max_bytes)
}

fn whole(file: File, path: &Path, max_bytes: u64) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let too_large = |size_bytes| ReadError::TooLarge { path: path.to_owned(), size_bytes, max_bytes };
    let size_bytes = file.metadata().map_err(failed)?.len();
    if size_bytes > max_bytes {
        return Err(too_large(size_bytes));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or(0));
    // One byte more than allowed shows a file that grew since it was measured.
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Makes a folder, and its parents, that only its owner may enter. An existing one is narrowed to 0700.
pub fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Appends one line and waits until it is on the disk.
pub fn append_line_synced(file: &mut File, line: &str) -> io::Result<()> {
    let mut whole = String::with_capacity(line.len() + 1);
    whole.push_str(line);
    whole.push('\n');
    file.write_all(whole.as_bytes())?;
    file.sync_data()
}

/// An exclusive lock between processes. It ends with the value, or with the process, however that dies.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, or says who has it. `what` names the holder's work for the next one who asks.
    pub fn try_acquire(path: &Path, what: &str) -> Result<Self, LockError> {
        lock(path, what).map(|file| Self { file, path: path.to_owned() })
    }

    /// Returns the lock's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes a lock that ends when the last copy of the returned descriptor is closed: a child that inherits it holds it, too. [`Lock`] is
/// for everything else.
pub fn lock(path: &Path, what: &str) -> Result<File, LockError> {
    let failed = |source| LockError::Io { path: path.to_owned(), source };
    if let Some(dir) = path.parent() {
        // Locks are taken first of all: what is made here, an installation's folders, is its owner's alone.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let mut file = options.open(path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // The holder's note is a courtesy: a lock without one is still a lock.
            let _ = (&file).take(300).read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "another 0711 process".to_owned(),
                text => text.to_owned(),
            };
            return Err(LockError::Held { path: path.to_owned(), holder });
        }
        Err(errno) => return Err(failed(errno.into())),
    }
    file.set_len(0).map_err(failed)?;
    writeln!(file, "`0711 {what}` (pid {})", std::process::id()).map_err(failed)?;
    Ok(file)
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The note goes before the lock, so that nobody reads a holder that is gone. The file stays: removing it would let
        // two processes lock two different files of the same name.
        let _ = self.file.set_len(0);
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomic(&path, b"old", 0o644).unwrap();
        write_atomic(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_pipe_a_folder_and_a_giant_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        assert!(matches!(read_bounded(&fifo, 10), Err(ReadError::NotRegular { kind: "named pipe", .. })));
        assert!(matches!(read_bounded(dir.path(), 10), Err(ReadError::NotRegular { kind: "folder", .. })));
        let link = dir.path().join("link");
        File::create(dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("a"), &link).unwrap();
        assert!(open_regular(&link).is_ok());
        assert!(matches!(open_regular_nofollow(&link), Err(ReadError::NotRegular { kind: "symbolic link", .. })));
        assert!(open_regular_nofollow(&dir.path().join("a")).is_ok());
        let giant = dir.path().join("giant");
        File::create(&giant).unwrap().set_len(10 << 30).unwrap();
        assert!(matches!(read_bounded(&giant, 10), Err(ReadError::TooLarge { max_bytes: 10, .. })));
    }

    #[test]
    fn a_second_lock_learns_who_holds_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::try_acquire(&path, "install").unwrap();
        match Lock::try_acquire(&path, "train") {
            Err(LockError::Held { holder, .. }) => {
                assert!(holder.contains("install") && holder.contains("pid"), "{holder}")
            }
            other => panic!("{other:?}"),
        }
        drop(first);
        Lock::try_acquire(&path, "train").unwrap();
    }
}
