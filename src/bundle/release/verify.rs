//! The customer's side: root → targets → `release.json` → every blob, before anything is used.

use std::{
    fs,
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use base::{Digest, Timestamp};
use futures::TryStreamExt;
use serde::Serialize;
use tough::{ExpirationEnforcement, Repository, RepositoryLoader, TargetName, schema};
use url::Url;

use super::{
    Blob, BlobKind, Image, Release, ReleaseError as Error,
    blobs::{Blobs, digest_bounded},
    format::{MAX_RELEASE_BYTES, TARGET},
    layer::WINDOW_LOG,
    oci::{self, ImageFacts, Manifest},
    transport::BundleFiles,
};

/// What expired metadata means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// On a machine that can fetch newer metadata: someone may be holding it back.
    Refuse,
    /// On a machine without network, whose bundles come by hand: a sentence, no refusal. The signatures hold all the same.
    Warn,
}

/// How a bundle is judged.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// The trusted `root.json` files; the bundle's own chain of roots must begin at one of them.
    pub roots: Vec<Vec<u8>>,
    /// What was seen of earlier bundles (see [`VerifiedRelease::remember`]); older metadata is refused.
    pub seen: Option<PathBuf>,
    /// The installed release; an older one is refused.
    pub installed: Option<semver::Version>,
    pub expiry: Expiry,
    pub now: Timestamp,
    /// Bundles that already are here: a delta's blobs may lie in them.
    pub earlier: Vec<PathBuf>,
    /// Blobs digested at the same time.
    pub threads: usize,
}

/// How a check went. What fails is an error, and ends the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    Warning,
}

/// One check, for the person who has to sign for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// `root`, `timestamp`, `snapshot`, `targets`, `expiry`, `release`, `blob`, `image`, `extra`.
    pub id: &'static str,
    pub verdict: Verdict,
    pub seen: String,
}

/// A release all of whose bytes were proven.
#[derive(Debug)]
pub struct VerifiedRelease {
    release: Release,
    places: Vec<PathBuf>,
    metadata: PathBuf,
    seen: tempfile::TempDir,
}

impl VerifiedRelease {
    /// Returns what it is made of.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// Returns where a blob's file is. Its bytes were proven when the release was verified; whoever uses them later, when someone else
    /// may have written there, proves them again.
    pub fn blob_path(&self, digest: &Digest) -> Option<PathBuf> {
        find(&self.places, digest)
    }

    /// Reads a manifest or a configuration, and proves it again.
    pub(super) fn document(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        read_document(&self.places, digest)
    }

    /// Returns the folder of the metadata.
    pub fn metadata(&self) -> &Path {
        &self.metadata
    }

    /// Puts down in `dir` what was seen, so that nothing older is taken after this.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn remember(&self, dir: &Path) -> Result<(), Error> {
        let failed = |source| Error::Write { path: dir.to_owned(), source };
        base::file::private_dir(dir).map_err(failed)?;
        for entry in fs::read_dir(self.seen.path()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Which times were seen is not TUF's to keep here: the caller's `now` already is the latest.
            if entry.file_name() == "latest_known_time.json" {
                continue;
            }
            let bytes = fs::read(entry.path()).map_err(failed)?;
            base::file::write_atomic(&dir.join(entry.file_name()), &bytes, 0o600).map_err(failed)?;
        }
        Ok(())
    }
}

/// Proves a bundle. `report` hears of each check as it ends, from several threads.
///
/// # Errors
/// The first check that failed. Nothing was written but to a temporary folder.
pub async fn verify(
    bundle: &Path,
    options: &VerifyOptions,
    report: &(dyn Fn(Check) + Sync),
) -> Result<VerifiedRelease, Error> {
    let Signed { release, places, seen } = release_of(bundle, options, report).await?;
    check_blobs(&release, &places, options.threads, report)?;
    for image in &release.images {
        check_image(&release, image, &places)?;
        let seen = format!("{}:{} for {}", image.name, image.tag, image.platform);
        report(Check { id: "image", verdict: Verdict::Ok, seen });
    }
    report_extra(&release, &places[0], report);
    let metadata = places[0].join("metadata");
    Ok(VerifiedRelease { release, places, metadata, seen })
}

/// A release whose signatures were proven, and nothing else yet.
pub(super) struct Signed {
    pub release: Release,
    /// The bundle's folder, canonical, then those of earlier ones.
    pub places: Vec<PathBuf>,
    seen: tempfile::TempDir,
}

/// Proves root, targets and `release.json`.
pub(super) async fn release_of(
    bundle: &Path,
    options: &VerifyOptions,
    report: &(dyn Fn(Check) + Sync),
) -> Result<Signed, Error> {
    let bundle =
        fs::canonicalize(bundle).map_err(|error| Error::Read { path: bundle.to_owned(), reason: error.to_string() })?;
    let ok = |id, seen: String| report(Check { id, verdict: Verdict::Ok, seen });
    let seen = remembered(options.seen.as_deref())?;
    let repository = load(&bundle, options, seen.path()).await?;
    let version =
        |version: std::num::NonZeroU64, expires: jiff::Timestamp| format!("version {version}, until {expires}");
    let (root, timestamp) = (&repository.root().signed, &repository.timestamp().signed);
    let (snapshot, targets) = (&repository.snapshot().signed, &repository.targets().signed);
    ok("root", version(root.version, root.expires));
    ok("timestamp", version(timestamp.version, timestamp.expires));
    ok("snapshot", version(snapshot.version, snapshot.expires));
    ok("targets", version(targets.version, targets.expires));
    let ends = [root.expires, timestamp.expires, snapshot.expires, targets.expires];
    check_expiry(ends.into_iter().min().unwrap_or_default(), options, report)?;

    let bytes = target(&repository).await?;
    let release = Release::parse(&bytes)?;
    if let Some(installed) = &options.installed
        && release.version < *installed
    {
        return Err(Error::Rollback { offered: release.version, installed: installed.clone() });
    }
    ok("release", format!("{} ({}), {} blobs", release.version, release.channel, release.blobs.len()));

    let places: Vec<PathBuf> = [&bundle].into_iter().chain(&options.earlier).cloned().collect();
    Ok(Signed { release, places, seen })
}

/// Checks that these bytes are a `root.json` which its own keys signed, as often as it demands.
///
/// # Errors
/// [`Error::Metadata`].
pub fn check_root(bytes: &[u8]) -> Result<(), Error> {
    let refused = |reason: String| Error::Metadata { reason: format!("this is no root: {reason}") };
    let root: schema::Signed<schema::Root> =
        serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
    root.signed.verify_role(&root).map_err(|error| refused(error.to_string()))
}

/// Copies what was seen before: a bundle that is refused in the end must not have moved it.
fn remembered(seen: Option<&Path>) -> Result<tempfile::TempDir, Error> {
    let temporary = tempfile::tempdir().map_err(|source| Error::Write { path: std::env::temp_dir(), source })?;
    let Some(seen) = seen.filter(|dir| dir.is_dir()) else { return Ok(temporary) };
    let copied = fs::read_dir(seen).and_then(|entries| {
        for entry in entries {
            let entry = entry?;
            fs::copy(entry.path(), temporary.path().join(entry.file_name()))?;
        }
        Ok(())
    });
    copied.map_err(|error| Error::Read { path: seen.to_owned(), reason: error.to_string() })?;
    Ok(temporary)
}

async fn load(bundle: &Path, options: &VerifyOptions, seen: &Path) -> Result<Repository, Error> {
    let refused = |reason: &str| Error::Metadata { reason: reason.to_owned() };
    let address = |name: &str| {
        Url::from_directory_path(bundle.join(name)).map_err(|()| refused("the bundle's path cannot be an address"))
    };
    let (metadata, targets) = (address("metadata")?, address("targets")?);
    let mut failure = Error::NoRoot;
    for root in &options.roots {
        // Expiry is judged here, by a clock that is given and by the policy.
        let loading = RepositoryLoader::new(root, metadata.clone(), targets.clone())
            .transport(BundleFiles::new(bundle))
            .expiration_enforcement(ExpirationEnforcement::Unsafe)
            .datastore(seen);
        match loading.load().await {
            Ok(repository) => return Ok(repository),
            Err(error @ tough::error::Error::OlderMetadata { .. }) => {
                return Err(Error::Older { reason: error.to_string() });
            }
            Err(error) => failure = refused(&error.to_string()),
        }
    }
    Err(failure)
}

fn check_expiry(end: jiff::Timestamp, options: &VerifyOptions, report: &(dyn Fn(Check) + Sync)) -> Result<(), Error> {
    if options.now.millis() < end.as_millisecond() {
        report(Check { id: "expiry", verdict: Verdict::Ok, seen: format!("holds until {end}") });
        return Ok(());
    }
    if options.expiry == Expiry::Refuse {
        return Err(Error::Expired { expired: end.to_string() });
    }
    let seen =
        format!("expired on {end}: ask the maker for a newer bundle (accepted, because this machine is offline)");
    report(Check { id: "expiry", verdict: Verdict::Warning, seen });
    Ok(())
}

async fn target(repository: &Repository) -> Result<Vec<u8>, Error> {
    let refused = |reason: String| Error::Metadata { reason };
    let name = TargetName::new(TARGET).map_err(|error| refused(error.to_string()))?;
    let listed = repository.targets().signed.targets.get(&name);
    let listed = listed.ok_or_else(|| refused(format!("it does not name `{TARGET}`")))?;
    if listed.length > MAX_RELEASE_BYTES {
        return Err(refused(format!("`{TARGET}` has {} bytes, more than {MAX_RELEASE_BYTES}", listed.length)));
    }
    let stream = repository.read_target(&name).await.map_err(|error| refused(error.to_string()))?;
    let stream = stream.ok_or_else(|| refused(format!("it does not name `{TARGET}`")))?;
    let collect = stream.try_fold(Vec::new(), |mut bytes, part| {
        bytes.extend_from_slice(&part);
        std::future::ready(Ok(bytes))
    });
    collect.await.map_err(|error| refused(error.to_string()))
}

fn check_blobs(
    release: &Release,
    places: &[PathBuf],
    threads: usize,
    report: &(dyn Fn(Check) + Sync),
) -> Result<(), Error> {
    let failure = Mutex::new(None);
    each_blob(release, places, threads, &|blob, checked| match checked {
        Ok(()) => {
            let seen = format!("{} ({} bytes)", blob.digest, blob.size_bytes);
            report(Check { id: "blob", verdict: Verdict::Ok, seen });
            true
        }
        Err(error) => {
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            false
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Returns every blob that is missing or not what it is called.
pub(super) fn broken_blobs(release: &Release, places: &[PathBuf], threads: usize) -> Vec<Digest> {
    let broken = Mutex::new(Vec::new());
    each_blob(release, places, threads, &|blob, checked| {
        if checked.is_err() {
            broken.lock().unwrap_or_else(PoisonError::into_inner).push(blob.digest);
        }
        true
    });
    let mut broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    broken.sort();
    broken
}

/// Checks blobs side by side until `go_on` says no.
fn each_blob(
    release: &Release,
    places: &[PathBuf],
    threads: usize,
    go_on: &(dyn Fn(&Blob, Result<(), Error>) -> bool + Sync),
) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(blob) = release.blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if !go_on(blob, check_blob(blob, places)) {
                next.store(release.blobs.len(), Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
}

fn find(places: &[PathBuf], digest: &Digest) -> Option<PathBuf> {
    let mut paths = places.iter().map(|bundle| Blobs::of(bundle).path(digest));
    paths.find(|path| fs::symlink_metadata(path).is_ok())
}

fn check_blob(blob: &Blob, places: &[PathBuf]) -> Result<(), Error> {
    let refused = |reason: String| Error::Blob { digest: blob.digest, reason };
    let path = find(places, &blob.digest).ok_or(Error::Missing { digest: blob.digest })?;
    if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
        return Err(refused("it is a symbolic link".to_owned()));
    }
    let file = base::file::open_regular(&path).map_err(|error| refused(error.to_string()))?;
    let unreadable = |error: io::Error| refused(format!("it cannot be read: {error}"));
    let size_bytes = file.metadata().map_err(unreadable)?.len();
    if size_bytes != blob.size_bytes {
        return Err(refused(format!("it has {size_bytes} bytes, not {}", blob.size_bytes)));
    }
    match digest_bounded(&file, blob.size_bytes).map_err(unreadable)? {
        Some((digest, _)) if digest == blob.digest => {}
        Some((digest, _)) => return Err(refused(format!("its digest is {digest}"))),
        None => return Err(refused("it grew while it was read".to_owned())),
    }
    let BlobKind::Layer { diff_id, unpacked_bytes } = blob.kind else { return Ok(()) };
    // Only now, proven, is it unpacked: to count, never to keep.
    let file = base::file::open_regular(&path).map_err(|error| refused(error.to_string()))?;
    let mut decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 17, file)).map_err(unreadable)?;
    decoder.window_log_max(WINDOW_LOG).map_err(unreadable)?;
    match digest_bounded(decoder, unpacked_bytes) {
        Ok(Some((digest, size_bytes))) if digest == diff_id && size_bytes == unpacked_bytes => Ok(()),
        Ok(Some((digest, _))) => Err(refused(format!("unpacked its digest is {digest}, not {diff_id}"))),
        Ok(None) => Err(refused(format!("it unpacks to more than the {unpacked_bytes} bytes it declares"))),
        Err(error) => Err(refused(format!("it cannot be unpacked: {error}"))),
    }
}

/// Reads a manifest or a configuration and proves it.
fn read_document(places: &[PathBuf], digest: &Digest) -> Result<Vec<u8>, Error> {
    let place = places.iter().find(|place| fs::symlink_metadata(Blobs::of(place).path(digest)).is_ok());
    Blobs::of(place.ok_or(Error::Missing { digest: *digest })?).read(digest, oci::MAX_DOCUMENT_BYTES)
}

/// Whether manifest, configuration and layers belong together.
fn check_image(release: &Release, image: &Image, places: &[PathBuf]) -> Result<(), Error> {
    let refused = |reason: String| Error::Image { name: image.name.clone(), reason };
    let read = |digest| read_document(places, digest);
    let manifest: Manifest =
        serde_json::from_slice(&read(&image.manifest)?).map_err(|error| refused(format!("its manifest: {error}")))?;
    let described = |descriptor: &oci::Descriptor| -> Result<&Blob, Error> {
        let blob = release.blob(&descriptor.digest);
        let blob = blob.ok_or_else(|| refused(format!("the release does not name {}", descriptor.digest)))?;
        match blob.size_bytes == descriptor.size {
            true => Ok(blob),
            false => Err(refused(format!("{} has two sizes", descriptor.digest))),
        }
    };
    if described(&manifest.config)?.kind != BlobKind::Config {
        return Err(refused("its configuration is none".to_owned()));
    }
    let config: ImageFacts = serde_json::from_slice(&read(&manifest.config.digest)?)
        .map_err(|error| refused(format!("its configuration: {error}")))?;
    if format!("{}/{}", config.os, config.architecture) != image.platform {
        return Err(refused(format!("it is made for {}/{}", config.os, config.architecture)));
    }
    let mut diff_ids = Vec::new();
    for layer in &manifest.layers {
        match described(layer)?.kind {
            BlobKind::Layer { diff_id, .. } => diff_ids.push(diff_id),
            _ => return Err(refused(format!("{} is no layer", layer.digest))),
        }
    }
    match diff_ids == config.rootfs.diff_ids {
        true => Ok(()),
        false => Err(refused("its layers are not those of its configuration".to_owned())),
    }
}

/// Files nobody named are harmless, for nobody opens them; but someone put them there.
fn report_extra(release: &Release, bundle: &Path, report: &(dyn Fn(Check) + Sync)) {
    let Ok(entries) = fs::read_dir(Blobs::of(bundle).dir()) else { return };
    let is_known = |name: &std::ffi::OsStr| {
        name.to_str().and_then(|name| name.parse().ok()).is_some_and(|digest| release.blob(&digest).is_some())
    };
    let extra = entries.flatten().filter(|entry| !is_known(&entry.file_name())).count();
    if extra > 0 {
        let seen = format!("{extra} files lie in the bundle that the release does not name; they are not used");
        report(Check { id: "extra", verdict: Verdict::Warning, seen });
    }
}
