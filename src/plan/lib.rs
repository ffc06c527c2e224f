//! Decides what an installation is to be, and owns the formats of what is decided and what happened.
//!
//! [`make`] is a pure function: entitlement, models, host facts, slots, answers and the receipt of what is installed now go
//! in; a [`Plan`] comes out, or every reason why not, together. A plan leaves no choice for the time it is executed.
//!
//! Invariants:
//! - this room does no I/O: it opens no file, asks no clock and reads no environment;
//! - the same inputs give the same bytes, and so the same digest;
//! - what may change between two runs of the same intent (free disk, the number of files in a folder) can refuse a plan or
//!   show in its [`Forecast`], and is never part of the plan itself;
//! - a port block, once recorded for a customer, never changes.
//!
//! Formats owned here, each with a version first: [`Answers`] (YAML, written by people and the wizard), [`Plan`] and
//! [`Receipt`] (JSON, written by `install`), journal lines ([`journal`], written by `install`, read by `agent`),
//! [`SlotTable`] (JSON, written by `install` under the slot lock).

mod answers;
mod containers;
mod error;
mod fault;
mod forecast;
mod foreign;
mod grant;
pub mod journal;
mod make;
mod plan;
mod receipt;
mod render;
mod slots;
mod step;

pub use answers::{Answers, ConsoleReach, CustomerAnswers, Language, Runtime, UpdateAnswers, UpdatePolicy};
pub use error::Error;
pub use fault::{Fault, Faults};
pub use forecast::{Forecast, Note};
pub use foreign::{other_format, other_yaml_format};
pub use grant::{Grant, machine_hashes};
pub use make::{Binary, Draft, Folder, Inputs, Model, ModelRole, Proposal, draft, make};
pub use plan::{Plan, Port, Service};
pub use receipt::{AdapterOutcome, Receipt};
pub use render::{bytes_for_people, count_for_people};
pub use slots::{Slot, SlotTable};
pub use step::{Image, ModelFile, Step, StepId, Supervision};
