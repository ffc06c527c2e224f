//! The role `embed`: the embedding model.

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use base::{Beat, CustomerLayout, Pulse, Role, Secret, config::ServiceConfig};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    door::{self, Body, Ready},
    refusal::Refusal,
};
use crate::{
    Embedder, Error,
    wire::{
        EmbeddingInput, EmbeddingList, EmbeddingRequest, EmbeddingRow, Encoding, InputType, Model, ModelList, Vector,
        WireUsage, prefixed,
    },
};

/// Texts of one request, as on the real wire.
const MAX_TEXTS: usize = 2048;

/// Requests computed at once; the others wait their turn. More would only share the same cores.
const AT_ONCE: usize = 4;

struct Embed {
    model: OnceLock<Embedder>,
    name: String,
    turns: Semaphore,
    pulse: Pulse,
}

impl Ready for Embed {
    fn ready(&self) -> bool {
        self.model.get().is_some()
    }
}

/// Serves the embedding model of `config` until `shutdown`. Health says `starting` until the model is loaded.
///
/// # Errors
/// [`Error::Serve`] when the listener fails; the errors of [`Embedder::open`].
pub async fn serve_embed(
    config: ServiceConfig,
    _layout: CustomerLayout,
    token: Secret,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let embed = Arc::new(Embed {
        model: OnceLock::new(),
        name: config.embed_model.name.clone(),
        turns: Semaphore::new(AT_ONCE),
        pulse: Pulse::default(),
    });
    let routes = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(one_model))
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/pulse", get(pulse))
        .with_state(Arc::clone(&embed));
    let ready: Arc<dyn Ready> = embed.clone();
    let server = door::open(Role::Embed, routes, ready, token, listener, shutdown);
    let loading = async {
        let (path, threads) = (config.embed_model.path.clone(), config.threads as usize);
        let opened = tokio::task::spawn_blocking(move || Embedder::open_with_threads(&path, threads)).await;
        let model = opened.unwrap_or(Err(Error::Stopped))?;
        tracing::info!(model = embed.name, dimension = model.dimension(), "the embedding model is loaded");
        let _ = embed.model.set(model);
        std::future::pending::<Result<(), Error>>().await
    };
    tokio::select! {
        // Both arms own their work; the one dropped leaves nothing half done that the process's end does not end too.
        served = server => served,
        failed = loading => failed,
    }
}

impl Embed {
    fn model(&self) -> Result<&Embedder, Refusal> {
        self.model.get().ok_or_else(|| Refusal::unavailable("the model is still being loaded"))
    }
}

async fn models(State(embed): State<Arc<Embed>>) -> Result<Json<ModelList>, Refusal> {
    embed.model()?;
    Ok(Json(ModelList::new(vec![Model::new(embed.name.clone(), 0)])))
}

async fn pulse(State(embed): State<Arc<Embed>>) -> Json<Beat> {
    Json(embed.pulse.beat())
}

async fn one_model(state: State<Arc<Embed>>, Path(id): Path<String>) -> Result<Json<Model>, Refusal> {
    let Json(list) = models(state).await?;
    list.data.into_iter().find(|model| model.id == id).map(Json).ok_or_else(|| Refusal::unknown_model(&id))
}

async fn embeddings(
    State(embed): State<Arc<Embed>>,
    Body(request): Body<EmbeddingRequest>,
) -> Result<Json<EmbeddingList>, Refusal> {
    if request.model != embed.name {
        return Err(Refusal::unknown_model(&request.model));
    }
    let model = embed.model()?.clone();
    if request.dimensions.is_some_and(|asked| asked != model.dimension()) {
        let message = format!("this model's vectors have {} dimensions", model.dimension());
        return Err(Refusal::invalid(message, Some("dimensions")));
    }
    let encoding = request.encoding_format;
    let texts = texts(request.input, request.input_type)?;
    let running = embed.pulse.begin();
    // The semaphore is never closed; a failure here would only mean the turn is not counted.
    let _turn = embed.turns.acquire().await.ok();
    let computed = tokio::task::spawn_blocking(move || model.embed_counted(&texts)).await;
    let (vectors, tokens) = computed.map_err(|_| Refusal::from(Error::Stopped))?;
    running.done();
    let rows = vectors.into_iter().enumerate().map(|(index, vector)| EmbeddingRow {
        object: "embedding".into(),
        index,
        embedding: encode(vector, encoding),
    });
    let usage = WireUsage { prompt_tokens: tokens, total_tokens: tokens, ..WireUsage::default() };
    Ok(Json(EmbeddingList { object: "list".into(), data: rows.collect(), model: embed.name.clone(), usage }))
}

/// Returns the texts, each with its prefix.
fn texts(input: EmbeddingInput, kind: Option<InputType>) -> Result<Vec<String>, Refusal> {
    let texts = match input {
        EmbeddingInput::Text(text) => vec![text],
        EmbeddingInput::Texts(texts) => texts,
        EmbeddingInput::Tokens(_) | EmbeddingInput::TokenLists(_) => {
            let message = "arrays of tokens are not taken: this model has its own tokenizer; send texts";
            return Err(Refusal::invalid(message, Some("input")));
        }
    };
    if texts.is_empty() || texts.len() > MAX_TEXTS {
        return Err(Refusal::invalid(format!("the input has 1 to {MAX_TEXTS} texts"), Some("input")));
    }
    if texts.iter().any(|text| text.trim().is_empty()) {
        return Err(Refusal::invalid("a text of the input is empty", Some("input")));
    }
    Ok(texts.into_iter().map(|text| prefixed(text, kind)).collect())
}

fn encode(vector: Vec<f32>, encoding: Encoding) -> Vector {
    match encoding {
        Encoding::Float => Vector::Float(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            Vector::Base64(BASE64_STANDARD.encode(bytes))
        }
    }
}
