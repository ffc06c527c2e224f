//! `GET /health`: the one route without a token, for probes.

use axum::Json;
use base::Role;
use serde_json::{Value, json};

/// Says that the role answers. The listeners are served only once everything is wired, so an answer means ready.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok", "role": Role::Console.name(), "version": env!("CARGO_PKG_VERSION")}))
}
