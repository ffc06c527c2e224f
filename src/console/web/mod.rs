//! The web page: login, questions, passages, feedback, status, and a yes to an update.

mod approve;
mod ask;
mod assets;
mod conversations;
mod feedback;
mod guard;
mod headers;
mod login;
mod page;
mod refusal;
mod status;
mod strings;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware,
    routing::{get, post},
};

pub(crate) use self::{conversations::Conversations, status::Cache as StatusCache};
use crate::{health::health, state::Shared};

/// A question of 4000 characters, a correction as long, and their JSON.
const BODY_BYTES: usize = 64 << 10;

/// Returns the page's routes.
///
/// From the outside in: headers on everything, then the Host allow-list, then (for all but login, assets and health) a session, then the CSRF token on what changes state.
pub(crate) fn router(state: Arc<Shared>) -> Router {
    let private = Router::new()
        .route("/", get(login::home))
        .route("/logout", post(login::log_out))
        .route("/api/ask", post(ask::ask))
        .route("/api/history", get(ask::history))
        .route("/api/chunks/{id}", get(ask::passage))
        .route("/api/feedback", post(feedback::feedback))
        .route("/api/status", get(status::status))
        .route("/api/approve", post(approve::approve))
        .route_layer(middleware::from_fn_with_state(state.clone(), guard::signed_in));
    Router::new()
        .route("/login", get(login::form).post(login::log_in))
        .route("/assets/{name}", get(assets::asset))
        .route("/health", get(health))
        .merge(private)
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(middleware::from_fn_with_state(state.clone(), guard::known_host))
        .layer(middleware::from_fn(headers::harden))
        .with_state(state)
}

#[cfg(test)]
mod tests;
