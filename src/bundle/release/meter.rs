//! How far a fetch is, over all its downloads.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

const TELL_EVERY: Duration = Duration::from_millis(200);

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    pub done_bytes: u64,
    pub total_bytes: u64,
    /// At the rate of this run so far; unknown in its first second.
    pub eta_seconds: Option<u64>,
}

/// Counts the bytes of all downloads, and says so now and then.
pub(super) struct Meter<'a> {
    state: Mutex<MeterState>,
    begun: Instant,
    begun_bytes: u64,
    total_bytes: u64,
    watch: &'a (dyn Fn(Progress) + Send + Sync),
}

struct MeterState {
    done_bytes: u64,
    told: Option<Instant>,
}

impl<'a> Meter<'a> {
    pub fn new(begun_bytes: u64, total_bytes: u64, watch: &'a (dyn Fn(Progress) + Send + Sync)) -> Self {
        let state = Mutex::new(MeterState { done_bytes: begun_bytes, told: None });
        Self { state, begun: Instant::now(), begun_bytes, total_bytes, watch }
    }

    /// One download has so many bytes now; a wrong one begins anew, and has fewer.
    pub fn moved(&self, before: u64, now: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done_bytes = state.done_bytes.saturating_add(now).saturating_sub(before);
        if state.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        state.told = Some(Instant::now());
        (self.watch)(self.progress(state.done_bytes));
    }

    pub fn end(&self) {
        let done_bytes = self.state.lock().unwrap_or_else(PoisonError::into_inner).done_bytes;
        (self.watch)(self.progress(done_bytes));
    }

    fn progress(&self, done_bytes: u64) -> Progress {
        let (seconds, gained) = (self.begun.elapsed().as_secs_f64(), done_bytes.saturating_sub(self.begun_bytes));
        let left = self.total_bytes.saturating_sub(done_bytes);
        let eta = (seconds >= 1.0 && gained > 0).then(|| (left as f64 * seconds / gained as f64).ceil() as u64);
        Progress { done_bytes, total_bytes: self.total_bytes, eta_seconds: eta }
    }
}
