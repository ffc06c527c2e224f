//! The support bundle: what somebody else needs to see in order to help, and nothing they must not.
//!
//! [`collect`] asks the machine, the agent and the files, each within its time and the whole within its size; a part that does not
//! answer is noted and not waited for. [`Collected`] can be shown before anything leaves, and is written as one `.tar.zst`.
//!
//! Never in it: documents, questions, answers, passages, and the folder of secrets. Names of documents only when asked for.
//! Before a [`Collected`] exists, every secret of the installation was looked for in everything that was found, as it stands and in
//! the forms that programs write it in (`secret`); when one is there, there is no bundle, and the error names the file and the
//! secret, never its value. Beyond that, what looks like a credential of somebody else is taken out of free text, and counted.
//!
//! Invariants:
//! - nothing but text goes in: what was compressed is not taken, and is opened where it is embedded, to be searched;
//! - no link is followed in folders that a role can write to;
//! - a bundle is written whole, mode 0600, or not at all.

mod collect;
mod error;
mod format;
mod gather;
mod names;
mod pack;
mod redact;
mod secret;

pub use collect::{Options, collect};
pub use error::{Error, Found};
pub use format::{Collector, How, Manifest, ManifestFile};
pub use pack::Collected;
