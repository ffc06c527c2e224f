use base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::RoleRecord;

/// How a role stands, as the agent sees and reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RoleState {
    /// It runs and has not yet said that it is ready.
    Starting,
    /// It runs and answers.
    Ready,
    /// It runs, was ready once, and does not answer.
    Unhealthy {
        /// What the probe met.
        reason: String,
    },
    /// It does not run, and should not.
    Stopped,
    /// It ended by itself and will be started again.
    BackingOff {
        /// When.
        until: Timestamp,
    },
    /// It ended too often; it stays down until somebody runs `0711 start`.
    NeedsAPerson {
        /// How it ended the last time.
        reason: String,
    },
}

impl RoleState {
    /// Returns one or two words for a table.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unhealthy { .. } => "unhealthy",
            Self::Stopped => "stopped",
            Self::BackingOff { .. } => "restarting",
            Self::NeedsAPerson { .. } => "needs a person",
        }
    }
}

/// What a readiness probe met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// `200`.
    Ready,
    /// `503`: it is on its way.
    Starting,
    /// No answer in time, or another one.
    Failing(String),
    /// It could not be asked: the engine does not say where it is.
    Unknown(String),
}

/// What was found where a role should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It runs, whoever started it.
    Running(RoleRecord),
    /// It ran, and ended since it was last looked at.
    Ended {
        /// In words: `exit code 1`, `signal 9`, or that nobody saw it.
        how: String,
    },
    /// There is none.
    Absent,
}
