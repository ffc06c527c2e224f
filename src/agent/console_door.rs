//! The console's own socket: how things stand, how answers were judged, and a yes to the release that is asked about. No route takes a path, a
//! name or a command.

use std::io;
use std::os::unix::fs::lchown;

use audit::{Act, Entry, Log, Outcome};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use base::{Board, Clock, CustomerLayout, Layout, file};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::peer::{Door, Peer};
use crate::routes::{Ending, ask};
use crate::supervisor::Event;
use crate::update;

/// An open socket; it is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct ConsoleDoor {
    task: AbortHandle,
    /// The user of the console's container, where it is one.
    user: Option<u32>,
}

const BODY_BYTES_MAX: usize = 1 << 10;

impl ConsoleDoor {
    /// Listens for the console of one customer. `user` is whom its container runs as; without one it is this program's own user.
    ///
    /// # Errors
    /// When the folder or the socket cannot be made, or given to that user.
    pub(crate) fn open(
        layout: &Layout,
        customer: &CustomerLayout,
        user: Option<u32>,
        events: mpsc::Sender<Event>,
    ) -> io::Result<Self> {
        let (folder, socket) = (customer.console_door(), customer.console_socket());
        match user {
            Some(_) => stack::shared_door(&folder)?,
            None => file::private_dir(&folder)?,
        }
        let listener = stack::bind_private(&socket)?;
        let own = rustix::process::geteuid().as_raw();
        if let Some(user) = user.filter(|user| *user != own) {
            // The folder is ours alone to write: nobody can have put a link in the socket's place.
            lchown(&socket, Some(user), None)?;
        }
        let door = Door::new(listener, user.into_iter().chain([own]).collect());
        let shared = Shared { layout: layout.clone(), customer: customer.clone(), events };
        let app = router(shared).into_make_service_with_connect_info::<Peer>();
        let server = tokio::spawn(async move { axum::serve(door, app).await });
        Ok(Self { task: server.abort_handle(), user })
    }

    /// Returns whether it is open for this user, and still where it should be.
    pub(crate) fn is_for(&self, customer: &CustomerLayout, user: Option<u32>) -> bool {
        self.user == user && !self.task.is_finished() && customer.console_socket().exists()
    }
}

impl Drop for ConsoleDoor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Shared {
    layout: Layout,
    customer: CustomerLayout,
    events: mpsc::Sender<Event>,
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/feedback", post(feedback))
        .route("/v1/approve", post(approve))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

async fn status(State(shared): State<Shared>) -> Result<Json<Board>, Ending> {
    let slug = shared.customer.slug().clone();
    let mut board = ask(&shared.events, |reply| Event::Board { slug, reply }).await?;
    let read = tokio::task::spawn_blocking(move || update::awaits_approval(&shared.layout, &shared.customer));
    board.release = read.await.ok().flatten();
    Ok(Json(board))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    version: String,
}

/// A yes, on record before it counts. 409 for a release nobody is asked about, and while an update is under way.
async fn approve(
    State(shared): State<Shared>,
    ConnectInfo(Peer(who)): ConnectInfo<Peer>,
    Json(Approval { version }): Json<Approval>,
) -> StatusCode {
    let approved = tokio::task::spawn_blocking(move || {
        let entry = Entry::new(who.unwrap_or(audit::Who::Agent), Act::Approve).object(version.clone());
        let log = Log::host(&shared.layout);
        let record = |outcome: Outcome| {
            if let Err(error) = log.append(entry.clone().outcome(outcome), Clock::system()) {
                let error = crate::supervisor::chain(&error);
                tracing::error!(error, "an approval could not be written into the audit log");
            }
        };
        record(Outcome::Begun);
        let approved = update::approve(&shared.layout, &shared.customer, &version);
        record(if matches!(approved, Ok(true)) { Outcome::Ok } else { Outcome::Refused });
        approved
    });
    match approved.await {
        Ok(Ok(true)) => StatusCode::NO_CONTENT,
        Ok(Ok(false)) => StatusCode::CONFLICT,
        Ok(Err(error)) => {
            tracing::warn!(%error, "a release could not be approved");
            StatusCode::CONFLICT
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Judgement {
    verdict: Verdict,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Up,
    Down,
}

async fn feedback(State(shared): State<Shared>, Json(judgement): Json<Judgement>) -> Result<StatusCode, Ending> {
    let is_good = matches!(judgement.verdict, Verdict::Up);
    shared.events.send(Event::Judged { slug: shared.customer.slug().clone(), is_good }).await.map_err(|_| Ending)?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use base::Slug;
    use serde_json::json;
    use stack::http::{Ask, Endpoint, call};

    use super::*;

    #[tokio::test]
    async fn the_console_learns_how_things_stand_and_can_order_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let slug = Slug::parse("eaton").unwrap();
        let layout = Layout::rooted(dir.path());
        let customer = layout.customer(&slug);
        let (events, mut received) = mpsc::channel(8);
        let door = ConsoleDoor::open(&layout, &customer, None, events).unwrap();
        assert!(door.is_for(&customer, None) && !door.is_for(&customer, Some(7110)));
        tokio::spawn(async move {
            while let Some(event) = received.recv().await {
                if let Event::Board { reply, .. } = event {
                    let _ = reply.send(Board { format: Board::FORMAT, ..Board::default() });
                }
            }
        });
        let endpoint = Endpoint::Unix(customer.console_socket());
        let asked = |method: &'static str, path: &'static str, body: Option<serde_json::Value>| {
            let endpoint = endpoint.clone();
            async move { call(&endpoint, Ask { body, ..Ask::new(method, path) }).await.unwrap().status }
        };
        assert_eq!(asked("GET", "/v1/status", None).await, 200);
        assert_eq!(asked("POST", "/v1/feedback", Some(json!({ "verdict": "up" }))).await, 204);
        assert_eq!(asked("POST", "/v1/feedback", Some(json!({ "verdict": "up", "path": "/etc" }))).await, 422);
        assert_eq!(asked("POST", "/v1/approve", Some(json!({ "version": "9.9.9" }))).await, 409, "nobody is asked");
        for path in ["/v1/stop", "/v1/start", "/v1/restart", "/v1/events", "/v1/metrics"] {
            assert_eq!(asked("POST", path, Some(json!({}))).await, 404, "{path}");
        }
        drop(door);
        tokio::task::yield_now().await;
        let closed = async {
            while call(&endpoint, Ask::new("GET", "/v1/status")).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(5), closed).await.unwrap();
    }
}
