use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

use crate::{Error, store::Place};

/// The file that is being fetched: `<hex>.part`. It never grows beyond the size the catalogue declares.
pub(crate) struct Part {
    file: File,
    path: PathBuf,
    written_bytes: u64,
    size_bytes: u64,
}

impl Part {
    /// Opens the part to go on behind what an earlier attempt left there. One that is longer than the whole starts anew.
    pub fn resume(place: &Place, size_bytes: u64) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: place.part.clone(), source };
        let file = OpenOptions::new().create(true).append(true).open(&place.part).map_err(failed)?;
        let written_bytes = file.metadata().map_err(failed)?.len();
        let mut part = Self { file, path: place.part.clone(), written_bytes, size_bytes };
        if written_bytes > size_bytes {
            part.restart()?;
        }
        Ok(part)
    }

    /// Throws away what is there.
    pub fn restart(&mut self) -> Result<(), Error> {
        if self.written_bytes > 0 {
            self.file.set_len(0).map_err(|source| self.failed(source))?;
            self.written_bytes = 0;
        }
        Ok(())
    }

    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    pub fn is_whole(&self) -> bool {
        self.written_bytes == self.size_bytes
    }

    /// Appends what a source sent. Returns false, and writes nothing, when that is more than the model has.
    pub fn append(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let after = self.written_bytes.saturating_add(bytes.len() as u64);
        if after > self.size_bytes {
            return Ok(false);
        }
        self.file.write_all(bytes).map_err(|source| self.failed(source))?;
        self.written_bytes = after;
        Ok(true)
    }

    /// Waits until everything is on the disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }
}

/// Removes a part that turned out wrong, with its tag, so that it poisons no later attempt.
pub(crate) fn discard(place: &Place) -> Result<(), Error> {
    for path in [&place.part, &place.part_tag] {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Write { path: path.clone(), source });
            }
            _ => {}
        }
    }
    Ok(())
}
