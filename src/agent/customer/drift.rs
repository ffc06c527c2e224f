use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use base::CustomerLayout;

/// How long files may differ from what the containers were made from before it is worth a line in the log: `install` writes them
/// first and makes the containers then.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the containers still are what the files beside them say. A reader: only `install` makes them anew.
#[derive(Default)]
pub(super) struct Drift {
    looked_at: Option<Vec<Option<Stamp>>>,
    text: Option<String>,
    since: Option<Instant>,
    is_told: bool,
}

/// Inode, change time and size of a file: tells that it is another one, without reading it.
type Stamp = (u64, i64, i64, u64);

impl Drift {
    /// Looks again when one of the files is another one than before.
    pub(super) fn refresh(&mut self, customer: &CustomerLayout) {
        let stamp = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.ino(), found.ctime(), found.ctime_nsec(), found.len()))
        };
        let files = [customer.compose(), customer.compose_override(), customer.compose_env(), customer.applied()];
        let stamps = files.iter().map(|path| stamp(path)).collect();
        if self.looked_at.as_ref() != Some(&stamps) {
            self.looked_at = Some(stamps);
            let text = stack::docker::drift(customer);
            if text != self.text {
                *self = Self {
                    looked_at: self.looked_at.take(),
                    since: text.as_ref().map(|_| Instant::now()),
                    text,
                    is_told: false,
                };
            }
        }
        if let (Some(text), Some(since), false) = (&self.text, self.since, self.is_told)
            && since.elapsed() > PATIENCE
        {
            tracing::warn!(customer = %customer.slug(), "{text}; `0711 install` applies it");
            self.is_told = true;
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}
