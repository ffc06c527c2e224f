//! The files that wait for a handler, by kind.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use base::{Clock, CustomerLayout};
use extract::handler::{Analysis, Kind};

use crate::{Error, FORMAT, Waiting, place};

/// Files that are named; a handler is tried on some of them.
const FILES_MAX: usize = 8;
/// Kinds that wait. A folder of noise must not fill the disk with samples.
const KINDS_MAX: usize = 500;

/// The folder of what waits. Cheap to clone; clones take turns.
#[derive(Clone, Debug)]
pub struct Queue {
    dir: PathBuf,
    state: PathBuf,
    turn: Arc<Mutex<()>>,
}

impl Queue {
    /// Of this customer; nothing is read yet.
    pub fn new(customer: &CustomerLayout) -> Self {
        Self { dir: customer.handlers_pending(), state: customer.ingest_state(), turn: Arc::default() }
    }

    fn path(&self, id: &str) -> PathBuf {
        let plain: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
        self.dir.join(format!("{plain}.json"))
    }

    /// Returns what waits, newest first.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Format`].
    pub fn list(&self) -> Result<Vec<Waiting>, Error> {
        let mut found = Vec::new();
        for path in self.files()? {
            found.extend(place::read_json::<Waiting>(&path)?);
        }
        found.sort_by(|a, b| (b.last_seen, a.kind.id()).cmp(&(a.last_seen, b.kind.id())));
        Ok(found)
    }

    fn files(&self) -> Result<Vec<PathBuf>, Error> {
        match fs::read_dir(&self.dir) {
            Ok(entries) => Ok(entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
                .collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::file("list", &self.dir)(error)),
        }
    }

    /// Returns what waits under a kind's name.
    ///
    /// # Errors
    /// [`Error::NotWaiting`], and as [`Self::list`].
    pub fn get(&self, id: &str) -> Result<Waiting, Error> {
        place::read_json(&self.path(id))?.ok_or_else(|| Error::NotWaiting { kind: id.to_owned() })
    }

    /// Puts a file down as waiting.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Format`].
    pub fn add(
        &self,
        analysis: &Analysis,
        file: &Path,
        is_text: bool,
        reason: Option<String>,
        clock: Clock,
    ) -> Result<(), Error> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        place::folder(&self.state, self.state.parent().unwrap_or(&self.state))?;
        // Only where its owner is known is a folder given away to it.
        let parent = self.dir.parent().unwrap_or(&self.state);
        place::folder(parent, &self.state)?;
        place::folder(&self.dir, &self.state)?;
        let path = self.path(&analysis.kind.id());
        let now = clock.now();
        let mut waiting = match place::read_json::<Waiting>(&path) {
            Ok(Some(waiting)) => waiting,
            Ok(None) if self.files()?.len() >= KINDS_MAX => {
                tracing::warn!(kinds = KINDS_MAX, "more kinds of unknown files wait than are kept");
                return Ok(());
            }
            // A damaged one is made anew: it holds nothing that the file does not.
            Ok(None) | Err(_) => Waiting {
                format: FORMAT,
                kind: analysis.kind.clone(),
                analysis: analysis.clone(),
                files: Vec::new(),
                first_seen: now,
                last_seen: now,
                is_text,
                reason: None,
            },
        };
        waiting.last_seen = now;
        waiting.is_text = is_text;
        waiting.reason = reason;
        if !waiting.files.iter().any(|known| known == file) {
            waiting.files.push(file.to_owned());
            let surplus = waiting.files.len().saturating_sub(FILES_MAX);
            waiting.files.drain(..surplus);
        }
        place::write_json(&path, &waiting)
    }

    /// Forgets the kinds a handler is for. None of them waiting is no error.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn settle(&self, kind: &Kind) -> Result<(), Error> {
        for path in self.files()? {
            let waits = place::read_json::<Waiting>(&path).ok().flatten();
            if waits.is_some_and(|waiting| kind.admits(&waiting.kind)) {
                fs::remove_file(&path).map_err(Error::file("remove", &path))?;
            }
        }
        Ok(())
    }
}
