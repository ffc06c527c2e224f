//! Fetching from a channel: cut lines, servers that answer wrongly, full disks, and what is here already.

mod reach;

use std::{collections::BTreeSet, process::Command, time::Duration};

use super::*;
use crate::{
    Patience, WebOptions,
    tests::server::{Answer, Asked, Server, files_of},
};

/// Bytes that do not compress: the layer is as large as they are.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 711_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn quick() -> WebOptions {
    let patience = Patience {
        small_file: Duration::from_secs(2),
        window: Duration::from_millis(150),
        least_bytes: 4096,
        attempts: 3,
        first_pause: Duration::from_millis(2),
        ..Patience::default()
    };
    WebOptions { patience, ..WebOptions::default() }
}

impl Vendor {
    /// A signed bundle with a layer of so many bytes.
    async fn offers(&self, version: &str, bytes: usize) -> (PathBuf, Release) {
        let bundle = self.signed(&format!("bundle-{version}"), version, &noise(bytes)).await;
        let release = Release::parse(&fs::read(bundle.join("release.json")).unwrap()).unwrap();
        (bundle, release)
    }

    fn channel(&self, address: &str) -> Channel {
        self.channel_with(address, |_| ())
    }

    fn channel_with(&self, address: &str, change: impl FnOnce(&mut ChannelOptions)) -> Channel {
        let mut options = ChannelOptions {
            roots: vec![self.root(1)],
            seen: self.path("seen"),
            installed: None,
            expiry: None,
            now: now(),
            web: quick(),
        };
        change(&mut options);
        Channel::open(address, options).unwrap()
    }
}

async fn fetch(channel: &Channel, out: &Path) -> Result<Fetched, ReleaseError> {
    fetch_with(channel, out, &Present::default()).await
}

async fn fetch_with(channel: &Channel, out: &Path, present: &Present) -> Result<Fetched, ReleaseError> {
    channel.refresh().await?.fetch(out, present, &Fetching::default(), &|_| (), &|_| ()).await
}

/// The layer of the program: the only large blob.
fn large(release: &Release) -> Digest {
    let layers = release.blobs.iter().filter(|blob| matches!(blob.kind, BlobKind::Layer { .. }));
    layers.max_by_key(|blob| blob.size_bytes).unwrap().digest
}

fn is_blob(asked: &Asked) -> bool {
    asked.path.starts_with("blobs/")
}

fn of_layer(asked: &Asked, release: &Release) -> bool {
    asked.path.ends_with(&large(release).hex())
}

/// The folders have the same metadata, targets and blobs.
fn assert_same(out: &Path, bundle: &Path) {
    let (mut found, mut expected) = (files(out), files(bundle));
    // The vendor signs `release.json` as it is, and its index is for others.
    for map in [&mut found, &mut expected] {
        map.retain(|path, _| path.components().count() > 1);
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(found == expected, "a file differs");
}

#[tokio::test]
async fn what_is_fetched_is_a_bundle_like_any_other() {
    let vendor = Vendor::new().await;
    let (bundle, release) = vendor.offers("1.0.0", 300_000).await;
    let server = Server::folder(&bundle, |_, _| Answer::Well);
    let channel = vendor.channel(&server.address);
    let out = vendor.path("out");
    let offer = channel.refresh().await.unwrap();
    let facts = offer.facts(&Present::default());
    assert_eq!((facts.version.to_string().as_str(), facts.is_newer, facts.is_expired), ("1.0.0", true, false));
    assert_eq!((facts.missing_blobs, facts.missing_bytes), (release.blobs.len() as u64, release.size_bytes()));
    let told = Mutex::new(Vec::new());
    let watch = |progress: Progress| told.lock().unwrap().push(progress);
    let fetched = offer.fetch(&out, &Present::default(), &Fetching::default(), &watch, &|_| ()).await.unwrap();
    assert_eq!((fetched.fetched_blobs, fetched.fetched_bytes), (facts.missing_blobs, facts.missing_bytes));
    let last = *told.lock().unwrap().last().unwrap();
    assert_eq!((last.done_bytes, last.total_bytes), (facts.missing_bytes, facts.missing_bytes));
    assert_same(&out, &bundle);
    // The same checks as on a stick, the vendor's tools included.
    check(&out, &vendor.options()).await.unwrap();
    publish(&out, &vendor.path("stick"), None).unwrap();
    check(&vendor.path("stick"), &vendor.options()).await.unwrap();
    // Once more: nothing but metadata is asked for.
    server.paths();
    assert_eq!(fetch(&channel, &out).await.unwrap().fetched_blobs, 0);
    assert!(server.asked().iter().all(|asked| !is_blob(asked)));
}

#[tokio::test]
async fn a_folder_is_a_channel_too() {
    let vendor = Vendor::new().await;
    let (bundle, _) = vendor.offers("1.0.0", 100_000).await;
    let address = bundle.to_str().unwrap().to_owned();
    for (index, address) in [address.clone(), format!("file://{address}")].iter().enumerate() {
        let out = vendor.path(&format!("out-{index}"));
        fetch(&vendor.channel(address), &out).await.unwrap();
        assert_same(&out, &bundle);
    }
}

#[tokio::test]
async fn network_cut_at_any_byte() {
    let vendor = Vendor::new().await;
    let (bundle, release) = vendor.offers("1.0.0", 400_000).await;
    let cuts = if std::env::var_os("ZERO711_SOAK").is_some() { 200 } else { 8 };
    let mut state = 7_u64;
    for round in 0..cuts {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 33) as usize % 400_000;
        let cut_once = std::sync::atomic::AtomicBool::new(false);
        let wanted = large(&release).hex();
        let server = Server::folder(&bundle, move |_, asked| {
            let is_first = asked.path.ends_with(&wanted) && !cut_once.swap(true, std::sync::atomic::Ordering::SeqCst);
            if is_first { Answer::Cut(at) } else { Answer::Well }
        });
        let out = vendor.path(&format!("cut-{round}"));
        fetch(&vendor.channel(&server.address), &out).await.unwrap();
        assert_same(&out, &bundle);
        let asked: Vec<_> = server.asked().into_iter().filter(|asked| of_layer(asked, &release)).collect();
        assert_eq!(asked.len(), 2, "cut at {at}");
        // It goes on where it stopped; what was in the kernel's hands when the line was cut may be lost.
        let again = asked[1].from.unwrap_or(0);
        assert!(again <= at && at - again <= 64 << 10, "cut at {at}, went on at {again}");
    }
}

/// Each answer is wrong in its own way, and the result is right all the same.
#[tokio::test]
async fn a_server_that_answers_ranges_wrongly() {
    let vendor = Vendor::new().await;
    let (bundle, release) = vendor.offers("1.0.0", 200_000).await;
    let other = vec![7; 250_000];
    for (name, wrong) in [
        ("the whole file to a range", Answer::Whole),
        ("a range that begins elsewhere", Answer::WrongRange),
        ("a range of another file", Answer::Changed(other)),
        ("a range beyond the end", Answer::Status("416 Range Not Satisfiable")),
    ] {
        let wanted = large(&release).hex();
        let count = AtomicCount::default();
        let answers = wrong.clone();
        let server = Server::folder(&bundle, move |_, asked| match asked.path.ends_with(&wanted) {
            true => match count.next() {
                1 => Answer::Cut(100_000),
                2 => answers.clone(),
                _ => Answer::Well,
            },
            false => Answer::Well,
        });
        let out = vendor.path(&name.replace(' ', "-"));
        fetch(&vendor.channel(&server.address), &out).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_same(&out, &bundle);
        let asked: Vec<_> = server.asked().into_iter().filter(|asked| of_layer(asked, &release)).collect();
        assert!(asked[1].from.is_some() && asked[1].if_range.as_deref() == Some("\"one\""), "{name}: {asked:?}");
    }
}

#[derive(Default)]
struct AtomicCount(std::sync::atomic::AtomicUsize);

impl AtomicCount {
    fn next(&self) -> usize {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1
    }
}

#[tokio::test]
async fn blobs_that_are_wrong_endless_or_slow() {
    let vendor = Vendor::new().await;
    let (bundle, release) = vendor.offers("1.0.0", 200_000).await;
    let wanted = large(&release).hex();
    for (index, (name, exit, most_bytes)) in [
        ("wrong", Exit::Damaged, 1 << 20),
        ("endless", Exit::Unavailable, 16 << 20),
        ("slow", Exit::Unavailable, 1 << 20),
    ]
    .into_iter()
    .enumerate()
    {
        let (content, this) = (files_of(&bundle), wanted.clone());
        let is_wrong = move |path: &str| path.ends_with(&this);
        let wrong = is_wrong.clone();
        let server = Server::start(
            move |path| content(path).map(|bytes| if index == 0 && wrong(path) { vec![0; bytes.len()] } else { bytes }),
            move |_, asked| match (index, is_wrong(&asked.path)) {
                (1, true) => Answer::Endless,
                (2, true) => Answer::Drip(10, Duration::from_millis(5)),
                _ => Answer::Well,
            },
        );
        let out = vendor.path(name);
        let begun = std::time::Instant::now();
        let refused = fetch(&vendor.channel(&server.address), &out).await.unwrap_err();
        assert_eq!(refused.exit(), exit, "{name}: {refused}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{name}");
        assert!(server.sent_bytes() < most_bytes, "{name}: {}", server.sent_bytes());
        assert!(!blob_path(&out, &large(&release)).exists(), "{name}");
        assert!(!out.join("metadata").exists(), "{name}: an unfinished folder is no bundle");
        // The channel is well again, and the same command ends it.
        let server = Server::folder(&bundle, |_, _| Answer::Well);
        fetch(&vendor.channel(&server.address), &out).await.unwrap();
        assert_same(&out, &bundle);
    }
}

/// A file system of its own, so that nothing else is filled.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(dir: &Path, bytes: usize) -> Self {
        fs::create_dir(dir).unwrap();
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "small"]).arg(dir).output();
        let done = done.unwrap();
        assert!(
            done.status.success(),
            "this test mounts a file system, as root: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Self(dir.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[tokio::test]
async fn disk_full_at_10_50_and_95_percent() {
    const LAYER: usize = 2_000_000;
    let vendor = Vendor::new().await;
    let (bundle, release) = vendor.offers("1.0.0", LAYER).await;
    for percent in [10, 50, 95] {
        let disk = SmallDisk::new(&vendor.path(&format!("disk-{percent}")), 100 << 20);
        let (out, ballast) = (disk.0.join("out"), disk.0.join("ballast"));
        // Someone else fills the disk when the layer begins: the ledger saw it fit.
        let (fill, wanted, count) = (ballast.clone(), large(&release).hex(), AtomicCount::default());
        let server = Server::folder(&bundle, move |_, asked| {
            if asked.path.ends_with(&wanted) && count.next() == 1 {
                let space = rustix::fs::statvfs(fill.parent().unwrap()).unwrap();
                let free = (space.f_bavail * space.f_frsize) as usize;
                fs::write(&fill, vec![0; free - LAYER * percent / 100]).unwrap();
            }
            Answer::Well
        });
        let channel = vendor.channel(&server.address);
        let offer = channel.refresh().await.unwrap();
        let one = Fetching { at_once: 1, ..Fetching::default() };
        let full = offer.fetch(&out, &Present::default(), &one, &|_| (), &|_| ()).await.unwrap_err();
        assert!(matches!(full, ReleaseError::Write { .. }), "{percent} %: {full}");
        assert!(full.remedy().unwrap().0.contains("free some space"), "{full}");
        assert!(!out.join("metadata").exists());
        // What came is kept, and that the rest does not fit is now said beforehand.
        let again = fetch(&channel, &out).await.unwrap_err();
        assert!(matches!(again, ReleaseError::Space { .. }), "{again}");
        fs::remove_file(&ballast).unwrap();
        server.paths();
        fetch(&channel, &out).await.unwrap();
        let from = server.asked().iter().find(|asked| of_layer(asked, &release)).and_then(|asked| asked.from);
        assert!(from.is_some_and(|from| from > LAYER * percent / 200), "{percent} %: went on at {from:?}");
        assert_same(&out, &bundle);
    }
}

#[tokio::test]
async fn too_little_space_is_said_before_anything_is_fetched() {
    let vendor = Vendor::new().await;
    let (bundle, _) = vendor.offers("1.0.0", 100_000).await;
    let server = Server::folder(&bundle, |_, _| Answer::Well);
    let channel = vendor.channel(&server.address);
    let offer = channel.refresh().await.unwrap();
    let out = vendor.path("out");
    let claim =
        Claim { path: vendor.path("engine"), what: "layers in the engine".into(), peak_bytes: 1 << 60, final_bytes: 0 };
    let options = Fetching { claims: vec![claim], ..Fetching::default() };
    let refused = offer.fetch(&out, &Present::default(), &options, &|_| (), &|_| ()).await.unwrap_err();
    assert!(refused.to_string().contains("the bundle and layers in the engine needs"), "{refused}");
    assert!(!out.exists() && server.asked().iter().all(|asked| !is_blob(asked)));
}

/// Ctrl-C drops the future, `kill -9` ends the process: both leave what had come, and at worst a torn end.
#[tokio::test]
async fn an_interrupted_fetch_goes_on() {
    let vendor = Vendor::new().await;
    let (bundle, release) = vendor.offers("1.0.0", 1_000_000).await;
    let wanted = large(&release).hex();
    let slow = AtomicCount::default();
    let server = Server::folder(&bundle, move |_, asked| match asked.path.ends_with(&wanted) && slow.next() == 1 {
        true => Answer::Drip(50_000, Duration::from_millis(50)),
        false => Answer::Well,
    });
    let channel = vendor.channel(&server.address);
    let out = vendor.path("out");
    let part = out.join(".fetching").join(format!("{}.part", large(&release).hex()));
    let some_came = async {
        while fs::metadata(&part).map_or(0, |found| found.len()) < 100_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = fetch(&channel, &out) => panic!("it was to be interrupted"),
        () = some_came => {}
    }
    let came = fs::metadata(&part).unwrap().len();
    // A machine that lost its power may have kept the length and not the bytes.
    let mut bytes = fs::read(&part).unwrap();
    bytes[came as usize - 100..].fill(0);
    fs::write(&part, bytes).unwrap();
    fetch(&channel, &out).await.unwrap();
    assert_same(&out, &bundle);
    assert!(!out.join(".fetching").exists());
}

#[tokio::test]
async fn one_fetch_at_a_time_writes_to_a_folder_and_only_to_its_own() {
    let vendor = Vendor::new().await;
    let (bundle, _) = vendor.offers("1.0.0", 1000).await;
    let channel = vendor.channel(bundle.to_str().unwrap());
    let out = vendor.path("out");
    let held = crate::release::fetch::Staging::open(&out).unwrap();
    assert_eq!(fetch(&channel, &out).await.unwrap_err().exit(), Exit::Locked);
    drop(held);
    fs::write(out.join("letter.txt"), "mine").unwrap();
    assert!(matches!(fetch(&channel, &out).await, Err(ReleaseError::Exists { .. })));
    fs::remove_file(out.join("letter.txt")).unwrap();
    fetch(&channel, &out).await.unwrap();
}

#[tokio::test]
async fn a_damaged_blob_that_is_here_is_fetched_anew() {
    let vendor = Vendor::new().await;
    let (bundle, release) = vendor.offers("1.0.0", 50_000).await;
    let channel = vendor.channel(bundle.to_str().unwrap());
    let out = vendor.path("out");
    fetch(&channel, &out).await.unwrap();
    let path = blob_path(&out, &large(&release));
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(fetch(&channel, &out).await.unwrap().fetched_blobs, 1);
    assert_same(&out, &bundle);
}

#[tokio::test]
async fn what_is_here_already_is_not_fetched() {
    let vendor = Vendor::new().await;
    let (old, _) = vendor.offers("1.0.0", 100_000).await;
    let (new, release) = vendor.offers("1.1.0", 100_001).await;
    let server = Server::folder(&new, |_, _| Answer::Well);
    let channel = vendor.channel(&server.address);
    let blob = release.blob(&large(&release)).unwrap().clone();
    let BlobKind::Layer { diff_id, .. } = blob.kind else { panic!("it is a layer") };

    // In an earlier bundle: the layers that did not change, and one blob that is not what it is called.
    let shared = release.blobs.iter().filter(|blob| blob_path(&old, &blob.digest).exists()).count() as u64;
    assert!(shared > 0);
    let present = Present { folders: vec![old.clone()], held: BTreeSet::new() };
    let (facts, all) = {
        let offer = channel.refresh().await.unwrap();
        (offer.facts(&present), offer.facts(&Present::default()))
    };
    assert_eq!(all.missing_blobs - facts.missing_blobs, shared);
    let out = vendor.path("out");
    let fetched = fetch_with(&channel, &out, &present).await.unwrap();
    assert_eq!((fetched.taken_blobs, fetched.fetched_blobs), (shared, facts.missing_blobs));
    assert_same(&out, &new);

    // In a folder of models.
    let models = vendor.path("models");
    fs::create_dir_all(models.join("sha256")).unwrap();
    fs::copy(blob_path(&new, &blob.digest), models.join("sha256").join(blob.digest.hex())).unwrap();
    let out = vendor.path("out-2");
    let fetched =
        fetch_with(&channel, &out, &Present { folders: vec![models.clone()], held: BTreeSet::new() }).await.unwrap();
    assert_eq!(fetched.taken_blobs, 1);
    fs::write(models.join("sha256").join(blob.digest.hex()), vec![1; blob.size_bytes as usize]).unwrap();
    let out = vendor.path("out-3");
    let fetched = fetch_with(&channel, &out, &Present { folders: vec![models], held: BTreeSet::new() }).await.unwrap();
    assert_eq!(fetched.taken_blobs, 0, "a wrong one is not taken");
    assert_same(&out, &new);

    // In the engine: the release is proven without the file, and says where it would be.
    let out = vendor.path("out-4");
    let offer = channel.refresh().await.unwrap();
    let images = offer.images(&out).await.unwrap();
    assert!(images[0].layers.iter().any(|layer| layer.diff_id == diff_id));
    server.paths();
    let present = Present { folders: Vec::new(), held: BTreeSet::from([diff_id]) };
    let fetched = offer.fetch(&out, &present, &Fetching::default(), &|_| (), &|_| ()).await.unwrap();
    assert!(server.asked().iter().all(|asked| !of_layer(asked, &release)));
    let image = fetched.verified.image(&fetched.verified.release().images[0]).unwrap();
    assert!(image.layers.iter().any(|layer| layer.diff_id == diff_id && !layer.path.exists()));
    let whole = check(&out, &vendor.options()).await.unwrap_err();
    assert!(matches!(whole, ReleaseError::Missing { .. }), "without the engine's word it is not whole");
}
