//! The parts of the OCI image specification (v1.1) a bundle writes and reads.

use base::Digest;
use serde::{Deserialize, Serialize};

use super::{Blob, BlobKind};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
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
