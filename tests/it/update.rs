//! One release replaces another, or does not: through the binary, from a real channel, with the services as processes.
//!
//! A release is the program under test with a few bytes more; a bad one has some of its own bytes changed. `scripts/test.sh` tells how an
//! update succeeds and is taken back; `scripts/soak.sh` (`ZERO711_SOAK=1`) also how bad releases and kills end.

mod bad;
mod server;
mod web;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::product::{Product, binary, checkout, free_port_base, run};

/// A vendor: keys, and a channel of its own for each story.
pub struct Vendor {
    dir: PathBuf,
}

impl Vendor {
    /// Keys and the program without its symbols, made once.
    pub fn the() -> &'static Self {
        static MADE: OnceLock<Vendor> = OnceLock::new();
        MADE.get_or_init(|| {
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("update");
            let vendor = Self { dir };
            // Bundles take minutes; those of the same program are as good as new ones.
            let metadata = fs::metadata(binary()).unwrap();
            let stamp = format!("{} {:?}", metadata.len(), metadata.modified().unwrap());
            if fs::read_to_string(vendor.path("made-for")).is_ok_and(|found| found == stamp) {
                return vendor;
            }
            let _ = fs::remove_dir_all(&vendor.dir);
            fs::create_dir_all(&vendor.dir).unwrap();
            assert!(Command::new("strip").args(["-o", &vendor.path("0711"), binary()]).status().unwrap().success());
            for key in ["root.key", "release.key"] {
                run(["release", "keygen", "--out", &vendor.path(key)]).expect(0);
            }
            let keys = ["--root-key", &vendor.path("root.key"), "--release-key", &vendor.path("release.key")];
            let init = ["release", "init", "--trust", &vendor.path("trust"), "--threshold", "1"];
            run(init.into_iter().chain(keys)).expect(0);
            fs::write(vendor.path("made-for"), stamp).unwrap();
            vendor
        })
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn root(&self) -> String {
        self.path("trust/metadata/1.root.json")
    }

    /// Builds and signs release `version`; `change` makes its program another one. Returns the bundle's folder.
    fn release(&self, name: &str, version: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
        let (program, spec, bundle) =
            (self.path(&format!("{name}.program")), self.path(&format!("{name}.yaml")), self.path(name));
        if Path::new(&bundle).join("metadata/timestamp.json").is_file() {
            return bundle;
        }
        let _ = fs::remove_dir_all(&bundle);
        let mut bytes = fs::read(self.path("0711")).unwrap();
        bytes.extend_from_slice(name.as_bytes());
        change(&mut bytes);
        fs::write(&program, bytes).unwrap();
        let text = fs::read_to_string(checkout("bundles/platform.yaml")).unwrap();
        fs::write(&spec, text.replace("channel: stable", &format!("channel: stable\nversion: {version}"))).unwrap();
        run(["bundle", "build", "--spec", &spec, "--binary", &program, "--out", &bundle]).expect(0);
        run(["release", "sign", &bundle, "--trust", &self.path("trust"), "--key", &self.path("release.key")]).expect(0);
        fs::remove_file(&program).unwrap();
        bundle
    }

    pub fn good(&self) -> String {
        self.release("good", "0.2.0", |_| ())
    }

    /// The good release, with another description of itself.
    fn edited(&self, name: &str, edit: impl FnOnce(&mut Value)) -> String {
        let (good, bundle) = (self.good(), self.path(name));
        let _ = fs::remove_dir_all(&bundle);
        assert!(Command::new("cp").args(["-rl", &good, &bundle]).status().unwrap().success());
        let path = Path::new(&bundle).join("release.json");
        let mut release = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut release);
        // The good one has another name of the same files.
        for changed in [path.clone(), Path::new(&bundle).join("targets"), Path::new(&bundle).join("metadata")] {
            let _ = fs::remove_file(&changed).or_else(|_| fs::remove_dir_all(&changed));
        }
        fs::write(&path, serde_json::to_vec_pretty(&release).unwrap()).unwrap();
        run(["release", "sign", &bundle, "--trust", &self.path("trust"), "--key", &self.path("release.key")]).expect(0);
        bundle
    }
}

/// An installation of a few files, with two golden questions.
fn installed() -> Product {
    let product = Product::new();
    installed_in(&product);
    product
}

fn installed_in(product: &Product) {
    let folder = product.folder("share");
    let share = checkout("tests/fixtures/share");
    let wanted =
        ["Datenblätter/Datenblatt_KX-4_Durchgangsklemme.pdf", "Datenblätter/Datenblatt_KX-10_Durchgangsklemme.md"];
    for name in wanted {
        if let Ok(bytes) = fs::read(share.join(name)) {
            fs::write(folder.join(Path::new(name).file_name().unwrap()), bytes).unwrap();
        }
    }
    assert!(fs::read_dir(&folder).unwrap().count() > 0, "the fixtures were renamed");
    let (folder, base) = (folder.display().to_string(), free_port_base().to_string());
    let args = ["install", "--customer", "Kessler Klemmtechnik GmbH", "--license", "DEMO", "--folder", &folder];
    product.ok(&[&args[..], &["--training-minutes", "0", "--port-base", &base, "--yes"]].concat());
    configure(product);
}

/// Trusts the vendor, and asks two golden questions. `--watch-minutes 0` looks once.
pub fn configure(product: &Product) {
    let golden = product.root.join("etc/kessler-klemmtechnik-gmbh/golden.jsonl");
    // The sheet lies in the folder itself, or in one below it.
    let sheet = "Datenblatt_KX-4_Durchgangsklemme.pdf";
    let documents = [sheet.to_owned(), format!("Datenblätter/{sheet}")];
    let answered = json!({ "question": "Welchen Bemessungsstrom hat die KX 4?", "documents": documents });
    let unknown = json!({ "question": "Wer hat das Rad erfunden?", "documents": [] });
    let lines = format!("{answered}\n{unknown}\n");
    fs::write(golden, lines).unwrap();
    product.ok(&["update", "configure", "--trust-root", &Vendor::the().root(), "--watch-minutes", "0"]);
}

pub fn version(product: &Product) -> String {
    let receipt: Value = serde_json::from_slice(&fs::read(product.customer().join("receipt.json")).unwrap()).unwrap();
    receipt["version"].as_str().unwrap().to_owned()
}

/// Of all services, in their order.
fn pids(product: &Product) -> Vec<Value> {
    let roles = product.json(&["status"])["roles"].clone();
    roles.as_array().unwrap().iter().map(|role| role["pid"].clone()).collect()
}

/// One complete stack of this release: six services ready, the program linked, questions answered.
fn serves(product: &Product, expect: &str) {
    let started = Instant::now();
    let roles = loop {
        let roles = product.json(&["status"])["roles"].as_array().unwrap().clone();
        if roles.len() == 6 && roles.iter().all(|role| role["state"] == "ready") {
            break roles;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{roles:#?}");
        std::thread::sleep(Duration::from_millis(300));
    };
    let link = fs::canonicalize(product.root.join("bin/0711")).unwrap();
    for role in roles {
        let exe = fs::read_link(format!("/proc/{}/exe", role["pid"])).unwrap();
        assert_eq!(exe, link, "{role}");
    }
    assert_eq!(version(product), expect);
    assert!(link.display().to_string().contains(&format!("/{expect}-")), "{link:?}");
    let answer = product.json(&["ask", "Welchen Bemessungsstrom hat die KX 4?"]);
    assert_eq!(answer["abstained"], false, "{answer}");
    assert!(!product.root.join("var/update/rehearsal").exists(), "the rehearsal was left behind");
}

/// How many documents are in the tables; the agent counts them now and then.
fn documents(product: &Product) -> u64 {
    let started = Instant::now();
    loop {
        match product.json(&["status"])["documents"].as_u64() {
            Some(count) if count > 0 => return count,
            _ => assert!(started.elapsed() < Duration::from_secs(90), "no documents are counted"),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn a_release_replaces_another_and_is_taken_back() {
    let (product, vendor) = (installed(), Vendor::the());
    let good = vendor.good();
    let before = documents(&product);

    let none = product.json(&["update", "status"]);
    assert_eq!(none["settings"]["channel"], Value::Null, "updates are off until somebody turns them on");
    product.ok(&["update", "configure", "--channel", &good, "--policy", "approve"]);
    let offered = product.json(&["update", "check"]);
    assert_eq!((&offered["offered"], &offered["is_offered"]), (&Value::from("0.2.0"), &Value::from(true)), "{offered}");
    // What the agent would do: nothing, for nobody approved.
    product.json(&["update", "--unattended"]);
    serves(&product, "0.1.0");

    let done = product.json(&["update", "--yes"]);
    let attempt = &done["attempt"];
    assert_eq!(attempt["stage"], "finished", "{done}");
    let scores = &attempt["customers"][0];
    for when in ["before", "rehearsed", "after"] {
        assert_eq!(scores[when]["right"], 2, "{when}: {scores}");
    }
    println!("update: the console was away for {} ms", attempt["downtime_ms"]);
    assert!(attempt["downtime_ms"].as_u64().unwrap() < 60_000, "{attempt}");
    serves(&product, "0.2.0");
    assert_eq!(documents(&product), before);
    assert_eq!(product.json(&["update", "--yes"])["changed"], false, "the same release is not installed twice");

    let back = product.json(&["update", "rollback", "--yes"]);
    assert_eq!(back["attempt"]["stage"], "rolled-back", "{back}");
    serves(&product, "0.1.0");
    assert_eq!(documents(&product), before);
    // It is held now, and stays away until a person lets it go.
    assert!(product.run(&["update", "--yes"]).expect(1).err.contains("is held"));
    let history = product.json(&["update", "history"]);
    let outcomes: Vec<_> =
        history["history"].as_array().unwrap().iter().map(|entry| entry["outcome"].clone()).collect();
    assert_eq!(outcomes, ["installed", "rolled-back"]);
}

fn is_soak(what: &str) -> bool {
    let is_soak = std::env::var_os("ZERO711_SOAK").is_some();
    if !is_soak {
        println!("skipped: {what}; scripts/soak.sh runs it");
    }
    is_soak
}

/// Replaces every occurrence; the fixture is worth nothing when there is none.
fn patch(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let found: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, here)| *here == from).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "the program has no such bytes any more");
    for at in found {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
}

/// The roles never come up: noticed in the rehearsal, before anything is stopped.
#[test]
fn a_release_that_crashes_is_refused_before_the_stop() {
    if !is_soak("a release of its own is built") {
        return;
    }
    let (product, vendor) = (installed(), Vendor::the());
    let bad = vendor.release("crashes", "0.3.0", |bytes| patch(bytes, b"lake.lock", b"lake\0lock"));
    let before = pids(&product);
    let refused = product.run(&["update", "--from", &bad, "--yes", "--json"]).expect(1);
    assert!(refused.out.contains("rehearsal"), "{}", refused.out);
    serves(&product, "0.1.0");
    assert_eq!(pids(&product), before, "a service was touched");
    assert!(product.run(&["update", "--from", &bad, "--yes"]).expect(1).err.contains("is held"));
}

/// Good in the rehearsal, then a service ends again and again: the old release comes back by itself.
#[test]
fn a_release_that_dies_while_it_is_watched_is_taken_back() {
    if !is_soak("a release is watched for minutes") {
        return;
    }
    let (product, vendor) = (installed(), Vendor::the());
    product.ok(&["update", "configure", "--watch-minutes", "2"]);
    let mut update = begin(&product, &vendor.good());
    until_stage(&product, "watching");
    for _ in 0..3 {
        let status = product.json(&["status"]);
        let lake = status["roles"].as_array().unwrap().iter().find(|role| role["role"] == "lake").unwrap().clone();
        if let Some(pid) =
            lake["pid"].as_i64().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()))
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(Duration::from_secs(4));
    }
    assert!(!update.wait().unwrap().success());
    let state = product.json(&["update", "status"])["state"].clone();
    assert_eq!(state["attempt"]["stage"], "rolled-back", "{state}");
    assert!(state["attempt"]["cause"].as_str().unwrap().contains("lake"), "{state}");
    serves(&product, "0.1.0");
}

/// Without a way back nothing is stopped.
#[test]
fn a_missing_way_back_is_refused_before_the_stop() {
    if !is_soak("another installation") {
        return;
    }
    let (product, vendor) = (installed(), Vendor::the());
    let link = fs::canonicalize(product.root.join("bin/0711")).unwrap();
    // The running program's file is another one now: what runs goes on, but could not be put back.
    let copy = fs::read(&link).unwrap();
    fs::remove_file(&link).unwrap();
    let mut damaged = copy.clone();
    damaged.push(0);
    fs::write(&link, damaged).unwrap();
    fs::set_permissions(&link, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let refused = product.run(&["update", "--from", &vendor.good(), "--yes"]).expect(1);
    assert!(refused.err.contains("could not be put back"), "{}", refused.err);
    assert_eq!(version(&product), "0.1.0");
}

pub fn begin(product: &Product, from: &str) -> std::process::Child {
    let mut command = product.command(&["update", "--from", from, "--yes", "--json"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// `kill -9`.
fn end(update: &mut std::process::Child) {
    update.kill().unwrap();
    update.wait().unwrap();
}

fn stage(product: &Product) -> String {
    let state = fs::read(product.root.join("var/update/state.json")).unwrap_or_default();
    let state: Value = serde_json::from_slice(&state).unwrap_or_default();
    state["attempt"]["stage"].as_str().unwrap_or_default().to_owned()
}

pub fn until_stage(product: &Product, wanted: &str) {
    let started = Instant::now();
    while stage(product) != wanted {
        assert!(started.elapsed() < Duration::from_secs(300), "it is {}, not {wanted}", stage(product));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same in containers is told in `docker`.
#[test]
fn killed_in_every_stage_one_stack_serves() {
    if !is_soak("six updates are killed") {
        return;
    }
    let product = installed();
    killed_in_every_stage(&product, &Vendor::the().good(), &|expect| serves(&product, expect));
}

/// `kill -9` of the process that updates, on entering each stage; the same command again ends in one complete stack.
pub fn killed_in_every_stage(product: &Product, good: &str, serves: &dyn Fn(&str)) {
    for (wanted, expect) in [
        ("rehearsing", "0.2.0"),
        ("switching", "0.1.0"),
        ("watching", "0.1.0"),
        ("rolling-back", "0.1.0"),
        ("committed", "0.2.0"),
    ] {
        product.run(&["update", "release", "0.2.0"]).expect(0);
        let mut update = begin(product, good);
        match wanted {
            "rolling-back" => {
                // Going back is begun by Ctrl-C while the release is watched.
                until_stage(product, "watching");
                let pid = rustix::process::Pid::from_raw(i32::try_from(update.id()).unwrap()).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
                until_stage(product, "rolling-back");
            }
            _ => until_stage(product, wanted),
        }
        end(&mut update);
        println!("killed in {wanted}");
        // Whatever was killed on the way, the next run brings it to an end: back to the old, or on to the new.
        product.command(&["update", "--from", good, "--yes", "--json"]).output().unwrap();
        serves(expect);
        if expect == "0.2.0" {
            product.ok(&["update", "rollback", "--yes"]);
            serves("0.1.0");
        }
    }
}
