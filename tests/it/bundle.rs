//! A release from the vendor's keys to the customer's check, through the binary.

use std::{fs, path::Path};

use crate::product::{Product, Run, run};

fn ok(dir: &Path, args: &[&str]) -> Run {
    bundle(dir, args).expect(0)
}

fn bundle(dir: &Path, args: &[&str]) -> Run {
    let paths = args.iter().map(|arg| match arg.strip_prefix('@') {
        Some(name) => dir.join(name).display().to_string(),
        None => (*arg).to_owned(),
    });
    run(paths.chain(["--root".to_owned(), dir.join("root").display().to_string()]))
}

/// The head of a static program for x86-64: enough to be put into an image that nobody starts.
pub fn program() -> Vec<u8> {
    let mut head = vec![0; 120];
    head[..6].copy_from_slice(b"\x7fELF\x02\x01");
    for (at, value) in [(0x12, 62), (0x20, 64), (0x36, 56), (0x38, 1), (64, 1)] {
        head[at] = value;
    }
    head
}

#[test]
fn a_release_is_built_signed_published_and_proven() {
    let product = Product::new();
    let dir = product.folder("vendor");
    fs::write(dir.join("program"), program()).unwrap();
    let spec =
        "format: 1\nchannel: stable\nminimum_agent: 0.1.0\nimages: [{name: 0711/platform, from: binary}]\nmodels: []\n";
    fs::write(dir.join("spec.yaml"), spec).unwrap();
    for key in ["@a.key", "@b.key", "@release.key"] {
        ok(&dir, &["release", "keygen", "--out", key]);
    }
    let keys = ["--root-key", "@a.key", "--root-key", "@b.key", "--threshold", "2", "--release-key", "@release.key"];
    ok(&dir, &[&["release", "init", "--trust", "@trust"][..], &keys].concat());
    for out in ["@one", "@two"] {
        ok(&dir, &["bundle", "build", "--spec", "@spec.yaml", "--binary", "@program", "--out", out]);
    }
    assert_eq!(fs::read(dir.join("one/release.json")).unwrap(), fs::read(dir.join("two/release.json")).unwrap());
    ok(&dir, &["release", "sign", "@one", "--trust", "@trust", "--key", "@release.key"]);
    ok(&dir, &["release", "publish", "@one", "--to", "@channel"]);

    let verify = ["bundle", "verify", "@channel"];
    let trusted = [&verify[..], &["--trust-root", "@trust/metadata/1.root.json", "--json"]].concat();
    let proven = ok(&dir, &trusted).json();
    assert_eq!(proven["release"]["images"][0]["name"], "0711/platform");
    assert!(proven["checks"].as_array().unwrap().iter().all(|check| check["verdict"] == "ok"), "{proven}");
    // Without a root nothing is trusted; with one in trust.d it is, unless others may write there.
    bundle(&dir, &verify).expect(9);
    let trust = dir.join("root/etc/trust.d");
    fs::create_dir_all(&trust).unwrap();
    fs::copy(dir.join("trust/metadata/1.root.json"), trust.join("vendor.json")).unwrap();
    ok(&dir, &verify);
    fs::set_permissions(trust.join("vendor.json"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    bundle(&dir, &verify).expect(9);

    let root = ["--trust-root", "@trust/metadata/1.root.json"];
    let fetch = [&["bundle", "fetch", "@channel", "--out", "@fetched", "--json"][..], &root].concat();
    let fetched = ok(&dir, &fetch).json();
    assert_eq!(fetched["fetched_blobs"], fetched["facts"]["missing_blobs"], "{fetched}");
    ok(&dir, &[&["bundle", "verify", "@fetched"][..], &root].concat());
    assert_eq!(ok(&dir, &fetch).json()["fetched_blobs"], 0);
    // A password in an argument could be read by everybody here.
    bundle(&dir, &[&fetch[..], &["--proxy", "http://name:word@proxy:1"]].concat()).expect(2);

    let blob = fs::read_dir(dir.join("channel/blobs/sha256")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&blob).unwrap();
    bytes[0] ^= 1;
    fs::write(blob, bytes).unwrap();
    let refused = bundle(&dir, &trusted).expect(12).json();
    assert!(refused["remedy"].as_str().unwrap().contains("0711 bundle repair needs"), "{refused}");
    ok(&dir, &[&["bundle", "repair", "needs", "@channel", "--out", "@needs.json"][..], &root].concat());
    ok(&dir, &["bundle", "repair", "make", "--needs", "@needs.json", "--from", "@one", "--out", "@mend"]);
    ok(&dir, &["bundle", "repair", "apply", "@channel", "--from", "@mend"]);
    ok(&dir, &["bundle", "split", "@channel", "--out", "@parts", "--part-mb", "1"]);
    ok(&dir, &["bundle", "join", "@parts", "--out", "@joined"]);
    ok(&dir, &[&["bundle", "verify", "@joined"][..], &root].concat());
    bundle(&dir, &["release", "publish", "@two", "--to", "@channel"]).expect(1);
}
