//! The two wires a model is asked over: what is sent, what comes back, and nothing of either that is not used.

use serde::{Deserialize, Serialize};

/// The version of the Messages API this program speaks.
pub(crate) const ANTHROPIC_VERSION: &str = "2023-06-01";

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Turn {
    pub role: Role,
    pub content: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    User,
    Assistant,
}

/// The body of `POST /v1/messages`.
#[derive(Serialize)]
pub(crate) struct MessagesRequest<'a> {
    pub model: &'a str,
    pub max_tokens: u32,
    pub system: &'a str,
    pub messages: &'a [Turn],
}

/// Its answer.
#[derive(Deserialize)]
pub(crate) struct MessagesAnswer {
    pub content: Vec<Content>,
    pub model: String,
    pub stop_reason: Option<String>,
    #[serde(default)]
    pub usage: MessagesUsage,
}

/// A part of an answer; parts of other types than `text` have no text.
#[derive(Deserialize)]
pub(crate) struct Content {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub text: String,
}

#[derive(Default, Deserialize)]
pub(crate) struct MessagesUsage {
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
}

/// The body of `POST /v1/chat/completions`.
#[derive(Serialize)]
pub(crate) struct ChatRequest<'a> {
    pub model: &'a str,
    pub max_tokens: u32,
    pub temperature: f32,
    pub messages: &'a [Turn],
    pub stream: bool,
}

/// Its answer.
#[derive(Deserialize)]
pub(crate) struct ChatAnswer {
    pub choices: Vec<Choice>,
    #[serde(default)]
    pub model: String,
    #[serde(default)]
    pub usage: ChatUsage,
}

#[derive(Deserialize)]
pub(crate) struct Choice {
    pub message: ChoiceMessage,
    pub finish_reason: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct ChoiceMessage {
    #[serde(default)]
    pub content: Option<String>,
}

#[derive(Default, Deserialize)]
pub(crate) struct ChatUsage {
    pub prompt_tokens: Option<u64>,
    pub completion_tokens: Option<u64>,
}

/// The models a server of the OpenAI wire has, with the room each of them has where it says so (vLLM's field).
#[derive(Deserialize)]
pub(crate) struct ModelList {
    pub data: Vec<ModelCard>,
}

#[derive(Deserialize)]
pub(crate) struct ModelCard {
    pub id: String,
    pub max_model_len: Option<u64>,
}

/// A refusal, which has the same shape on both wires.
#[derive(Deserialize)]
pub(crate) struct Refusal {
    pub error: RefusalText,
}

#[derive(Deserialize)]
pub(crate) struct RefusalText {
    pub message: String,
}
