//! Images from registries: a real one, served on loopback.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    image::{Foreign, Stored, described},
    *,
};
use crate::tests::{Asked, Reply, Server};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The paths of a registry, and what lies there.
type Shelf = HashMap<String, Vec<u8>>;

/// Puts an image on a shelf, behind an index of three, and returns the index.
fn shelve(stored: &Stored) -> (Shelf, Vec<u8>) {
    let mut shelf = Shelf::new();
    for bytes in &stored.blobs {
        shelf.insert(format!("/v2/shop/store/blobs/{}", Digest::of(bytes)), bytes.clone());
    }
    let mut entry = |manifest: &Value, os: &str, architecture: &str, variant: Option<&str>| {
        let bytes = manifest.to_string().into_bytes();
        shelf.insert(format!("/v2/shop/store/manifests/{}", Digest::of(&bytes)), bytes.clone());
        let mut entry = described(&bytes, MANIFEST);
        entry["platform"] = json!({"os": os, "architecture": architecture, "variant": variant});
        entry
    };
    let other = json!({"schemaVersion": 2, "config": described(b"{}", "x"), "layers": []});
    let manifests = [
        entry(&other, "linux", "arm64", Some("v8")),
        entry(&json!({"other": 1}), "linux", "amd64", Some("v3")),
        entry(&stored.manifest, "linux", "amd64", None),
        entry(&json!({"attestation": 1}), "unknown", "unknown", None),
    ];
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests});
    let bytes = index.to_string().into_bytes();
    shelf.insert(format!("/v2/shop/store/manifests/{}", Digest::of(&bytes)), bytes.clone());
    (shelf, bytes)
}

/// Answers as a registry does, ranges too.
fn answer(shelf: &Shelf, asked: &Asked) -> Reply {
    let Some(bytes) = shelf.get(&asked.path) else { return Reply::new("404 Not Found", "", b"{}") };
    match asked.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()) {
        Some(start) if start >= bytes.len() => Reply::new("416 Range Not Satisfiable", "", b""),
        Some(start) => {
            let range = format!("content-range: bytes {start}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            Reply::new("206 Partial Content", &range, &bytes[start..])
        }
        None => Reply::new("200 OK", "", bytes),
    }
}

fn host(server: &Server) -> &str {
    server.address.strip_prefix("http://").unwrap().split('/').next().unwrap()
}

fn named(server: &Server, digest: Digest) -> RegistryImage {
    RegistryImage::try_from(format!("{}/shop/store:1.2@{digest}", host(server))).unwrap()
}

async fn pull(out: &Path, image: &RegistryImage) -> Result<Pulled, ReleaseError> {
    Pulls::open(out)?.pull(image, &Logins::default(), &|_, _| ()).await
}

fn build_of(from: &str, out: &Path) -> Result<Built, ReleaseError> {
    let spec = out.with_extension("yaml");
    let text = format!(
        "format: 1\nchannel: stable\nminimum_agent: 0.1.0\nmodels: []\nimages: [{{name: shop/store, from: {from}}}]\n"
    );
    fs::write(&spec, text).unwrap();
    let build = Build {
        spec: Spec::read(&spec)?,
        version: "1.0.0".parse().unwrap(),
        binary: PathBuf::new(),
        models: Vec::new(),
        schemas: BTreeMap::new(),
        out: out.to_owned(),
    };
    build.run(&|_| ())
}

#[tokio::test]
async fn an_image_is_the_same_bytes_from_a_registry_and_from_an_archive() {
    let vendor = Vendor::new().await;
    let foreign = Foreign::new();
    let (shelf, index) = shelve(&foreign.stored());
    let server = Server::start(move |_, asked| answer(&shelf, asked));
    let (archived, pulled) = (vendor.path("archived"), vendor.path("pulled"));
    foreign.archive(&vendor.path("store.tar"));
    let by_archive = build_of("!docker-archive store.tar", &archived).unwrap();

    let image = named(&server, Digest::of(&index));
    assert_eq!(pull(&pulled, &image).await.unwrap().layers, 3);
    let asked = server.asked();
    assert!(asked.iter().all(|asked| asked.authorization.is_none() && !asked.path.ends_with("1.2")), "{asked:?}");
    assert_eq!(asked.len(), 6, "the index, a manifest, a configuration, three layers");
    // What is here is not asked for again.
    pull(&pulled, &image).await.unwrap();
    assert_eq!(server.asked().len(), 6);
    let by_registry = build_of(&format!("!registry \"{image}\""), &pulled).unwrap();
    assert_eq!(by_registry.digest, by_archive.digest);
    assert_eq!(files(&pulled), files(&archived), "nothing of the pulling is left either");

    // The manifest itself, without an index, is the same image; and what customers check holds for images of others.
    let manifest = foreign.stored().manifest.to_string();
    let single = vendor.path("single");
    let image = named(&server, Digest::of(manifest.as_bytes()));
    pull(&single, &image).await.unwrap();
    assert_eq!(build_of(&format!("!registry \"{image}\""), &single).unwrap().digest, by_archive.digest);
    vendor.sign(&single).await;
    check(&single, &vendor.options()).await.unwrap();
    let sbom = fs::read_to_string(blob_path(&single, &by_archive.release.images[0].sbom)).unwrap();
    assert!(sbom.contains("pkg:deb/zlib1g@1:1.2"), "{sbom}");
}

/// What a registry, or somebody before it, may do to a pull.
#[tokio::test]
async fn what_a_registry_gives_wrong_is_refused() {
    type Twist = fn(&Asked, Reply, &[u8]) -> Reply;
    let table: [(&str, Exit, &str, Twist); 10] = [
        ("a layer of another digest", Exit::Damaged, "its digest is", |asked, reply, bytes| {
            let mut other = bytes.to_vec();
            other[20] ^= 1;
            if asked.path.contains("/blobs/") { Reply::new("200 OK", "", &other) } else { reply }
        }),
        ("a layer that is cut short", Exit::Damaged, "bytes, not", |asked, reply, bytes| {
            if asked.path.contains("/blobs/") { Reply::new("200 OK", "", &bytes[..bytes.len() / 2]) } else { reply }
        }),
        ("a layer without end", Exit::Damaged, "more than", |asked, reply, bytes| {
            if asked.path.contains("/blobs/") { Reply::endless(bytes) } else { reply }
        }),
        ("a connection that breaks again and again", Exit::Unavailable, "cannot pull", |asked, reply, bytes| {
            let length = bytes.len() / 2;
            // Without ranges each attempt begins anew, and gains nothing.
            if asked.path.contains("/blobs/") { Reply::new("200 OK", "", bytes).cut(length) } else { reply }
        }),
        ("an index of another digest", Exit::Damaged, "its digest is", |_, _, bytes| {
            Reply::new("200 OK", "", &[bytes, b" "].concat())
        }),
        ("an index without end", Exit::Damaged, "more than", |_, _, _| Reply::endless(&[b' '; 4096])),
        ("an image it does not have", Exit::Unavailable, "does not have", |_, _, _| {
            Reply::new("404 Not Found", "", b"{\"errors\": []}")
        }),
        ("an image that is not public", Exit::Unavailable, "wants a log-in", |_, _, _| {
            Reply::new("401 Unauthorized", "www-authenticate: Basic realm=\"x\"\r\n", b"")
        }),
        ("a token from a place without TLS", Exit::Unavailable, "no safe place", |_, _, _| {
            Reply::new("401 Unauthorized", "www-authenticate: Bearer realm=\"http://192.0.2.1/\"\r\n", b"")
        }),
        ("a redirection to a place without TLS", Exit::Unavailable, "without TLS", |_, _, _| {
            Reply::new("307 Temporary Redirect", "location: http://192.0.2.1/\r\n", b"")
        }),
    ];
    let vendor = Vendor::new().await;
    let (shelf, index) = shelve(&Foreign::new().stored());
    for (number, (defect, exit, says, twist)) in table.into_iter().enumerate() {
        let (kept, is_sound) = (shelf.clone(), Arc::new(AtomicBool::new(false)));
        let sound = is_sound.clone();
        let server = Server::start(move |_, asked| match sound.load(Ordering::Relaxed) {
            true => answer(&kept, asked),
            false => twist(asked, answer(&kept, asked), &kept[&asked.path]),
        });
        let image = named(&server, Digest::of(&index));
        let out = vendor.path(&format!("twisted-{number}"));
        let refused = pull(&out, &image).await.expect_err(defect);
        assert_eq!(refused.exit(), exit, "{defect}: {refused}");
        let text = refused.to_string();
        assert!(text.contains(says) && text.contains("/shop/store:1.2@sha256:"), "{defect}: {refused}");
        assert!(refused.remedy().is_some());
        // Nothing of it stands in the way of what is right.
        is_sound.store(true, Ordering::Relaxed);
        pull(&out, &image).await.unwrap_or_else(|error| panic!("after {defect}: {error}"));
    }
}

/// An image that came as its registry has it, and is not fit for a release.
#[tokio::test]
async fn an_image_that_is_none_for_us_is_refused() {
    let vendor = Vendor::new().await;
    let sound = Foreign::new();
    let check = async |name: &str, stored: Stored, says: &str| {
        let (shelf, index) = shelve(&stored);
        let server = Server::start(move |_, asked| answer(&shelf, asked));
        let (out, image) = (vendor.path(name), named(&server, Digest::of(&index)));
        let refused = match pull(&out, &image).await {
            Ok(_) => build_of(&format!("!registry \"{image}\""), &out).unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(refused, ReleaseError::Source { .. }) && refused.to_string().contains(says), "{refused}");
        assert!(!out.join("release.json").exists());
    };
    let mut other = Foreign::new();
    other.config = Foreign::config_of(&other.tars[1..]);
    check("layers-of-another", other.stored(), "its layers are not those").await;
    let mut other = Foreign::new();
    other.tars[1] = b"no tar at all".to_vec();
    other.config = Foreign::config_of(&other.tars);
    check("no-tar", other.stored(), "the layer `sha256:").await;
    let mut stored = sound.stored();
    stored.manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
    check("layer-elsewhere", stored, "nondistributable").await;
    let mut stored = sound.stored();
    stored.manifest["manifests"] = json!([]);
    check("manifest-and-index", stored, "neither that of an image nor an index").await;
    let mut stored = sound.stored();
    stored.manifest = json!({"manifests": [described(b"{}", MANIFEST)]});
    stored.manifest["manifests"][0]["platform"] = json!({"os": "linux", "architecture": "amd64"});
    check("index-in-index", stored, "its index names another index").await;
    let mut stored = sound.stored();
    stored.manifest["config"]["size"] = (1_u64 << 40).into();
    check("endless-config", stored, "is said to have").await;
    let mut stored = sound.stored();
    stored.manifest = json!({"manifests": [described(b"{}", MANIFEST)]});
    let bytes = stored.manifest.to_string().into_bytes();
    let server = Server::start(move |_, _| Reply::new("200 OK", "", &bytes));
    let image = named(&server, Digest::of(stored.manifest.to_string().as_bytes()));
    let refused = pull(&vendor.path("arm"), &image).await.unwrap_err();
    assert!(refused.to_string().contains("it has no image for linux/amd64"), "{refused}");
}

#[tokio::test]
async fn a_pull_goes_on_where_it_was_interrupted() {
    let vendor = Vendor::new().await;
    let stored = Foreign::new().stored();
    let largest = stored.blobs.iter().max_by_key(|bytes| bytes.len()).unwrap().clone();
    let (shelf, index) = shelve(&stored);
    let path = format!("/v2/shop/store/blobs/{}", Digest::of(&largest));
    let (asked_path, half) = (path.clone(), largest.len() / 2);
    // The first answer for the large layer breaks off at a half; the second one waits until nobody does.
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let server = Server::start(move |_, asked| {
        let is_first = asked.path == asked_path && asked.range.is_none();
        while asked.path == asked_path && !is_first && !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        answer(&shelf, asked).cut(if is_first { half } else { usize::MAX })
    });
    let (out, image) = (vendor.path("out"), named(&server, Digest::of(&index)));
    let (to, name) = (out.clone(), image.clone());
    let pulling = tokio::spawn(async move { pull(&to, &name).await });
    while !server.asked().iter().any(|asked| asked.range.is_some()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pulling.abort();
    assert!(pulling.await.unwrap_err().is_cancelled());
    is_over.store(true, Ordering::Relaxed);
    let part = out.join(".pulled/blobs/sha256").join(Digest::of(&largest).hex()).with_extension("part");
    assert_eq!(fs::metadata(&part).unwrap().len(), half as u64);
    let before = server.asked().len();
    pull(&out, &image).await.unwrap();
    let asked = server.asked().split_off(before);
    assert!(
        asked.iter().any(|asked| asked.path == path)
            && !asked.iter().any(|asked| asked.path == path && asked.range.is_none()),
        "{asked:?}"
    );
    // What lies there is hashed, not believed.
    fs::write(part.with_extension(""), b"other").unwrap();
    pull(&out, &image).await.unwrap();
    assert_eq!(fs::read(part.with_extension("")).unwrap(), largest);
}

/// A registry as the large ones are: a token from a place it names, that ends soon, and blobs that lie elsewhere.
#[tokio::test]
async fn a_log_in_is_shown_where_it_belongs_and_nowhere_else() {
    let vendor = Vendor::new().await;
    let (shelf, index) = shelve(&Foreign::new().stored());
    let blobs = shelf.clone();
    let elsewhere = Server::start(move |_, asked| answer(&blobs, asked));
    let other = host(&elsewhere).to_owned();
    let tokens = AtomicUsize::new(0);
    let server = Server::start(move |_, asked| {
        if asked.path.starts_with("/token?") {
            let is_asked_right = asked.path == "/token?service=the+shop&scope=repository%3Ashop%2Fstore%3Apull";
            if !is_asked_right || asked.authorization.as_deref() != Some("Basic YWRhOnMzY3JldA==") {
                return Reply::new("401 Unauthorized", "", b"");
            }
            let token = tokens.fetch_add(1, Ordering::SeqCst) + 1;
            return Reply::new("200 OK", "", json!({"token": format!("t{token}")}).to_string().as_bytes());
        }
        // A token is good for manifests, and no longer by the first blob.
        let newest = format!("Bearer t{}", tokens.load(Ordering::SeqCst));
        let is_late = newest == "Bearer t1" && asked.path.contains("/blobs/");
        if asked.authorization.as_deref() != Some(&newest) || is_late {
            let challenge =
                "www-authenticate: Bearer realm=\"http://HOST/token\",service=\"the shop\",scope=\"x:y:pull,push\"\r\n";
            let own = asked.host.clone();
            return Reply::new("401 Unauthorized", &challenge.replace("HOST", &own), b"");
        }
        match asked.path.contains("/blobs/") {
            true => Reply::new("307 Temporary Redirect", &format!("location: http://{other}{}\r\n", asked.path), b""),
            false => answer(&shelf, asked),
        }
    });
    let config = vendor.path("config.json");
    fs::write(&config, json!({"auths": {host(&server): {"auth": "YWRhOnMzY3JldA=="}}}).to_string()).unwrap();
    let pulls = Pulls::open(&vendor.path("out")).unwrap();
    let image = named(&server, Digest::of(&index));
    pulls.pull(&image, &Logins::read(&config).unwrap(), &|_, _| ()).await.unwrap();
    assert_eq!(server.asked().iter().filter(|asked| asked.path.starts_with("/token")).count(), 2);
    let seen = elsewhere.asked();
    assert!(seen.len() == 4 && seen.iter().all(|asked| asked.authorization.is_none()), "{seen:?}");
    // Without the log-in the token is refused, and the message says what to do.
    let refused = pull(&vendor.path("other"), &image).await.unwrap_err();
    assert!(refused.remedy().unwrap().0.contains("docker login"), "{refused}");
}

#[test]
fn a_specification_names_images_by_what_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let check = |from: &str, says: &str| {
        let refused = build_of(from, &dir.path().join("out")).unwrap_err();
        assert_eq!(refused.exit(), Exit::Usage, "{refused}");
        assert!(refused.to_string().contains(says), "{from}: {refused}");
    };
    let digest = Digest::of(b"");
    check("!registry quay.io/minio/minio:1.2", "`docker buildx imagetools inspect quay.io/minio/minio:1.2` prints it");
    check(&format!("!registry quay.io/minio/minio@{digest}"), "needs a `tag:`");
    check(&format!("!registry quay.io/minio/minio:latest@{digest}"), "needs a `tag:`");
    check("!engine minio:latest", "has no tag that says which version it is");
    check("!engine minio", "write `minio:VERSION`");
    // What was not brought before is not looked for on the way.
    for from in [format!("!registry quay.io/minio/minio:1.2@{digest}"), "!engine minio:1.2".to_owned()] {
        assert!(build_of(&from, &dir.path().join("out")).is_err());
    }
}
