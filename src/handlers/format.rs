//! What this room writes to disk. Written by the cli and, for what waits, by the role `ingest`; read by both, which are the same
//! program.

use std::path::PathBuf;

use base::{Digest, Timestamp};
use extract::handler::{Analysis, Kind, Validation};
use serde::{Deserialize, Serialize};

/// The version of every file here.
pub const FORMAT: u32 = 1;

/// A registered handler: `NAME/handler.json`, beside `NAME/handler.py`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub format: u32,
    pub name: String,
    /// The files it is for.
    pub kind: Kind,
    /// Of the source.
    pub digest: Digest,
    /// What it reads, in a sentence.
    pub summary: String,
    pub origin: Origin,
    pub registered: Timestamp,
    pub state: State,
    /// Who decided, and when. Absent as long as nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    pub validation: Validation,
}

/// Whether a handler's records count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It runs, and its records are quarantined.
    Waiting,
    Approved,
    /// It does not run.
    Rejected,
}

impl State {
    /// Returns the word used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting for approval",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

/// A decision about a handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// A person's account, or `policy`.
    pub by: String,
    pub at: Timestamp,
}

/// Who wrote a handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Origin {
    Person,
    Model { author: String, model: String, rounds: u32 },
}

impl Origin {
    /// Returns the words used in tables.
    pub fn describe(&self) -> String {
        match self {
            Self::Person => "a person".to_owned(),
            Self::Model { author, model, .. } => format!("{author} ({model})"),
        }
    }
}

/// Files of one kind that wait for a handler: `pending/KIND.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub format: u32,
    pub kind: Kind,
    /// Of the file that came first, with a masked sample of it.
    pub analysis: Analysis,
    /// Some of the files, newest last.
    pub files: Vec<PathBuf>,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// Whether the files are searchable as plain text meanwhile.
    pub is_text: bool,
    /// Why they wait, where there is more to say than that there is no handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an administrator wants of handlers: `handlers.yaml`. The default sends nothing anywhere and approves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub format: u32,
    pub approve: Approval,
    pub write: Writing,
    /// How often a model may mend its handler.
    pub repair_rounds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claude: Option<Claude>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<Local>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: FORMAT,
            approve: Approval::Person,
            write: Writing::Asked,
            repair_rounds: 3,
            claude: None,
            local: None,
        }
    }
}

/// Who approves a handler that passed its validation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Approval {
    #[default]
    Person,
    /// The validation alone. Somebody must choose this.
    Automatic,
}

/// When a model is asked for a handler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Writing {
    /// When somebody types `0711 handlers write`.
    #[default]
    Asked,
    /// After each ingestion, for every kind that waits.
    Automatic,
}

/// Claude, through the Anthropic Messages API. Its presence is the permission to send samples there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claude {
    /// `https://api.anthropic.com`, or whatever stands before it.
    pub base_url: String,
    pub model: String,
    /// A file only its owner may read.
    pub key_file: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Certificates of a further authority (PEM), where a proxy opens the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<PathBuf>,
    /// Who allowed it, and when.
    pub allowed: Decision,
}

impl Claude {
    pub const BASE_URL: &str = "https://api.anthropic.com";
    pub const MODEL: &str = "claude-sonnet-4-5";
}

/// A model that speaks the OpenAI wire, on this machine or in this network. Without it, the role `llm` is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    pub base_url: String,
    pub model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}
