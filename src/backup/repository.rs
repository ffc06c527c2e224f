//! A repository: its header, its catalog, and what counts in it.

use std::{collections::HashMap, sync::Arc};

use base::{Clock, Secret};
use serde::Serialize;

use crate::{
    Error,
    format::{
        Catalog, ChunkId, Header, Index, IndexEntry, IndexId, Kind, PackEntry, PackId, RepositoryId, Snapshot,
        SnapshotEntry, SnapshotId,
    },
    key::RepositoryKey,
    pack::{self, Location},
    seal::{Keys, check_head, random},
    store::Store,
};

const HEADER: &str = "repository";
/// The header stands twice: without it a passphrase opens nothing.
pub(crate) const HEADERS: [&str; 2] = [HEADER, "repository.copy"];
const HEADER_BYTES_MAX: u64 = 64 << 10;
/// The largest catalog, index or snapshot that is read.
const DOCUMENT_BYTES_MAX: u64 = 512 << 20;
const CATALOG: &str = "catalog";
/// Catalogs that are kept: the newest, and the one before it.
pub(crate) const KEPT_CATALOGS: u64 = 2;

/// Something in a repository that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file's name in the repository.
    pub what: String,
    pub why: String,
}

impl Problem {
    pub(crate) fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }

    /// Takes an error that concerns one piece; any other goes on up.
    pub(crate) fn of(what: &str, error: Error) -> Result<Self, Error> {
        match error {
            Error::Damaged { what, why } => Ok(Self { what, why }),
            Error::Missing { what } => Ok(Self::new(what, "it is missing")),
            error if error.is_of_content() => Ok(Self::new(what, chain(&error))),
            error => Err(error),
        }
    }
}

/// Returns an error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

/// An open repository.
pub struct Repository {
    pub(crate) store: Arc<Store>,
    pub(crate) keys: Keys,
    pub(crate) catalog: Catalog,
    pub(crate) header: Option<Header>,
    /// What was found damaged on the way in.
    pub(crate) problems: Vec<Problem>,
}

impl Repository {
    /// Returns who a repository says it is, if there is one. Nothing is authenticated yet.
    ///
    /// # Errors
    /// [`Error::Place`] for a place that holds something else.
    pub fn find(store: &Store) -> Result<Option<RepositoryId>, Error> {
        let headers = read_headers(store)?;
        if let Some((header, ..)) = headers.iter().flatten().next() {
            return Ok(Some(header.id));
        }
        if store.is_empty()? {
            return Ok(None);
        }
        if !store.list(CATALOG)?.is_empty() {
            return Err(Error::damaged(HEADER, "neither it nor its copy can be read; open it with the recovery key"));
        }
        let reason = "it is not empty, and what is in it is no backup of 0711".to_owned();
        Err(Error::Place { place: store.place(), reason })
    }

    /// Opens the repository's key with a passphrase.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::NoPassphrase`], [`Error::WrongKey`].
    pub fn unlock(store: &Store, passphrase: &Secret) -> Result<RepositoryKey, Error> {
        let headers = read_headers(store)?;
        let headers: Vec<_> = headers.into_iter().flatten().collect();
        if headers.is_empty() {
            return Err(Error::NoRepository { place: store.place() });
        }
        let slots: Vec<_> = headers.iter().filter_map(|(header, ..)| header.passphrase.as_ref()).collect();
        if slots.is_empty() {
            return Err(Error::NoPassphrase);
        }
        for slot in slots {
            if let Some(key) = RepositoryKey::of_slot(slot, passphrase)? {
                return Ok(key);
            }
        }
        Err(Error::WrongKey)
    }

    /// Begins a repository in an empty place. The key must be kept before: without it nobody ever opens what comes in.
    ///
    /// # Errors
    /// [`Error::Place`] when something is there.
    pub fn begin(
        mut store: Store,
        key: &RepositoryKey,
        passphrase: Option<&Secret>,
        clock: Clock,
    ) -> Result<Arc<Store>, Error> {
        if !store.is_empty()? {
            return Err(Error::Place { place: store.place(), reason: "it is not empty".to_owned() });
        }
        let passphrase = passphrase.map(|passphrase| key.slot(passphrase)).transpose()?;
        let keys = Keys::new(key);
        let header = Header { id: keys.id, created: clock.now(), passphrase };
        store.prepare()?;
        write_headers(&store, &keys, &header, &HEADERS)?;
        Ok(Arc::new(store))
    }

    /// Opens a repository.
    ///
    /// What is damaged and not needed to open it is remembered, not refused: whoever wants to restore needs all that is left.
    ///
    /// # Errors
    /// [`Error::NoRepository`], [`Error::WrongKey`], [`Error::Newer`], [`Error::Damaged`].
    pub fn open(store: &Arc<Store>, key: &RepositoryKey) -> Result<Self, Error> {
        let keys = Keys::new(key);
        let headers = read_headers(store)?;
        let (mut problems, mut header, mut claims) = (Vec::new(), None, None);
        for (name, found) in HEADERS.iter().zip(headers) {
            match found {
                Some((found, signed, code)) if keys.signed(&signed, &code) => header = header.or(Some(found)),
                Some((found, ..)) => {
                    claims = claims.or(Some(found.id));
                    problems.push(Problem::new(*name, "it is not what was written"));
                }
                None => problems.push(Problem::new(*name, "it is missing or cannot be read")),
            }
        }
        let mut repository =
            Self { store: store.clone(), keys, catalog: Catalog::default(), header, problems: Vec::new() };
        let found = repository.find_catalog(&mut problems)?;
        if repository.header.is_none() && found.is_none() {
            return Err(match claims {
                Some(id) if id == repository.keys.id => Error::damaged(HEADER, "it is not what was written"),
                Some(_) => Error::WrongKey,
                None if store.is_empty()? => Error::NoRepository { place: store.place() },
                None => Error::WrongKey,
            });
        }
        repository.catalog = found.unwrap_or_default();
        repository.problems = problems;
        Ok(repository)
    }

    /// Returns the newest catalog that can be read, and what is wrong with those that cannot.
    fn find_catalog(&self, problems: &mut Vec<Problem>) -> Result<Option<Catalog>, Error> {
        let mut found: Option<Catalog> = None;
        let mut newer = None;
        let mut generations: Vec<u64> =
            self.store.list(CATALOG)?.iter().filter_map(|piece| generation(&piece.name)).collect();
        generations.sort_unstable();
        for generation in generations.iter().rev() {
            let name = catalog_name(*generation);
            match self.document::<Catalog>(Kind::Catalog, &name) {
                Ok(catalog) if catalog.generation == *generation => found = found.or(Some(catalog)),
                Ok(_) => problems.push(Problem::new(name, "it is of another generation than its name")),
                Err(error) => {
                    problems.push(Problem::new(&name, chain(&error)));
                    match error {
                        Error::Newer { .. } => newer = Some(error),
                        error => drop(Problem::of(&name, error)?),
                    }
                }
            }
        }
        // One that seems newer beside one that can be read is a damaged one.
        if let (None, Some(newer)) = (&found, newer) {
            return Err(newer);
        }
        let newest = generations.last().copied().unwrap_or(0);
        for earlier in newest.saturating_sub(KEPT_CATALOGS - 1)..newest {
            if earlier > 0 && !generations.contains(&earlier) {
                problems.push(Problem::new(catalog_name(earlier), "it is missing"));
            }
        }
        if generations.is_empty() && !self.store.list("snapshots")?.is_empty() {
            problems.push(Problem::new(CATALOG, "it is missing"));
        }
        Ok(found)
    }

    /// Returns who it is.
    pub fn id(&self) -> RepositoryId {
        self.keys.id
    }

    /// Returns how often it was changed.
    pub fn generation(&self) -> u64 {
        self.catalog.generation
    }

    /// Returns its backups, oldest first.
    pub fn snapshots(&self) -> &[SnapshotEntry] {
        &self.catalog.snapshots
    }

    /// As [`Self::snapshots`], for whom none must mean that there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`] when no catalog can be read that was there.
    pub fn listed(&self) -> Result<&[SnapshotEntry], Error> {
        let is_of_catalog = |problem: &&Problem| problem.what.starts_with(CATALOG);
        match self.problems.iter().find(is_of_catalog).filter(|_| self.generation() == 0) {
            Some(problem) => Err(Error::damaged(&problem.what, &problem.why)),
            None => Ok(self.snapshots()),
        }
    }

    /// Returns what was found damaged when it was opened.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether a passphrase opens it.
    pub fn has_passphrase(&self) -> bool {
        self.header.as_ref().is_some_and(|header| header.passphrase.is_some())
    }

    /// Refuses to build on what is damaged. A header's copy is made good here.
    pub(crate) fn ready_to_write(&mut self) -> Result<(), Error> {
        let is_header = |problem: &Problem| HEADERS.contains(&problem.what.as_str());
        if let Some(problem) = self.problems.iter().find(|problem| !is_header(problem)) {
            return Err(Error::damaged(&problem.what, &problem.why));
        }
        match &self.header {
            Some(header) => {
                let bad: Vec<&str> = self.problems.iter().map(|problem| problem.what.as_str()).collect();
                write_headers(&self.store, &self.keys, header, &bad)?;
                self.problems.clear();
                Ok(())
            }
            None => Err(Error::damaged(HEADER, "neither it nor its copy is what was written")),
        }
    }

    pub(crate) fn document<T: serde::de::DeserializeOwned>(&self, kind: Kind, name: &str) -> Result<T, Error> {
        self.keys.open_document(kind, name, &self.store.get(name, DOCUMENT_BYTES_MAX)?)
    }

    fn put_document<T: Serialize>(&self, kind: Kind, name: &str, value: &T) -> Result<u64, Error> {
        let bytes = self.keys.document(kind, name, value)?;
        self.store.put(name, &bytes)?;
        Ok(bytes.len() as u64)
    }

    /// Reads a backup.
    pub(crate) fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot, Error> {
        let name = snapshot_name(id);
        let snapshot: Snapshot = self.document(Kind::Snapshot, &name)?;
        if snapshot.id != *id {
            return Err(Error::damaged(name, "it is another backup"));
        }
        Ok(snapshot)
    }

    pub(crate) fn put_snapshot(&self, snapshot: &Snapshot) -> Result<u64, Error> {
        self.put_document(Kind::Snapshot, &snapshot_name(&snapshot.id), snapshot)
    }

    pub(crate) fn put_index(&self, packs: Vec<PackEntry>) -> Result<IndexEntry, Error> {
        let id = IndexId(random());
        let size_bytes = self.put_document(Kind::Index, &index_name(&id), &Index { packs })?;
        Ok(IndexEntry { id, size_bytes })
    }

    /// Makes `next` count: the last act of every change.
    ///
    /// # Errors
    /// [`Error::Changed`] when somebody else did: who slept longer than a lock lasts must not undo what was done meanwhile.
    pub(crate) fn put_catalog(&mut self, mut next: Catalog) -> Result<(), Error> {
        next.generation = self.catalog.generation + 1;
        let before = self.store.list(CATALOG)?;
        if before.iter().filter_map(|piece| generation(&piece.name)).any(|found| found >= next.generation) {
            return Err(Error::Changed);
        }
        self.put_document(Kind::Catalog, &catalog_name(next.generation), &next)?;
        self.catalog = next;
        for piece in before {
            let is_old = |generation: u64| generation + KEPT_CATALOGS <= self.catalog.generation;
            if generation(&piece.name).is_some_and(is_old)
                && let Err(error) = self.store.remove(&piece.name)
            {
                // What was done counts all the same; some places let nobody remove anything.
                tracing::warn!(%error, catalog = piece.name, "cannot remove an old catalog");
            }
        }
        Ok(())
    }

    /// Reads the indexes that count.
    pub(crate) fn packs(&self, problems: &mut Vec<Problem>) -> Result<Vec<PackEntry>, Error> {
        let mut packs = Vec::new();
        for entry in &self.catalog.indexes {
            let name = index_name(&entry.id);
            match self.document::<Index>(Kind::Index, &name) {
                Ok(index) => packs.extend(index.packs),
                Err(error) => problems.push(Problem::of(&name, error)?),
            }
        }
        Ok(packs)
    }

    /// Returns packs that no index knows, as they say themselves. What says nothing readable of itself is passed over.
    pub(crate) fn unknown_packs(&self, known: &[PackEntry]) -> Result<Vec<PackEntry>, Error> {
        let known: std::collections::HashSet<PackId> = known.iter().map(|pack| pack.id).collect();
        let mut found = Vec::new();
        for piece in self.store.list("packs")? {
            let Some(id) = piece.name.rsplit('/').next().and_then(PackId::parse) else { continue };
            if known.contains(&id) || pack::name(&id) != piece.name {
                continue;
            }
            match pack::read_list(&self.store, &self.keys, id, piece.size_bytes) {
                Ok(entry) => found.push(entry),
                Err(error) if error.is_of_content() => {
                    tracing::warn!(pack = piece.name, %error, "passed over a pack that nobody needs");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// Returns where each chunk of these packs stands. One that stands twice is found in the pack named last.
pub(crate) fn locate(packs: &[PackEntry]) -> HashMap<ChunkId, Location> {
    packs.iter().flat_map(PackEntry::locations).collect()
}

/// Header, the bytes that are authenticated, and the code.
type ReadHeader = (Header, Vec<u8>, Vec<u8>);

/// Reads both copies of the header, authenticated by nobody.
fn read_headers(store: &Store) -> Result<[Option<ReadHeader>; 2], Error> {
    let mut found = [None, None];
    let mut newer = None;
    for (name, place) in HEADERS.iter().zip(&mut found) {
        match store.get(name, HEADER_BYTES_MAX).and_then(|bytes| parse_header(name, bytes)) {
            Ok(header) => *place = Some(header),
            Err(error @ Error::Newer { .. }) => newer = Some(error),
            Err(error) if error.is_of_content() => {}
            Err(error) => return Err(error),
        }
    }
    // One that seems newer beside one that can be read is a damaged one.
    match newer {
        Some(newer) if found.iter().all(Option::is_none) => Err(newer),
        _ => Ok(found),
    }
}

fn parse_header(name: &str, mut bytes: Vec<u8>) -> Result<ReadHeader, Error> {
    let damaged = |why: &str| Error::damaged(name, why);
    check_head(Kind::Repository, name, &bytes)?;
    let length = bytes.get(16..20).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes);
    let end = length.map(|length| 20 + length as usize).ok_or_else(|| damaged("it is cut off"))?;
    if bytes.len() != end + 32 {
        return Err(damaged("its length is not what was written"));
    }
    let code = bytes.split_off(end);
    let header = serde_json::from_slice(&bytes[20..]).map_err(|error| damaged(&error.to_string()))?;
    Ok((header, bytes, code))
}

fn write_headers(store: &Store, keys: &Keys, header: &Header, names: &[&str]) -> Result<(), Error> {
    let json =
        serde_json::to_vec(header).map_err(|error| Error::Encode { name: HEADER.to_owned(), source: error.into() })?;
    let mut bytes = Kind::Repository.head().to_vec();
    bytes.extend_from_slice(&(json.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&json);
    let code = keys.sign(&bytes);
    bytes.extend_from_slice(&code);
    names.iter().try_for_each(|name| store.put(name, &bytes))
}

pub(crate) fn catalog_name(generation: u64) -> String {
    format!("catalog/{generation:010}")
}

pub(crate) fn generation(name: &str) -> Option<u64> {
    name.strip_prefix("catalog/")?.parse().ok()
}

pub(crate) fn snapshot_name(id: &SnapshotId) -> String {
    format!("snapshots/{}", id.hex())
}

pub(crate) fn index_name(id: &IndexId) -> String {
    format!("index/{}", id.hex())
}
