//! Looking after the tables: what is found, what is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::CommitId;

/// One row of the lake's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub commit: CommitId,
    pub committed_ms: i64,
    /// `ingest`, `interactions`, `version`, `upkeep` or `rollback`.
    pub kind: String,
    /// Whether every file of it is still there, so that it can be asked and exported.
    pub is_whole: bool,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    pub commit: CommitId,
    /// Rows of each table, by name.
    pub rows: BTreeMap<String, u64>,
    /// What is wrong, each a sentence; empty when all is well.
    pub faults: Vec<String>,
    /// What takes room and belongs to nothing; no harm.
    pub notes: Vec<String>,
    /// How well the nearest passages are found; absent where there are none.
    #[serde(default)]
    pub nearest: Option<Nearest>,
}

/// How search by vector finds the nearest passages, measured against an exact scan with passages of the lake as questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// `exact`: all vectors; `bytes`: all, rounded to bytes, and the best exactly; `groups`: the same in the groups nearest to the question.
    pub scan: String,
    /// The share of the ten nearest that is found, from 0 to 1.
    pub recall: f64,
}

/// What a vacuum removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vacuumed {
    /// The oldest commit that can still be asked.
    pub oldest: u64,
    pub files: u64,
    pub bytes: u64,
}

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    pub commit: CommitId,
    pub committed_ms: i64,
    /// Rows of each table, by name.
    pub tables: BTreeMap<String, u64>,
}
