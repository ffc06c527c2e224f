//! The room that answers: question → retrieve → prompt → generate → cite → record.
//!
//! A small model cannot cite and often babbles, so nothing it says is taken on trust. Whether the passages answer the question at all is decided before it is asked
//! (`support`); each sentence it writes is aligned to a piece of a passage and dropped if that piece does not support it (`align`); if none remains, the best piece
//! is quoted. What the passages do not support is not answered.
//!
//! Invariants:
//! - a sentence of an answer is sent only with a citation, and a citation's quote occurs verbatim in the chunk it names; only an abstention cites nothing;
//! - every exchange is recorded in the lake, or the answer's notes say that it was not;
//! - a language model that does not answer costs the phrasing, never the answer.
//!
//! It refuses to answer from the model's own knowledge, and it opens no model and no network connection itself: it is given a lake, an embedder and a chat model, near or far.

mod align;
mod asked;
mod brain;
mod candidates;
mod compose;
mod error;
#[cfg(test)]
mod exam;
mod format;
mod generate;
mod glossary;
mod language;
mod phrases;
mod prompt;
mod quote;
mod retrieve;
mod support;
mod units;
mod version;
mod words;

pub use brain::{Brain, QUESTION_CHARS};
pub use error::Error;
pub use format::{Answer, AskEvent, Citation, Passage, Question, Sentence, Timings, Turn, Usage};
pub use language::Language;
pub use prompt::messages;
pub use version::{BASE, VersionReader, promoted};
