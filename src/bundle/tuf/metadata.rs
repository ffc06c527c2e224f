//! A metadata file that was read: its bytes, what is signed, and by whom.

use std::collections::{BTreeMap, BTreeSet};

use base::{Digest, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    canonical,
    format::{
        Common, Delegation, Delegations, Envelope, KeyFile, Listing, MetaFile, RoleKeys, Root, SignatureFile, Targets,
    },
    key::Key,
};

/// The four roles every root names.
pub(super) const TOP: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// A role's metadata. That it was read says nothing about its signatures: see [`Keys::prove`].
#[derive(Clone, Debug)]
pub(super) struct Metadata<T> {
    /// Exactly what was received, and is kept.
    pub bytes: Vec<u8>,
    pub version: u64,
    pub expires: Timestamp,
    pub signed: T,
    /// What the signatures are over. It is made of the same value as `signed`, so nothing else can have been meant.
    canonical: Vec<u8>,
    signatures: Vec<SignatureFile>,
}

/// Content of a role.
pub(super) trait Role: DeserializeOwned {
    /// What `_type` must be.
    const KIND: &'static str;

    /// What the form alone does not ensure.
    fn check(&self) -> Result<(), String>;
}

impl Role for Root {
    const KIND: &'static str = "root";

    fn check(&self) -> Result<(), String> {
        for name in TOP {
            let role = self.roles.get(name).ok_or_else(|| format!("it names no keys for `{name}`"))?;
            check_keys(name, &role.keyids, role.threshold)?;
        }
        Ok(())
    }
}

impl Role for Current {
    const KIND: &'static str = "timestamp";

    fn check(&self) -> Result<(), String> {
        match (self.0.meta.get("snapshot.json"), self.0.meta.len()) {
            (Some(_), 1) => check_listed(&self.0),
            _ => Err("it must name `snapshot.json` and nothing else".to_owned()),
        }
    }
}

impl Role for Snapshot {
    const KIND: &'static str = "snapshot";

    fn check(&self) -> Result<(), String> {
        match self.0.meta.contains_key("targets.json") {
            true => check_listed(&self.0),
            false => Err("it does not name `targets.json`".to_owned()),
        }
    }
}

impl Role for Targets {
    const KIND: &'static str = "targets";

    fn check(&self) -> Result<(), String> {
        let Some(delegations) = &self.delegations else { return Ok(()) };
        let mut names = BTreeSet::new();
        for role in &delegations.roles {
            // A delegated role of such a name would overwrite trusted metadata.
            if TOP.contains(&role.name.as_str()) || role.name.is_empty() || !names.insert(&role.name) {
                return Err(format!("`{}` is no name for a delegated role, or it is used twice", role.name));
            }
            if role.paths.is_some() == role.path_hash_prefixes.is_some() {
                return Err(format!("the delegation to `{}` must have paths or prefixes of hashes", role.name));
            }
            check_keys(&role.name, &role.keyids, role.threshold)?;
        }
        Ok(())
    }
}

/// Timestamp and snapshot have the same form, and must not be taken for each other.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Current(pub Listing);

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Snapshot(pub Listing);

fn check_keys(role: &str, keyids: &[String], threshold: u64) -> Result<(), String> {
    let different: BTreeSet<_> = keyids.iter().collect();
    match different.len() == keyids.len() && threshold >= 1 {
        true => Ok(()),
        false => Err(format!("the keys of `{role}` are listed twice, or none of them is needed")),
    }
}

fn check_listed(listing: &Listing) -> Result<(), String> {
    match listing.meta.iter().find(|(_, file)| file.version == 0) {
        None => Ok(()),
        Some((name, _)) => Err(format!("it lists version 0 of `{name}`")),
    }
}

impl<T: Role> Metadata<T> {
    /// Reads a file.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let canonical = canonical::bytes(&envelope.signed).ok_or("it holds a number that is not whole")?;
        let common: Common = typed(&envelope.signed)?;
        if common.kind != T::KIND {
            return Err(format!("it is `{}`, not `{}`", common.kind, T::KIND));
        }
        if common.spec_version.split('.').next() != Some("1") {
            return Err(format!("it follows TUF {}, this program reads 1", common.spec_version));
        }
        if common.version == 0 {
            return Err("its version is 0".to_owned());
        }
        let signed: T = typed(&envelope.signed)?;
        signed.check()?;
        let signatures = envelope.signatures;
        Ok(Self { bytes, version: common.version, expires: common.expires, signed, canonical, signatures })
    }

    /// Whether this is the file another one lists, byte for byte.
    pub fn check_listed(&self, listed: &MetaFile) -> Result<(), String> {
        check_bytes(&self.bytes, listed)?;
        match self.version == listed.version {
            true => Ok(()),
            false => Err(format!("it has version {}, not {}", self.version, listed.version)),
        }
    }
}

fn typed<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}

/// Checks length and hashes, where they are given.
pub(super) fn check_bytes(bytes: &[u8], listed: &MetaFile) -> Result<(), String> {
    if listed.length.is_some_and(|length| length != bytes.len() as u64) {
        return Err(format!("it has {} bytes, not {}", bytes.len(), listed.length.unwrap_or_default()));
    }
    listed.hashes.as_ref().map_or(Ok(()), |hashes| check_hashes(bytes, hashes))
}

/// Checks every hash of an algorithm we know; one of them must be given.
pub(super) fn check_hashes(bytes: &[u8], hashes: &BTreeMap<String, String>) -> Result<(), String> {
    use aws_lc_rs::digest::{SHA512, digest};
    let mut known = 0;
    for (algorithm, expected) in hashes {
        let found = match algorithm.as_str() {
            "sha256" => Digest::of(bytes).hex(),
            "sha512" => hex::encode(digest(&SHA512, bytes)),
            _ => continue,
        };
        if !found.eq_ignore_ascii_case(expected) {
            return Err(format!("its {algorithm} is {found}, not {expected}"));
        }
        known += 1;
    }
    if known == 0 { Err("it is listed without a hash this program knows".to_owned()) } else { Ok(()) }
}

/// Who may sign a role, and how many of them must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    keys: BTreeMap<String, Key>,
    threshold: u64,
}

impl Keys {
    /// The keys a root gives a top-level role. [`Role::check`] has seen that it names it.
    pub fn of_root(root: &Root, role: &str) -> Self {
        let empty = RoleKeys { keyids: Vec::new(), threshold: u64::MAX };
        let role = root.roles.get(role).unwrap_or(&empty);
        Self::of(&root.keys, &role.keyids, role.threshold)
    }

    /// The keys of a delegation.
    pub fn of_delegation(delegations: &Delegations, role: &Delegation) -> Self {
        Self::of(&delegations.keys, &role.keyids, role.threshold)
    }

    fn of(files: &BTreeMap<String, KeyFile>, keyids: &[String], threshold: u64) -> Self {
        let key = |id: &String| Some((id.clone(), Key::of(files.get(id)?)));
        Self { keys: keyids.iter().filter_map(key).collect(), threshold }
    }

    /// Whether enough of these keys have signed. A key counts once, however often it signed and under however many names it is listed.
    pub fn prove<T>(&self, metadata: &Metadata<T>) -> Result<(), String> {
        let mut signers = BTreeSet::new();
        for signature in &metadata.signatures {
            let Some(key) = self.keys.get(&signature.keyid) else { continue };
            let Some(identity) = key.identity() else { continue };
            if !signers.contains(identity) && key.has_signed(&metadata.canonical, &signature.sig) {
                signers.insert(identity);
            }
        }
        match signers.len() as u64 >= self.threshold {
            true => Ok(()),
            false => Err(format!("{} of the {} signatures it needs hold", signers.len(), self.threshold)),
        }
    }

    /// Whether a key of these is gone there: what it signed is trusted no more.
    pub fn lost_one(&self, later: &Self) -> bool {
        self.keys
            .values()
            .filter_map(Key::identity)
            .any(|key| !later.keys.values().any(|kept| kept.identity() == Some(key)))
    }
}
