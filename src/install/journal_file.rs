use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base::{Clock, file};
use plan::journal::{self, Event, State};

use crate::Error;

/// Years of installs and updates; a journal beyond this is no journal.
pub(crate) const JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// The journal, open for the one process that holds the install lock.
pub(crate) struct JournalFile {
    path: PathBuf,
    file: File,
    state: State,
    clock: Clock,
}

impl JournalFile {
    /// Opens the journal, or begins one. A torn last line is cut off before anything is written behind it.
    pub(crate) fn open(path: &Path, clock: Clock) -> Result<Self, Error> {
        let options = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let file = options.map_err(Error::file("open", path))?;
        let bytes = file::read_bounded(path, JOURNAL_BYTES_MAX)
            .map_err(|source| Error::Read { path: path.to_owned(), source: source.into() })?;
        let journal = journal::read(&bytes).map_err(|source| Error::Format { path: path.to_owned(), source })?;
        if journal.length < bytes.len() {
            tracing::warn!(journal.path = %path.display(), journal.torn_bytes = bytes.len() - journal.length, "cut a torn line off the journal");
            file.set_len(journal.length as u64).and_then(|()| file.sync_all()).map_err(Error::file("cut", path))?;
        }
        if let Some(dir) = path.parent() {
            file::sync_dir(dir).map_err(Error::file("sync", dir))?;
        }
        Ok(Self { path: path.to_owned(), file, state: journal.state, clock })
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Returns when `event` is on the disk.
    pub(crate) fn append(&mut self, event: Event) -> Result<(), Error> {
        let mut next = self.state.clone();
        let line =
            next.append(self.clock.now(), event).map_err(|source| Error::Format { path: self.path.clone(), source })?;
        file::append_line_synced(&mut self.file, &line).map_err(Error::file("append to", &self.path))?;
        self.state = next;
        Ok(())
    }
}
