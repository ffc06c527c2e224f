//! What the page shows about the services: asked of the roles at most every few seconds, however many pages look.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, extract::State};
use base::Role;
use futures::future::join_all;
use serde::Serialize;

use crate::state::Shared;

/// How long one look at the services serves every page.
const FRESH: Duration = Duration::from_secs(3);
/// A role that takes longer to say that it lives counts as down.
const PATIENCE: Duration = Duration::from_secs(2);

/// The services behind the console.
const WATCHED: [Role; 5] = [Role::Llm, Role::Embed, Role::Lake, Role::Ingest, Role::Trainer];

/// The page's status strip.
#[derive(Clone, Serialize)]
pub(crate) struct Status {
    services: Vec<Service>,
    /// The adapter that would answer now: `base` or `vN`.
    version: String,
    /// Absent when the lake does not answer.
    documents: Option<u64>,
    chunks: Option<u64>,
}

#[derive(Clone, Serialize)]
struct Service {
    role: Role,
    /// `ok`, `starting` or `down`.
    state: &'static str,
}

/// The last look, behind a lock that makes simultaneous pages wait for one look instead of taking their own.
pub(crate) type Cache = tokio::sync::Mutex<Option<(Instant, Status)>>;

/// `GET /api/status`.
pub(crate) async fn status(State(state): State<Arc<Shared>>) -> Json<Status> {
    let mut cache = state.status.lock().await;
    if let Some((at, status)) = &*cache
        && at.elapsed() < FRESH
    {
        return Json(status.clone());
    }
    let status = look(&state).await;
    *cache = Some((Instant::now(), status.clone()));
    Json(status)
}

async fn look(state: &Shared) -> Status {
    let services = join_all(WATCHED.map(|role| probe(state, role)));
    let stats = tokio::time::timeout(PATIENCE, state.lake.stats());
    let (services, stats) = tokio::join!(services, stats);
    let stats = stats.ok().and_then(Result::ok);
    Status {
        services,
        version: (state.versions)(),
        documents: stats.as_ref().map(|s| s.searchable),
        chunks: stats.as_ref().map(|s| s.chunks),
    }
}

async fn probe(state: &Shared, role: Role) -> Service {
    let url = format!("{}/health", state.config.url(role));
    let answer = state.http.get(url).timeout(PATIENCE).send().await;
    Service {
        role,
        state: match answer {
            Ok(answer) if answer.status().is_success() => "ok",
            Ok(answer) if answer.status().as_u16() == 503 => "starting",
            _ => "down",
        },
    }
}
