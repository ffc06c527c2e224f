//! Puts a customer's data back.
//!
//! Everything that is needed is read and authenticated before the first byte is written. Then it is written beside its place,
//! proven against the digest of each file, and moved in by two renames, the data last. Whenever this ends early, there is
//! either nothing or everything in place, and the same command goes on.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use base::{
    Clock, CustomerLayout, Digest, DigestWriter, Layout, Slug,
    file::{Lock, LockError, sync_dir},
};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Turn,
    event::{Event, Meter, Sink},
    format::{ChunkId, FileEntry, LakeCut, Needed, Snapshot, SnapshotEntry, SnapshotId},
    key::RepositoryKey,
    lock::{RepositoryLock, Use},
    pack::{ChunkReader, Location},
    repository::{Problem, Repository, locate, snapshot_name},
    source::name,
    store::Store,
    tree::{check_space, copy_private, files_below, make_folder, make_parents, remove_all, sync_folders},
};

/// Changes a small file on its way back: gets its name in the backup and its bytes, and returns other bytes, or nothing to
/// leave it as it is.
pub type Rewrite<'a> = &'a (dyn Fn(&str, &[u8]) -> Option<Vec<u8>> + Send + Sync);

/// Files up to this size are shown to [`Restore::rewrite`].
const REWRITTEN_BYTES_MAX: u64 = 1 << 20;

/// A backup that is to be put back.
pub struct Restore<'a> {
    pub store: Arc<Store>,
    pub key: &'a RepositoryKey,
    /// The installation it goes to.
    pub layout: &'a Layout,
    /// Whose backup; needed where a repository has those of several.
    pub customer: Option<&'a Slug>,
    /// The first digits of a backup's id; without them the newest.
    pub which: Option<&'a str>,
    /// Move aside what is in place, instead of refusing.
    pub replaces: bool,
    /// Bring back tokens and the console's password. Without it the next `install` makes new ones: a backup put back for
    /// a look, or after a break-in, must not answer to the keys of the living installation.
    pub with_secrets: bool,
    pub rewrite: Rewrite<'a>,
    pub clock: Clock,
}

/// A backup that was put back.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Restored {
    pub snapshot: SnapshotId,
    pub customer: Slug,
    pub made: base::Timestamp,
    pub files: u64,
    pub bytes: u64,
    pub lake: Option<LakeCut>,
    pub needs: Vec<Needed>,
    /// Where what was in place is now.
    pub aside: Vec<PathBuf>,
    /// Files the backup lacks, because they could not be read when it was made.
    pub lacking: u64,
    /// Damage elsewhere in the repository.
    pub problems: Vec<Problem>,
}

/// Returns the backup a person means: by the first digits of its id, or the newest; of the customer named, or the only one.
///
/// # Errors
/// [`Error::NoSnapshot`], [`Error::Ambiguous`], [`Error::WhichCustomer`].
pub fn choose<'a>(
    all: &'a [SnapshotEntry],
    customer: Option<&Slug>,
    which: Option<&str>,
) -> Result<&'a SnapshotEntry, Error> {
    let of_customer = |entry: &&SnapshotEntry| customer.is_none_or(|customer| entry.customer == *customer);
    let own: Vec<&SnapshotEntry> = all.iter().filter(of_customer).collect();
    if let Some(which) = which {
        let mut found = own.iter().filter(|entry| entry.id.hex().starts_with(&which.to_ascii_lowercase()));
        return match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(Error::Ambiguous { which: which.to_owned() }),
            (Some(one), None) => Ok(one),
            (None, _) => Err(Error::NoSnapshot { which: format!("`{which}`") }),
        };
    }
    let mut customers: Vec<_> = own.iter().map(|entry| entry.customer.to_string()).collect();
    customers.sort();
    customers.dedup();
    if customers.len() > 1 {
        return Err(Error::WhichCustomer { customers: customers.join(", ") });
    }
    let newest = own.into_iter().max_by_key(|entry| entry.sequence);
    newest.ok_or_else(|| Error::NoSnapshot { which: customer.map_or_else(String::new, |slug| format!("of `{slug}`")) })
}

impl Restore<'_> {
    /// Puts the backup back.
    ///
    /// # Errors
    /// [`Error::Occupied`] and [`Error::Running`] before anything is changed; [`Error::Damaged`] and [`Error::Missing`]
    /// before anything is written; [`Error::Space`], [`Error::Write`].
    pub fn run(&self, events: Sink<'_>, cancel: &CancellationToken) -> Result<Restored, Error> {
        let _lock = RepositoryLock::take(&self.store, Use::Read, None)?;
        let repository = Repository::open(&self.store, self.key)?;
        let entry = choose(repository.listed()?, self.customer, self.which)?;
        let slug = &entry.customer;
        let (place, staging) = (self.layout.customer(slug), self.layout.restoring(slug));
        let parent = staging.dir().parent().unwrap_or(staging.dir()).to_owned();
        let lock = parent.join(format!(".restoring-{slug}.lock"));
        // The first look costs nothing: who would be refused learns it before an hour of reading.
        self.check_place(&place, &BTreeMap::new())?;
        let snapshot = repository.snapshot(&entry.id)?;
        let mut problems = repository.problems().to_vec();
        let located = find_chunks(&repository, &snapshot, &mut problems)?;
        problems.iter().cloned().for_each(|problem| events(Event::Problem(problem)));
        let files: Vec<(&FileEntry, PathBuf)> =
            snapshot.files.iter().filter_map(|file| Some((file, self.target(&staging, &file.path)?))).collect();
        let total: u64 = files.iter().map(|(file, _)| file.size_bytes).sum();
        let proven = Proven::prove(&repository, files, located, &mut Meter::new(events, total), cancel)?;

        fs::create_dir_all(&parent).map_err(Error::write(&parent))?;
        let own = Lock::try_acquire(&lock, "backup restore").map_err(Error::Restoring)?;
        let clear = || [staging.dir(), staging.etc()].into_iter().try_for_each(remove_all);
        let put = || {
            check_space(&parent, total)?;
            clear()?;
            let etc = self.write(&proven, &snapshot, &staging, &mut Meter::new(events, total), cancel)?;
            // What is moved aside cannot begin to run meanwhile.
            let _stopped = self.check_place(&place, &etc)?;
            self.move_in(&place, &staging)
        };
        let moved = put();
        if moved.is_err() {
            clear()?;
        }
        // Two who restore the same customer at once are told apart by the place itself: one of them finds it taken.
        let _ = fs::remove_file(&lock);
        drop(own);
        Ok(Restored {
            snapshot: snapshot.id,
            customer: slug.clone(),
            made: snapshot.started,
            files: proven.files.len() as u64,
            bytes: total,
            lake: snapshot.lake,
            needs: snapshot.needs.clone(),
            aside: moved?,
            lacking: snapshot.skipped.len() as u64,
            problems,
        })
    }

    /// Refuses a place that is taken. Files of the configuration that are what would be written are no obstacle: they are
    /// there when this was interrupted between its two renames. Returns the locks of what must not run.
    fn check_place(&self, place: &CustomerLayout, etc: &BTreeMap<PathBuf, Digest>) -> Result<Vec<Lock>, Error> {
        let mut stopped = Vec::new();
        let is_taken = |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if is_taken(place.dir()) {
            if !self.replaces {
                return Err(Error::Occupied { path: place.dir().to_owned() });
            }
            let held = [
                still(place.lake_lock(), Error::Running)?,
                still(place.install_lock(), Error::Running)?,
                still(Turn::path(place), Error::Busy)?,
            ];
            stopped.extend(held.into_iter().flatten());
        }
        if !self.replaces && !etc.is_empty() {
            for (path, digest) in files_below(place.etc())? {
                let below = path.strip_prefix(place.etc()).unwrap_or(&path).to_owned();
                if etc.get(&below) != Some(&digest) {
                    return Err(Error::Occupied { path });
                }
            }
        }
        Ok(stopped)
    }

    /// Returns where a file of the backup goes; nothing for what does not come back.
    fn target(&self, staging: &CustomerLayout, path: &str) -> Option<PathBuf> {
        let (root, rest) = match path.split_once('/') {
            Some(("etc", rest)) => (staging.etc(), rest),
            Some(("var", rest)) => (staging.dir(), rest),
            _ => return None,
        };
        // Who made this path had the key; a mistake of theirs still writes nowhere else.
        if !Path::new(rest).components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            return None;
        }
        let target = root.join(rest);
        if target.starts_with(staging.secrets()) || target == staging.people() {
            return self.with_secrets.then_some(target);
        }
        // They describe an installation that is not there: `install` would take them for its own. They are kept to be read.
        let of_installation = [staging.plan(), staging.journal(), staging.receipt(), staging.backup_schedule()];
        if let Ok(below) = target.strip_prefix(staging.deployment()) {
            return Some(staging.former().join(below));
        }
        if of_installation.contains(&target) {
            return Some(staging.former().join(target.file_name()?));
        }
        Some(target)
    }

    /// Writes everything beside its place. Returns the configuration's files by their path below its folder.
    fn write(
        &self,
        proven: &Proven<'_>,
        snapshot: &Snapshot,
        staging: &CustomerLayout,
        meter: &mut Meter<'_>,
        cancel: &CancellationToken,
    ) -> Result<BTreeMap<PathBuf, Digest>, Error> {
        // Whatever these two were: as `install` makes them, they are their owner's alone.
        for root in [staging.dir(), staging.etc()] {
            make_folder(root, 0o700)?;
        }
        for folder in &snapshot.folders {
            if let Some(path) = self.target(staging, &folder.path)
                && !path.starts_with(staging.former())
            {
                make_folder(&path, folder.mode)?;
            }
        }
        let mut reader = proven.reader();
        let mut etc = BTreeMap::new();
        for (entry, path) in &proven.files {
            if cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            if let Some(parent) = path.parent() {
                make_parents(parent)?;
            }
            let digest = self.write_file(proven, entry, path, &mut reader, meter)?;
            if let Ok(below) = path.strip_prefix(staging.etc()) {
                etc.insert(below.to_owned(), digest);
            }
        }
        for root in [staging.dir(), staging.etc()] {
            sync_folders(root)?;
        }
        Ok(etc)
    }

    /// Writes a file and returns the digest of what was written.
    fn write_file(
        &self,
        proven: &Proven<'_>,
        entry: &FileEntry,
        path: &Path,
        reader: &mut ChunkReader<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<Digest, Error> {
        let failed = || Error::write(path);
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
        let file = options.open(path).map_err(failed())?;
        let mut writer = DigestWriter::new(&file);
        let mut small = Vec::new();
        for chunk in &entry.chunks {
            let content = reader.read(chunk, proven.find(chunk, entry)?)?;
            writer.write_all(&content).map_err(failed())?;
            meter.add(content.len() as u64, || entry.path.clone());
            if entry.size_bytes <= REWRITTEN_BYTES_MAX {
                small.extend_from_slice(&content);
            }
        }
        let (_, mut digest, written) = writer.finish();
        if digest != entry.digest || written != entry.size_bytes {
            return Err(Error::damaged(&entry.path, "its chunks do not join to the file that was backed up"));
        }
        if let Some(other) = (self.rewrite)(&entry.path, &small).filter(|_| entry.size_bytes <= REWRITTEN_BYTES_MAX) {
            file.set_len(0).map_err(failed())?;
            std::os::unix::fs::FileExt::write_all_at(&file, &other, 0).map_err(failed())?;
            digest = Digest::of(&other);
        }
        file.set_permissions(fs::Permissions::from_mode(entry.mode & 0o777)).map_err(failed())?;
        let modified = std::time::UNIX_EPOCH
            .checked_add(std::time::Duration::from_nanos(u64::try_from(entry.stamp.modified_ns).unwrap_or(0)));
        if let Some(modified) = modified {
            file.set_modified(modified).map_err(failed())?;
        }
        file.sync_all().map_err(failed())?;
        Ok(digest)
    }

    /// Moves what is in place aside, and what was written into its place: first the configuration, then the data.
    fn move_in(&self, place: &CustomerLayout, staging: &CustomerLayout) -> Result<Vec<PathBuf>, Error> {
        // What this machine knows of its backups, and what opens them, stays where it is looked for.
        copy_private(&place.backup_keys(), &staging.backup_keys())?;
        copy_private(&place.backup_state(), &staging.backup_state())?;
        let mut aside = Vec::new();
        for (from, to) in [(staging.etc(), place.etc()), (staging.dir(), place.dir())] {
            let parent = to.parent().unwrap_or(to);
            fs::create_dir_all(parent).map_err(Error::write(parent))?;
            let is_there = fs::symlink_metadata(to).is_ok();
            if is_there && (fs::remove_dir(to).is_err()) {
                aside.push(self.set_aside(to)?);
            }
            fs::rename(from, to).map_err(Error::write(to))?;
            sync_dir(parent).map_err(Error::write(parent))?;
        }
        Ok(aside)
    }

    /// Gives a folder a name that says what it was, and that no customer has.
    fn set_aside(&self, path: &Path) -> Result<PathBuf, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stamp = self.clock.now().to_string().replace([':', '-'], "");
        for number in 1.. {
            let more = if number == 1 { String::new() } else { format!("-{number}") };
            let aside = path.with_file_name(format!("{name}.before-{stamp}{more}"));
            if fs::symlink_metadata(&aside).is_err() {
                fs::rename(path, &aside).map_err(Error::write(&aside))?;
                return Ok(aside);
            }
        }
        unreachable!("one of all numbers is free")
    }
}

/// Takes the lock of what must not run, where there is such a lock.
fn still(path: PathBuf, running: impl FnOnce(LockError) -> Error) -> Result<Option<Lock>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    match Lock::try_acquire(&path, "backup restore") {
        Err(error @ LockError::Held { .. }) => Err(running(error)),
        Err(error) => Err(Error::Write { path, source: std::io::Error::other(error) }),
        Ok(lock) => Ok(Some(lock)),
    }
}

/// Returns where the chunks of a backup stand. Where an index is lost, the packs are asked themselves.
fn find_chunks(
    repository: &Repository,
    snapshot: &Snapshot,
    problems: &mut Vec<Problem>,
) -> Result<HashMap<ChunkId, Location>, Error> {
    let packs = repository.packs(problems)?;
    let mut located = locate(&packs);
    let is_whole = |located: &HashMap<ChunkId, Location>| {
        snapshot.files.iter().flat_map(|file| &file.chunks).all(|chunk| located.contains_key(chunk))
    };
    if !is_whole(&located) {
        for (id, at) in locate(&repository.unknown_packs(&packs)?) {
            located.entry(id).or_insert(at);
        }
    }
    if !is_whole(&located) {
        return Err(Error::damaged(snapshot_name(&snapshot.id), "some of what it consists of is missing"));
    }
    Ok(located)
}

/// The files of a backup, where they go, and where their chunks stand. It exists only if every chunk was read and authenticated.
struct Proven<'a> {
    repository: &'a Repository,
    files: Vec<(&'a FileEntry, PathBuf)>,
    located: HashMap<ChunkId, Location>,
}

impl<'a> Proven<'a> {
    /// Reads every chunk that is needed once, pack by pack.
    fn prove(
        repository: &'a Repository,
        files: Vec<(&'a FileEntry, PathBuf)>,
        located: HashMap<ChunkId, Location>,
        meter: &mut Meter<'_>,
        cancel: &CancellationToken,
    ) -> Result<Self, Error> {
        let mut proven = Self { repository, files, located };
        // What lies together is written together: a pack is read once, however its files are called.
        let located = &proven.located;
        proven.files.sort_by_key(|(entry, _)| {
            entry.chunks.first().and_then(|chunk| located.get(chunk)).map(|at| (at.pack, at.place))
        });
        let mut needed = BTreeMap::new();
        for (entry, _) in &proven.files {
            for chunk in &entry.chunks {
                let at = *proven.find(chunk, entry)?;
                needed.insert((at.pack, at.place), (*chunk, at));
            }
        }
        let mut reader = proven.reader();
        for (id, at) in needed.values() {
            if cancel.is_cancelled() {
                return Err(Error::Interrupted);
            }
            let content = reader.read(id, at)?;
            meter.add(content.len() as u64, || "proving what is needed".to_owned());
        }
        Ok(proven)
    }

    fn reader(&self) -> ChunkReader<'a> {
        ChunkReader::new(&self.repository.store, &self.repository.keys)
    }

    fn find(&self, chunk: &ChunkId, entry: &FileEntry) -> Result<&Location, Error> {
        self.located.get(chunk).ok_or_else(|| Error::damaged(&entry.path, "a part of it is missing"))
    }
}

/// Returns the name in a backup of a customer's file, for [`Rewrite`].
pub fn name_in_backup(layout: &CustomerLayout, path: &Path) -> Option<String> {
    name(layout, path)
}
