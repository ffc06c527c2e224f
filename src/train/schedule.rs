use serde::{Deserialize, Serialize};

/// What one run does, fixed once its first step was measured: a resumed run follows the same plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Updates in all.
    pub(crate) steps: u32,
    /// Rows per update, and how many of them are computed at once.
    pub(crate) rows: usize,
    pub(crate) micro_rows: usize,
    /// Held-out rows a look measures, and how many looks there are, the last one after the last step.
    pub(crate) measured_rows: usize,
    pub(crate) looks: u32,
}

/// Peak of the learning rate. High for LoRA on a large model, right for minutes on a small one.
const PEAK: f64 = 1e-3;
/// The cosine ends at this share of the peak.
const FLOOR: f64 = 0.05;
/// More passes than this over the same text teach it by heart.
const MOST_EPOCHS: usize = 4;
/// Fewer updates than this are no training, whatever the budget says.
const FEWEST_STEPS: u32 = 4;

impl Plan {
    /// What a budget alone decides; the steps come with [`Self::with_steps`].
    pub(crate) fn for_minutes(minutes: u32) -> Self {
        let (rows, looks) = match minutes {
            0..=4 => (1, 2),
            5..=14 => (2, 3),
            _ => (4, 6),
        };
        Self { steps: 0, rows, micro_rows: rows.min(2), measured_rows: (2 + 2 * minutes as usize).min(32), looks }
    }

    /// As many steps as fit into the seconds left, at most [`MOST_EPOCHS`] passes.
    pub(crate) fn with_steps(mut self, seconds_left: f64, seconds_per_step: f64, rows_per_epoch: usize) -> Self {
        let fitting = (seconds_left / seconds_per_step.max(1e-6)).clamp(0.0, 1e6) as u32;
        let most = (rows_per_epoch * MOST_EPOCHS).div_ceil(self.rows).min(1_000_000) as u32;
        self.steps = fitting.min(most).max(FEWEST_STEPS);
        self
    }

    /// Linear warm-up over a tenth of the steps, then a cosine down to [`FLOOR`]; `step` counts from 0.
    pub(crate) fn learning_rate(&self, step: u32) -> f64 {
        let warm_up = (self.steps / 10).clamp(1, 50);
        if step < warm_up {
            return PEAK * f64::from(step + 1) / f64::from(warm_up);
        }
        let done = f64::from(step - warm_up) / f64::from((self.steps - warm_up).max(1));
        PEAK * (FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()))
    }

    /// Whether the held-out part is measured after `steps_done` updates.
    pub(crate) fn looks_after(&self, steps_done: u32) -> bool {
        (1..=self.looks)
            .any(|look| u64::from(self.steps) * u64::from(look) / u64::from(self.looks) == u64::from(steps_done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_the_peak_and_falls_to_the_floor() {
        let plan = Plan::for_minutes(2).with_steps(100.0, 1.0, 1000);
        assert_eq!(plan.steps, 100);
        let rates: Vec<f64> = (0..100).map(|step| plan.learning_rate(step)).collect();
        assert!(rates[..10].is_sorted() && rates[10..].is_sorted_by(|a, b| a >= b));
        assert!((rates[9] - PEAK).abs() < 1e-12 && rates[0] > 0.0);
        assert!(rates[99] < PEAK * 0.06);
    }

    #[test]
    fn steps_are_bounded_by_budget_data_and_reason() {
        let plan = || Plan::for_minutes(5);
        assert_eq!(plan().with_steps(100.0, 2.0, 1000).steps, 50);
        assert_eq!(plan().with_steps(1e9, 2.0, 10).steps, 20);
        assert_eq!(plan().with_steps(-5.0, 2.0, 10).steps, FEWEST_STEPS);
    }

    #[test]
    fn the_last_look_is_after_the_last_step() {
        let plan = Plan::for_minutes(30).with_steps(97.0, 1.0, 1000);
        let looks: Vec<u32> = (1..=97).filter(|&step| plan.looks_after(step)).collect();
        assert_eq!(looks.len(), 6);
        assert_eq!(looks.last(), Some(&97));
    }
}
