//! `POST /api/feedback`: a thumb and, if the reader likes, what would have been right.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::StatusCode};
use lake::{Feedback, Verdict};
use serde::Deserialize;

use super::{guard::SignedIn, refusal::Refusal};
use crate::state::Shared;

/// Characters of a correction.
const CORRECTION_CHARS: usize = 4000;

/// The body of `POST /api/feedback`.
#[derive(Deserialize)]
pub(crate) struct Judgement {
    interaction_id: String,
    verdict: Verdict,
    #[serde(default)]
    correction: Option<String>,
}

/// Lets the agent count it: an update after which people judge worse is worth a look. Whether it hears is nobody's wait.
fn tell_agent(state: &Shared, verdict: Verdict) {
    let Some(agent) = &state.agent else { return };
    let body = serde_json::json!({ "verdict": verdict });
    let request = agent.post("http://agent/v1/feedback").json(&body).timeout(std::time::Duration::from_secs(2));
    tokio::spawn(async move { drop(request.send().await) });
}

/// Records a judgement on one of the session's own exchanges.
pub(crate) async fn feedback(
    State(state): State<Arc<Shared>>,
    Extension(signed_in): Extension<SignedIn>,
    Json(judgement): Json<Judgement>,
) -> Result<StatusCode, Refusal> {
    let correction = judgement.correction.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if correction.as_ref().is_some_and(|c| c.chars().count() > CORRECTION_CHARS) {
        let message = "the correction is longer than 4000 characters";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    }
    let id = judgement.interaction_id;
    if !state.conversations.judge(&signed_in.key, &id, judgement.verdict) {
        let message = "this answer is not one of this session's";
        return Err(Refusal::new(StatusCode::NOT_FOUND, message));
    }
    let feedback =
        Feedback { interaction_id: id, at_ms: state.clock.now().millis(), verdict: judgement.verdict, correction };
    tell_agent(&state, judgement.verdict);
    state.lake.feedback(feedback).await.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "feedback could not be recorded");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the knowledge store does not answer; please try again")
    })?;
    Ok(StatusCode::NO_CONTENT)
}
