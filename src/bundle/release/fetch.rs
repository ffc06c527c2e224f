//! Brings the blobs of an offered release into a folder: several at a time, each resumed, each proven as a whole.
//!
//! What is on its way lies in `.fetching/`; a blob gets its name when its digest was right, and the metadata is written when all are
//! there, the timestamp last. So the folder is a whole bundle or evidently none.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use base::{
    Digest,
    file::{self, Lock, LockError},
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Blob, Check, Claim, Offer, Present, Progress, ReleaseError as Error, VerifiedRelease, VerifyOptions,
    blobs::{Blobs, digest_bounded},
    build::write_index,
    folder::Folder,
    format::TARGET,
    meter::Meter,
    offer::{Origin, Source, find},
    verify::verify,
};
use crate::{
    fetch::{Miss, blocking},
    part::Part,
    resume::Download,
    store::Place,
    tuf::{Files, Tree},
    web::Pace,
};

const STAGING: &str = ".fetching";
/// A piece of a copy: large enough to be fast, small enough to show progress and keep a rate.
const STEP_BYTES: usize = 1 << 20;
/// Roots are a few kilobytes.
const MAX_ROOT_BYTES: u64 = 512 << 10;

/// How to fetch.
#[derive(Clone, Debug)]
pub struct Fetching {
    /// Blobs on their way at the same time.
    pub at_once: usize,
    /// Threads that prove.
    pub threads: usize,
    /// What else the undertaking will take of the disks.
    pub claims: Vec<Claim>,
}

impl Default for Fetching {
    fn default() -> Self {
        Self { at_once: 4, threads: 2, claims: Vec::new() }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Fetched {
    pub verified: VerifiedRelease,
    /// Blobs that came from the channel, and the bytes that had to be asked for.
    pub fetched_blobs: u64,
    pub fetched_bytes: u64,
    /// Blobs that were taken from other folders.
    pub taken_blobs: u64,
}

pub(super) async fn fetch(
    offer: &Offer<'_>,
    out: &Path,
    present: &Present,
    options: &Fetching,
    watch: &(dyn Fn(Progress) + Send + Sync),
    report: &(dyn Fn(Check) + Sync),
) -> Result<Fetched, Error> {
    check_folder(out)?;
    // Weighed before the first folder is made.
    offer.ledger(out, present, &options.claims)?.fits()?;
    let staging = Staging::open(out)?;
    let run = Run { offer, staging: &staging, present, at_once: options.at_once, watch };
    let (fetched_blobs, fetched_bytes, taken_blobs) = run.bring(offer.release.blobs.iter().collect()).await?;
    write_metadata(offer, out).await?;
    let channel = &offer.channel.options;
    let judged = VerifyOptions {
        roots: channel.roots.clone(),
        seen: Some(channel.seen.clone()),
        installed: channel.installed.clone(),
        expiry: offer.channel.expiry(),
        now: offer.proof.now,
        earlier: Vec::new(),
        held: present.held.clone(),
        threads: options.threads,
    };
    let verified = verify(out, &judged, report).await?;
    staging.remove();
    Ok(Fetched { verified, fetched_blobs, fetched_bytes, taken_blobs })
}

/// The folder, while things are on their way to it.
pub(super) struct Staging {
    blobs: Blobs,
    dir: PathBuf,
    _lock: Lock,
}

impl Staging {
    pub fn open(out: &Path) -> Result<Self, Error> {
        let (blobs, dir) = (Blobs::of(out), out.join(STAGING));
        let failed = |source| Error::Write { path: out.to_owned(), source };
        for dir in [blobs.dir(), &dir] {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        let lock = Lock::try_acquire(&dir.join("lock"), "bundle fetch").map_err(|error| match error {
            LockError::Held { .. } => Error::Locked { path: out.to_owned() },
            LockError::Io { source, .. } => failed(source),
        })?;
        Ok(Self { blobs, dir, _lock: lock })
    }

    /// Returns where a blob is while it is on its way.
    pub fn part(out: &Path, digest: &Digest) -> PathBuf {
        out.join(STAGING).join(format!("{}.part", digest.hex()))
    }

    /// Nothing is on its way any more. What cannot be removed harms nobody.
    fn remove(self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::debug!(%error, path = %self.dir.display(), "the folder of unfinished downloads stays");
        }
    }

    /// Gives a whole part its name if it is what it shall be called; else throws it away and says why.
    async fn prove(&self, blob: &Blob, place: &Place) -> Result<Option<String>, Error> {
        let (part, size_bytes) = (place.part.clone(), blob.size_bytes);
        let failed = |source| Error::Write { path: place.part.clone(), source };
        let digest = blocking(move || digest_bounded(file::open_regular(&part).map_err(io::Error::other)?, size_bytes));
        match digest.await.map_err(failed)? {
            Some((digest, size_bytes)) if digest == blob.digest && size_bytes == blob.size_bytes => {}
            found => {
                crate::part::discard(place).map_err(local)?;
                return Ok(Some(
                    found.map_or("it has more bytes".to_owned(), |(digest, _)| format!("its digest is {digest}")),
                ));
            }
        }
        let kept = fs::File::open(&place.part).and_then(|file| {
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.sync_all()?;
            fs::rename(&place.part, &place.file)?;
            file::sync_dir(&place.dir)
        });
        kept.map_err(failed)?;
        crate::part::discard(place).map_err(local)?;
        Ok(None)
    }
}

/// One run of bringing blobs.
pub(super) struct Run<'a> {
    pub offer: &'a Offer<'a>,
    pub staging: &'a Staging,
    pub present: &'a Present,
    pub at_once: usize,
    pub watch: &'a (dyn Fn(Progress) + Send + Sync),
}

impl Run<'_> {
    /// Brings the blobs and returns how many came from the channel, how many bytes these had still to come, and how many were taken
    /// from folders. Small ones come first: what is wrong with a release shows early.
    pub async fn bring(&self, mut blobs: Vec<&Blob>) -> Result<(u64, u64, u64), Error> {
        blobs.sort_by_key(|blob| (blob.size_bytes, blob.digest));
        let out = self.staging.dir.parent().unwrap_or(Path::new("."));
        let mut wanted = Vec::new();
        let mut taken = 0;
        for blob in blobs {
            match find(blob, Some(out), self.present) {
                Source::Here if self.is_sound(blob).await? => {}
                Source::Engine => {}
                Source::Folder(path) if self.take(blob, &path).await? => taken += 1,
                _ => wanted.push(blob),
            }
        }
        let begun = |blob: &&Blob| {
            fs::metadata(Staging::part(out, &blob.digest)).map_or(0, |found| found.len().min(blob.size_bytes))
        };
        let total_bytes: u64 = wanted.iter().map(|blob| blob.size_bytes).sum();
        let begun_bytes: u64 = wanted.iter().map(begun).sum();
        let meter = Meter::new(begun_bytes, total_bytes, self.watch);
        let count = wanted.len() as u64;
        let work = wanted.into_iter().map(|blob| self.bring_one(blob, &meter));
        stream::iter(work).buffer_unordered(self.at_once.max(1)).try_collect::<Vec<()>>().await?;
        meter.end();
        Ok((count, total_bytes - begun_bytes, taken))
    }

    /// Whether a blob that is here is what it is called; else it goes, and is fetched.
    async fn is_sound(&self, blob: &Blob) -> Result<bool, Error> {
        let path = self.staging.blobs.path(&blob.digest);
        let (digest, size_bytes) = (blob.digest, blob.size_bytes);
        let read = path.clone();
        let sound = blocking(move || -> io::Result<bool> {
            let opened = file::open_regular(&read).map_err(io::Error::other)?;
            Ok(digest_bounded(opened, size_bytes)? == Some((digest, size_bytes)))
        });
        let sound = sound.await.unwrap_or(false);
        if !sound {
            fs::remove_file(&path).map_err(|source| Error::Write { path, source })?;
        }
        Ok(sound)
    }

    /// Takes a blob from another folder, as another name of the same file where that can be. A wrong one is left, and fetched instead.
    async fn take(&self, blob: &Blob, from: &Path) -> Result<bool, Error> {
        let to = self.staging.blobs.path(&blob.digest);
        if can_link(from, self.staging.blobs.dir()) {
            // What lies there in part or wrong was found to be no blob.
            let _ = fs::remove_file(&to);
            if fs::hard_link(from, &to).is_ok() {
                return self.is_sound(blob).await;
            }
        }
        let (blobs, from, digest) = (self.staging.blobs.clone(), from.to_owned(), blob.digest);
        match blocking(move || blobs.put_file(&from, &digest)).await {
            Ok(_) => Ok(true),
            Err(Error::Source { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn bring_one(&self, blob: &Blob, meter: &Meter<'_>) -> Result<(), Error> {
        let place = Place::of_parts(self.staging.blobs.dir(), &self.staging.dir, &blob.digest);
        let mut reason = String::new();
        // Twice, because a part may have been begun with other bytes: a wrong one is thrown away.
        for _ in 0..2 {
            let before = fs::metadata(&place.part).map_or(0, |found| found.len().min(blob.size_bytes));
            let counted = Mutex::new(before);
            let progress = |bytes: u64| {
                let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                meter.moved(*counted, bytes);
                *counted = bytes;
            };
            let brought = match &self.offer.channel.origin {
                Origin::Web { web, blobs } => {
                    let address = format!("{blobs}/{}", blob.digest.hex());
                    let download = Download {
                        client: &web.client,
                        address: &address,
                        size_bytes: blob.size_bytes,
                        place: &place,
                        pace: &web.pace,
                        patience: &web.patience,
                        progress: &progress,
                    };
                    download.run().await
                }
                Origin::Folder { dir, pace } => {
                    copy(&Blobs::of(dir).path(&blob.digest), blob, &place, pace, &progress).await
                }
            };
            match brought {
                Ok(()) => {}
                Err(Miss::Local(error)) => return Err(local(error)),
                Err(Miss::Source(reason)) => {
                    return Err(Error::Unreachable { reason: format!("the blob {}: {reason}", blob.digest) });
                }
            }
            match self.staging.prove(blob, &place).await? {
                None => return Ok(()),
                Some(found) => reason = found,
            }
            progress(0);
        }
        Err(Error::Blob { digest: blob.digest, reason })
    }
}

/// Copies from a share or a stick, going on behind what is in the part.
async fn copy(
    from: &Path,
    blob: &Blob,
    place: &Place,
    pace: &Pace,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), Miss> {
    let unread = |reason: String| Miss::Source(format!("`{}`: {reason}", from.display()));
    if fs::symlink_metadata(from).is_ok_and(|found| found.is_symlink()) {
        return Err(unread("it is a symbolic link".to_owned()));
    }
    let mut source = file::open_regular(from).map_err(|error| unread(error.to_string()))?;
    let mut part = Part::resume(place, blob.size_bytes)?;
    source.seek(SeekFrom::Start(part.written_bytes())).map_err(|error| unread(error.to_string()))?;
    while !part.is_whole() {
        let (file, read, bytes) = blocking(move || {
            let mut bytes = vec![0; STEP_BYTES];
            let read = source.read(&mut bytes);
            Ok::<_, Miss>((source, read, bytes))
        })
        .await?;
        source = file;
        let count = read.map_err(|error| unread(error.to_string()))?;
        let left = (blob.size_bytes - part.written_bytes()).min(count as u64) as usize;
        if count == 0 {
            return Err(unread(format!("it has {} bytes, not {}", part.written_bytes(), blob.size_bytes)));
        }
        part.append(&bytes[..left])?;
        progress(part.written_bytes());
        pace.spend(left).await;
    }
    Ok(())
}

/// Writes what proves the blobs: for this machine, and for whoever gets the folder after it.
async fn write_metadata(offer: &Offer<'_>, out: &Path) -> Result<(), Error> {
    let write = |path: PathBuf, bytes: &[u8]| {
        let dir = path.parent().unwrap_or(out);
        let written = fs::create_dir_all(dir).and_then(|()| file::write_atomic(&path, bytes, 0o644));
        written.map_err(|source| Error::Write { path, source })
    };
    let release = &offer.proof.release;
    write(out.join(TARGET), release)?;
    write(out.join("targets").join(format!("{}.{TARGET}", Digest::of(release).hex())), release)?;
    write_index(out, &offer.release)?;
    let metadata = out.join("metadata");
    let files = &offer.proof.kept.0;
    // Roots before the one this machine began with are not needed here, and prove nothing here; another machine may begin earlier.
    let first = files.keys().filter_map(|name| name.strip_suffix(".root.json")?.parse::<u64>().ok()).min().unwrap_or(1);
    for version in (1..first).rev() {
        let name = format!("{version}.root.json");
        let read = match &offer.channel.origin {
            Origin::Web { web, .. } => web.read(Tree::Metadata, &name, MAX_ROOT_BYTES).await,
            Origin::Folder { dir, .. } => Folder::new(dir).read(Tree::Metadata, &name, MAX_ROOT_BYTES).await,
        };
        match read {
            Ok(Some(bytes)) => write(metadata.join(name), &bytes)?,
            _ => break,
        }
    }
    for (name, bytes) in files.iter().filter(|(name, _)| *name != "timestamp.json") {
        write(metadata.join(name), bytes)?;
    }
    files.get("timestamp.json").map_or(Ok(()), |bytes| write(metadata.join("timestamp.json"), bytes))
}

/// Whether a file can get another name in a folder: both are on one file system.
pub(super) fn can_link(file: &Path, folder: &Path) -> bool {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let there = folder.ancestors().find_map(|folder| fs::metadata(folder).ok());
    match (fs::metadata(file), there) {
        (Ok(file), Some(folder)) => file.dev() == folder.dev(),
        _ => false,
    }
}

fn check_folder(out: &Path) -> Result<(), Error> {
    let known = ["blobs", "metadata", "targets", "index.json", "oci-layout", TARGET, STAGING];
    let Ok(entries) = fs::read_dir(out) else { return Ok(()) };
    let other = entries.flatten().map(|entry| entry.file_name()).find(|name| !known.iter().any(|known| name == *known));
    other.map_or(Ok(()), |name| Err(Error::Exists { path: out.join(name) }))
}

fn local(error: crate::Error) -> Error {
    match error {
        crate::Error::Write { path, source } => Error::Write { path, source },
        other => Error::Source { path: PathBuf::new(), reason: other.to_string() },
    }
}
