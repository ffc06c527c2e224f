//! The lines of a log. Written and read by this room alone.
//!
//! ```text
//! {"format":1,"seq":7,"at":1763812800000,"who":{…},"act":"promote","object":"v2","outcome":"ok","previous":"sha256:…","digest":"sha256:…"}
//! ```
//!
//! `digest` is the sha256 of the line's bytes before `,"digest"`, and `previous` is the digest of the line before, in this file or
//! at the end of the one before it: `sed 's/,"digest".*//' | tr -d '\n' | sha256sum` checks a line without this program.

use base::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text::plain;
use crate::{Error, Who};

/// The version this program writes and reads.
pub const FORMAT: u32 = 1;
/// Bounded texts, a signature and two digests stay far below this.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 10;
const OBJECT_CHARACTERS_MAX: usize = 256;
const DETAIL_CHARACTERS_MAX: usize = 512;
/// What the first record follows.
pub(crate) const BEGINNING: [u8; 32] = [0; 32];

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    Install,
    Uninstall,
    /// A license was put in place, or replaced by another.
    License,
    ConfigChange,
    Update,
    Approve,
    Promote,
    Rollback,
    Start,
    Stop,
    Restart,
    Login,
    LoginFailed,
    Logout,
    Export,
    Backup,
    Restore,
    SupportBundle,
    /// The installation's key was made; the object is its public half.
    Key,
    /// The records so far are signed.
    Checkpoint,
    /// A crash had torn the last line; it was cut off.
    Mended,
    /// Records that had been written were found changed or missing.
    Damaged,
}

impl Act {
    /// Returns the word used in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Uninstall => "uninstall",
            Self::License => "license",
            Self::ConfigChange => "config-change",
            Self::Update => "update",
            Self::Approve => "approve",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Login => "login",
            Self::LoginFailed => "login-failed",
            Self::Logout => "logout",
            Self::Export => "export",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::SupportBundle => "support-bundle",
            Self::Key => "key",
            Self::Checkpoint => "checkpoint",
            Self::Mended => "mended",
            Self::Damaged => "damaged",
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was ordered; how it ends is another record, or nothing when it was cut off.
    Begun,
    Ok,
    Failed,
    /// It was not allowed.
    Refused,
}

impl Outcome {
    /// Returns the word used in files and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// What is to be recorded. Texts may come from outside; a secret must not be among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(crate) who: Who,
    pub(crate) act: Act,
    pub(crate) object: String,
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
}

impl Entry {
    /// An act that was done.
    pub fn new(who: Who, act: Act) -> Self {
        Self { who, act, object: String::new(), outcome: Outcome::Ok, detail: String::new() }
    }

    /// To what: at most 256 characters are kept.
    #[must_use]
    pub fn object(mut self, text: impl AsRef<str>) -> Self {
        self.object = plain(text.as_ref(), OBJECT_CHARACTERS_MAX);
        self
    }

    /// What became of it.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// More about it: at most 512 characters are kept.
    #[must_use]
    pub fn detail(mut self, text: impl AsRef<str>) -> Self {
        self.detail = plain(text.as_ref(), DETAIL_CHARACTERS_MAX);
        self
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// Counted from 0 without a gap.
    pub seq: u64,
    pub at: Timestamp,
    pub who: Who,
    pub act: Act,
    /// To what: a version, a role, a license's id.
    pub object: String,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// How far another log had come when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// A signature over the record before, of a [`Act::Checkpoint`]: a DSSE envelope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Value>,
    /// Digest of the record before.
    pub previous: Digest,
}

/// The end of another log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Its name.
    pub log: String,
    pub seq: u64,
    pub digest: Digest,
}

/// The end of a log: its last record. The content of a head file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    pub seq: u64,
    pub digest: Digest,
}

impl Head {
    pub(crate) fn new(seq: u64, digest: Digest) -> Self {
        Self { format: FORMAT, seq, digest }
    }
}

/// What a checkpoint signs.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    pub(crate) format: u32,
    /// Which log of which customer.
    pub(crate) log: String,
    pub(crate) seq: u64,
    pub(crate) digest: Digest,
}

pub(crate) const CHECKPOINT_TYPE: &str = "application/vnd.0711.audit-checkpoint.v1+json";

const NECK: &str = ",\"digest\":\"";

/// Returns a record's line, without its newline, and its digest.
pub(crate) fn encode(record: &Record) -> Result<(String, Digest), Error> {
    let mut line = serde_json::to_string(record).map_err(Error::Json)?;
    // The closing brace.
    line.pop();
    let digest = Digest::of(line.as_bytes());
    line += &foot(&digest);
    if line.len() > LINE_BYTES_MAX {
        return Err(Error::TooLong { bytes: line.len() });
    }
    Ok((line, digest))
}

fn foot(digest: &Digest) -> String {
    format!("{NECK}{digest}\"}}")
}

/// Reads a line without its newline; `None` when it is not, byte for byte, what was written.
pub(crate) fn decode(line: &[u8]) -> Option<(Record, Digest)> {
    let at = line.len().checked_sub(foot(&Digest::from_bytes(BEGINNING)).len())?;
    let (body, found) = line.split_at(at);
    let digest = Digest::of(body);
    if found != foot(&digest).as_bytes() {
        return None;
    }
    let record: Record = serde_json::from_slice(&[body, b"}"].concat()).ok()?;
    (record.format == FORMAT).then_some((record, digest))
}

/// Returns the format of a line that is of another one.
pub(crate) fn other_format(line: &[u8]) -> Option<u64> {
    let value: Value = serde_json::from_slice(line).ok()?;
    value.get("format")?.as_u64().filter(|format| *format != u64::from(FORMAT))
}
