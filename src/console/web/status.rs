//! What the page shows about the services: asked of the agent, and where there is none of the roles, at most every few seconds, however
//! many pages look.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use access::ADMINISTRATOR;
use axum::{Extension, Json, extract::State};
use base::{Board, BoardRelease, BoardState, Notice, Role};
use futures::future::join_all;
use serde::Serialize;

use super::guard::SignedIn;
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
    /// Absent when the lake does not answer, and for who may not read everything.
    documents: Option<u64>,
    chunks: Option<u64>,
    /// What the agent has to say to everybody.
    notices: Vec<Notice>,
    /// A release that waits for a yes.
    release: Option<BoardRelease>,
}

#[derive(Clone, Serialize)]
struct Service {
    role: Role,
    state: BoardState,
}

/// The last look, behind a lock that makes simultaneous pages wait for one look instead of taking their own.
pub(crate) type Cache = tokio::sync::Mutex<Option<(Instant, Status)>>;

/// `GET /api/status`.
pub(crate) async fn status(
    State(state): State<Arc<Shared>>,
    Extension(signed_in): Extension<SignedIn>,
) -> Json<Status> {
    Json(for_account(looked(&state).await, &signed_in))
}

/// How many documents there are is no business of who may not read them all, and a release not of who may not say yes to it.
fn for_account(mut status: Status, signed_in: &SignedIn) -> Status {
    if !signed_in.rights.is_all() {
        (status.documents, status.chunks) = (None, None);
    }
    if signed_in.session.account != ADMINISTRATOR {
        status.release = None;
    }
    status
}

async fn looked(state: &Shared) -> Status {
    let mut cache = state.status.lock().await;
    if let Some((at, status)) = &*cache
        && at.elapsed() < FRESH
    {
        return status.clone();
    }
    let status = look(state).await;
    *cache = Some((Instant::now(), status.clone()));
    status
}

async fn look(state: &Shared) -> Status {
    let stats = tokio::time::timeout(PATIENCE, state.lake.stats());
    let (told, stats) = tokio::join!(told(state), stats);
    let (services, notices, release) = match told {
        Some(board) => (of_board(&board), board.notices, board.release),
        // A console alone still finds out who answers.
        None => (join_all(WATCHED.map(|role| probe(state, role))).await, Vec::new(), None),
    };
    let stats = stats.ok().and_then(Result::ok);
    Status {
        services,
        version: (state.versions)(),
        documents: stats.as_ref().map(|s| s.searchable),
        chunks: stats.as_ref().map(|s| s.chunks),
        notices,
        release,
    }
}

/// Asks the agent, where it has a socket for us.
async fn told(state: &Shared) -> Option<Board> {
    let answer = state.agent.as_ref()?.get("http://agent/v1/status").timeout(PATIENCE).send().await.ok()?;
    let board: Board = answer.error_for_status().ok()?.json().await.ok()?;
    (board.format == Board::FORMAT && !board.services.is_empty()).then_some(board)
}

fn of_board(board: &Board) -> Vec<Service> {
    let state = |role: &Role| {
        let found = board.services.iter().find(|service| service.role == *role);
        found.map_or(BoardState::Down, |service| service.state)
    };
    WATCHED.iter().map(|role| Service { role: *role, state: state(role) }).collect()
}

async fn probe(state: &Shared, role: Role) -> Service {
    let url = format!("{}/health", state.config.url(role));
    let answer = state.http.get(url).timeout(PATIENCE).send().await;
    Service {
        role,
        state: match answer {
            Ok(answer) if answer.status().is_success() => BoardState::Ok,
            Ok(answer) if answer.status().as_u16() == 503 => BoardState::Starting,
            _ => BoardState::Down,
        },
    }
}
