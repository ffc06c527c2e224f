use std::path::Path;

use base::{Digest, file};

use crate::Error;
use crate::collect::Options;
use crate::format::{Collector, Manifest, ManifestFile};
use crate::gather::Piece;
use crate::names::Names;
use crate::redact::redact;
use crate::secret::{Search, Secrets};

const MANIFEST: &str = "MANIFEST.json";
/// The manifest needs room, too.
const MANIFEST_RESERVE_BYTES: usize = 64 << 10;
/// Logs shrink to a tenth at this level, and a higher one takes much longer.
const ZSTD_LEVEL: i32 = 9;
const FOUND_MAX: usize = 10;

/// A bundle that was searched, and not yet written.
#[derive(Debug)]
pub struct Collected {
    manifest: Manifest,
    files: Vec<(String, Vec<u8>)>,
}

impl Collected {
    /// Searches what was found, takes out what must not be seen, and describes the rest.
    pub(crate) fn new(
        options: &Options,
        secrets: &Secrets,
        names: &Names,
        collectors: Vec<Collector>,
        pieces: Vec<Piece>,
    ) -> Result<Self, Error> {
        let (pieces, mut left_out) = fitting(pieces, options.bytes_max);
        let mut found = Vec::new();
        let (mut files, mut described) = (Vec::new(), Vec::new());
        for piece in pieces {
            match secrets.find(&piece.path, &piece.bytes) {
                Search::Clean => {}
                Search::Found(secret) => {
                    found.push(secret);
                    continue;
                }
                Search::TooMuch => {
                    left_out.push(format!("{} (more is packed in it than can be searched)", piece.path));
                    continue;
                }
            }
            let text = String::from_utf8_lossy(&piece.bytes);
            let (text, redacted) = redact(&text, piece.is_free);
            let (text, names_hidden) = if options.with_names { (text, 0) } else { names.hide(&text) };
            let bytes = text.into_bytes();
            // What was taken out may have brought together what stood apart.
            if bytes != piece.bytes
                && let Search::Found(secret) = secrets.find(&piece.path, &bytes)
            {
                found.push(secret);
            }
            described.push(ManifestFile {
                path: piece.path.clone(),
                size_bytes: bytes.len() as u64,
                sha256: Digest::of(&bytes),
                cut_bytes: piece.cut_bytes,
                redacted,
                names_hidden,
            });
            files.push((piece.path, bytes));
        }
        described.sort_by(|a, b| a.path.cmp(&b.path));
        files.sort();
        let manifest = Manifest {
            format: 1,
            made: options.clock.now(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            slug: options.slug.clone(),
            since: options.since.to_string(),
            with_names: options.with_names,
            collectors,
            files: described,
            left_out,
            searched_for: secrets.searched(),
            too_short_to_search: secrets.too_short(),
        };
        let mut bytes = serde_json::to_vec_pretty(&manifest).map_err(|error| Error::Pack(error.into()))?;
        bytes.push(b'\n');
        if let Search::Found(secret) = secrets.find(MANIFEST, &bytes) {
            found.push(secret);
        }
        if !found.is_empty() {
            found.truncate(FOUND_MAX);
            return Err(Error::Secret(found));
        }
        files.insert(0, (MANIFEST.to_owned(), bytes));
        Ok(Self { manifest, files })
    }

    /// Returns what is in it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the files with their content, the manifest first.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
    }

    /// Returns the bytes of the `.tar.zst`.
    ///
    /// # Errors
    /// [`Error::Pack`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(Error::Pack)?);
        for (path, bytes) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(u64::try_from(self.manifest.made.millis() / 1000).unwrap_or(0));
            let inside = format!("0711-support-{}/{path}", self.manifest.slug);
            tar.append_data(&mut header, inside, bytes.as_slice()).map_err(Error::Pack)?;
        }
        tar.into_inner().and_then(zstd::Encoder::finish).map_err(Error::Pack)
    }

    /// Writes bytes of [`Self::to_bytes`] for their owner alone.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
        file::write_atomic(path, bytes, 0o600).map_err(|source| Error::Write { path: path.to_owned(), source })
    }
}

/// Takes pieces, the first ones first, until there is no room. Of free text the end is taken where all does not fit.
fn fitting(pieces: Vec<Piece>, bytes_max: u64) -> (Vec<Piece>, Vec<String>) {
    let mut room = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_sub(MANIFEST_RESERVE_BYTES);
    let (mut taken, mut left_out) = (Vec::new(), Vec::new());
    for mut piece in pieces {
        if piece.bytes.len() > room && piece.is_free {
            piece.keep_end(room);
        }
        if piece.bytes.len() > room || (piece.bytes.is_empty() && piece.cut_bytes > 0) {
            left_out.push(piece.path);
            continue;
        }
        room -= piece.bytes.len();
        taken.push(piece);
    }
    (taken, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_or_left_out_and_said_so() {
        let room = |bytes: usize| (bytes + MANIFEST_RESERVE_BYTES) as u64;
        let pieces = vec![
            Piece::known("small", vec![b'a'; 10]),
            Piece::known("large", vec![b'b'; 100]),
            Piece::free("log", b"one\ntwo\nthree\n".to_vec()),
        ];
        let (taken, left_out) = fitting(pieces, room(20));
        let sizes: Vec<_> =
            taken.iter().map(|piece| (piece.path.as_str(), piece.bytes.len(), piece.cut_bytes)).collect();
        assert_eq!(sizes, [("small", 10, 0), ("log", 10, 4)]);
        assert_eq!(left_out, ["large"]);
    }
}
