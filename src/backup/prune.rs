//! Forgets backups, and gives back the room only they needed.
//!
//! What stays is written before anything goes: new packs, one new index, the new catalog. Only then are files removed that
//! the new catalog does not need; when that is interrupted, the next run does the rest.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use base::CustomerLayout;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Memory,
    event::{Meter, Sink},
    format::{Catalog, ChunkId, PackEntry, SnapshotEntry, SnapshotId},
    key::RepositoryKey,
    lock::{RepositoryLock, Use},
    pack::{self, ChunkReader, OpenPack},
    repository::{Repository, index_name, locate, snapshot_name},
    retention::Keep,
    store::Store,
};

/// A pack of which more than this share is not needed any more is written anew.
const WASTE_PERCENT: u64 = 30;

/// A pruning that is to be done.
pub struct Prune<'a> {
    pub store: Arc<Store>,
    pub key: &'a RepositoryKey,
    /// Whose backups the rules are for; those of others stay.
    pub layout: &'a CustomerLayout,
    pub keep: Keep,
    /// Say what would be done, and do nothing.
    pub is_dry: bool,
    pub waits: bool,
}

/// What a pruning did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pruned {
    pub kept: Vec<SnapshotEntry>,
    pub removed: Vec<SnapshotEntry>,
    /// What it gives back.
    pub freed_bytes: u64,
    /// What is left.
    pub left_bytes: u64,
    /// What is written anew for that.
    pub rewritten_bytes: u64,
}

/// What becomes of each pack.
struct Plan {
    stay: Vec<PackEntry>,
    rewrite: Vec<PackEntry>,
    /// Chunks that stay, and where they are read.
    used: HashSet<ChunkId>,
}

impl Prune<'_> {
    /// Prunes.
    ///
    /// # Errors
    /// [`Error::NoRule`], [`Error::InUse`], [`Error::RolledBack`]; [`Error::Damaged`] and [`Error::Missing`] when it cannot
    /// be known what a backup needs, or that is not there: nothing is removed then.
    pub fn run(&self, events: Sink<'_>, cancel: &CancellationToken) -> Result<Pruned, Error> {
        let kind = if self.is_dry { Use::Read } else { Use::Prune };
        let _lock = RepositoryLock::take(&self.store, kind, self.waits.then_some(cancel))?;
        let mut repository = Repository::open(&self.store, self.key)?;
        let removed = self.keep.removed(repository.listed()?, self.layout.slug())?;
        Memory::read(self.layout)?.check(&repository)?;
        let mut problems = std::mem::take(&mut repository.problems);
        let packs = repository.packs(&mut problems)?;
        repository.problems = problems;
        if self.is_dry {
            if let Some(problem) = repository.problems.first() {
                return Err(Error::damaged(&problem.what, &problem.why));
            }
        } else {
            repository.ready_to_write()?;
        }
        let plan = self.plan(&repository, &packs, &removed)?;
        let mut pruned = self.measure(&repository, &plan, &removed)?;
        if self.is_dry {
            return Ok(pruned);
        }
        let mut written = Vec::new();
        let mut stay = match rewrite(&repository, &plan, &packs, &mut written, events, cancel) {
            Ok(()) => plan.stay,
            Err(error @ Error::TargetFull { .. }) => {
                // Room comes before tidiness: whole packs go now, and the next run has some to write the others anew.
                tracing::debug!(%error, "no room to write packs anew");
                for pack in written.drain(..) {
                    self.store.remove(&pack::name(&pack.id))?;
                }
                [plan.stay, plan.rewrite].concat()
            }
            Err(error) => return Err(error),
        };
        pruned.rewritten_bytes = written.iter().map(|pack| pack.size_bytes).sum();
        stay.extend(written);
        pruned.left_bytes = stay.iter().map(|pack| pack.size_bytes).sum();
        let before = self.store.list("packs")?.iter().map(|piece| piece.size_bytes).sum::<u64>();
        pruned.freed_bytes = before.saturating_sub(pruned.left_bytes);
        let names: HashSet<String> = stay.iter().map(|pack| pack::name(&pack.id)).collect();
        let indexes = if stay.is_empty() { Vec::new() } else { vec![repository.put_index(stay)?] };
        repository.put_catalog(Catalog { generation: 0, indexes, snapshots: pruned.kept.clone() })?;
        Memory::saw(self.layout, &repository)?;
        self.clear(&repository, &names)?;
        Ok(pruned)
    }

    fn plan(
        &self,
        repository: &Repository,
        packs: &[PackEntry],
        removed: &BTreeSet<SnapshotId>,
    ) -> Result<Plan, Error> {
        let located = locate(packs);
        let mut used = HashSet::new();
        for entry in repository.snapshots().iter().filter(|entry| !removed.contains(&entry.id)) {
            let snapshot = repository.snapshot(&entry.id)?;
            for file in &snapshot.files {
                if let Some(chunk) = file.chunks.iter().find(|chunk| !located.contains_key(chunk)) {
                    tracing::debug!(?chunk, path = file.path, "a chunk is missing");
                    let why = format!("what `{}` consists of is missing", file.path);
                    return Err(Error::damaged(snapshot_name(&entry.id), why));
                }
            }
            used.extend(snapshot.files.into_iter().flat_map(|file| file.chunks));
        }
        let (mut stay, mut rewrite) = (Vec::new(), Vec::new());
        for pack in packs {
            // A chunk that stands in two packs is needed in one of them only.
            let is_needed = |id: &ChunkId| used.contains(id) && located.get(id).is_some_and(|at| at.pack == pack.id);
            let needed: u64 = pack
                .chunks
                .iter()
                .filter(|chunk| is_needed(&chunk.id))
                .map(|chunk| u64::from(chunk.sealed_bytes))
                .sum();
            let all: u64 = pack.chunks.iter().map(|chunk| u64::from(chunk.sealed_bytes)).sum();
            match needed {
                0 => {}
                needed if (all - needed) * 100 > all * WASTE_PERCENT => rewrite.push(pack.clone()),
                _ => stay.push(pack.clone()),
            }
        }
        Ok(Plan { stay, rewrite, used })
    }

    fn measure(&self, repository: &Repository, plan: &Plan, removed: &BTreeSet<SnapshotId>) -> Result<Pruned, Error> {
        let all = repository.snapshots().iter().cloned();
        let (removed, kept): (Vec<_>, Vec<_>) = all.partition(|entry| removed.contains(&entry.id));
        let needed = |pack: &PackEntry| -> u64 {
            let chunks = pack.chunks.iter().filter(|chunk| plan.used.contains(&chunk.id));
            chunks.map(|chunk| u64::from(chunk.sealed_bytes)).sum()
        };
        let rewritten_bytes: u64 = plan.rewrite.iter().map(needed).sum();
        let left_bytes = plan.stay.iter().map(|pack| pack.size_bytes).sum::<u64>() + rewritten_bytes;
        let there: u64 = self.store.list("packs")?.iter().map(|piece| piece.size_bytes).sum();
        let freed_bytes = there.saturating_sub(left_bytes);
        Ok(Pruned { kept, removed, freed_bytes, left_bytes, rewritten_bytes })
    }

    /// Removes what the catalog does not need.
    fn clear(&self, repository: &Repository, packs: &HashSet<String>) -> Result<(), Error> {
        let catalog = &repository.catalog;
        let indexes: HashSet<String> = catalog.indexes.iter().map(|entry| index_name(&entry.id)).collect();
        let snapshots: HashSet<String> = catalog.snapshots.iter().map(|entry| snapshot_name(&entry.id)).collect();
        for (prefix, needed) in [("snapshots", &snapshots), ("index", &indexes), ("packs", packs)] {
            for piece in self.store.list(prefix)?.into_iter().filter(|piece| !needed.contains(&piece.name)) {
                self.store.remove(&piece.name)?;
            }
        }
        self.store.sweep()
    }
}

/// Writes the needed chunks of wasteful packs into new ones, and adds those to `written`.
fn rewrite(
    repository: &Repository,
    plan: &Plan,
    packs: &[PackEntry],
    written: &mut Vec<PackEntry>,
    events: Sink<'_>,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    let keys = &repository.keys;
    let located: HashMap<_, _> = locate(packs);
    let mut meter = Meter::new(events, plan.rewrite.iter().map(|pack| pack.size_bytes).sum());
    let mut reader = ChunkReader::new(&repository.store, keys);
    let mut open = OpenPack::new(keys);
    let mut flush = |open: &mut OpenPack| {
        let (entry, bytes) = std::mem::replace(open, OpenPack::new(keys)).close()?;
        repository.store.put(&pack::name(&entry.id), &bytes)?;
        written.push(entry);
        Ok::<_, Error>(())
    };
    for pack in &plan.rewrite {
        if cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        for (id, at) in pack.locations() {
            if !plan.used.contains(&id) || located.get(&id) != Some(&at) {
                continue;
            }
            let content = reader.read(&id, &at)?;
            open.add(id, &content)?;
            if open.is_full() {
                flush(&mut open)?;
            }
        }
        meter.add(pack.size_bytes, || "writing anew what is needed".to_owned());
    }
    if !open.is_empty() {
        flush(&mut open)?;
    }
    Ok(())
}
