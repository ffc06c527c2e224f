use std::fmt;

use base::{Seen, Timestamp};
use serde::Serialize;

use crate::Entitlement;

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
