//! The content-addressed files of a bundle, `blobs/sha256/<hex>`.

use std::{
    fs::{self, Permissions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base::{Digest, DigestWriter, file};
use tempfile::NamedTempFile;

use super::ReleaseError as Error;

/// The folder of blobs of one bundle.
#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    dir: PathBuf,
}

impl Blobs {
    /// The blobs of the bundle in `bundle`, which need not exist yet.
    pub fn of(bundle: &Path) -> Self {
        Self { dir: bundle.join("blobs").join("sha256") }
    }

    /// The blobs of a bundle or, where it is none, of a folder of models (`sha256/HEX`).
    pub fn at(place: &Path) -> Self {
        let blobs = Self::of(place);
        let models = place.join("sha256");
        if !blobs.dir.is_dir() && models.is_dir() { Self { dir: models } } else { blobs }
    }

    /// Returns where the blob of a digest is or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex())
    }

    /// Returns the folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes what `write` writes, and returns its digest and size. The blob appears whole or not at all.
    pub fn put(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(Digest, u64), Error> {
        let (temporary, digest, size_bytes) = self.write(write)?;
        self.keep(temporary, &digest)?;
        Ok((digest, size_bytes))
    }

    /// Writes bytes.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<(Digest, u64), Error> {
        self.put(|writer| writer.write_all(bytes))
    }

    /// Copies a file whose digest is known; other bytes are refused and leave nothing.
    pub fn put_file(&self, from: &Path, expected: &Digest) -> Result<u64, Error> {
        let refused = |reason: String| Error::Source { path: from.to_owned(), reason };
        let mut source = file::open_regular(from).map_err(|error| refused(error.to_string()))?;
        let (temporary, digest, size_bytes) = self.write(|writer| io::copy(&mut source, writer).map(drop))?;
        if digest != *expected {
            return Err(refused(format!("its digest is {digest}, not {expected}")));
        }
        self.keep(temporary, &digest)?;
        Ok(size_bytes)
    }

    fn write(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(NamedTempFile, Digest, u64), Error> {
        let failed = |source| Error::Write { path: self.dir.clone(), source };
        fs::create_dir_all(&self.dir).map_err(failed)?;
        let temporary = NamedTempFile::with_prefix_in(".new-", &self.dir).map_err(failed)?;
        let mut writer = DigestWriter::new(BufWriter::with_capacity(1 << 18, temporary));
        write(&mut writer).map_err(failed)?;
        let (buffered, digest, size_bytes) = writer.finish();
        let temporary = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok((temporary, digest, size_bytes))
    }

    fn keep(&self, temporary: NamedTempFile, digest: &Digest) -> Result<(), Error> {
        let failed = |source| Error::Write { path: self.path(digest), source };
        temporary.as_file().set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
        temporary.as_file().sync_all().map_err(failed)?;
        temporary.persist(self.path(digest)).map_err(|error| failed(error.error))?;
        file::sync_dir(&self.dir).map_err(failed)
    }

    /// Reads a small blob and proves it.
    pub fn read(&self, digest: &Digest, max_bytes: u64) -> Result<Vec<u8>, Error> {
        let refused = |reason: String| Error::Blob { digest: *digest, reason };
        let bytes = file::read_bounded(&self.path(digest), max_bytes).map_err(|error| refused(error.to_string()))?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(refused(format!("its digest is {found}"))),
        }
    }
}

/// Reads to the end, at most `limit` bytes, and returns digest and count; `None` when there is more.
pub(crate) fn digest_bounded(mut reader: impl Read, limit: u64) -> io::Result<Option<(Digest, u64)>> {
    let mut writer = DigestWriter::new(io::sink());
    let count = io::copy(&mut (&mut reader).take(limit), &mut writer)?;
    let mut beyond = [0_u8; 1];
    if count == limit && reader.read(&mut beyond)? > 0 {
        return Ok(None);
    }
    let (_, digest, size_bytes) = writer.finish();
    Ok(Some((digest, size_bytes)))
}
