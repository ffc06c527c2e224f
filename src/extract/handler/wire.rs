//! What parent and handler process say to each other: a length, then JSON; the setup is followed by the file's bytes.
//!
//! Both ends are the same program, so `format` only guards against a binary replaced while a process runs.

use serde::{Deserialize, Serialize};

use super::{Analysis, HandlerLimits, Run};
use crate::sandbox::Applied;

pub(super) const FORMAT: u32 = 1;

/// The first message: limits, and the file that follows.
#[derive(Serialize, Deserialize)]
pub(super) struct Setup {
    pub format: u32,
    pub limits: HandlerLimits,
    pub name: String,
    pub size: u64,
    /// The size of the whole file; more than `size` when a handler shall see its beginning only.
    pub whole: u64,
}

/// The answer to it: what the sandbox holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Hello {
    pub format: u32,
    pub sandbox: Applied,
}

/// What is asked about the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    Analyse,
    Run { code: String },
}

/// What came of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Analysis(Box<Analysis>),
    Run(Box<Run>),
}
