use base::job::Progress;

use crate::{format::Skipped, repository::Problem};

/// What happens while a backup is made, proven, restored or pruned.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// How far it is, in bytes.
    Progress(Progress),
    /// A file that should be in the backup could not be read.
    Skipped(Skipped),
    /// A part of the backup is not what was written.
    Problem(Problem),
    /// Something a person should know.
    Note(String),
}

/// Takes the events of one run.
pub type Sink<'a> = &'a (dyn Fn(Event) + Send + Sync);

/// Counts bytes and tells how far they are.
pub(crate) struct Meter<'a> {
    events: Sink<'a>,
    started: std::time::Instant,
    told: std::time::Instant,
    done: u64,
    total: u64,
}

const TELL_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

impl<'a> Meter<'a> {
    pub fn new(events: Sink<'a>, total: u64) -> Self {
        let now = std::time::Instant::now();
        Self { events, started: now, told: now, done: 0, total }
    }

    /// Takes note of `bytes` more; `note` says what of.
    pub fn add(&mut self, bytes: u64, note: impl FnOnce() -> String) {
        self.done += bytes;
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = std::time::Instant::now();
        let seconds = self.started.elapsed().as_secs_f64();
        let left = self.total.saturating_sub(self.done) as f64;
        // The first second says nothing about the rest.
        let eta = (seconds > 1.0 && self.done > 0).then(|| (left * seconds / self.done as f64) as u64);
        let megabytes = |bytes: u64| bytes / 1_000_000;
        (self.events)(Event::Progress(Progress {
            done: megabytes(self.done.min(self.total)),
            total: megabytes(self.total).max(1),
            unit: "MB".to_owned(),
            note: note(),
            eta_seconds: eta,
        }));
    }
}
