//! Long-running work of a role, asked for and watched over HTTP.
//!
//! A job with a key runs once: asking again returns the running job, or the finished one's result, also after the role was
//! restarted. A failed or cancelled job may be asked for again.

use std::{
    collections::HashMap,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{Digest, Pulse, file};

const MAX_RESULT_BYTES: u64 = 16 << 20;

/// Asks a role to start a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobRequest {
    /// The same key means the same job.
    #[serde(default)]
    pub key: Option<String>,
    #[serde(default)]
    pub params: Value,
}

/// How a job stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobStatus {
    pub id: String,
    pub state: JobState,
    pub progress: Progress,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    Running,
    Done,
    Failed,
    Cancelled,
}

/// How far a job is. `total` 0 means that nobody knows yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
    pub unit: String,
    pub note: String,
    pub eta_seconds: Option<u64>,
}

/// The jobs of one role: those of this process in memory, finished ones with a key in files.
#[derive(Clone)]
pub struct Jobs {
    dir: Arc<PathBuf>,
    entries: Arc<Mutex<HashMap<String, Entry>>>,
    pulse: Pulse,
}

struct Entry {
    status: JobStatus,
    cancel: CancellationToken,
}

/// What a running job holds: it reports progress and learns that it should stop.
#[derive(Clone)]
pub struct JobHandle {
    id: String,
    jobs: Jobs,
    cancel: CancellationToken,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    format: u32,
    status: JobStatus,
}

impl Jobs {
    /// Opens the folder where finished jobs are kept, making it if needed.
    pub fn open(dir: &Path) -> io::Result<Self> {
        file::private_dir(dir)?;
        Ok(Self { dir: Arc::new(dir.to_owned()), entries: Arc::default(), pulse: Pulse::default() })
    }

    /// Starts a job, or returns the one that has this key and runs or succeeded.
    ///
    /// `run` is called only when a job is started. Its `Err` text becomes the job's error.
    pub fn start<F, Fut>(&self, key: Option<&str>, run: F) -> io::Result<JobStatus>
    where
        F: FnOnce(JobHandle) -> Fut,
        Fut: Future<Output = Result<Value, String>> + Send + 'static,
    {
        let id = match key {
            Some(key) => Digest::of(key.as_bytes()).hex()[..16].to_owned(),
            None => crate::Secret::generate()?.expose()[..16].to_owned(),
        };
        let mut entries = self.entries();
        if let Some(known) =
            entries.get(&id).filter(|entry| matches!(entry.status.state, JobState::Running | JobState::Done))
        {
            return Ok(known.status.clone());
        }
        if let Some(kept) = self.kept(&id) {
            return Ok(kept);
        }
        let status = JobStatus {
            id: id.clone(),
            state: JobState::Running,
            progress: Progress::default(),
            result: None,
            error: None,
        };
        let cancel = CancellationToken::new();
        entries.insert(id.clone(), Entry { status: status.clone(), cancel: cancel.clone() });
        drop(entries);
        let handle = JobHandle { id: id.clone(), jobs: self.clone(), cancel: cancel.clone() };
        let running = self.pulse.begin();
        let work = tokio::spawn(run(handle));
        let jobs = self.clone();
        let has_key = key.is_some();
        tokio::spawn(async move {
            let outcome = match work.await {
                Ok(outcome) => outcome,
                Err(panicked) => Err(format!("the job broke off: {panicked}")),
            };
            running.done();
            jobs.finish(&id, outcome, cancel.is_cancelled(), has_key);
        });
        Ok(status)
    }

    /// Returns how a job stands, `None` when nobody knows it.
    pub fn status(&self, id: &str) -> Option<JobStatus> {
        let known = self.entries().get(id).map(|entry| entry.status.clone());
        known.or_else(|| self.kept(id))
    }

    /// Asks a job to stop. Returns whether there was one running.
    pub fn cancel(&self, id: &str) -> bool {
        match self.entries().get(id) {
            Some(entry) if entry.status.state == JobState::Running => {
                entry.cancel.cancel();
                true
            }
            _ => false,
        }
    }

    /// Asks every running job to stop.
    pub fn cancel_all(&self) {
        for entry in self.entries().values() {
            entry.cancel.cancel();
        }
    }

    /// Returns the pulse of all jobs: each progress a job reports is a step.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Returns a running job, if there is one.
    pub fn current(&self) -> Option<JobStatus> {
        let entries = self.entries();
        let running = entries.values().find(|entry| entry.status.state == JobState::Running);
        running.map(|entry| entry.status.clone())
    }

    fn finish(&self, id: &str, outcome: Result<Value, String>, cancelled: bool, has_key: bool) {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(id) else {
            return;
        };
        match outcome {
            Ok(result) => {
                entry.status.state = JobState::Done;
                entry.status.result = Some(result);
            }
            Err(error) => {
                entry.status.state = if cancelled { JobState::Cancelled } else { JobState::Failed };
                entry.status.error = Some(error);
            }
        }
        let kept = Kept { format: 1, status: entry.status.clone() };
        drop(entries);
        if !has_key || kept.status.state != JobState::Done {
            return;
        }
        let written = serde_json::to_vec(&kept).map_err(io::Error::other);
        let written = written.and_then(|bytes| file::write_atomic(&self.file(id), &bytes, 0o600));
        if let Err(error) = written {
            // The job is done all the same; after a restart it would be done once more.
            tracing::warn!(job.id = id, %error, "cannot keep the result of a finished job");
        }
    }

    fn kept(&self, id: &str) -> Option<JobStatus> {
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        let bytes = file::read_bounded(&self.file(id), MAX_RESULT_BYTES).ok()?;
        let kept: Kept = serde_json::from_slice(&bytes).ok()?;
        (kept.format == 1).then_some(kept.status)
    }

    fn file(&self, id: &str) -> PathBuf {
        self.dir.join(format!("{id}.json"))
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobHandle {
    /// Returns the job's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Says how far the job is.
    pub fn progress(&self, progress: Progress) {
        self.jobs.pulse.step();
        if let Some(entry) = self.jobs.entries().get_mut(&self.id) {
            entry.status.progress = progress;
        }
    }

    /// Returns whether the job should stop.
    pub fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Returns the token that is cancelled when the job should stop.
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn finished(jobs: &Jobs, id: &str) -> JobStatus {
        let wait = async {
            loop {
                match jobs.status(id) {
                    Some(status) if status.state != JobState::Running => return status,
                    _ => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap()
    }

    #[tokio::test]
    async fn a_keyed_job_runs_once_also_across_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = Jobs::open(dir.path()).unwrap();
        let first = jobs.start(Some("install-1"), |_| async { Ok(Value::from(7)) }).unwrap();
        assert_eq!(finished(&jobs, &first.id).await.result, Some(Value::from(7)));
        let reopened = Jobs::open(dir.path()).unwrap();
        let again = reopened.start(Some("install-1"), |_| async { Err("ran twice".to_owned()) }).unwrap();
        assert_eq!((again.state, again.result), (JobState::Done, Some(Value::from(7))));
    }

    #[tokio::test]
    async fn a_failed_or_cancelled_job_may_be_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = Jobs::open(dir.path()).unwrap();
        let failed = jobs.start(Some("k"), |_| async { Err("no".to_owned()) }).unwrap();
        assert_eq!(finished(&jobs, &failed.id).await.error.as_deref(), Some("no"));
        let waits = |handle: JobHandle| async move {
            handle.cancel_token().cancelled().await;
            Err("stopped".to_owned())
        };
        let second = jobs.start(Some("k"), waits).unwrap();
        assert_eq!(second.state, JobState::Running);
        assert!(jobs.cancel(&second.id));
        assert_eq!(finished(&jobs, &second.id).await.state, JobState::Cancelled);
    }

    #[tokio::test]
    async fn a_panic_is_a_failed_job() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = Jobs::open(dir.path()).unwrap();
        let status = jobs.start(None, |_| async { panic!("broken on purpose") }).unwrap();
        assert_eq!(finished(&jobs, &status.id).await.state, JobState::Failed);
    }

    #[test]
    fn an_id_is_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = Jobs::open(dir.path()).unwrap();
        assert!(jobs.status("../../etc/passwd").is_none());
    }
}
