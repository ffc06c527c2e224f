//! What is trusted of one repository, kept between runs: the newest metadata that was proven, byte for byte.
//!
//! ```text
//! root.json timestamp.json snapshot.json targets.json     as received
//! roots/N.root.json    every root on the way, so that others can be shown it
//! seen                 the latest time seen
//! rotated              only while a root with other keys is put down (see [`Store::put_root`])
//! lock
//! ```
//!
//! Every file is replaced whole. Whatever the moment of a crash, what is there is what was trusted before or after one step of
//! the specification, and never less protects against a rollback than before.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use base::{
    Seen, Timestamp,
    file::{self, Lock, LockError},
};

use super::Error;

const MAX_FILE_BYTES: u64 = 16 << 20;
const ROOTS: &str = "roots";
const ROTATED: &str = "rotated";
const SEEN: &str = "seen";
const LOCK: &str = "lock";

/// The trusted metadata of one repository.
#[derive(Debug)]
pub struct Store {
    /// Where it is kept; a view of it is kept nowhere.
    dir: Option<PathBuf>,
    files: BTreeMap<String, Vec<u8>>,
    roots: BTreeMap<u64, Vec<u8>>,
    seen: Seen,
    _lock: Option<Lock>,
}

impl Store {
    /// Opens the store in `dir`, and makes it where there is none. One process at a time may have it.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Damaged`], [`Error::Write`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Write { path: dir.to_owned(), source };
        file::private_dir(dir).map_err(failed)?;
        let lock = Lock::try_acquire(&dir.join(LOCK), "release").map_err(|error| match error {
            LockError::Held { .. } => Error::Locked { path: dir.to_owned() },
            LockError::Io { source, .. } => failed(source),
        })?;
        let mut store = Self { dir: Some(dir.to_owned()), _lock: Some(lock), ..Self::load(dir)? };
        store.finish_rotation()?;
        Ok(store)
    }

    /// Reads the store in `dir` without ever changing it: for a look at a bundle that may be refused in the end.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn view(dir: Option<&Path>) -> Result<Self, Error> {
        let Some(dir) = dir.filter(|dir| dir.is_dir()) else { return Ok(Self::empty()) };
        let mut store = Self::load(dir)?;
        store.finish_rotation()?;
        Ok(store)
    }

    fn empty() -> Self {
        Self { dir: None, files: BTreeMap::new(), roots: BTreeMap::new(), seen: Seen::nothing(), _lock: None }
    }

    fn load(dir: &Path) -> Result<Self, Error> {
        let mut store = Self::empty();
        for name in names(dir)? {
            if name.ends_with(".json") || name == ROTATED {
                let bytes = read(&dir.join(&name))?;
                store.files.insert(name, bytes);
            }
        }
        for name in names(&dir.join(ROOTS))? {
            if let Some(version) = name.strip_suffix(".root.json").and_then(|digits| digits.parse().ok()) {
                store.roots.insert(version, read(&dir.join(ROOTS).join(name))?);
            }
        }
        store.seen = Seen::load(&dir.join(SEEN))?;
        Ok(store)
    }

    /// Returns a trusted file.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// Returns every root that was trusted here, by version.
    pub(super) fn roots(&self) -> &BTreeMap<u64, Vec<u8>> {
        &self.roots
    }

    /// Returns where a file is, for messages.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.as_deref().unwrap_or(Path::new("")).join(name)
    }

    /// Returns the later of `now` and the latest time seen here.
    pub(super) fn at_least(&self, now: Timestamp) -> Timestamp {
        self.seen.at_least(now)
    }

    /// Takes note of the time.
    pub(super) fn note(&mut self, now: Timestamp) -> Result<(), Error> {
        if let Some(dir) = &self.dir {
            self.seen = Seen::note(&dir.join(SEEN), now)?;
        }
        Ok(())
    }

    /// Trusts a file from now on.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.write(Path::new(name), bytes)?;
        self.files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    /// Trusts a root from now on. Where keys of timestamp or snapshot are gone, what they signed is forgotten (5.3.11): so a vendor
    /// recovers from an attacker who raised version numbers with a stolen key.
    ///
    /// The mark is put down first. A crash between root and removal would otherwise keep, for ever, numbers nobody can exceed.
    pub(super) fn put_root(&mut self, version: u64, bytes: &[u8], keys_are_gone: bool) -> Result<(), Error> {
        if keys_are_gone {
            self.put(ROTATED, version.to_string().as_bytes())?;
        }
        if let Some(dir) = &self.dir {
            let roots = dir.join(ROOTS);
            file::private_dir(&roots).map_err(|source| Error::Write { path: roots, source })?;
        }
        self.write(&Path::new(ROOTS).join(format!("{version}.root.json")), bytes)?;
        self.roots.insert(version, bytes.to_vec());
        self.put("root.json", bytes)?;
        self.finish_rotation()
    }

    /// Goes on where [`Store::put_root`] may have been interrupted.
    fn finish_rotation(&mut self) -> Result<(), Error> {
        let Some(mark) = self.get(ROTATED) else { return Ok(()) };
        let rotated: u64 = std::str::from_utf8(mark)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::Damaged { path: self.path(ROTATED), reason: "it is no version".to_owned() })?;
        let is_root_of_mark = self.roots.get(&rotated).is_some_and(|root| self.get("root.json") == Some(root));
        if is_root_of_mark {
            self.remove("timestamp.json")?;
            self.remove("snapshot.json")?;
        }
        self.remove(ROTATED)
    }

    fn remove(&mut self, name: &str) -> Result<(), Error> {
        self.files.remove(name);
        let Some(dir) = &self.dir else { return Ok(()) };
        let path = dir.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Write { path, source }),
            _ => file::sync_dir(dir).map_err(|source| Error::Write { path, source }),
        }
    }

    fn write(&self, name: &Path, bytes: &[u8]) -> Result<(), Error> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let path = dir.join(name);
        file::write_atomic(&path, bytes, 0o600).map_err(|source| Error::Write { path, source })
    }
}

fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let damaged = |error: io::Error| Error::Damaged { path: dir.to_owned(), reason: error.to_string() };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(damaged)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(damaged)?;
        let is_file = entry.file_type().map_err(damaged)?.is_file();
        // What a crash left of a file that was being replaced is never read.
        names.extend(entry.file_name().into_string().ok().filter(|name| is_file && !name.starts_with(".new-")));
    }
    Ok(names)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    file::read_bounded(path, MAX_FILE_BYTES)
        .map_err(|error| Error::Damaged { path: path.to_owned(), reason: error.to_string() })
}
