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
/// The folder below an approved handler's own, for one of the same name that waits to take its place.
const SUCCESSOR: &str = "successor";

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

    /// Returns what is registered, by name; after an approved one the one that waits to take its place. A folder that cannot be read is
    /// an error: a handler that is silently absent would let its files go unread.
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
            found.extend(place::read_json::<Entry>(&entry.path().join(SUCCESSOR).join(ENTRY))?);
        }
        // Stable: what waits stays behind what is in force.
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Returns the handler in force, with its source if that is the registered one.
    ///
    /// # Errors
    /// [`Error::NoHandler`], [`Error::Changed`], and as [`Self::list`].
    pub fn get(&self, name: &str) -> Result<Handler, Error> {
        read(&self.dir_of(name)?, name)
    }

    /// Returns the handler that was registered last: the one that waits to take the place of an approved one, else the one in force.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn newest(&self, name: &str) -> Result<Handler, Error> {
        let dir = self.dir_of(name)?;
        match read(&dir.join(SUCCESSOR), name) {
            Err(Error::NoHandler { .. }) => read(&dir, name),
            found => found,
        }
    }

    /// Registers a handler. It takes the place of one of the same name, but an approved one stays in force until the new one is
    /// approved too: until then that is its successor.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::File`], [`Error::Format`].
    pub fn put(&self, entry: &Entry, source: &str) -> Result<(), Error> {
        let dir = self.dir_of(&entry.name)?;
        place::folder(&self.state, self.state.parent().unwrap_or(&self.state))?;
        place::folder(&self.dir, &self.state)?;
        place::folder(&dir, &self.state)?;
        let in_force = place::read_json::<Entry>(&dir.join(ENTRY))?;
        if entry.state != State::Approved && in_force.is_some_and(|entry| entry.state == State::Approved) {
            let successor = dir.join(SUCCESSOR);
            place::folder(&successor, &self.state)?;
            return write(&successor, entry, source);
        }
        write(&dir, entry, source)?;
        forget(&dir.join(SUCCESSOR))
    }

    /// Puts down a decision about the handler with this source: the newest one, or, to reject it, the one in force. A successor that is
    /// approved takes the place of the one before it; one that is rejected is forgotten, and the one before it stays in force.
    ///
    /// # Errors
    /// [`Error::AnotherSource`] when what was looked at is not what would be decided about; as [`Self::get`] and [`Self::put`].
    pub fn decide(&self, name: &str, digest: Digest, state: State, decision: Decision) -> Result<Entry, Error> {
        let dir = self.dir_of(name)?;
        let newest = self.newest(name)?;
        let known = newest.entry.digest;
        let waits = dir.join(SUCCESSOR).join(ENTRY).is_file();
        let (mut handler, is_successor) = match state {
            _ if known == digest => (newest, waits),
            State::Rejected if waits => (self.get(name)?, false),
            _ => (newest, waits),
        };
        if handler.entry.digest != digest {
            return Err(Error::AnotherSource { name: name.to_owned(), digest: known });
        }
        handler.entry.state = state;
        handler.entry.decision = Some(decision);
        match (is_successor, state) {
            (true, State::Rejected) => forget(&dir.join(SUCCESSOR))?,
            (true, _) => {
                write(&dir, &handler.entry, &handler.source)?;
                forget(&dir.join(SUCCESSOR))?;
            }
            (false, _) => place::write_json(&dir.join(ENTRY), &handler.entry)?,
        }
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

/// Reads the handler in a folder.
fn read(dir: &Path, name: &str) -> Result<Handler, Error> {
    let missing = || Error::NoHandler { name: name.to_owned() };
    let entry: Entry = place::read_json(&dir.join(ENTRY))?.ok_or_else(missing)?;
    let source = place::read(&dir.join(SOURCE))?.ok_or_else(missing)?;
    if Digest::of(&source) != entry.digest {
        return Err(Error::Changed { name: name.to_owned() });
    }
    let source = String::from_utf8(source).map_err(|_| Error::Changed { name: name.to_owned() })?;
    Ok(Handler { entry, source })
}

/// Writes a handler into its folder.
fn write(dir: &Path, entry: &Entry, source: &str) -> Result<(), Error> {
    // The source first: an entry that names another one is refused, so a crash between the two runs nothing unapproved.
    place::write(&dir.join(SOURCE), source.as_bytes())?;
    place::write_json(&dir.join(ENTRY), entry)
}

/// Removes a successor's folder. Its entry goes first: what is left after a crash is nobody's.
fn forget(dir: &Path) -> Result<(), Error> {
    let is_done = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    is_done(fs::remove_file(dir.join(ENTRY))).map_err(Error::file("remove", dir))?;
    is_done(fs::remove_dir_all(dir)).map_err(Error::file("remove", dir))
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
