//! From a trusted root to the bytes of `release.json`: the same for a stick, a share and a web server.

use std::path::{Path, PathBuf};

use base::{Digest, Timestamp};

use super::{
    ReleaseError as Error,
    format::{MAX_RELEASE_BYTES, TARGET},
};
use crate::tuf::{self, Client, Files, Kept, Limits, OnExpiry, Standing, Store};

/// Whom and what is trusted, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge<'a> {
    /// The trusted `root.json` files.
    pub roots: &'a [Vec<u8>],
    /// The folder of what was seen of earlier metadata, one folder per root of trust.
    pub seen: Option<&'a Path>,
    pub on_expiry: OnExpiry,
    pub now: Timestamp,
}

/// Whether what is proven on the way is kept at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// A look at a bundle, which may be refused in the end.
    Nothing,
    /// A channel's metadata is trusted as soon as it is proven, as TUF wants it.
    Proven,
}

/// Signed metadata, and what it signs.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    /// The bytes of `release.json`.
    pub release: Vec<u8>,
    /// Versions and ends, root first.
    pub standing: Vec<Standing>,
    /// The metadata, for others to prove the same.
    pub kept: Kept,
    /// The time that governed.
    pub now: Timestamp,
    /// The trusted root it began at.
    root: Vec<u8>,
}

impl Proof {
    /// Returns when the first of the metadata expires.
    pub fn expires(&self) -> Timestamp {
        self.standing.iter().map(|role| role.expires).min().unwrap_or(Timestamp::from_millis(i64::MIN))
    }

    /// Keeps what was proven, so that nothing older is taken after it. What is newer already stays.
    pub async fn remember(&self, seen: &Path) -> Result<(), Error> {
        let store = Store::open(&store_dir(seen, &self.root)).map_err(translated)?;
        let limits = Limits::default();
        let client = Client::new(&self.kept, store, &self.root, self.now, OnExpiry::Accept, limits);
        match client.map_err(translated)?.refresh().await {
            Ok(()) | Err(tuf::Error::Older { .. }) => Ok(()),
            Err(error) => Err(translated(error)),
        }
    }
}

/// Checks that these bytes are a `root.json` which its own keys signed, as often as it demands.
///
/// # Errors
/// [`Error::Metadata`].
pub fn check_root(bytes: &[u8]) -> Result<(), Error> {
    tuf::check_root(bytes).map_err(|reason| Error::Metadata { reason: format!("this is no root: {reason}") })
}

/// Proves a repository's metadata and reads its `release.json`. The first root that leads there is used.
pub(super) async fn prove<F: Files>(files: &F, judge: Judge<'_>, keep: Keep) -> Result<Proof, Error> {
    let mut failure = Error::NoRoot;
    for root in judge.roots {
        match prove_from(files, judge, keep, root).await {
            Ok(proof) => return Ok(proof),
            Err(error) if is_of_another_root(&error) => failure = translated(error),
            Err(error) => return Err(translated(error)),
        }
    }
    Err(failure)
}

async fn prove_from<F: Files>(files: &F, judge: Judge<'_>, keep: Keep, root: &[u8]) -> Result<Proof, tuf::Error> {
    let dir = judge.seen.map(|seen| store_dir(seen, root));
    let store = match (keep, &dir) {
        (Keep::Proven, Some(dir)) => Store::open(dir)?,
        _ => Store::view(dir.as_deref())?,
    };
    let mut client = Client::new(files, store, root, judge.now, judge.on_expiry, Limits::default())?;
    client.refresh().await?;
    let target = client.target(TARGET).await?;
    let target = target.ok_or_else(|| tuf::Error::Refused {
        file: "targets.json".to_owned(),
        reason: format!("it does not name `{TARGET}`"),
    })?;
    let release = client.read_target(TARGET, &target, MAX_RELEASE_BYTES).await?;
    let (standing, kept, now) = (client.versions(), client.kept_files(), client.now());
    Ok(Proof { release, standing, kept, now, root: root.to_vec() })
}

/// What was seen of a repository is kept under the root it is trusted by: its address may change, from a server to a stick.
fn store_dir(seen: &Path, root: &[u8]) -> PathBuf {
    seen.join(&Digest::of(root).hex()[..16])
}

/// Whether it may be that just this root is not the channel's. Once a timestamp was proven, it is.
fn is_of_another_root(error: &tuf::Error) -> bool {
    match error {
        tuf::Error::Refused { file, .. } => file.ends_with("root.json") || file == "timestamp.json",
        tuf::Error::TrustedRoot { .. } => true,
        _ => false,
    }
}

fn translated(error: tuf::Error) -> Error {
    match error {
        tuf::Error::Unavailable { .. } => Error::Unreachable { reason: error.to_string() },
        tuf::Error::Refused { .. } | tuf::Error::TrustedRoot { .. } => Error::Metadata { reason: error.to_string() },
        tuf::Error::Older { .. } => Error::Older { reason: error.to_string() },
        tuf::Error::Expired { expired, now, .. } => Error::Expired { expired, now },
        tuf::Error::Damaged { path, reason } => Error::Trusted { path, reason },
        tuf::Error::Locked { path } => Error::Locked { path },
        tuf::Error::Write { path, source } => Error::Write { path, source },
        tuf::Error::Seen(error) => Error::Seen(error),
    }
}
