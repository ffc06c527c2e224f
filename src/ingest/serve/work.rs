//! What a job of the role does: one run, over folders it may read.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use base::{
    Canary, Clock, CustomerLayout, Role, Secret,
    config::ServiceConfig,
    job::{JobHandle, Progress},
};
use engine::{EmbedTokenizer, Embedding};
use extract::{
    Outcome,
    handler::{HandlerLimits, Runner},
    sandbox::Applied,
    worker::Pool,
};
use lake::EmbedSpec;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{Corrected, Domain, Error, Event, Job, Options, Report, correct, limits, read_report, run};

/// A job's result names at most this many files; the report has them all.
const MAX_FILES_IN_RESULT: usize = 100;
/// What the canary's file says.
const CANARY: &str = "Zaunkönig 0711";

/// What a caller may ask for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Params {
    /// Configured folders, or folders below them. Absent: all configured ones.
    folders: Option<Vec<PathBuf>>,
    retry: bool,
    prune: bool,
}

impl Params {
    pub fn parse(value: Value) -> Result<Self, String> {
        match value {
            Value::Null => Ok(Self::default()),
            value => serde_json::from_value(value).map_err(|error| format!("params: {error}")),
        }
    }
}

/// Makes runs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Works(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) config: ServiceConfig,
    pub(super) state_dir: PathBuf,
    customer: CustomerLayout,
    lake: lake::Access,
    embedding: Embedding,
    pool: Pool,
    runner: Runner,
    readers: usize,
    /// Runs take turns: two over the same folders would do the same work twice.
    turn: Mutex<()>,
}

impl Works {
    pub fn new(config: ServiceConfig, customer: CustomerLayout, token: &Secret, exe: PathBuf) -> Result<Self, Error> {
        let tokenizer = EmbedTokenizer::open(&config.embed_model.path).map_err(|source| Error::Embed { source })?;
        let embed = engine::client::EmbedClient::new(config.url(Role::Embed), token.clone());
        let spec = EmbedSpec { dimension: config.dimension(), model: config.embed_model.digest };
        let lake = lake::Client::new(&config.url(Role::Lake), token.clone(), spec)
            .map_err(|source| Error::Lake { act: "making its client", source })?;
        let readers = usize::try_from(config.threads).unwrap_or(1).max(1);
        Ok(Self(Arc::new(Inner {
            lake: lake::Access::Remote(lake),
            embedding: Embedding::Remote(embed, tokenizer),
            runner: Runner::new(exe.clone(), HandlerLimits::default()),
            pool: Pool::new(exe, readers, limits()),
            readers,
            turn: Mutex::new(()),
            state_dir: customer.ingest_state(),
            config,
            customer,
        })))
    }

    /// Returns the parameters with folders filled in, or why they are refused.
    pub fn check(&self, mut params: Params) -> Result<Params, String> {
        let configured = &self.0.config.folders;
        for folder in params.folders.iter().flatten() {
            let is_plain = !folder.components().any(|part| part == std::path::Component::ParentDir);
            if !is_plain || !configured.iter().any(|allowed| folder.starts_with(allowed)) {
                return Err(format!("`{}` is not one of the configured folders", folder.display()));
            }
        }
        params.folders.get_or_insert_with(|| configured.clone());
        Ok(params)
    }

    pub fn worker_sandbox(&self) -> Option<Applied> {
        self.0.pool.sandbox()
    }

    /// Reads a small file in a worker, as any file is read: the worker starts, its walls hold, and its text comes back.
    pub async fn canary(&self) -> Result<Canary, String> {
        let path = self.0.customer.ingest_state().join("canary.txt");
        // Written once: a probe must not need room on the disk.
        let write = |path: &Path| match std::fs::read(path) {
            Ok(found) if found == CANARY.as_bytes() => Ok(()),
            _ => std::fs::write(path, CANARY),
        };
        write(&path).map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
        let read = self.0.pool.extract(&path).await.map_err(|error| chain(&error))?;
        match read {
            Outcome::Text(document) if document.blocks.iter().any(|block| block.text.trim() == CANARY) => {
                Ok(Canary::default().with("format", document.format))
            }
            other => Err(format!("a worker read other words than were written: {other:?}")),
        }
    }

    /// Puts a document into the domain a person named. A run under way is waited for: it has read what was put right before.
    pub async fn correct(&self, document: &str, domain: Domain) -> Result<Corrected, Error> {
        let _turn = self.0.turn.lock().await;
        correct(&self.0.lake, &self.0.embedding, &self.0.state_dir, document, domain, Clock::system()).await
    }

    pub fn report(&self) -> Result<Report, Error> {
        read_report(&self.0.customer.ingest_state())
    }

    /// Runs, and returns the report with the first files that are not searchable.
    pub async fn run(self, params: Params, handle: JobHandle) -> Result<Value, String> {
        let cancel = handle.cancel_token();
        let _turn = tokio::select! {
            // Nothing was begun: there is nothing to undo.
            () = cancel.cancelled() => return Err("stopped before it began".to_owned()),
            turn = self.0.turn.lock() => turn,
        };
        let inner = &*self.0;
        let job = Job {
            folders: params.folders.unwrap_or_default(),
            lake: inner.lake.clone(),
            embedding: inner.embedding.clone(),
            pool: inner.pool.clone(),
            readers: inner.readers,
            max_file_bytes: limits().max_file_bytes,
            max_documents: inner.config.max_documents,
            state_dir: inner.state_dir.clone(),
            options: Options { retry: params.retry, prune: params.prune, ..Options::default() },
            // Opened for each run: somebody may have approved one since the last.
            handlers: Some(
                handlers::Desk::open(&inner.customer, inner.runner.clone(), Clock::system())
                    .map_err(|error| chain(&error))?,
            ),
            clock: Clock::system(),
        };
        let events = |event| {
            if let Some(progress) = progress(event) {
                handle.progress(progress);
            }
        };
        let mut report = run(job, &events, cancel).await.map_err(|error| chain(&error))?;
        if report.interrupted {
            return Err("stopped; the next run goes on from there".to_owned());
        }
        report.files.truncate(MAX_FILES_IN_RESULT);
        serde_json::to_value(report).map_err(|error| error.to_string())
    }
}

fn progress(event: Event) -> Option<Progress> {
    match event {
        Event::Walking { files } => Some(Progress {
            done: files,
            unit: "files".to_owned(),
            note: "listing folders".to_owned(),
            ..Progress::default()
        }),
        Event::Planned { files, .. } => {
            Some(Progress { total: files, unit: "files".to_owned(), ..Progress::default() })
        }
        Event::Progress(progress) => Some(Progress {
            done: progress.files_done,
            total: progress.files_total,
            unit: "files".to_owned(),
            note: format!("{} passages", progress.chunks),
            eta_seconds: progress.eta_seconds,
        }),
        Event::Committed { .. } | Event::Note { .. } | Event::Finished(_) => None,
    }
}

pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
