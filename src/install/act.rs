use base::job::Progress;
use plan::Step;
use plan::journal::Evidence;

use crate::Error;

/// What a look at the world says about a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Probe {
    /// It is so.
    Holds(Evidence),
    /// It is not so.
    Missing,
    /// Only doing it would tell: the journal's word counts.
    Unknown,
}

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The journal says it is finished: whatever is cheap to see.
    Glance,
    /// Nobody vouches for it: digests too.
    Whole,
}

/// Says how far a step is.
pub(crate) type Report<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// The three verbs of a step; verifying is probing once more.
pub(crate) trait Act {
    /// Looks whether the step holds.
    async fn probe(&mut self, step: &Step, depth: Depth) -> Result<Probe, Error>;

    /// Makes it hold. Doing so twice, or after half of it was done before, is the same as once.
    async fn apply(&mut self, step: &Step, report: Report<'_>) -> Result<Evidence, Error>;
}
