use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How often a role may end by itself before a person is needed. It goes by the time that passes, whatever the clock shows: one that is set
/// back must not keep a role down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budget {
    ends: VecDeque<Instant>,
}

/// What to do about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start again after so long.
    RetryAfter(Duration),
    /// Do not.
    GiveUp,
}

const ENDS_MAX: usize = 5;
const WINDOW: Duration = Duration::from_secs(10 * 60);
/// After the first end, doubled with each further one in the window.
const FIRST_DELAY: Duration = Duration::from_millis(500);

impl Budget {
    /// Takes note of an end.
    pub(crate) fn ended(&mut self, now: Instant) -> Verdict {
        while self.ends.front().is_some_and(|end| now.duration_since(*end) > WINDOW) {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
        if self.ends.len() >= ENDS_MAX {
            return Verdict::GiveUp;
        }
        Verdict::RetryAfter(FIRST_DELAY * (1 << (self.ends.len() - 1)))
    }

    /// Forgets the past: a person said that it may be tried again.
    pub(crate) fn forgive(&mut self) {
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(ends: &[u64]) -> Vec<Option<u128>> {
        let (mut budget, begun) = (Budget::default(), Instant::now());
        let verdict = |end: &u64| match budget.ended(begun + Duration::from_secs(*end)) {
            Verdict::RetryAfter(delay) => Some(delay.as_millis()),
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
        let (mut budget, begun) = (Budget::default(), Instant::now());
        for _ in 0..5 {
            budget.ended(begun);
        }
        budget.forgive();
        assert_eq!(budget.ended(begun), Verdict::RetryAfter(FIRST_DELAY));
    }
}
