//! Replaces an installed release by a newer one, and goes back when the newer one is worse.
//!
//! [`decide`] is pure: settings, license, clock and the release that is offered give one [`Decision`]. [`Run`] carries a proven bundle
//! through its stages, each on the disk before it begins: rehearse beside the running stack, stop, snapshot, switch, watch, commit.
//! What a version does, its own program does: `install` of the new one switches, `install --resume` of the old one goes back.
//!
//! It refuses to stop a stack whose way back is not proven (program, images, snapshot), to install what is not newer, what the
//! license does not allow, or what went wrong here before and is held.
//!
//! Invariants:
//! - one process at a time carries out an update; what it is doing is in one file, written atomically;
//! - nothing that runs is touched before the stage `switching`; whoever finds `switching` or `watching` on the disk goes back;
//! - `committed` is the one moment from which on the new release stays: before it, every interruption ends in the old one;
//! - a release that had to be taken back is held until a person lets it go.

mod decide;
mod error;
mod format;
mod golden;
mod program;
mod record;
mod rehearse;
mod room;
mod run;
mod snapshot;
mod switch;
mod tree;
mod watch;
mod way_back;
mod window;

pub use decide::{Decision, Offer, decide};
pub use error::Error;
pub use format::{Attempt, CustomerAttempt, Entry, Outcome, Policy, Score, Settings, Stage, State};
pub use record::Record;
pub use room::{claims, tidy_staging};
pub use run::{Event, Run};
pub use window::{Window, WindowError};
