use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Room on the file system that holds (or would hold) a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The path asked for.
    pub path: PathBuf,
    /// Device number: paths with the same one share their free bytes.
    pub device: u64,
    /// Bytes this user may still write.
    pub free_bytes: u64,
    /// Size of the file system.
    pub total_bytes: u64,
}

/// Returns the room at `path`; a path that does not exist yet is answered for its nearest existing ancestor.
///
/// # Errors
/// When no ancestor can be looked at.
pub fn disk(path: &Path) -> std::io::Result<Disk> {
    let (at, metadata) = nearest(path)?;
    let stat = rustix::fs::statvfs(&at)?;
    Ok(Disk {
        path: path.to_owned(),
        device: metadata.dev(),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
    })
}

/// Returns the nearest ancestor of `path` that exists, which may be `path` itself.
///
/// # Errors
/// When an ancestor cannot be looked at.
pub(crate) fn nearest(path: &Path) -> std::io::Result<(PathBuf, Metadata)> {
    let mut at = path;
    loop {
        match std::fs::metadata(at) {
            Ok(metadata) => return Ok((at.to_owned(), metadata)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match at.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => at = parent,
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_to_be_made_is_answered_by_its_ancestor() {
        let existing = disk(Path::new("/")).unwrap();
        let planned = disk(Path::new("/no-such-folder-0711/a/b")).unwrap();
        assert_eq!(existing.device, planned.device);
        assert!(planned.total_bytes >= planned.free_bytes && planned.total_bytes > 0);
        assert_eq!(planned.path, Path::new("/no-such-folder-0711/a/b"));
    }
}
