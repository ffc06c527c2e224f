//! The training itself: measure, plan, step, look, keep the best, and be ready to be killed.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use base::{Digest, job::Progress};
use tokio_util::sync::CancellationToken;

use crate::{
    Adapter, AdapterShape, Batch, Error, Network, checkpoint::Checkpoint, dataset::Dataset, math, schedule::Plan,
};

/// Gradients with a larger norm are scaled down to it.
const LARGEST_NORM: f64 = 1.0;
/// A crash loses at most this much work.
const SAVE_EVERY: Duration = Duration::from_secs(15);

/// What a fit needs to know besides the network.
pub(crate) struct Task<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) shape: &'a AdapterShape,
    pub(crate) job: Digest,
    pub(crate) run: String,
    pub(crate) seed: u64,
    pub(crate) minutes: u32,
    /// Instead of as many as the budget allows; with it a run is repeatable bit by bit.
    pub(crate) steps: Option<u32>,
    pub(crate) checkpoint: &'a Path,
    pub(crate) deadline: Instant,
    pub(crate) report: &'a (dyn Fn(Progress) + Send + Sync),
    pub(crate) cancel: &'a CancellationToken,
}

/// Trains until the plan is done; the checkpoint then holds the best parameters.
///
/// # Errors
/// [`Error::Cancelled`] after saving a checkpoint; [`Error::Diverged`] when the loss is no number.
pub(crate) fn fit(network: &mut Network, task: &Task<'_>) -> Result<Checkpoint, Error> {
    let mut checkpoint = match Checkpoint::load(task.checkpoint, task.job, task.shape.parameters()) {
        Some(checkpoint) => {
            tracing::info!(train.step = checkpoint.state.step, "going on from the checkpoint");
            checkpoint
        }
        None => begin(network, task)?,
    };
    let mut saved = Instant::now();
    while checkpoint.state.step < checkpoint.state.plan.steps {
        if task.cancel.is_cancelled() {
            checkpoint.save(task.checkpoint)?;
            return Err(Error::Cancelled);
        }
        let started = Instant::now();
        let (loss, gradients) = gradients(network, task, &checkpoint)?;
        update(&mut checkpoint, &gradients, started.elapsed().as_secs_f64(), task);
        progress(task, &checkpoint, loss);
        if checkpoint.state.plan.looks_after(checkpoint.state.step) {
            look(network, task, &mut checkpoint)?;
            checkpoint.save(task.checkpoint)?;
            saved = Instant::now();
        } else if saved.elapsed() > SAVE_EVERY {
            checkpoint.save(task.checkpoint)?;
            saved = Instant::now();
        }
    }
    Ok(checkpoint)
}

/// Mean loss over the rows; e to its power is the perplexity.
pub(crate) fn measure(network: &mut Network, adapter: Option<&Adapter>, rows: &[Batch]) -> Result<f64, Error> {
    let asked: usize = rows.iter().map(Batch::asked).sum();
    let total: f64 = rows.iter().map(|row| network.loss(adapter, row)).sum();
    let mean = total / asked.max(1) as f64;
    if mean.is_finite() { Ok(mean) } else { Err(Error::Diverged { step: 0 }) }
}

/// Measures the base model and the first step, and plans the rest of the budget.
fn begin(network: &mut Network, task: &Task<'_>) -> Result<Checkpoint, Error> {
    let note =
        |note: &str| (task.report)(Progress { unit: "steps".to_owned(), note: note.to_owned(), ..Progress::default() });
    note("measuring the base model on the held-out documents");
    let plan = Plan::for_minutes(task.minutes);
    let rows = task.dataset.measured(plan.measured_rows);
    let started = Instant::now();
    let before = measure(network, None, &rows)?;
    let look_seconds = started.elapsed().as_secs_f64();
    let adapter = Adapter::fresh(task.shape.clone(), task.seed);
    let looks = f64::from(plan.looks);
    let mut checkpoint = Checkpoint::start(task.job, task.run.clone(), plan, before, adapter.values);
    if task.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    note("measuring the first step");
    let started = Instant::now();
    let (loss, gradients) = gradients(network, task, &checkpoint)?;
    let step_seconds = started.elapsed().as_secs_f64();
    // Looks, and about one more of them each for the served version and the comparison with the engine.
    let left = task.deadline.saturating_duration_since(Instant::now()).as_secs_f64() - look_seconds * (looks + 2.0);
    let mut plan = checkpoint.state.plan.with_steps(left, step_seconds, task.dataset.rows_per_epoch());
    if let Some(steps) = task.steps {
        plan.steps = steps.max(1);
    }
    checkpoint.state.plan = plan;
    update(&mut checkpoint, &gradients, step_seconds, task);
    progress(task, &checkpoint, loss);
    if checkpoint.state.plan.looks_after(1) {
        look(network, task, &mut checkpoint)?;
    }
    checkpoint.save(task.checkpoint)?;
    Ok(checkpoint)
}

/// Mean loss and gradient of the next step.
fn gradients(network: &mut Network, task: &Task<'_>, checkpoint: &Checkpoint) -> Result<(f64, Vec<f32>), Error> {
    let plan = &checkpoint.state.plan;
    let step = checkpoint.state.step;
    let first = step as usize * plan.rows;
    let batches: Vec<Batch> = (first..first + plan.rows)
        .step_by(plan.micro_rows)
        .map(|row| task.dataset.batch(task.seed, row, plan.micro_rows.min(first + plan.rows - row)))
        .collect();
    let asked: usize = batches.iter().map(Batch::asked).sum();
    let adapter = Adapter { shape: task.shape.clone(), values: checkpoint.adapter.clone() };
    let mut gradients = vec![0.0; task.shape.parameters()];
    let weight = 1.0 / asked.max(1) as f32;
    let mut loss = 0.0;
    for batch in &batches {
        loss += network.gradients(&adapter, batch, weight, &mut gradients);
    }
    let loss = loss / asked.max(1) as f64;
    if !loss.is_finite() || !math::sum_of_squares(&gradients).is_finite() {
        return Err(Error::Diverged { step });
    }
    Ok((loss, gradients))
}

fn update(checkpoint: &mut Checkpoint, gradients: &[f32], seconds: f64, task: &Task<'_>) {
    let norm = math::sum_of_squares(gradients).sqrt();
    let scale = if norm > LARGEST_NORM { LARGEST_NORM / norm } else { 1.0 };
    let state = &mut checkpoint.state;
    let rate = state.plan.learning_rate(state.step);
    checkpoint.optimiser.step(&mut checkpoint.adapter, gradients, rate, scale as f32);
    state.step += 1;
    state.tokens += (state.plan.rows * task.dataset.row()) as u64;
    state.seconds += seconds;
}

/// Measures the held-out part and keeps the parameters if they are the best so far.
fn look(network: &mut Network, task: &Task<'_>, checkpoint: &mut Checkpoint) -> Result<(), Error> {
    let rows = task.dataset.measured(checkpoint.state.plan.measured_rows);
    let adapter = Adapter { shape: task.shape.clone(), values: checkpoint.adapter.clone() };
    let loss = measure(network, Some(&adapter), &rows)?;
    let step = checkpoint.state.step;
    tracing::info!(train.step = step, train.held_out_loss = loss, train.base_loss = checkpoint.state.before, "looked");
    if checkpoint.state.best.is_none_or(|(_, best)| loss < best) {
        checkpoint.state.best = Some((step, loss));
        checkpoint.best = adapter.values;
    }
    Ok(())
}

fn progress(task: &Task<'_>, checkpoint: &Checkpoint, loss: f64) {
    let state = &checkpoint.state;
    let per_step = state.seconds / f64::from(state.step.max(1));
    let left = f64::from(state.plan.steps - state.step.min(state.plan.steps)) * per_step;
    let speed = state.tokens as f64 / state.seconds.max(1e-9);
    (task.report)(Progress {
        done: u64::from(state.step),
        total: u64::from(state.plan.steps),
        unit: "steps".to_owned(),
        note: format!("loss {loss:.3}, {speed:.0} tokens/s"),
        eta_seconds: Some(left.ceil() as u64),
    });
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;
    use crate::{examples::Example, tests::testing};

    /// A language a small model can learn: each token is followed by the next one.
    fn dataset() -> Dataset {
        let example = |start: u32| {
            let tokens: Vec<u32> = (0..12).map(|index| (start + index) % 20).collect();
            let targets = tokens.iter().map(|token| (token + 1) % 20).collect();
            Example { tokens, targets }
        };
        Dataset::of((0..20).map(example).collect(), (3..7).map(example).collect(), 12)
    }

    struct Setting {
        dataset: Dataset,
        shape: AdapterShape,
        dir: tempfile::TempDir,
    }

    impl Setting {
        fn new() -> Self {
            let shape = testing::adapter(1).shape().clone();
            Self { dataset: dataset(), shape, dir: tempfile::tempdir().unwrap() }
        }

        fn run(
            &self,
            steps: u32,
            report: &(dyn Fn(Progress) + Send + Sync),
            cancel: &CancellationToken,
        ) -> Result<Checkpoint, Error> {
            let task = Task {
                dataset: &self.dataset,
                shape: &self.shape,
                job: Digest::of(b"job"),
                run: "run".to_owned(),
                seed: 5,
                minutes: 5,
                steps: Some(steps),
                checkpoint: &self.dir.path().join("checkpoint"),
                deadline: Instant::now(),
                report,
                cancel,
            };
            fit(&mut Network::new(testing::model(), self.shape.clone(), 1).unwrap(), &task)
        }
    }

    #[test]
    fn the_held_out_loss_falls_and_progress_counts_to_the_end() {
        let seen = Mutex::new(Vec::new());
        let report =
            |progress: Progress| seen.lock().unwrap().push((progress.done, progress.total, progress.eta_seconds));
        let checkpoint = Setting::new().run(60, &report, &CancellationToken::new()).unwrap();
        let (step, best) = checkpoint.state.best.unwrap();
        assert!(best < checkpoint.state.before - 0.03, "{best} against {}", checkpoint.state.before);
        assert!(step > 1 && step <= 60);
        assert_eq!(seen.lock().unwrap().last(), Some(&(60, 60, Some(0))));
    }

    #[test]
    fn a_run_stopped_at_any_step_ends_in_the_same_bits() {
        let whole = Setting::new().run(6, &|_| (), &CancellationToken::new()).unwrap();
        for stop in 1..6 {
            let setting = Setting::new();
            let (cancel, steps) = (CancellationToken::new(), AtomicU32::new(0));
            let report = |progress: Progress| {
                if progress.done == stop && steps.fetch_add(1, Ordering::Relaxed) == 0 {
                    cancel.cancel();
                }
            };
            assert!(matches!(setting.run(6, &report, &cancel), Err(Error::Cancelled)), "stopped at {stop}");
            let resumed = setting.run(6, &|_| (), &CancellationToken::new()).unwrap();
            assert_eq!(resumed.adapter, whole.adapter, "stopped at {stop}");
            assert_eq!((resumed.state.best, &resumed.best), (whole.state.best, &whole.best));
        }
    }
}
