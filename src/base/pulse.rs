//! Whether a role gets on with its work, and what it did when it was asked for a small job.
//!
//! A probe that waits behind real work must not be taken for a role that hangs. So every role counts the pieces of work it gets done
//! (`GET /v1/pulse`), and whoever probes compares: a counter that moved while the probe waited says "busy", one that stood says "stuck".

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use crate::Role;

/// The version of [`Beat`] and [`Canary`] this program writes and reads.
const FORMAT: u32 = 1;

/// Counts a role's work. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    moved: AtomicU64,
    running: AtomicU64,
}

/// A piece of work under way. Only one that is [done](Running::done) is a step: one that is dropped was given up by who asked.
#[derive(Debug)]
pub struct Running(Pulse);

/// What `GET /v1/pulse` answers. Every role writes it, the agent reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Version of this format: 1.
    pub format: u32,
    /// Steps of work since the role began: tokens, texts, requests, files, training steps.
    pub moved: u64,
    /// Pieces of work under way.
    pub running: u64,
}

/// What a role did when it was asked for a small job of its own kind (`POST /v1/canary`). Every role writes it, the agent reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Version of this format: 1.
    pub format: u32,
    /// What was found, by name; for people.
    pub found: BTreeMap<String, String>,
    /// Roles it needs and could not reach, with the reason. The fault may be theirs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreachable: BTreeMap<Role, String>,
}

impl Pulse {
    /// Counts one step of work.
    pub fn step(&self) {
        self.0.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins a piece of work.
    pub fn begin(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    /// Returns how far the role is.
    pub fn beat(&self) -> Beat {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Beat { format: FORMAT, moved: of(&self.0.moved), running: of(&self.0.running) }
    }
}

impl Running {
    /// Says that the work came to its end.
    pub fn done(self) {
        self.0.step();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self { format: FORMAT, found: BTreeMap::new(), unreachable: BTreeMap::new() }
    }
}

impl Canary {
    /// Adds something that was found.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.found.insert(name.to_owned(), value.to_string());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_under_way_is_seen_and_only_what_was_done_is_a_step() {
        let pulse = Pulse::default();
        let (done, given_up) = (pulse.begin(), pulse.clone().begin());
        assert_eq!((pulse.beat().moved, pulse.beat().running), (0, 2));
        done.done();
        drop(given_up);
        assert_eq!((pulse.beat().moved, pulse.beat().running), (1, 0));
    }
}
