//! `MANIFEST.json`, the first file of a bundle. Written here, read by whoever helps.

use base::{Digest, Slug, Timestamp};
use serde::{Deserialize, Serialize};

/// What is in a bundle, and what is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub format: u32,
    #[serde(with = "base::rfc3339")]
    pub made: Timestamp,
    /// The version of the program that made it.
    pub program: String,
    pub slug: Slug,
    /// Log lines before this moment were left out.
    pub since: String,
    /// Whether names of documents were left in.
    pub with_names: bool,
    pub collectors: Vec<Collector>,
    /// The files, in the order of their paths.
    pub files: Vec<ManifestFile>,
    /// What there was no room for.
    pub left_out: Vec<String>,
    /// The secrets that were looked for and not found, by name.
    pub searched_for: Vec<String>,
    /// Secrets too short to be told from other text, which were not looked for.
    pub too_short_to_search: Vec<String>,
}

/// One part of the machine that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collector {
    pub name: String,
    #[serde(flatten)]
    pub how: How,
    pub took_ms: u64,
}

/// How asking went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum How {
    Ok,
    Failed {
        reason: String,
    },
    /// It did not answer in time, and was left.
    TimedOut {
        after_seconds: u64,
    },
}

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    pub path: String,
    pub size_bytes: u64,
    pub sha256: Digest,
    /// Bytes at its beginning that were left out, for want of room or because they are too old.
    pub cut_bytes: u64,
    /// Things taken out that looked like a credential.
    pub redacted: u64,
    /// Names of documents taken out.
    pub names_hidden: u64,
}
