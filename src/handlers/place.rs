//! The folder's files: read whole and bounded, replaced whole, and left to the owner of the folder they are in.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

use base::file::{self, ReadError};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, FORMAT};

const BYTES_MAX: u64 = 4 << 20;

/// Makes a folder below `owner_of`, for the owner of that: the role that reads files may run as another user than the one who types.
pub(crate) fn folder(path: &Path, owner_of: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("make folder", path))?;
    give(path, owner_of).map_err(Error::file("give away", path))
}

fn give(path: &Path, owner_of: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(owner_of)?;
    std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid()))
}

/// Replaces a file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    file::write_atomic(path, bytes, 0o600).map_err(Error::file("write", path))?;
    match path.parent() {
        Some(parent) => give(path, parent).map_err(Error::file("give away", path)),
        None => Ok(()),
    }
}

/// Replaces a file by a value.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::Format { path: path.to_owned(), reason: error.to_string() })?;
    write(path, &bytes)
}

/// Reads a file; `None` where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match file::read_bounded_nofollow(path, BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(ReadError::Io { source, .. }) => Err(Error::file("read", path)(source)),
        Err(error) => Err(Error::Format { path: path.to_owned(), reason: error.to_string() }),
    }
}

/// Reads a value whose field `format` says which version wrote it.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    let damaged = |reason: String| Error::Format { path: path.to_owned(), reason };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    match value["format"].as_u64() {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(damaged(format!("its format is {format}, not {FORMAT}"))),
        None => return Err(damaged("it names no format".to_owned())),
    }
    serde_json::from_value(value).map(Some).map_err(|error| damaged(error.to_string()))
}
