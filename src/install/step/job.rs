//! Long work done by roles: asked for by a key of this plan, so that asking again joins it or finds it done.

use std::time::{Duration, Instant};

use base::config::ServiceConfig;
use base::job::{JobRequest, JobState, JobStatus, Progress};
use base::{CustomerLayout, Role, Secret};
use plan::Step;
use plan::journal::Evidence;
use serde_json::{Value, json};
use stack::http::{Ask, CallError, Endpoint, call_json};

use super::World;
use crate::Error;
use crate::act::{Probe, Report};
use crate::files::bytes_if_any;

/// A role that is gone this long is not merely being restarted.
const GONE_PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(400);
const RECEIPT_BYTES_MAX: u64 = 4 << 20;
/// A result is kept in the journal when it is a summary, not a list.
const RESULT_BYTES_MAX: usize = 16 << 10;

pub(super) async fn ingest(world: &World<'_>, report: Report<'_>) -> Result<Evidence, Error> {
    let result = run(&Service::open(world, Role::Ingest).await?, key(world), Value::Null, report).await?;
    Ok(Evidence::default().with("report", summary(result)))
}

pub(super) async fn train(world: &World<'_>, minutes: u32, report: Report<'_>) -> Result<Evidence, Error> {
    let params = json!({ "minutes": minutes });
    let result = run(&Service::open(world, Role::Trainer).await?, key(world), params, report).await?;
    Ok(Evidence::default().with("outcome", summary(result)))
}

/// What was restored from a backup has been trained: the installation it was made of says so. That counts once, for the
/// installation that follows the restoring.
pub(super) fn probe_training(customer: &CustomerLayout) -> Result<Probe, Error> {
    if customer.receipt().exists() || !customer.loras().is_dir() {
        return Ok(Probe::Unknown);
    }
    let former = customer.former().join(customer.receipt().file_name().unwrap_or_default());
    // One that cannot be read only costs a training.
    let former = bytes_if_any(&former, RECEIPT_BYTES_MAX).ok().flatten();
    let receipt = former.and_then(|bytes| plan::Receipt::from_json(&bytes).ok());
    let adapter = receipt.and_then(|receipt| receipt.adapter);
    Ok(adapter.filter(|adapter| adapter.version.is_some()).map_or(Probe::Unknown, |adapter| {
        let outcome = json!({ "version": adapter.version, "decision": adapter.decision });
        Probe::Holds(Evidence::default().with("outcome", outcome))
    }))
}

/// Drops lists that are too long for a journal line: they stand in the role's own report.
fn summary(result: Option<Value>) -> Value {
    let mut result = result.unwrap_or(Value::Null);
    if result.to_string().len() > RESULT_BYTES_MAX
        && let Some(fields) = result.as_object_mut()
    {
        fields.retain(|_, value| !value.is_array() && !value.is_object());
    }
    result
}

/// Names the job of this plan: asking again, also after a crash, is asking for the same.
fn key(world: &World<'_>) -> String {
    format!("install-{}", world.plan.digest().hex())
}

async fn run(service: &Service, key: String, params: Value, report: Report<'_>) -> Result<Option<Value>, Error> {
    let role = service.role;
    let request = JobRequest { key: Some(key), params };
    let body = serde_json::to_value(&request).map_err(|error| Error::JobFailed { role, cause: error.to_string() })?;
    let mut id: Option<String> = None;
    let mut last_answer = Instant::now();
    loop {
        let asked: Result<JobStatus, CallError> = match &id {
            None => service.ask("POST", "/v1/jobs", Some(body.clone())).await,
            Some(id) => service.ask("GET", &format!("/v1/jobs/{id}"), None).await,
        };
        match asked {
            Ok(status) => {
                last_answer = Instant::now();
                match status.state {
                    JobState::Done => return Ok(status.result),
                    JobState::Failed | JobState::Cancelled => {
                        let cause = status.error.unwrap_or_else(|| "the job was cancelled".to_owned());
                        return Err(Error::JobFailed { role, cause });
                    }
                    JobState::Running => {
                        report(status.progress);
                        id = Some(status.id);
                    }
                }
            }
            // The role was restarted and has forgotten the running job: the same key starts it again, and it goes on
            // from its own checkpoint.
            Err(CallError::Status { status: 404, .. }) if id.is_some() => id = None,
            // Another job runs, or the role is on its way up: it answers, so it is worth waiting for.
            Err(CallError::Status { status: 409 | 503, message, .. }) => {
                last_answer = Instant::now();
                report(Progress { note: message, ..Progress::default() });
            }
            Err(error @ CallError::Status { .. }) => return Err(Error::Role { role, source: error }),
            Err(error) if last_answer.elapsed() > GONE_PATIENCE => return Err(Error::Role { role, source: error }),
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A role's address and the token it wants.
pub(super) struct Service {
    role: Role,
    endpoint: Endpoint,
    token: Secret,
}

impl Service {
    pub(super) async fn open(world: &World<'_>, role: Role) -> Result<Self, Error> {
        let path = world.customer.token();
        let token = Secret::read(&path).map_err(|source| Error::Read { path, source: source.into() })?;
        let endpoint = stack::endpoint(world.layout, &world.customer, role).await.map_err(Error::Stack)?;
        Ok(Self { role, endpoint, token })
    }

    pub(super) async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, CallError> {
        let ask = Ask { token: Some(&self.token), body, deadline: Duration::from_secs(60), ..Ask::new(method, path) };
        call_json(&self.endpoint, ask).await
    }
}

/// Every plan has exactly one configuration step.
pub(super) fn config<'a>(world: &World<'a>) -> Option<&'a ServiceConfig> {
    world.plan.steps().iter().find_map(|step| match step {
        Step::Config { config, .. } => Some(config.as_ref()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Answers one connection after the other with `answers`, and returns the first lines of what was asked.
    async fn role(listener: tokio::net::TcpListener, answers: &[(u16, Value)]) -> Vec<String> {
        let mut asked = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            let length = stream.read(&mut bytes).await.unwrap();
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            asked.push(text.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned());
            let body = body.to_string();
            let reply = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(reply.as_bytes()).await.unwrap();
        }
        asked
    }

    async fn check(answers: &[(u16, Value)]) -> (Result<Option<Value>, Error>, Vec<String>, Vec<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::loopback(listener.local_addr().unwrap().port());
        let service = Service { role: Role::Trainer, endpoint, token: Secret::new("t") };
        let notes = Mutex::new(Vec::new());
        let report = |progress: Progress| notes.lock().unwrap().push(progress.note);
        let (outcome, asked) =
            tokio::join!(run(&service, "k".to_owned(), Value::Null, &report), role(listener, answers));
        (outcome, asked, notes.into_inner().unwrap())
    }

    fn job(state: &str) -> Value {
        json!({ "id": "7", "state": state, "progress": { "note": "half" }, "result": { "version": "v1" }, "error": "why" })
    }

    #[tokio::test]
    async fn waits_its_turn_and_starts_again_what_a_restarted_role_forgot() {
        let busy = json!({ "error": "a training runs already" });
        let answers =
            [(409, busy.clone()), (202, job("running")), (404, busy), (202, job("running")), (200, job("done"))];
        let (outcome, asked, notes) = check(&answers).await;
        assert_eq!(outcome.unwrap().unwrap()["version"], "v1");
        assert_eq!(asked, ["POST /v1/jobs", "POST /v1/jobs", "GET /v1/jobs/7", "POST /v1/jobs", "GET /v1/jobs/7"]);
        assert_eq!(notes, ["a training runs already", "half", "half"]);
    }

    #[tokio::test]
    async fn a_failed_job_fails_with_its_own_words() {
        let (outcome, ..) = check(&[(200, job("failed"))]).await;
        assert!(matches!(&outcome, Err(Error::JobFailed { cause, .. }) if cause == "why"), "{outcome:?}");
        let (outcome, ..) = check(&[(401, json!({ "error": "the token is wrong" }))]).await;
        assert!(matches!(&outcome, Err(Error::Role { role: Role::Trainer, .. })), "{outcome:?}");
    }
}
