//! What an image of a proven release is made of: what an engine has to be given.

use std::path::PathBuf;

use base::Digest;

use super::{
    BlobKind, Image, Release, ReleaseError as Error, VerifiedRelease,
    oci::{Descriptor, Manifest},
    verify::read_document,
};

/// An image, with the bytes of its small documents and the places of its layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageContent {
    /// `name:tag`.
    pub reference: String,
    /// Of the configuration: the image's id on an engine with its own store.
    pub config: Digest,
    pub config_bytes: Vec<u8>,
    /// Of the manifest: the image's id on an engine that keeps images in containerd.
    pub manifest: Digest,
    pub manifest_bytes: Vec<u8>,
    /// Lowest first.
    pub layers: Vec<LayerContent>,
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerContent {
    /// Of the compressed file.
    pub digest: Digest,
    /// The compressed file: a tar in zstd. Of a layer the engine holds it may be missing.
    pub path: PathBuf,
    pub size_bytes: u64,
    /// Of the tar inside.
    pub diff_id: Digest,
    pub unpacked_bytes: u64,
}

impl VerifiedRelease {
    /// Returns what an image is made of.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Blob`] when the bundle was changed after it was proven.
    pub fn image(&self, image: &Image) -> Result<ImageContent, Error> {
        content(self.release(), image, self.places(), &|digest| self.layer_path(digest))
    }
}

/// Reads and proves the small documents of an image, and says where its layers are.
pub(super) fn content(
    release: &Release,
    image: &Image,
    places: &[PathBuf],
    layer_path: &dyn Fn(&Digest) -> PathBuf,
) -> Result<ImageContent, Error> {
    let refused = |reason: &str| Error::Image { name: image.name.clone(), reason: reason.to_owned() };
    let manifest_bytes = read_document(places, &image.manifest)?;
    let manifest: Manifest = serde_json::from_slice(&manifest_bytes).map_err(|_| refused("its manifest is none"))?;
    let layer = |descriptor: &Descriptor| -> Result<LayerContent, Error> {
        let blob = release.blob(&descriptor.digest).ok_or_else(|| refused("a layer is not in the release"))?;
        let BlobKind::Layer { diff_id, unpacked_bytes } = blob.kind else {
            return Err(refused("a layer is none"));
        };
        let path = layer_path(&blob.digest);
        Ok(LayerContent { digest: blob.digest, path, size_bytes: blob.size_bytes, diff_id, unpacked_bytes })
    };
    Ok(ImageContent {
        reference: format!("{}:{}", image.name, image.tag),
        config: manifest.config.digest,
        config_bytes: read_document(places, &manifest.config.digest)?,
        manifest: image.manifest,
        layers: manifest.layers.iter().map(layer).collect::<Result<_, _>>()?,
        manifest_bytes,
    })
}
