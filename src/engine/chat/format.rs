//! What a chat model is asked, and what it answers.

use std::pin::Pin;

use futures::Stream;

use crate::Error;

/// How a chat model is opened.
#[derive(Clone, Copy, Debug)]
pub struct ChatOptions {
    /// The most tokens of prompt and answer together; the memory for all of them is taken at once.
    pub context_tokens: u32,
    /// Threads that compute.
    pub threads: u32,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The text. Control tokens written in it are text, never control.
    pub content: String,
}

impl ChatMessage {
    /// A message that tells the model how to behave.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: "system".into(), content: content.into() }
    }

    /// A message of the person who asks.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".into(), content: content.into() }
    }

    /// A message the model wrote.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: "assistant".into(), content: content.into() }
    }
}

/// What the model goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation, laid out with the model's own chat template.
    Messages(Vec<ChatMessage>),
    /// A text to be continued as it is. Control tokens written in it do control: it must come from the program, not from a stranger.
    Text(String),
}

/// One request for text.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    pub prompt: Prompt,
    /// The adapter to answer with; none is the base model.
    pub adapter: Option<String>,
    /// The most tokens of the answer. It also ends where the context does.
    pub max_tokens: usize,
    /// 0 always takes the likeliest token.
    pub temperature: f32,
    /// Sampling keeps the likeliest tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// The same seed, prompt and settings give the same answer, up to rounding in the prompt cache.
    pub seed: u64,
    /// The answer ends before the first of these texts.
    pub stop: Vec<String>,
}

impl GenerateRequest {
    /// A request for the likeliest answer of at most 256 tokens by the base model.
    pub fn new(prompt: Prompt) -> Self {
        Self { prompt, adapter: None, max_tokens: 256, temperature: 0.0, top_p: 1.0, seed: 0, stop: Vec::new() }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended it, or a stop text came.
    Stop,
    /// `max_tokens` or the context's end was reached.
    Length,
}

/// What a request cost, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    /// Prompt tokens that an earlier request had already computed.
    pub cached_tokens: usize,
}

/// A part of an answer. The last one, and only that, has `finish` and `usage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whole characters; may be empty.
    pub text: String,
    pub finish: Option<FinishReason>,
    pub usage: Option<Usage>,
}

/// An answer as it is made. Dropping it ends the work behind it.
pub type PieceStream = Pin<Box<dyn Stream<Item = Result<Piece, Error>> + Send>>;
