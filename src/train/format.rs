//! Everything of this room that crosses disk or wire.
//!
//! `version.json` and `registry.json` are written here alone; `llm`, `answer`, `console` and the CLI read them.

use base::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// The version of the files this room writes and reads.
pub const FORMAT: u32 = 1;

/// What the gate said about a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It is better than what was served, and is served now.
    Promoted,
    /// It is kept but not served; the reason says why.
    Refused,
}

impl Decision {
    /// Returns the word in the files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Refused => "refused",
        }
    }
}

/// How far the serving engine, with the GGUF twin, agrees with the trainer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Positions compared.
    pub positions: usize,
    /// Share of positions where both think the same token the likeliest.
    pub top1: f64,
    /// Mean of KL(trainer ‖ engine) over the positions, in nats.
    pub mean_kl: f64,
    /// Share of positions where the engine's likeliest token is the trainer's when neither has the
    /// adapter: what the engine's number formats cost by themselves.
    pub base_top1: f64,
    /// The same for the divergence.
    pub base_mean_kl: f64,
}

/// `version.json`: where an adapter comes from, what it is worth, what was decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionFile {
    /// [`FORMAT`].
    pub format: u32,
    /// `v1`, `v2`, …
    pub version: String,
    pub created: Timestamp,
    /// The base model's catalogue name and digest.
    pub base_name: String,
    pub base: Digest,
    /// Of the examples, learnt and held out.
    pub data: Digest,
    pub documents: usize,
    pub held_out_documents: Vec<String>,
    /// Confirmed or corrected exchanges learnt from.
    pub exchanges: usize,
    /// Whether all of it was what everybody may read; where permissions are on, no other version answers.
    #[serde(default)]
    pub is_public: bool,
    pub seed: u64,
    pub minutes: u32,
    pub rank: usize,
    pub alpha: f32,
    /// Updates made, and the one whose adapter was kept.
    pub steps: u32,
    pub best_step: u32,
    /// Tokens read, over all epochs.
    pub tokens: u64,
    /// Held-out perplexity without and with the adapter, and of the version served so far.
    pub perplexity_before: f64,
    pub perplexity_after: f64,
    #[serde(default)]
    pub perplexity_served: Option<f64>,
    pub agreement: Option<Agreement>,
    /// The version that was served when this one was made.
    pub parent: Option<String>,
    pub decision: Decision,
    pub reason: String,
    /// The run that made it: a run that was interrupted after this file was written is not made twice.
    pub run: String,
}

/// One version in `registry.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionEntry {
    pub name: String,
    /// The folder below `loras/`.
    pub dir: String,
    pub created: Timestamp,
    pub decision: Decision,
    pub reason: String,
    pub perplexity_before: f64,
    pub perplexity_after: f64,
    /// The engine could load it and agreed with the trainer; only such a version may be promoted.
    pub servable: bool,
    /// As in [`VersionFile`]: what answers is decided by one file alone.
    #[serde(default)]
    pub is_public: bool,
    pub run: String,
}

/// What happened to the promoted version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    Added,
    Promoted,
    RolledBack,
}

/// One line of the registry's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    pub at: Timestamp,
    pub event: Event,
    /// The version it happened to; on a rollback the one served from then on, `base` for none.
    pub version: String,
    /// What was served before; absent for `base`.
    pub before: Option<String>,
}

/// `registry.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RegistryFile {
    pub(crate) format: u32,
    pub(crate) promoted: Option<String>,
    pub(crate) versions: Vec<VersionEntry>,
    pub(crate) history: Vec<HistoryEntry>,
}

/// What a run came to; also the result of the role's job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`FORMAT`].
    pub format: u32,
    /// Absent when there was too little to learn from.
    pub version: Option<String>,
    /// `promoted`, `refused` or `skipped`.
    pub decision: String,
    pub reason: String,
    pub perplexity_before: Option<f64>,
    pub perplexity_after: Option<f64>,
    pub steps: u32,
    pub tokens: u64,
    pub seconds: f64,
    /// Of the training steps alone.
    pub tokens_per_second: f64,
    pub agreement: Option<Agreement>,
    /// The folder below `loras/`.
    pub dir: Option<String>,
}

/// Parameters of the role's job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainParams {
    /// The budget; the configuration's when absent.
    #[serde(default)]
    pub minutes: Option<u32>,
    #[serde(default)]
    pub seed: Option<u64>,
}
