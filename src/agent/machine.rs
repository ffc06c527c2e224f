//! When the machine is taken note of, and when it is compared with what was noted.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use install::control::HostStatus;

use crate::fingerprint::Fingerprint;

/// What is known of the machine.
#[derive(Debug)]
pub(crate) struct Machine {
    path: PathBuf,
    good: Option<Fingerprint>,
    changes: Vec<String>,
    well_since: Option<Instant>,
    kept_at: Option<Instant>,
    compared_at: Option<Instant>,
    is_taking: bool,
}

/// Why a fingerprint is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// All is well: to be kept.
    Keep,
    /// Something failed: to be compared with the one that was kept.
    Compare,
}

/// All must have been well for this long.
const WELL_FOR: Duration = Duration::from_secs(300);
/// What changes while all stays well is no cause of a later failure.
const KEEP_EVERY: Duration = Duration::from_secs(3600);
/// One failure seldom comes alone, and the machine is the same for all of them.
const COMPARE_EVERY: Duration = Duration::from_secs(60);

impl Machine {
    pub(crate) fn new(path: PathBuf) -> Self {
        let good = Fingerprint::read(&path);
        Self { path, good, changes: Vec::new(), well_since: None, kept_at: None, compared_at: None, is_taking: false }
    }

    /// Returns why a fingerprint is to be taken now, if one is. It is then expected back by [`Self::taken`].
    pub(crate) fn turn(&mut self, is_well: bool, has_failed: bool, now: Instant) -> Option<Purpose> {
        match (is_well, self.well_since) {
            (true, None) => self.well_since = Some(now),
            (false, _) => self.well_since = None,
            (true, Some(_)) => {}
        }
        let is_past = |at: Option<Instant>, span| at.is_none_or(|at| now.duration_since(at) >= span);
        if self.is_taking {
            return None;
        }
        let purpose = if has_failed && self.good.is_some() && is_past(self.compared_at, COMPARE_EVERY) {
            self.compared_at = Some(now);
            Purpose::Compare
        } else if self.well_since.is_some_and(|since| now.duration_since(since) >= WELL_FOR)
            && (is_past(self.kept_at, KEEP_EVERY) || !self.changes.is_empty())
        {
            self.kept_at = Some(now);
            Purpose::Keep
        } else {
            return None;
        };
        self.is_taking = true;
        Some(purpose)
    }

    /// Takes a fingerprint. Returns what is to be told of it.
    pub(crate) fn taken(&mut self, print: Fingerprint, purpose: Purpose) -> Option<String> {
        self.is_taking = false;
        match purpose {
            Purpose::Keep => {
                if let Err(error) = print.write(&self.path) {
                    tracing::warn!(%error, "cannot keep what this machine is like; it is remembered as long as the agent runs");
                }
                self.changes.clear();
                self.good = Some(print);
                None
            }
            Purpose::Compare => {
                let good = self.good.as_ref()?;
                let changes = good.changes(&print);
                if changes == self.changes {
                    return None;
                }
                self.changes = changes;
                if self.changes.is_empty() {
                    return None;
                }
                Some(format!(
                    "changed on this machine since all was last well ({}): {}",
                    good.at,
                    self.changes.join("; ")
                ))
            }
        }
    }

    pub(crate) fn status(&self) -> HostStatus {
        HostStatus { good_at: self.good.as_ref().map(|good| good.at), changes: self.changes.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine::new(dir.path().join("fingerprint.json"));
        (dir, machine)
    }

    fn print(kernel: &str) -> Fingerprint {
        let json = serde_json::json!({ "format": 1, "at": 0, "facts": { "the kernel": kernel } });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_machine_is_noted_when_all_was_well_for_a_while() {
        let (_dir, mut machine) = machine();
        let begun = Instant::now();
        let at = |second| begun + Duration::from_secs(second);
        assert_eq!(machine.turn(true, false, at(0)), None);
        assert_eq!(machine.turn(false, false, at(200)), None);
        assert_eq!(machine.turn(true, false, at(201)), None, "counted anew");
        assert_eq!(machine.turn(true, false, at(500)), None);
        assert_eq!(machine.turn(true, false, at(501)), Some(Purpose::Keep));
        assert_eq!(machine.turn(true, false, at(502)), None, "one at a time");
        assert_eq!(machine.taken(print("6.1"), Purpose::Keep), None);
        assert_eq!(machine.turn(true, false, at(600)), None);
        assert_eq!(machine.turn(true, false, at(4200)), Some(Purpose::Keep));
    }

    #[test]
    fn a_failure_compares_and_changes_are_told_once() {
        let (dir, mut machine) = machine();
        let begun = Instant::now();
        let at = |second| begun + Duration::from_secs(second);
        assert_eq!(machine.turn(false, true, at(0)), None, "nothing to compare with");
        machine.taken(print("6.1"), Purpose::Keep);
        let mut machine = Machine::new(dir.path().join("fingerprint.json"));
        assert_eq!(machine.turn(false, true, at(0)), Some(Purpose::Compare), "kept over a new start");
        let told = machine.taken(print("6.12"), Purpose::Compare).unwrap();
        assert!(told.contains("the kernel changed from `6.1` to `6.12`"), "{told}");
        assert_eq!(machine.turn(false, true, at(30)), None);
        assert_eq!(machine.turn(false, true, at(60)), Some(Purpose::Compare));
        assert_eq!(machine.taken(print("6.12"), Purpose::Compare), None, "told once");
        assert_eq!(machine.status().changes.len(), 1);
        machine.turn(true, false, at(100));
        assert_eq!(machine.turn(true, false, at(400)), Some(Purpose::Keep), "well with the new kernel");
        machine.taken(print("6.12"), Purpose::Keep);
        assert_eq!(machine.status().changes, Vec::<String>::new());
    }
}
