//! Handlers: small Python programs that read a format nobody here knows, run where they can do no harm.
//!
//! A handler defines `handle(name, size)` and calls host functions to read the file's bytes and to emit records. [`Runner`] gives
//! a file to a process of its own, without files, network, programs or environment, in which an interpreter of a part of Python
//! (`monty`) runs the handler within [`HandlerLimits`]. [`validate`] says whether a handler may be registered; [`Analysis`] is what a
//! person or a model is told of a file to write one.
//!
//! Invariants:
//! - a run ends within its limits, with a [`Run`] or a [`Refusal`] that has a name; the process that hosts it is not used again;
//! - a handler reaches the bytes of its file and its own output, and nothing else: no file, clock, environment or other module of
//!   the machine;
//! - what is counted as explained was decoded by a host function;
//! - the sample in an [`Analysis`] is at most [`SAMPLE_BYTES`] long and masked.

mod analysis;
mod child;
mod coverage;
mod decimal;
mod host;
mod interpret;
mod kind;
mod limits;
mod lines;
mod mask;
mod output;
mod period;
mod process;
mod refusal;
mod run;
mod sample;
mod unpack;
mod validate;
mod wire;

pub use analysis::Analysis;
pub use child::main;
pub use kind::{Class, Kind};
pub use limits::HandlerLimits;
pub use lines::Lines;
pub use mask::mask;
pub use process::{Runner, Session};
pub use refusal::Refusal;
pub use run::{Figures, Records, Run};
pub use sample::SAMPLE_BYTES;
pub use validate::{Check, Finding, MAX_SKIPPED, MIN_COVERAGE, Validation, validate};

pub(crate) use kind::of_text;

/// The contract between a handler and its host, for people and models.
pub const CONTRACT: &str = include_str!("../../bundles/handlers/contract.md");

/// The metadata key under which a text that is made of records carries its [`Kind`], as JSON.
pub const KIND_KEY: &str = "record_kind";

/// Returns the faults of a finished run that speak against believing it: used for every file, not only when a handler is added.
pub use validate::faults_of_run;

#[cfg(test)]
mod tests;
