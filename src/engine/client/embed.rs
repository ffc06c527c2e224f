//! The role `embed` from outside.

use std::sync::Arc;

use base::Secret;
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::sync::OnceCell;

use super::http::Service;
use crate::{
    Error, Kind,
    wire::{EmbeddingInput, EmbeddingList, EmbeddingRequest, Encoding, ModelList, Vector},
};

/// Texts per request: some seconds of work, so that a question need not wait longer for its turn.
const TEXTS_PER_REQUEST: usize = 64;

/// A client of the role `embed`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EmbedClient {
    service: Service,
    /// The name of the role's one model, asked for once.
    model: Arc<OnceCell<String>>,
}

impl EmbedClient {
    /// A client of the role at `base_url` (`http://127.0.0.1:PORT`). Nothing is sent yet.
    pub fn new(base_url: impl Into<String>, token: Secret) -> Self {
        Self { service: Service::new(base_url, token), model: Arc::default() }
    }

    /// Returns the names of the models the role serves.
    ///
    /// # Errors
    /// [`Error::Reach`], [`Error::Refused`], [`Error::Protocol`].
    pub async fn models(&self) -> Result<Vec<String>, Error> {
        let list: ModelList = self.service.get("/v1/models").await?;
        Ok(list.data.into_iter().map(|model| model.id).collect())
    }

    /// Returns one vector of length 1 per text, in order.
    ///
    /// # Errors
    /// As [`Self::models`].
    pub async fn embed(&self, texts: Vec<String>, kind: Kind) -> Result<Vec<Vec<f32>>, Error> {
        let prefix = kind.prefix();
        let model = self.model.get_or_try_init(|| self.first_model()).await?;
        let mut vectors = Vec::with_capacity(texts.len());
        for part in texts.chunks(TEXTS_PER_REQUEST) {
            let request = EmbeddingRequest {
                model: model.clone(),
                // The prefix is put here, because vLLM does not know `input_type`; our own role takes a text with a prefix as it is.
                input: EmbeddingInput::Texts(part.iter().map(|text| format!("{prefix}{text}")).collect()),
                encoding_format: Encoding::Base64,
                dimensions: None,
                input_type: None,
                truncate_prompt_tokens: Some(EmbeddingRequest::TO_THE_MODELS_LENGTH),
            };
            let list: EmbeddingList = self.service.post("/v1/embeddings", &request).await?;
            let in_order = list.data.iter().enumerate().all(|(index, row)| row.index == index);
            if list.data.len() != part.len() || !in_order {
                return Err(self.odd("the vectors are not those of the texts"));
            }
            for row in list.data {
                vectors.push(self.decode(row.embedding)?);
            }
        }
        Ok(vectors)
    }

    async fn first_model(&self) -> Result<String, Error> {
        self.models().await?.into_iter().next().ok_or_else(|| self.odd("the role serves no model"))
    }

    fn decode(&self, vector: Vector) -> Result<Vec<f32>, Error> {
        match vector {
            Vector::Float(values) => Ok(values),
            Vector::Base64(text) => {
                let bytes = BASE64_STANDARD.decode(text).map_err(|error| self.odd(error.to_string()))?;
                let (values, []) = bytes.as_chunks::<4>() else {
                    return Err(self.odd("a vector's bytes are not whole numbers"));
                };
                Ok(values.iter().map(|four| f32::from_le_bytes(*four)).collect())
            }
        }
    }

    fn odd(&self, reason: impl Into<String>) -> Error {
        Error::Protocol { url: self.service.url("/v1/embeddings"), reason: reason.into() }
    }
}
