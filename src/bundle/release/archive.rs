//! Images from what `docker save` writes.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use base::file;
use serde::Deserialize;

use super::{
    ReleaseError as Error,
    blobs::Blobs,
    foreign::{self, Foreign, Taken},
    oci::MAX_DOCUMENT_BYTES,
};

/// One entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Takes the only image of an archive into the bundle.
pub(crate) fn take(blobs: &Blobs, path: &Path) -> Result<Taken, Error> {
    let refused = |reason: String| Error::Source { path: path.to_owned(), reason };
    let archive = Archive::open(path)?;
    let saved: Vec<Saved> = serde_json::from_slice(&archive.small("manifest.json")?)
        .map_err(|error| refused(format!("its `manifest.json`: {error}")))?;
    let count = saved.len();
    let Ok([saved]) = <[Saved; 1]>::try_from(saved) else {
        return Err(refused(format!("it holds {count} images; save them one by one")));
    };
    let names = saved.repo_tags.unwrap_or_default();
    let tag = names.first().and_then(|name| name.rsplit_once(':')).map(|(_, tag)| tag.to_owned());
    let layers = saved.layers.clone();
    let image = Foreign { path, tag, config: archive.small(&saved.config)?, layers };
    foreign::take(blobs, image, |index| archive.member(&saved.layers[index]))
}

/// A tar on the disk, with the places of its files.
struct Archive {
    path: PathBuf,
    /// Offset and size by name.
    members: BTreeMap<String, (u64, u64)>,
}

impl Archive {
    fn open(path: &Path) -> Result<Self, Error> {
        let refused = |error: io::Error| Error::Source { path: path.to_owned(), reason: error.to_string() };
        let opened = file::open_regular(path)
            .map_err(|error| Error::Source { path: path.to_owned(), reason: error.to_string() })?;
        let (mut members, mut links) = (BTreeMap::new(), Vec::new());
        let mut tar = tar::Archive::new(BufReader::new(opened));
        for entry in tar.entries_with_seek().map_err(refused)? {
            let entry = entry.map_err(refused)?;
            // One that was packed by hand begins its names with `./`.
            let name = normal(&entry.path().map_err(refused)?);
            // Older engines save a layer once, and link to it.
            if let Some(target) = entry.link_name().map_err(refused)? {
                let target = Path::new(&name).parent().unwrap_or(Path::new("")).join(target);
                links.push((name, normal(&target)));
            } else if entry.header().entry_type().is_file() {
                members.insert(name, (entry.raw_file_position(), entry.size()));
            }
        }
        for (name, target) in links {
            if let Some(place) = members.get(&target).copied() {
                members.insert(name, place);
            }
        }
        Ok(Self { path: path.to_owned(), members })
    }

    fn member(&self, name: &str) -> Result<io::Take<File>, Error> {
        let refused = |reason: String| Error::Source { path: self.path.clone(), reason };
        let (offset, size) = self.members.get(name).ok_or_else(|| refused(format!("it lacks `{name}`")))?;
        let mut opened = File::open(&self.path).map_err(|error| refused(error.to_string()))?;
        opened.seek(SeekFrom::Start(*offset)).map_err(|error| refused(error.to_string()))?;
        Ok(opened.take(*size))
    }

    fn small(&self, name: &str) -> Result<Vec<u8>, Error> {
        let refused = |reason: String| Error::Source { path: self.path.clone(), reason };
        let mut member = self.member(name)?;
        if member.limit() > MAX_DOCUMENT_BYTES {
            return Err(refused(format!("`{name}` is too large")));
        }
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).map_err(|error| refused(error.to_string()))?;
        Ok(bytes)
    }
}

/// A path of the archive without `.` and `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in path.components() {
        match part {
            std::path::Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            std::path::Component::ParentDir => _ = parts.pop(),
            _ => {}
        }
    }
    parts.join("/")
}
