//! The client workflow, step by step as section 5 of the specification numbers them.

use base::Timestamp;

use super::{
    Error, FileError, Files, Store, Tree,
    files::Kept,
    format::{MetaFile, Root, Targets},
    metadata::{Current, Keys, Metadata, Role, Snapshot, check_bytes},
};

/// How much of each kind a repository may send (5.1 to 5.6: W, X, Y, Z).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub root_bytes: u64,
    pub timestamp_bytes: u64,
    pub snapshot_bytes: u64,
    pub targets_bytes: u64,
    /// Roots followed in one refresh; the next one goes on.
    pub roots: u64,
    /// Delegated roles looked at for one target.
    pub delegations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root_bytes: 512 << 10,
            timestamp_bytes: 16 << 10,
            snapshot_bytes: 2 << 20,
            targets_bytes: 5 << 20,
            roots: 256,
            delegations: 32,
        }
    }
}

/// What expired metadata means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExpiry {
    /// Someone may be holding newer metadata back: a freeze attack.
    Refuse,
    /// Nothing newer can be had here.
    Accept,
}

/// Version and end of a role's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub role: &'static str,
    pub version: u64,
    pub expires: Timestamp,
}

/// A client of one repository.
pub struct Client<'a, F> {
    pub(super) files: &'a F,
    pub(super) store: Store,
    pub(super) limits: Limits,
    /// The fixed time of this update (5.1), never earlier than the latest seen.
    pub(super) now: Timestamp,
    pub(super) on_expiry: OnExpiry,
    root: Metadata<Root>,
    pub(super) current: Option<Top>,
}

/// What a refresh proved.
pub(super) struct Top {
    timestamp: Metadata<Current>,
    pub snapshot: Metadata<Snapshot>,
    pub targets: Metadata<Targets>,
}

impl<'a, F: Files> Client<'a, F> {
    /// Begins at the root in the store, or at `trusted` where there is none yet. Nothing is asked of the repository.
    ///
    /// # Errors
    /// [`Error::TrustedRoot`] for a root that is none or does not prove itself, [`Error::Damaged`].
    pub fn new(
        files: &'a F,
        store: Store,
        trusted: &[u8],
        now: Timestamp,
        on_expiry: OnExpiry,
        limits: Limits,
    ) -> Result<Self, Error> {
        let kept = store.get("root.json");
        let root = own_root(kept.unwrap_or(trusted)).map_err(|reason| match kept {
            Some(_) => Error::Damaged { path: store.path("root.json"), reason },
            None => Error::TrustedRoot { reason },
        })?;
        let now = store.at_least(now);
        Ok(Self { files, store, limits, now, on_expiry, root, current: None })
    }

    /// Brings the metadata up to date, and keeps what was proven on the way: also when a later step fails.
    ///
    /// # Errors
    /// What the channel sent was refused, is older than what was trusted, has expired, or could not be read or kept.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        self.store.note(self.now)?;
        self.update_root().await?;
        let timestamp = self.update_timestamp().await?;
        let snapshot = self.update_snapshot(&timestamp).await?;
        let listed = snapshot.signed.0.meta.get("targets.json").cloned().ok_or_else(|| unlisted("targets.json"))?;
        let keys = Keys::of_root(&self.root.signed, "targets");
        let targets = self.update_targets("targets", &listed, &keys).await?;
        self.current = Some(Top { timestamp, snapshot, targets });
        Ok(())
    }

    /// 5.3: from root to root, each signed by the one before and by itself.
    async fn update_root(&mut self) -> Result<(), Error> {
        for _ in 0..self.limits.roots {
            let next = self.root.version.saturating_add(1);
            let name = format!("{next}.root.json");
            let Some(bytes) = self.read(&name, self.limits.root_bytes).await? else { break };
            let root: Metadata<Root> = parse(&name, bytes)?;
            let refused = |reason: String| Error::Refused { file: name.clone(), reason };
            let (old, new) = (&self.root.signed, &root.signed);
            Keys::of_root(old, "root")
                .prove(&root)
                .map_err(|why| refused(format!("by the keys of the last root, {why}")))?;
            Keys::of_root(new, "root").prove(&root).map_err(|why| refused(format!("by its own keys, {why}")))?;
            if root.version < next {
                return Err(Error::Older { file: name, offered: root.version, trusted: self.root.version });
            }
            if root.version > next {
                return Err(refused(format!("it has version {}", root.version)));
            }
            let lost = |role: &str| Keys::of_root(old, role).lost_one(&Keys::of_root(new, role));
            let keys_are_gone = lost("timestamp") || lost("snapshot");
            self.keep_first_root()?;
            self.store.put_root(root.version, &root.bytes, keys_are_gone)?;
            self.root = root;
        }
        // 5.3.10; the roots on the way may have expired.
        self.check_expiry("root.json", self.root.expires)
    }

    /// The root it all began with is kept as soon as something it proved is.
    fn keep_first_root(&mut self) -> Result<(), Error> {
        match self.store.get("root.json") {
            Some(_) => Ok(()),
            None => self.store.put_root(self.root.version, &self.root.bytes, false),
        }
    }

    /// 5.4.
    async fn update_timestamp(&mut self) -> Result<Metadata<Current>, Error> {
        let name = "timestamp.json";
        let keys = Keys::of_root(&self.root.signed, "timestamp");
        let kept: Option<Metadata<Current>> = self.kept(name)?;
        let bytes = self.needed(name, self.limits.timestamp_bytes).await?;
        let new: Metadata<Current> = parse(name, bytes)?;
        keys.prove(&new).map_err(|reason| refused(name, reason))?;
        let chosen = match kept {
            Some(kept) if new.version < kept.version => return Err(older(name, new.version, kept.version)),
            Some(kept) => {
                let (offered, trusted) = (snapshot_of(&new)?.version, snapshot_of(&kept)?.version);
                // 5.4.3.1: another one of the same version changes nothing. A kept one that the root's present keys do not prove
                // is too little to go on with.
                if new.version == kept.version && keys.prove(&kept).is_ok() {
                    kept
                } else if offered < trusted {
                    return Err(older("snapshot.json", offered, trusted));
                } else {
                    new
                }
            }
            None => new,
        };
        self.check_expiry(name, chosen.expires)?;
        self.keep(name, &chosen.bytes)?;
        Ok(chosen)
    }

    /// 5.5.
    async fn update_snapshot(&mut self, timestamp: &Metadata<Current>) -> Result<Metadata<Snapshot>, Error> {
        let name = "snapshot.json";
        let listed = snapshot_of(timestamp)?.clone();
        let keys = Keys::of_root(&self.root.signed, "snapshot");
        let kept: Option<Metadata<Snapshot>> = self.kept(name)?;
        if let Some(kept) = &kept
            && kept.check_listed(&listed).is_ok()
            && keys.prove(kept).is_ok()
        {
            self.check_expiry(name, kept.expires)?;
            return Ok(kept.clone());
        }
        let (path, new) = self.listed::<Snapshot>("snapshot", &listed, self.limits.snapshot_bytes, &keys).await?;
        // 5.5.5: no file may go back or vanish.
        for (file, old) in kept.iter().flat_map(|kept| &kept.signed.0.meta) {
            match new.signed.0.meta.get(file) {
                Some(offered) if offered.version < old.version => {
                    return Err(older(file, offered.version, old.version));
                }
                Some(_) => {}
                None => return Err(refused(&path, format!("it names `{file}` no more"))),
            }
        }
        self.check_expiry(name, new.expires)?;
        self.keep(name, &new.bytes)?;
        Ok(new)
    }

    /// 5.6, for the top-level role and for delegated ones.
    pub(super) async fn update_targets(
        &mut self,
        role: &str,
        listed: &MetaFile,
        keys: &Keys,
    ) -> Result<Metadata<Targets>, Error> {
        let name = format!("{}.json", super::files::quoted(role));
        if let Some(kept) = self.kept::<Targets>(&name)?
            && kept.check_listed(listed).is_ok()
            && keys.prove(&kept).is_ok()
        {
            self.check_expiry(&name, kept.expires)?;
            return Ok(kept);
        }
        let (_, new) = self.listed::<Targets>(role, listed, self.limits.targets_bytes, keys).await?;
        self.check_expiry(&name, new.expires)?;
        self.keep(&name, &new.bytes)?;
        Ok(new)
    }

    /// Reads the file that another one lists: exactly that one, signed as it must be.
    async fn listed<T: Role>(
        &self,
        role: &str,
        listed: &MetaFile,
        max_bytes: u64,
        keys: &Keys,
    ) -> Result<(String, Metadata<T>), Error> {
        let quoted = super::files::quoted(role);
        let path = match self.root.signed.consistent_snapshot {
            true => format!("{}.{quoted}.json", listed.version),
            false => format!("{quoted}.json"),
        };
        // A length that a stolen key signed widens nothing.
        let bytes = self.needed(&path, listed.length.map_or(max_bytes, |length| length.min(max_bytes))).await?;
        check_bytes(&bytes, listed).map_err(|reason| refused(&path, reason))?;
        let new: Metadata<T> = parse(&path, bytes)?;
        keys.prove(&new).map_err(|reason| refused(&path, reason))?;
        new.check_listed(listed).map_err(|reason| refused(&path, reason))?;
        Ok((path, new))
    }

    /// Returns what is trusted now, one line per role; empty before a refresh.
    pub fn versions(&self) -> Vec<Standing> {
        let Some(top) = &self.current else { return Vec::new() };
        let line = |role, version, expires| Standing { role, version, expires };
        vec![
            line("root", self.root.version, self.root.expires),
            line("timestamp", top.timestamp.version, top.timestamp.expires),
            line("snapshot", top.snapshot.version, top.snapshot.expires),
            line("targets", top.targets.version, top.targets.expires),
        ]
    }

    /// Returns the time this client goes by.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether target files carry their hash in their name.
    pub(super) fn is_consistent(&self) -> bool {
        self.root.signed.consistent_snapshot
    }

    /// Returns the top-level metadata as the files of a repository: what others need to prove the same. Empty before a refresh.
    pub(crate) fn kept_files(&self) -> Kept {
        let Some(top) = &self.current else { return Kept::default() };
        let versioned = |version: u64, name: &str| match self.root.signed.consistent_snapshot {
            true => format!("{version}.{name}"),
            false => name.to_owned(),
        };
        let roots = self.store.roots().iter().map(|(version, bytes)| (format!("{version}.root.json"), bytes.clone()));
        let mut files: std::collections::BTreeMap<_, _> = roots.collect();
        files.insert(format!("{}.root.json", self.root.version), self.root.bytes.clone());
        files.insert("timestamp.json".to_owned(), top.timestamp.bytes.clone());
        files.insert(versioned(top.snapshot.version, "snapshot.json"), top.snapshot.bytes.clone());
        files.insert(versioned(top.targets.version, "targets.json"), top.targets.bytes.clone());
        Kept(files)
    }

    async fn read(&self, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        read(self.files, Tree::Metadata, name, max_bytes).await
    }

    async fn needed(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, Error> {
        let missing = || refused(name, "the channel has none".to_owned());
        self.read(name, max_bytes).await?.ok_or_else(missing)
    }

    fn keep(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.keep_first_root()?;
        match self.store.get(name) == Some(bytes) {
            true => Ok(()),
            false => self.store.put(name, bytes),
        }
    }

    /// A trusted file that cannot be read any more is an error: taking it for absent would forget what protects against a rollback.
    fn kept<T: Role>(&self, name: &str) -> Result<Option<Metadata<T>>, Error> {
        let Some(bytes) = self.store.get(name) else { return Ok(None) };
        match Metadata::parse(bytes.to_vec()) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(reason) => Err(Error::Damaged { path: self.store.path(name), reason }),
        }
    }

    pub(super) fn check_expiry(&self, name: &str, expires: Timestamp) -> Result<(), Error> {
        match self.on_expiry == OnExpiry::Accept || self.now < expires {
            true => Ok(()),
            false => Err(Error::Expired { file: name.to_owned(), expired: expires, now: self.now }),
        }
    }
}

/// Checks that these bytes are a root which its own keys signed.
///
/// # Errors
/// The reason why not.
pub fn check_root(bytes: &[u8]) -> Result<(), String> {
    own_root(bytes).map(drop)
}

/// Reads a root that must prove itself.
fn own_root(bytes: &[u8]) -> Result<Metadata<Root>, String> {
    let root: Metadata<Root> = Metadata::parse(bytes.to_vec())?;
    Keys::of_root(&root.signed, "root").prove(&root)?;
    Ok(root)
}

/// Reads a file of the repository.
pub(super) async fn read<F: Files>(
    files: &F,
    tree: Tree,
    name: &str,
    max_bytes: u64,
) -> Result<Option<Vec<u8>>, Error> {
    files.read(tree, name, max_bytes).await.map_err(|error| match error {
        FileError::Unavailable(reason) => Error::Unavailable { file: name.to_owned(), reason },
        FileError::Refused(reason) => refused(name, reason),
    })
}

fn parse<T: Role>(name: &str, bytes: Vec<u8>) -> Result<Metadata<T>, Error> {
    Metadata::parse(bytes).map_err(|reason| refused(name, reason))
}

fn snapshot_of(timestamp: &Metadata<Current>) -> Result<&MetaFile, Error> {
    timestamp.signed.0.meta.get("snapshot.json").ok_or_else(|| unlisted("snapshot.json"))
}

fn unlisted(name: &str) -> Error {
    refused(name, "nothing lists it".to_owned())
}

pub(super) fn refused(file: &str, reason: String) -> Error {
    Error::Refused { file: file.to_owned(), reason }
}

fn older(file: &str, offered: u64, trusted: u64) -> Error {
    Error::Older { file: file.to_owned(), offered, trusted }
}
