//! What a run did, counted as it happens.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    decide::Todo,
    format::{FileReport, FileStatus},
    item::Origin,
};

/// The counts of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub added: u64,
    pub changed: u64,
    pub moved: u64,
    pub unchanged: u64,
    /// Files with no row in the lake: vanished, or beyond the license's limit.
    pub files: Vec<FileReport>,
}

/// The counts, shared by the stages, and the documents the run will remove.
pub(crate) struct Ledger {
    counts: Mutex<Counts>,
    removed: HashSet<String>,
}

impl Ledger {
    pub fn new(unchanged: u64, removed: HashSet<String>) -> Self {
        let counts = Counts { unchanged, ..Counts::default() };
        Self { counts: Mutex::new(counts), removed }
    }

    pub fn is_removed(&self, document_id: &str) -> bool {
        self.removed.contains(document_id)
    }

    pub fn unchanged(&self) {
        self.counts().unchanged += 1;
    }

    pub fn put_down(&self, todo: &Todo, origin: Origin) {
        let mut counts = self.counts();
        match (origin, &todo.known) {
            (Origin::Touched, _) => counts.unchanged += 1,
            (_, Some(_)) => counts.changed += 1,
            (Origin::Moved, None) => counts.moved += 1,
            (_, None) => counts.added += 1,
        }
    }

    pub fn passed_over(&self, todo: &Todo, reason: String) {
        self.file(todo, FileStatus::Skipped, reason);
    }

    pub fn over_limit(&self, todo: &Todo) {
        let reason = "license limit: no more documents are allowed".to_owned();
        self.file(todo, FileStatus::OverLimit, reason);
    }

    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.counts())
    }

    fn file(&self, todo: &Todo, status: FileStatus, reason: String) {
        self.counts().files.push(FileReport {
            source: todo.source.to_string(),
            path: todo.relative.clone(),
            status,
            reason,
        });
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
