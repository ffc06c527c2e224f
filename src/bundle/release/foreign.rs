//! Images of others, wherever they were brought from: proven against their own configuration and compressed anew.
//!
//! The configuration is taken byte for byte, so that the image keeps its id. The layers are unpacked and packed as ours are:
//! an image is the same bytes in a bundle, whether a registry, an engine or an archive gave it.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    path::Path,
};

use super::{
    Blob, BlobKind, ReleaseError as Error,
    blobs::Blobs,
    build::{ARCHITECTURE, OS},
    layer,
    oci::ImageFacts,
    packages::{Databases, Package},
};

/// An image as it lies on the disk, before anything of it was proven.
pub(crate) struct Foreign<'a> {
    /// What is named when it is refused.
    pub path: &'a Path,
    /// The tag it came under.
    pub tag: Option<String>,
    pub config: Vec<u8>,
    /// The names of its layers, lowest first.
    pub layers: Vec<String>,
}

/// An image that was taken into the bundle.
pub(crate) struct Taken {
    /// The tag it came under.
    pub tag: Option<String>,
    pub config: Blob,
    pub platform: String,
    /// Lowest first.
    pub layers: Vec<Blob>,
    pub packages: BTreeSet<Package>,
}

/// Takes an image into the bundle. `open` opens the layer of an index, compressed or not, and is asked twice for each.
pub(crate) fn take<R: Read>(
    blobs: &Blobs,
    image: Foreign<'_>,
    open: impl Fn(usize) -> Result<R, Error>,
) -> Result<Taken, Error> {
    let refused = |reason: String| Error::Source { path: image.path.to_owned(), reason };
    let facts: ImageFacts =
        serde_json::from_slice(&image.config).map_err(|error| refused(format!("its configuration: {error}")))?;
    let platform = format!("{}/{}", facts.os, facts.architecture);
    if (facts.os.as_str(), facts.architecture.as_str()) != (OS, ARCHITECTURE) {
        return Err(refused(format!("it is made for {platform}, not for {OS}/{ARCHITECTURE}")));
    }
    if image.layers.len() != facts.rootfs.diff_ids.len() {
        return Err(refused("its layers are not those of its configuration".to_owned()));
    }
    let (digest, size_bytes) = blobs.put_bytes(&image.config)?;
    let mut layers = Vec::new();
    let mut databases = Databases::default();
    for (index, (name, diff_id)) in image.layers.iter().zip(&facts.rootfs.diff_ids).enumerate() {
        let unreadable = |error: io::Error| refused(format!("the layer `{name}`: {error}"));
        let tar = layer::unpacked(open(index)?).map_err(unreadable)?;
        let blob = layer::pack(blobs, tar)?.map_err(unreadable)?;
        match blob.kind {
            BlobKind::Layer { diff_id: found, .. } if found == *diff_id => {}
            _ => return Err(refused(format!("the layer `{name}` is not the one its configuration names"))),
        }
        layers.push(blob);
        let again = layer::unpacked(open(index)?).map_err(unreadable)?;
        databases.read(again).map_err(unreadable)?;
    }
    let config = Blob { digest, size_bytes, kind: BlobKind::Config };
    Ok(Taken { tag: image.tag, config, platform, layers, packages: databases.packages() })
}
