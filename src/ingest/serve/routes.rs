//! The role's HTTP face.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Request, State as Shared, rejection::JsonRejection},
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use base::{
    Beat, Role, Secret,
    job::{JobRequest, Jobs},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    confine::Walls,
    watch::{Wanted, Watch},
    work::{Params, Works},
};
use crate::{Domain, Error};

/// A request names folders: it is small.
const MAX_BODY_BYTES: usize = 64 << 10;

/// What the routes share.
#[derive(Clone)]
pub(super) struct State(Arc<Inner>);

struct Inner {
    works: Works,
    jobs: Jobs,
    token: Secret,
    walls: Walls,
    watch: Watch,
}

impl State {
    pub fn new(works: Works, jobs: Jobs, token: Secret, walls: Walls, watch: Watch) -> Self {
        Self(Arc::new(Inner { works, jobs, token, walls, watch }))
    }
}

/// Returns the routes. All but `/health` ask for the token, unknown ones too.
pub(super) fn router(state: State) -> Router {
    let guarded = Router::new()
        .route("/v1/jobs", post(start))
        .route("/v1/jobs/{id}", get(status).delete(cancel))
        .route("/v1/report", get(report))
        .route("/v1/watch", put(watch))
        .route("/v1/domains", put(domain))
        .route("/v1/sandbox", get(sandbox))
        .route("/v1/pulse", get(pulse))
        .route("/v1/canary", post(canary))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "there is no such path") })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(state.clone(), authorised))
        .with_state(state);
    Router::new().route("/health", get(health)).fallback_service(guarded)
}

async fn authorised(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    let header = request.headers().get(header::AUTHORIZATION);
    let shown = header.and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
    match shown {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && state.0.token.matches(token.trim()) => {
            next.run(request).await
        }
        _ => refuse(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong"),
    }
}

async fn health() -> Json<Value> {
    Json(json!({
        "status": "ok",
        "role": Role::Ingest.name(),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

async fn start(Shared(state): Shared<State>, request: Result<Json<JobRequest>, JsonRejection>) -> Response {
    let request = match request {
        Ok(Json(request)) => request,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    let params = match Params::parse(request.params).and_then(|params| state.0.works.check(params)) {
        Ok(params) => params,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, &reason),
    };
    let works = state.0.works.clone();
    let started = state.0.jobs.start(request.key.as_deref(), move |handle| works.run(params, handle));
    match started {
        Ok(status) => (StatusCode::ACCEPTED, Json(status)).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot start a job");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "the job cannot be started")
        }
    }
}

async fn status(Shared(state): Shared<State>, Path(id): Path<String>) -> Response {
    match state.0.jobs.status(&id) {
        Some(status) => Json(status).into_response(),
        None => refuse(StatusCode::NOT_FOUND, "there is no such job"),
    }
}

async fn cancel(Shared(state): Shared<State>, Path(id): Path<String>) -> Response {
    // Asking a job that is over to stop does no harm: its status says that it is over.
    state.0.jobs.cancel(&id);
    status(Shared(state), Path(id)).await
}

async fn report(Shared(state): Shared<State>) -> Response {
    let works = state.0.works.clone();
    let read = tokio::task::spawn_blocking(move || works.report()).await;
    match read {
        Ok(Ok(report)) => Json(report).into_response(),
        Ok(Err(Error::NoReport { .. })) => refuse(StatusCode::NOT_FOUND, "nothing was ingested yet"),
        Ok(Err(error)) => {
            tracing::error!(%error, "cannot read the report");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "the report cannot be read")
        }
        Err(error) => {
            tracing::error!(%error, "reading the report broke off");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "the report cannot be read")
        }
    }
}

async fn watch(Shared(state): Shared<State>, request: Result<Json<Wanted>, JsonRejection>) -> Response {
    let wanted = match request {
        Ok(Json(wanted)) => wanted,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    match state.0.watch.set(wanted) {
        Ok(()) => Json(wanted).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot keep note of whether the folders are watched");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "whether the folders are watched cannot be kept")
        }
    }
}

/// Which document belongs where.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Correction {
    document: String,
    domain: Domain,
}

async fn domain(Shared(state): Shared<State>, request: Result<Json<Correction>, JsonRejection>) -> Response {
    let Correction { document, domain } = match request {
        Ok(Json(correction)) => correction,
        Err(rejection) => return refuse(rejection.status(), &rejection.body_text()),
    };
    match state.0.works.correct(&document, domain).await {
        Ok(corrected) => Json(corrected).into_response(),
        Err(error @ Error::NoDocument { .. }) => refuse(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error) => {
            tracing::error!(error = super::work::chain(&error), "a document cannot be put right");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "the document cannot be put right")
        }
    }
}

async fn sandbox(Shared(state): Shared<State>) -> Json<Value> {
    Json(state.0.walls.to_json(state.0.works.worker_sandbox()))
}

async fn pulse(Shared(state): Shared<State>) -> Json<Beat> {
    Json(state.0.jobs.pulse().beat())
}

async fn canary(Shared(state): Shared<State>) -> Response {
    match state.0.works.canary().await {
        Ok(canary) => Json(canary).into_response(),
        Err(reason) => {
            tracing::error!(reason, "a small file could not be read");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, &reason)
        }
    }
}

fn refuse(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({ "error": { "message": reason } }))).into_response()
}
