//! Makes a bundle, unsigned: blobs, `release.json`, and the index other OCI programs read.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use base::{Digest, file};

use super::{
    Blob, BlobKind, Image, ModelSpec, Pulls, Release, ReleaseError as Error, ReleaseModel, Spec, archive,
    blobs::Blobs,
    foreign::Taken,
    format::{FORMAT, TARGET},
    oci::{self, Descriptor, ImageConfig, Index, Manifest, RootFs},
    platform, sbom,
    spec::{ImageSource, ImageSpec},
};
use crate::VerifiedModel;

pub(crate) const ARCHITECTURE: &str = "amd64";
pub(crate) const OS: &str = "linux";

/// What a build needs.
pub struct Build {
    pub spec: Spec,
    pub version: semver::Version,
    /// The static program.
    pub binary: PathBuf,
    /// The files of the catalogue's models the specification names, in its order.
    pub models: Vec<VerifiedModel>,
    /// The versions of the formats its programs write.
    pub schemas: BTreeMap<String, u32>,
    /// The bundle's folder: absent, empty, or an unsigned bundle that is made anew. What its images need of registries and engines
    /// was brought there before ([`Pulls`]).
    pub out: PathBuf,
}

/// What was made.
#[derive(Debug)]
pub struct Built {
    pub release: Release,
    /// Of `release.json`.
    pub digest: Digest,
}

impl Build {
    /// Makes the bundle. Two builds of the same input are equal byte for byte.
    ///
    /// # Errors
    /// [`Error::Source`] for an input that cannot be used, [`Error::Exists`] when something else is in the folder,
    /// [`Error::Write`].
    pub fn run(&self, report: &dyn Fn(&str)) -> Result<Built, Error> {
        check_folder(&self.out)?;
        let (blobs, pulls) = (Blobs::of(&self.out), Pulls::of(&self.out));
        let mut kept = Vec::new();
        let mut images = Vec::new();
        for image in &self.spec.images {
            report(&format!("image {}", image.name));
            images.push(match &image.from {
                ImageSource::Binary => self.platform(&image.name, &blobs, &mut kept)?,
                ImageSource::DockerArchive(path) => foreign(image, archive::take(&blobs, path)?, &blobs, &mut kept)?,
                ImageSource::Engine(name) => {
                    foreign(image, archive::take(&blobs, &pulls.archive(name))?, &blobs, &mut kept)?
                }
                ImageSource::Registry(name) => foreign(image, pulls.take(&blobs, name)?, &blobs, &mut kept)?,
            });
        }
        let mut models = Vec::new();
        for model in &self.models {
            report(&format!("model {}", model.name()));
            let digest = model.digest();
            let size_bytes = blobs.put_file(model.path(), &digest)?;
            kept.push(Blob { digest, size_bytes, kind: BlobKind::Model });
            models.push(ReleaseModel { name: model.name().to_owned(), digest, folder: None });
        }
        for model in &self.spec.models {
            if let ModelSpec::Folder(folder) = model {
                report(&format!("model {}", folder.name));
                models.push(folder.put(&blobs, &mut kept)?);
            }
        }
        kept.sort_by_key(|blob| blob.digest);
        kept.dedup();
        let release = Release {
            format: FORMAT,
            version: self.version.clone(),
            channel: self.spec.channel.clone(),
            minimum_agent: self.spec.minimum_agent.clone(),
            schemas: self.schemas.clone(),
            images,
            models,
            blobs: kept,
        };
        self.forget_others(&release, &blobs)?;
        write_index(&self.out, &release)?;
        let bytes = release.to_bytes()?;
        // What customers refuse shall not be made.
        Release::parse(&bytes)?;
        self.write(TARGET, &bytes)?;
        pulls.remove()?;
        Ok(Built { release, digest: Digest::of(&bytes) })
    }

    fn platform(&self, name: &str, blobs: &Blobs, kept: &mut Vec<Blob>) -> Result<Image, Error> {
        if !is_static(&self.binary)? {
            let reason =
                "it is not a static program for Linux on x86-64: an image made of it would not start".to_owned();
            return Err(Error::Source { path: self.binary.clone(), reason });
        }
        let layers = platform::layers(blobs, &self.binary)?;
        let diff_ids = layers.iter().filter_map(|layer| match layer.kind {
            BlobKind::Layer { diff_id, .. } => Some(diff_id),
            _ => None,
        });
        let config = ImageConfig {
            architecture: ARCHITECTURE.to_owned(),
            os: OS.to_owned(),
            config: platform::config(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: diff_ids.collect() },
        };
        let config = put_json(blobs, &config, BlobKind::Config)?;
        let tag = self.version.to_string();
        let sbom = sbom::of_binary(name, &tag)?;
        let of = Named { name: name.to_owned(), tag, platform: format!("{OS}/{ARCHITECTURE}") };
        put_image(blobs, of, config, layers, &sbom, kept)
    }

    /// Removes the blobs an earlier build left.
    fn forget_others(&self, release: &Release, blobs: &Blobs) -> Result<(), Error> {
        let failed = |source| Error::Write { path: blobs.dir().to_owned(), source };
        for entry in fs::read_dir(blobs.dir()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let digest = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
            if digest.is_none_or(|digest| release.blob(&digest).is_none()) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        write(&self.out, name, bytes)
    }
}

/// Refuses a folder that holds anything but a bundle that is not signed, or is being made.
pub(crate) fn check_folder(out: &Path) -> Result<(), Error> {
    let failed = |source| Error::Write { path: out.to_owned(), source };
    fs::create_dir_all(out).map_err(failed)?;
    for entry in fs::read_dir(out).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !["blobs", "index.json", "oci-layout", Pulls::NAME, TARGET].iter().any(|known| name == *known) {
            return Err(Error::Exists { path: out.join(name) });
        }
    }
    Ok(())
}

fn write(out: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = out.join(name);
    file::write_atomic(&path, bytes, 0o644).map_err(|source| Error::Write { path, source })
}

/// Writes what programs that read OCI layouts look for in a bundle. Nothing here trusts it.
pub(super) fn write_index(out: &Path, release: &Release) -> Result<(), Error> {
    let manifests = release.images.iter().filter_map(|image| {
        let name = format!("{}:{}", image.name, image.tag);
        let annotations = BTreeMap::from([("org.opencontainers.image.ref.name".to_owned(), name)]);
        let blob = release.blob(&image.manifest)?;
        Some(Descriptor { annotations: Some(annotations), ..Descriptor::of(blob) })
    });
    let index = Index { schema_version: 2, media_type: oci::INDEX.to_owned(), manifests: manifests.collect() };
    write(out, "index.json", &json(&index)?)?;
    write(out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
}

/// Describes an image of others that was taken.
fn foreign(spec: &ImageSpec, taken: Taken, blobs: &Blobs, kept: &mut Vec<Blob>) -> Result<Image, Error> {
    let tag = spec.tag.clone().or(taken.tag).filter(|tag| tag != "latest");
    let tag = tag.ok_or_else(|| Error::Source {
        path: PathBuf::from(&spec.name),
        reason: "it has no tag that says which version it is; name one in the specification".to_owned(),
    })?;
    let sbom = sbom::of_packages(&spec.name, &tag, &taken.packages)?;
    let of = Named { name: spec.name.clone(), tag, platform: taken.platform };
    put_image(blobs, of, taken.config, taken.layers, &sbom, kept)
}

/// What an image is called, and what it runs on.
struct Named {
    name: String,
    tag: String,
    platform: String,
}

/// Writes an image's manifest and bill of materials.
fn put_image(
    blobs: &Blobs,
    of: Named,
    config: Blob,
    layers: Vec<Blob>,
    sbom: &[u8],
    kept: &mut Vec<Blob>,
) -> Result<Image, Error> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: oci::MANIFEST.to_owned(),
        config: Descriptor::of(&config),
        layers: layers.iter().map(Descriptor::of).collect(),
    };
    let manifest = put_json(blobs, &manifest, BlobKind::Manifest)?;
    let (sbom, size_bytes) = blobs.put_bytes(sbom)?;
    let image = Image { name: of.name, tag: of.tag, platform: of.platform, manifest: manifest.digest, sbom };
    kept.extend(layers);
    kept.extend([config, manifest, Blob { digest: sbom, size_bytes, kind: BlobKind::Sbom }]);
    Ok(image)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Release { reason: error.to_string() })
}

fn put_json(blobs: &Blobs, value: &impl serde::Serialize, kind: BlobKind) -> Result<Blob, Error> {
    let (digest, size_bytes) = blobs.put_bytes(&json(value)?)?;
    Ok(Blob { digest, size_bytes, kind })
}

/// Whether a file is an ELF program for x86-64 that asks for no interpreter (ELF-64, System V gABI: `e_machine` 62, `PT_INTERP` 3).
fn is_static(path: &std::path::Path) -> Result<bool, Error> {
    use std::io::Read;
    let refused = |reason: String| Error::Source { path: path.to_owned(), reason };
    let mut head = Vec::new();
    let opened = file::open_regular(path).map_err(|error| refused(error.to_string()))?;
    opened.take(1 << 16).read_to_end(&mut head).map_err(|error| refused(error.to_string()))?;
    let number = |at: usize, bytes: usize| {
        let field = head.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    let is_elf = head.starts_with(b"\x7fELF\x02\x01") && number(0x12, 2) == Some(62);
    let (Some(start), Some(size), Some(count)) = (number(0x20, 8), number(0x36, 2), number(0x38, 2)) else {
        return Ok(false);
    };
    let mut kinds = (0..count).map(|index| number(start.saturating_add(index * size) as usize, 4));
    Ok(is_elf && count > 0 && !kinds.any(|kind| kind.is_none_or(|kind| kind == 3)))
}
