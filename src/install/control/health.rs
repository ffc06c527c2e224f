//! How well things are, beyond running or not: the parts of the status that the agent finds out by looking and asking.

use std::path::PathBuf;

use base::{Role, Timestamp};
use serde::{Deserialize, Serialize};

use super::WorkVerdict;

/// How a role does its work, by the last probe and those before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkStatus {
    /// What came of the last probe.
    pub verdict: WorkVerdict,
    /// When that was.
    pub at: Timestamp,
    /// What was found, or why it failed.
    pub note: String,
    /// How long the last job took.
    pub took_ms: Option<u64>,
    /// The median over the probes remembered.
    pub p50_ms: Option<u64>,
    /// The time one in twenty exceeds.
    pub p95_ms: Option<u64>,
    /// Failures in a row; two are one too many.
    pub failures: u32,
    /// Whether starting it anew did not help, and it was left running for what it still does.
    pub gave_up: bool,
}

/// How full the disks are, and what is not done because of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// What holds now.
    pub stage: DiskStage,
    /// Which disk is why, and by how much; empty where there is room.
    pub why: String,
    /// The disks that matter.
    pub disks: Vec<DiskRoom>,
}

/// What is not done any more while a disk is short of room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskStage {
    /// There is room.
    #[default]
    Room,
    /// It is told to people.
    Warn,
    /// Training and ingestion rest.
    Hold,
    /// The tables are not written either; questions are answered, and kept in the lake's journal.
    Protect,
}

/// Room on one file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRoom {
    /// A path on it.
    pub path: PathBuf,
    /// What it holds, for people.
    pub purpose: String,
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Its size.
    pub total_bytes: u64,
    /// Files that can still be made.
    pub free_files: u64,
    /// Files it can hold; 0 where it does not count them.
    pub total_files: u64,
}

/// Something that is not as it was installed, with its cause and its cure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Drift {
    /// What, in one word: `container`, `image`, `config`, `compose`, `license`, `model`, `binary`, `port`, `adapter`, `certificate`.
    pub what: String,
    /// Which role it concerns, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What was seen.
    pub cause: String,
    /// The act that mends it.
    pub remedy: String,
}

/// What is known of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// When all was last well for five minutes, and the machine was taken note of.
    pub good_at: Option<Timestamp>,
    /// What is different now, each in one sentence.
    pub changes: Vec<String>,
}
