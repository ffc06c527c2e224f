//! `release.json`: what a release is made of. Written by `0711 bundle build`, read by every customer's program.

use std::collections::{BTreeMap, BTreeSet};

use base::Digest;
use serde::{Deserialize, Serialize};

use super::ReleaseError as Error;
use crate::ModelRole;

/// The version of `release.json` this program writes and reads.
pub(crate) const FORMAT: u32 = 1;
/// A release of ten thousand blobs takes 2 MB.
pub(crate) const MAX_RELEASE_BYTES: u64 = 8 << 20;
/// The name of the TUF target.
pub(crate) const TARGET: &str = "release.json";

/// A release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// [`FORMAT`].
    pub format: u32,
    pub version: semver::Version,
    /// Who it is for: `stable`, `beta`, ….
    pub channel: String,
    /// The oldest agent that can install it.
    pub minimum_agent: semver::Version,
    /// The versions of the formats its programs write: `config`, `plan`, ….
    pub schemas: BTreeMap<String, u32>,
    pub images: Vec<Image>,
    pub models: Vec<ReleaseModel>,
    /// Every blob, in the order of digests.
    pub blobs: Vec<Blob>,
}

/// A container image, found by the digest of its manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// `0711/platform`.
    pub name: String,
    pub tag: String,
    /// `linux/amd64`.
    pub platform: String,
    pub manifest: Digest,
    /// Of its bill of materials (CycloneDX).
    pub sbom: Digest,
}

/// A model: one file of the catalogue, or a folder of files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseModel {
    /// As in `bundles/models.yaml`, or as the specification calls the folder.
    pub name: String,
    /// Of the file; of a folder, that of the list of its files.
    pub digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<ModelFolder>,
}

/// A model that is a folder: the catalogue inside a program does not know it, so the release says what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFolder {
    pub role: ModelRole,
    /// `safetensors`.
    pub format: String,
    /// As an SPDX id.
    pub licence: String,
    /// The most tokens it looks at.
    pub context_tokens: u32,
    /// Of its vectors, for a model that embeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimension: Option<u32>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub query_prefix: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub passage_prefix: String,
    /// In the order of paths.
    pub files: Vec<ModelFile>,
}

/// One file of a model's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Below the model's folder, with `/`: plain names only.
    pub path: String,
    pub digest: Digest,
}

/// One file of the bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blob {
    pub digest: Digest,
    pub size_bytes: u64,
    #[serde(flatten)]
    pub kind: BlobKind,
}

/// What a blob is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum BlobKind {
    /// A zstd-compressed tar. Unpacked it has this digest (OCI's `diff_id`) and exactly this size: more is a bomb.
    Layer {
        diff_id: Digest,
        unpacked_bytes: u64,
    },
    Config,
    Manifest,
    Model,
    Sbom,
}

impl Release {
    /// Reads and checks the bytes of a `release.json`.
    ///
    /// # Errors
    /// [`Error::Release`] with the reason.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let refused = |reason: String| Error::Release { reason };
        let release: Self = serde_json::from_slice(bytes).map_err(|error| refused(error.to_string()))?;
        if release.format != FORMAT {
            return Err(refused(format!("it has format {}, this program reads {FORMAT}", release.format)));
        }
        if !release.blobs.is_sorted_by(|a, b| a.digest < b.digest) {
            return Err(refused("its blobs are not in the order of their digests, each once".to_owned()));
        }
        let has =
            |digest: &Digest, what: fn(&BlobKind) -> bool| release.blob(digest).is_some_and(|blob| what(&blob.kind));
        for image in &release.images {
            if !is_reference(&image.name, &image.tag) {
                return Err(refused(format!("`{}:{}` is no name of an image", image.name, image.tag)));
            }
            if !has(&image.manifest, |kind| *kind == BlobKind::Manifest)
                || !has(&image.sbom, |kind| *kind == BlobKind::Sbom)
            {
                return Err(refused(format!("it lacks the manifest or the bill of materials of `{}`", image.name)));
            }
        }
        let is_there = |digest: &Digest| has(digest, |kind| *kind == BlobKind::Model);
        for model in &release.models {
            let is_whole = match &model.folder {
                None => is_there(&model.digest),
                Some(folder) => {
                    folder.check(&model.name, &model.digest).map_err(refused)?;
                    folder.files.iter().all(|file| is_there(&file.digest))
                }
            };
            if !is_whole {
                return Err(refused(format!("it lacks a file of the model `{}`", model.name)));
            }
        }
        let names: BTreeSet<_> = release.images.iter().map(|image| (&image.name, &image.platform)).collect();
        if names.len() != release.images.len() {
            return Err(refused("it names an image twice".to_owned()));
        }
        Ok(release)
    }

    /// Returns the blob of a digest.
    pub fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.blobs.binary_search_by_key(digest, |blob| blob.digest).ok().map(|index| &self.blobs[index])
    }

    /// Returns the size of all blobs together.
    pub fn size_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size_bytes).sum()
    }

    /// Returns the bytes that are signed.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes =
            serde_json::to_vec_pretty(self).map_err(|error| Error::Release { reason: error.to_string() })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Whether these may become a tag on an engine: lower case, no host, nothing that could be read as another word.
pub(crate) fn is_reference(name: &str, tag: &str) -> bool {
    let part = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.len() <= 128
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | '+'))
    };
    name.split('/').all(part) && part(tag)
}
