//! The program inside the platform image: what an update of a machine without containers runs.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use base::{DigestWriter, file};

use super::{ReleaseError as Error, VerifiedRelease, image::LayerContent, platform};

impl VerifiedRelease {
    /// Writes the release's program to `to`, executable. What is there already is replaced.
    ///
    /// The layer it lies in is proven once more while it is read: nothing appears at `to` unless every byte was what the release says.
    ///
    /// # Errors
    /// [`Error::Image`] when the release has no platform image or no program in it, [`Error::Blob`] when the bundle was changed
    /// after it was proven, [`Error::Write`].
    pub fn extract_program(&self, to: &Path) -> Result<(), Error> {
        let refused = |reason: &str| Error::Image { name: platform::NAME.to_owned(), reason: reason.to_owned() };
        let image = self.release().images.iter().find(|image| image.name == platform::NAME);
        let content = self.image(image.ok_or_else(|| refused("the release does not have it"))?)?;
        let beside = to.with_extension("part");
        // The program is the topmost layer of the image.
        for layer in content.layers.iter().rev() {
            if extract(layer, &beside)? {
                let moved = fs::rename(&beside, to);
                moved.map_err(|source| Error::Write { path: to.to_owned(), source })?;
                let dir = to.parent().unwrap_or(Path::new("/"));
                return file::sync_dir(dir).map_err(|source| Error::Write { path: dir.to_owned(), source });
            }
        }
        Err(refused("there is no program in it"))
    }
}

/// Returns whether the layer has the program; then it was written to `to`.
fn extract(layer: &LayerContent, to: &Path) -> Result<bool, Error> {
    let refused = |reason: String| Error::Blob { digest: layer.digest, reason };
    let unreadable = |error: io::Error| refused(format!("it cannot be unpacked: {error}"));
    let packed = file::open_regular(&layer.path).map_err(|error| refused(error.to_string()))?;
    let decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 17, packed)).map_err(unreadable)?;
    // One byte more than promised shows a layer that is longer.
    let mut reader = Digested { inner: decoder.take(layer.unpacked_bytes + 1), digest: DigestWriter::new(io::sink()) };
    let mut archive = tar::Archive::new(&mut reader);
    let mut is_found = false;
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let is_program =
            entry.header().entry_type().is_file() && entry.path().is_ok_and(|path| path == Path::new(platform::BINARY));
        if is_program {
            let failed = |source| Error::Write { path: to.to_owned(), source };
            let mut file = program_file(to).map_err(failed)?;
            io::copy(&mut entry, &mut file).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            is_found = true;
        }
    }
    // What follows the last entry belongs to the digest too.
    io::copy(&mut reader, &mut io::sink()).map_err(unreadable)?;
    let (_, found, size_bytes) = reader.digest.finish();
    if found == layer.diff_id && size_bytes == layer.unpacked_bytes {
        return Ok(is_found);
    }
    // What was written of it must not stay.
    let _ = fs::remove_file(to);
    Err(refused(format!("unpacked its digest is {found}, not {}", layer.diff_id)))
}

fn program_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)
}

/// Digests what is read through it.
struct Digested<R> {
    inner: R,
    digest: DigestWriter<io::Sink>,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.write_all(&buffer[..count])?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use base::Digest;

    use super::super::{Blob, BlobKind, blobs::Blobs};
    use super::*;

    #[test]
    fn a_layer_that_was_changed_gives_no_program() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::of(dir.path());
        let source = dir.path().join("source");
        fs::write(&source, "the program").unwrap();
        let made = platform::layers(&blobs, &source).unwrap();
        let content = |blob: &Blob| {
            let BlobKind::Layer { diff_id, unpacked_bytes } = blob.kind else { panic!("no layer") };
            let path = blobs.path(&blob.digest);
            LayerContent { digest: blob.digest, path, size_bytes: blob.size_bytes, diff_id, unpacked_bytes }
        };
        let to = dir.path().join("0711");
        assert!(!extract(&content(&made[0]), &to).unwrap());
        assert!(extract(&content(&made[1]), &to).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"the program");
        let other = LayerContent { diff_id: Digest::of(b"another"), ..content(&made[1]) };
        assert!(extract(&other, &to).is_err());
        assert!(!to.exists(), "a changed program was left");
    }
}
