use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base::{
    Rights, Timestamp,
    file::{self, Lock, LockError},
};

use serde_json::Value;

use crate::{
    Error,
    format::{Decision, Event, FORMAT, HistoryEntry, RegistryFile, VersionEntry},
};

/// Versions are few; a larger file is no registry.
const LARGEST: u64 = 1 << 20;
/// A change takes milliseconds; who holds the lock longer is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// The versions of a customer and which of them is served: `loras/registry.json`.
///
/// Reading needs no lock, for the file is replaced whole. Every change reads it anew under the lock,
/// so that the role and the command line do not undo each other's.
#[derive(Clone, Debug)]
pub struct Registry {
    loras: PathBuf,
    content: RegistryFile,
}

impl Registry {
    /// Reads the registry of a folder of adapters; without a file it is empty.
    ///
    /// # Errors
    /// When the file cannot be read or is not of format 1.
    pub fn open(loras: &Path) -> Result<Self, Error> {
        let path = loras.join("registry.json");
        let content = match file::read_bounded(&path, LARGEST) {
            Ok(bytes) => {
                let malformed =
                    |source: serde_json::Error| Error::Malformed { path: path.clone(), source: source.into() };
                // The format first: the rest of a newer program's file cannot be judged.
                let head: Value = serde_json::from_slice(&bytes).map_err(malformed)?;
                let found = head.get("format").and_then(Value::as_u64).unwrap_or_default();
                if found != u64::from(FORMAT) {
                    let source = format!("its format is {found}, and {FORMAT} is the one known").into();
                    return Err(Error::Malformed { path, source });
                }
                serde_json::from_slice(&bytes).map_err(malformed)?
            }
            Err(file::ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                RegistryFile { format: FORMAT, promoted: None, versions: Vec::new(), history: Vec::new() }
            }
            Err(source) => return Err(Error::ReadFile(source)),
        };
        Ok(Self { loras: loras.to_owned(), content })
    }

    /// Returns all versions, oldest first.
    pub fn versions(&self) -> &[VersionEntry] {
        &self.content.versions
    }

    /// Returns what happened to the promoted version, oldest first.
    pub fn history(&self) -> &[HistoryEntry] {
        &self.content.history
    }

    /// Returns the version that answers where adapters may know what these rights may read; `None` means the base model. A version that
    /// knows more stays promoted, for when that is no secret again.
    pub fn served(&self, rights: &Rights) -> Option<&str> {
        let may_answer = |name: &&str| rights.is_all() || self.version(name).is_some_and(|version| version.is_public);
        self.promoted().filter(may_answer)
    }

    /// Returns the version that was promoted last; `None` means the base model.
    pub fn promoted(&self) -> Option<&str> {
        self.content.promoted.as_deref()
    }

    /// Returns one version.
    pub fn version(&self, name: &str) -> Option<&VersionEntry> {
        self.content.versions.iter().find(|version| version.name == name)
    }

    /// Returns a version's folder.
    pub fn dir(&self, name: &str) -> Option<PathBuf> {
        self.version(name).map(|version| self.loras.join(&version.dir))
    }

    /// Returns the name the next version gets.
    pub fn next_name(&self) -> String {
        let number = |version: &VersionEntry| version.name.strip_prefix('v')?.parse::<u64>().ok();
        let last = self.content.versions.iter().filter_map(number).max().unwrap_or(0);
        format!("v{}", last + 1)
    }

    /// Adds a version; one whose decision is to promote is served from then on.
    ///
    /// # Errors
    /// [`Error::Lock`], or when the file cannot be written.
    pub fn add(&mut self, entry: VersionEntry, now: Timestamp) -> Result<(), Error> {
        self.change(|content| {
            let (name, decision) = (entry.name.clone(), entry.decision);
            content.versions.retain(|version| version.name != name);
            content.versions.push(entry);
            content.log(now, Event::Added, &name);
            if decision == Decision::Promoted {
                content.log(now, Event::Promoted, &name);
                content.promoted = Some(name);
            }
            Ok(())
        })
    }

    /// Serves a version from now on, also one the gate refused: people may know better than a score.
    ///
    /// # Errors
    /// [`Error::UnknownVersion`]; [`Error::Unservable`] for one the engine does not compute rightly.
    pub fn promote(&mut self, name: &str, now: Timestamp) -> Result<(), Error> {
        let loras = self.loras.clone();
        self.change(|content| {
            let found = content.versions.iter().find(|version| version.name == name);
            let version = found.ok_or_else(|| Error::UnknownVersion { name: name.to_owned() })?;
            if !version.servable || !loras.join(&version.dir).join("adapter.gguf").is_file() {
                return Err(Error::Unservable { name: name.to_owned(), reason: version.reason.clone() });
            }
            if content.promoted.as_deref() != Some(name) {
                content.log(now, Event::Promoted, name);
                content.promoted = Some(name.to_owned());
            }
            Ok(())
        })
    }

    /// Serves what was served before the promoted version; returns it, `None` for the base model.
    ///
    /// # Errors
    /// [`Error::NothingToRollBack`] when the base model is served.
    pub fn rollback(&mut self, now: Timestamp) -> Result<Option<String>, Error> {
        self.change(|content| {
            let promoted = content.promoted.clone().ok_or(Error::NothingToRollBack)?;
            let promotion =
                content.history.iter().rev().find(|entry| entry.event == Event::Promoted && entry.version == promoted);
            let before = promotion.and_then(|entry| entry.before.clone());
            // A version that is gone cannot be served again.
            let before = before.filter(|name| content.versions.iter().any(|version| version.name == *name));
            content.log(now, Event::RolledBack, before.as_deref().unwrap_or("base"));
            content.promoted = before;
            Ok(())
        })?;
        Ok(self.content.promoted.clone())
    }

    fn change(&mut self, work: impl FnOnce(&mut RegistryFile) -> Result<(), Error>) -> Result<(), Error> {
        fs::create_dir_all(&self.loras).map_err(|source| Error::Write { path: self.loras.clone(), source })?;
        let _lock = self.lock()?;
        let mut content = Self::open(&self.loras)?.content;
        work(&mut content)?;
        let path = self.loras.join("registry.json");
        let bytes = serde_json::to_vec_pretty(&content)
            .map_err(|source| Error::Malformed { path: path.clone(), source: source.into() })?;
        file::write_atomic(&path, &bytes, 0o600).map_err(|source| Error::Write { path, source })?;
        self.content = content;
        Ok(())
    }

    fn lock(&self) -> Result<Lock, Error> {
        let path = self.loras.join("registry.lock");
        let started = Instant::now();
        loop {
            match Lock::try_acquire(&path, "versions") {
                Err(LockError::Held { .. }) if started.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                taken => return taken.map_err(Error::Lock),
            }
        }
    }
}

impl RegistryFile {
    fn log(&mut self, at: Timestamp, event: Event, version: &str) {
        let before = self.promoted.clone();
        self.history.push(HistoryEntry { at, event, version: version.to_owned(), before });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn add(registry: &mut Registry, decision: Decision) -> String {
        let name = registry.next_name();
        let dir = format!("{name}_20261122");
        fs::create_dir_all(registry.loras.join(&dir)).unwrap();
        fs::write(registry.loras.join(&dir).join("adapter.gguf"), b"GGUF").unwrap();
        let entry = VersionEntry {
            name: name.clone(),
            dir,
            created: NOW,
            decision,
            reason: "test".to_owned(),
            perplexity_before: 20.0,
            perplexity_after: 10.0,
            servable: true,
            is_public: false,
            run: "run".to_owned(),
        };
        registry.add(entry, NOW).unwrap();
        name
    }

    #[test]
    fn rollback_goes_back_version_by_version_to_base() {
        let dir = tempfile::tempdir().unwrap();
        let mut registry = Registry::open(dir.path()).unwrap();
        assert_eq!(registry.promoted(), None);
        for (decision, name, promoted) in
            [(Decision::Promoted, "v1", "v1"), (Decision::Refused, "v2", "v1"), (Decision::Promoted, "v3", "v3")]
        {
            assert_eq!(add(&mut registry, decision), name);
            assert_eq!(registry.promoted(), Some(promoted));
        }
        let mut other = Registry::open(dir.path()).unwrap();
        assert_eq!(other.rollback(NOW).unwrap().as_deref(), Some("v1"));
        assert_eq!(registry.rollback(NOW).unwrap(), None, "a change sees what others wrote");
        assert!(matches!(registry.rollback(NOW), Err(Error::NothingToRollBack)));
        registry.promote("v2", NOW).unwrap();
        assert_eq!(Registry::open(dir.path()).unwrap().promoted(), Some("v2"));
        assert!(matches!(registry.promote("v9", NOW), Err(Error::UnknownVersion { .. })));
        fs::remove_file(registry.dir("v1").unwrap().join("adapter.gguf")).unwrap();
        assert!(matches!(registry.promote("v1", NOW), Err(Error::Unservable { .. })));
    }

    #[test]
    fn what_learnt_from_closed_documents_does_not_answer_where_there_are_rights() {
        let dir = tempfile::tempdir().unwrap();
        let mut registry = Registry::open(dir.path()).unwrap();
        add(&mut registry, Decision::Promoted);
        let everybody = Rights::Of(Vec::new());
        assert_eq!((registry.served(&Rights::All), registry.served(&everybody)), (Some("v1"), None));
        let public = VersionEntry { name: "v2".to_owned(), is_public: true, ..registry.versions()[0].clone() };
        registry.add(public, NOW).unwrap();
        assert_eq!((registry.served(&Rights::All), registry.served(&everybody)), (Some("v2"), Some("v2")));
        // A registry of before says nothing of it.
        let text = fs::read_to_string(dir.path().join("registry.json")).unwrap();
        let before = text.lines().filter(|line| !line.contains("is_public")).collect::<Vec<_>>().join("\n");
        fs::write(dir.path().join("registry.json"), before).unwrap();
        assert_eq!(Registry::open(dir.path()).unwrap().served(&everybody), None);
    }

    #[test]
    fn a_foreign_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        for text in ["{", r#"{"format":2,"promoted":null,"versions":[],"history":[]}"#] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Registry::open(dir.path()), Err(Error::Malformed { .. })));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
