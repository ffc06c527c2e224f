//! What is written into the audit logs from here.

use audit::{Act, Entry, Log, Outcome, Who};
use base::Clock;

/// Records an act of whoever runs this. A log that cannot be written keeps nobody from working: it is said, and the work goes on.
pub(crate) async fn record(log: Log, entry: Entry) {
    let name = log.name();
    let appended = tokio::task::spawn_blocking(move || log.append(entry, Clock::system())).await;
    let error = match appended {
        Ok(Ok(_)) => return,
        Ok(Err(error)) => crate::execute::chain(&error),
        Err(error) => error.to_string(),
    };
    tracing::error!(audit.log = name, error, "an act could not be written into the audit log");
}

/// An act of whoever runs this.
pub(crate) fn entry(act: Act) -> Entry {
    Entry::new(Who::this_process(), act)
}

/// Returns the entry with how it ended.
pub(crate) fn ended<T>(entry: Entry, result: &Result<T, crate::Error>) -> Entry {
    match result {
        Ok(_) => entry,
        Err(error) => entry.outcome(Outcome::Failed).detail(crate::execute::chain(error)),
    }
}
