//! Formats nobody knows: which handlers there are, who approved them, which files wait for one, and who writes one.
//!
//! A [`Registry`] keeps handlers with the digest of their source and the state a person gave them. A [`Desk`] stands where files are
//! read: it finds the handler of a file's kind, runs it, and puts files without one into the [`Queue`]. A [`Writer`] asks a model for a
//! handler ([`Author`]), has it validated, and hands its faults back for a few rounds.
//!
//! Invariants:
//! - a file's bytes are looked at in the processes of `extract::handler` only; this room keeps samples that came masked out of them;
//! - a source runs only if its digest is the registered one: what was changed behind the registry's back is refused;
//! - records of a handler nobody approved are counted and dropped; only [`State::Approved`] gives a document, and only a policy a
//!   person chose approves without one. An approved handler stays in force until a newer one of its name is approved, and what is
//!   approved is the source somebody saw, by its digest;
//! - nothing is sent anywhere unless [`Settings`] name the address, and for a model outside only the sample a person has seen the like
//!   of, at most 16 KB of it, masked; every call is in the log before its answer is used, by its digests;
//! - the key of a model is read from a file only its owner may read, and stands in no message, log or argument.

mod author;
mod desk;
mod error;
mod format;
mod log;
mod place;
mod prompt;
mod queue;
mod registry;
mod settings;
mod wire;
mod write;

pub use author::{Author, Reply};
pub use desk::{Desk, Verdict};
pub use error::Error;
pub use format::{Approval, Claude, Decision, Entry, FORMAT, Local, Origin, Settings, State, Waiting, Writing};
pub use log::{Call, CallLog};
pub use prompt::Prompt;
pub use queue::Queue;
pub use registry::{Handler, Registry};
pub use write::{Round, Writer, Written};
