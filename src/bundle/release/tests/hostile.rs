//! Bundles made to harm: what each is refused with.

use std::os::unix::fs::symlink;

use base::Exit::{Damaged, Expired, Older, Untrusted};

use super::*;

/// What a bundle can be made into. Every word of the promise has its rows: `WORDS` below.
struct Case {
    word: &'static str,
    defect: &'static str,
    exit: Exit,
    /// A part of the message.
    says: &'static str,
    act: Act,
}

enum Act {
    /// Somebody on the way changes the bundle's files.
    Spoil(fn(&Spoilt<'_>)),
    /// Somebody who has the release key signs what the vendor's program would not.
    Forge(Forge),
    /// The bundle is as the vendor made it, and this machine knows better.
    Judge(Judge),
}

type Forge = fn(&Path, Release) -> Vec<u8>;
type Judge = fn(&Spoilt<'_>, VerifyOptions) -> VerifyOptions;

struct Spoilt<'a> {
    vendor: &'a Vendor,
    bundle: PathBuf,
    release: Release,
    /// A newer one of the same vendor.
    newer: PathBuf,
}

impl Spoilt<'_> {
    fn layer(&self) -> PathBuf {
        blob_path(&self.bundle, &layer(&self.release))
    }

    fn metadata(&self, name: &str) -> PathBuf {
        self.bundle.join("metadata").join(name)
    }

    /// The file of `release.json` that is signed.
    fn target(&self) -> PathBuf {
        fs::read_dir(self.bundle.join("targets")).unwrap().next().unwrap().unwrap().path()
    }
}

fn change(path: &Path, how: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, how(bytes)).unwrap();
}

fn flip(path: &Path) {
    change(path, |mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    });
}

fn halve(path: &Path) {
    change(path, |bytes| bytes[..bytes.len() / 2].to_vec());
}

fn swap(one: &Path, two: &Path) {
    let bytes = fs::read(one).unwrap();
    fs::rename(two, one).unwrap();
    fs::write(two, bytes).unwrap();
}

fn link_away(path: &Path, bundle: &Path) {
    let elsewhere = bundle.parent().unwrap().join("elsewhere");
    fs::rename(path, &elsewhere).unwrap();
    symlink(elsewhere, path).unwrap();
}

fn pipe(path: &Path) {
    fs::remove_file(path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A release with one more layer, whose file is `bytes`.
fn with_layer(bundle: &Path, mut release: Release, bytes: &[u8], of: BlobKind) -> Vec<u8> {
    let digest = Digest::of(bytes);
    fs::write(blob_path(bundle, &digest), bytes).unwrap();
    release.blobs.push(Blob { digest, size_bytes: bytes.len() as u64, kind: of });
    release.blobs.sort_by_key(|blob| blob.digest);
    release.to_bytes().unwrap()
}

const WORDS: [&str; 9] =
    ["altered", "truncated", "swapped", "mixed", "older", "expired", "oversized", "path-escaping", "bomb-like"];

fn damaged(word: &'static str, defect: &'static str, says: &'static str, spoil: fn(&Spoilt<'_>)) -> Case {
    Case { word, defect, exit: Damaged, says, act: Act::Spoil(spoil) }
}

fn untrusted(word: &'static str, defect: &'static str, spoil: fn(&Spoilt<'_>)) -> Case {
    Case { word, defect, exit: Untrusted, says: "metadata was refused", act: Act::Spoil(spoil) }
}

fn forged(word: &'static str, defect: &'static str, exit: Exit, says: &'static str, forge: Forge) -> Case {
    Case { word, defect, exit, says, act: Act::Forge(forge) }
}

fn judged(word: &'static str, defect: &'static str, exit: Exit, says: &'static str, judge: Judge) -> Case {
    Case { word, defect, exit, says, act: Act::Judge(judge) }
}

fn cases() -> Vec<Case> {
    vec![
        damaged("altered", "one bit of a layer", "its digest is", |to| flip(&to.layer())),
        damaged("altered", "one bit of a manifest", "its digest is", |to| {
            flip(&blob_path(&to.bundle, &to.release.images[0].manifest))
        }),
        untrusted("altered", "the release", |to| {
            change(&to.target(), |bytes| String::from_utf8(bytes).unwrap().replace("stable", "nightly").into_bytes());
        }),
        untrusted("altered", "the targets", |to| {
            change(&to.metadata("1.targets.json"), |bytes| {
                String::from_utf8(bytes).unwrap().replace("\"length\":", "\"length\":1").into_bytes()
            });
        }),
        untrusted("altered", "the snapshot has no signature", |to| {
            change(&to.metadata("1.snapshot.json"), |bytes| {
                let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                value["signatures"] = serde_json::json!([]);
                value.to_string().into_bytes()
            });
        }),
        damaged("truncated", "a layer", "bytes, not", |to| halve(&to.layer())),
        damaged("truncated", "a blob is missing", "is missing", |to| {
            fs::remove_file(blob_path(&to.bundle, &to.release.images[0].manifest)).unwrap()
        }),
        untrusted("truncated", "the timestamp", |to| halve(&to.metadata("timestamp.json"))),
        untrusted("truncated", "the release", |to| halve(&to.target())),
        untrusted("truncated", "the release is missing", |to| fs::remove_dir_all(to.bundle.join("targets")).unwrap()),
        untrusted("truncated", "the metadata is missing", |to| fs::remove_dir_all(to.bundle.join("metadata")).unwrap()),
        damaged("swapped", "two blobs", "was refused", |to| {
            let image = &to.release.images[0];
            swap(&blob_path(&to.bundle, &image.manifest), &blob_path(&to.bundle, &image.sbom));
        }),
        untrusted("swapped", "snapshot and targets", |to| {
            swap(&to.metadata("1.snapshot.json"), &to.metadata("1.targets.json"))
        }),
        damaged("swapped", "a blob with a pipe", "was refused", |to| pipe(&to.layer())),
        untrusted("swapped", "the timestamp with a pipe", |to| pipe(&to.metadata("timestamp.json"))),
        untrusted("mixed", "the snapshot of another release of the same vendor", |to| {
            fs::copy(to.newer.join("metadata/2.snapshot.json"), to.metadata("1.snapshot.json")).unwrap();
        }),
        untrusted("mixed", "the targets of another release of the same vendor", |to| {
            fs::copy(to.newer.join("metadata/2.targets.json"), to.metadata("1.targets.json")).unwrap();
        }),
        untrusted("mixed", "the release of another bundle of the same vendor", |to| {
            let other = fs::read_dir(to.newer.join("targets")).unwrap().next().unwrap().unwrap().path();
            fs::copy(other, to.target()).unwrap();
        }),
        damaged("mixed", "the metadata of another release, and not its blobs", "is missing", |to| {
            for part in ["metadata", "targets"] {
                fs::remove_dir_all(to.bundle.join(part)).unwrap();
                copy(&to.newer.join(part), &to.bundle.join(part));
            }
        }),
        forged(
            "mixed",
            "an image of one release under the name of another",
            Damaged,
            "its layers are not those",
            |bundle, mut release| {
                // A manifest that is well made, of layers that are there, and not those its configuration was made for.
                let image = &mut release.images[0];
                let path = blob_path(bundle, &image.manifest);
                let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                manifest["layers"].as_array_mut().unwrap().reverse();
                let bytes = manifest.to_string().into_bytes();
                image.manifest = Digest::of(&bytes);
                fs::write(blob_path(bundle, &image.manifest), &bytes).unwrap();
                release.blobs.push(Blob {
                    digest: image.manifest,
                    size_bytes: bytes.len() as u64,
                    kind: BlobKind::Manifest,
                });
                release.blobs.sort_by_key(|blob| blob.digest);
                release.to_bytes().unwrap()
            },
        ),
        judged("mixed", "the root of somebody else", Untrusted, "metadata was refused", |to, options| {
            // The same names and versions, other keys.
            let stranger = fs::read(to.vendor.path("stranger/metadata/1.root.json")).unwrap();
            VerifyOptions { roots: vec![stranger], ..options }
        }),
        judged("older", "than what was seen", Older, "older than what this machine has seen", |to, options| {
            VerifyOptions { seen: Some(to.vendor.path("seen-newer")), ..options }
        }),
        judged("older", "than what is installed", Older, "is older than the installed 1.1.0", |_, options| {
            VerifyOptions { installed: Some("1.1.0".parse().unwrap()), ..options }
        }),
        judged("expired", "on a machine that could fetch newer metadata", Expired, "expired on", |_, options| {
            VerifyOptions { now: now().plus_days(400), ..options }
        }),
        damaged("oversized", "a layer has a byte more", "bytes, not", |to| {
            change(&to.layer(), |bytes| [bytes, vec![0]].concat())
        }),
        damaged("oversized", "a layer is endless", "bytes, not", |to| {
            fs::File::create(to.layer()).unwrap().set_len(1 << 40).unwrap()
        }),
        untrusted("oversized", "the timestamp is endless", |to| {
            fs::File::create(to.metadata("timestamp.json")).unwrap().set_len(1 << 34).unwrap()
        }),
        untrusted("oversized", "the release is endless", |to| {
            fs::File::create(to.target()).unwrap().set_len(1 << 34).unwrap()
        }),
        forged("oversized", "a signed release of more bytes than any has", Untrusted, "more than", |_, release| {
            [release.to_bytes().unwrap(), vec![b' '; 9 << 20]].concat()
        }),
        damaged("path-escaping", "a layer is a link", "symbolic link", |to| link_away(&to.layer(), &to.bundle)),
        untrusted("path-escaping", "the targets are a link", |to| {
            link_away(&to.metadata("1.targets.json"), &to.bundle)
        }),
        untrusted("path-escaping", "the release is a link", |to| link_away(&to.target(), &to.bundle)),
        forged("path-escaping", "the digest of a blob is a path", Untrusted, "is not a sha256 digest", |_, release| {
            let text = String::from_utf8(release.to_bytes().unwrap()).unwrap();
            text.replace(&release.images[0].sbom.to_string(), "../../../../etc/passwd").into_bytes()
        }),
        forged(
            "path-escaping",
            "the name of an image is a path",
            Untrusted,
            "is no name of an image",
            |_, mut release| {
                release.images[0].name = "../../0711/platform".to_owned();
                release.to_bytes().unwrap()
            },
        ),
        forged(
            "bomb-like",
            "a layer unpacks to more than it declares",
            Damaged,
            "unpacks to more",
            |bundle, release| {
                let bytes = zstd::encode_all([0; 1 << 20].as_slice(), 19).unwrap();
                with_layer(
                    bundle,
                    release,
                    &bytes,
                    BlobKind::Layer { diff_id: Digest::of(&[0; 1000]), unpacked_bytes: 1000 },
                )
            },
        ),
        forged("bomb-like", "a layer wants a gigabyte of memory", Damaged, "cannot be unpacked", |bundle, release| {
            // A frame (RFC 8878) of one raw block of eight bytes, and a window of 2^30.
            let bytes = [b"\x28\xb5\x2f\xfd\x00\xa0\x41\x00\x00".as_slice(), b"a little"].concat();
            let kind = BlobKind::Layer { diff_id: Digest::of(b"a little"), unpacked_bytes: 8 };
            with_layer(bundle, release, &bytes, kind)
        }),
        untrusted("bomb-like", "the timestamp is nested without end", |to| {
            fs::write(to.metadata("timestamp.json"), format!("{{\"signed\":{}", "[".repeat(1 << 20))).unwrap();
        }),
    ]
}

#[tokio::test]
async fn hostile_bundles_are_refused_each_with_its_code() {
    let vendor = Vendor::new().await;
    let sound = vendor.signed("sound", "1.0.0", b"program").await;
    let newer = vendor.signed("newer", "1.1.0", b"another program").await;
    let release = verify(&sound, &vendor.options(), &|_| ()).await.unwrap().release().clone();
    verify(&newer, &vendor.options(), &|_| ()).await.unwrap().remember(&vendor.path("seen-newer")).await.unwrap();
    let strangers: Vec<Seed> = (0..2).map(|_| Seed::generate().unwrap()).collect();
    let keys = RootKeys { root: &strangers, threshold: 1, release: &strangers };
    init(&vendor.path("stranger"), keys, Lifetimes::default(), now()).await.unwrap();
    let cases = cases();
    for word in WORDS {
        assert!(cases.iter().any(|case| case.word == word), "no bundle is {word}");
    }
    for (index, Case { word, defect, exit, says, act }) in cases.into_iter().enumerate() {
        let bundle = vendor.path(&format!("hostile-{index}")).join("bundle");
        copy(&sound, &bundle);
        let to = Spoilt { vendor: &vendor, bundle, release: release.clone(), newer: newer.clone() };
        let mut options = vendor.options();
        match act {
            Act::Spoil(spoil) => spoil(&to),
            Act::Judge(judge) => options = judge(&to, options),
            Act::Forge(forge) => {
                for part in ["metadata", "targets"] {
                    fs::remove_dir_all(to.bundle.join(part)).unwrap();
                }
                let bytes = forge(&to.bundle, release.clone());
                let (trust, keys) = (vendor.trust(), &vendor.release_keys);
                sign::sign_bytes(&trust, &to.bundle, &bytes, keys, Lifetimes::default(), now()).await.unwrap();
            }
        }
        let refused = check(&to.bundle, &options).await.expect_err(defect);
        assert_eq!(refused.exit(), exit, "{word}, {defect}: {refused}");
        assert!(refused.to_string().contains(says), "{word}, {defect}: {refused}");
        assert!(refused.remedy().is_some());
    }
    // The bundle that was copied all along is sound.
    check(&sound, &vendor.options()).await.unwrap();
}
