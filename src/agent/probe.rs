//! The small job each role is asked to do, apart from being asked whether it lives.
//!
//! A job fails only if the role did not do it, or did it wrong. One that waits behind real work is told apart by the role's own count of
//! that work: if it moved meanwhile, the role is busy; if it stood, the role is stuck.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base::{Beat, Canary, CustomerLayout, Role, Secret};
use install::control::WorkVerdict;
use serde_json::{Value, json};
use stack::Runtime;
use stack::http::{Ask, CallError, Endpoint, Reply, call};

use crate::supervisor::chain;

/// What a probe met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) verdict: WorkVerdict,
    /// What was found, or why it failed.
    pub(crate) note: String,
    /// How long the job took, where it came to its end.
    pub(crate) took: Option<Duration>,
    /// How far the role was afterwards; none where it does not count.
    pub(crate) beat: Option<Beat>,
}

/// What is known before a probe.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// How far the role was at the last probe.
    pub(crate) beat: Option<Beat>,
    /// The roles that are ready.
    pub(crate) ready: BTreeSet<Role>,
}

const PULSE_PATIENCE: Duration = Duration::from_secs(5);
/// The engine is asked where a container is.
const ENDPOINT_PATIENCE: Duration = Duration::from_secs(10);
/// A vector's length is one, but for rounding.
const NORM_TOLERANCE: f64 = 0.01;

/// Asks `role` to do its small job.
pub(crate) async fn probe(runtime: &Runtime, layout: &CustomerLayout, role: Role, known: &Known) -> Probed {
    let of = |verdict, note: String| Probed { verdict, note, took: None, beat: None };
    let token = match Secret::read(&layout.token()) {
        Ok(token) => token,
        Err(error) => return of(WorkVerdict::Unknown, chain(&error)),
    };
    let endpoint = match tokio::time::timeout(ENDPOINT_PATIENCE, runtime.endpoint(role)).await {
        Ok(Ok(endpoint)) => endpoint,
        Ok(Err(error)) => return of(WorkVerdict::Unknown, chain(&error)),
        Err(_) => return of(WorkVerdict::Unknown, "the engine did not say where it is".to_owned()),
    };
    let config = runtime.config();
    let (page, api) = match role {
        Role::Console => (Some(endpoint), Endpoint::loopback(config.api_port())),
        _ => (None, endpoint),
    };
    let model = &config.embed_model.name;
    let dimension = config.dimension();
    let job = Job { role, page, api, token: &token, model, dimension, known, patience: patience(role) };
    job.probe().await
}

struct Job<'a> {
    role: Role,
    /// Where the console's page is.
    page: Option<Endpoint>,
    api: Endpoint,
    token: &'a Secret,
    /// The embedding model's name, and the length of its vectors.
    model: &'a str,
    dimension: usize,
    known: &'a Known,
    /// For the whole job.
    patience: Duration,
}

/// Why a job was not done.
enum Failed {
    /// No answer in time, or told to come back: real work may be why.
    Late(String),
    /// A role it needs is not there.
    Blocked(String),
    /// It did it wrong.
    Wrong(String),
}

/// How long a role may take for its job. A role under load takes longer than any idle one would; what counts then is that it moves.
fn patience(role: Role) -> Duration {
    Duration::from_secs(match role {
        // A file of somebody's may keep every worker busy for a minute before it is given up.
        Role::Ingest => 120,
        Role::Embed => 20,
        _ => 30,
    })
}

impl Job<'_> {
    async fn probe(&self) -> Probed {
        let before = self.pulse().await;
        let moved = |from: Option<Beat>, to: Option<Beat>| matches!((from, to), (Some(from), Some(to)) if to.moved > from.moved);
        // Real answers say more than a probe, and a probe would throw away what the model remembers of the conversation under way.
        if self.role == Role::Llm && moved(self.known.beat, before) {
            return self.probed(WorkVerdict::Good, "answers were made".to_owned(), None, before);
        }
        let begun = Instant::now();
        let outcome = self.work().await;
        let took = begun.elapsed();
        let after = self.pulse().await;
        match outcome {
            Ok(note) => self.probed(WorkVerdict::Good, note, Some(took), after),
            Err(Failed::Late(why)) if moved(before, after) => {
                self.probed(WorkVerdict::Busy, format!("{why}, and real work went on"), None, after)
            }
            Err(Failed::Blocked(why)) => self.probed(WorkVerdict::Blocked, why, None, after),
            Err(Failed::Late(why) | Failed::Wrong(why)) => self.probed(WorkVerdict::Failing, why, None, after),
        }
    }

    fn probed(&self, verdict: WorkVerdict, note: String, took: Option<Duration>, beat: Option<Beat>) -> Probed {
        Probed { verdict, note, took, beat }
    }

    async fn pulse(&self) -> Option<Beat> {
        let ask = Ask { token: Some(self.token), deadline: PULSE_PATIENCE, ..Ask::new("GET", "/v1/pulse") };
        let reply = call(&self.api, ask).await.ok().filter(|reply| reply.status == 200)?;
        serde_json::from_slice(&reply.body).ok()
    }

    async fn work(&self) -> Result<String, Failed> {
        match self.role {
            Role::Llm => self.generate().await,
            Role::Embed => self.embed().await,
            Role::Console => self.serve().await,
            Role::Lake | Role::Ingest | Role::Trainer => self.canary().await.map(found),
        }
    }

    async fn generate(&self) -> Result<String, Failed> {
        let body = json!({ "model": "base", "prompt": "1", "max_tokens": 1, "temperature": 0 });
        let reply = self.json("/v1/completions", Some(body)).await?;
        match reply["choices"][0]["finish_reason"].as_str() {
            Some("length" | "stop") => Ok("a token was made".to_owned()),
            _ => Err(Failed::Wrong("its answer has no end".to_owned())),
        }
    }

    async fn embed(&self) -> Result<String, Failed> {
        let body = json!({ "model": self.model, "input": "Zaunkönig 0711", "encoding_format": "float" });
        let reply = self.json("/v1/embeddings", Some(body)).await?;
        check_vector(&reply["data"][0]["embedding"], self.dimension).map_err(Failed::Wrong)?;
        Ok(format!("a vector of {} numbers", self.dimension))
    }

    async fn canary(&self) -> Result<Canary, Failed> {
        let reply = self.json("/v1/canary", None).await?;
        serde_json::from_value(reply).map_err(|error| Failed::Wrong(format!("its answer is no canary's: {error}")))
    }

    async fn serve(&self) -> Result<String, Failed> {
        if let Some(page) = &self.page {
            let ask = Ask { deadline: self.patience, ..Ask::new("GET", "/login") };
            let reply = call(page, ask).await.map_err(late)?;
            let is_page = reply.status == 200 && String::from_utf8_lossy(&reply.body).contains("<form");
            if !is_page {
                return Err(Failed::Wrong(format!("the page answers {} and no form", reply.status)));
            }
        }
        let canary = self.canary().await?;
        let told = |(role, why): (&Role, &String)| format!("{role}: {why}");
        let (ready, absent): (Vec<_>, Vec<_>) =
            canary.unreachable.iter().partition(|(role, _)| self.known.ready.contains(role));
        let list = |all: Vec<_>| all.into_iter().map(told).collect::<Vec<_>>().join("; ");
        if !ready.is_empty() {
            return Err(Failed::Wrong(format!("it does not reach a role which is ready: {}", list(ready))));
        }
        if !absent.is_empty() {
            return Err(Failed::Blocked(list(absent)));
        }
        Ok(found(canary))
    }

    async fn json(&self, path: &str, body: Option<Value>) -> Result<Value, Failed> {
        let ask = Ask { token: Some(self.token), body, deadline: self.patience, ..Ask::new("POST", path) };
        let reply = call(&self.api, ask).await.map_err(late)?;
        match reply.status {
            200 => serde_json::from_slice(&reply.body)
                .map_err(|error| Failed::Wrong(format!("its answer is no JSON: {error}"))),
            429 | 503 => Err(Failed::Late(said(&reply))),
            _ => Err(Failed::Wrong(said(&reply))),
        }
    }
}

/// Writes what was found for people.
fn found(canary: Canary) -> String {
    canary.found.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

fn said(reply: &Reply) -> String {
    format!("it answers {}: {}", reply.status, reply.message())
}

fn late(error: CallError) -> Failed {
    match error {
        CallError::TimedOut { deadline, .. } => Failed::Late(format!("no answer within {} s", deadline.as_secs())),
        error => Failed::Wrong(chain(&error)),
    }
}

/// Checks that a value is a vector of length one, with as many numbers as those in the lake.
fn check_vector(value: &Value, expected: usize) -> Result<(), String> {
    let numbers = value.as_array().ok_or("its answer has no vector")?;
    let square: f64 = numbers.iter().map(|number| number.as_f64().unwrap_or(f64::NAN).powi(2)).sum();
    let norm = square.sqrt();
    if norm.is_nan() || (norm - 1.0).abs() > NORM_TOLERANCE {
        return Err(format!("its vector has the length {norm:.3} instead of 1"));
    }
    match numbers.len() {
        count if count == expected => Ok(()),
        count => Err(format!("its vector has {count} numbers, and those in the lake {expected}")),
    }
}

#[cfg(test)]
mod tests;
