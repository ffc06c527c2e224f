//! A bundle cut into files of a bounded size, for sticks and file systems that take no larger ones, and put together again.
//!
//! The parts are one tar archive, cut anywhere; `parts.json` names them with size and digest. What is put together is still to be
//! proven: this only sees that nothing got lost on the way, and that no path leads out of the folder.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
};

use base::{Digest, DigestWriter, file};
use serde::{Deserialize, Serialize};

use super::ReleaseError as Error;

const FORMAT: u32 = 1;
const LIST: &str = "parts.json";
const MAX_LIST_BYTES: u64 = 4 << 20;
/// Smaller parts would be more names than content.
pub const LEAST_PART_BYTES: u64 = 1 << 16;

/// `parts.json`. Written by `0711 bundle split`, read by `0711 bundle join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// [`FORMAT`].
    pub format: u32,
    pub parts: Vec<Part>,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub size_bytes: u64,
    pub digest: Digest,
}

fn name(index: usize) -> String {
    format!("bundle.{index:04}")
}

/// Cuts the bundle into parts of at most `part_bytes` in a new folder.
///
/// # Errors
/// [`Error::Exists`] when the folder holds something, [`Error::Read`], [`Error::Write`].
pub fn split(bundle: &Path, out: &Path, part_bytes: u64) -> Result<Parts, Error> {
    let failed = |source| Error::Write { path: out.to_owned(), source };
    fs::create_dir_all(out).map_err(failed)?;
    if fs::read_dir(out).map_err(failed)?.next().is_some() {
        return Err(Error::Exists { path: out.to_owned() });
    }
    let unreadable = |error: io::Error| Error::Read { path: bundle.to_owned(), reason: error.to_string() };
    let paths = listed(bundle).map_err(unreadable)?;
    let cutter = Cutter { dir: out, part_bytes: part_bytes.max(LEAST_PART_BYTES), current: None, parts: Vec::new() };
    let mut builder = tar::Builder::new(cutter);
    builder.mode(tar::HeaderMode::Deterministic);
    for path in &paths {
        builder.append_path_with_name(bundle.join(path), path).map_err(failed)?;
    }
    let parts = builder.into_inner().and_then(Cutter::finish).map_err(failed)?;
    let parts = Parts { format: FORMAT, parts };
    let bytes = serde_json::to_vec_pretty(&parts).map_err(|error| failed(io::Error::other(error)))?;
    file::write_atomic(&out.join(LIST), &bytes, 0o644).map_err(failed)?;
    Ok(parts)
}

/// Puts the parts of a folder together into a bundle's folder. Parts may lie in several folders: one stick after the other.
///
/// # Errors
/// [`Error::Exists`] when something is in the way, [`Error::Part`] for a part that is missing, damaged or holds a path that leads out
/// of the bundle, [`Error::Write`].
pub fn join(folders: &[PathBuf], out: &Path) -> Result<u64, Error> {
    let failed = |source| Error::Write { path: out.to_owned(), source };
    let refused = |part: &str, reason: String| Error::Part { part: part.to_owned(), reason };
    let found = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
    let list = found(LIST).ok_or_else(|| refused(LIST, "it is missing".to_owned()))?;
    let bytes = file::read_bounded(&list, MAX_LIST_BYTES).map_err(|error| refused(LIST, error.to_string()))?;
    let parts: Parts = serde_json::from_slice(&bytes).map_err(|error| refused(LIST, error.to_string()))?;
    if parts.format != FORMAT {
        return Err(refused(LIST, format!("it has format {}, this program reads {FORMAT}", parts.format)));
    }
    let mut paths = Vec::new();
    for (index, part) in parts.parts.iter().enumerate() {
        let name = name(index);
        let path = found(&name).ok_or_else(|| refused(&name, "it is missing".to_owned()))?;
        let opened = file::open_regular(&path).map_err(|error| refused(&name, error.to_string()))?;
        let digest = super::blobs::digest_bounded(opened, part.size_bytes);
        match digest.map_err(|error| refused(&name, error.to_string()))? {
            Some((digest, size_bytes)) if digest == part.digest && size_bytes == part.size_bytes => paths.push(path),
            _ => return Err(refused(&name, "it is not what was split off".to_owned())),
        }
    }
    fs::create_dir_all(out).map_err(failed)?;
    if fs::read_dir(out).map_err(failed)?.next().is_some() {
        return Err(Error::Exists { path: out.to_owned() });
    }
    let mut archive = tar::Archive::new(Chain { paths: paths.into_iter(), current: None });
    let mut files = 0;
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(|error| refused("the archive", error.to_string()))?;
        let path = entry.path().map_err(|error| refused("the archive", error.to_string()))?.into_owned();
        let is_plain = entry.header().entry_type() == tar::EntryType::Regular
            && path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_plain {
            return Err(refused(&path.display().to_string(), "it is no plain file inside the bundle".to_owned()));
        }
        let target = out.join(&path);
        if let Some(dir) = target.parent() {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        let mut file = File::create_new(&target).map_err(failed)?;
        io::copy(&mut entry, &mut file).and_then(|_| file.sync_all()).map_err(failed)?;
        files += 1;
    }
    Ok(files)
}

/// The files of a bundle, sorted, relative to it; links and special files are no part of one.
fn listed(bundle: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(bundle.join(&folder))? {
            let entry = entry?;
            let (path, kind) = (folder.join(entry.file_name()), entry.file_type()?);
            match kind {
                kind if kind.is_dir() => folders.push(path),
                kind if kind.is_file() => found.push(path),
                _ => return Err(io::Error::other(format!("`{}` is no plain file", path.display()))),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Writes one stream into files of a bounded size.
struct Cutter<'a> {
    dir: &'a Path,
    part_bytes: u64,
    current: Option<(DigestWriter<File>, u64)>,
    parts: Vec<Part>,
}

impl Cutter<'_> {
    fn close(&mut self) -> io::Result<()> {
        if let Some((writer, _)) = self.current.take() {
            let (file, digest, size_bytes) = writer.finish();
            file.sync_all()?;
            self.parts.push(Part { size_bytes, digest });
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<Part>> {
        self.close()?;
        Ok(self.parts)
    }
}

impl Write for Cutter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.current.as_ref().is_some_and(|(_, left)| *left == 0) {
            self.close()?;
        }
        if self.current.is_none() {
            let file = File::create_new(self.dir.join(name(self.parts.len())))?;
            self.current = Some((DigestWriter::new(file), self.part_bytes));
        }
        let Some((writer, left)) = &mut self.current else { return Ok(0) };
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        let count = writer.write(&bytes[..most])?;
        *left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads files one after the other as one stream.
struct Chain {
    paths: std::vec::IntoIter<PathBuf>,
    current: Option<File>,
}

impl Read for Chain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(file) = &mut self.current {
                let count = file.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Ok(count);
                }
            }
            match self.paths.next() {
                Some(path) => self.current = Some(File::open(path)?),
                None => return Ok(0),
            }
        }
    }
}
