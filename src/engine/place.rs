//! An engine in this process or behind a role's HTTP: the same questions, wherever the model is.

use std::path::Path;

use crate::{
    ChatModel, EmbedTokenizer, Embedder, Error, GenerateRequest, Kind, PieceStream,
    client::{ChatClient, EmbedClient},
};

/// An embedding model, here or in the role `embed`. Cheap to clone.
#[derive(Clone)]
pub enum Embedding {
    Local(Embedder),
    /// The tokenizer is always here: tokens are counted far more often than texts are embedded.
    Remote(EmbedClient, EmbedTokenizer),
}

impl Embedding {
    /// Returns one vector of length 1 per passage, in order.
    ///
    /// # Errors
    /// Those of [`Embedder::embed`] or [`EmbedClient::embed`].
    pub async fn embed_passages(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, Error> {
        self.embed(texts, Kind::Passage).await
    }

    /// Returns the vector of a question.
    ///
    /// # Errors
    /// Those of [`Embedder::embed`] or [`EmbedClient::embed`].
    pub async fn embed_query(&self, text: &str) -> Result<Vec<f32>, Error> {
        let vectors = self.embed(vec![text.to_owned()], Kind::Query).await?;
        vectors.into_iter().next().ok_or(Error::Stopped)
    }

    /// Returns how many tokens a text has, without prefix and marks.
    pub fn count_tokens(&self, text: &str) -> usize {
        match self {
            Self::Local(model) => model.count_tokens(text),
            Self::Remote(_, tokenizer) => tokenizer.count_tokens(text),
        }
    }

    async fn embed(&self, texts: Vec<String>, kind: Kind) -> Result<Vec<Vec<f32>>, Error> {
        match self {
            Self::Local(model) => {
                let model = model.clone();
                let computed = tokio::task::spawn_blocking(move || model.embed(&texts, kind)).await;
                computed.unwrap_or(Err(Error::Stopped))
            }
            Self::Remote(client, _) => client.embed(texts, kind).await,
        }
    }
}

/// A chat model, here or in the role `llm`. Cheap to clone.
#[derive(Clone)]
pub enum Chat {
    Local(ChatModel),
    Remote(ChatClient),
}

impl Chat {
    /// Returns the answer as it is made; errors come as items. Dropping the stream ends the work.
    pub fn generate(&self, request: GenerateRequest) -> PieceStream {
        match self {
            Self::Local(model) => model.generate(request),
            Self::Remote(client) => client.generate(request),
        }
    }

    /// Loads an adapter from its folder under a name.
    ///
    /// # Errors
    /// Those of [`ChatModel::load_adapter`] or [`ChatClient::load_adapter`].
    pub async fn load_adapter(&self, name: &str, path: &Path) -> Result<(), Error> {
        match self {
            Self::Local(model) => model.load_adapter(name, path).await,
            Self::Remote(client) => client.load_adapter(name, path).await,
        }
    }

    /// Forgets an adapter.
    ///
    /// # Errors
    /// Those of [`ChatModel::unload_adapter`] or [`ChatClient::unload_adapter`].
    pub async fn unload_adapter(&self, name: &str) -> Result<(), Error> {
        match self {
            Self::Local(model) => model.unload_adapter(name).await,
            Self::Remote(client) => client.unload_adapter(name).await,
        }
    }

    /// Returns the names of the loaded adapters.
    ///
    /// # Errors
    /// Those of [`ChatClient::adapters`].
    pub async fn adapters(&self) -> Result<Vec<String>, Error> {
        match self {
            Self::Local(model) => Ok(model.adapters()),
            Self::Remote(client) => client.adapters().await,
        }
    }
}
