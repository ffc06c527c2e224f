//! `POST /v1/embeddings`.

use serde::{Deserialize, Serialize};

use super::WireUsage;
use crate::Kind;

/// `POST /v1/embeddings`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmbeddingRequest {
    pub model: String,
    pub input: EmbeddingInput,
    #[serde(default)]
    pub encoding_format: Encoding,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Our extension: which prefix the texts get. Absent, a text that starts with `query: ` or `passage: ` is taken as it is, and
    /// any other is a passage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_type: Option<InputType>,
    /// vLLM's extension: without it, vLLM refuses a text longer than the model looks at. Our role cuts in any case, and ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate_prompt_tokens: Option<i64>,
}

impl EmbeddingRequest {
    /// vLLM's word for a cut at the model's own length.
    pub const TO_THE_MODELS_LENGTH: i64 = -1;

    /// Puts into the texts what [`Self::input_type`] says, or would say if it were there, so that an engine that does not know it gives the
    /// same vectors. Token arrays stay as they are.
    pub fn prefixed(mut self) -> Self {
        let kind = self.input_type.take();
        let prefix = |text: String| prefixed(text, kind);
        self.input = match self.input {
            EmbeddingInput::Text(text) => EmbeddingInput::Text(prefix(text)),
            EmbeddingInput::Texts(texts) => EmbeddingInput::Texts(texts.into_iter().map(prefix).collect()),
            tokens => tokens,
        };
        self
    }
}

/// Puts the prefix before a text: what the request says, else what the text itself brings, else a passage's.
pub(crate) fn prefixed(text: String, kind: Option<InputType>) -> String {
    let kind = match kind {
        Some(InputType::Query) => Kind::Query,
        Some(InputType::Passage) => Kind::Passage,
        None if [Kind::Query, Kind::Passage].iter().any(|kind| text.starts_with(kind.prefix())) => return text,
        None => Kind::Passage,
    };
    format!("{}{text}", kind.prefix())
}

/// What is to be embedded. Token arrays are on the wire too; they are read only to be refused with a reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EmbeddingInput {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// A list of numbers.
    #[default]
    Float,
    /// Little-endian f32 values in base64, a fifth of the size.
    Base64,
}

/// What a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    Query,
    Passage,
}

/// The answer to [`EmbeddingRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmbeddingList {
    pub object: String,
    pub data: Vec<EmbeddingRow>,
    pub model: String,
    pub usage: WireUsage,
}

/// One vector.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EmbeddingRow {
    pub object: String,
    pub index: usize,
    pub embedding: Vector,
}

/// A vector as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Vector {
    Float(Vec<f32>),
    Base64(String),
}
