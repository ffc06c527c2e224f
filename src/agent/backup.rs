use std::time::{Duration, Instant};

use backup::{Memory, Schedule};
use base::{Clock, CustomerLayout, Layout};
use tokio::sync::mpsc;

use crate::supervisor::{Event, chain};

/// Starts a customer's backup when its schedule says so.
#[derive(Debug, Default)]
pub(crate) struct Backups {
    looked: Option<Instant>,
    /// When one was started last. One that ends without a note of its own is not started again at once.
    began: Option<Instant>,
    runs: bool,
    /// What was wrong with the schedule: told once.
    problem: Option<String>,
}

/// A schedule is read so often.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Between two attempts, whatever became of the first.
const REST: Duration = Duration::from_secs(3600);

impl Backups {
    /// Looks whether a backup is due, and starts it beside the supervisor's task.
    pub(crate) fn look(
        &mut self,
        layout: &Layout,
        customer: &CustomerLayout,
        clock: Clock,
        send: &mpsc::Sender<Event>,
    ) {
        let is_within = |at: Option<Instant>, time: Duration| at.is_some_and(|at| at.elapsed() < time);
        if self.runs || is_within(self.looked, LOOK_EVERY) || is_within(self.began, REST) {
            return;
        }
        self.looked = Some(Instant::now());
        let due = Schedule::read(customer).and_then(|schedule| {
            let Some(schedule) = schedule else { return Ok(false) };
            Ok(schedule.is_due(&Memory::read(customer)?, clock.now()))
        });
        match due {
            Ok(true) => self.start(layout, customer, send),
            Ok(false) => self.problem = None,
            Err(error) => {
                let problem = chain(&error);
                if self.problem.as_ref() != Some(&problem) {
                    tracing::warn!(customer = %customer.slug(), error = problem, "cannot read when backups are due");
                    self.problem = Some(problem);
                }
            }
        }
    }

    fn start(&mut self, layout: &Layout, customer: &CustomerLayout, send: &mpsc::Sender<Event>) {
        let (slug, log) = (customer.slug().clone(), customer.backup_log());
        let mut arguments: Vec<String> = ["backup", "create", "--scheduled", "--slug"].map(str::to_owned).to_vec();
        arguments.push(slug.to_string());
        if let Some(root) = layout.root() {
            arguments.extend(["--root".to_owned(), root.display().to_string()]);
        }
        // The last run's words are enough: what became of it stands in its own note.
        let _ = std::fs::remove_file(&log);
        let child = match stack::spawn(&layout.binary(), &arguments, &log) {
            Ok(child) => child,
            Err(error) => {
                tracing::warn!(customer = %slug, %error, "cannot start the backup");
                return;
            }
        };
        tracing::info!(customer = %slug, backup.pid = child.id(), "a backup began");
        (self.runs, self.began) = (true, Some(Instant::now()));
        let send = send.clone();
        tokio::spawn(async move {
            let mut child = child;
            let ended = tokio::task::spawn_blocking(move || child.wait()).await;
            match ended {
                Ok(Ok(status)) if status.success() => tracing::info!(customer = %slug, "a backup was made"),
                Ok(Ok(status)) => tracing::warn!(customer = %slug, %status, log = %log.display(), "a backup failed"),
                Ok(Err(error)) => tracing::warn!(customer = %slug, %error, "a backup was lost sight of"),
                Err(error) => tracing::warn!(customer = %slug, %error, "a backup was lost sight of"),
            }
            let _ = send.send(Event::BackedUp { slug }).await;
        });
    }

    pub(crate) fn ended(&mut self) {
        self.runs = false;
    }
}
