//! Images of others, from what `docker save` writes.
//!
//! The configuration is taken byte for byte, so that the image keeps its id; the layers are compressed anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use base::file;
use serde::Deserialize;

use super::{
    Blob, BlobKind, ReleaseError as Error,
    blobs::Blobs,
    layer,
    oci::{ImageConfig, MAX_DOCUMENT_BYTES},
};

/// Packages of one distribution's database; larger ones are not read.
const MAX_DATABASE_BYTES: u64 = 64 << 20;

/// An image taken from an archive.
pub(crate) struct Taken {
    /// The tag it was saved under.
    pub tag: Option<String>,
    pub config: Blob,
    pub platform: String,
    /// Lowest first.
    pub layers: Vec<Blob>,
    /// Name, version, and the kind of package (`deb`, `apk`).
    pub packages: BTreeSet<(String, String, &'static str)>,
}

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
    let [saved] = saved.as_slice() else {
        return Err(refused(format!("it holds {} images; save them one by one", saved.len())));
    };
    let config_bytes = archive.small(&saved.config)?;
    let config: ImageConfig =
        serde_json::from_slice(&config_bytes).map_err(|error| refused(format!("its configuration: {error}")))?;
    let mut taken = Taken {
        tag: saved
            .repo_tags
            .iter()
            .flatten()
            .next()
            .and_then(|name| name.rsplit_once(':'))
            .map(|(_, tag)| tag.to_owned()),
        config: {
            let (digest, size_bytes) = blobs.put_bytes(&config_bytes)?;
            Blob { digest, size_bytes, kind: BlobKind::Config }
        },
        platform: format!("{}/{}", config.os, config.architecture),
        layers: Vec::new(),
        packages: BTreeSet::new(),
    };
    let mut databases = BTreeMap::new();
    for (name, diff_id) in saved.layers.iter().zip(&config.rootfs.diff_ids) {
        let blob = layer::pack(blobs, archive.member(name)?)?;
        match blob.kind {
            BlobKind::Layer { diff_id: found, .. } if found == *diff_id => {}
            _ => return Err(refused(format!("the layer `{name}` is not the one its configuration names"))),
        }
        taken.layers.push(blob);
        read_databases(archive.member(name)?, &mut databases)
            .map_err(|error| refused(format!("the layer `{name}`: {error}")))?;
    }
    if taken.layers.len() != saved.layers.len() || taken.layers.len() != config.rootfs.diff_ids.len() {
        return Err(refused("its layers are not those of its configuration".to_owned()));
    }
    taken.packages = databases.values().flat_map(|(kind, text)| packages(kind, text)).collect();
    Ok(taken)
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
            let name = entry.path().map_err(refused)?.to_string_lossy().into_owned();
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

/// Finds the package databases of dpkg and apk; a higher layer's replaces a lower one's.
fn read_databases(layer: impl Read, found: &mut BTreeMap<String, (&'static str, String)>) -> io::Result<()> {
    for entry in tar::Archive::new(BufReader::new(layer)).entries()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let kind = match name.as_str() {
            "var/lib/dpkg/status" => "deb",
            "lib/apk/db/installed" | "usr/lib/apk/db/installed" => "apk",
            name if name.starts_with("var/lib/dpkg/status.d/") && !name.ends_with(".md5sums") => "deb",
            _ => continue,
        };
        if entry.header().entry_type().is_file() {
            let mut bytes = Vec::new();
            entry.take(MAX_DATABASE_BYTES).read_to_end(&mut bytes)?;
            found.insert(name, (kind, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    Ok(())
}

/// Reads name and version of each package: dpkg's `Package:` and `Version:`, apk's `P:` and `V:`.
fn packages(kind: &'static str, text: &str) -> Vec<(String, String, &'static str)> {
    let keys = if kind == "deb" { ["Package: ", "Version: "] } else { ["P:", "V:"] };
    let field = |part: &str, key: &str| {
        part.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned())
    };
    text.split("\n\n").filter_map(|part| Some((field(part, keys[0])?, field(part, keys[1])?, kind))).collect()
}

#[cfg(test)]
mod tests {
    use base::Digest;
    use serde_json::json;

    use super::*;

    /// A tar of files.
    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, *bytes).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn saved(dir: &Path, diff_id: Option<Digest>) -> PathBuf {
        let status = b"Package: libc6\nVersion: 2.36-9\n\nPackage: zlib1g\nStatus: ok\nVersion: 1:1.2\n";
        let layer = tar_of(&[("var/lib/dpkg/status", status), ("bin/x", b"x")]);
        let diff_id = diff_id.unwrap_or(Digest::of(&layer));
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/x"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        });
        let manifest = json!([{"Config": "c.json", "RepoTags": ["store:1.2"], "Layers": ["a/layer.tar"]}]);
        let path = dir.join("saved.tar");
        let (config, manifest) = (config.to_string(), manifest.to_string());
        let files: [(&str, &[u8]); 3] =
            [("c.json", config.as_bytes()), ("a/layer.tar", &layer), ("manifest.json", manifest.as_bytes())];
        std::fs::write(&path, tar_of(&files)).unwrap();
        path
    }

    #[test]
    fn an_image_keeps_its_configuration_and_names_its_packages() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::of(dir.path());
        let taken = take(&blobs, &saved(dir.path(), None)).unwrap();
        assert_eq!((taken.tag.as_deref(), taken.platform.as_str()), (Some("1.2"), "linux/amd64"));
        let config = String::from_utf8(blobs.read(&taken.config.digest, 1 << 20).unwrap()).unwrap();
        assert!(config.contains("/bin/x"));
        assert_eq!(taken.layers.len(), 1);
        let names: Vec<_> = taken.packages.iter().map(|(name, version, _)| format!("{name} {version}")).collect();
        assert_eq!(names, ["libc6 2.36-9", "zlib1g 1:1.2"]);
    }

    #[test]
    fn another_layer_than_the_configuration_names_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = saved(dir.path(), Some(Digest::of(b"other")));
        assert!(matches!(take(&Blobs::of(dir.path()), &path), Err(Error::Source { .. })));
    }
}
