//! The role `llm`: one chat model and the customer's adapters.

use std::{
    sync::{Arc, OnceLock},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base::{Beat, CustomerLayout, Role, Secret, config::ServiceConfig};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    door::{self, Body, Ready},
    promoted::{adapter_path, promoted},
    refusal::Refusal,
    stream::{self, Face},
};
use crate::{
    ChatModel, ChatOptions, Error, GenerateRequest, Prompt,
    wire::{
        ChatCompletionRequest, Choice, Completion, CompletionRequest, LoadAdapterRequest, Message, Model, ModelList,
        OneOrMany, Settings, UnloadAdapterRequest,
    },
};

/// The model without an adapter.
const BASE: &str = "base";

/// The most tokens of prompt and answer. Four thousand hold a question, its passages and an answer; each thousand costs 23 MB.
const CONTEXT_TOKENS: u32 = 4096;

/// Tokens of an answer nobody bounded.
const ANSWER_TOKENS: usize = 512;

/// Stop texts a request may name, as on the real wire.
const MAX_STOPS: usize = 4;

struct Llm {
    model: OnceLock<ChatModel>,
    layout: CustomerLayout,
    created: i64,
}

impl Ready for Llm {
    fn ready(&self) -> bool {
        self.model.get().is_some_and(ChatModel::is_alive)
    }
}

/// Serves the chat model of `config` until `shutdown`. Health says `starting` until the model and the promoted adapter are loaded; an
/// adapter that cannot be loaded is logged, and the base model serves.
///
/// # Errors
/// [`Error::Serve`] when the listener fails; the errors of [`ChatModel::open`].
pub async fn serve_llm(
    config: ServiceConfig,
    layout: CustomerLayout,
    token: Secret,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let llm = Arc::new(Llm { model: OnceLock::new(), layout, created });
    let routes = Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(one_model))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(complete))
        .route("/v1/load_lora_adapter", post(load_adapter))
        .route("/v1/unload_lora_adapter", post(unload_adapter))
        .route("/v1/pulse", get(pulse))
        .with_state(Arc::clone(&llm));
    let ready: Arc<dyn Ready> = llm.clone();
    let server = door::open(Role::Llm, routes, ready, token, listener, shutdown);
    let loading = async {
        let options = ChatOptions { context_tokens: CONTEXT_TOKENS, threads: config.threads };
        let path = config.chat_model.path.clone();
        let opened = tokio::task::spawn_blocking(move || ChatModel::open(&path, options)).await;
        let model = opened.unwrap_or(Err(Error::Stopped))?;
        load_promoted(&model, &llm.layout).await;
        tracing::info!(
            model = config.chat_model.name,
            context_tokens = model.context_tokens(),
            "the chat model is loaded"
        );
        let _ = llm.model.set(model);
        // Loaded is not served: only the server's end, or a failure to load, ends the role.
        std::future::pending::<Result<(), Error>>().await
    };
    tokio::select! {
        // Both arms own their work; the one dropped leaves nothing half done that the process's end does not end too.
        served = server => served,
        failed = loading => failed,
    }
}

async fn load_promoted(model: &ChatModel, layout: &CustomerLayout) {
    match promoted(layout) {
        Ok(None) => {}
        Ok(Some((name, dir))) => {
            let loaded = match adapter_path(layout, &dir) {
                Ok(path) => model.load_adapter(&name, &path).await,
                Err(error) => Err(error),
            };
            match loaded {
                Ok(()) => tracing::info!(adapter.name = name, "the promoted adapter is loaded"),
                Err(error) => tracing::error!(
                    adapter.name = name,
                    error = crate::error::in_one_line(&error),
                    "the promoted adapter is not served"
                ),
            }
        }
        Err(reason) => tracing::error!(reason, "the registry of adapters cannot be read; the base model serves"),
    }
}

impl Llm {
    fn model(&self) -> Result<&ChatModel, Refusal> {
        self.model.get().ok_or_else(|| Refusal::unavailable("the model is still being loaded"))
    }

    /// Returns the adapter behind a model's name.
    fn adapter(&self, name: &str) -> Result<Option<String>, Refusal> {
        let model = self.model()?;
        match name {
            BASE => Ok(None),
            name if model.adapters().iter().any(|loaded| loaded == name) => Ok(Some(name.to_owned())),
            name => Err(Refusal::unknown_model(name)),
        }
    }

    async fn answer(&self, face: Face, name: String, prompt: Prompt, settings: Settings) -> Result<Response, Refusal> {
        let request = generate_request(prompt, self.adapter(&name)?, &settings)?;
        let mut pieces = self.model()?.generate(request);
        // The first piece decides whether there is an answer at all: a refusal must still get its status.
        let first = pieces.next().await.unwrap_or(Err(Error::Stopped))?;
        let pieces = futures::stream::once(async { Ok(first) }).chain(pieces);
        let head = Completion {
            id: face.id(),
            object: face.object(false).into(),
            created: now(),
            model: name,
            choices: Vec::new(),
            usage: None,
        };
        if settings.stream == Some(true) {
            let with_usage = settings.stream_options.is_some_and(|options| options.include_usage);
            return Ok(stream::events(face, head, pieces, with_usage).into_response());
        }
        tokio::pin!(pieces);
        let (mut text, mut finish, mut usage) = (String::new(), None, None);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            text.push_str(&piece.text);
            finish = finish.or(piece.finish);
            usage = usage.or(piece.usage);
        }
        let finish = finish.ok_or(Error::Stopped)?;
        let choice = Choice { finish_reason: Some(finish.wire().into()), ..face.whole(text) };
        Ok(Json(Completion { choices: vec![choice], usage: usage.map(Into::into), ..head }).into_response())
    }
}

async fn models(State(llm): State<Arc<Llm>>) -> Result<Json<ModelList>, Refusal> {
    let model = llm.model()?;
    let length = Some(model.context_tokens());
    let base = Model { max_model_len: length, ..Model::new(BASE, llm.created) };
    let adapters = model.adapters().into_iter().map(|name| Model {
        parent: Some(BASE.into()),
        max_model_len: length,
        ..Model::new(name, llm.created)
    });
    Ok(Json(ModelList::new(std::iter::once(base).chain(adapters).collect())))
}

async fn pulse(State(llm): State<Arc<Llm>>) -> Result<Json<Beat>, Refusal> {
    Ok(Json(llm.model()?.pulse().beat()))
}

async fn one_model(state: State<Arc<Llm>>, Path(id): Path<String>) -> Result<Json<Model>, Refusal> {
    let Json(list) = models(state).await?;
    list.data.into_iter().find(|model| model.id == id).map(Json).ok_or_else(|| Refusal::unknown_model(&id))
}

async fn chat(State(llm): State<Arc<Llm>>, Body(request): Body<ChatCompletionRequest>) -> Result<Response, Refusal> {
    let not_text =
        |kind: String| Refusal::invalid(format!("a message's part of type `{kind}` is not text"), Some("messages"));
    let messages: Result<Vec<_>, _> = request.messages.into_iter().map(Message::into_chat).collect();
    llm.answer(Face::Chat, request.model, Prompt::Messages(messages.map_err(not_text)?), request.settings).await
}

async fn complete(State(llm): State<Arc<Llm>>, Body(request): Body<CompletionRequest>) -> Result<Response, Refusal> {
    let prompt = match request.prompt {
        OneOrMany::One(text) => text,
        OneOrMany::Many(texts) => match <[String; 1]>::try_from(texts) {
            Ok([text]) => text,
            Err(_) => return Err(Refusal::invalid("one prompt per request is answered", Some("prompt"))),
        },
    };
    llm.answer(Face::Text, request.model, Prompt::Text(prompt), request.settings).await
}

async fn load_adapter(State(llm): State<Arc<Llm>>, Body(request): Body<LoadAdapterRequest>) -> Result<String, Refusal> {
    let name = request.lora_name;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name == BASE || name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        let rule = "a name has 1 to 64 letters, digits, `-` or `_`, and `base` is taken";
        return Err(Refusal::invalid(rule, Some("lora_name")));
    }
    let path = adapter_path(&llm.layout, &request.lora_path)?;
    llm.model()?.load_adapter(&name, &path).await?;
    tracing::info!(adapter.name = name, "an adapter is loaded");
    Ok(format!("Success: LoRA adapter '{name}' added successfully."))
}

async fn unload_adapter(
    State(llm): State<Arc<Llm>>,
    Body(request): Body<UnloadAdapterRequest>,
) -> Result<String, Refusal> {
    let name = request.lora_name;
    llm.model()?.unload_adapter(&name).await?;
    tracing::info!(adapter.name = name, "an adapter is unloaded");
    Ok(format!("Success: LoRA adapter '{name}' removed successfully."))
}

fn generate_request(prompt: Prompt, adapter: Option<String>, settings: &Settings) -> Result<GenerateRequest, Refusal> {
    if let Some(field) = settings.unsupported() {
        return Err(Refusal::invalid(format!("this engine cannot do what `{field}` asks for"), Some(field)));
    }
    let temperature = settings.temperature.unwrap_or(1.0);
    let top_p = settings.top_p.unwrap_or(1.0);
    if !(0.0..=2.0).contains(&temperature) {
        return Err(Refusal::invalid("a temperature is between 0 and 2", Some("temperature")));
    }
    if !(0.0..=1.0).contains(&top_p) {
        return Err(Refusal::invalid("top_p is between 0 and 1", Some("top_p")));
    }
    let stop = settings.stop.clone().map(OneOrMany::into_vec).unwrap_or_default();
    if stop.len() > MAX_STOPS {
        return Err(Refusal::invalid(format!("at most {MAX_STOPS} stop texts are taken"), Some("stop")));
    }
    let seed = settings.seed.map_or_else(random_seed, |seed| seed as u64);
    let max_tokens = settings.answer_tokens().unwrap_or(ANSWER_TOKENS);
    Ok(GenerateRequest { prompt, adapter, max_tokens, temperature, top_p, seed, stop })
}

/// A seed for who asked for none: answers may differ, and nothing secret hangs on it.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
