mod fetch;
mod hostile;
mod image;
mod pulled;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use base::{Digest, Exit, Explain, Seed, Timestamp};

use super::*;

const NOW: &str = "2026-11-22T10:00:00Z";

/// A vendor with keys, a trust folder and a signed bundle.
struct Vendor {
    dir: tempfile::TempDir,
    root_keys: Vec<Seed>,
    release_keys: Vec<Seed>,
}

impl Vendor {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let seeds = |count: usize| (0..count).map(|_| Seed::generate().unwrap()).collect();
        let vendor = Self { dir, root_keys: seeds(3), release_keys: seeds(1) };
        let keys = RootKeys { root: &vendor.root_keys, threshold: 2, release: &vendor.release_keys };
        init(&vendor.trust(), keys, Lifetimes::default(), now()).await.unwrap();
        vendor
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn trust(&self) -> PathBuf {
        self.path("trust")
    }

    fn root(&self, version: u64) -> Vec<u8> {
        fs::read(self.trust().join(format!("metadata/{version}.root.json"))).unwrap()
    }

    fn build(&self, name: &str, version: &str, program: &[u8]) -> PathBuf {
        let binary = self.path("program");
        fs::write(&binary, [elf().as_slice(), program].concat()).unwrap();
        let out = self.path(name);
        build(&binary, version, &out).unwrap();
        out
    }

    async fn sign(&self, bundle: &Path) {
        sign(&self.trust(), bundle, &self.release_keys, Lifetimes::default(), now()).await.unwrap();
    }

    async fn signed(&self, name: &str, version: &str, program: &[u8]) -> PathBuf {
        let bundle = self.build(name, version, program);
        self.sign(&bundle).await;
        bundle
    }

    fn options(&self) -> VerifyOptions {
        VerifyOptions {
            roots: vec![self.root(1)],
            seen: None,
            installed: None,
            expiry: Expiry::Refuse,
            now: now(),
            earlier: Vec::new(),
            held: BTreeSet::new(),
            threads: 2,
        }
    }
}

fn now() -> Timestamp {
    Timestamp::parse(NOW).unwrap()
}

/// The head of a static program: ELF-64, x86-64, one loadable segment.
fn elf() -> Vec<u8> {
    let mut head = vec![0; 120];
    head[..6].copy_from_slice(b"\x7fELF\x02\x01");
    for (at, value) in [(0x12, 62), (0x20, 64), (0x36, 56), (0x38, 1), (64, 1)] {
        head[at] = value;
    }
    head
}

fn build(binary: &Path, version: &str, out: &Path) -> Result<Built, ReleaseError> {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bundles/platform.yaml");
    let build = Build {
        spec: Spec::read(&spec).unwrap(),
        version: version.parse().unwrap(),
        binary: binary.to_owned(),
        models: Vec::new(),
        schemas: BTreeMap::from([("plan".to_owned(), 1)]),
        out: out.to_owned(),
    };
    build.run(&|_| ())
}

async fn check(bundle: &Path, options: &VerifyOptions) -> Result<Vec<Check>, ReleaseError> {
    let checks = Mutex::new(Vec::new());
    verify(bundle, options, &|check| checks.lock().unwrap().push(check)).await?;
    Ok(checks.into_inner().unwrap())
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(found.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap())),
            }
        }
    }
    found
}

#[tokio::test]
async fn a_signed_bundle_is_proven_check_by_check() {
    let vendor = Vendor::new().await;
    let bundle = vendor.signed("bundle", "1.2.3", b"program").await;
    let checks = check(&bundle, &vendor.options()).await.unwrap();
    for id in ["root", "timestamp", "snapshot", "targets", "expiry", "release", "blob", "image"] {
        assert!(checks.iter().any(|check| check.id == id && check.verdict == Verdict::Ok), "{id}: {checks:?}");
    }
    let proven = verify(&bundle, &vendor.options(), &|_| ()).await.unwrap();
    assert_eq!(proven.release().version.to_string(), "1.2.3");
    let image = &proven.release().images[0];
    assert!(proven.blob_path(&image.manifest).unwrap().is_file());
    assert!(proven.blob_path(&Digest::of(b"none")).is_none());
}

#[tokio::test]
async fn two_builds_are_the_same_bytes() {
    let vendor = Vendor::new().await;
    let [one, two] = ["one", "two"].map(|name| files(&vendor.build(name, "1.0.0", b"program")));
    assert_eq!(one, two);
    // Building again into the same folder leaves nothing of what was there.
    let again = files(&vendor.build("one", "1.0.1", b"other"));
    assert_eq!(again.len(), one.len());
    assert_ne!(again, one);
}

#[test]
fn a_program_that_would_not_start_in_the_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("program");
    let mut dynamic = elf();
    dynamic[64] = 3;
    for bytes in [b"#!/bin/sh\n".to_vec(), dynamic, elf()[..40].to_vec()] {
        fs::write(&binary, bytes).unwrap();
        let refused = build(&binary, "1.0.0", &dir.path().join("out")).unwrap_err();
        assert!(matches!(refused, ReleaseError::Source { .. }), "{refused}");
    }
    let foreign = dir.path().join("foreign");
    fs::create_dir_all(foreign.join("photos")).unwrap();
    fs::write(&binary, elf()).unwrap();
    assert!(matches!(build(&binary, "1.0.0", &foreign), Err(ReleaseError::Exists { .. })));
}

/// The layers as tar lists them.
#[test]
fn the_image_holds_the_program_and_what_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("program");
    fs::write(&binary, elf()).unwrap();
    let out = dir.path().join("out");
    let built = build(&binary, "1.0.0", &out).unwrap();
    let mut found = BTreeMap::new();
    for blob in built.release.blobs.iter().filter(|blob| matches!(blob.kind, BlobKind::Layer { .. })) {
        let file = fs::File::open(out.join("blobs/sha256").join(blob.digest.hex())).unwrap();
        let mut archive = tar::Archive::new(zstd::Decoder::new(file).unwrap());
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(header.mtime().unwrap(), 0);
            found.insert(entry.path().unwrap().display().to_string(), (header.mode().unwrap(), header.uid().unwrap()));
        }
    }
    assert_eq!(found["bin/0711"], (0o755, 0));
    assert_eq!(found["var/lib/0711/"], (0o750, 7110));
    for name in ["etc/passwd", "etc/ssl/certs/ca-certificates.crt", "usr/share/zoneinfo/Europe/Berlin"] {
        assert_eq!(found[name], (0o644, 0));
    }
}

fn blob_path(bundle: &Path, digest: &Digest) -> PathBuf {
    bundle.join("blobs/sha256").join(digest.hex())
}

fn layer(release: &Release) -> Digest {
    release.blobs.iter().find(|blob| matches!(blob.kind, BlobKind::Layer { .. })).unwrap().digest
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        fs::create_dir_all(to.join(&path).parent().unwrap()).unwrap();
        fs::write(to.join(path), bytes).unwrap();
    }
}

/// Every byte of a bundle is either proven or never used. `scripts/soak.sh` changes ten thousand.
#[tokio::test]
async fn a_changed_byte_is_refused_or_harmless() {
    let changes = if std::env::var_os("ZERO711_SOAK").is_some() { 10_000 } else { 150 };
    let vendor = Vendor::new().await;
    let bundle = vendor.signed("bundle", "1.0.0", b"program").await;
    let all = files(&bundle);
    // Small files are as likely to be hit as large ones: metadata is where a change could matter.
    let names: Vec<&PathBuf> = all.keys().collect();
    let mut state = 711_u64;
    let mut next = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let expected = seen_and_installed(&bundle, &vendor.options()).await.unwrap();
    let (mut refused, mut harmless) = (BTreeMap::new(), BTreeMap::new());
    let started = std::time::Instant::now();
    for _ in 0..changes {
        let name = names[next(names.len())];
        let at = next(all[name].len());
        let mut bytes = all[name].clone();
        bytes[at] ^= 1 << next(8);
        fs::write(bundle.join(name), &bytes).unwrap();
        match seen_and_installed(&bundle, &vendor.options()).await {
            Err(error) => *refused.entry(error.exit().code()).or_insert(0) += 1,
            Ok(found) => {
                assert!(found == expected, "byte {at} of {} changed what is installed", name.display());
                assert!(!name.starts_with("blobs"), "a changed blob passed");
                *harmless.entry(name).or_insert(0) += 1;
            }
        }
        fs::write(bundle.join(name), &all[name]).unwrap();
    }
    println!("{changes} changes in {:?}: refused by exit code {refused:?}, harmless {harmless:?}", started.elapsed());
    assert_eq!(refused.values().sum::<usize>() + harmless.values().sum::<usize>(), changes);
    assert!(refused.values().sum::<usize>() > changes / 2);
}

/// What a proven bundle comes to: the release, what each check saw, and every byte that would be installed.
type Installed = (Release, Vec<String>, Vec<ImageContent>, BTreeMap<Digest, Vec<u8>>);

async fn seen_and_installed(bundle: &Path, options: &VerifyOptions) -> Result<Installed, ReleaseError> {
    let checks = Mutex::new(Vec::new());
    let proven = verify(bundle, options, &|check| checks.lock().unwrap().push(format!("{check:?}"))).await?;
    let mut checks = checks.into_inner().unwrap();
    checks.sort();
    let release = proven.release().clone();
    let images = release.images.iter().map(|image| proven.image(image)).collect::<Result<_, _>>()?;
    let bytes = |blob: &Blob| (blob.digest, fs::read(proven.blob_path(&blob.digest).unwrap()).unwrap());
    let blobs = release.blobs.iter().map(bytes).collect();
    Ok((release, checks, images, blobs))
}

#[tokio::test]
async fn nothing_older_is_taken_after_something_newer() {
    let vendor = Vendor::new().await;
    let (old, new) = (vendor.signed("old", "1.0.0", b"a").await, vendor.signed("new", "1.1.0", b"b").await);
    let seen = vendor.path("seen");
    let options = VerifyOptions { seen: Some(seen.clone()), ..vendor.options() };
    check(&old, &options).await.unwrap();
    // Looking alone remembers nothing.
    verify(&new, &options, &|_| ()).await.unwrap();
    check(&old, &options).await.unwrap();
    verify(&new, &options, &|_| ()).await.unwrap().remember(&seen).await.unwrap();
    assert_eq!(check(&old, &options).await.unwrap_err().exit(), Exit::Older);
    check(&new, &options).await.unwrap();
    // An older release under newer metadata is a rollback too.
    let back = vendor.signed("back", "1.0.9", b"c").await;
    let options = VerifyOptions { installed: Some("1.1.0".parse().unwrap()), ..vendor.options() };
    let refused = check(&back, &options).await.unwrap_err();
    assert!(matches!(refused, ReleaseError::Rollback { .. }) && refused.exit() == Exit::Older);
}

#[tokio::test]
async fn expired_metadata_is_refused_online_and_a_warning_offline() {
    let vendor = Vendor::new().await;
    let bundle = vendor.signed("bundle", "1.0.0", b"a").await;
    let later = VerifyOptions { now: now().plus_days(400), ..vendor.options() };
    assert_eq!(check(&bundle, &later).await.unwrap_err().exit(), Exit::Expired);
    let offline = VerifyOptions { expiry: Expiry::Warn, ..later };
    let checks = check(&bundle, &offline).await.unwrap();
    assert!(checks.iter().any(|check| check.id == "expiry" && check.verdict == Verdict::Warning));
}

#[tokio::test]
async fn only_a_trusted_root_counts_and_roots_can_be_rotated() {
    let (vendor, stranger) = (Vendor::new().await, Vendor::new().await);
    let bundle = vendor.signed("bundle", "1.0.0", b"a").await;
    let foreign = VerifyOptions { roots: vec![stranger.root(1)], ..vendor.options() };
    assert_eq!(check(&bundle, &foreign).await.unwrap_err().exit(), Exit::Untrusted);
    let none = VerifyOptions { roots: Vec::new(), ..vendor.options() };
    assert!(matches!(check(&bundle, &none).await, Err(ReleaseError::NoRoot)));
    let both = VerifyOptions { roots: vec![stranger.root(1), vendor.root(1)], ..vendor.options() };
    check(&bundle, &both).await.unwrap();

    let next: Vec<Seed> = (0..2).map(|_| Seed::generate().unwrap()).collect();
    let life = Lifetimes::default();
    let keys = RootKeys { root: &next, threshold: 2, release: &next };
    let too_few = rotate(&vendor.trust(), &vendor.root_keys[..1], keys, life, now()).await;
    assert!(matches!(too_few, Err(ReleaseError::Sign { .. })));
    rotate(&vendor.trust(), &vendor.root_keys[..2], keys, life, now()).await.unwrap();
    // The retired release key signs nothing any more, the new one does, and the first root still leads there.
    let rotated = vendor.build("rotated", "1.1.0", b"b");
    assert!(sign(&vendor.trust(), &rotated, &vendor.release_keys, life, now()).await.is_err());
    sign(&vendor.trust(), &rotated, &next, life, now()).await.unwrap();
    check(&rotated, &vendor.options()).await.unwrap();
    assert!(matches!(init(&vendor.trust(), keys, life, now()).await, Err(ReleaseError::Exists { .. })));
}

#[tokio::test]
async fn a_delta_needs_the_release_it_was_made_for() {
    let vendor = Vendor::new().await;
    let (old, new) = (vendor.signed("old", "1.0.0", b"a").await, vendor.signed("new", "1.1.0", b"b").await);
    let (whole, delta) = (vendor.path("whole"), vendor.path("delta"));
    let published = publish(&new, &whole, None).unwrap();
    assert_eq!((published.left_out, published.present), (0, 0));
    check(&whole, &vendor.options()).await.unwrap();
    assert_eq!(publish(&new, &whole, None).unwrap().copied, 0);

    let published = publish(&new, &delta, Some(&old)).unwrap();
    assert!(published.left_out > 0 && published.copied > 0, "{published:?}");
    assert!(matches!(check(&delta, &vendor.options()).await, Err(ReleaseError::Missing { .. })));
    check(&delta, &VerifyOptions { earlier: vec![old], ..vendor.options() }).await.unwrap();
    assert!(matches!(publish(&vendor.build("raw", "1.2.0", b"c"), &whole, None), Err(ReleaseError::Read { .. })));
}

#[tokio::test]
async fn a_bundle_survives_being_cut_and_put_together() {
    let vendor = Vendor::new().await;
    let noise: Vec<u8> = (0..100_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let bundle = vendor.signed("bundle", "1.0.0", &noise).await;
    let (cut, other, whole) = (vendor.path("cut"), vendor.path("other"), vendor.path("whole"));
    let parts = split(&bundle, &cut, LEAST_PART_BYTES).unwrap();
    assert!(parts.parts.len() > 3 && parts.parts.iter().all(|part| part.size_bytes <= LEAST_PART_BYTES));
    assert!(matches!(split(&bundle, &cut, LEAST_PART_BYTES), Err(ReleaseError::Exists { .. })));
    // One part on another stick.
    fs::create_dir(&other).unwrap();
    fs::rename(cut.join("bundle.0001"), other.join("bundle.0001")).unwrap();
    let refused = join(std::slice::from_ref(&cut), &whole).unwrap_err();
    assert!(
        matches!(&refused, ReleaseError::Part { part, .. } if part == "bundle.0001") && !whole.exists(),
        "{refused}"
    );
    join(&[cut.clone(), other.clone()], &whole).unwrap();
    assert_eq!(files(&whole), files(&bundle));
    check(&whole, &vendor.options()).await.unwrap();
    let mut bytes = fs::read(other.join("bundle.0001")).unwrap();
    bytes[100] ^= 1;
    fs::write(other.join("bundle.0001"), bytes).unwrap();
    let refused = join(&[cut, other], &vendor.path("again")).unwrap_err();
    assert_eq!(refused.exit(), Exit::Damaged);
}

/// An archive whose list is right and whose paths are not.
#[test]
fn parts_that_lead_out_of_the_bundle_are_refused() {
    use tar::EntryType::{Regular, Symlink};
    for (path, kind) in [("../escaped", Regular), ("/escaped", Regular), ("link", Symlink)] {
        let dir = tempfile::tempdir().unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(0);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        let bytes = [header.as_bytes().as_slice(), &[0; 1024]].concat();
        let parts = dir.path().join("parts");
        fs::create_dir(&parts).unwrap();
        let part = Part { size_bytes: bytes.len() as u64, digest: Digest::of(&bytes) };
        fs::write(parts.join("bundle.0000"), bytes).unwrap();
        fs::write(parts.join("parts.json"), serde_json::to_vec(&Parts { format: 1, parts: vec![part] }).unwrap())
            .unwrap();
        let refused = join(&[parts], &dir.path().join("out/bundle")).unwrap_err();
        assert!(matches!(refused, ReleaseError::Part { .. }), "{path}: {refused}");
        assert_eq!(refused.exit(), Exit::Damaged);
        assert!(!dir.path().join("out/escaped").exists() && !Path::new("/escaped").exists());
    }
}

#[tokio::test]
async fn a_damaged_bundle_is_mended_with_just_what_it_lacks() {
    let vendor = Vendor::new().await;
    let whole = vendor.signed("whole", "1.0.0", b"program").await;
    let damaged = vendor.path("damaged");
    copy(&whole, &damaged);
    let release = Release::parse(&fs::read(whole.join("release.json")).unwrap()).unwrap();
    let mut spoilt = vec![release.images[0].sbom, layer(&release)];
    fs::remove_file(blob_path(&damaged, &spoilt[0])).unwrap();
    fs::write(blob_path(&damaged, &spoilt[1]), b"other").unwrap();
    spoilt.sort();
    let wanted = needs(&damaged, &vendor.options()).await.unwrap();
    assert_eq!(wanted.blobs, spoilt);
    let list = vendor.path("needs.json");
    let bytes = wanted.to_bytes().unwrap();
    assert!(bytes.len() < 1024);
    fs::write(&list, bytes).unwrap();

    let mend = vendor.path("mend");
    make(&whole, &Needs::read(&list).unwrap(), &mend).unwrap();
    assert_eq!(files(&mend).len(), 2);
    assert_eq!(apply(&mend, &damaged).unwrap(), 2);
    check(&damaged, &vendor.options()).await.unwrap();
    assert!(needs(&damaged, &vendor.options()).await.unwrap().blobs.is_empty());
    // A mend that is not what it is called changes nothing.
    fs::write(blob_path(&mend, &spoilt[0]), b"other").unwrap();
    assert!(matches!(apply(&mend, &damaged), Err(ReleaseError::Source { .. })));
    check(&damaged, &vendor.options()).await.unwrap();
}
