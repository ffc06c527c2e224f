use std::{fmt, path::Path};

use base::{Timestamp, file};
use serde::{Deserialize, Serialize};

use crate::{Entitlement, Error};

/// Days before the end from which on the administrator is warned.
pub const WARNING_DAYS: i64 = 30;

/// Where a license stands in time. Answering and exporting never depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Standing {
    /// Its time has not come.
    NotYet,
    Valid,
    /// It ends within [`WARNING_DAYS`].
    Warning {
        days: i64,
    },
    /// It ended, and everything still works for `days` more.
    Grace {
        days: i64,
    },
    Expired,
}

impl Standing {
    /// Returns whether updates may be installed and new adapters trained.
    pub const fn allows_change(self) -> bool {
        matches!(self, Self::Valid | Self::Warning { .. } | Self::Grace { .. })
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet => f.write_str("not valid yet"),
            Self::Valid => f.write_str("valid"),
            Self::Warning { days } => write!(f, "valid, ends in {} {}", days, plural(*days)),
            Self::Grace { days } => {
                write!(f, "ended; updates and training stop in {} {}", days, plural(*days))
            }
            Self::Expired => f.write_str("ended; answering goes on, updates and training do not"),
        }
    }
}

const fn plural(days: i64) -> &'static str {
    if days == 1 { "day" } else { "days" }
}

impl Entitlement {
    /// Returns where the license stands at the later of `now` and the latest time seen.
    pub fn standing(&self, now: Timestamp, seen: &Seen) -> Standing {
        let now = seen.at_least(now);
        // A day that has begun counts as one, so that "0 days" is never said of something that still holds.
        let days_to = |end: Timestamp| now.days_until(end.plus_days(1)).max(1);
        if now < self.not_before() {
            Standing::NotYet
        } else if now.plus_days(WARNING_DAYS) < self.expires() {
            Standing::Valid
        } else if now < self.expires() {
            Standing::Warning { days: days_to(self.expires()) }
        } else if now < self.grace_ends() {
            Standing::Grace { days: days_to(self.grace_ends()) }
        } else {
            Standing::Expired
        }
    }
}

/// The latest time this installation has ever seen. It governs expiry in place of an earlier clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(Timestamp);

const FORMAT: u32 = 1;
const MAX_SEEN_BYTES: u64 = 4096;

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
    pub fn load(path: &Path) -> Result<Self, Error> {
        let bytes = match file::read_bounded(path, MAX_SEEN_BYTES) {
            Ok(bytes) => bytes,
            Err(file::ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::nothing());
            }
            Err(error) => return Err(Error::SeenRead(error)),
        };
        match serde_json::from_slice::<SeenFile>(&bytes) {
            Ok(file) if file.format == FORMAT => Ok(Self(file.latest_ms)),
            _ => Err(Error::SeenFormat { path: path.to_owned() }),
        }
    }

    /// Takes note of `now` in the file, atomically, and returns the latest time seen. An earlier clock writes nothing.
    pub fn note(path: &Path, now: Timestamp) -> Result<Self, Error> {
        let seen = Self::load(path)?;
        if now <= seen.0 {
            return Ok(seen);
        }
        let file = SeenFile { format: FORMAT, latest_ms: now };
        let failed = |source| Error::Write { path: path.to_owned(), source };
        let bytes = serde_json::to_vec(&file).map_err(|error| failed(error.into()))?;
        file::write_atomic(path, &bytes, 0o600).map_err(failed)?;
        Ok(Self(now))
    }

    /// Returns the later of `now` and the latest time seen.
    pub fn at_least(&self, now: Timestamp) -> Timestamp {
        self.0.max(now)
    }
}
