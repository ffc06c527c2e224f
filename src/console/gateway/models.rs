//! `GET /v1/models`: `brain`, then what `llm` and `embed` serve.

use std::sync::Arc;

use axum::{
    body::to_bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base::Role;
use engine::wire::{Model, ModelList};

use super::{BRAIN, fault::Fault, forward, json};
use crate::state::Shared;

const LIST_BYTES: usize = 1 << 20;

/// Lists the models. `brain` is listed even when a role is down: it still answers by quoting.
pub(crate) async fn list(State(state): State<Arc<Shared>>) -> Response {
    json(ModelList::new(models(&state).await))
}

/// One model by its id.
pub(crate) async fn one(State(state): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    match models(&state).await.into_iter().find(|m| m.id == id) {
        Some(model) => json(model),
        None => {
            let message = format!("the model `{id}` does not exist");
            Fault::new(StatusCode::NOT_FOUND, "model_not_found", message).into_response()
        }
    }
}

async fn models(state: &Shared) -> Vec<Model> {
    let mut all = vec![Model::new(BRAIN, state.started.millis() / 1000)];
    for role in [Role::Llm, Role::Embed] {
        all.extend(of_role(state, role).await.unwrap_or_default());
    }
    all
}

async fn of_role(state: &Shared, role: Role) -> Option<Vec<Model>> {
    let answer = forward::get(state, role, "/v1/models").await.ok()?;
    let body = to_bytes(answer.into_body(), LIST_BYTES).await.ok()?;
    let list: ModelList = serde_json::from_slice(&body).ok()?;
    Some(list.data)
}
