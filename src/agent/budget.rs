use std::collections::VecDeque;

use base::Timestamp;

/// How often a role may end by itself before a person is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget {
    ends: VecDeque<Timestamp>,
}

/// What to do about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start again at that time.
    RetryAt(Timestamp),
    /// Do not.
    GiveUp,
}

const ENDS_MAX: usize = 5;
const WINDOW_MS: i64 = 10 * 60 * 1000;
/// After the first end, doubled with each further one in the window.
const FIRST_DELAY_MS: i64 = 500;

impl Budget {
    /// Takes note of an end.
    pub(crate) fn ended(&mut self, now: Timestamp) -> Verdict {
        // A clock set back leaves ends in the future: they count as recent, which errs on the side of a person.
        while self.ends.front().is_some_and(|end| now.millis() - end.millis() > WINDOW_MS) {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
        if self.ends.len() >= ENDS_MAX {
            return Verdict::GiveUp;
        }
        let delay = FIRST_DELAY_MS << (self.ends.len() - 1);
        Verdict::RetryAt(Timestamp::from_millis(now.millis() + delay))
    }

    /// Forgets the past: a person said that it may be tried again.
    pub(crate) fn forgive(&mut self) {
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn delays(ends: &[i64]) -> Vec<Option<i64>> {
        let mut budget = Budget::default();
        let verdict = |end: &i64| match budget.ended(at(*end)) {
            Verdict::RetryAt(then) => Some(then.millis() - end * 1000),
            Verdict::GiveUp => None,
        };
        ends.iter().map(verdict).collect()
    }

    #[test]
    fn a_crash_loop_ends_with_a_person() {
        assert_eq!(delays(&[0, 1, 2, 4, 8]), [Some(500), Some(1000), Some(2000), Some(4000), None]);
    }

    #[test]
    fn rare_ends_are_forgotten() {
        assert_eq!(delays(&[0, 601, 1202, 1803, 2404, 3005]), [Some(500); 6]);
    }

    #[test]
    fn a_person_gives_a_new_budget() {
        let mut budget = Budget::default();
        for end in 0..5 {
            budget.ended(at(end));
        }
        budget.forgive();
        assert_eq!(budget.ended(at(6)), Verdict::RetryAt(Timestamp::from_millis(6500)));
    }
}
