use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Exit, Explain, Remedy, Timestamp, file};

const FORMAT: u32 = 1;
const MAX_SEEN_BYTES: u64 = 4096;

/// The latest time ever seen. It governs expiry in place of an earlier clock, so that a clock set back gains nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(Timestamp);

/// The file of the latest time seen cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    #[error("cannot read the latest time seen")]
    Read(#[source] file::ReadError),
    #[error("`{path}` does not hold the latest time seen", path = .path.display())]
    Format { path: PathBuf },
    #[error("cannot write `{path}`", path = .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Explain for SeenError {
    fn remedy(&self) -> Option<Remedy> {
        Some(Remedy::new(match self {
            Self::Read(_) => "check the rights of the file".to_owned(),
            Self::Format { path } => format!("remove `{}`; it is written anew", path.display()),
            Self::Write { .. } => "check that the folder exists and that you may write there".to_owned(),
        }))
    }

    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenFile {
    format: u32,
    latest_ms: Timestamp,
}

impl Seen {
    /// Nothing was seen yet.
    pub const fn nothing() -> Self {
        Self(Timestamp::from_millis(i64::MIN))
    }

    /// Reads the file; where there is none, nothing was seen.
    pub fn load(path: &Path) -> Result<Self, SeenError> {
        let bytes = match file::read_bounded(path, MAX_SEEN_BYTES) {
            Ok(bytes) => bytes,
            Err(file::ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::nothing());
            }
            Err(error) => return Err(SeenError::Read(error)),
        };
        match serde_json::from_slice::<SeenFile>(&bytes) {
            Ok(file) if file.format == FORMAT => Ok(Self(file.latest_ms)),
            _ => Err(SeenError::Format { path: path.to_owned() }),
        }
    }

    /// Takes note of `now` in the file, atomically, and returns the latest time seen. An earlier clock writes nothing.
    pub fn note(path: &Path, now: Timestamp) -> Result<Self, SeenError> {
        let seen = Self::load(path)?;
        if now <= seen.0 {
            return Ok(seen);
        }
        let file = SeenFile { format: FORMAT, latest_ms: now };
        let failed = |source| SeenError::Write { path: path.to_owned(), source };
        let bytes = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
        file::write_atomic(path, &bytes, 0o600).map_err(failed)?;
        Ok(Self(now))
    }

    /// Returns the later of `now` and the latest time seen.
    pub fn at_least(&self, now: Timestamp) -> Timestamp {
        self.0.max(now)
    }
}
