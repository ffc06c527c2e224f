//! The metadata files of TUF (specification 1.0, section 4). The vendor writes them; only this client reads them.
//!
//! Unknown members are kept out of these types and inside the signed bytes: they are part of what was signed, and mean nothing here.

use std::collections::BTreeMap;

use base::Timestamp;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// A metadata file before anything about it is known.
#[derive(Deserialize)]
pub(super) struct Envelope {
    pub signed: Value,
    pub signatures: Vec<SignatureFile>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct SignatureFile {
    pub keyid: String,
    pub sig: String,
}

/// What every role's metadata begins with.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Common {
    #[serde(rename = "_type")]
    pub kind: String,
    pub spec_version: String,
    pub version: u64,
    #[serde(deserialize_with = "moment")]
    pub expires: Timestamp,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Root {
    #[serde(default)]
    pub consistent_snapshot: bool,
    pub keys: BTreeMap<String, KeyFile>,
    pub roles: BTreeMap<String, RoleKeys>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct KeyFile {
    pub keytype: String,
    pub scheme: String,
    pub keyval: KeyValue,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct KeyValue {
    #[serde(default)]
    pub public: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct RoleKeys {
    pub keyids: Vec<String>,
    pub threshold: u64,
}

/// Timestamp and snapshot: which versions of other files are current.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Listing {
    pub meta: BTreeMap<String, MetaFile>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct MetaFile {
    pub version: u64,
    pub length: Option<u64>,
    pub hashes: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Targets {
    pub targets: BTreeMap<String, TargetFile>,
    #[serde(default)]
    pub delegations: Option<Delegations>,
}

/// A file of the repository.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TargetFile {
    pub length: u64,
    /// Hexadecimal digits, by the name of the algorithm.
    pub hashes: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Delegations {
    pub keys: BTreeMap<String, KeyFile>,
    #[serde(default)]
    pub roles: Vec<Delegation>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Delegation {
    pub name: String,
    pub keyids: Vec<String>,
    pub threshold: u64,
    #[serde(default)]
    pub terminating: bool,
    pub paths: Option<Vec<String>>,
    pub path_hash_prefixes: Option<Vec<String>>,
}

impl TargetFile {
    /// Whether these are the file's bytes.
    pub fn has_bytes(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.length && super::metadata::check_hashes(bytes, &self.hashes).is_ok()
    }
}

/// `2026-11-22T10:00:00Z`, to the second and in UTC, as the specification wants it.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    if !text.ends_with('Z') {
        return Err(D::Error::custom(format!("`{text}` is no time in UTC")));
    }
    Timestamp::parse(&text).map_err(D::Error::custom)
}
