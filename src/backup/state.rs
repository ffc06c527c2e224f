//! What this machine remembers of a customer's backups: `backup/state.json` beside the data.
//!
//! It is no part of any backup. It says how the last one went, for `status`, and what state of a repository was seen, so
//! that one put back to an older state is noticed.

use std::collections::BTreeMap;

use base::{CustomerLayout, Timestamp, file};
use serde::{Deserialize, Serialize};

use crate::{
    Created, Error,
    format::{RepositoryId, SnapshotId},
    repository::{Repository, chain},
};

const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 1 << 20;

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Version of this format: 1.
    pub format: u32,
    /// The last backup that was made.
    pub last_success: Option<Success>,
    /// The last one that was not, if it was after that.
    pub last_failure: Option<Failure>,
    /// What was seen of each repository, by its id.
    repositories: BTreeMap<String, Seen>,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    pub started: Timestamp,
    pub finished: Timestamp,
    pub place: String,
    pub snapshot: SnapshotId,
    pub added_bytes: u64,
    /// Files that could not be read.
    pub skipped: u64,
}

/// A backup that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub started: Timestamp,
    pub place: String,
    /// The error with its causes.
    pub error: String,
}

/// What was seen of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    place: String,
    generation: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self { format: FORMAT, last_success: None, last_failure: None, repositories: BTreeMap::new() }
    }
}

impl Memory {
    /// Reads what is remembered; nothing, where no backup was ever made.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Malformed`].
    pub fn read(layout: &CustomerLayout) -> Result<Self, Error> {
        let path = layout.backup_state().join("state.json");
        let bytes = match file::read_bounded(&path, BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(file::ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::Malformed { path, reason: error.to_string() }),
        };
        let malformed = |reason: String| Error::Malformed { path: path.clone(), reason };
        let memory: Self = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        match memory.format {
            FORMAT => Ok(memory),
            other => Err(malformed(format!("its format is {other}, not {FORMAT}"))),
        }
    }

    fn write(&self, layout: &CustomerLayout) -> Result<(), Error> {
        let path = layout.backup_state().join("state.json");
        file::private_dir(&layout.backup_state()).map_err(Error::write(&path))?;
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Encode { name: path.display().to_string(), source: error.into() })?;
        file::write_atomic(&path, &bytes, 0o600).map_err(Error::write(&path))
    }

    /// Refuses a repository that is in an older state than this machine has seen.
    ///
    /// # Errors
    /// [`Error::RolledBack`].
    pub fn check(&self, repository: &Repository) -> Result<(), Error> {
        let seen = self.repositories.get(&repository.id().hex()).map_or(0, |seen| seen.generation);
        match repository.generation() {
            found if found < seen => Err(Error::RolledBack { seen, found }),
            _ => Ok(()),
        }
    }

    /// Returns a repository that was seen at a place.
    pub fn known_at(&self, place: &str) -> Option<RepositoryId> {
        let at = self.repositories.iter().find(|(_, seen)| seen.place == place);
        at.and_then(|(id, _)| RepositoryId::parse(id))
    }

    /// Returns the place of the last backup, made or failed.
    pub fn last_place(&self) -> Option<&str> {
        let failed = self.last_failure.as_ref().map(|failure| failure.place.as_str());
        self.last_success.as_ref().map(|success| success.place.as_str()).or(failed)
    }

    /// Takes note of a repository's state.
    pub(crate) fn saw(layout: &CustomerLayout, repository: &Repository) -> Result<(), Error> {
        let mut memory = Self::read(layout)?;
        // Media take turns at one place: what was seen of the others stays.
        let seen = Seen { place: repository.store.place(), generation: repository.generation() };
        memory.repositories.insert(repository.id().hex(), seen);
        memory.write(layout)
    }

    pub(crate) fn note(
        layout: &CustomerLayout,
        started: Timestamp,
        finished: Timestamp,
        place: &str,
        made: &Result<Created, Error>,
    ) -> Result<(), Error> {
        let mut memory = Self::read(layout)?;
        match made {
            Ok(created) => {
                memory.last_failure = None;
                memory.last_success = Some(Success {
                    started,
                    finished,
                    place: place.to_owned(),
                    snapshot: created.entry.id,
                    added_bytes: created.entry.added_bytes,
                    skipped: created.entry.skipped,
                });
            }
            Err(error) => return Self::failed(layout, started, place, &chain(error)),
        }
        memory.write(layout)
    }

    /// Takes note of a backup that failed.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Malformed`], [`Error::Write`].
    pub fn failed(layout: &CustomerLayout, started: Timestamp, place: &str, error: &str) -> Result<(), Error> {
        let mut memory = Self::read(layout)?;
        memory.last_failure = Some(Failure { started, place: place.to_owned(), error: error.to_owned() });
        memory.write(layout)
    }
}
