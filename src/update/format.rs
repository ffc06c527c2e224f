//! What lies on the disk: the settings (`update.yaml`, written by the administrator's commands), the state (`state.json`), the
//! history (`history.jsonl`). Written and read by this room alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base::{Slug, Timestamp};
pub use plan::UpdatePolicy as Policy;
use serde::{Deserialize, Serialize};
use stack::Identity;

use crate::Window;

/// What the administrator wants. Absent, nothing is ever looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Version of this format: 1.
    pub format: u32,
    /// Where releases come from: an https address, or a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Who decides.
    #[serde(default)]
    pub policy: Policy,
    /// When the stack may be stopped; always, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Days a release must have been seen before it is installed by itself. A machine with 0 is the canary of those that wait.
    #[serde(default)]
    pub wait_days: u32,
    /// How long a new release is watched before it stays.
    #[serde(default = "watch_minutes")]
    pub watch_minutes: u32,
    /// Most bytes per second of a download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_bytes: Option<u64>,
    /// A proxy for the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// A further certificate authority (PEM) for the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<PathBuf>,
}

const fn watch_minutes() -> u32 {
    3
}

impl Settings {
    /// The version of the format this program writes and reads.
    pub const FORMAT: u32 = 1;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: Self::FORMAT,
            channel: None,
            policy: Policy::default(),
            window: None,
            wait_days: 0,
            watch_minutes: watch_minutes(),
            rate_limit_bytes: None,
            proxy: None,
            certificate_authority: None,
        }
    }
}

/// What is remembered between runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of this format: 1.
    pub format: u32,
    /// Releases that are not installed, each with the reason.
    #[serde(default)]
    pub held: BTreeMap<semver::Version, String>,
    /// The release a person said yes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<semver::Version>,
    /// When each release was seen for the first time.
    #[serde(default)]
    pub seen: BTreeMap<semver::Version, Timestamp>,
    /// The update that is under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
}

impl State {
    /// The version of the format this program writes and reads.
    pub const FORMAT: u32 = 1;
}

impl Default for State {
    fn default() -> Self {
        Self { format: Self::FORMAT, held: BTreeMap::new(), approved: None, seen: BTreeMap::new(), attempt: None }
    }
}

/// How far an update is. Each is on the disk before its work begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The bundle is here and proven; the new stack is tried beside the old one.
    Rehearsing,
    /// It was good there; waits for the window.
    Ready,
    /// The stack is stopped, saved, and started as the new release.
    Switching,
    /// The new release serves and must prove itself.
    Watching,
    /// The new release stays; what can be done while it serves is being done.
    Committed,
    /// Everything is done.
    Finished,
    /// The old release is being put back.
    RollingBack,
    /// The old release serves again.
    RolledBack,
    /// It came to nothing before anything was touched.
    Refused,
}

impl Stage {
    /// Returns whether there is nothing left to do.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Finished | Self::RolledBack | Self::Refused)
    }

    /// Returns whether the old release is the one that counts: an interruption here ends in it.
    pub const fn is_before_commit(self) -> bool {
        !matches!(self, Self::Committed | Self::Finished)
    }
}

/// One update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// What ran when it began.
    pub from: semver::Version,
    /// What is to run.
    pub to: semver::Version,
    /// The proven bundle.
    pub bundle: PathBuf,
    /// Roots that are trusted for it beside those of `trust.d`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<PathBuf>,
    /// The new release's program, taken out of the bundle.
    pub program: PathBuf,
    /// The old release's program, which goes back.
    pub old_program: PathBuf,
    /// Whether the new release writes formats the old one does not: then going back takes the data back too.
    pub changes_data: bool,
    /// How far it is.
    pub stage: Stage,
    /// How often going back was begun, or loading the images failed. After [`Attempt::TRIES_MAX`] nobody tries again by himself.
    #[serde(default)]
    pub tries: u32,
    /// When it began.
    pub began: Timestamp,
    /// Whose stacks, in the order they are switched.
    pub customers: Vec<CustomerAttempt>,
    /// The program that works for us just now: whoever goes on after a crash ends it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<Identity>,
    /// How long the consoles did not answer, in milliseconds; the longest of all customers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime_ms: Option<u64>,
    /// Why it was not installed, or taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl Attempt {
    /// A way back that breaks off this often needs a person.
    pub const TRIES_MAX: u32 = 5;

    /// Returns the roots as the command line says them.
    pub(crate) fn root_words(&self) -> Vec<String> {
        self.roots.iter().flat_map(|root| ["--trust-root".to_owned(), root.display().to_string()]).collect()
    }

    /// Returns whether a program that died left work which must be done before anything else.
    pub fn is_broken_off(&self) -> bool {
        let is_open = matches!(self.stage, Stage::Switching | Stage::Watching | Stage::RollingBack | Stage::Committed);
        is_open && self.tries < Self::TRIES_MAX
    }
}

/// What an update is for one customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomerAttempt {
    /// Whose.
    pub slug: Slug,
    /// The golden questions, asked of the old release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Score>,
    /// The same, asked in the rehearsal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsed: Option<Score>,
    /// The same, asked of the new release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Score>,
}

/// How golden questions were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Answered as they should be.
    pub right: u32,
    /// Asked.
    pub asked: u32,
    /// Mean time of an answer.
    pub mean_ms: u64,
}

/// How an update ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The new release stays.
    Installed,
    /// The old one was put back.
    RolledBack,
    /// Nothing was touched.
    Refused,
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Version of this format: 1.
    pub format: u32,
    /// When it ended.
    pub at: Timestamp,
    /// What ran before.
    pub from: semver::Version,
    /// What was to run.
    pub to: semver::Version,
    /// How it ended.
    pub outcome: Outcome,
    /// As in [`Attempt::downtime_ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downtime_ms: Option<u64>,
    /// Why, when it was not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}
