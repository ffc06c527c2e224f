//! An image of others, as a registry has it and as `docker save` writes it.

use std::io::Write;

use serde_json::{Value, json};

use super::*;

/// Three layers, the lowest with a distribution's list of packages, the highest of bytes that cannot be compressed.
pub(super) struct Foreign {
    pub tars: Vec<Vec<u8>>,
    pub config: Vec<u8>,
}

/// What a registry keeps of it.
pub(super) struct Stored {
    pub manifest: Value,
    /// The layers, lowest first: two in gzip, one in zstd; then the configuration.
    pub blobs: Vec<Vec<u8>>,
}

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

impl Foreign {
    pub fn new() -> Self {
        let status = b"Package: libc6\nVersion: 2.36-9\n\nPackage: zlib1g\nStatus: ok\nVersion: 1:1.2\n";
        let noise: Vec<u8> = (0..50_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let tars = vec![
            tar_of(&[("var/lib/dpkg/status", status)]),
            tar_of(&[("etc/text", &[b'a'; 10_000])]),
            tar_of(&[("bin/x", &noise)]),
        ];
        Self { config: Self::config_of(&tars), tars }
    }

    /// As engines of before BuildKit write it: `null` where there is nothing to say.
    pub fn config_of(tars: &[Vec<u8>]) -> Vec<u8> {
        let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::of(tar)).collect();
        json!({
            "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": {"Cmd": ["/bin/x"], "Entrypoint": null, "Env": null, "User": ""},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
        .to_string()
        .into_bytes()
    }

    pub fn archive(&self, path: &Path) {
        let names: Vec<_> = (0..self.tars.len()).map(|index| format!("{index}/layer.tar")).collect();
        let listed = json!([{"Config": "c.json", "RepoTags": ["store:1.2"], "Layers": names}]).to_string();
        let layers = names.iter().zip(&self.tars).map(|(name, tar)| (name.as_str(), tar.as_slice()));
        let documents = [("c.json", self.config.as_slice()), ("manifest.json", listed.as_bytes())];
        fs::write(path, tar_of(&layers.chain(documents).collect::<Vec<_>>())).unwrap();
    }

    pub fn stored(&self) -> Stored {
        let gzip = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let layers = [gzip(&self.tars[0]), zstd::encode_all(self.tars[1].as_slice(), 3).unwrap(), gzip(&self.tars[2])];
        let kinds = [
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.oci.image.layer.v1.tar+gzip",
        ];
        let listed: Vec<_> = layers.iter().zip(kinds).map(|(bytes, kind)| described(bytes, kind)).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described(&self.config, "application/vnd.oci.image.config.v1+json"),
            "layers": listed,
        });
        Stored { manifest, blobs: layers.into_iter().chain([self.config.clone()]).collect() }
    }
}

/// Refers to bytes.
pub(super) fn described(bytes: &[u8], kind: &str) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()})
}

#[test]
fn an_image_from_an_archive_keeps_its_configuration_and_names_its_packages() {
    let dir = tempfile::tempdir().unwrap();
    let (path, blobs) = (dir.path().join("saved.tar"), blobs::Blobs::of(dir.path()));
    let image = Foreign::new();
    image.archive(&path);
    let taken = archive::take(&blobs, &path).unwrap();
    assert_eq!((taken.tag.as_deref(), taken.platform.as_str()), (Some("1.2"), "linux/amd64"));
    assert_eq!(blobs.read(&taken.config.digest, 1 << 20).unwrap(), image.config);
    assert_eq!(taken.layers.len(), 3);
    let names: Vec<_> = taken.packages.iter().map(|(name, version, _)| format!("{name} {version}")).collect();
    assert_eq!(names, ["libc6 2.36-9", "zlib1g 1:1.2"]);
}

#[test]
fn an_archive_that_is_no_image_for_us_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, blobs) = (dir.path().join("saved.tar"), blobs::Blobs::of(dir.path()));
    let check = |spoil: fn(&mut Foreign), says: &str| {
        let mut image = Foreign::new();
        spoil(&mut image);
        image.archive(&path);
        let refused = archive::take(&blobs, &path).map(|_| ()).unwrap_err();
        assert!(matches!(refused, ReleaseError::Source { .. }) && refused.to_string().contains(says), "{refused}");
    };
    check(|image| image.tars.swap(0, 1), "is not the one its configuration names");
    check(|image| drop(image.tars.pop()), "its layers are not those of its configuration");
    check(
        |image| image.config = String::from_utf8(image.config.clone()).unwrap().replace("amd64", "arm64").into_bytes(),
        "it is made for linux/arm64, not for linux/amd64",
    );
}
