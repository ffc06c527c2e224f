use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use base::file::{self, Lock, LockError, ReadError};
use base::{Clock, Layout};

use crate::{Attempt, Entry, Error, Outcome, Settings, Stage, State};

/// Settings, state and history of the updates of an installation.
#[derive(Clone, Debug)]
pub struct Record {
    layout: Layout,
}

const BYTES_MAX: u64 = 4 << 20;

impl Record {
    /// Of this installation; nothing is read yet.
    pub fn new(layout: &Layout) -> Self {
        Self { layout: layout.clone() }
    }

    /// Takes the lock of whoever carries out an update.
    ///
    /// # Errors
    /// [`Error::Locked`] with its holder.
    pub fn lock(&self) -> Result<Lock, Error> {
        Lock::try_acquire(&self.layout.update_lock(), "update").map_err(|error| match error {
            LockError::Held { holder, .. } => Error::Locked { holder },
            error => Error::Lock(error),
        })
    }

    /// Reads the settings; the default, which looks for nothing, where none were made.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn settings(&self) -> Result<Settings, Error> {
        let path = self.layout.update_settings();
        let format = |reason: String| Error::Format { path: path.clone(), reason };
        let Some(bytes) = bytes(&path)? else { return Ok(Settings::default()) };
        match plan::other_yaml_format(&bytes, Settings::FORMAT) {
            Some(other) => Err(format(newer(other, Settings::FORMAT))),
            None => serde_yaml::from_slice(&bytes).map_err(|error| format(error.to_string())),
        }
    }

    /// Writes the settings.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn set(&self, settings: &Settings) -> Result<(), Error> {
        let path = self.layout.update_settings();
        let text = serde_yaml::to_string(settings)
            .map_err(|error| Error::Format { path: path.clone(), reason: error.to_string() })?;
        write(&path, text.as_bytes())
    }

    /// Reads the state.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn state(&self) -> Result<State, Error> {
        let path = self.layout.update_state();
        let format = |reason: String| Error::Format { path: path.clone(), reason };
        let Some(bytes) = bytes(&path)? else { return Ok(State::default()) };
        match plan::other_format(&bytes, State::FORMAT) {
            Some(other) => Err(format(newer(other, State::FORMAT))),
            None => serde_json::from_slice(&bytes).map_err(|error| format(error.to_string())),
        }
    }

    /// Writes the state, so that a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn put(&self, state: &State) -> Result<(), Error> {
        let path = self.layout.update_state();
        let bytes = serde_json::to_vec_pretty(state)
            .map_err(|error| Error::Format { path: path.clone(), reason: error.to_string() })?;
        write(&path, &bytes)
    }

    /// Adds to the history how an attempt ended. One that is the last line already is not added twice.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn ended(&self, attempt: &Attempt, clock: Clock) -> Result<(), Error> {
        let outcome = match attempt.stage {
            Stage::Finished => Outcome::Installed,
            Stage::RolledBack => Outcome::RolledBack,
            _ => Outcome::Refused,
        };
        let entry = Entry {
            format: 1,
            at: clock.now(),
            from: attempt.from.clone(),
            to: attempt.to.clone(),
            outcome,
            downtime_ms: attempt.downtime_ms,
            cause: attempt.cause.clone(),
        };
        let path = self.layout.update_history();
        let line = serde_json::to_string(&entry)
            .map_err(|error| Error::Format { path: path.clone(), reason: error.to_string() })?;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let mut file = file.map_err(Error::file("open", &path))?;
        file::append_line_synced(&mut file, &line).map_err(Error::file("write", &path))
    }

    /// Reads the history, oldest first. A line a crash cut short is left out.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn history(&self) -> Result<Vec<Entry>, Error> {
        let bytes = bytes(&self.layout.update_history())?.unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

fn newer(found: u32, known: u32) -> String {
    format!("it has format {found}; this program knows format {known}")
}

fn bytes(path: &std::path::Path) -> Result<Option<Vec<u8>>, Error> {
    match file::read_bounded(path, BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Format { path: path.to_owned(), reason: error.to_string() }),
    }
}

fn write(path: &std::path::Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(dir) = path.parent() {
        file::private_dir(dir).map_err(Error::file("make folder", dir))?;
    }
    file::write_atomic(path, bytes, 0o600).map_err(Error::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_written_is_the_default_and_what_is_damaged_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        let record = Record::new(&layout);
        assert_eq!(record.state().unwrap(), State::default());
        assert_eq!(record.settings().unwrap(), Settings::default());
        let settings = Settings {
            channel: Some("/srv/channel".into()),
            window: "22:00-04:00".parse().ok(),
            ..Settings::default()
        };
        record.set(&settings).unwrap();
        assert_eq!(record.settings().unwrap(), settings);
        let mut state = State::default();
        state.held.insert("0.2.0".parse().unwrap(), "it crashed".into());
        record.put(&state).unwrap();
        assert_eq!(record.state().unwrap(), state);
        std::fs::write(layout.update_state(), "{\"format\":2}").unwrap();
        assert!(record.state().is_err());
        let _lock = record.lock().unwrap();
        assert!(matches!(record.lock(), Err(Error::Locked { .. })));
    }
}
