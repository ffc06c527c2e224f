//! Starts the program that updates: it decides what may be done, and outlives the agent it replaces.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ::update::{Attempt, Policy, Record, Stage};
use base::Layout;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Something that was broken off, or that waits for its window, is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A channel is asked this often, and one hour later by half of the machines.
const ASK_EVERY: Duration = Duration::from_secs(6 * 3600);
/// A release that was approved does not wait for that, but may not be there yet.
const ASK_APPROVED_EVERY: Duration = Duration::from_secs(600);
const SPREAD_MAX_SECONDS: u64 = 3600;

/// Looks after updates until `shutdown`.
pub(crate) async fn look_after(layout: Layout, shutdown: CancellationToken) {
    let mut child: Option<Child> = None;
    // Not all machines ask at the same moment, and one that starts again and again does not ask each time.
    let mut next_question = Instant::now() + Duration::from_secs(120 + spread());
    let mut next_approved = Instant::now();
    loop {
        tokio::select! {
            // Cancel-safe: what is dropped is a wait.
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
        if let Some(running) = &mut child {
            if matches!(running.try_wait(), Ok(None)) {
                continue;
            }
            child = None;
        }
        let is_due = Instant::now() >= next_question;
        let is_approved_due = Instant::now() >= next_approved;
        if !is_wanted(&layout, is_due, is_approved_due) {
            continue;
        }
        if is_approved_due {
            next_approved = Instant::now() + ASK_APPROVED_EVERY;
        }
        if is_due {
            next_question = Instant::now() + ASK_EVERY + Duration::from_secs(spread());
        }
        match start(&layout) {
            Ok(started) => child = started,
            Err(error) => tracing::warn!(%error, "cannot start the program that updates"),
        }
    }
}

fn spread() -> u64 {
    u64::from(std::process::id()) * 7919 % SPREAD_MAX_SECONDS
}

/// Work that was begun goes on whatever the policy; the channel is asked when somebody wants that, and it is time.
fn is_wanted(layout: &Layout, is_due: bool, is_approved_due: bool) -> bool {
    let record = Record::new(layout);
    let (Ok(settings), Ok(state)) = (record.settings(), record.state()) else { return false };
    // Whoever holds the lock is at work.
    if record.lock().is_err() {
        return false;
    }
    let is_begun =
        |attempt: &Attempt| attempt.is_broken_off() || matches!(attempt.stage, Stage::Ready | Stage::Rehearsing);
    let goes_on = state.attempt.as_ref().is_some_and(is_begun);
    let asks = settings.channel.is_some() && settings.policy != Policy::Manual;
    goes_on || (asks && (is_due || (is_approved_due && state.approved.is_some())))
}

/// Under systemd the agent has fewer rights than an update needs, and hands them on to its children: a unit of its own does it.
fn start(layout: &Layout) -> std::io::Result<Option<Child>> {
    if layout.update_unit().is_some_and(|unit| unit.exists()) && Path::new("/run/systemd/system").is_dir() {
        let mut ask = Command::new("systemctl");
        ask.args(["start", "--no-block", install::UPDATE_UNIT_NAME]).stdin(Stdio::null()).stdout(Stdio::null());
        return ask.spawn().map(Some);
    }
    let mut arguments = vec!["update".to_owned(), "--unattended".to_owned(), "--json".to_owned()];
    if let Some(root) = layout.root() {
        arguments.extend(["--root".to_owned(), root.display().to_string()]);
    }
    stack::spawn(&layout.binary(), &arguments, &layout.update_log()).map(Some)
}

#[cfg(test)]
mod tests {
    use ::update::{Settings, State};

    use super::*;

    #[test]
    fn nothing_is_started_unless_somebody_wants_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        let record = Record::new(&layout);
        assert!(!is_wanted(&layout, true, true), "updates are off as long as nobody sets them up");
        let settings =
            Settings { channel: Some("/srv/channel".into()), policy: Policy::Approve, ..Settings::default() };
        record.set(&settings).unwrap();
        assert!(is_wanted(&layout, true, true) && !is_wanted(&layout, false, true));
        record.put(&State { approved: Some("0.2.0".parse().unwrap()), ..State::default() }).unwrap();
        assert!(is_wanted(&layout, false, true), "an approved release does not wait for hours");
        assert!(!is_wanted(&layout, false, false), "it was asked for just now");
        let _lock = record.lock().unwrap();
        assert!(!is_wanted(&layout, true, true), "somebody is at work");
    }
}
