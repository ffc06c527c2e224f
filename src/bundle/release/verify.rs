//! The customer's side: root → targets → `release.json` → every blob, before anything is used.

use std::{
    collections::BTreeSet,
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
use serde::Serialize;

use super::{
    Blob, BlobKind, Image, Release, ReleaseError as Error,
    blobs::{Blobs, digest_bounded},
    folder::Folder,
    layer::WINDOW_LOG,
    oci::{self, ImageFacts, Manifest},
    trust::{Judge, Keep, Proof, prove},
};
use crate::tuf::OnExpiry;

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
    /// What was seen of earlier metadata (see [`VerifiedRelease::remember`]); anything older is refused.
    pub seen: Option<PathBuf>,
    /// The installed release; an older one is refused.
    pub installed: Option<semver::Version>,
    pub expiry: Expiry,
    /// The latest time seen in `seen` counts where it is later.
    pub now: Timestamp,
    /// Bundles, and folders of models, that already are here: a delta's blobs may lie in them.
    pub earlier: Vec<PathBuf>,
    /// Layers an engine holds, by the digest of the tar inside: their files may be missing.
    pub held: BTreeSet<Digest>,
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
    proof: Proof,
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

    /// Returns the folders its blobs are in.
    pub(super) fn places(&self) -> &[PathBuf] {
        &self.places
    }

    /// Returns the folder of the metadata.
    pub fn metadata(&self) -> &Path {
        &self.metadata
    }

    /// Returns where a layer's file is or, for one the engine holds, would be.
    pub(super) fn layer_path(&self, digest: &Digest) -> PathBuf {
        self.blob_path(digest).unwrap_or_else(|| Blobs::of(&self.places[0]).path(digest))
    }

    /// Puts down in `seen` what was proven, so that nothing older is taken after this.
    ///
    /// # Errors
    /// [`Error::Write`], [`Error::Locked`], [`Error::Trusted`].
    pub async fn remember(&self, seen: &Path) -> Result<(), Error> {
        self.proof.remember(seen).await
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
    let Signed { release, places, proof } = release_of(bundle, options, report).await?;
    check_blobs(&release, &places, options, report)?;
    for image in &release.images {
        check_image(&release, image, &places)?;
        let seen = format!("{}:{} for {}", image.name, image.tag, image.platform);
        report(Check { id: "image", verdict: Verdict::Ok, seen });
    }
    report_extra(&release, &places[0], report);
    let metadata = places[0].join("metadata");
    Ok(VerifiedRelease { release, places, metadata, proof })
}

/// A release whose signatures were proven, and nothing else yet.
pub(super) struct Signed {
    pub release: Release,
    /// The bundle's folder, canonical, then those of earlier ones.
    pub places: Vec<PathBuf>,
    proof: Proof,
}

/// Proves root, targets and `release.json`.
pub(super) async fn release_of(
    bundle: &Path,
    options: &VerifyOptions,
    report: &(dyn Fn(Check) + Sync),
) -> Result<Signed, Error> {
    let bundle =
        fs::canonicalize(bundle).map_err(|error| Error::Read { path: bundle.to_owned(), reason: error.to_string() })?;
    let on_expiry = match options.expiry {
        Expiry::Refuse => OnExpiry::Refuse,
        Expiry::Warn => OnExpiry::Accept,
    };
    let (roots, seen) = (options.roots.as_slice(), options.seen.as_deref());
    let judge = Judge { roots, seen, on_expiry, now: options.now };
    let proof = prove(&Folder::new(&bundle), judge, Keep::Nothing).await?;
    for role in &proof.standing {
        let seen = format!("version {}, until {}", role.version, role.expires);
        report(Check { id: role.role, verdict: Verdict::Ok, seen });
    }
    report(expiry_of(&proof));
    let release = Release::parse(&proof.release)?;
    if let Some(installed) = &options.installed
        && release.version < *installed
    {
        return Err(Error::Rollback { offered: release.version, installed: installed.clone() });
    }
    let seen = format!("{} ({}), {} blobs", release.version, release.channel, release.blobs.len());
    report(Check { id: "release", verdict: Verdict::Ok, seen });
    let places: Vec<PathBuf> = [&bundle].into_iter().chain(&options.earlier).cloned().collect();
    Ok(Signed { release, places, proof })
}

/// What is here has passed: expired metadata was refused before, or is only worth a word.
fn expiry_of(proof: &Proof) -> Check {
    let end = proof.expires();
    if proof.now < end {
        return Check { id: "expiry", verdict: Verdict::Ok, seen: format!("holds until {end}") };
    }
    let seen =
        format!("expired on {end}: ask the maker for a newer bundle (accepted, because this machine is offline)");
    Check { id: "expiry", verdict: Verdict::Warning, seen }
}

fn check_blobs(
    release: &Release,
    places: &[PathBuf],
    options: &VerifyOptions,
    report: &(dyn Fn(Check) + Sync),
) -> Result<(), Error> {
    let failure = Mutex::new(None);
    each_blob(release, places, options.threads, &|blob, checked| match checked {
        // The engine named the layer by the digest of what is in it: it proved it when it took it.
        Err(Error::Missing { .. }) if is_held(blob, &options.held) => {
            report(Check { id: "blob", verdict: Verdict::Ok, seen: format!("{} is in the engine", blob.digest) });
            true
        }
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

/// Whether an engine holds this layer.
pub(super) fn is_held(blob: &Blob, held: &BTreeSet<Digest>) -> bool {
    matches!(blob.kind, BlobKind::Layer { diff_id, .. } if held.contains(&diff_id))
}

fn find(places: &[PathBuf], digest: &Digest) -> Option<PathBuf> {
    let mut paths = places.iter().map(|place| Blobs::at(place).path(digest));
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
pub(super) fn read_document(places: &[PathBuf], digest: &Digest) -> Result<Vec<u8>, Error> {
    let place = places.iter().find(|place| fs::symlink_metadata(Blobs::at(place).path(digest)).is_ok());
    Blobs::at(place.ok_or(Error::Missing { digest: *digest })?).read(digest, oci::MAX_DOCUMENT_BYTES)
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
