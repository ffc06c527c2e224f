//! Keeps the folders in step while the role runs: looks at them now and then, and starts a run when they changed and have come to rest.
//!
//! It looks instead of being told: shares tell nobody what others change on them, and a machine has watches for a few thousand folders only.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base::{
    file,
    job::{JobState, Jobs},
};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::work::{Params, Works};
use crate::Sight;

/// Whether the folders are to be kept in step. On the disk it is in a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Version of this format: 1.
    pub format: u32,
    pub on: bool,
}

const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 4 << 10;
/// Between two looks. Folders that take long to list are looked at less often.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Listing the folders may take this share of the time, one in so many.
const LOOK_SHARE: u32 = 50;
/// What changed is looked at again so soon: a file that is being copied is still changing then.
const REST: Duration = Duration::from_secs(5);
/// After a run that failed, doubled with each further one.
const FAILED_REST: Duration = Duration::from_secs(60);
const FAILED_REST_MOST: Duration = Duration::from_secs(3600);

/// Looks after the configured folders. Cheap to clone.
#[derive(Clone)]
pub(super) struct Watch {
    works: Works,
    jobs: Jobs,
}

impl Watch {
    pub fn new(works: Works, jobs: Jobs) -> Self {
        Self { works, jobs }
    }

    /// Says whether the folders are kept in step, from now on and after every restart.
    pub fn set(&self, wanted: Wanted) -> io::Result<()> {
        if wanted.format != FORMAT {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("format {} is unknown", wanted.format)));
        }
        let bytes = serde_json::to_vec(&wanted).map_err(io::Error::other)?;
        file::write_atomic(&self.path(), &bytes, 0o600)
    }

    fn is_on(&self) -> bool {
        let bytes = file::read_bounded(&self.path(), BYTES_MAX).ok();
        let wanted = bytes.and_then(|bytes| serde_json::from_slice::<Wanted>(&bytes).ok());
        wanted.is_some_and(|wanted| wanted.format == FORMAT && wanted.on)
    }

    fn path(&self) -> PathBuf {
        self.works.state_dir().join("watch.json")
    }

    /// Looks until `shutdown`.
    pub async fn keep_in_step(self, shutdown: CancellationToken) {
        let (mut pause, mut failures, mut before) = (REST, 0, None);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
            if !self.is_on() {
                (pause, before) = (REST, None);
                continue;
            }
            let begun = Instant::now();
            let Some(sight) = self.look(&shutdown).await else { return };
            pause = LOOK_EVERY.max(begun.elapsed() * LOOK_SHARE);
            if sight.was_read(self.works.folders(), self.works.state_dir()) {
                (failures, before) = (0, None);
            } else if before != Some(sight) {
                (pause, before) = (REST.max(begun.elapsed()), Some(sight));
            } else if self.run().await {
                failures = 0;
            } else {
                pause = (FAILED_REST * (1 << failures)).min(FAILED_REST_MOST);
                failures = (failures + 1).min(6);
            }
        }
    }

    async fn look(&self, shutdown: &CancellationToken) -> Option<Sight> {
        let (works, stop) = (self.works.clone(), shutdown.clone());
        let look = move || Sight::take(works.folders(), works.state_dir(), &stop);
        let sight = tokio::task::spawn_blocking(look).await.ok()?;
        // One that was broken off says nothing.
        (!shutdown.is_cancelled()).then_some(sight)
    }

    /// Brings the lake up to date. Returns whether that came to its end.
    async fn run(&self) -> bool {
        tracing::info!("the folders changed; they are read");
        let Ok(params) = self.works.check(Params::default()) else { return false };
        let works = self.works.clone();
        let started = match self.jobs.start(None, move |handle| works.run(params, handle)) {
            Ok(started) => started,
            Err(error) => {
                tracing::warn!(%error, "the folders changed, and cannot be read");
                return false;
            }
        };
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            match self.jobs.status(&started.id) {
                Some(status) if status.state == JobState::Running => {}
                Some(status) => {
                    if let Some(error) = status.error {
                        tracing::warn!(error, "the folders changed, and were not read to the end");
                    }
                    return status.state == JobState::Done;
                }
                None => return false,
            }
        }
    }
}

impl Works {
    pub(super) fn state_dir(&self) -> &Path {
        &self.0.state_dir
    }

    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.0.config.folders
    }
}
