//! The OpenAI-compatible gateway: the model `brain`, and a pass-through to `llm` and `embed`.

mod brain;
mod canary;
mod fault;
mod forward;
mod models;

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base::{Rights, Role};
use bytes::Bytes;
use engine::wire::EmbeddingRequest;
use serde::Deserialize;

use self::fault::Fault;
use crate::{health::health, state::Shared};

/// The model that answers from the customer's documents.
pub(crate) const BRAIN: &str = "brain";
/// The model without an adapter.
const BASE: &str = "base";

/// A request is text; this is a thousand pages of it.
const BODY_BYTES: usize = 4 << 20;

/// Returns the gateway's routes. All but `/health` ask for the API token, a program's token or the role token.
pub(crate) fn router(state: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::one))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/completions", post(completions))
        .route("/v1/embeddings", post(embeddings))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), authenticate))
        .merge(of_the_agent(state.clone()))
        .route("/health", get(health))
        .with_state(state)
}

/// What the agent asks, with the token of the roles: a program's token opens it to nobody.
fn of_the_agent(state: Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/pulse", get(canary::pulse))
        .route("/v1/canary", post(canary::canary))
        .route_layer(middleware::from_fn_with_state(state, authenticate_role))
}

fn shown(request: &Request) -> Option<&str> {
    let header = request.headers().get(header::AUTHORIZATION)?;
    header.to_str().ok()?.strip_prefix("Bearer ")
}

async fn authenticate_role(State(state): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    match shown(&request).is_some_and(|token| state.role_token.matches(token)) {
        true => next.run(request).await,
        false => Fault::unauthorized().into_response(),
    }
}

async fn authenticate(State(state): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    match shown(&request).and_then(|token| state.rights_of_token(token)) {
        Some(rights) => {
            request.extensions_mut().insert(rights);
            let running = state.pulse.begin();
            let response = next.run(request).await;
            running.done();
            response
        }
        None => Fault::unauthorized().into_response(),
    }
}

/// The one field the gateway routes by.
#[derive(Deserialize)]
struct Addressed {
    model: String,
}

fn addressed(body: &Bytes) -> Result<String, Fault> {
    serde_json::from_slice::<Addressed>(body)
        .map(|found| found.model)
        .map_err(|error| Fault::bad_request(format!("the body is no request with a model: {error}")))
}

async fn chat(
    State(state): State<Arc<Shared>>,
    Extension(rights): Extension<Rights>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let answer = async {
        let body = body.map_err(Fault::from)?;
        match addressed(&body)?.as_str() {
            BRAIN => brain::chat(&state, rights, &body).await,
            model => {
                may_ask(model, &rights)?;
                forward::post(&state, Role::Llm, "/v1/chat/completions", body).await
            }
        }
    };
    answer.await.unwrap_or_else(Fault::into_response)
}

/// An adapter may have learned from documents before they were closed: asked by itself, it is an administrator's.
fn may_ask(model: &str, rights: &Rights) -> Result<(), Fault> {
    if rights.is_all() || model == BASE {
        return Ok(());
    }
    let text = format!("`{model}` may have learned what you may not read: ask `{BRAIN}` or `{BASE}`");
    Err(Fault::new(StatusCode::FORBIDDEN, "model_not_allowed", text))
}

async fn completions(
    State(state): State<Arc<Shared>>,
    Extension(rights): Extension<Rights>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let answer = async {
        let body = body.map_err(Fault::from)?;
        match addressed(&body)?.as_str() {
            BRAIN => Err(Fault::bad_request(
                "`brain` answers questions: use /v1/chat/completions, or a model of /v1/models that completes text"
                    .into(),
            )),
            model => {
                may_ask(model, &rights)?;
                forward::post(&state, Role::Llm, "/v1/completions", body).await
            }
        }
    };
    answer.await.unwrap_or_else(Fault::into_response)
}

async fn embeddings(
    State(state): State<Arc<Shared>>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let answer = async {
        let mut body = body.map_err(Fault::from)?;
        if state.config.vllm().is_some() {
            body = for_vllm(&body)?;
        }
        forward::post(&state, Role::Embed, "/v1/embeddings", body).await
    };
    answer.await.unwrap_or_else(Fault::into_response)
}

/// What our own role does with a request, done here: vLLM knows no `input_type`, puts no prefix, and refuses a long text.
fn for_vllm(body: &Bytes) -> Result<Bytes, Fault> {
    let bad = |error: serde_json::Error| Fault::bad_request(format!("the body is no request for embeddings: {error}"));
    let mut request = serde_json::from_slice::<EmbeddingRequest>(body).map_err(bad)?.prefixed();
    request.truncate_prompt_tokens = Some(EmbeddingRequest::TO_THE_MODELS_LENGTH);
    serde_json::to_vec(&request).map(Bytes::from).map_err(bad)
}

async fn unknown(request: Request) -> Fault {
    Fault::new(
        StatusCode::NOT_FOUND,
        "unknown_url",
        format!("unknown request URL: {} {}", request.method(), request.uri().path()),
    )
}

async fn wrong_method(request: Request) -> Fault {
    Fault::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("{} does not take {}", request.uri().path(), request.method()),
    )
}

/// One JSON value as a response.
pub(crate) fn json(value: impl serde::Serialize) -> Response {
    Json(value).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_by_themselves_are_for_administrators() {
        let anna = Rights::of(&["sales".to_owned()], Some("anna"));
        for (model, rights, may) in [("v3", &Rights::All, true), ("v3", &anna, false), (BASE, &anna, true)] {
            assert_eq!(may_ask(model, rights).is_ok(), may, "{model}");
        }
    }

    #[test]
    fn vllm_gets_what_our_own_role_would_make_of_a_request() {
        let made = |body: serde_json::Value| {
            let body = for_vllm(&Bytes::from(body.to_string())).unwrap_or_else(|_| panic!("refused"));
            serde_json::from_slice::<serde_json::Value>(&body).unwrap()
        };
        let query = made(serde_json::json!({"model": "e5", "input": "Gewicht?", "input_type": "query"}));
        assert_eq!((&query["input"], query.get("input_type")), (&"query: Gewicht?".into(), None));
        assert_eq!(query["truncate_prompt_tokens"], -1);
        let texts = made(serde_json::json!({"model": "e5", "input": ["a", "query: b"], "encoding_format": "base64"}));
        assert_eq!(texts["input"], serde_json::json!(["passage: a", "query: b"]));
        assert_eq!(texts["encoding_format"], "base64");
        assert!(for_vllm(&Bytes::from_static(b"{}")).is_err());
    }
}
