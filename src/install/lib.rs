//! Executes a plan, so that `kill -9` at any instant and the same command again reach the same end.
//!
//! [`Installer`] holds the customer's install lock, writes the plan before its first effect, and then does step by step:
//! probe (does it hold already?), apply, probe again. Every event is in the journal before anything follows from it. The
//! receipt is written last. [`uninstall`] is the way back; it removes what was made here and keeps what was learned.
//!
//! It refuses to overwrite a file it did not make, to follow a plan whose license, binary or models are not the very bytes
//! the plan names, and to run beside another install of the same customer.
//!
//! Invariants:
//! - a step found finished is done again only if its probe says that it no longer holds;
//! - the receipt depends on the plan and on what the services say at the end, never on how often the way was interrupted;
//! - secrets are generated here, live in 0600 files, and are in no event, journal line or receipt.
//!
//! [`egress`] puts together what tried to leave, and signs it.
//!
//! [`control`] is the wire between the agent and those who ask it: it is here because `install` asks, and `agent`, which
//! answers, uses `install`.

mod act;
pub mod control;
pub mod egress;
mod error;
mod event;
mod execute;
mod files;
mod footprint;
mod images;
mod installer;
mod journal_file;
mod password;
mod present;
mod receipt;
mod record;
mod step;
mod stop;
mod uninstall;
mod unit;

pub use error::{Cause, Error};
pub use event::Event;
pub use files::{read_journal, read_plan, read_receipt, read_slots};
pub use footprint::{Footprint, Goes, OnEngine, Trace, footprint};
pub use images::{LeftImage, expect_images};
pub use installer::{Installer, ModelSource, Outcome};
pub use password::take_first_password;
pub use present::{installed, present};
pub use stop::{ensure_agent, mark_stopped, stop_all};
pub use uninstall::{Uninstalled, uninstall};
pub use unit::{UNIT_NAME, UPDATE_UNIT_NAME, unit_text};
