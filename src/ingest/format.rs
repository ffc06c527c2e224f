//! What this room writes to disk and wire: the report and the events. Written by a run, read by the cli, the console and the agent;
//! both come from the same binary.

use std::collections::BTreeMap;

use base::{Exit, Timestamp};
use serde::{Deserialize, Serialize};

/// The version of `report.json` this program writes and reads.
pub const FORMAT: u32 = 1;

/// What came of one run, and how the folders stand after it.
///
/// `searchable`, `empty`, `failed` and `files` describe the state after the run, whenever a file was read; `added`, `changed`,
/// `moved`, `unchanged`, `regranted` and `removed` describe what this run did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub format: u32,
    pub started: Option<Timestamp>,
    pub folders: Vec<FolderReport>,
    /// Files that were there and not passed over.
    pub seen: u64,
    pub searchable: u64,
    pub empty: u64,
    pub failed: u64,
    /// Entries passed over: hidden, temporary, links, pipes, …
    pub skipped: u64,
    pub added: u64,
    pub changed: u64,
    /// Files whose content was known under another name.
    pub moved: u64,
    pub unchanged: u64,
    /// Known documents others may read than before.
    #[serde(default)]
    pub regranted: u64,
    pub removed: u64,
    /// Documents that were not found and kept all the same, because their folder could not be read.
    pub kept: u64,
    /// Files left out because the license allows no more documents.
    pub over_limit: u64,
    /// The passages the searchable documents have.
    pub chunks: u64,
    /// Documents of folders that were no part of this run.
    pub elsewhere: u64,
    pub bytes_read: u64,
    pub seconds: f64,
    /// Files read, not those found unchanged, per second of the whole run.
    pub files_per_second: f64,
    /// Passages embedded per second of the whole run.
    pub chunks_per_second: f64,
    pub stages: Stages,
    /// Whether the run was stopped before its end.
    pub interrupted: bool,
    /// What a person should know, each a sentence.
    pub notes: Vec<String>,
    /// How many files are not searchable, by kind of reason.
    pub reasons: BTreeMap<String, u64>,
    /// Every file that is not searchable, with the reason.
    pub files: Vec<FileReport>,
}

/// Seconds spent per stage. Stages run side by side, and several files at once: the sum is more than the run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    pub walk: f64,
    /// Reading and digesting.
    pub read: f64,
    pub extract: f64,
    pub chunk: f64,
    pub embed: f64,
    pub commit: f64,
}

/// One folder of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FolderReport {
    pub path: String,
    pub state: FolderState,
    pub files: u64,
    pub passed_over: u64,
    /// Documents kept although their files were not found.
    pub kept: u64,
}

/// What a folder was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FolderState {
    Read,
    /// It used to hold documents and holds none now: a share that is not mounted, most likely.
    Emptied,
    Missing,
    Unreadable,
    NotAFolder,
}

/// One file that cannot be found by search.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    pub source: String,
    pub path: String,
    pub status: FileStatus,
    pub reason: String,
}

/// Why a file cannot be found by search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    /// It could not be read.
    Failed,
    /// A handler read it that nobody approved.
    Quarantined,
    /// The license allows no more documents.
    OverLimit,
    /// It was read and holds no text.
    Empty,
    /// It was passed over.
    Skipped,
}

impl FileStatus {
    /// Returns the word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
            Self::OverLimit => "over the limit",
            Self::Empty => "empty",
            Self::Skipped => "skipped",
        }
    }
}

impl Report {
    /// Returns the code a command that made this report ends with. Files that cannot be read are no failure of the run.
    pub fn exit(&self) -> Exit {
        if self.interrupted {
            Exit::Interrupted
        } else if self.over_limit > 0 {
            Exit::Limit
        } else {
            Exit::Ok
        }
    }
}

/// What a run tells while it goes on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Folders are being listed.
    Walking {
        files: u64,
    },
    /// It is known what there is to do.
    Planned {
        files: u64,
        bytes: u64,
        unchanged: u64,
        removed: u64,
    },
    Progress(Progress),
    /// Documents became searchable (or were put down as unreadable) for good: a crash from here on does not lose them.
    Committed {
        documents: u64,
        chunks: u64,
    },
    /// A sentence for people.
    Note {
        text: String,
    },
    Finished(Box<Report>),
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub files_done: u64,
    /// Files to read; those found unchanged are no part of it.
    pub files_total: u64,
    pub bytes_done: u64,
    pub bytes_total: u64,
    pub chunks: u64,
    /// Absent as long as too little is known to say.
    pub eta_seconds: Option<u64>,
}
