use std::sync::Arc;

use audit::{Act, Entry, Log, Outcome, Who};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use base::{Clock, Layout, Slug};
use install::control::{AgentEvent, Command, Status};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use crate::metrics;
use crate::peer::Peer;
use crate::supervisor::{Event, Order};

const BODY_BYTES_MAX: usize = 64 << 10;

/// The routes of the control socket. Who may ask was decided at the door.
pub(crate) fn router(events: mpsc::Sender<Event>, layout: Layout, clock: Clock) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events", get(past))
        .route("/v1/egress", get(egress))
        .route("/v1/metrics", get(metrics))
        .route("/v1/start", post(start))
        .route("/v1/stop", post(stop))
        .route("/v1/restart", post(restart))
        .layer(Extension(Arc::new(Books { layout, clock })))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(events)
}

type Events = State<mpsc::Sender<Event>>;

async fn status(State(events): Events) -> Result<Json<Status>, Ending> {
    ask(&events, |reply| Event::Status { reply }).await.map(Json)
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn past(State(events): Events, Query(query): Query<After>) -> Result<Json<Vec<AgentEvent>>, Ending> {
    ask(&events, |reply| Event::Past { after: query.after, reply }).await.map(Json)
}

/// Returns the one route an address for Prometheus has.
pub(crate) fn metrics_router(events: mpsc::Sender<Event>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(events)
}

async fn metrics(State(events): Events) -> Result<Response, Ending> {
    let text = ask(&events, |reply| Event::Metrics { reply }).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

#[derive(Deserialize)]
struct Of {
    customer: Slug,
}

async fn egress(State(events): Events, Query(Of { customer }): Query<Of>) -> Response {
    let slug = customer.clone();
    match ask(&events, |reply| Event::Egress { slug, reply }).await {
        Ok(Some(egress)) => Json(egress).into_response(),
        Ok(None) => nobody(&customer.to_string()),
        Err(ending) => ending.into_response(),
    }
}

/// The audit logs, and who is at the other end.
type Audit = (Extension<Arc<Books>>, ConnectInfo<Peer>);

async fn start(events: Events, books: Audit, Json(command): Json<Command>) -> Response {
    order(events, books, Order::Start, command).await
}

async fn stop(events: Events, books: Audit, Json(command): Json<Command>) -> Response {
    order(events, books, Order::Stop, command).await
}

async fn restart(events: Events, books: Audit, Json(command): Json<Command>) -> Response {
    order(events, books, Order::Restart, command).await
}

async fn order(State(events): Events, (books, who): Audit, order: Order, command: Command) -> Response {
    let slug = command.customer.clone();
    books.record(who, order, &command).await;
    match ask(&events, |reply| Event::Command { order, command, reply }).await {
        Ok(Some(status)) => Json(status).into_response(),
        Ok(None) => nobody(&slug.map(|slug| slug.to_string()).unwrap_or_default()),
        Err(ending) => ending.into_response(),
    }
}

fn nobody(name: &str) -> Response {
    let body = serde_json::json!({ "error": format!("there is no customer `{name}` here") });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// Where the audit logs are.
struct Books {
    layout: Layout,
    clock: Clock,
}

impl Books {
    /// Writes an order down before it is carried out. A log that cannot be written keeps nobody from stopping a service: it is said,
    /// and the order carried out.
    async fn record(&self, ConnectInfo(Peer(who)): ConnectInfo<Peer>, order: Order, command: &Command) {
        let act = match order {
            Order::Start => Act::Start,
            Order::Stop => Act::Stop,
            Order::Restart => Act::Restart,
        };
        let known = install::installed(&self.layout).unwrap_or_default();
        let (log, outcome, whose) = match &command.customer {
            Some(slug) if known.contains(slug) => {
                (Log::customer(&self.layout.customer(slug)), Outcome::Begun, String::new())
            }
            // No log is begun by an order for a customer that does not exist.
            Some(slug) => (Log::host(&self.layout), Outcome::Refused, format!(" of `{slug}`, who is not here")),
            None => (Log::host(&self.layout), Outcome::Begun, " of every customer".to_owned()),
        };
        let what = command.role.map_or_else(|| "all roles".to_owned(), |role| format!("role {role}"));
        let entry = Entry::new(who.unwrap_or(Who::Agent), act).object(what + &whose).outcome(outcome);
        let clock = self.clock;
        let appended = tokio::task::spawn_blocking(move || log.append(entry, clock)).await;
        if let Ok(Err(error)) = appended {
            let error = crate::supervisor::chain(&error);
            tracing::error!(error, "an order could not be written into the audit log");
        }
    }
}

/// The agent is about to end.
pub(crate) struct Ending;

impl IntoResponse for Ending {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": "the agent is ending" });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}

pub(crate) async fn ask<T>(
    events: &mpsc::Sender<Event>,
    event: impl FnOnce(oneshot::Sender<T>) -> Event,
) -> Result<T, Ending> {
    let (reply, answer) = oneshot::channel();
    events.send(event(reply)).await.map_err(|_| Ending)?;
    answer.await.map_err(|_| Ending)
}
