//! The role `lake`: the library over HTTP, for the processes that do not hold the lock.

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Query, Request, State, rejection::JsonRejection},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base::{Beat, Canary, CustomerLayout, Digest, Pulse, Role, Secret, config::ServiceConfig};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use futures::future::BoxFuture;

use crate::{
    EmbedSpec, Error, Feedback, Interaction, Lake, VersionRow,
    canary::Keeper,
    format::{CommitWire, Refusal, Reply, SearchWire, WIRE, WIRE_LIMITED},
};

/// A commit of some dozens of documents is a few megabytes; vectors are a third of it. One large spreadsheet comes as passages, with
/// their vectors, and as a table.
const LARGEST_BODY: usize = 96 << 20;

/// What the routes share. The lake is absent until it is open.
#[derive(Clone)]
struct Shared {
    lake: Arc<OnceLock<Lake>>,
    token: Arc<Secret>,
    canary: Arc<Keeper>,
    pulse: Pulse,
}

/// Serves the customer's lake on `listener` until `shutdown`, which waits for what is under way and folds the journal.
///
/// `GET /health` says `starting` with 503 until the lake is open; every other route asks for the token.
pub fn serve(
    config: ServiceConfig,
    layout: CustomerLayout,
    token: Secret,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), Error>> {
    let spec = EmbedSpec { dimension: config.dimension(), model: config.embed_model.digest };
    Box::pin(serve_lake(layout, spec, token, listener, shutdown))
}

pub(crate) async fn serve_lake(
    layout: CustomerLayout,
    spec: EmbedSpec,
    token: Secret,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let canary = Arc::new(Keeper::new(&layout, spec));
    let shared = Shared { lake: Arc::new(OnceLock::new()), token: Arc::new(token), canary, pulse: Pulse::default() };
    let stop = shutdown.clone();
    let server =
        axum::serve(listener, router(shared.clone())).with_graceful_shutdown(async move { stop.cancelled().await });
    // Listening comes first: a probe then learns that the role starts, however long a large lake takes to open.
    let server = tokio::spawn(async move { server.await.map_err(Error::Serve) });
    match Lake::open(&layout, spec).await {
        Ok(lake) => {
            drop(shared.lake.set(lake));
        }
        Err(error) => {
            shutdown.cancel();
            server.await??;
            return Err(error);
        }
    }
    tracing::info!("the lake is open");
    server.await??;
    match shared.lake.get() {
        Some(lake) => lake.fold().await,
        None => Ok(()),
    }
}

fn router(shared: Shared) -> Router {
    let guarded = Router::new()
        .route("/v1/commit", post(commit))
        .route("/v1/catalogue", post(put_aside))
        .route("/v1/refresh", post(refresh))
        .route("/v1/pin", post(pin).delete(unpin))
        .route("/v1/search", post(search))
        .route("/v1/documents", get(documents))
        .route("/v1/document", get(document))
        .route("/v1/chunks", get(chunks))
        .route("/v1/chunk", get(chunk))
        .route("/v1/stats", get(stats))
        .route("/v1/interactions", get(interactions).post(record))
        .route("/v1/feedback", get(feedback_since).post(feedback))
        .route("/v1/versions", get(versions).post(put_version))
        .route("/v1/graph/neighbors", post(neighbors))
        .route("/v1/graph/path", post(path))
        .route("/v1/sql", post(sql).get(sql_tables))
        .route("/v1/check", get(check))
        .route("/v1/snapshots", get(snapshots))
        .route("/v1/vacuum", post(vacuum))
        .layer(middleware::from_fn_with_state(shared.clone(), count))
        .route("/v1/pulse", get(pulse))
        .route("/v1/canary", post(canary))
        .route("/v1/protect", post(protect))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(shared.clone(), guard));
    Router::new().route("/health", get(health)).merge(guarded).with_state(shared)
}

async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match header.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) if shared.token.matches(token) => next.run(request).await,
        _ => refusal(StatusCode::UNAUTHORIZED, "the token is missing or wrong"),
    }
}

/// Requests of the agent's are not among those that say whether the role gets on with its work.
async fn count(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let running = shared.pulse.begin();
    let response = next.run(request).await;
    running.done();
    response
}

async fn pulse(State(shared): State<Shared>) -> Json<Beat> {
    Json(shared.pulse.beat())
}

async fn canary(State(shared): State<Shared>) -> Result<Json<Canary>, Failure> {
    Ok(Json(shared.canary.sing(open(&shared)?).await?))
}

#[derive(Deserialize)]
struct Protect {
    holds: bool,
}

async fn protect(State(shared): State<Shared>, body: Body<Protect>) -> Answer<()> {
    reply(open(&shared)?.protect(body?.0.holds).await?)
}

async fn health(State(shared): State<Shared>) -> Response {
    match shared.lake.get() {
        Some(_) => {
            let version = env!("CARGO_PKG_VERSION");
            let body = serde_json::json!({"status": "ok", "role": Role::Lake.name(), "version": version});
            Json(body).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({"status": "starting"}))).into_response(),
    }
}

fn refusal(status: StatusCode, error: impl Into<String>) -> Response {
    (status, Json(Refusal { error: error.into() })).into_response()
}

/// A failure on its way to the client.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        refusal(self.0, self.1)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(why) => Self(StatusCode::UNPROCESSABLE_ENTITY, why),
            Error::Protected => Self(StatusCode::INSUFFICIENT_STORAGE, error.to_string()),
            error => {
                let mut text = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(source) = cause {
                    text = format!("{text}: {source}");
                    cause = source.source();
                }
                tracing::error!(error = text, "a request failed");
                Self(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

type Answer<T> = Result<Json<Reply<T>>, Failure>;
type Body<T> = Result<Json<T>, JsonRejection>;

fn reply<T: Serialize>(value: T) -> Answer<T> {
    Ok(Json(Reply { format: WIRE, value }))
}

fn open(shared: &Shared) -> Result<&Lake, Failure> {
    let starting = || Failure(StatusCode::SERVICE_UNAVAILABLE, "the lake is being opened".to_owned());
    shared.lake.get().ok_or_else(starting)
}

/// Refuses another format, and vectors of another model.
fn fitting(lake: &Lake, format: u32, model: Digest) -> Result<(), Failure> {
    if format != WIRE {
        let why = format!("format {format} is not known here");
        return Err(Error::Refused(why).into());
    }
    if model != lake.spec().model {
        let why = format!("the lake holds vectors of the model {}, not of {model}", lake.spec().model);
        return Err(Error::Refused(why).into());
    }
    Ok(())
}

async fn commit(State(shared): State<Shared>, body: Body<CommitWire>) -> Answer<crate::CommitId> {
    let lake = open(&shared)?;
    let Json(wire) = body?;
    fitting(lake, wire.format, wire.model)?;
    reply(lake.commit(wire.commit).await?)
}

async fn put_aside(State(shared): State<Shared>, body: Body<crate::CataloguePart>) -> Answer<()> {
    reply(open(&shared)?.put_aside(body?.0).await?)
}

async fn refresh(State(shared): State<Shared>) -> Answer<()> {
    open(&shared)?.refresh().await?;
    reply(())
}

async fn pin(State(shared): State<Shared>) -> Answer<crate::Pin> {
    reply(open(&shared)?.pin().await?)
}

async fn unpin(State(shared): State<Shared>) -> Answer<()> {
    open(&shared)?.unpin().await?;
    reply(())
}

async fn search(State(shared): State<Shared>, body: Body<SearchWire>) -> Answer<Vec<crate::Hit>> {
    let lake = open(&shared)?;
    let Json(wire) = body?;
    let format = if wire.format == WIRE_LIMITED { WIRE } else { wire.format };
    fitting(lake, format, wire.model)?;
    reply(lake.search(wire.request).await?)
}

async fn neighbors(State(shared): State<Shared>, body: Body<crate::NeighborsRequest>) -> Answer<crate::Neighbors> {
    reply(open(&shared)?.neighbors(body?.0).await?)
}

async fn path(State(shared): State<Shared>, body: Body<crate::PathRequest>) -> Answer<crate::GraphPath> {
    reply(open(&shared)?.path(body?.0).await?)
}

async fn sql(State(shared): State<Shared>, body: Body<crate::SqlRequest>) -> Answer<crate::SqlAnswer> {
    reply(open(&shared)?.sql(body?.0).await?)
}

async fn sql_tables(State(shared): State<Shared>) -> Answer<Vec<crate::SqlTable>> {
    reply(open(&shared)?.sql_tables().await?)
}

async fn check(State(shared): State<Shared>) -> Answer<crate::Checked> {
    reply(open(&shared)?.check().await?)
}

#[derive(Deserialize)]
struct Newest {
    limit: usize,
}

async fn snapshots(State(shared): State<Shared>, Query(newest): Query<Newest>) -> Answer<Vec<crate::Snapshot>> {
    reply(open(&shared)?.snapshots(newest.limit).await?)
}

#[derive(Deserialize)]
struct Keep {
    keep: usize,
}

async fn vacuum(State(shared): State<Shared>, body: Body<Keep>) -> Answer<crate::Vacuumed> {
    reply(open(&shared)?.vacuum(body?.0.keep).await?)
}

async fn documents(State(shared): State<Shared>) -> Answer<Vec<crate::DocumentRow>> {
    reply(open(&shared)?.documents())
}

#[derive(Deserialize)]
struct ById {
    id: String,
}

fn found<T: Serialize>(row: Option<T>) -> Answer<T> {
    match row {
        Some(row) => reply(row),
        None => Err(Failure(StatusCode::NOT_FOUND, "there is no such row".to_owned())),
    }
}

async fn document(State(shared): State<Shared>, Query(by): Query<ById>) -> Answer<crate::DocumentRow> {
    found(open(&shared)?.document(&by.id))
}

async fn chunk(State(shared): State<Shared>, Query(by): Query<ById>) -> Answer<crate::ChunkRow> {
    found(open(&shared)?.chunk(&by.id).await?)
}

#[derive(Deserialize)]
struct Which {
    document: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

async fn chunks(State(shared): State<Shared>, Query(which): Query<Which>) -> Answer<Vec<crate::ChunkRow>> {
    let lake = open(&shared)?;
    match which.document {
        Some(document) => reply(lake.chunks_of(&document).await?),
        None => reply(lake.all_chunks(which.after.as_deref(), which.limit.unwrap_or(1000).min(10_000)).await?),
    }
}

async fn stats(State(shared): State<Shared>) -> Answer<crate::Stats> {
    reply(open(&shared)?.stats().await?)
}

#[derive(Deserialize)]
struct Since {
    since_ms: Option<i64>,
}

impl Since {
    fn start(&self) -> i64 {
        self.since_ms.unwrap_or(i64::MIN)
    }
}

async fn interactions(State(shared): State<Shared>, Query(since): Query<Since>) -> Answer<Vec<Interaction>> {
    reply(open(&shared)?.interactions(since.start()).await?)
}

async fn record(State(shared): State<Shared>, body: Body<Interaction>) -> Answer<()> {
    reply(open(&shared)?.record(body?.0).await?)
}

async fn feedback_since(State(shared): State<Shared>, Query(since): Query<Since>) -> Answer<Vec<Feedback>> {
    reply(open(&shared)?.feedback_since(since.start()).await?)
}

async fn feedback(State(shared): State<Shared>, body: Body<Feedback>) -> Answer<()> {
    reply(open(&shared)?.feedback(body?.0).await?)
}

async fn versions(State(shared): State<Shared>) -> Answer<Vec<VersionRow>> {
    reply(open(&shared)?.versions().await?)
}

async fn put_version(State(shared): State<Shared>, body: Body<VersionRow>) -> Answer<()> {
    reply(open(&shared)?.put_version(body?.0).await?)
}
