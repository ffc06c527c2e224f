//! `POST /api/approve`: a yes to the release the page asks about. The agent decides whether it is asked about at all.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use access::ADMINISTRATOR;
use audit::Act;
use axum::{
    Extension, Json,
    extract::{ConnectInfo, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};

use super::{guard::SignedIn, login::record, refusal::Refusal};
use crate::state::Shared;

/// The agent writes a line and a small file.
const PATIENCE: Duration = Duration::from_secs(10);

/// The body of `POST /api/approve`, and what the agent is told.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    version: String,
}

/// Tells the agent. Who said yes goes into the console's audit log, the yes itself into the host's.
pub(crate) async fn approve(
    State(state): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(signed_in): Extension<SignedIn>,
    Json(approval): Json<Approval>,
) -> Result<StatusCode, Refusal> {
    let account = &signed_in.session.account;
    if account != ADMINISTRATOR {
        record(&state, account, peer.ip(), Act::Approve, audit::Outcome::Refused).await;
        return Err(Refusal::new(StatusCode::FORBIDDEN, "only the administrator approves releases"));
    }
    const SILENT: Refusal =
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the agent does not answer; please try again");
    let agent = state.agent.as_ref().ok_or(SILENT)?;
    let asked = agent.post("http://agent/v1/approve").json(&approval).timeout(PATIENCE).send().await;
    let status = asked.map_err(|_| SILENT)?.status();
    let outcome = if status.is_success() { audit::Outcome::Ok } else { audit::Outcome::Refused };
    record(&state, account, peer.ip(), Act::Approve, outcome).await;
    // The next look tells everybody.
    *state.status.lock().await = None;
    match status.as_u16() {
        200..300 => Ok(StatusCode::NO_CONTENT),
        409 => {
            Err(Refusal::new(StatusCode::CONFLICT, "this release is not offered any more, or an update is under way"))
        }
        _ => Err(SILENT),
    }
}
