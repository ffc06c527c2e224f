//! What crosses the room's face: questions, events, answers. These types are also the wire of `ask --json` and of the console.

use base::Rights;
use serde::{Deserialize, Serialize};

use crate::language::Language;

/// A question to the brain.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub text: String,
    /// Earlier turns of this conversation, oldest first; used only to understand a follow-up.
    pub history: Vec<Turn>,
    /// How many passages to retrieve; 0 means the default of 24.
    pub k: usize,
    /// `base` or `vN`; without it, the version the registry promotes now.
    pub version: Option<String>,
    /// Who asked (`cli`, `api`, `console`); recorded with the exchange.
    pub asker: String,
    /// What the one who asks may read; nothing else is looked at.
    pub rights: Rights,
}

impl Question {
    /// Returns a question without history, answered by the promoted version, of somebody who may read everything.
    pub fn new(text: impl Into<String>, asker: impl Into<String>) -> Self {
        Self { text: text.into(), asker: asker.into(), ..Self::default() }
    }
}

/// One earlier exchange.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Turn {
    pub question: String,
    pub answer: String,
}

/// A retrieved passage, as it was weighed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Passage {
    pub document: String,
    pub source: String,
    pub place: String,
    pub heading: String,
    pub text: String,
    pub score: f32,
    /// Cosine similarity to the question, where the vector index found it.
    pub similarity: Option<f32>,
    pub chunk_id: String,
    pub document_id: String,
}

/// Where a sentence of the answer comes from. `quote` occurs verbatim in the chunk named by `chunk_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// Counts from 1 within an answer; the marker `[n]` in the text.
    pub n: u32,
    pub document: String,
    pub source: String,
    pub place: String,
    pub quote: String,
    pub chunk_id: String,
    pub document_id: String,
}

/// A sentence of the answer with the citation it is supported by; the sentence of an abstention has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentence {
    pub text: String,
    pub citation: Option<u32>,
}

/// Where the time of an answer went, in milliseconds. `prefill_ms` runs until the model's first piece.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    pub embed_ms: u64,
    pub search_ms: u64,
    pub prefill_ms: u64,
    pub generate_ms: u64,
    pub total_ms: u64,
}

/// Tokens the language model read and wrote for an answer; none when it was not asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
}

/// A finished answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The sentences joined, each followed by its marker `[n]`.
    pub text: String,
    pub abstained: bool,
    pub language: Language,
    pub sentences: Vec<Sentence>,
    pub citations: Vec<Citation>,
    /// Who phrased it: `base` or `vN`; an answer quoted from the passages names the version that was asked.
    pub version: String,
    /// Whether the sentences are quoted from the passages rather than phrased by the model.
    pub quoted: bool,
    /// How well the passages support an answer, 0 to 1 (see `support.rs`).
    pub support: f32,
    pub timings: Timings,
    pub usage: Usage,
    /// The exchange's id in the lake, for feedback; absent when it could not be recorded.
    pub interaction_id: Option<String>,
    /// What the reader should know: the model did not answer, the exchange was not recorded.
    pub notes: Vec<String>,
}

/// What happens while a question is answered, in this order: `Retrieved`, then per sentence its `Citation` (when new) and the `Sentence`, then `Done`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AskEvent {
    Retrieved { passages: Vec<Passage> },
    Citation(Citation),
    Sentence(Sentence),
    Done(Box<Answer>),
}
