//! How TUF reads the files of a bundle in a folder: regular files below it, bounded, links refused.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use base::file::{self, ReadError};

use crate::tuf::{FileError, Files, Tree};

/// The metadata and targets of the bundle in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
}

impl Folder {
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    fn read_now(&self, tree: Tree, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
        let tree = match tree {
            Tree::Metadata => "metadata",
            Tree::Targets => "targets",
        };
        if name.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(FileError::Refused("it lies outside of the bundle".to_owned()));
        }
        let path = self.dir.join(tree).join(name);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Err(FileError::Refused("it is a symbolic link".to_owned()));
        }
        match file::read_bounded(&path, max_bytes) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ReadError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            Err(ReadError::Io { source, .. }) => Err(FileError::Unavailable(source.to_string())),
            Err(error) => Err(FileError::Refused(error.to_string())),
        }
    }
}

impl Files for Folder {
    async fn read(&self, tree: Tree, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, FileError> {
        self.read_now(tree, name, max_bytes)
    }
}
