//! Asks the roles for small jobs, and starts one anew that does not do its own although it answers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Beat, Role, Timestamp};
use install::control::{EventKind, ProbeLine, WorkStatus, WorkVerdict};
use stack::{RoleState, Runtime};
use tokio::sync::mpsc;

use super::Customer;
use crate::ledger::Ledger;
use crate::past::Past;
use crate::probe::{self, Known, Probed};
use crate::supervisor::Event;

/// What is known of a role's work.
#[derive(Debug, Default)]
pub(super) struct Work {
    lines: VecDeque<ProbeLine>,
    beat: Option<Beat>,
    failures: u32,
    is_asking: bool,
    asked_at: Option<Instant>,
    /// When it was started anew for not doing its work.
    renewals: VecDeque<Instant>,
    gave_up: bool,
    /// Summed up over every probe since the agent began: how long the jobs took.
    pub(super) latency: Histogram,
}

/// One failure may be an accident; the second should not take another minute to come.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Failures in a row that are one too many.
const FAILURES_MAX: u32 = 2;
/// Starting anew helps soon or not at all.
const RENEWALS_MAX: usize = 3;
const RENEWALS_WITHIN: Duration = Duration::from_secs(3600);
const LINES_MAX: usize = 60;
const LINE_FORMAT: u32 = 1;
/// A few days of six roles.
const PART_BYTES_MAX: u64 = 4 << 20;
const NOTE_CHARACTERS_MAX: usize = 400;

/// What comes of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing new.
    Same,
    /// It failed for the first time.
    Doubtful,
    /// It is to be started anew.
    Renew,
    /// That did not help: it is left alone, for what it still does.
    GiveUp,
    /// It does its work again.
    Again,
}

impl Work {
    /// A new process begins with a clean sheet; how often it had to be renewed stays.
    pub(super) fn began(&mut self) {
        self.beat = None;
        self.failures = 0;
        self.asked_at = None;
    }

    pub(super) fn forgive(&mut self) {
        self.renewals.clear();
        self.gave_up = false;
    }

    /// Somebody else found that it does not do its work: the next probe is the second opinion, and comes at once.
    pub(super) fn doubt(&mut self) {
        self.failures = self.failures.max(1);
        self.asked_at = None;
    }

    fn is_due(&self, every: Duration) -> bool {
        let every = if self.failures == 1 { every.min(ASK_AGAIN) } else { every };
        !self.is_asking && self.asked_at.is_none_or(|at| at.elapsed() >= every)
    }

    fn turn(&mut self, verdict: WorkVerdict, now: Instant) -> Turn {
        match verdict {
            WorkVerdict::Good | WorkVerdict::Busy => {
                let had_failed = std::mem::take(&mut self.failures) > 0;
                self.gave_up = false;
                if had_failed { Turn::Again } else { Turn::Same }
            }
            WorkVerdict::Blocked | WorkVerdict::Unknown => Turn::Same,
            WorkVerdict::Failing => {
                self.failures = self.failures.saturating_add(1);
                match self.failures {
                    1 => Turn::Doubtful,
                    _ if self.gave_up => Turn::Same,
                    FAILURES_MAX.. => self.renew(now),
                    0 => Turn::Same,
                }
            }
        }
    }

    fn renew(&mut self, now: Instant) -> Turn {
        while self.renewals.front().is_some_and(|at| now.duration_since(*at) > RENEWALS_WITHIN) {
            self.renewals.pop_front();
        }
        if self.renewals.len() >= RENEWALS_MAX {
            self.gave_up = true;
            return Turn::GiveUp;
        }
        self.renewals.push_back(now);
        Turn::Renew
    }

    /// Returns why the role counts as unhealthy although it answers.
    pub(super) fn fault(&self) -> Option<String> {
        let line = self.lines.back().filter(|_| self.failures >= FAILURES_MAX)?;
        Some(format!("does not do its work: {}", line.note))
    }

    pub(super) fn status(&self) -> Option<WorkStatus> {
        let last = self.lines.back()?;
        let mut times: Vec<u64> = self.lines.iter().filter_map(|line| line.took_ms).collect();
        times.sort_unstable();
        Some(WorkStatus {
            verdict: last.verdict,
            at: last.at,
            note: last.note.clone(),
            took_ms: last.took_ms,
            p50_ms: quantile(&times, 50),
            p95_ms: quantile(&times, 95),
            failures: self.failures,
            gave_up: self.gave_up,
        })
    }
}

/// Returns the smallest of the sorted `times` that `percent` of them do not exceed.
fn quantile(times: &[u64], percent: usize) -> Option<u64> {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied()
}

impl Customer {
    /// Asks a ready role for a small job, when one is due. Nobody is asked twice at once.
    pub(super) fn ask_for_work(&mut self, role: Role, pid: u32, runtime: &Arc<Runtime>, send: &mpsc::Sender<Event>) {
        let is_ready = |known: &super::Supervised| known.state == RoleState::Ready;
        if !self.roles.get(&role).is_some_and(|known| is_ready(known) && known.work.is_due(self.work_every)) {
            return;
        }
        let ready: BTreeSet<Role> =
            self.roles.iter().filter(|(_, known)| is_ready(known)).map(|(role, _)| *role).collect();
        let work = &mut self.at(role).work;
        (work.is_asking, work.asked_at) = (true, Some(Instant::now()));
        let known = Known { beat: work.beat, ready };
        let (slug, layout) = (self.slug.clone(), self.layout.clone());
        let (runtime, send) = (Arc::clone(runtime), send.clone());
        tokio::spawn(async move {
            let probed = probe::probe(&runtime, &layout, role, &known).await;
            // The supervisor is gone when the agent ends.
            let _ = send.send(Event::Worked { slug, role, pid, probed: Box::new(probed) }).await;
        });
    }

    /// Takes what a probe met, and starts a role anew that failed twice.
    pub(crate) fn worked(&mut self, role: Role, pid: u32, probed: Probed, send: &mpsc::Sender<Event>, past: &mut Past) {
        let now = self.clock.now();
        let slug = self.slug.clone();
        let known = self.at(role);
        known.work.is_asking = false;
        if known.record.as_ref().is_none_or(|record| record.identity.pid != pid) || known.state != RoleState::Ready {
            return;
        }
        let line = line(now, role, &probed);
        let note = line.note.clone();
        if let Some(took) = probed.took {
            known.work.latency.count(took);
        }
        known.work.beat = probed.beat;
        if known.work.lines.len() == LINES_MAX {
            known.work.lines.pop_front();
        }
        known.work.lines.push_back(line.clone());
        let turn = known.work.turn(probed.verdict, Instant::now());
        // One that cannot be written is still in memory, and the next one may be.
        let _ = Ledger::new(self.layout.probes(), PART_BYTES_MAX).append(&line);
        let mut say = |text: String| past.say(now, EventKind::Work, Some(&slug), Some(role), text);
        match turn {
            Turn::Same => {}
            Turn::Again => say(format!("does its work again ({note})")),
            Turn::Doubtful => say(format!("did not do a small job ({note}); it is asked once more")),
            Turn::GiveUp => {
                say(format!(
                    "does not do its work ({note}); starting it anew did not help, and it is left running for what it still does"
                ));
                self.has_failed = true;
            }
            Turn::Renew => {
                self.ended(role, &format!("it answered and did not do its work: {note}"), past);
                self.stop([role].into(), send);
            }
        }
    }
}

fn line(at: Timestamp, role: Role, probed: &Probed) -> ProbeLine {
    ProbeLine {
        format: LINE_FORMAT,
        at,
        role,
        verdict: probed.verdict,
        took_ms: probed.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        note: probed.note.chars().take(NOTE_CHARACTERS_MAX).collect(),
    }
}

/// Counts times by size, as Prometheus has it: each bucket counts all that are not longer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    pub(crate) counts: [u64; Self::BOUNDS_MS.len()],
    pub(crate) all: u64,
    pub(crate) sum_ms: u64,
}

impl Histogram {
    pub(crate) const BOUNDS_MS: [u64; 9] = [5, 20, 50, 100, 250, 1_000, 5_000, 15_000, 60_000];

    fn count(&mut self, took: Duration) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        for (bound, count) in Self::BOUNDS_MS.iter().zip(&mut self.counts) {
            *count += u64::from(took_ms <= *bound);
        }
        self.all += 1;
        self.sum_ms = self.sum_ms.saturating_add(took_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use WorkVerdict::{Blocked, Busy, Failing, Good, Unknown};

    fn turns(verdicts: &[(u64, WorkVerdict)]) -> Vec<Turn> {
        let (mut work, begun) = (Work::default(), Instant::now());
        verdicts.iter().map(|(second, verdict)| work.turn(*verdict, begun + Duration::from_secs(*second))).collect()
    }

    #[test]
    fn one_failure_is_an_accident_and_two_are_not() {
        assert_eq!(turns(&[(0, Good), (60, Failing), (70, Good)]), [Turn::Same, Turn::Doubtful, Turn::Again]);
        assert_eq!(turns(&[(0, Failing), (10, Failing)]), [Turn::Doubtful, Turn::Renew]);
    }

    #[test]
    fn busy_blocked_and_unknown_are_no_failures() {
        assert_eq!(turns(&[(0, Failing), (10, Busy), (70, Failing)]), [Turn::Doubtful, Turn::Again, Turn::Doubtful]);
        assert_eq!(turns(&[(0, Blocked), (60, Unknown), (120, Blocked)]), [Turn::Same; 3]);
        assert_eq!(turns(&[(0, Failing), (10, Unknown), (70, Failing)]), [Turn::Doubtful, Turn::Same, Turn::Renew]);
    }

    #[test]
    fn what_starting_anew_does_not_help_is_left_running() {
        let mut work = Work::default();
        let begun = Instant::now();
        let mut fail_twice = |second: u64| {
            work.began();
            let at = begun + Duration::from_secs(second);
            work.turn(Failing, at);
            work.turn(Failing, at)
        };
        assert_eq!([0, 60, 120, 180].map(&mut fail_twice), [Turn::Renew, Turn::Renew, Turn::Renew, Turn::GiveUp]);
        assert_eq!(work.turn(Failing, begun), Turn::Same, "told once");
        assert_eq!(work.turn(Good, begun), Turn::Again);
    }

    #[test]
    fn the_budget_is_an_hours() {
        let mut work = Work::default();
        let begun = Instant::now();
        let renewals = [0, 10, 20, 3700].map(|second| work.renew(begun + Duration::from_secs(second)));
        assert_eq!(renewals, [Turn::Renew; 4]);
    }

    #[test]
    fn quantiles_are_of_what_was_measured() {
        assert_eq!((quantile(&[], 50), quantile(&[7], 95)), (None, Some(7)));
        let times: Vec<u64> = (1..=100).collect();
        assert_eq!((quantile(&times, 50), quantile(&times, 95)), (Some(50), Some(95)));
    }

    #[test]
    fn a_bucket_counts_all_that_are_not_longer() {
        let mut latency = Histogram::default();
        for ms in [3, 20, 300] {
            latency.count(Duration::from_millis(ms));
        }
        assert_eq!(latency.counts, [1, 2, 2, 2, 2, 3, 3, 3, 3]);
        assert_eq!((latency.all, latency.sum_ms), (3, 323));
    }
}
