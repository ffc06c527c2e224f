use std::collections::{BTreeMap, BTreeSet};

use base::Slug;
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    format::{SnapshotEntry, SnapshotId},
};

/// Which backups stay. A backup stays when any of the rules keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keep {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of the last so many days that have one.
    pub daily: u32,
    /// The newest of each of the last so many weeks that have one.
    pub weekly: u32,
}

impl Keep {
    /// Whether it would keep nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the backups of `customer` that no rule keeps. Those of others are not looked at.
    ///
    /// Order is that of making, not of the clock: one that was wrong mislabels a day and costs no backup. Days and weeks
    /// are those of UTC, weeks begin on Monday. What this day is does not matter: a year without a backup removes none.
    ///
    /// # Errors
    /// [`Error::NoRule`].
    pub(crate) fn removed(&self, all: &[SnapshotEntry], customer: &Slug) -> Result<BTreeSet<SnapshotId>, Error> {
        if self.is_empty() {
            return Err(Error::NoRule);
        }
        let mut own: Vec<&SnapshotEntry> = all.iter().filter(|entry| entry.customer == *customer).collect();
        own.sort_by_key(|entry| std::cmp::Reverse(entry.sequence));
        let mut kept = BTreeSet::new();
        // The newest stays whatever the rules say.
        let last = self.last.max(1) as usize;
        kept.extend(own.iter().take(last).map(|entry| entry.id));
        const DAY_MS: i64 = 86_400_000;
        // 1970 began on a Thursday.
        let day = |entry: &SnapshotEntry| entry.started.millis().div_euclid(DAY_MS);
        let week = |entry: &SnapshotEntry| (day(entry) + 3).div_euclid(7);
        for (count, period) in [
            (self.daily, &day as &dyn Fn(&SnapshotEntry) -> i64),
            (self.weekly, &week as &dyn Fn(&SnapshotEntry) -> i64),
        ] {
            let mut newest: BTreeMap<i64, SnapshotId> = BTreeMap::new();
            for entry in &own {
                newest.entry(period(entry)).or_insert(entry.id);
            }
            kept.extend(newest.into_values().rev().take(count as usize));
        }
        Ok(own.into_iter().map(|entry| entry.id).filter(|id| !kept.contains(id)).collect())
    }
}

#[cfg(test)]
mod tests {
    use base::Timestamp;

    use super::*;

    fn entry(sequence: u64, at: &str, customer: &str) -> SnapshotEntry {
        let at = Timestamp::parse(&format!("{at}:00Z")).unwrap();
        SnapshotEntry {
            id: SnapshotId([u8::try_from(sequence).unwrap(); 32]),
            size_bytes: 0,
            sequence,
            customer: Slug::parse(customer).unwrap(),
            host: String::new(),
            program: String::new(),
            started: at,
            finished: at,
            files: 0,
            content_bytes: 0,
            added_bytes: 0,
            skipped: 0,
            commit: None,
        }
    }

    /// The numbers of the backups that stay; they are numbered from 1 in the order of their making.
    fn kept(keep: Keep, times: &[&str]) -> Vec<usize> {
        let all: Vec<_> = (1..).zip(times).map(|(number, at)| entry(number, at, "eaton")).collect();
        let removed = keep.removed(&all, &Slug::parse("eaton").unwrap()).unwrap();
        (1..=all.len()).filter(|number| !removed.contains(&all[number - 1].id)).collect()
    }

    #[test]
    fn rules_add_up() {
        let times = [
            "2026-11-01T02:00", // Sunday
            "2026-11-02T02:00",
            "2026-11-08T02:00", // Sunday, the same week
            "2026-11-09T02:00",
            "2026-11-10T02:00",
            "2026-11-10T14:00",
        ];
        let keep = |last, daily, weekly| kept(Keep { last, daily, weekly }, &times);
        assert_eq!(keep(1, 0, 0), [6]);
        assert_eq!(keep(3, 0, 0), [4, 5, 6]);
        assert_eq!(keep(0, 2, 0), [4, 6]);
        assert_eq!(keep(0, 0, 2), [3, 6]);
        assert_eq!(keep(0, 0, 9), [1, 3, 6]);
        assert_eq!(keep(2, 2, 3), [1, 3, 4, 5, 6]);
        assert_eq!(keep(99, 0, 0).len(), 6);
    }

    #[test]
    fn a_clock_set_back_removes_no_new_backup() {
        let times = ["2026-11-01T02:00", "2026-11-02T02:00", "1970-01-01T00:00"];
        assert_eq!(kept(Keep { last: 1, ..Keep::default() }, &times), [3]);
        assert_eq!(kept(Keep { daily: 1, ..Keep::default() }, &times), [2, 3]);
    }

    #[test]
    fn nothing_asked_and_nothing_of_others() {
        let all = [entry(1, "2026-11-01T02:00", "eaton"), entry(2, "2026-11-01T02:00", "abb")];
        let eaton = Slug::parse("eaton").unwrap();
        assert!(matches!(Keep::default().removed(&all, &eaton), Err(Error::NoRule)));
        assert_eq!(Keep { weekly: 1, ..Keep::default() }.removed(&all, &eaton).unwrap().len(), 0);
    }
}
