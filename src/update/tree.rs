//! Folders of the customer's data, copied or linked file by file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::Path;

use walkdir::WalkDir;

use crate::Error;

/// How a file comes into the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Its own bytes; shared until written to, where the file system can.
    Copy,
    /// A second name for large files: nobody writes to any of them.
    Link,
    /// A second name for large files that are [`WRITTEN_ONCE`]; a log or a journal is copied, since more is appended to it.
    LinkTables,
}

/// What tables, indexes and adapters consist of.
const WRITTEN_ONCE: [&str; 5] = ["parquet", "lance", "idx", "safetensors", "gguf"];
/// A smaller one is copied as fast.
const LINK_BYTES_MIN: u64 = 64 << 10;

/// Brings a file or folder to `to`, with modes and owners. Sockets, pipes and links are left out: the product makes none there.
///
/// What goes while it is copied (an old version of a table, after a compaction) is left out too.
pub(crate) fn bring(from: &Path, to: &Path, how: How) -> Result<(), Error> {
    for entry in WalkDir::new(from).follow_links(false).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => continue,
            Err(error) => return Err(Error::File { act: "look at", path: from.to_owned(), source: error.into() }),
        };
        let below = entry.path().strip_prefix(from).unwrap_or(Path::new(""));
        let target = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        let Ok(metadata) = entry.metadata() else { continue };
        let made = if metadata.is_dir() {
            make_dir(&target)
        } else if metadata.is_file() {
            file(entry.path(), &target, &metadata, how)
        } else {
            continue;
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !entry.path().exists() => continue,
            made => made.map_err(Error::file("copy", entry.path()))?,
        }
        lchown(&target, Some(metadata.uid()), Some(metadata.gid())).map_err(Error::file("give away", &target))?;
        if metadata.is_dir() {
            fs::set_permissions(&target, metadata.permissions()).map_err(Error::file("set the mode of", &target))?;
        }
    }
    Ok(())
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(path),
        made => made,
    }
}

fn file(from: &Path, to: &Path, metadata: &fs::Metadata, how: How) -> io::Result<()> {
    let _ = fs::remove_file(to);
    let is_written_once = || from.extension().is_some_and(|ending| WRITTEN_ONCE.iter().any(|known| ending == *known));
    let may_link = how == How::Link || (how == How::LinkTables && is_written_once());
    if may_link && metadata.len() >= LINK_BYTES_MIN {
        match fs::hard_link(from, to) {
            // Another file system, or one without links: the bytes then.
            Err(error) if matches!(error.raw_os_error(), Some(18 | 1 | 31 | 95)) => {}
            linked => return linked,
        }
    }
    let mut input = File::open(from)?;
    let mode = metadata.permissions().mode() & 0o7777;
    let mut output = OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
    if rustix::fs::ioctl_ficlone(&output, &input).is_err() {
        io::copy(&mut input, &mut output)?;
    }
    output.set_permissions(metadata.permissions())?;
    output.sync_all()
}

/// Returns the bytes a folder takes on the disk.
pub(crate) fn bytes(path: &Path) -> u64 {
    let entries = WalkDir::new(path).follow_links(false).into_iter().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file).map(|metadata| metadata.len()).sum()
}

/// Removes a file or a folder; what is not there is removed.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::File { act: "remove", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_are_linked_small_ones_copied_and_modes_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("inner")).unwrap();
        fs::write(from.join("inner/table.parquet"), vec![7; 100_000]).unwrap();
        fs::write(from.join("inner/log.jsonl"), vec![7; 100_000]).unwrap();
        fs::write(from.join("note"), "first").unwrap();
        fs::set_permissions(from.join("note"), fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        bring(&from, &to, How::LinkTables).unwrap();
        let inode = |dir: &Path, name: &str| fs::metadata(dir.join(name)).unwrap().ino();
        let is_linked = |to: &Path, name: &str| inode(&from, name) == inode(to, name);
        assert!(is_linked(&to, "inner/table.parquet"));
        assert!(!is_linked(&to, "inner/log.jsonl"), "what is appended to it would be in the snapshot");
        assert!(!is_linked(&to, "note"));
        assert_eq!(fs::metadata(to.join("note")).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(to.join("link")).is_err());
        let copy = dir.path().join("copy");
        bring(&from, &copy, How::Copy).unwrap();
        assert!(!is_linked(&copy, "inner/table.parquet"));
        assert_eq!(bytes(&copy), 200_005);
        // Doing it again over what is there is the same as once.
        bring(&from, &to, How::Link).unwrap();
        assert!(is_linked(&to, "inner/log.jsonl") && !is_linked(&to, "note"));
        remove(&to).unwrap();
        remove(&to).unwrap();
        assert!(!to.exists() && from.exists());
    }
}
