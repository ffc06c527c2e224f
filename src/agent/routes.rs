use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base::Slug;
use install::control::{AgentEvent, Command, Status};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use crate::supervisor::{Event, Order};

const BODY_BYTES_MAX: usize = 64 << 10;

/// The routes of the control socket. Who may ask was decided at the door.
pub(crate) fn router(events: mpsc::Sender<Event>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events", get(past))
        .route("/v1/egress", get(egress))
        .route("/v1/start", post(start))
        .route("/v1/stop", post(stop))
        .route("/v1/restart", post(restart))
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

async fn start(events: Events, Json(command): Json<Command>) -> Response {
    order(events, Order::Start, command).await
}

async fn stop(events: Events, Json(command): Json<Command>) -> Response {
    order(events, Order::Stop, command).await
}

async fn restart(events: Events, Json(command): Json<Command>) -> Response {
    order(events, Order::Restart, command).await
}

async fn order(State(events): Events, order: Order, command: Command) -> Response {
    let slug = command.customer.clone();
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

/// The agent is about to end.
struct Ending;

impl IntoResponse for Ending {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": "the agent is ending" });
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}

async fn ask<T>(events: &mpsc::Sender<Event>, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Result<T, Ending> {
    let (reply, answer) = oneshot::channel();
    events.send(event(reply)).await.map_err(|_| Ending)?;
    answer.await.map_err(|_| Ending)
}
