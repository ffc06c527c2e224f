//! What happened, and what probes met: on the wire, and line by line in two files of the agent's.
//!
//! `var/agent/events.jsonl` holds one [`AgentEvent`] a line, `var/SLUG/probes.jsonl` one [`ProbeLine`] a line, each with the line's
//! format first. Both are written by `agent` alone, are capped (an older part stands beside each with `.1`), and may be read by anyone
//! who may read the folder; a last line that is torn is passed over.

use std::path::{Path, PathBuf};

use base::{CustomerLayout, Layout, Role, Slug, Timestamp, file};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentEvent {
    /// Version of this format: 1.
    pub format: u32,
    /// Counted from 1; goes on after the agent was started anew.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What it is about.
    pub kind: EventKind,
    /// Whose, where it is one customer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Slug>,
    /// Which, where it is one role's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What, for people.
    pub message: String,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The agent itself.
    Agent,
    /// A person's order.
    Order,
    /// A role started, became ready, or ended.
    Role,
    /// A role did not do its work, or does it again.
    Work,
    /// The container engine went, or came back.
    Engine,
    /// Room on the disks.
    Disk,
    /// Something is not as it was installed.
    Drift,
    /// The machine changed.
    Host,
    /// The license.
    License,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Agent,
        Self::Order,
        Self::Role,
        Self::Work,
        Self::Engine,
        Self::Disk,
        Self::Drift,
        Self::Host,
        Self::License,
    ];

    /// Returns the word used on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Order => "order",
            Self::Role => "role",
            Self::Work => "work",
            Self::Engine => "engine",
            Self::Disk => "disk",
            Self::Drift => "drift",
            Self::Host => "host",
            Self::License => "license",
        }
    }
}

/// What one probe met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeLine {
    /// Version of this format: 1.
    pub format: u32,
    /// When it was over.
    pub at: Timestamp,
    /// Who was asked.
    pub role: Role,
    /// What came of it.
    pub verdict: WorkVerdict,
    /// How long the job took; absent where none was needed or none came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
    /// What was found, or why it failed.
    pub note: String,
}

/// Whether a role does the work it is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkVerdict {
    /// It did a small job, or was seen doing real ones.
    Good,
    /// The job waited behind real work, which went on meanwhile.
    Busy,
    /// It could not, because a role it needs does not run.
    Blocked,
    /// It could not be asked.
    Unknown,
    /// It did not do it, or did it wrong.
    Failing,
}

impl WorkVerdict {
    /// Returns one word for a table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
            Self::Failing => "failing",
        }
    }
}

/// The largest part of one of the files; the agent writes less.
const PART_BYTES_MAX: u64 = 16 << 20;

/// Reads what happened, oldest first, as far back as the files go. Needs no agent.
pub fn past_events(layout: &Layout) -> Vec<AgentEvent> {
    read_lines(&layout.agent_events())
}

/// Reads what the probes of a customer's roles met, oldest first, as far back as the files go. Needs no agent.
pub fn past_probes(layout: &CustomerLayout) -> Vec<ProbeLine> {
    read_lines(&layout.probes())
}

/// Returns where the older part of a capped file stands.
pub fn older_part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Reads both parts of a capped file of lines; what cannot be read, or is of another version, is passed over.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let mut all = Vec::new();
    for part in [older_part(path), path.to_owned()] {
        let bytes = file::read_bounded(&part, PART_BYTES_MAX).unwrap_or_default();
        all.extend(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
    }
    all
}
