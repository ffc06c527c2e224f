//! How far a run is, how long it will take, and where the time went.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::format::{Event, Progress, Stages};

/// Progress is told at most this often.
const INTERVAL: Duration = Duration::from_millis(100);

/// No end is foretold earlier than this, nor from fewer files.
const SILENCE: Duration = Duration::from_secs(2);
const FEW_FILES: u64 = 3;

/// What a file costs beside its bytes, in bytes; and beyond how many bytes a file costs no more, for most of such a file is images.
const FILE_COST: u64 = 30_000;
const MAX_COST: u64 = 4_000_000;

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Walk,
    Read,
    Extract,
    Chunk,
    Embed,
    Commit,
}

/// Counts for one run, and tells the listener.
pub(crate) struct Meter<'a> {
    events: &'a (dyn Fn(Event) + Send + Sync),
    begun: Instant,
    stages: [AtomicU64; 6],
    bytes_read: AtomicU64,
    embedded: AtomicU64,
    state: Mutex<State>,
}

struct State {
    progress: Progress,
    cost_done: u64,
    cost_total: u64,
    /// When there was something to read for the first time.
    reading_since: Instant,
    told: Option<Instant>,
}

/// Measures one piece of a stage.
pub(crate) struct Timer<'a> {
    total: &'a AtomicU64,
    begun: Instant,
}

impl Timer<'_> {
    pub fn stop(self) {
        let nanos = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.total.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl<'a> Meter<'a> {
    pub fn new(events: &'a (dyn Fn(Event) + Send + Sync)) -> Self {
        let begun = Instant::now();
        Self {
            events,
            begun,
            stages: Default::default(),
            bytes_read: AtomicU64::new(0),
            embedded: AtomicU64::new(0),
            state: Mutex::new(State {
                progress: Progress::default(),
                cost_done: 0,
                cost_total: 0,
                reading_since: begun,
                told: None,
            }),
        }
    }

    pub fn tell(&self, event: Event) {
        (self.events)(event);
    }

    pub fn start(&self, stage: Stage) -> Timer<'_> {
        Timer { total: &self.stages[stage as usize], begun: Instant::now() }
    }

    /// Says which files, by size, there are to read.
    pub fn plan(&self, sizes: impl Iterator<Item = u64>) {
        let mut state = self.state();
        for size_bytes in sizes {
            state.progress.files_total += 1;
            state.progress.bytes_total += size_bytes;
            state.cost_total += cost(size_bytes);
        }
        state.reading_since = Instant::now();
    }

    pub fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn chunks(&self, count: u64) {
        self.embedded.fetch_add(count, Ordering::Relaxed);
        let mut state = self.state();
        state.progress.chunks += count;
        self.progress(state);
    }

    /// Says that a file is put down for good, or never will be.
    pub fn file_done(&self, size_bytes: u64) {
        let mut state = self.state();
        state.progress.files_done += 1;
        state.progress.bytes_done += size_bytes;
        state.cost_done += cost(size_bytes);
        self.progress(state);
    }

    fn progress(&self, mut state: MutexGuard<'_, State>) {
        let is_last = state.progress.files_done == state.progress.files_total;
        if !is_last && state.told.is_some_and(|told| told.elapsed() < INTERVAL) {
            return;
        }
        state.told = Some(Instant::now());
        state.progress.eta_seconds = state.eta();
        let progress = state.progress;
        // The listener may take its time, and must not hold up the stages meanwhile.
        drop(state);
        self.tell(Event::Progress(progress));
    }

    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    pub fn embedded(&self) -> u64 {
        self.embedded.load(Ordering::Relaxed)
    }

    pub fn files_done(&self) -> u64 {
        self.state().progress.files_done
    }

    pub fn stages(&self) -> Stages {
        let seconds =
            |stage: Stage| Duration::from_nanos(self.stages[stage as usize].load(Ordering::Relaxed)).as_secs_f64();
        Stages {
            walk: seconds(Stage::Walk),
            read: seconds(Stage::Read),
            extract: seconds(Stage::Extract),
            chunk: seconds(Stage::Chunk),
            embed: seconds(Stage::Embed),
            commit: seconds(Stage::Commit),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn eta(&self) -> Option<u64> {
        let elapsed = self.reading_since.elapsed();
        if elapsed < SILENCE || self.progress.files_done < FEW_FILES {
            return None;
        }
        let left = self.cost_total.saturating_sub(self.cost_done) as f64;
        let seconds = elapsed.as_secs_f64() * left / self.cost_done.max(1) as f64;
        Some(seconds.ceil() as u64)
    }
}

fn cost(size_bytes: u64) -> u64 {
    FILE_COST + size_bytes.min(MAX_COST)
}
