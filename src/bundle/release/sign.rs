//! The vendor's side of TUF: the root of trust, its rotation, and the signing of a release.
//!
//! A trust folder, kept by the vendor, holds `metadata/` with every root and the last signed timestamp, snapshot and targets.
//! Root keys are used by [`init`] and [`rotate`] only and stay offline; release keys sign releases.

use std::{
    collections::HashMap,
    fs,
    num::NonZeroU64,
    path::{Path, PathBuf},
};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base::{Digest, Seed, Timestamp, file};
use ed25519_dalek::{Signer, SigningKey};
use tough::{
    editor::{RepositoryEditor, signed::SignedRole},
    key_source::KeySource,
    schema::{
        Hashes, KeyHolder, RoleKeys, RoleType, Root, Signed, Target,
        decoded::{Decoded, Hex},
        key::{Ed25519Key, Ed25519Scheme, Key},
    },
    sign::Sign,
};

use super::{Release, ReleaseError as Error, format::TARGET};

const SPEC_VERSION: &str = "1.0.0";
type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// For how many days signatures hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    pub root_days: u32,
    /// Of timestamp, snapshot and targets. A customer without network is warned after it, never cut off.
    pub release_days: u32,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { root_days: 3650, release_days: 366 }
    }
}

/// The keys a root names.
#[derive(Clone, Copy, Debug)]
pub struct RootKeys<'a> {
    /// They sign roots.
    pub root: &'a [Seed],
    /// So many of them must sign every later root.
    pub threshold: u32,
    /// They sign releases; one of them suffices.
    pub release: &'a [Seed],
}

/// A seed as tough wants keys.
#[derive(Clone)]
struct Ed25519(SigningKey);

impl Ed25519 {
    fn of(seed: &Seed) -> Self {
        Self(SigningKey::from_bytes(seed.expose()))
    }

    fn key(&self) -> Key {
        let public = self.0.verifying_key().to_bytes().to_vec().into();
        let keyval = Ed25519Key { public, _extra: HashMap::new() };
        Key::Ed25519 { keyval, scheme: Ed25519Scheme::Ed25519, _extra: HashMap::new() }
    }

    fn id(&self) -> Result<Decoded<Hex>, Error> {
        self.key().key_id().map_err(|error| Error::Sign { reason: error.to_string() })
    }
}

impl std::fmt::Debug for Ed25519 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ed25519(…)")
    }
}

#[tough::async_trait]
impl Sign for Ed25519 {
    fn tuf_key(&self) -> Key {
        self.key()
    }

    async fn sign(&self, message: &[u8], _: &(dyn SecureRandom + Sync)) -> Result<Vec<u8>, Boxed> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }
}

#[tough::async_trait]
impl KeySource for Ed25519 {
    async fn as_sign(&self) -> Result<Box<dyn Sign>, Boxed> {
        Ok(Box::new(self.clone()))
    }

    async fn write(&self, _: &str, _: &str) -> Result<(), Boxed> {
        Err("a private key is written when it is made, never again".into())
    }
}

fn unsigned(error: tough::error::Error) -> Error {
    Error::Sign { reason: error.to_string() }
}

fn sources(seeds: &[Seed]) -> Vec<Box<dyn KeySource>> {
    seeds.iter().map(|seed| Box::new(Ed25519::of(seed)) as Box<dyn KeySource>).collect()
}

/// Makes the first root of a trust folder; customers get its file by a way of its own.
///
/// # Errors
/// [`Error::Exists`] when there is a root already, [`Error::Sign`] for a threshold no set of these keys can meet, [`Error::Write`].
pub async fn init(trust: &Path, keys: RootKeys<'_>, lifetimes: Lifetimes, now: Timestamp) -> Result<PathBuf, Error> {
    let metadata = trust.join("metadata");
    if metadata.join("1.root.json").exists() {
        return Err(Error::Exists { path: metadata.join("1.root.json") });
    }
    let root = root(1, keys, lifetimes, now)?;
    let holder = KeyHolder::Root(root.clone());
    let signed = SignedRole::new(root, &holder, &sources(keys.root), &SystemRandom::new()).await.map_err(unsigned)?;
    write(&metadata, "1.root.json", signed.buffer())
}

/// Makes the next root: other keys, another threshold, or only a later end. It is signed by the keys of the last root and by its own.
///
/// # Errors
/// [`Error::Sign`] when fewer than the last root's threshold of its keys are given, [`Error::Read`], [`Error::Write`].
pub async fn rotate(
    trust: &Path,
    old_root_keys: &[Seed],
    keys: RootKeys<'_>,
    lifetimes: Lifetimes,
    now: Timestamp,
) -> Result<PathBuf, Error> {
    let metadata = trust.join("metadata");
    let (last, path) = last_root(&metadata)?;
    let bytes = file::read_bounded(&path, 1 << 20)
        .map_err(|error| Error::Read { path: path.clone(), reason: error.to_string() })?;
    let old: Signed<Root> =
        serde_json::from_slice(&bytes).map_err(|error| Error::Read { path, reason: error.to_string() })?;
    let next = root(last + 1, keys, lifetimes, now)?;
    let random = SystemRandom::new();
    let (holder, old_keys) = (KeyHolder::Root(old.signed.clone()), sources(old_root_keys));
    let by_old = SignedRole::new(next.clone(), &holder, &old_keys, &random).await.map_err(unsigned)?;
    let by_old = by_old.signed().signatures.clone();
    let needed = old.signed.roles.get(&RoleType::Root).map_or(1, |role| role.threshold.get());
    if (by_old.len() as u64) < needed {
        let reason = format!("the last root asks for {needed} of its keys, {} were given", by_old.len());
        return Err(Error::Sign { reason });
    }
    let (holder, new_keys) = (KeyHolder::Root(next.clone()), sources(keys.root));
    let by_new = SignedRole::new(next, &holder, &new_keys, &random).await.map_err(unsigned)?;
    let signed = by_new.add_old_signatures(by_old).map_err(unsigned)?;
    write(&metadata, &format!("{}.root.json", last + 1), signed.buffer())
}

fn root(version: u64, of: RootKeys<'_>, lifetimes: Lifetimes, now: Timestamp) -> Result<Root, Error> {
    let refused = |reason: &str| Error::Sign { reason: reason.to_owned() };
    let mut keys = HashMap::new();
    let mut role = |seeds: &[Seed], threshold: u32| -> Result<RoleKeys, Error> {
        let mut keyids: Vec<Decoded<Hex>> = Vec::new();
        for seed in seeds {
            let key = Ed25519::of(seed);
            let id = key.id()?;
            if !keyids.contains(&id) {
                keyids.push(id.clone());
            }
            keys.insert(id, key.key());
        }
        let threshold = NonZeroU64::new(u64::from(threshold)).ok_or_else(|| refused("a threshold is at least 1"))?;
        if threshold.get() > keyids.len() as u64 {
            return Err(refused(&format!("a threshold of {threshold} needs as many different keys")));
        }
        Ok(RoleKeys { keyids, threshold, _extra: HashMap::new() })
    };
    let mut roles = HashMap::from([(RoleType::Root, role(of.root, of.threshold)?)]);
    for kind in [RoleType::Targets, RoleType::Snapshot, RoleType::Timestamp] {
        roles.insert(kind, role(of.release, 1)?);
    }
    Ok(Root {
        spec_version: SPEC_VERSION.to_owned(),
        consistent_snapshot: true,
        version: NonZeroU64::new(version).ok_or_else(|| refused("a root's version is at least 1"))?,
        expires: after(now, lifetimes.root_days)?,
        keys,
        roles,
        _extra: HashMap::new(),
    })
}

/// Signs the release of a built bundle and puts the metadata into both folders. Afterwards the bundle is complete.
///
/// # Errors
/// [`Error::Release`] for a bundle that was not built whole, [`Error::Sign`] without a release key, [`Error::Read`], [`Error::Write`].
pub async fn sign(
    trust: &Path,
    bundle: &Path,
    release_keys: &[Seed],
    lifetimes: Lifetimes,
    now: Timestamp,
) -> Result<Release, Error> {
    let release_path = bundle.join(TARGET);
    let bytes = file::read_bounded(&release_path, super::format::MAX_RELEASE_BYTES)
        .map_err(|error| Error::Read { path: release_path, reason: error.to_string() })?;
    let release = Release::parse(&bytes)?;
    sign_bytes(trust, bundle, &bytes, release_keys, lifetimes, now).await?;
    Ok(release)
}

/// Signs whatever it is given as the release.
pub(super) async fn sign_bytes(
    trust: &Path,
    bundle: &Path,
    bytes: &[u8],
    release_keys: &[Seed],
    lifetimes: Lifetimes,
    now: Timestamp,
) -> Result<(), Error> {
    let metadata = trust.join("metadata");
    let (_, root_path) = last_root(&metadata)?;
    let version = NonZeroU64::MIN.saturating_add(last_version(&metadata, "targets")?);
    let expires = after(now, lifetimes.release_days)?;
    let digest = Digest::of(bytes);
    let target = Target {
        length: bytes.len() as u64,
        hashes: Hashes { sha256: digest.as_bytes().to_vec().into(), _extra: HashMap::new() },
        custom: HashMap::new(),
        _extra: HashMap::new(),
    };
    let mut editor = RepositoryEditor::new(&root_path).await.map_err(unsigned)?;
    editor.add_target(TARGET, target).map_err(unsigned)?;
    editor.targets_version(version).map_err(unsigned)?.targets_expires(expires).map_err(unsigned)?;
    editor.snapshot_version(version).snapshot_expires(expires);
    editor.timestamp_version(version).timestamp_expires(expires);
    let signed = editor.sign(&sources(release_keys)).await.map_err(unsigned)?;
    signed.write(&metadata).await.map_err(unsigned)?;

    write(&bundle.join("targets"), &format!("{}.{TARGET}", digest.hex()), bytes)?;
    copy_metadata(&metadata, &bundle.join("metadata"), version.get())
}

/// Copies every root, and the other roles of one version; the timestamp, which makes them count, last.
pub(crate) fn copy_metadata(from: &Path, to: &Path, version: u64) -> Result<(), Error> {
    let mut names: Vec<String> = (1..=last_root(from)?.0).map(|version| format!("{version}.root.json")).collect();
    names.extend([format!("{version}.targets.json"), format!("{version}.snapshot.json"), "timestamp.json".to_owned()]);
    for name in names {
        let path = from.join(&name);
        let bytes = file::read_bounded(&path, 16 << 20)
            .map_err(|error| Error::Read { path: path.clone(), reason: error.to_string() })?;
        write(to, &name, &bytes)?;
    }
    Ok(())
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
    let path = dir.join(name);
    let written = fs::create_dir_all(dir).and_then(|()| file::write_atomic(&path, bytes, 0o644));
    written.map_err(|source| Error::Write { path: path.clone(), source })?;
    Ok(path)
}

/// Returns the version and the file of the newest root.
fn last_root(metadata: &Path) -> Result<(u64, PathBuf), Error> {
    match last_version(metadata, "root")? {
        0 => Err(Error::Read { path: metadata.to_owned(), reason: "it holds no root".to_owned() }),
        version => Ok((version, metadata.join(format!("{version}.root.json")))),
    }
}

/// Returns the highest version of a role's files, 0 when there is none.
pub(crate) fn last_version(metadata: &Path, role: &str) -> Result<u64, Error> {
    let failed = |error: std::io::Error| Error::Read { path: metadata.to_owned(), reason: error.to_string() };
    let mut last = 0;
    for entry in fs::read_dir(metadata).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let version = name.to_str().and_then(|name| name.strip_suffix(&format!(".{role}.json"))?.parse().ok());
        last = last.max(version.unwrap_or(0));
    }
    Ok(last)
}

fn after(now: Timestamp, days: u32) -> Result<jiff::Timestamp, Error> {
    let seconds = now.plus_days(i64::from(days)).millis().div_euclid(1000);
    jiff::Timestamp::from_second(seconds).map_err(|error| Error::Sign { reason: error.to_string() })
}
