//! Images of others, brought into a bundle through the binary.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use base::Digest;
use serde_json::json;

use crate::product::{Product, Run, run};

/// An image of one layer, as `docker save` writes it, in a folder of its own.
pub struct Foreign {
    dir: PathBuf,
    /// `name:tag`.
    pub reference: String,
    config: Vec<u8>,
    layer: Vec<u8>,
}

impl Foreign {
    pub fn make(dir: &Path, name: &str) -> Self {
        let (tree, saved) = (dir.join("tree"), dir.join("saved"));
        fs::create_dir_all(tree.join("var/lib/dpkg")).unwrap();
        fs::create_dir_all(&saved).unwrap();
        fs::write(tree.join("var/lib/dpkg/status"), "Package: zlib1g\nVersion: 1:1.2\n").unwrap();
        tar(&tree, &saved.join("layer.tar"));
        let layer = fs::read(saved.join("layer.tar")).unwrap();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/x"], "Env": null},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let reference = format!("{name}:1.2");
        let listed = json!([{"Config": "config.json", "RepoTags": [reference], "Layers": ["layer.tar"]}]);
        fs::write(saved.join("config.json"), &config).unwrap();
        fs::write(saved.join("manifest.json"), listed.to_string()).unwrap();
        tar(&saved, &dir.join("saved.tar"));
        Self { dir: dir.to_owned(), reference, config, layer }
    }

    pub fn archive(&self) -> PathBuf {
        self.dir.join("saved.tar")
    }

    /// Builds a bundle of nothing but this image.
    pub fn build(&self, out: &str, from: &str) -> Run {
        let (spec, out) = (self.dir.join(format!("{out}.yaml")), self.dir.join(out));
        let images = format!("images: [{{name: shop/store, from: {from}}}]");
        fs::write(&spec, format!("format: 1\nchannel: stable\nminimum_agent: 0.1.0\nmodels: []\n{images}\n")).unwrap();
        let (spec, out) = (spec.display().to_string(), out.display().to_string());
        run(["bundle", "build", "--spec", &spec, "--out", &out, "--json"])
    }

    /// Serves the image on loopback until the test's process ends. Returns what a registry calls it by tag, and by digest.
    pub fn serve(&self) -> (String, String) {
        let described =
            |bytes: &[u8], kind: &str| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "config": described(&self.config, "application/vnd.oci.image.config.v1+json"),
            "layers": [described(&self.layer, "application/vnd.oci.image.layer.v1.tar")],
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::of(&manifest);
        let path = |kind: &str, bytes: &[u8]| format!("/v2/shop/store/{kind}/{}", Digest::of(bytes));
        let shelf = HashMap::from([
            (path("manifests", &manifest), manifest.clone()),
            (path("blobs", &self.config), self.config.clone()),
            (path("blobs", &self.layer), self.layer.clone()),
        ]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("{}/shop/store:1.2", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(&shelf, stream);
            }
        });
        (name.clone(), format!("{name}@{digest}"))
    }
}

fn tar(dir: &Path, file: &Path) {
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-cf"]).arg(file).arg("-C").arg(dir);
    assert!(command.arg(".").status().unwrap().success());
}

fn answer(shelf: &HashMap<String, Vec<u8>>, mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let (status, body) = match shelf.get(first.split(' ').nth(1).unwrap_or_default()) {
        Some(bytes) => ("200 OK", bytes.as_slice()),
        None => ("404 Not Found", b"{}".as_slice()),
    };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    stream.write_all(body)
}

#[test]
fn an_image_is_pulled_by_digest_and_no_other_way() {
    let product = Product::new();
    let image = Foreign::make(&product.folder("image"), "store");
    let (by_tag, by_digest) = image.serve();
    let by_archive = image.build("archive", "!docker-archive saved.tar").expect(0).json();
    let by_registry = image.build("registry", &format!("!registry \"{by_digest}\"")).expect(0).json();
    assert_eq!(by_registry["release"], by_archive["release"]);
    assert_eq!(by_registry["blobs"], 4, "a manifest, a configuration, a layer, a bill of materials");
    let refused = image.build("tag", &format!("!registry \"{by_tag}\"")).expect(2).json();
    assert!(refused.to_string().contains("docker buildx imagetools inspect"), "{refused}");
    let other = by_digest.replace(&by_digest[by_digest.len() - 8..], "00000000");
    let refused = image.build("other", &format!("!registry \"{other}\"")).expect(7).json();
    assert!(refused.to_string().contains("the registry does not have sha256:"), "{refused}");
    let away = by_digest.replacen("127.0.0.1", "localhost", 1).replacen(':', ":1", 1);
    image.build("away", &format!("!registry \"{away}\"")).expect(2);
}
