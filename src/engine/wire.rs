//! The OpenAI wire, as far as the roles speak it, and vLLM's two adapter calls. Servers and clients share these types.
//!
//! Fields of the real wire that this engine does not know are ignored when they change nothing, and refused by name when they would
//! (see [`ChatCompletionRequest::unsupported`]).

mod embedding;

use serde::{Deserialize, Serialize};

pub(crate) use self::embedding::prefixed;
pub use self::embedding::{EmbeddingInput, EmbeddingList, EmbeddingRequest, EmbeddingRow, Encoding, InputType, Vector};
use crate::{ChatMessage, FinishReason, Usage};

/// `GET /v1/models`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelList {
    pub object: String,
    pub data: Vec<Model>,
}

/// One model of [`ModelList`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Model {
    pub id: String,
    pub object: String,
    pub created: i64,
    pub owned_by: String,
    /// vLLM's field: the model an adapter stands on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// vLLM's field: the most tokens of prompt and answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_model_len: Option<usize>,
}

impl ModelList {
    /// A list of models owned by this installation.
    pub fn new(data: Vec<Model>) -> Self {
        Self { object: "list".into(), data }
    }
}

impl Model {
    /// A model served since `created` (seconds since 1970).
    pub fn new(id: impl Into<String>, created: i64) -> Self {
        Self {
            id: id.into(),
            object: "model".into(),
            created,
            owned_by: "0711".into(),
            parent: None,
            max_model_len: None,
        }
    }
}

/// One text or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    /// Returns the texts.
    pub fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

/// `POST /v1/chat/completions`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ChatCompletionRequest {
    pub model: String,
    pub messages: Vec<Message>,
    #[serde(flatten)]
    pub settings: Settings,
}

/// `POST /v1/completions`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CompletionRequest {
    pub model: String,
    pub prompt: OneOrMany,
    #[serde(flatten)]
    pub settings: Settings,
}

/// What both kinds of completion can be asked. An absent value is the engine's default.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<OneOrMany>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_format: Option<serde_json::Value>,
    /// `true` (chat) or a number (completions): both refused unless they ask for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<serde_json::Value>,
}

/// What a stream shall carry besides text.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct StreamOptions {
    #[serde(default)]
    pub include_usage: bool,
}

impl Settings {
    /// Returns the most tokens of the answer, under either of the names the wire has had.
    pub fn answer_tokens(&self) -> Option<usize> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// Returns the first field that asks for something this engine cannot do: better refused than silently left undone.
    pub fn unsupported(&self) -> Option<&'static str> {
        let not_zero = |value: Option<f32>| value.is_some_and(|value| value != 0.0);
        let format = self.response_format.as_ref().and_then(|format| format["type"].as_str());
        let asks_logprobs = |value: &serde_json::Value| !value.is_null() && *value != serde_json::Value::Bool(false);
        if self.n.is_some_and(|n| n != 1) {
            Some("n")
        } else if not_zero(self.frequency_penalty) {
            Some("frequency_penalty")
        } else if not_zero(self.presence_penalty) {
            Some("presence_penalty")
        } else if self.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
            Some("tools")
        } else if format.is_some_and(|format| format != "text") {
            Some("response_format")
        } else if self.logprobs.as_ref().is_some_and(asks_logprobs) {
            Some("logprobs")
        } else {
            None
        }
    }
}

/// A message as it is sent: its content is a text, or parts of which only texts are taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    #[serde(default)]
    pub content: Content,
}

/// The content of a [`Message`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    Text(String),
    Parts(Vec<Part>),
    None(()),
}

impl Default for Content {
    fn default() -> Self {
        Self::None(())
    }
}

/// A part of a message's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub text: Option<String>,
}

impl Message {
    /// Returns the message as the engine takes it, or the kind of a part that is not text.
    pub fn into_chat(self) -> Result<ChatMessage, String> {
        // OpenAI's newer name for the system role; the models' templates know the older one.
        let role = if self.role == "developer" { "system".to_owned() } else { self.role };
        let content = match self.content {
            Content::Text(text) => text,
            Content::None(()) => String::new(),
            Content::Parts(parts) => {
                let texts: Result<Vec<String>, String> =
                    parts.into_iter().map(|part| part.text.filter(|_| part.kind == "text").ok_or(part.kind)).collect();
                texts?.join("\n")
            }
        };
        Ok(ChatMessage { role, content })
    }
}

impl From<ChatMessage> for Message {
    fn from(message: ChatMessage) -> Self {
        Self { role: message.role, content: Content::Text(message.content) }
    }
}

/// An answer to either kind of completion, whole or one event of a stream: `object` says which.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Completion {
    pub id: String,
    pub object: String,
    pub created: i64,
    pub model: String,
    pub choices: Vec<Choice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<WireUsage>,
}

/// The answer proper: `message` in a whole chat answer, `delta` in a chat stream, `text` in completions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Choice {
    pub index: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<Delta>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default)]
    pub logprobs: Option<serde_json::Value>,
    pub finish_reason: Option<String>,
}

/// What an event of a chat stream adds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Delta {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// What a request cost.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct WireUsage {
    pub prompt_tokens: usize,
    #[serde(default)]
    pub completion_tokens: usize,
    pub total_tokens: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_details: Option<PromptTokens>,
}

/// How the prompt's tokens were come by.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct PromptTokens {
    #[serde(default)]
    pub cached_tokens: usize,
}

impl From<Usage> for WireUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details: Some(PromptTokens { cached_tokens: usage.cached_tokens }),
        }
    }
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            cached_tokens: usage.prompt_tokens_details.map_or(0, |details| details.cached_tokens),
        }
    }
}

impl FinishReason {
    /// Returns the word the wire has for it.
    pub const fn wire(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// `POST /v1/load_lora_adapter`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadAdapterRequest {
    pub lora_name: String,
    pub lora_path: std::path::PathBuf,
}

/// `POST /v1/unload_lora_adapter`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnloadAdapterRequest {
    pub lora_name: String,
}

/// The body of every refusal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// What was refused, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorDetail {
    pub message: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub param: Option<String>,
    /// A word; of vLLM, the status as a number.
    #[serde(default)]
    pub code: Option<serde_json::Value>,
}
