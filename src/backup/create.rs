//! Makes a backup.
//!
//! Packs come first, then the index that says what is in them, then the file that describes the backup, and last the catalog
//! that makes it count. Whenever this ends early, the repository is as it was, with some packs more; the next run finds
//! those, and does not write again what is in them.

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use base::{Clock, CustomerLayout, Digest, DigestWriter, Timestamp, file::Lock};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    cut::cut,
    event::{Event, Meter, Sink},
    format::{
        Catalog, ChunkId, FileEntry, FolderEntry, LakeCut, Needed, PackEntry, PackId, Skipped, Snapshot, SnapshotEntry,
        SnapshotId, Stamp,
    },
    key::RepositoryKey,
    lock::{RepositoryLock, Use, host},
    pack::{self, Location, OpenPack},
    repository::{Problem, Repository, index_name, locate, snapshot_name},
    seal::random,
    source::{Found, FoundKind, Source, stamp},
    state::Memory,
    store::Store,
};

/// The right to make a backup of a customer: one process has it. Who has not must not have the lake hold a commit either, for
/// that lets go of the one another backup reads.
#[derive(Debug)]
pub struct Turn {
    _lock: Lock,
}

impl Turn {
    /// Takes it.
    ///
    /// # Errors
    /// [`Error::Nothing`] where there is no such customer, [`Error::Busy`] while a backup of it is being made.
    pub fn take(layout: &CustomerLayout) -> Result<Self, Error> {
        let path = Self::path(layout);
        if !layout.dir().is_dir() && !layout.etc().is_dir() {
            return Err(Error::Nothing(layout.slug().clone()));
        }
        let lock = Lock::try_acquire(&path, "backup create");
        lock.map(|lock| Self { _lock: lock }).map_err(Error::Busy)
    }

    pub(crate) fn path(layout: &CustomerLayout) -> PathBuf {
        layout.backup_state().join("backup.lock")
    }
}

/// A backup that is to be made.
pub struct Create<'a> {
    pub turn: &'a Turn,
    pub store: Arc<Store>,
    pub key: &'a RepositoryKey,
    pub source: Source<'a>,
    /// The installation's root folder; none for the machine's own.
    pub root: Option<&'a Path>,
    /// What the data need and the backup has not.
    pub needs: Vec<Needed>,
    /// Versions of the formats of what is backed up.
    pub formats: std::collections::BTreeMap<String, u32>,
    /// The version of the program.
    pub program: &'a str,
    /// Wait for others who use the repository, instead of saying who.
    pub waits: bool,
    /// Go on with a repository that was put back to an older state.
    pub accepts_older: bool,
    pub clock: Clock,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Created {
    #[serde(flatten)]
    pub entry: SnapshotEntry,
    /// Files that were read, and not recognised by their stamps.
    pub read_files: u64,
    /// Which files are not in it, and why.
    pub skipped_files: Vec<Skipped>,
}

/// A file that changes while it is read is read so often.
const ATTEMPTS: u32 = 3;

impl Create<'_> {
    /// Makes the backup, and keeps note of how it went for `status`.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::RolledBack`], [`Error::TargetFull`], [`Error::TargetGone`], [`Error::Interrupted`], and
    /// what [`Repository::open`] refuses.
    pub fn run(&self, events: Sink<'_>, cancel: &CancellationToken) -> Result<Created, Error> {
        let started = self.clock.now();
        let made = self.make(started, events, cancel);
        let noted = Memory::note(self.source.layout, started, self.clock.now(), &self.store.place(), &made);
        if let Err(error) = noted {
            tracing::warn!(%error, "cannot keep note of the backup");
        }
        made
    }

    fn make(&self, started: Timestamp, events: Sink<'_>, cancel: &CancellationToken) -> Result<Created, Error> {
        let layout = self.source.layout;
        let _lock = RepositoryLock::take(&self.store, Use::Add, self.waits.then_some(cancel))?;
        let mut repository = Repository::open(&self.store, self.key)?;
        repository.ready_to_write()?;
        if !self.accepts_older {
            Memory::read(layout)?.check(&repository)?;
        }
        if repository.generation() == 0 {
            // From here on a repository without a catalog is one that lost it, and no first backup that was cut short.
            repository.put_catalog(Catalog::default())?;
        }
        let mut problems = Vec::new();
        let mut known = repository.packs(&mut problems)?;
        // An index that cannot be read is made anew from what the packs say of themselves.
        repository.catalog.indexes.retain(|entry| !problems.iter().any(|bad| bad.what == index_name(&entry.id)));
        // What an interrupted run wrote is as good as what this one would write.
        let mut adopted = repository.unknown_packs(&known)?;
        if settle(&mut repository, &adopted, events)? {
            known.append(&mut adopted);
        }
        let mut chunks = locate(&adopted);
        chunks.extend(locate(&known));
        let newest = repository.snapshots().iter().rev().find(|entry| entry.customer == *layout.slug());
        let parent = match newest.map(|entry| (entry.id, repository.snapshot(&entry.id))) {
            Some((id, Err(error))) => {
                problems.push(Problem::of(&snapshot_name(&id), error)?);
                None
            }
            read => read.and_then(|(_, parent)| parent.ok()),
        };
        problems.into_iter().for_each(|problem| events(Event::Problem(problem)));
        if let Some(newest) = newest.filter(|newest| newest.finished > started) {
            let text = format!("the clock says {started}, and the last backup was made at {}", newest.finished);
            events(Event::Note(text));
        }
        let mut total = 0;
        self.source.walk(&mut |found| {
            if let FoundKind::File { size_bytes, .. } = found.kind {
                total += size_bytes;
            }
            Ok(())
        })?;
        let mut maker = Maker {
            repository: &repository,
            pack: OpenPack::new(&repository.keys),
            new_packs: Vec::new(),
            chunks,
            parent: parent.iter().flat_map(|parent| &parent.files).map(|file| (file.path.as_str(), file)).collect(),
            cancel,
            events,
            meter: Meter::new(events, total),
            added_bytes: 0,
            read_files: 0,
            folders: Vec::new(),
            files: Vec::new(),
            skipped: Vec::new(),
        };
        let walked = match self.source.walk(&mut |found| maker.take(found)) {
            // What is in memory is worth as much as what is written.
            Err(Error::Interrupted) => maker.flush().and(Err(Error::Interrupted)),
            walked => walked.and_then(|()| maker.flush()),
        };
        let Maker { new_packs, added_bytes, read_files, folders, files, skipped, .. } = maker;
        let (id, last) = (SnapshotId(random()), new_packs.last().map(|pack| pack.id));
        let snapshot = Snapshot {
            id,
            sequence: repository.generation() + 1,
            customer: layout.slug().clone(),
            host: host(),
            root: self.root.map(|root| root.display().to_string()),
            program: self.program.to_owned(),
            started,
            finished: self.clock.now(),
            lake: self.source.lake,
            needs: self.needs.clone(),
            formats: self.formats.clone(),
            folders,
            files,
            skipped,
        };
        let packs = [adopted, new_packs].concat();
        let made = walked.and_then(|()| self.close(&mut repository, snapshot, packs, added_bytes, read_files));
        if let (Err(Error::TargetFull { .. }), Some(last)) = (&made, last)
            && let Err(error) = give_room(&repository.store, &id, &last)
        {
            tracing::warn!(%error, "the medium stays full to the last byte");
        }
        made
    }

    /// Writes index, description and catalog, in this order.
    fn close(
        &self,
        repository: &mut Repository,
        snapshot: Snapshot,
        packs: Vec<PackEntry>,
        added_bytes: u64,
        read_files: u64,
    ) -> Result<Created, Error> {
        let mut next = repository.catalog.clone();
        if !packs.is_empty() {
            next.indexes.push(repository.put_index(packs)?);
        }
        let size_bytes = repository.put_snapshot(&snapshot)?;
        let entry = summary(&snapshot, size_bytes, added_bytes);
        next.snapshots.push(entry.clone());
        repository.put_catalog(next)?;
        Memory::saw(self.source.layout, repository)?;
        Ok(Created { entry, read_files, skipped_files: snapshot.skipped })
    }
}

/// Removes the last pack of a backup that did not find room: without any, not even pruning could write what it must. What
/// describes the backup goes first: the next run must not take it in.
fn give_room(store: &Store, backup: &SnapshotId, last: &PackId) -> Result<(), Error> {
    store.remove(&snapshot_name(backup))?;
    store.remove(&pack::name(last))
}

/// Returns a backup in short.
pub(crate) fn summary(snapshot: &Snapshot, size_bytes: u64, added_bytes: u64) -> SnapshotEntry {
    SnapshotEntry {
        id: snapshot.id,
        size_bytes,
        sequence: snapshot.sequence,
        customer: snapshot.customer.clone(),
        host: snapshot.host.clone(),
        program: snapshot.program.clone(),
        started: snapshot.started,
        finished: snapshot.finished,
        files: snapshot.files.len() as u64,
        content_bytes: snapshot.files.iter().map(|file| file.size_bytes).sum(),
        added_bytes,
        skipped: snapshot.skipped.len() as u64,
        commit: snapshot.lake.map(|LakeCut { commit, .. }| commit),
    }
}

/// Takes in a backup whose making ended after its description was written and before the catalog was, with the packs no index
/// knows. Returns whether there was one.
fn settle(repository: &mut Repository, packs: &[PackEntry], events: Sink<'_>) -> Result<bool, Error> {
    let mut next = repository.catalog.clone();
    for piece in repository.store.list("snapshots")? {
        let Some(id) = piece.name.strip_prefix("snapshots/").and_then(SnapshotId::parse) else { continue };
        if repository.snapshots().iter().any(|entry| entry.id == id) {
            continue;
        }
        match repository.snapshot(&id) {
            Ok(snapshot) if snapshot.sequence == repository.generation() + 1 => {
                events(Event::Note(format!("the backup {} of {} is taken in", id.short(), snapshot.started)));
                next.snapshots.push(summary(&snapshot, piece.size_bytes, 0));
            }
            // It was pruned, by a run that did not get to removing it.
            Ok(_) => {}
            Err(error) if error.is_of_content() => {}
            Err(error) => return Err(error),
        }
    }
    if next.snapshots.len() == repository.snapshots().len() {
        return Ok(false);
    }
    if !packs.is_empty() {
        next.indexes.push(repository.put_index(packs.to_vec())?);
    }
    repository.put_catalog(next)?;
    Ok(true)
}

/// What is known so far of the backup that is made.
struct Maker<'a> {
    repository: &'a Repository,
    pack: OpenPack,
    new_packs: Vec<PackEntry>,
    chunks: HashMap<ChunkId, Location>,
    parent: HashMap<&'a str, &'a FileEntry>,
    cancel: &'a CancellationToken,
    events: Sink<'a>,
    meter: Meter<'a>,
    added_bytes: u64,
    read_files: u64,
    folders: Vec<FolderEntry>,
    files: Vec<FileEntry>,
    skipped: Vec<Skipped>,
}

/// A file's content, as far as a backup describes it.
struct Content {
    size_bytes: u64,
    digest: Digest,
    chunks: Vec<ChunkId>,
}

impl Maker<'_> {
    fn take(&mut self, found: Found) -> Result<(), Error> {
        match found.kind {
            FoundKind::Folder { mode } => self.folders.push(FolderEntry { path: found.path, mode }),
            FoundKind::Unreadable { reason } => self.skip(found.path, reason),
            FoundKind::File { mode, size_bytes, stamp } => {
                self.file(found.path, &found.real, mode, size_bytes, stamp)?;
            }
        }
        Ok(())
    }

    fn skip(&mut self, path: String, reason: String) {
        let skipped = Skipped { path, reason };
        (self.events)(Event::Skipped(skipped.clone()));
        self.skipped.push(skipped);
    }

    fn file(&mut self, path: String, real: &Path, mode: u32, size_bytes: u64, stamp: Stamp) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let known = self.parent.get(path.as_str()).copied();
        let is_known = |known: &&FileEntry| {
            known.stamp == stamp
                && known.size_bytes == size_bytes
                && known.chunks.iter().all(|chunk| self.chunks.contains_key(chunk))
        };
        if let Some(known) = known.filter(is_known) {
            self.files.push(FileEntry { mode, ..known.clone() });
            self.meter.add(size_bytes, || path.clone());
            return Ok(());
        }
        match self.read(real, &path, stamp) {
            Ok(Some((content, stamp))) => {
                let Content { size_bytes, digest, chunks } = content;
                self.read_files += 1;
                self.files.push(FileEntry { path, mode, size_bytes, digest, stamp, chunks });
            }
            // It went meanwhile.
            Ok(None) => {}
            Err(Error::Read { source, .. }) => self.skip(path, source.to_string()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Reads a file, again when it changed meanwhile. Nothing when it is gone.
    fn read(&mut self, real: &Path, path: &str, expected: Stamp) -> Result<Option<(Content, Stamp)>, Error> {
        let is_of_lake = expected.changed_ns.is_none();
        let mut attempt = 1;
        loop {
            let file = match base::file::open_regular(real) {
                Ok(file) => file,
                // What the lake holds does not go by itself.
                Err(base::file::ReadError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound && !is_of_lake =>
                {
                    return Ok(None);
                }
                Err(base::file::ReadError::Io { source, .. }) => return Err(Error::read(real)(source)),
                Err(error) => return Err(Error::read(real)(std::io::Error::other(error.to_string()))),
            };
            let look = |file: &File| file.metadata().map_err(Error::read(real));
            let before = look(&file)?;
            // A file that is appended to is taken as it was when it was opened.
            let content = self.content(&file, real, before.len(), path)?;
            let after = look(&file)?;
            let (before_stamp, after_stamp) = (stamp(&before, is_of_lake), stamp(&after, is_of_lake));
            if before_stamp == after_stamp && content.size_bytes == before.len() {
                return Ok(Some((content, before_stamp)));
            }
            if attempt == ATTEMPTS {
                if content.size_bytes < before.len() {
                    return Err(Error::read(real)(std::io::Error::other("it is being written anew all the time")));
                }
                // Its stamp is one no file has: the next backup reads it again.
                return Ok(Some((content, Stamp { inode: 0, ..before_stamp })));
            }
            attempt += 1;
        }
    }

    fn content(&mut self, file: &File, real: &Path, length: u64, path: &str) -> Result<Content, Error> {
        let mut digest = DigestWriter::new(std::io::sink());
        let mut chunks = Vec::new();
        let gear = self.repository.keys.gear;
        // Errors of reading are the file's, all others the repository's: only the former may be passed over.
        enum Failed {
            Source(std::io::Error),
            Target(Error),
        }
        impl From<std::io::Error> for Failed {
            fn from(error: std::io::Error) -> Self {
                Self::Source(error)
            }
        }
        let read = cut(file, length, gear, |chunk| {
            if self.cancel.is_cancelled() {
                return Err(Failed::Target(Error::Interrupted));
            }
            std::io::Write::write_all(&mut digest, &chunk)?;
            let id = self.repository.keys.chunk_id(&chunk);
            self.keep(id, &chunk).map_err(Failed::Target)?;
            chunks.push(id);
            self.meter.add(chunk.len() as u64, || path.to_owned());
            Ok(())
        });
        match read {
            Ok(()) => {}
            Err(Failed::Source(error)) => return Err(Error::read(real)(error)),
            Err(Failed::Target(error)) => return Err(error),
        }
        let (_, digest, size_bytes) = digest.finish();
        Ok(Content { size_bytes, digest, chunks })
    }

    /// Puts a chunk into the repository, unless it is there.
    fn keep(&mut self, id: ChunkId, content: &[u8]) -> Result<(), Error> {
        if self.chunks.contains_key(&id) {
            return Ok(());
        }
        let at = self.pack.add(id, content)?;
        self.chunks.insert(id, at);
        if self.pack.is_full() {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the pack that is being filled.
    fn flush(&mut self) -> Result<(), Error> {
        let pack = std::mem::replace(&mut self.pack, OpenPack::new(&self.repository.keys));
        if pack.is_empty() {
            return Ok(());
        }
        let (entry, bytes) = pack.close()?;
        self.repository.store.put(&pack::name(&entry.id), &bytes)?;
        self.added_bytes += entry.size_bytes;
        self.new_packs.push(entry);
        Ok(())
    }
}
