//! What the agent asks: whether the gateway gets on with its work, and whether it reaches the roles it answers with.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use base::{Canary, Role};
use futures::future::join_all;

use crate::state::Shared;

/// A role that lives says at once how far it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns how many requests were answered, and how many are under way.
pub(crate) async fn pulse(State(state): State<Arc<Shared>>) -> Response {
    Json(state.pulse.beat()).into_response()
}

/// Asks the roles an answer is made with, over the way and with the token questions take. What they can do their own probes say.
pub(crate) async fn canary(State(state): State<Arc<Shared>>) -> Response {
    let asked = [Role::Llm, Role::Embed, Role::Lake].map(|role| {
        let state = &state;
        async move { (role, ask(state, role).await) }
    });
    let mut canary = Canary::default().with("version", (state.versions)());
    for (role, outcome) in join_all(asked).await {
        if let Err(reason) = outcome {
            canary.unreachable.insert(role, reason);
        }
    }
    Json(canary).into_response()
}

async fn ask(state: &Shared, role: Role) -> Result<(), String> {
    let url = format!("{}/v1/pulse", state.config.url(role));
    let request = state.http.get(url).bearer_auth(state.role_token.expose()).timeout(PATIENCE);
    let answer = request.send().await.map_err(|error| chain(&error))?;
    match answer.status().as_u16() {
        // An engine of others counts in its own way; that it took the token is enough.
        200 | 404 => Ok(()),
        status => Err(format!("it answers {status}")),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
