//! Mending a damaged bundle over a thin line: a list of what is missing goes out, a small bundle with just that comes back.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base::{Digest, file};
use serde::{Deserialize, Serialize};

use super::{
    ReleaseError as Error, VerifyOptions,
    blobs::Blobs,
    verify::{broken_blobs, release_of},
};

const FORMAT: u32 = 1;
const MAX_NEEDS_BYTES: u64 = 4 << 20;

/// What a bundle lacks. Written at the customer's, read at the vendor's: some hundred bytes, to be sent by mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// [`FORMAT`].
    pub format: u32,
    /// Of the release.
    pub version: semver::Version,
    pub blobs: Vec<Digest>,
}

impl Needs {
    /// Reads a list.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |reason: String| Error::Read { path: path.to_owned(), reason };
        let bytes = file::read_bounded(path, MAX_NEEDS_BYTES).map_err(|error| failed(error.to_string()))?;
        let needs: Self = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
        match needs.format {
            FORMAT => Ok(needs),
            other => Err(failed(format!("it has format {other}, this program reads {FORMAT}"))),
        }
    }

    /// Returns the bytes of its file.
    ///
    /// # Errors
    /// None that can be caused from outside.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = serde_json::to_vec(self).map_err(|error| Error::Release { reason: error.to_string() })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Finds every blob of a bundle that is missing or not what it is called. Its metadata must be whole: that is small, and is sent anew.
///
/// # Errors
/// What [`super::verify()`] refuses before it looks at blobs.
pub async fn needs(bundle: &Path, options: &VerifyOptions) -> Result<Needs, Error> {
    let proven = release_of(bundle, options, &|_| ()).await?;
    let blobs = broken_blobs(&proven.release, &proven.places, options.threads);
    Ok(Needs { format: FORMAT, version: proven.release.version, blobs })
}

/// Copies the blobs of a list out of a whole bundle into a small one.
///
/// # Errors
/// [`Error::Source`] when the whole bundle lacks one, or has it damaged; [`Error::Write`].
pub fn make(whole: &Path, needs: &Needs, out: &Path) -> Result<u64, Error> {
    let (from, into) = (Blobs::of(whole), Blobs::of(out));
    needs.blobs.iter().map(|digest| into.put_file(&from.path(digest), digest)).sum()
}

/// Copies every blob of a small bundle into a damaged one. Each is proven to be what it is called, and replaces what is there.
///
/// # Errors
/// [`Error::Source`], [`Error::Read`], [`Error::Write`].
pub fn apply(mend: &Path, bundle: &Path) -> Result<u64, Error> {
    let (from, into) = (Blobs::of(mend), Blobs::of(bundle));
    let failed = |error: std::io::Error| Error::Read { path: from.dir().to_owned(), reason: error.to_string() };
    let mut mended = 0;
    for entry in fs::read_dir(from.dir()).map_err(failed)? {
        let path: PathBuf = entry.map_err(failed)?.path();
        let digest = path.file_name().and_then(|name| name.to_str()?.parse::<Digest>().ok());
        let digest = digest.ok_or_else(|| Error::Source { path: path.clone(), reason: "it is no blob".to_owned() })?;
        into.put_file(&path, &digest)?;
        mended += 1;
    }
    Ok(mended)
}
