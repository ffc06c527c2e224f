//! Starts the program that updates: it decides what may be done, and outlives the agent it replaces.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ::update::{Attempt, Policy, Record, Stage};
use base::{BoardRelease, CustomerLayout, Layout};
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

/// Returns the release a person is asked about: the newest the channel showed, if it is newer than what runs and not held. None unless the
/// policy is to ask, or when what is kept of updates cannot be read: `0711 update status` says why.
pub(crate) fn awaits_approval(layout: &Layout, customer: &CustomerLayout) -> Option<BoardRelease> {
    let record = Record::new(layout);
    let (settings, state) = (record.settings().ok()?, record.state().ok()?);
    if settings.channel.is_none() || settings.policy != Policy::Approve {
        return None;
    }
    let installed = install::read_receipt(customer).ok()??.version.parse().ok()?;
    let newest =
        state.seen.keys().next_back().filter(|newest| **newest > installed && !state.held.contains_key(newest))?;
    Some(BoardRelease { version: newest.to_string(), is_approved: state.approved.as_ref() == Some(newest) })
}

/// Says yes to the release that is asked about, and to no other. Returns whether it was that one.
///
/// # Errors
/// [`::update::Error`], also while an update is under way.
pub(crate) fn approve(layout: &Layout, customer: &CustomerLayout, version: &str) -> Result<bool, ::update::Error> {
    let record = Record::new(layout);
    let _lock = record.lock()?;
    if awaits_approval(layout, customer).is_none_or(|asked| asked.version != version) {
        return Ok(false);
    }
    let mut state = record.state()?;
    state.approved = version.parse().ok();
    record.put(&state)?;
    Ok(true)
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
    fn a_person_says_yes_to_the_release_that_is_asked_about_and_to_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        let customer = layout.customer(&base::Slug::parse("eaton").unwrap());
        let record = Record::new(&layout);
        let seen = |version: &str| (version.parse().unwrap(), base::Timestamp::from_millis(0));
        let mut state = State { seen: ["0.1.0", "0.2.0", "0.3.0"].map(seen).into(), ..State::default() };
        record.put(&state).unwrap();
        let mut settings =
            Settings { channel: Some("/srv/channel".into()), policy: Policy::Approve, ..Settings::default() };
        record.set(&settings).unwrap();
        assert_eq!(awaits_approval(&layout, &customer), None, "nothing is installed");
        std::fs::create_dir_all(customer.dir()).unwrap();
        let digest = base::Digest::of(b"x");
        let receipt = serde_json::json!({
            "format": 1, "plan": digest, "customer_name": "Eaton", "slug": "eaton", "version": "0.1.0", "binary": digest,
            "license_id": "x", "license": digest, "port_base": 7100, "root": null, "models": [], "folders": [], "documents": 1,
            "adapter": null, "installed_at": 1_795_000_000_000_i64,
        });
        std::fs::write(customer.receipt(), receipt.to_string()).unwrap();
        let asked = |is_approved| Some(BoardRelease { version: "0.3.0".to_owned(), is_approved });
        assert_eq!(awaits_approval(&layout, &customer), asked(false));
        assert!(!approve(&layout, &customer, "0.2.0").unwrap() && !approve(&layout, &customer, "../x").unwrap());
        assert_eq!(awaits_approval(&layout, &customer), asked(false));
        assert!(approve(&layout, &customer, "0.3.0").unwrap());
        assert_eq!(awaits_approval(&layout, &customer), asked(true));
        state.held.insert("0.3.0".parse().unwrap(), "it crashed".into());
        record.put(&state).unwrap();
        assert!(!approve(&layout, &customer, "0.3.0").unwrap(), "held");
        settings.policy = Policy::Automatic;
        record.set(&settings).unwrap();
        assert_eq!(awaits_approval(&layout, &customer), None, "nobody is asked");
    }

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
