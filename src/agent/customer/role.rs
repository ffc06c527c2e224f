use std::path::Path;
use std::time::{Duration, Instant};

use base::Timestamp;
use stack::{Identity, Movement, RoleRecord, RoleState, Sample};
use tokio::task::AbortHandle;

use super::work::Work;
use crate::budget::Budget;

/// One role, as the agent knows it.
pub(super) struct Supervised {
    pub(super) state: RoleState,
    pub(super) record: Option<RoleRecord>,
    /// Since when it is on its way, or was last well.
    pub(super) since: Instant,
    pub(super) was_ready: bool,
    pub(super) restarts: u32,
    pub(super) budget: Budget,
    /// It is not started before.
    not_before: Option<Instant>,
    /// When its container was made anew last, because it ended.
    made_anew: Option<Instant>,
    pub(super) last_error: Option<String>,
    pub(super) is_probing: bool,
    pub(super) probed_at: Option<Instant>,
    /// While it starts.
    pub(super) movement: Movement,
    pub(super) sampled_at: Option<Instant>,
    /// Starts in a row that came to a standstill.
    pub(super) standstills: u32,
    pub(super) work: Work,
    /// What the engine said of an end, and when.
    pub(super) hint: Option<(Instant, String)>,
    /// Waits for the end of a process, and which one that is.
    watched: Option<(Identity, AbortHandle)>,
}

/// Samples read some files of `/proc`.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// A container is made anew at most so often.
const ANEW_EVERY: Duration = Duration::from_secs(6 * 3600);

impl Default for Supervised {
    fn default() -> Self {
        Self {
            state: RoleState::Stopped,
            record: None,
            since: Instant::now(),
            was_ready: false,
            restarts: 0,
            budget: Budget::default(),
            not_before: None,
            made_anew: None,
            last_error: None,
            is_probing: false,
            probed_at: None,
            movement: Movement::begin(Instant::now()),
            sampled_at: None,
            standstills: 0,
            work: Work::default(),
            hint: None,
            watched: None,
        }
    }
}

impl Supervised {
    pub(super) fn began(&mut self, record: RoleRecord) {
        self.record = Some(record);
        self.state = RoleState::Starting;
        self.since = Instant::now();
        self.was_ready = false;
        self.probed_at = None;
        self.movement = Movement::begin(Instant::now());
        self.sampled_at = None;
        self.work.began();
    }

    /// Takes note of what a role that starts has done so far.
    pub(super) fn watch(&mut self, log: &Path) {
        let Some(record) = self.record.as_ref().filter(|_| self.state == RoleState::Starting) else { return };
        if self.sampled_at.is_some_and(|at| at.elapsed() < SAMPLE_EVERY) {
            return;
        }
        let now = Instant::now();
        self.sampled_at = Some(now);
        self.movement.see(now, Sample::of(record.identity.pid, log));
    }

    /// Returns for how long a role that starts has shown no progress.
    pub(super) fn silent_for(&self) -> Option<Duration> {
        (self.state == RoleState::Starting).then(|| self.movement.silent_for(Instant::now()))
    }

    /// Makes sure that the end of this process is noticed; `wait` begins to wait for it.
    pub(super) fn wait_for_end(&mut self, identity: &Identity, wait: impl FnOnce(Identity) -> AbortHandle) {
        if self.watched.as_ref().is_some_and(|(watched, _)| watched == identity) {
            return;
        }
        if let Some((_, former)) = self.watched.replace((identity.clone(), wait(identity.clone()))) {
            former.abort();
        }
    }

    /// It is to be started again after `delay`. What people are shown goes by the clock, the start by the time that passes.
    pub(super) fn back_off(&mut self, now: Timestamp, delay: Duration) {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self.state = RoleState::BackingOff { until: Timestamp::from_millis(now.millis().saturating_add(delay_ms)) };
        self.not_before = Instant::now().checked_add(delay);
    }

    /// Returns whether it is not yet time to start it again.
    pub(super) fn backs_off(&self) -> bool {
        self.not_before.is_some_and(|moment| Instant::now() < moment)
    }

    /// Returns whether the start of a role that ended takes a new container, and takes note of it: only where it has graphics cards, and once in
    /// a while. If that does not help, another one would not either.
    pub(super) fn makes_anew(&mut self, has_cards: bool, now: Instant) -> bool {
        let has_ended = matches!(self.state, RoleState::BackingOff { .. });
        let was_made = self.made_anew.is_some_and(|at| now.duration_since(at) < ANEW_EVERY);
        let makes_anew = has_cards && has_ended && !was_made;
        if makes_anew {
            self.made_anew = Some(now);
        }
        makes_anew
    }

    /// It is down, as it should be.
    pub(super) fn rest(&mut self) {
        self.record = None;
        self.state = RoleState::Stopped;
    }

    pub(super) fn forgive(&mut self) {
        self.budget.forgive();
        self.standstills = 0;
        self.work.forgive();
        if matches!(self.state, RoleState::BackingOff { .. } | RoleState::NeedsAPerson { .. }) {
            self.state = RoleState::Stopped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_may_have_lost_its_card_is_made_anew_once() {
        let (mut known, begun) = (Supervised::default(), Instant::now());
        let moment = |hours: u64| begun + Duration::from_secs(hours * 3600);
        assert!(!known.makes_anew(true, moment(0)), "its first start");
        known.back_off(Timestamp::from_millis(0), Duration::ZERO);
        assert!(!known.makes_anew(false, moment(0)), "without cards a start is enough");
        assert_eq!(
            [0, 1, 5, 7, 8].map(|hours| known.makes_anew(true, moment(hours))),
            [true, false, false, true, false]
        );
    }
}
