//! How TUF reads the files of a bundle: regular files below one folder, bounded, links refused.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use base::file::{self, ReadError};
use tough::{Bytes, Transport, TransportError, TransportErrorKind, TransportStream, async_trait};
use url::Url;

/// Larger metadata is no metadata.
const MAX_BYTES: u64 = 16 << 20;

/// Reads `file:` addresses below `dir`.
#[derive(Clone, Debug)]
pub(crate) struct BundleFiles {
    dir: PathBuf,
}

impl BundleFiles {
    /// Reads below this folder, which must be absolute.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }
}

#[async_trait]
impl Transport for BundleFiles {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let refused = |kind, reason: String| TransportError::new_with_cause(kind, url.as_str(), reason);
        let Ok(path) = url.to_file_path() else {
            return Err(TransportError::new(TransportErrorKind::UnsupportedUrlScheme, url.as_str()));
        };
        if !path.starts_with(&self.dir) || path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(refused(TransportErrorKind::Other, "it lies outside of the bundle".to_owned()));
        }
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                return Err(refused(TransportErrorKind::Other, "it is a symbolic link".to_owned()));
            }
            _ => {}
        }
        match file::read_bounded(&path, MAX_BYTES) {
            Ok(bytes) => Ok(Box::pin(futures::stream::iter([Ok(Bytes::from(bytes))]))),
            Err(ReadError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Err(refused(TransportErrorKind::FileNotFound, source.to_string()))
            }
            Err(error) => Err(refused(TransportErrorKind::Other, error.to_string())),
        }
    }
}
