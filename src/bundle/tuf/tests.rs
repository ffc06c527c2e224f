//! A repository that can be made to lie, served over a real connection; the attacks are in files of their own.

mod attacks;
mod roots;
mod search;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use base::{Digest, Timestamp};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use super::*;
use crate::{
    tests::server::{Answer, Server},
    web::{Patience, Web, WebOptions},
};

pub(super) const NOW: &str = "2026-11-22T10:00:00Z";
const SOON: &str = "2026-12-22T10:00:00Z";

type Published = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A vendor's repository. Its parts are changed at will, and are public once [`Repository::emit`] signed them.
pub(super) struct Repository {
    pub signed: BTreeMap<String, Value>,
    /// Who signs a role.
    pub keys: BTreeMap<String, Vec<SigningKey>>,
    published: Published,
}

/// A key that is the same in every run.
pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(super) fn key_file(key: &SigningKey) -> Value {
    json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": hex::encode(key.verifying_key().as_bytes())}})
}

pub(super) fn key_id(key: &SigningKey) -> String {
    Digest::of(&canonical::bytes(&key_file(key)).unwrap()).hex()
}

pub(super) fn now() -> Timestamp {
    Timestamp::parse(NOW).unwrap()
}

impl Repository {
    /// Version 1 of everything: keys 1 for root, 2 timestamp, 3 snapshot, 4 targets; one target, `release.json`.
    pub fn new() -> Self {
        let common = |kind: &str| json!({"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": SOON});
        let mut repository = Self { signed: BTreeMap::new(), keys: BTreeMap::new(), published: Published::default() };
        for (number, role) in (1..).zip(["root", "timestamp", "snapshot", "targets"]) {
            repository.signed.insert(role.to_owned(), common(role));
            repository.keys.insert(role.to_owned(), vec![key(number)]);
        }
        repository.of("root")["consistent_snapshot"] = json!(true);
        repository.of("root")["keys"] = json!({});
        repository.of("root")["roles"] = json!({});
        for (number, role) in (1..).zip(["root", "timestamp", "snapshot", "targets"]) {
            repository.allow(role, &[key(number)], 1);
        }
        repository.of("targets")["targets"] = json!({});
        repository.add_target("release.json", b"release 1");
        repository.emit("root");
        repository.release();
        repository
    }

    pub fn of(&mut self, role: &str) -> &mut Value {
        self.signed.get_mut(role).unwrap()
    }

    pub fn version(&self, role: &str) -> u64 {
        self.signed[role]["version"].as_u64().unwrap()
    }

    pub fn bump(&mut self, role: &str) {
        let next = self.version(role) + 1;
        self.of(role)["version"] = json!(next);
    }

    /// Names a role's keys in the root, and lets them sign it from now on. Not public yet.
    pub fn allow(&mut self, role: &str, keys: &[SigningKey], threshold: u64) {
        let ids: Vec<_> = keys.iter().map(key_id).collect();
        for key in keys {
            self.of("root")["keys"][key_id(key)] = key_file(key);
        }
        self.of("root")["roles"][role] = json!({"keyids": ids, "threshold": threshold});
        self.keys.insert(role.to_owned(), keys.to_vec());
    }

    pub fn add_target(&mut self, name: &str, bytes: &[u8]) {
        let digest = Digest::of(bytes).hex();
        self.of("targets")["targets"][name] = json!({"length": bytes.len(), "hashes": {"sha256": digest}});
        let (dir, last) = name.rsplit_once('/').map_or((String::new(), name), |(dir, last)| (format!("{dir}/"), last));
        self.put(&format!("targets/{dir}{digest}.{last}"), bytes);
    }

    /// Signs a role as it is and publishes it.
    pub fn emit(&mut self, role: &str) {
        let keys = self.keys[role].clone();
        let bytes = self.sign(role, &keys);
        self.put(&self.path(role), &bytes);
    }

    pub fn path(&self, role: &str) -> String {
        match role {
            "timestamp" => "metadata/timestamp.json".to_owned(),
            _ => format!("metadata/{}.{role}.json", self.version(role)),
        }
    }

    /// Returns a role as it is, signed by these.
    pub fn sign(&self, role: &str, keys: &[SigningKey]) -> Vec<u8> {
        let message = canonical::bytes(&self.signed[role]).unwrap();
        let signature =
            |key: &SigningKey| json!({"keyid": key_id(key), "sig": hex::encode(key.sign(&message).to_bytes())});
        let signatures: Vec<_> = keys.iter().map(signature).collect();
        serde_json::to_vec(&json!({"signed": self.signed[role], "signatures": signatures})).unwrap()
    }

    /// Publishes targets, the snapshot that names them, and the timestamp that names that, each as it is.
    pub fn release(&mut self) {
        self.emit("targets");
        self.list_targets();
        self.emit("snapshot");
        self.list_snapshot();
        self.emit("timestamp");
    }

    /// The next release, all in order.
    pub fn next(&mut self) {
        for role in ["targets", "snapshot", "timestamp"] {
            self.bump(role);
        }
        self.release();
    }

    pub fn list_targets(&mut self) {
        let version = self.version("targets");
        self.of("snapshot")["meta"]["targets.json"] = json!({"version": version});
    }

    /// The timestamp names the snapshot that was published last, with its length and hash.
    pub fn list_snapshot(&mut self) {
        let bytes = self.get(&self.path("snapshot"));
        let version = self.version("snapshot");
        let meta = json!({"version": version, "length": bytes.len(), "hashes": {"sha256": Digest::of(&bytes).hex()}});
        self.of("timestamp")["meta"] = json!({"snapshot.json": meta});
    }

    pub fn put(&self, path: &str, bytes: &[u8]) {
        self.published.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    pub fn get(&self, path: &str) -> Vec<u8> {
        self.published.lock().unwrap()[path].clone()
    }

    pub fn withdraw(&self, path: &str) {
        self.published.lock().unwrap().remove(path).unwrap();
    }

    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.published.lock().unwrap().clone()
    }

    pub fn serve(&self) -> Server {
        self.serve_with(|_| Answer::Well)
    }

    /// Answers some paths otherwise.
    pub fn serve_with(&self, mood: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Server {
        let published = Arc::clone(&self.published);
        Server::start(move |path| published.lock().unwrap().get(path).cloned(), move |_, asked| mood(&asked.path))
    }
}

/// A customer: the first root, a store that outlives every refresh, and a clock.
pub(super) struct Customer {
    pub dir: tempfile::TempDir,
    pub root: Vec<u8>,
    pub now: Timestamp,
    pub on_expiry: OnExpiry,
    pub limits: Limits,
}

impl Customer {
    pub fn of(repository: &Repository) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            root: repository.get("metadata/1.root.json"),
            now: now(),
            on_expiry: OnExpiry::Refuse,
            limits: Limits::default(),
        }
    }

    /// A refresh by a new process, and what is trusted then: root, timestamp, snapshot, targets.
    pub async fn refresh(&self, server: &Server) -> Result<[u64; 4], Error> {
        self.with(server, |_, _| ()).await.map(|(versions, ())| versions)
    }

    /// A refresh, and the content of a target.
    pub async fn read(&self, server: &Server, name: &str) -> Result<Vec<u8>, Error> {
        let web = web(server);
        let mut client = self.client(&web)?;
        client.refresh().await?;
        let missing = || client::refused(name, "nobody names it".to_owned());
        let target = client.target(name).await?.ok_or_else(missing)?;
        client.read_target(name, &target, 1 << 20).await
    }

    pub async fn with<T>(
        &self,
        server: &Server,
        look: impl FnOnce(&Client<'_, Web>, &Web) -> T,
    ) -> Result<([u64; 4], T), Error> {
        let web = web(server);
        let mut client = self.client(&web)?;
        client.refresh().await?;
        let looked = look(&client, &web);
        let versions: Vec<_> = client.versions().iter().map(|role| role.version).collect();
        Ok((versions.try_into().unwrap(), looked))
    }

    pub fn client<'a>(&self, web: &'a Web) -> Result<Client<'a, Web>, Error> {
        Client::new(web, Store::open(self.dir.path())?, &self.root, self.now, self.on_expiry, self.limits)
    }

    /// The version of a role's kept metadata.
    pub fn kept(&self, role: &str) -> Option<u64> {
        let bytes = std::fs::read(self.dir.path().join(format!("{role}.json"))).ok()?;
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        value["signed"]["version"].as_u64()
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }
}

/// Waits for tenths of seconds, as no product does.
pub(super) fn web(server: &Server) -> Web {
    let patience = Patience {
        small_file: Duration::from_millis(400),
        attempts: 2,
        first_pause: Duration::from_millis(5),
        ..Patience::default()
    };
    let options = WebOptions { patience, ..WebOptions::default() };
    Web::new(&format!("{}/metadata", server.address), &format!("{}/targets", server.address), &options).unwrap()
}

/// The same files read by the crate that signs releases, without a memory.
async fn tough_reads(files: &BTreeMap<String, Vec<u8>>, root: &[u8]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let url = |name: &str| url::Url::from_directory_path(dir.path().join(name)).unwrap();
    tough::RepositoryLoader::new(&root, url("metadata"), url("targets"))
        .transport(tough::FilesystemTransport)
        // Its clock cannot be given.
        .expiration_enforcement(tough::ExpirationEnforcement::Unsafe)
        .load()
        .await
        .is_ok()
}

#[tokio::test]
async fn a_refresh_asks_for_what_changed_and_no_more() {
    let mut repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    assert_eq!(customer.refresh(&server).await.unwrap(), [1, 1, 1, 1]);
    assert_eq!(
        server.paths(),
        ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"].map(|name| format!("metadata/{name}"))
    );
    assert_eq!(customer.refresh(&server).await.unwrap(), [1, 1, 1, 1]);
    assert_eq!(server.paths(), ["metadata/2.root.json", "metadata/timestamp.json"]);
    repository.next();
    assert_eq!(customer.refresh(&server).await.unwrap(), [1, 2, 2, 2]);
    assert_eq!(customer.read(&server, "release.json").await.unwrap(), b"release 1");
}

#[tokio::test]
async fn what_is_trusted_is_kept_byte_for_byte_and_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let repository = Repository::new();
    let customer = Customer::of(&repository);
    customer.refresh(&repository.serve()).await.unwrap();
    for (name, path) in [
        ("root.json", "metadata/1.root.json"),
        ("roots/1.root.json", "metadata/1.root.json"),
        ("timestamp.json", "metadata/timestamp.json"),
        ("snapshot.json", "metadata/1.snapshot.json"),
        ("targets.json", "metadata/1.targets.json"),
    ] {
        assert_eq!(std::fs::read(customer.path(name)).unwrap(), repository.get(path), "{name}");
        let mode = std::fs::metadata(customer.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    for folder in ["", "roots"] {
        assert_eq!(std::fs::metadata(customer.path(folder)).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[tokio::test]
async fn one_process_at_a_time_has_the_store() {
    let repository = Repository::new();
    let (server, customer) = (repository.serve(), Customer::of(&repository));
    let held = Store::open(Path::new(customer.dir.path())).unwrap();
    assert!(matches!(customer.refresh(&server).await, Err(Error::Locked { .. })));
    drop(held);
    customer.refresh(&server).await.unwrap();
}

/// Two readers, written by different people, agree about what is sound and what is not.
#[tokio::test]
async fn the_crate_that_signs_reads_the_same() {
    let sound = Repository::new();
    assert!(tough_reads(&sound.files(), &sound.get("metadata/1.root.json")).await);
    let spoil: [fn(&mut Repository); 4] = [
        |repository| repository.put("metadata/timestamp.json", &repository.sign("timestamp", &[key(9)])),
        |repository| repository.put("metadata/1.targets.json", &repository.sign("targets", &[])),
        |repository| {
            repository.of("snapshot")["extra"] = json!(1);
            repository.emit("snapshot");
        },
        |repository| {
            repository.bump("root");
            repository.put("metadata/2.root.json", &repository.sign("root", &[key(9)]));
        },
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let mut repository = Repository::new();
        let customer = Customer::of(&repository);
        spoil(&mut repository);
        let refused = customer.refresh(&repository.serve()).await.unwrap_err();
        assert!(matches!(refused, Error::Refused { .. }), "{index}: {refused}");
        assert!(!tough_reads(&repository.files(), &customer.root).await, "{index}");
    }
}
