//! Folders of the machine that is restored to.

use std::{
    fs::{self, DirBuilder, File},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base::{
    Digest,
    file::{sync_dir, write_atomic},
};

use crate::Error;

/// Room that is left free.
const SPARE_BYTES: u64 = 64 << 20;

/// Refuses a file system with less room than `needed` bytes and some to spare.
pub(crate) fn check_space(parent: &Path, needed: u64) -> Result<(), Error> {
    let stat = rustix::fs::statvfs(parent).map_err(|error| Error::read(parent)(error.into()))?;
    let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
    let needed_bytes = needed.saturating_add(SPARE_BYTES);
    if free_bytes < needed_bytes {
        return Err(Error::Space { path: parent.to_owned(), needed_bytes, free_bytes });
    }
    Ok(())
}

/// Makes a folder, and its parents, that only its owner may enter; one that is there stays as it is.
pub(crate) fn make_parents(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::write(path))
}

/// Makes a folder with this mode, and its parents.
pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<(), Error> {
    let failed = || Error::write(path);
    make_parents(path)?;
    // Whatever it was: its owner must get in to write the rest.
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777 | 0o700)).map_err(failed())
}

/// Copies the files of a folder, where there is one, but for locks: for small files only their owner may read.
pub(crate) fn copy_private(from: &Path, to: &Path) -> Result<(), Error> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::read(from))?,
    };
    make_folder(to, 0o700)?;
    for entry in entries {
        let path = entry.map_err(Error::read(from))?.path();
        if path.is_file() && path.extension().is_none_or(|extension| extension != "lock") {
            let content = fs::read(&path).map_err(Error::read(&path))?;
            let to = to.join(path.file_name().unwrap_or_default());
            write_atomic(&to, &content, 0o600).map_err(Error::write(&to))?;
        }
    }
    Ok(())
}

/// Makes names in a folder, and in all below it, durable.
pub(crate) fn sync_folders(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::read(folder))? {
        let entry = entry.map_err(Error::read(folder))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_folders(&entry.path())?;
        }
    }
    sync_dir(folder).map_err(Error::write(folder))
}

/// Removes a folder with all it holds; one that is not there is no error.
pub(crate) fn remove_all(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::write(path)(error)),
        _ => Ok(()),
    }
}

/// Returns every file below a folder with its digest; nothing when there is no folder.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<(PathBuf, Digest)>, Error> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry.map_err(Error::read(folder))?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            let file = File::open(&path).map_err(Error::read(&path))?;
            found.push((path.clone(), Digest::of_reader(file).map_err(Error::read(&path))?));
        }
    }
    Ok(found)
}
