//! The handlers there are: one folder each, in the customer's folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base::{CustomerLayout, Digest};
use extract::handler::Kind;

use crate::{Decision, Entry, Error, State, place};

const ENTRY: &str = "handler.json";
const SOURCE: &str = "handler.py";

/// The folder of the handlers.
#[derive(Clone, Debug)]
pub struct Registry {
    dir: PathBuf,
    state: PathBuf,
}

/// A handler with its source, which is the one that was registered.
#[derive(Clone, Debug, PartialEq)]
pub struct Handler {
    pub entry: Entry,
    pub source: String,
}

impl Registry {
    /// Of this customer; nothing is read yet.
    pub fn new(customer: &CustomerLayout) -> Self {
        Self { dir: customer.handlers(), state: customer.ingest_state() }
    }

    fn dir_of(&self, name: &str) -> Result<PathBuf, Error> {
        let is_name = !name.is_empty()
            && name.len() <= 60
            && name != "pending"
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if is_name { Ok(self.dir.join(name)) } else { Err(Error::BadName { name: name.to_owned() }) }
    }

    /// Returns what is registered, by name. A folder that cannot be read is an error: a handler that is silently absent would let its
    /// files go unread.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Format`].
    pub fn list(&self) -> Result<Vec<Entry>, Error> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::file("list", &self.dir)(error)),
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            found.extend(place::read_json::<Entry>(&entry.path().join(ENTRY))?);
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Returns a handler, with its source if that is the registered one.
    ///
    /// # Errors
    /// [`Error::NoHandler`], [`Error::Changed`], and as [`Self::list`].
    pub fn get(&self, name: &str) -> Result<Handler, Error> {
        let dir = self.dir_of(name)?;
        let missing = || Error::NoHandler { name: name.to_owned() };
        let entry: Entry = place::read_json(&dir.join(ENTRY))?.ok_or_else(missing)?;
        let source = place::read(&dir.join(SOURCE))?.ok_or_else(missing)?;
        if Digest::of(&source) != entry.digest {
            return Err(Error::Changed { name: name.to_owned() });
        }
        let source = String::from_utf8(source).map_err(|_| Error::Changed { name: name.to_owned() })?;
        Ok(Handler { entry, source })
    }

    /// Registers a handler, in place of one of the same name.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::File`].
    pub fn put(&self, entry: &Entry, source: &str) -> Result<(), Error> {
        let dir = self.dir_of(&entry.name)?;
        place::folder(&self.state, self.state.parent().unwrap_or(&self.state))?;
        place::folder(&self.dir, &self.state)?;
        place::folder(&dir, &self.state)?;
        // The source first: an entry that names another one is refused, so a crash between the two runs nothing unapproved.
        place::write(&dir.join(SOURCE), source.as_bytes())?;
        place::write_json(&dir.join(ENTRY), entry)
    }

    /// Puts down a decision about a handler.
    ///
    /// # Errors
    /// As [`Self::get`] and [`Self::put`].
    pub fn decide(&self, name: &str, state: State, decision: Decision) -> Result<Entry, Error> {
        let mut handler = self.get(name)?;
        handler.entry.state = state;
        handler.entry.decision = Some(decision);
        place::write_json(&self.dir_of(name)?.join(ENTRY), &handler.entry)?;
        Ok(handler.entry)
    }

    /// Returns a number that changes when a handler comes, goes, or is decided about: files that were read by the old ones are read
    /// anew. 0 where there are none.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn generation(&self) -> Result<u64, Error> {
        Ok(generation(&self.list()?))
    }

    /// Returns where the folder of the handlers is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// See [`Registry::generation`].
pub(crate) fn generation(entries: &[Entry]) -> u64 {
    if entries.is_empty() {
        return 0;
    }
    let text: String =
        entries.iter().map(|entry| format!("{} {} {:?}\n", entry.name, entry.digest, entry.state)).collect();
    let digest = Digest::of(text.as_bytes());
    digest.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Returns the handlers that may be for files of a kind: those of exactly this kind first, approved before waiting ones.
pub(crate) fn candidates<'a>(entries: &'a [Entry], kind: &Kind) -> Vec<&'a Entry> {
    let mut found: Vec<&Entry> =
        entries.iter().filter(|entry| entry.state != State::Rejected && entry.kind.admits(kind)).collect();
    found.sort_by_key(|entry| (entry.state != State::Approved, entry.kind != *kind, entry.name.clone()));
    found
}
