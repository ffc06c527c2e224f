//! Whether the folders are as they were when they were last read: told by a walk alone, without the lake and without opening a file.

use std::{
    io::{self, Write as _},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use base::{Digest, DigestWriter, file};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    format::FolderState,
    walk::{self, Walk},
};

/// What a run that came to its end saw. Owned by this file.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Version of this format: 1.
    format: u32,
    folders: Vec<PathBuf>,
    seen: Digest,
}

const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 1 << 20;

/// The folders at one moment: path, size, time and readers of every file, and what could not be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight(Digest);

impl Sight {
    /// Looks. Blocks as long as listing the folders takes.
    pub fn take(folders: &[PathBuf], state_dir: &Path, cancel: &CancellationToken) -> Self {
        Self::of(&walk::walk(&walk::roots(folders), &own(state_dir), &|_| (), cancel))
    }

    pub(crate) fn of(walk: &Walk) -> Self {
        let mut seen = DigestWriter::new(io::sink());
        // Writing to nowhere does not fail.
        for file in &walk.files {
            let _ = seen.write_all(file.path.as_os_str().as_bytes());
            // A path holds no zero.
            let _ = write!(seen, "\0{} {}", file.stamp.size_bytes, file.stamp.modified_ms);
            let _ = writeln!(seen, "\0{}", file.readers.join("\0"));
        }
        for folder in &walk.folders {
            let _ = writeln!(seen, "{}\0{}", folder.path, folder.state == FolderState::Read);
        }
        Self(seen.finish().1)
    }

    /// Returns whether the last run over the same folders saw the same.
    pub fn was_read(self, folders: &[PathBuf], state_dir: &Path) -> bool {
        let kept = file::read_bounded(&path(state_dir), BYTES_MAX).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        kept.is_some_and(|kept| kept.format == FORMAT && kept.folders == walk::roots(folders) && kept.seen == self.0)
    }

    /// Takes note that a run over these folders, which saw this, came to its end.
    pub(crate) fn keep(self, folders: &[PathBuf], state_dir: &Path) -> Result<(), Error> {
        let path = path(state_dir);
        let failed = |source| Error::WriteReport { path: path.clone(), source };
        let kept = Kept { format: FORMAT, folders: walk::roots(folders), seen: self.0 };
        let bytes = serde_json::to_vec(&kept).map_err(|error| failed(error.into()))?;
        file::write_atomic(&path, &bytes, 0o600).map_err(failed)
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("seen.json")
}

/// The customer's own folder is never read, wherever it lies.
pub(crate) fn own(state_dir: &Path) -> PathBuf {
    let own = state_dir.parent().unwrap_or(state_dir);
    own.canonicalize().unwrap_or_else(|_| own.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_read_is_known_until_something_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (share, state) = (dir.path().join("share"), dir.path().join("brain/ingest"));
        fs::create_dir_all(&share).unwrap();
        fs::create_dir_all(&state).unwrap();
        fs::write(share.join("a.txt"), "one").unwrap();
        let folders = [share.clone()];
        let look = || Sight::take(&folders, &state, &CancellationToken::new());
        let first = look();
        assert!(!first.was_read(&folders, &state), "nothing was read yet");
        first.keep(&folders, &state).unwrap();
        assert!(look().was_read(&folders, &state));
        assert!(!look().was_read(&[dir.path().to_owned()], &state), "other folders");
        let check = |what: &str, change: &dyn Fn()| {
            look().keep(&folders, &state).unwrap();
            change();
            assert!(!look().was_read(&folders, &state), "{what}");
        };
        check("another mode", &|| {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(share.join("a.txt"), fs::Permissions::from_mode(0o600)).unwrap();
        });
        check("a new file", &|| fs::write(share.join("b.txt"), "").unwrap());
        check("another size", &|| fs::write(share.join("b.txt"), "more").unwrap());
        check("moved", &|| fs::rename(share.join("b.txt"), share.join("c.txt")).unwrap());
        check("removed", &|| fs::remove_file(share.join("c.txt")).unwrap());
        check("the folder is gone", &|| fs::rename(&share, dir.path().join("away")).unwrap());
    }
}
