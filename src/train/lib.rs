//! What people wrote and asked becomes a LoRA adapter: trained here on the CPU, measured, and served only if it is better.
//!
//! - [`run`] makes one version of the lake: dataset, training, PEFT directory with GGUF twin, gate, registry.
//! - [`Registry`] knows the versions and which is served; [`serve`] is the role `trainer` around both.
//! - [`BaseModel`], [`Network`] and [`Adapter`] are the model: read from GGUF, forward and hand-written backward pass.
//!
//! It refuses models it would compute wrongly, trains on no held-out document and on no copy of one, and fetches nothing.
//!
//! Invariants:
//! - losses, gradients and updates are those of torch and PEFT in `f32`, within rounding (`parity` holds them to it);
//! - the same data, seed, number of steps and threads give the same adapter;
//! - a version's folder appears whole, and is promoted only if the serving engine computes with it what was trained and
//!   the held-out perplexity is lower than the base model's and the served version's;
//! - a killed run goes on from its checkpoint, and never makes a second version.

mod adapter;
mod attention;
mod checkpoint;
mod config;
mod corpus;
mod dataset;
mod error;
mod examples;
mod feed_forward;
mod fit;
mod format;
mod gate;
mod head;
mod math;
mod matrix;
mod model;
mod network;
mod norm;
mod optimiser;
mod peft;
mod random;
mod registry;
mod rope;
mod run;
mod schedule;
mod serve;
#[cfg(test)]
mod tests;
mod threads;
mod twin;

pub use adapter::{Adapter, AdapterShape, Projection};
pub use config::LlamaConfig;
pub use error::Error;
pub use format::{Agreement, Decision, Event, FORMAT, HistoryEntry, Outcome, TrainParams, VersionEntry, VersionFile};
pub use head::NO_TARGET;
pub use model::BaseModel;
pub use network::{Batch, Network};
pub use registry::Registry;
pub use run::{Report, TrainJob, run};
pub use serve::{DEFAULT_SEED, serve};
