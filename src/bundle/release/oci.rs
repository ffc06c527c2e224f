//! The parts of the OCI image specification (v1.1) a bundle writes and reads.

use base::Digest;
use serde::{Deserialize, Serialize};

use super::{
    Blob, BlobKind,
    build::{ARCHITECTURE, OS},
};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// What layers of others may be: tars, whatever they are compressed with. Not: those that lie elsewhere, encrypted ones, and what is no
/// layer at all.
const LAYERS_OF_OTHERS: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    LAYER,
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];
/// The largest manifest or configuration read: those of real images take kilobytes.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

/// A reference to a blob.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// An image's manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub schema_version: u32,
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// `index.json` of an OCI layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub schema_version: u32,
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
}

/// What a registry gives for a name, as OCI and as Docker write it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    Image(PulledManifest),
    /// An index, with the entry for our platform.
    Index(Descriptor),
}

/// The manifest of an image of others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct PulledManifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

impl Document {
    /// Reads a manifest or an index. What it is, its fields say, not what the registry calls it: one that could be read as both is
    /// refused (CVE-2021-41190).
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Either {
            config: Option<Descriptor>,
            layers: Option<Vec<Descriptor>>,
            manifests: Option<Vec<Entry>>,
        }
        #[derive(Deserialize)]
        struct Entry {
            #[serde(flatten)]
            descriptor: Descriptor,
            platform: Option<Platform>,
        }
        #[derive(Deserialize)]
        struct Platform {
            architecture: String,
            os: String,
            variant: Option<String>,
        }
        let read: Either = serde_json::from_slice(bytes).map_err(|error| format!("its manifest: {error}"))?;
        match (read.config, read.layers, read.manifests) {
            (Some(config), Some(layers), None) => {
                let is_layer = |layer: &&Descriptor| LAYERS_OF_OTHERS.contains(&layer.media_type.as_str());
                match layers.iter().find(|layer| !is_layer(layer)) {
                    Some(other) => Err(format!("its layer {} is `{}`", other.digest, other.media_type)),
                    None => Ok(Self::Image(PulledManifest { config, layers })),
                }
            }
            (None, None, Some(entries)) => {
                let fits = |platform: &Platform| platform.os == OS && platform.architecture == ARCHITECTURE;
                let fitting = entries.iter().filter(|entry| entry.platform.as_ref().is_some_and(fits));
                // The one without a variant runs everywhere.
                let variant = |entry: &&Entry| entry.platform.as_ref().and_then(|platform| platform.variant.clone());
                match fitting.min_by_key(variant) {
                    Some(entry) => Ok(Self::Index(entry.descriptor.clone())),
                    None => Err(format!("it has no image for {OS}/{ARCHITECTURE}")),
                }
            }
            _ => Err("its manifest is neither that of an image nor an index".to_owned()),
        }
    }
}

/// An image's configuration, as ours says it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ImageConfig {
    pub architecture: String,
    pub os: String,
    pub config: RunConfig,
    pub rootfs: RootFs,
}

/// What is checked of any image's configuration. How its containers run is not read: engines write `null` where they have nothing
/// to say.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct ImageFacts {
    pub architecture: String,
    pub os: String,
    pub rootfs: RootFs,
}

/// How a container of the image is run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RunConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
}

/// The digests of the unpacked layers, lowest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    pub diff_ids: Vec<Digest>,
}

impl Descriptor {
    /// Refers to a blob of the bundle.
    pub fn of(blob: &Blob) -> Self {
        let media_type = match blob.kind {
            BlobKind::Layer { .. } => LAYER,
            BlobKind::Config => CONFIG,
            BlobKind::Manifest => MANIFEST,
            BlobKind::Model | BlobKind::Sbom => "application/octet-stream",
        };
        Self { media_type: media_type.to_owned(), digest: blob.digest, size: blob.size_bytes, annotations: None }
    }
}
