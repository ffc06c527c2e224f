//! Where model files lie, `<models>/sha256/<hex>`, and whether they are what they are called.
//!
//! Hashing gigabytes at every start would be slow, so a file that was hashed once gets a stamp beside it, `<hex>.ok`, with
//! the size, inode, and times of change it had then. Every write to the file, and every other file in its place, moves the
//! time of change (`ctime`), which no program can set; then the file is hashed again. Whoever may forge a stamp may as well
//! replace the program's models folder, so a stamp is as good as the folder's rights. `0711 models verify` ignores stamps.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use base::{Digest, file};
use serde::{Deserialize, Serialize};

use crate::{Error, Model};

const FORMAT: u32 = 1;
const MAX_STAMP_BYTES: u64 = 4096;

/// The paths of one model in a models folder.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub dir: PathBuf,
    pub file: PathBuf,
    pub part: PathBuf,
    /// The validator (`ETag`) the web server gave with the bytes of the part.
    pub part_tag: PathBuf,
    pub lock: PathBuf,
    stamp: PathBuf,
}

impl Place {
    pub fn of(models: &Path, digest: &Digest) -> Self {
        let dir = models.join("sha256");
        Self::of_parts(&dir, &dir, digest)
    }

    /// The paths of a file that is on its way in another folder than it will be in.
    pub fn of_parts(dir: &Path, parts: &Path, digest: &Digest) -> Self {
        let hex = digest.hex();
        let beside = |ending: &str| parts.join(format!("{hex}.{ending}"));
        Self {
            file: dir.join(&hex),
            part: beside("part"),
            part_tag: beside("part.tag"),
            lock: beside("lock"),
            stamp: beside("ok"),
            dir: dir.to_owned(),
        }
    }
}

/// How a model's file was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum State {
    /// Its bytes are the catalogue's.
    Present,
    Missing,
    Damaged {
        reason: String,
    },
}

impl State {
    /// Returns one word for a table.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Missing => "missing",
            Self::Damaged { .. } => "damaged",
        }
    }
}

/// Whether a stamp is taken for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Stamp,
    BytesOnly,
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    format: u32,
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    fn of(found: &fs::Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            format: FORMAT,
            device: found.dev(),
            inode: found.ino(),
            size_bytes: found.size(),
            modified_ns: nanoseconds(found.mtime(), found.mtime_nsec()),
            changed_ns: nanoseconds(found.ctime(), found.ctime_nsec()),
        }
    }
}

/// Says whether the file at `path` is `model`. `stamp` is where the answer may be kept; a file elsewhere has none.
pub(crate) fn check(model: &Model, path: &Path, trust: Trust) -> Result<State, Error> {
    let read = |source| Error::Read { name: model.name().to_owned(), source };
    let failed = |source| read(file::ReadError::Io { path: path.to_owned(), source });
    let opened = match file::open_regular(path) {
        Ok(opened) => opened,
        Err(file::ReadError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(State::Missing),
        Err(error @ file::ReadError::NotRegular { .. }) => {
            return Ok(State::Damaged { reason: error.to_string() });
        }
        Err(error) => return Err(read(error)),
    };
    // All further facts are those of the opened file, so that one put in its place meanwhile changes nothing.
    let found = opened.metadata().map_err(failed)?;
    if found.len() != model.size_bytes() {
        return Ok(State::Damaged { reason: format!("it has {} bytes, not {}", found.len(), model.size_bytes()) });
    }
    let stamp_path = stamp_path(model, path);
    let stamp = Stamp::of(&found);
    if trust == Trust::Stamp && stamp_path.as_deref().and_then(read_stamp).as_ref() == Some(&stamp) {
        return Ok(State::Present);
    }
    let digest = Digest::of_reader(&opened).map_err(failed)?;
    if digest != model.digest() {
        return Ok(State::Damaged { reason: format!("its digest is {digest}") });
    }
    // Taken before the hashing began: a write meanwhile leaves a stamp that does not fit.
    if let Some(stamp_path) = stamp_path {
        write_stamp(&stamp_path, &stamp);
    }
    Ok(State::Present)
}

/// Only a file that lies where its digest says has a stamp: stamps are not strewn beside other people's files.
fn stamp_path(model: &Model, path: &Path) -> Option<PathBuf> {
    let models = path.parent()?.parent()?;
    let place = Place::of(models, &model.digest());
    (place.file == path).then_some(place.stamp)
}

fn read_stamp(path: &Path) -> Option<Stamp> {
    let bytes = file::read_bounded(path, MAX_STAMP_BYTES).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A stamp that cannot be written (a read-only folder) costs the next start some seconds, nothing else.
fn write_stamp(path: &Path, stamp: &Stamp) {
    if let Ok(bytes) = serde_json::to_vec(stamp)
        && let Err(error) = file::write_atomic(path, &bytes, 0o644)
    {
        tracing::debug!(%error, path = %path.display(), "no stamp kept for a verified model");
    }
}
