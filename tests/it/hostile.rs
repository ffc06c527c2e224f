//! Bundles made to harm, as the customer meets them: the exit code of each, and nothing touched.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base::{Digest, Layout, Seed, Timestamp};
use bundle::release::{self, Expiry, Lifetimes, Release, RootKeys, VerifyOptions};

use crate::{
    product::{Product, free_port_base, run},
    story,
};

/// A vendor whose releases are made by the binary, and signed at times the test chooses.
struct Vendor {
    dir: PathBuf,
    keys: Vec<Seed>,
}

const SIGNED: &str = "2020-01-01T00:00:00Z";

impl Vendor {
    fn new(dir: PathBuf) -> Self {
        let vendor = Self { keys: vec![Seed::generate().unwrap()], dir };
        let keys = RootKeys { root: &vendor.keys, threshold: 1, release: &vendor.keys };
        let life = Lifetimes { root_days: 36_500, release_days: 36_500 };
        wait(release::init(&vendor.dir.join("trust"), keys, life, time())).unwrap();
        vendor
    }

    fn root(&self) -> String {
        self.dir.join("trust/metadata/1.root.json").display().to_string()
    }

    fn build(&self, name: &str, channel: &str) -> PathBuf {
        let (spec, out) = (self.dir.join(format!("{name}.yaml")), self.dir.join(name));
        let images = "images: [{name: 0711/platform, from: binary}]";
        fs::write(&spec, format!("format: 1\nchannel: {channel}\nminimum_agent: 0.1.0\nmodels: []\n{images}\n"))
            .unwrap();
        let program = self.dir.join("program");
        fs::write(&program, crate::bundle::program()).unwrap();
        let [spec, program, to] = [&spec, &program, &out].map(|path| path.display().to_string());
        run(["bundle", "build", "--spec", &spec, "--binary", &program, "--out", &to]).expect(0);
        out
    }

    fn sign(&self, bundle: &Path, days: u32) {
        let life = Lifetimes { root_days: 36_500, release_days: days };
        wait(release::sign(&self.dir.join("trust"), bundle, &self.keys, life, time())).unwrap();
    }

    fn signed(&self, name: &str, channel: &str, days: u32) -> PathBuf {
        let bundle = self.build(name, channel);
        self.sign(&bundle, days);
        bundle
    }
}

fn time() -> Timestamp {
    Timestamp::parse(SIGNED).unwrap()
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

fn release_of(bundle: &Path) -> Release {
    Release::parse(&fs::read(bundle.join("release.json")).unwrap()).unwrap()
}

fn blob(bundle: &Path, digest: &Digest) -> PathBuf {
    bundle.join("blobs/sha256").join(digest.hex())
}

fn copy(from: &Path, to: &Path) {
    for path in listed(from) {
        fs::create_dir_all(to.join(&path).parent().unwrap()).unwrap();
        fs::copy(from.join(&path), to.join(&path)).unwrap();
    }
}

/// Every file and link below a folder that may be absent.
fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path().strip_prefix(dir).unwrap().to_owned()),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_hostile_bundle_ends_with_its_code_and_touches_nothing() {
    let product = Product::new();
    let vendor = Vendor::new(product.folder("vendor"));
    let sound = vendor.signed("sound", "stable", 36_500);
    let newer = vendor.signed("newer", "other", 36_500);
    let expired = vendor.signed("expired", "stable", 1);
    let release = release_of(&sound);
    let (manifest, sbom) = (release.images[0].manifest, release.images[0].sbom);
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[20] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let spoil = |word: &str, bundle: &Path| match word {
        "altered" => flip(&blob(bundle, &manifest)),
        "truncated" => fs::File::options().write(true).open(blob(bundle, &sbom)).unwrap().set_len(100).unwrap(),
        "swapped" => {
            fs::rename(blob(bundle, &manifest), bundle.join("kept")).unwrap();
            fs::rename(blob(bundle, &sbom), blob(bundle, &manifest)).unwrap();
            fs::rename(bundle.join("kept"), blob(bundle, &sbom)).unwrap();
        }
        "mixed" => {
            let mixed = newer.join("metadata/2.snapshot.json");
            fs::copy(mixed, bundle.join("metadata/1.snapshot.json")).unwrap();
        }
        "oversized" => {
            fs::File::create(bundle.join("metadata/timestamp.json")).unwrap().set_len(1 << 40).unwrap();
        }
        "path-escaping" => {
            let outside = vendor.dir.join("outside");
            fs::rename(blob(bundle, &manifest), &outside).unwrap();
            std::os::unix::fs::symlink(outside, blob(bundle, &manifest)).unwrap();
        }
        "bomb-like" => {
            let text = fs::read_to_string(bundle.join("release.json")).unwrap();
            let smaller = text.replacen("\"unpacked_bytes\": ", "\"unpacked_bytes\": 1, \"was\": ", 1);
            fs::write(bundle.join("release.json"), smaller).unwrap();
            vendor.sign(bundle, 36_500);
        }
        _ => {}
    };
    let table = [
        ("altered", 12),
        ("truncated", 12),
        ("swapped", 12),
        ("mixed", 9),
        ("older", 10),
        ("expired", 11),
        ("oversized", 9),
        ("path-escaping", 12),
        ("bomb-like", 12),
    ];
    let root = vendor.root();
    for (word, code) in table {
        let bundle = vendor.dir.join("hostile").join(word);
        copy(if word == "expired" { &expired } else { &sound }, &bundle);
        spoil(word, &bundle);
        let bundle = bundle.display().to_string();
        if word == "older" {
            remember(&vendor, &newer, &product.root);
        }
        let before = listed(&product.root);
        let mut verify = vec!["bundle", "verify", &bundle, "--trust-root", &root, "--json"];
        if word == "expired" {
            // In a folder it is a warning, by the policy for machines without network.
            product.run(&verify).expect(0);
            verify.push("--online");
        }
        let refused = product.run(&verify).expect(code).json();
        assert!(refused["remedy"].is_string(), "{word}: {refused}");
        if word != "expired" {
            let mut install = story::install_args(free_port_base());
            install.extend(["--bundle", &bundle, "--trust-root", &root].map(str::to_owned));
            product.run(&install.iter().map(String::as_str).collect::<Vec<_>>()).expect(code);
        }
        assert_eq!(listed(&product.root), before, "{word}: something was touched");
        let _ = fs::remove_dir_all(&product.root);
    }
    product.run(&["bundle", "verify", &sound.display().to_string(), "--trust-root", &root]).expect(0);
}

/// What an installation of this bundle leaves behind, so that nothing older is taken.
fn remember(vendor: &Vendor, bundle: &Path, root: &Path) {
    let options = VerifyOptions {
        roots: vec![fs::read(vendor.root()).unwrap()],
        seen: None,
        installed: None,
        expiry: Expiry::Warn,
        now: time(),
        earlier: Vec::new(),
        held: std::collections::BTreeSet::new(),
        threads: 1,
    };
    let proven = wait(release::verify(bundle, &options, &|_| ())).unwrap();
    wait(proven.remember(&Layout::rooted(root).release_seen())).unwrap();
}
