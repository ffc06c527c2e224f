use std::path::{Path, PathBuf};

use base::{Digest, Role, Timestamp, file};
use serde::{Deserialize, Serialize};

use crate::identity::command_line;
use crate::{Error, Identity, Observation};

/// What was started: enough to find it again, and to see whether it is still what should run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleRecord {
    /// Version of this format: 1.
    pub format: u32,
    /// Which role.
    pub role: Role,
    /// The process.
    pub identity: Identity,
    /// Its command line; empty where the process becomes another program after its start.
    pub command: Vec<String>,
    /// Where it listens.
    pub port: u16,
    /// The version of the binary it runs, links resolved.
    pub binary: PathBuf,
    /// Digest of the configuration it read.
    pub config: Digest,
    /// When it was started.
    pub started: Timestamp,
}

/// What a process was started with.
pub(crate) struct Ran {
    /// The binary, or the id of the image.
    pub(crate) program: PathBuf,
    /// Digest of the configuration.
    pub(crate) config: Digest,
    /// Its command line, where that stays what it is.
    pub(crate) command: Vec<String>,
}

const RECORD_BYTES_MAX: u64 = 64 << 10;

impl RoleRecord {
    pub(crate) const FORMAT: u32 = 1;

    /// Reads a record; one that is absent, damaged or of another version is `None`, because a process is never signalled
    /// on the word of such a file.
    pub fn read(path: &Path) -> Option<Self> {
        let bytes = file::read_bounded(path, RECORD_BYTES_MAX).ok()?;
        let record: Self = serde_json::from_slice(&bytes).ok()?;
        (record.format == Self::FORMAT).then_some(record)
    }

    /// Puts down at `path` what was started.
    ///
    /// # Errors
    /// [`Error::Record`].
    pub(crate) fn put(
        path: PathBuf,
        role: Role,
        identity: Identity,
        port: u16,
        ran: Ran,
        started: Timestamp,
    ) -> Result<Self, Error> {
        let Ran { program: binary, config, command } = ran;
        let record = Self { format: Self::FORMAT, role, identity, command, port, binary, config, started };
        record.write(&path).map_err(|source| Error::Record { role, path, source })?;
        Ok(record)
    }

    pub(crate) fn write(&self, path: &Path) -> std::io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
        file::write_atomic(path, &bytes, 0o600)
    }

    /// Looks where a role should be, by its record. A record of something that ended is removed.
    pub(crate) fn observe(path: &Path) -> Observation {
        match Self::read(path) {
            Some(record) if record.is_alive() => Observation::Running(record),
            Some(_) => {
                // One that stays names a dead process, which the next look finds out.
                let _ = std::fs::remove_file(path);
                Observation::Ended { how: "ended while nobody watched".to_owned() }
            }
            None => Observation::Absent,
        }
    }

    /// Returns whether the recorded process lives and still is what was started.
    pub fn is_alive(&self) -> bool {
        let is_same = || self.command.is_empty() || command_line(self.identity.pid).as_ref() == Some(&self.command);
        self.identity.is_alive() && is_same()
    }
}
