//! A folder any static web server, file share or stick can carry.

use std::{fs, path::Path};

use base::file;

use super::{
    Release, ReleaseError as Error,
    blobs::Blobs,
    format::{MAX_RELEASE_BYTES, TARGET},
    sign::{copy_metadata, last_version},
};

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Published {
    pub version: String,
    /// Blobs copied, and their bytes.
    pub copied: u64,
    pub copied_bytes: u64,
    /// Blobs that were there already.
    pub present: u64,
    /// Blobs left out because customers have them from the earlier release.
    pub left_out: u64,
}

/// Copies a signed bundle into the folder of a channel. Blobs go first and the timestamp last: whoever reads meanwhile sees the old
/// release or the new, whole.
///
/// With `since`, an earlier bundle, the blobs it holds are left out: a delta for customers who have that release.
///
/// # Errors
/// [`Error::Metadata`] for a bundle that is not signed, [`Error::Source`] for a blob that is not what it is called, [`Error::Read`],
/// [`Error::Write`].
pub fn publish(bundle: &Path, to: &Path, since: Option<&Path>) -> Result<Published, Error> {
    let release = read_release(bundle)?;
    let earlier = since.map(read_release).transpose()?;
    let metadata = bundle.join("metadata");
    let version = last_version(&metadata, "targets")?;
    if version == 0 {
        return Err(Error::Metadata { reason: "it is not signed; run `0711 release sign` first".to_owned() });
    }
    let (from, into) = (Blobs::of(bundle), Blobs::of(to));
    let mut published =
        Published { version: release.version.to_string(), copied: 0, copied_bytes: 0, present: 0, left_out: 0 };
    for blob in &release.blobs {
        if earlier.as_ref().is_some_and(|earlier| earlier.blob(&blob.digest).is_some()) {
            published.left_out += 1;
        } else if fs::metadata(into.path(&blob.digest)).is_ok_and(|found| found.len() == blob.size_bytes) {
            published.present += 1;
        } else {
            published.copied_bytes += into.put_file(&from.path(&blob.digest), &blob.digest)?;
            published.copied += 1;
        }
    }
    let targets = to.join("targets");
    for entry in list(&bundle.join("targets"))? {
        let bytes = read(&entry)?;
        let path = targets.join(entry.file_name().unwrap_or_default());
        let written = fs::create_dir_all(&targets).and_then(|()| file::write_atomic(&path, &bytes, 0o644));
        written.map_err(|source| Error::Write { path, source })?;
    }
    for name in ["index.json", "oci-layout"] {
        let path = to.join(name);
        let bytes = read(&bundle.join(name))?;
        file::write_atomic(&path, &bytes, 0o644).map_err(|source| Error::Write { path, source })?;
    }
    copy_metadata(&metadata, &to.join("metadata"), version)?;
    Ok(published)
}

fn read_release(bundle: &Path) -> Result<Release, Error> {
    Release::parse(&read(&bundle.join(TARGET))?)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    file::read_bounded(path, MAX_RELEASE_BYTES)
        .map_err(|error| Error::Read { path: path.to_owned(), reason: error.to_string() })
}

fn list(dir: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    let failed = |error: std::io::Error| Error::Read { path: dir.to_owned(), reason: error.to_string() };
    fs::read_dir(dir).map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
}
