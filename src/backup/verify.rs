//! Proves a repository, and makes good what can be.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    create::summary,
    event::{Event, Meter, Sink},
    format::{Catalog, IndexId, PackEntry, Snapshot, SnapshotId},
    key::RepositoryKey,
    lock::{RepositoryLock, Use},
    pack,
    repository::{Problem, Repository, generation, index_name, locate, snapshot_name},
    store::Store,
};

/// How closely is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Catalogs, indexes and descriptions are read and authenticated; packs are there, and as long as they should be.
    Structure,
    /// Every byte of every pack is read and authenticated.
    Everything,
}

/// What a proof found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    pub generation: u64,
    pub snapshots: u64,
    pub packs: u64,
    pub bytes: u64,
    /// What is not as it was written.
    pub problems: Vec<Problem>,
    /// Backups that cannot be restored whole, and what they lack first.
    pub broken: Vec<SnapshotId>,
    /// What interrupted runs left; `prune` removes it.
    pub leftovers: Vec<String>,
}

/// Where what is damaged is put aside.
const ASIDE: &str = "damaged";

/// Proves a repository against its own authentication. It finds every change to what counts in it.
///
/// One that was put back as a whole to an older state is whole: [`Memory::check`](crate::Memory::check) knows better.
///
/// # Errors
/// What [`Repository::open`] refuses, and what concerns the place as a whole. Damage is in the result.
pub fn verify(
    store: &Arc<Store>,
    key: &RepositoryKey,
    depth: Depth,
    events: Sink<'_>,
    cancel: &CancellationToken,
) -> Result<Verified, Error> {
    let _lock = RepositoryLock::take(store, Use::Read, None)?;
    let repository = Repository::open(store, key)?;
    let proof = prove(&repository, depth, events, cancel)?;
    Ok(proof.verified)
}

struct Proof {
    verified: Verified,
    /// The packs that hold.
    good: Vec<PackEntry>,
}

fn prove(repository: &Repository, depth: Depth, events: Sink<'_>, cancel: &CancellationToken) -> Result<Proof, Error> {
    let store = &repository.store;
    let mut verified = Verified { generation: repository.generation(), ..Verified::default() };
    let mut found = |problem: Problem| {
        events(Event::Problem(problem.clone()));
        verified.problems.push(problem);
    };
    repository.problems.iter().cloned().for_each(&mut found);
    let mut of_indexes = Vec::new();
    let mut packs = repository.packs(&mut of_indexes)?;
    of_indexes.into_iter().for_each(&mut found);
    // A chunk that was moved stands in two indexes for a while; a pack stands in one.
    packs.sort_by_key(|pack| pack.id);
    packs.dedup_by_key(|pack| pack.id);

    let there: HashMap<String, u64> =
        store.list("packs")?.into_iter().map(|piece| (piece.name, piece.size_bytes)).collect();
    let total: u64 = packs.iter().map(|pack| pack.size_bytes).sum();
    let mut meter = Meter::new(events, total);
    let mut good = Vec::new();
    for pack in &packs {
        if cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        let name = pack::name(&pack.id);
        let proven = match there.get(&name) {
            None => Err(Error::Missing { what: name.clone() }),
            Some(size) if *size != pack.size_bytes => {
                Err(Error::damaged(&name, format!("it has {size} bytes instead of {}", pack.size_bytes)))
            }
            Some(_) if depth == Depth::Structure => Ok(()),
            Some(_) => pack::prove(store, &repository.keys, pack),
        };
        meter.add(pack.size_bytes, || format!("{} of {} packs", good.len() + 1, packs.len()));
        match proven {
            Ok(()) => good.push(pack.clone()),
            Err(error) => found(Problem::of(&name, error)?),
        }
    }
    let chunks = locate(&good);
    let mut broken = Vec::new();
    for entry in repository.snapshots() {
        let name = snapshot_name(&entry.id);
        let lacking = match repository.snapshot(&entry.id) {
            Ok(snapshot) => lacking(&snapshot, |chunk| chunks.contains_key(chunk)),
            Err(error) => {
                found(Problem::of(&name, error)?);
                broken.push(entry.id);
                continue;
            }
        };
        if let Some((path, count)) = lacking {
            let why = format!("{count} of its files cannot be restored, `{path}` first");
            found(Problem::new(&name, why));
            broken.push(entry.id);
        }
    }
    // Somebody may have made a backup meanwhile: then what this catalog does not name is not left over.
    let newest = store.list("catalog")?.iter().filter_map(|piece| generation(&piece.name)).max();
    let is_newest = newest.is_none_or(|newest| newest <= repository.generation());
    let leftovers = if is_newest || !repository.problems.is_empty() {
        leftovers(repository, &packs, &mut found)?
    } else {
        Vec::new()
    };
    verified.broken = broken;
    verified.leftovers = leftovers;
    verified.snapshots = repository.snapshots().len() as u64;
    verified.packs = packs.len() as u64;
    verified.bytes = total;
    Ok(Proof { verified, good })
}

/// Returns the first file that lacks a chunk, and how many do.
fn lacking(snapshot: &Snapshot, is_there: impl Fn(&crate::format::ChunkId) -> bool) -> Option<(String, usize)> {
    let mut lacking = snapshot.files.iter().filter(|file| !file.chunks.iter().all(&is_there));
    let first = lacking.next()?;
    Some((first.path.clone(), 1 + lacking.count()))
}

/// Lists what the catalog does not name. A whole backup among it is no leftover: either its making was interrupted at the
/// very end, or the catalog is an older one than there was.
fn leftovers(
    repository: &Repository,
    packs: &[PackEntry],
    found: &mut impl FnMut(Problem),
) -> Result<Vec<String>, Error> {
    let store = &repository.store;
    let catalog = &repository.catalog;
    let packs: HashSet<String> = packs.iter().map(|pack| pack::name(&pack.id)).collect();
    let indexes: HashSet<String> = catalog.indexes.iter().map(|entry| index_name(&entry.id)).collect();
    let snapshots: HashSet<String> = catalog.snapshots.iter().map(|entry| snapshot_name(&entry.id)).collect();
    let mut left = Vec::new();
    for (prefix, known) in [("packs", packs), ("index", indexes), ("snapshots", snapshots)] {
        for piece in store.list(prefix)?.into_iter().filter(|piece| !known.contains(&piece.name)) {
            let id = piece.name.strip_prefix("snapshots/").and_then(SnapshotId::parse);
            let newer = id.and_then(|id| repository.snapshot(&id).ok());
            match newer.filter(|snapshot| snapshot.sequence > catalog.generation) {
                Some(_) => found(Problem::new(
                    &piece.name,
                    "the catalog does not know this backup: its making was interrupted, or the catalog is an older one",
                )),
                None => left.push(piece.name),
            }
        }
    }
    Ok(left)
}

/// Proves a repository and puts aside what is damaged, so that the next backup writes anew what is still there to be read.
///
/// Chunks are named by their content: one that a later backup writes again is whole again in every earlier backup that
/// has it. Nothing is deleted.
///
/// # Errors
/// As [`verify`]; [`Error::InUse`] while others use the repository.
pub fn mend(
    store: &Arc<Store>,
    key: &RepositoryKey,
    events: Sink<'_>,
    cancel: &CancellationToken,
) -> Result<Verified, Error> {
    let _lock = RepositoryLock::take(store, Use::Prune, None)?;
    let mut repository = Repository::open(store, key)?;
    let proof = prove(&repository, Depth::Everything, events, cancel)?;
    if proof.verified.problems.is_empty() {
        return Ok(proof.verified);
    }
    let is_bad = |name: &str| proof.verified.problems.iter().any(|problem| problem.what == name);
    // Packs whose index is lost say themselves what is in them; they are believed after they are proven.
    let mut good = proof.good;
    for pack in repository.unknown_packs(&good)? {
        if cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        if !is_bad(&pack::name(&pack.id)) && pack::prove(store, &repository.keys, &pack).is_ok() {
            good.push(pack);
        }
    }
    let mut snapshots = Vec::new();
    for piece in store.list("snapshots")? {
        let Some(id) = piece.name.strip_prefix("snapshots/").and_then(SnapshotId::parse) else { continue };
        let known = repository.snapshots().iter().find(|entry| entry.id == id).cloned();
        match repository.snapshot(&id) {
            Ok(snapshot) => snapshots.push(known.unwrap_or_else(|| summary(&snapshot, piece.size_bytes, 0))),
            Err(error) if error.is_of_content() => {}
            Err(error) => return Err(error),
        }
    }
    snapshots.sort_by_key(|entry| entry.sequence);
    let newest = snapshots.iter().map(|entry| entry.sequence).max().unwrap_or(0);
    let highest = store.list("catalog")?.iter().filter_map(|piece| generation(&piece.name)).max();
    repository.catalog.generation = repository.generation().max(newest).max(highest.unwrap_or(0));
    let aside: Vec<&Problem> = proof.verified.problems.iter().collect();
    let put_aside =
        |repository: &Repository, name: &str| match repository.store.rename(name, &format!("{ASIDE}/{name}")) {
            Ok(()) | Err(Error::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        };
    let indexes = if good.is_empty() { Vec::new() } else { vec![repository.put_index(good)?] };
    let old: Vec<IndexId> = repository.catalog.indexes.iter().map(|entry| entry.id).collect();
    repository.put_catalog(Catalog { generation: 0, indexes, snapshots })?;
    for problem in aside {
        let is_whole_backup = repository.snapshots().iter().any(|entry| snapshot_name(&entry.id) == problem.what);
        let is_header = crate::repository::HEADERS.contains(&problem.what.as_str());
        // The catalog that was just written is good, whatever was said of one of that name.
        let is_current = problem.what == crate::repository::catalog_name(repository.generation());
        if problem.what.contains('/') && !is_whole_backup && !is_header && !is_current {
            put_aside(&repository, &problem.what)?;
        }
    }
    for id in old {
        repository.store.remove(&index_name(&id))?;
    }
    // A second catalog beside the first: the pair is what a later proof expects.
    let same = repository.catalog.clone();
    repository.put_catalog(same)?;
    repository.problems.retain(|problem| crate::repository::HEADERS.contains(&problem.what.as_str()));
    if repository.header.is_some() {
        repository.ready_to_write()?;
    }
    Ok(proof.verified)
}
