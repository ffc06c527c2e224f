//! Watches what tries to leave the customer's networks, where its roles have any, and keeps the notes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{CustomerLayout, Role, Slug, Timestamp, file};
use stack::egress::{Ledger, Table};
use stack::{RoleRecord, Runtime};
use tokio::sync::{mpsc, oneshot};

use super::Customer;
use crate::supervisor::{Event, chain};

/// Each look starts a program.
const LOOK_EVERY: Duration = Duration::from_secs(60);
const LEDGER_BYTES_MAX: u64 = 1 << 20;

/// Somebody who waits for a look.
type Asker = oneshot::Sender<Option<Ledger>>;

/// What is known, and who wants to know.
pub(super) struct Watch {
    path: PathBuf,
    ledger: Option<Ledger>,
    /// The rules were looked at, and made where they were missing: until then no container is started.
    pub(super) has_looked: bool,
    is_looking: bool,
    looked_at: Option<Instant>,
    /// Wait for a look that begins after they asked.
    asked: Vec<Asker>,
    /// Wait for the look that is under way.
    answered_next: Vec<Asker>,
}

impl Watch {
    pub(super) fn new(layout: &CustomerLayout) -> Self {
        Self {
            path: layout.egress(),
            ledger: None,
            has_looked: false,
            is_looking: false,
            looked_at: None,
            asked: Vec::new(),
            answered_next: Vec::new(),
        }
    }

    /// Says to everybody who asked that nothing can be counted here.
    fn nothing_to_count(&mut self) {
        for asker in self.asked.drain(..).chain(self.answered_next.drain(..)) {
            // Whoever asked may have gone.
            let _ = asker.send(None);
        }
    }

    /// Begins a look at the rules, beside the supervisor's task, when one is due or asked for. Rules are made, and looked at unasked,
    /// only while the roles are wanted: an uninstallation that removes rules and notes must not meet them again.
    fn look(&mut self, slug: &Slug, runtime: &Arc<Runtime>, is_wanted: bool, send: &mpsc::Sender<Event>) {
        let is_due = is_wanted && self.looked_at.is_none_or(|at| at.elapsed() > LOOK_EVERY);
        if self.is_looking || (!is_due && self.asked.is_empty()) {
            return;
        }
        self.is_looking = true;
        self.looked_at = Some(Instant::now());
        self.answered_next.append(&mut self.asked);
        let (slug, runtime, send) = (slug.clone(), Arc::clone(runtime), send.clone());
        tokio::spawn(async move {
            let look = runtime.look_at_rules(is_wanted).await;
            // The supervisor is gone when the agent ends.
            let _ = send.send(Event::Looked { slug, look }).await;
        });
    }

    /// Takes a look's outcome. `is_running` says whether a role runs.
    fn looked(&mut self, now: Timestamp, look: Result<Option<Table>, String>, is_running: bool) {
        (self.is_looking, self.has_looked) = (false, true);
        let ledger = self.ledger(now);
        if let Err(problem) = &look
            && ledger.problem.as_ref() != Some(problem)
        {
            tracing::warn!(problem, "what leaves the networks cannot be counted");
        }
        ledger.table(now, look, is_running);
        self.write();
        let ledger = self.ledger.clone();
        for asker in self.answered_next.drain(..) {
            let _ = asker.send(ledger.clone());
        }
    }

    /// Takes what a running role's own network counted: two small files of the kernel's, read at each look at the role, because what
    /// is in them goes with the container.
    pub(super) fn namespace(&mut self, now: Timestamp, runtime: &Runtime, role: Role, record: &RoleRecord) {
        if let Some(unrouted) = runtime.unrouted(record)
            && self.ledger(now).namespace(role, &record.identity, unrouted)
        {
            self.write();
        }
    }

    fn ledger(&mut self, now: Timestamp) -> &mut Ledger {
        self.ledger.get_or_insert_with(|| read(&self.path).unwrap_or_else(|| Ledger::new(now)))
    }

    fn write(&self) {
        let Some(ledger) = &self.ledger else { return };
        let bytes = serde_json::to_vec_pretty(ledger).map_err(std::io::Error::other);
        if let Err(error) = bytes.and_then(|bytes| file::write_atomic(&self.path, &bytes, 0o600)) {
            tracing::warn!(error = %chain(&error), "cannot keep note of what tried to leave; an agent that follows would not know it");
        }
    }
}

impl Customer {
    /// Takes note of somebody who wants to know what tried to leave; answered after a look.
    pub(crate) fn ask_for_egress(&mut self, asker: Asker) {
        self.watch.asked.push(asker);
    }

    pub(super) fn watch_networks(&mut self, send: &mpsc::Sender<Event>) {
        match self.runtime.as_ref().filter(|runtime| runtime.has_networks()) {
            Some(runtime) => self.watch.look(&self.slug, runtime, self.is_wanted, send),
            None => self.watch.nothing_to_count(),
        }
    }

    /// Takes what came of a look at the rules.
    pub(crate) fn looked(&mut self, look: Result<Option<Table>, String>) {
        let is_running = self.roles.values().any(|known| known.record.is_some());
        self.watch.looked(self.clock.now(), look, is_running);
    }
}

/// Notes that are damaged or of another version are begun anew: their first line says since when they are.
fn read(path: &std::path::Path) -> Option<Ledger> {
    let bytes = file::read_bounded(path, LEDGER_BYTES_MAX).ok()?;
    let ledger = serde_json::from_slice::<Ledger>(&bytes).ok().filter(|ledger| ledger.format == Ledger::FORMAT);
    if ledger.is_none() {
        tracing::warn!(path = %path.display(), "the notes of what tried to leave cannot be read; they begin anew");
    }
    ledger
}
