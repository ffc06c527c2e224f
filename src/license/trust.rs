//! Who may sign a license, and what. Roots come with the program; this file has no way to the disk, and a test keeps it so.

use base::dsse::{KeyError, PublicKey};
use serde::{Deserialize, Serialize};

use crate::{Edition, Error, format::Payload};

const FORMAT: u32 = 1;

/// The most a root may sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub edition: Edition,
    pub max_documents: u64,
    pub gpus: u32,
    pub mcps: Vec<String>,
    pub channels: Vec<String>,
    pub auto_update: bool,
    pub managed: bool,
    /// The longest time from not-before to the end of grace.
    pub valid_days: u32,
}

/// A root as its file in `licenses/trust/` spells it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootFile {
    format: u32,
    name: String,
    key_id: String,
    /// Ed25519, 64 hexadecimal digits.
    public_key: String,
    may_sign: Limits,
}

/// One trusted public key with what it may sign.
#[derive(Clone, Debug)]
pub struct Root {
    name: String,
    key_id: String,
    key: PublicKey,
    limits: Limits,
}

impl Root {
    /// Makes a root of a public key. A key of small order is refused: it "signs" anything.
    pub fn new(name: &str, public_key: &[u8; 32], limits: Limits) -> Result<Self, Error> {
        let refused = |error: KeyError| Error::Root { name: name.to_owned(), reason: error.to_string() };
        let key = PublicKey::from_bytes(public_key).map_err(refused)?;
        Ok(Self { name: name.to_owned(), key_id: key.id(), key, limits })
    }

    /// Reads the text of a file in `licenses/trust/`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let refused =
            |reason: String| Error::Root { name: text.lines().next().unwrap_or("").chars().take(64).collect(), reason };
        let file: RootFile = serde_yaml::from_str(text).map_err(|error| refused(error.to_string()))?;
        if file.format != FORMAT {
            return Err(refused(format!("it has format {}, not {FORMAT}", file.format)));
        }
        let key = PublicKey::from_hex(&file.public_key).map_err(|error| refused(error.to_string()))?;
        let root = Self::new(&file.name, key.as_bytes(), file.may_sign)?;
        if root.key_id != file.key_id {
            return Err(refused(format!("its key has the id {}, not {}", root.key_id, file.key_id)));
        }
        Ok(root)
    }

    /// Returns the root as a file for `licenses/trust/`.
    pub fn to_yaml(&self) -> Result<String, Error> {
        let file = RootFile {
            format: FORMAT,
            name: self.name.clone(),
            key_id: self.key_id.clone(),
            public_key: self.key.hex(),
            may_sign: self.limits.clone(),
        };
        serde_yaml::to_string(&file).map_err(|error| Error::Root { name: self.name.clone(), reason: error.to_string() })
    }

    /// Returns the id signatures name the key by.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Returns the root's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the most the root may sign.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Says what in `payload` this root may not sign.
    pub(crate) fn excess(&self, payload: &Payload) -> Option<String> {
        let (limits, wants) = (&self.limits, &payload.entitlements);
        if payload.edition > limits.edition {
            return Some(format!("edition {}, where {} is its highest", payload.edition, limits.edition));
        }
        if wants.max_documents > limits.max_documents {
            return Some(format!("{} documents, where {} are its most", wants.max_documents, limits.max_documents));
        }
        if wants.gpus > limits.gpus {
            return Some(format!("{} GPUs, where {} are its most", wants.gpus, limits.gpus));
        }
        if let Some(name) = wants.mcps.iter().find(|name| !limits.mcps.contains(name)) {
            return Some(format!("the MCP server `{name}`"));
        }
        if let Some(name) = wants.channels.iter().find(|name| !limits.channels.contains(name)) {
            return Some(format!("the update channel `{name}`"));
        }
        if wants.auto_update && !limits.auto_update {
            return Some("automatic updates".to_owned());
        }
        if wants.managed && !limits.managed {
            return Some("a managed stack".to_owned());
        }
        let most = payload.not_before.plus_days(i64::from(limits.valid_days));
        if payload.expires.plus_days(i64::from(payload.grace_days)) > most {
            return Some(format!("more than {} days", limits.valid_days));
        }
        None
    }
}

/// The public keys a license may be signed by.
#[derive(Clone, Debug)]
pub struct TrustRoots(Vec<Root>);

impl TrustRoots {
    /// Collects roots. The program uses [`crate::embedded_roots`]; other sets are for tests and for checking a new key.
    pub fn new(roots: Vec<Root>) -> Result<Self, Error> {
        for (index, root) in roots.iter().enumerate() {
            if roots[..index].iter().any(|other| other.key_id == root.key_id) {
                return Err(Error::Root {
                    name: root.name.clone(),
                    reason: "its key stands in the list twice".to_owned(),
                });
            }
        }
        Ok(Self(roots))
    }

    /// Returns the root a signature names.
    pub(crate) fn by_key_id(&self, key_id: &str) -> Option<&Root> {
        self.0.iter().find(|root| root.key_id == key_id)
    }

    /// Iterates over the roots.
    pub fn iter(&self) -> impl Iterator<Item = &Root> {
        self.0.iter()
    }
}
