use base::{Digest, job};
use plan::StepId;
use plan::journal::Evidence;
use serde::Serialize;

/// What happens while a plan is executed. The terminal's line, `--json` and a console are readers of the same stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Somebody else executes a plan for this customer; this one waits.
    Waiting {
        /// Who.
        holder: String,
    },
    /// The lock is held and the plan is on disk.
    Opened {
        /// Which plan.
        plan: Digest,
        /// All its steps, in order.
        steps: Vec<StepId>,
        /// Whether an earlier run of the same plan got somewhere.
        is_resumed: bool,
    },
    /// A step begins.
    StepStarted {
        /// Which.
        step: StepId,
        /// Counted from 1.
        number: usize,
        /// Of how many.
        total: usize,
        /// What it does, for people.
        title: String,
    },
    /// A step is on its way.
    StepProgress {
        /// Which.
        step: StepId,
        /// How far, with an estimate of the rest where there is one.
        progress: job::Progress,
    },
    /// A step holds.
    StepFinished {
        /// Which.
        step: StepId,
        /// What it left.
        evidence: Evidence,
        /// Whether it held already and nothing was done.
        was_done: bool,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// A step gave up.
    StepFailed {
        /// Which.
        step: StepId,
        /// Why, with the causes behind it.
        cause: String,
    },
    /// The receipt is written.
    Closed {
        /// Its digest.
        receipt: Digest,
    },
}

/// Where events go.
pub(crate) type Sink<'a> = &'a (dyn Fn(Event) + Send + Sync);
