//! A channel as a customer sees it: an address where releases are offered, and what the newest of them is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use base::{Digest, Timestamp};
use serde::Serialize;
use url::Url;

use super::{
    Blob, BlobKind, Check, Claim, Expiry, Fetched, Fetching, ImageContent, Ledger, Progress, Release,
    ReleaseError as Error,
    blobs::Blobs,
    fetch::{Run, Staging},
    folder::Folder,
    image,
    trust::{Judge, Keep, Proof, prove},
    verify::is_held,
};
use crate::{
    tuf::OnExpiry,
    web::{Pace, Web, WebOptions},
};

/// How a channel is judged and reached.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// The trusted `root.json` files.
    pub roots: Vec<Vec<u8>>,
    /// Where trusted metadata is kept, one folder per root of trust: what is older is refused.
    pub seen: PathBuf,
    /// The installed release; an older one is refused.
    pub installed: Option<semver::Version>,
    /// What expired metadata means; by itself a web server's is refused, and a folder's is taken with a warning.
    pub expiry: Option<Expiry>,
    pub now: Timestamp,
    pub web: WebOptions,
}

/// Where releases are offered: a web server, a share, a stick. One refresh at a time.
#[derive(Clone, Debug)]
pub struct Channel {
    pub(super) origin: Origin,
    pub(super) options: ChannelOptions,
}

#[derive(Clone, Debug)]
pub(super) enum Origin {
    Web { web: Box<Web>, blobs: String },
    Folder { dir: PathBuf, pace: Arc<Pace> },
}

/// What is here already and need not be fetched.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// Bundles, and folders of models (`sha256/HEX`).
    pub folders: Vec<PathBuf>,
    /// Layers an engine holds, by the digest of the tar inside. Whoever wants the program out of its image leaves that layer out.
    pub held: BTreeSet<Digest>,
}

/// What is known of an offered release before anything large is fetched.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    pub version: semver::Version,
    /// `stable`, `beta`, ….
    pub channel: String,
    /// The oldest agent that can install it.
    pub minimum_agent: semver::Version,
    /// The versions of the formats its programs write.
    pub schemas: BTreeMap<String, u32>,
    /// Whether it is newer than the installed one; true where none is.
    pub is_newer: bool,
    /// When the first of its metadata expires, in milliseconds since 1970.
    pub expires_ms: Timestamp,
    /// It has, and was taken all the same: it lies in a folder.
    pub is_expired: bool,
    /// All blobs together.
    pub size_bytes: u64,
    /// What would have to be fetched.
    pub missing_blobs: u64,
    pub missing_bytes: u64,
}

/// A release that a channel offers, with its signatures proven and its blobs still there.
#[derive(Debug)]
pub struct Offer<'a> {
    pub(super) channel: &'a Channel,
    pub(super) release: Release,
    pub(super) proof: Proof,
}

impl Channel {
    /// Reads an address: `https://…`, `file://…` or a path. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`Error::Channel`].
    pub fn open(address: &str, options: ChannelOptions) -> Result<Self, Error> {
        let refused = |reason: String| Error::Channel { address: address.to_owned(), reason };
        let origin = if address.starts_with("https://") || address.starts_with("http://") {
            let base = Url::parse(address).map_err(|error| refused(error.to_string()))?;
            let base = base.as_str().trim_end_matches('/');
            let web =
                Web::new(&format!("{base}/metadata"), &format!("{base}/targets"), &options.web).map_err(refused)?;
            Origin::Web { web: Box::new(web), blobs: format!("{base}/blobs/sha256") }
        } else {
            let dir = address.strip_prefix("file://").unwrap_or(address);
            let dir = fs::canonicalize(dir).map_err(|error| refused(error.to_string()))?;
            Origin::Folder { dir, pace: Arc::new(Pace::new(options.web.limit_rate)) }
        };
        Ok(Self { origin, options })
    }

    /// Brings the trusted metadata up to date and proves the newest release. What was proven is kept at once, so that nothing older is
    /// taken after it, here or from a stick.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Metadata`], [`Error::Older`], [`Error::Expired`], [`Error::Rollback`], [`Error::Release`],
    /// [`Error::Locked`].
    pub async fn refresh(&self) -> Result<Offer<'_>, Error> {
        let on_expiry = match self.expiry() {
            Expiry::Refuse => OnExpiry::Refuse,
            Expiry::Warn => OnExpiry::Accept,
        };
        let ChannelOptions { roots, seen, now, .. } = &self.options;
        let judge = Judge { roots, seen: Some(seen), on_expiry, now: *now };
        let proof = match &self.origin {
            Origin::Web { web, .. } => prove(&**web, judge, Keep::Proven).await?,
            Origin::Folder { dir, .. } => prove(&Folder::new(dir), judge, Keep::Proven).await?,
        };
        let release = Release::parse(&proof.release)?;
        match &self.options.installed {
            Some(installed) if release.version < *installed => {
                Err(Error::Rollback { offered: release.version, installed: installed.clone() })
            }
            _ => Ok(Offer { channel: self, release, proof }),
        }
    }

    pub(super) fn expiry(&self) -> Expiry {
        self.options.expiry.unwrap_or(match self.origin {
            Origin::Web { .. } => Expiry::Refuse,
            Origin::Folder { .. } => Expiry::Warn,
        })
    }
}

/// Where a blob is, or has to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In the folder already.
    Here,
    /// In a folder of [`Present`].
    Folder(PathBuf),
    /// In the engine.
    Engine,
    /// In the channel; so many bytes of it have come.
    Channel { begun_bytes: u64 },
}

impl Offer<'_> {
    /// Returns what the release is made of.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// Returns what a decision needs.
    pub fn facts(&self, present: &Present) -> Facts {
        let missing =
            self.release.blobs.iter().filter(|blob| matches!(find(blob, None, present), Source::Channel { .. }));
        let (missing_blobs, missing_bytes) =
            missing.fold((0, 0), |(count, sum), blob| (count + 1, sum + blob.size_bytes));
        let Release { version, channel, minimum_agent, schemas, .. } = self.release.clone();
        let installed = self.channel.options.installed.as_ref();
        Facts {
            is_newer: installed.is_none_or(|installed| version > *installed),
            version,
            channel,
            minimum_agent,
            schemas,
            expires_ms: self.proof.expires(),
            is_expired: self.proof.now >= self.proof.expires(),
            size_bytes: self.release.size_bytes(),
            missing_blobs,
            missing_bytes,
        }
    }

    /// Returns what fetching into `out` takes of each file system, with the caller's own claims. Weigh it with [`Ledger::fits`].
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn ledger(&self, out: &Path, present: &Present, claims: &[Claim]) -> Result<Ledger, Error> {
        let mut bytes = 0;
        for blob in &self.release.blobs {
            bytes += match find(blob, Some(out), present) {
                Source::Here | Source::Engine => 0,
                Source::Folder(path) if super::fetch::can_link(&path, out) => 0,
                Source::Folder(_) => blob.size_bytes,
                Source::Channel { begun_bytes } => blob.size_bytes.saturating_sub(begun_bytes),
            };
        }
        let bundle =
            Claim { path: out.to_owned(), what: "the bundle".to_owned(), peak_bytes: bytes, final_bytes: bytes };
        Ledger::of(&[&[bundle], claims].concat())
    }

    /// Brings the small documents of every image into `out`, and returns what the images are made of, so that an engine can be asked
    /// which layers it holds. The layers themselves are not there yet.
    ///
    /// # Errors
    /// As [`Offer::fetch`].
    pub async fn images(&self, out: &Path) -> Result<Vec<ImageContent>, Error> {
        let staging = Staging::open(out)?;
        let small = |blob: &&Blob| matches!(blob.kind, BlobKind::Manifest | BlobKind::Config);
        let documents: Vec<&Blob> = self.release.blobs.iter().filter(small).collect();
        Run { offer: self, staging: &staging, present: &Present::default(), at_once: 1, watch: &|_| () }
            .bring(documents)
            .await?;
        let places = [out.to_owned()];
        let layer = |digest: &Digest| Blobs::of(out).path(digest);
        self.release.images.iter().map(|image| image::content(&self.release, image, &places, &layer)).collect()
    }

    /// Brings what is missing into the folder `out`, and proves the whole as any bundle is proven. The same call again goes on where
    /// an earlier one stopped, however that ended.
    ///
    /// # Errors
    /// [`Error::Space`] before anything is fetched; [`Error::Exists`] for a folder with something else in it; [`Error::Unreachable`],
    /// [`Error::Blob`], [`Error::Write`], [`Error::Locked`]; and what [`super::verify()`] refuses.
    pub async fn fetch(
        &self,
        out: &Path,
        present: &Present,
        options: &Fetching,
        watch: &(dyn Fn(Progress) + Send + Sync),
        report: &(dyn Fn(Check) + Sync),
    ) -> Result<Fetched, Error> {
        super::fetch::fetch(self, out, present, options, watch, report).await
    }
}

/// Says where a blob is to be taken from. That it is what it is called is proven later.
pub(super) fn find(blob: &Blob, out: Option<&Path>, present: &Present) -> Source {
    let is_there =
        |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == blob.size_bytes);
    if out.is_some_and(|out| is_there(&Blobs::of(out).path(&blob.digest))) {
        return Source::Here;
    }
    let mut paths = present.folders.iter().map(|folder| Blobs::at(folder).path(&blob.digest));
    if let Some(path) = paths.find(|path| is_there(path)) {
        return Source::Folder(path);
    }
    if is_held(blob, &present.held) {
        return Source::Engine;
    }
    let begun = out.and_then(|out| fs::metadata(Staging::part(out, &blob.digest)).ok());
    Source::Channel { begun_bytes: begun.map_or(0, |found| found.len()) }
}
