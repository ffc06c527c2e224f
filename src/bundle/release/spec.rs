//! `bundles/*.yaml`: what a release shall be made of. Written by the vendor's people, read by `0711 bundle build`.

use std::path::{Path, PathBuf};

use base::file;
use serde::Deserialize;

use super::{EngineImage, ModelSpec, RegistryImage, ReleaseError as Error};

const FORMAT: u32 = 1;
const MAX_SPEC_BYTES: u64 = 1 << 20;

/// The specification of a release.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    pub format: u32,
    /// The release's version, where it is not the program's: the same program with other images or models is a new release.
    #[serde(default)]
    pub version: Option<semver::Version>,
    pub channel: String,
    pub minimum_agent: semver::Version,
    pub images: Vec<ImageSpec>,
    /// Names of the catalogue, and folders described here.
    pub models: Vec<ModelSpec>,
}

/// One image of the release.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    pub name: String,
    /// Of an image of others, when it shall have another tag than the one it came under. It is never `latest`.
    #[serde(default)]
    pub tag: Option<String>,
    pub from: ImageSource,
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageSource {
    /// Made from the program's own static binary, `FROM scratch`.
    Binary,
    /// What `docker save` wrote; a relative path begins at the specification's folder. In YAML: `from: !docker-archive store.tar`.
    DockerArchive(PathBuf),
    /// Pulled from a registry. In YAML: `from: !registry host[:port]/name[:tag]@sha256:…`.
    Registry(RegistryImage),
    /// Exported by the Docker engine of this machine. In YAML: `from: !engine name:tag`.
    Engine(EngineImage),
}

impl Spec {
    /// Reads a specification.
    ///
    /// # Errors
    /// [`Error::Spec`] with the reason.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let refused = |reason: String| Error::Spec { path: PathBuf::from(path), reason };
        let bytes = file::read_bounded(path, MAX_SPEC_BYTES).map_err(|error| refused(error.to_string()))?;
        let mut spec: Self = serde_yaml::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
        for image in &mut spec.images {
            match &mut image.from {
                ImageSource::DockerArchive(archive) => {
                    *archive = path.parent().unwrap_or(Path::new("")).join(&archive);
                }
                // Said before gigabytes are pulled.
                ImageSource::Registry(name) if image.tag.is_none() && name.tag().is_none_or(|tag| tag == "latest") => {
                    return Err(refused(format!("`{}` needs a `tag:` that says which version it is", image.name)));
                }
                _ => {}
            }
        }
        for folder in spec.models.iter_mut().filter_map(ModelSpec::folder_mut) {
            *folder = path.parent().unwrap_or(Path::new("")).join(&folder);
        }
        match spec.format {
            FORMAT => Ok(spec),
            other => Err(refused(format!("it has format {other}, this program reads {FORMAT}"))),
        }
    }

    /// Returns the names of the models that come from the catalogue, in their order.
    pub fn catalogue_models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().filter_map(|model| match model {
            ModelSpec::Catalogue(name) => Some(name.as_str()),
            ModelSpec::Folder(_) => None,
        })
    }
}
