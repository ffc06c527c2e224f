//! The evidence pack: files of an installation in one tar, named in a manifest with their digests, which is signed.
//!
//! ```text
//! MANIFEST.json        format, when, whose, and each file's path, size and sha256
//! MANIFEST.dsse.json   the same bytes in a DSSE envelope, signed with the installation's key
//! …                    the files
//! ```

use std::{collections::BTreeMap, io::Read, path::Path};

use base::{
    Digest, Slug, Timestamp,
    dsse::{self, PrivateKey, PublicKey},
    file,
};
use serde::{Deserialize, Serialize};

use crate::{Error, FORMAT};

const TYPE: &str = "application/vnd.0711.evidence.v1+json";
const MANIFEST: &str = "MANIFEST.json";
const ENVELOPE: &str = "MANIFEST.dsse.json";
const MANIFEST_BYTES_MAX: u64 = 4 << 20;
const PACK_BYTES_MAX: u64 = 2 << 30;
const FILES_MAX: usize = 10_000;

/// Files to be packed.
#[derive(Debug, Default)]
pub struct Pack {
    files: BTreeMap<String, Vec<u8>>,
}

/// What a pack says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    /// [`FORMAT`].
    pub format: u32,
    #[serde(with = "base::rfc3339")]
    pub made: Timestamp,
    pub slug: Slug,
    /// The key it is signed with: its public half, 64 hexadecimal digits.
    pub key: String,
    /// In the order of paths.
    pub files: Vec<PackedFile>,
}

/// A file of a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackedFile {
    pub path: String,
    pub size_bytes: u64,
    pub sha256: Digest,
}

impl Pack {
    /// Adds a file; a second one under the same path replaces the first.
    pub fn add(&mut self, path: impl Into<String>, bytes: Vec<u8>) {
        self.files.insert(path.into(), bytes);
    }

    /// Returns the bytes of the tar, and its manifest.
    ///
    /// # Errors
    /// None in practice.
    pub fn seal(self, slug: &Slug, key: &PrivateKey, made: Timestamp) -> Result<(Vec<u8>, Packed), Error> {
        let file = |(path, bytes): (&String, &Vec<u8>)| PackedFile {
            path: path.clone(),
            size_bytes: bytes.len() as u64,
            sha256: Digest::of(bytes),
        };
        let files = self.files.iter().map(file).collect();
        let packed = Packed { format: FORMAT, made, slug: slug.clone(), key: key.public().hex(), files };
        let mut manifest = serde_json::to_vec_pretty(&packed).map_err(Error::Json)?;
        manifest.push(b'\n');
        let envelope = key.seal(TYPE, &manifest).map_err(Error::Json)?;
        let mut tar = tar::Builder::new(Vec::new());
        let first = [(MANIFEST.to_owned(), manifest), (ENVELOPE.to_owned(), envelope)];
        for (path, bytes) in first.into_iter().chain(self.files) {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(u64::try_from(made.millis() / 1000).unwrap_or(0));
            let written = tar.append_data(&mut header, &path, bytes.as_slice());
            written.map_err(|error| Error::pack(format!("`{path}` cannot be packed: {error}")))?;
        }
        let bytes = tar.into_inner().map_err(|error| Error::pack(error.to_string()))?;
        Ok((bytes, packed))
    }
}

/// Checks a pack: signature, and every file's digest. Without `key` the signature is checked with the key the pack itself names,
/// which shows that it was not changed since, and not who made it.
///
/// # Errors
/// [`Error::Signature`], [`Error::Pack`], [`Error::Read`].
pub fn read_pack(path: &Path, key: Option<&PublicKey>) -> Result<Packed, Error> {
    let mut tar = tar::Archive::new(file::open_regular(path)?.take(PACK_BYTES_MAX));
    let (mut manifest, mut envelope) = (None, None);
    let mut found = BTreeMap::new();
    for entry in tar.entries().map_err(damaged)? {
        let entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.display().to_string();
        if !entry.header().entry_type().is_file() {
            return Err(Error::pack(format!("`{name}` is no file")));
        }
        let is_twice = match name.as_str() {
            MANIFEST => manifest.replace(whole(entry)?).is_some(),
            ENVELOPE => envelope.replace(whole(entry)?).is_some(),
            _ => {
                let size_bytes = entry.size();
                let sha256 = Digest::of_reader(entry).map_err(damaged)?;
                found.insert(name.clone(), (size_bytes, sha256)).is_some()
            }
        };
        if is_twice || found.len() > FILES_MAX {
            return Err(Error::pack(format!("`{name}` is there twice, or there are too many files")));
        }
    }
    let (Some(manifest), Some(envelope)) = (manifest, envelope) else {
        return Err(Error::pack("it has no signed manifest"));
    };
    let no_manifest = |error: serde_json::Error| Error::pack(format!("its manifest cannot be read: {error}"));
    // Not yet believed: only the key is taken, to look whether its signature fits.
    let claimed: Packed = serde_json::from_slice(&manifest).map_err(no_manifest)?;
    let own = PublicKey::from_hex(&claimed.key).map_err(|error| Error::pack(error.to_string()))?;
    let key = key.unwrap_or(&own);
    let known = |id: &str| (id == key.id()).then_some((key, ()));
    let opened = dsse::open(&envelope, TYPE, 2 * MANIFEST_BYTES_MAX, known).map_err(Error::Signature)?;
    if opened.payload != manifest {
        return Err(Error::pack(format!("`{MANIFEST}` is not what was signed")));
    }
    let packed: Packed = serde_json::from_slice(&opened.payload).map_err(no_manifest)?;
    if packed.format != FORMAT {
        return Err(Error::pack(format!("it has format {}; this program knows format {FORMAT}", packed.format)));
    }
    for file in &packed.files {
        match found.remove(&file.path) {
            Some(is) if is == (file.size_bytes, file.sha256) => {}
            Some(_) => return Err(Error::pack(format!("`{}` was changed", file.path))),
            None => return Err(Error::pack(format!("`{}` is missing", file.path))),
        }
    }
    match found.into_keys().next() {
        Some(more) => Err(Error::pack(format!("`{more}` was put in after signing"))),
        None => Ok(packed),
    }
}

fn whole(entry: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    entry.take(2 * MANIFEST_BYTES_MAX).read_to_end(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}

fn damaged(error: std::io::Error) -> Error {
    Error::pack(format!("it is no whole tar: {error}"))
}
