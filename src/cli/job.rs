//! Asks a service for long work and shows how it goes.

use std::time::Duration;

use base::{
    Exit, Secret,
    job::{JobState, JobStatus},
};
use serde_json::{Value, json};
use stack::http::{Ask, Endpoint, call_json};
use tokio_util::sync::CancellationToken;

use crate::{
    failure::{Failure, Outcome},
    progress::Progress,
};

const POLL: Duration = Duration::from_millis(300);

/// Starts a job at a role, follows it, and returns its result. Ctrl-C cancels the job.
pub async fn run(
    endpoint: &Endpoint,
    token: &Secret,
    params: Value,
    progress: &mut Progress,
    interrupt: CancellationToken,
) -> Outcome<Value> {
    let body = Some(json!({"params": params}));
    let ask = Ask { token: Some(token), body, ..Ask::new("POST", "/v1/jobs") };
    let mut status: JobStatus = call_json(endpoint, ask).await?;
    let path = format!("/v1/jobs/{}", status.id);
    let mut asked_to_stop = false;
    loop {
        match status.state {
            JobState::Running => progress.update(&status.progress),
            JobState::Done => return Ok(status.result.unwrap_or(Value::Null)),
            JobState::Failed => {
                return Err(Failure::new(Exit::Failed, status.error.unwrap_or_else(|| "it failed".to_owned())));
            }
            JobState::Cancelled => {
                let failure = Failure::new(Exit::Interrupted, "stopped; what was done is kept");
                return Err(failure.remedy("the same command goes on from there"));
            }
        }
        tokio::select! {
            // Both arms only wait: the job itself goes on in its role whichever wins.
            () = tokio::time::sleep(POLL) => {}
            () = interrupt.cancelled(), if !asked_to_stop => {
                asked_to_stop = true;
                let ask = Ask { token: Some(token), ..Ask::new("DELETE", &path) };
                status = call_json(endpoint, ask).await?;
                continue;
            }
        }
        status = call_json(endpoint, Ask { token: Some(token), ..Ask::new("GET", &path) }).await?;
    }
}
