//! Where a repository lies: named pieces of bytes that are there whole or not at all.

use std::{io::ErrorKind, path::PathBuf};

use tokio::runtime::Handle;

use crate::{
    Error,
    bucket::{Access, Bucket},
    folder::Folder,
};

/// An open place for a repository.
#[derive(Debug)]
pub enum Store {
    Folder(Folder),
    Bucket(Bucket),
}

/// A piece that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub name: String,
    pub size_bytes: u64,
    /// When it was written, by the clock of the place, in milliseconds.
    pub modified_ms: i64,
}

impl Store {
    /// Opens a folder; it need not exist yet.
    pub fn folder(path: PathBuf) -> Result<Self, Error> {
        Folder::open(path).map(Self::Folder)
    }

    /// Makes a client of a bucket, `s3://BUCKET/PREFIX`. The store then waits on `runtime`: use it from threads that may wait.
    pub fn bucket(place: &str, access: &Access, runtime: Handle) -> Result<Self, Error> {
        Bucket::open(place, access, runtime).map(Self::Bucket)
    }

    /// Returns the place as a person names it.
    pub fn place(&self) -> String {
        match self {
            Self::Folder(folder) => folder.place(),
            Self::Bucket(bucket) => bucket.place(),
        }
    }

    /// Whether there is nothing at all.
    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        match self {
            Self::Folder(folder) => folder.is_empty(),
            Self::Bucket(bucket) => Ok(bucket.list("")?.is_empty()),
        }
    }

    /// Makes the place, where it takes making.
    pub(crate) fn prepare(&mut self) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => folder.prepare(),
            Self::Bucket(_) => Ok(()),
        }
    }

    /// Writes a piece. When this returns it is durable; whenever it is interrupted, the piece is whole or as before.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => folder.put(name, bytes),
            Self::Bucket(bucket) => bucket.put(name, bytes),
        }
    }

    /// Reads a piece of at most `most` bytes.
    pub(crate) fn get(&self, name: &str, most: u64) -> Result<Vec<u8>, Error> {
        match self {
            Self::Folder(folder) => folder.get(name, most),
            Self::Bucket(bucket) => bucket.get(name, most),
        }
    }

    /// Reads exactly `length` bytes from `offset` on.
    pub(crate) fn range(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        match self {
            Self::Folder(folder) => folder.range(name, offset, length),
            Self::Bucket(bucket) => bucket.range(name, offset, length),
        }
    }

    /// Lists what is below `prefix/`, in the order of names.
    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let mut all = match self {
            Self::Folder(folder) => folder.list(prefix)?,
            Self::Bucket(bucket) => bucket.list(prefix)?,
        };
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Removes a piece; one that is gone is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => folder.remove(name),
            Self::Bucket(bucket) => bucket.remove(name),
        }
    }

    /// Gives a piece another name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => folder.rename(from, to),
            Self::Bucket(bucket) => bucket.rename(from, to),
        }
    }

    /// Removes what interrupted writes left.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => folder.sweep(),
            Self::Bucket(_) => Ok(()),
        }
    }

    /// Whether nothing can be written here, so that nobody else can either.
    pub(crate) fn is_read_only(error: &Error) -> bool {
        matches!(error, Error::Target { source, .. }
            if matches!(source.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied))
    }
}
