//! Backups, through the binary: made, proven, killed, restored elsewhere, and asked the same questions.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::product::{Product, Run};

/// Topics that share words with one another, so that the order of results says something.
const TOPICS: [&str; 10] = [
    "Bemessungsstrom der Durchgangsklemme",
    "Anzugsdrehmoment der Schraubklemme",
    "rated voltage of the surge arrester",
    "Lieferzeit und Mindestmenge",
    "Garantie der Stromversorgung",
    "fire classification of the housing",
    "Zulassung nach VDE und UL",
    "cross section of the conductor",
    "Temperaturbereich im Schaltschrank",
    "packing unit and customs tariff",
];

/// Writes `count` small documents, the same each time.
fn documents(folder: &Path, count: usize) {
    for number in 0..count {
        let dir = folder.join(format!("{:02}", number % 40));
        fs::create_dir_all(&dir).unwrap();
        let [a, b] = [TOPICS[number % 10], TOPICS[number * 7 % 10]];
        let text = format!(
            "Artikel {number}: {a}\n\nTyp KX-{} mit {} A und {} Nm. {b} siehe Blatt {}.\nStand {}.\n",
            number % 97,
            number % 63,
            number % 13,
            number % 211,
            2000 + number % 27
        );
        fs::write(dir.join(format!("{number:05}.txt")), text).unwrap();
    }
}

/// What search finds for golden questions: every result with its rank and score.
fn golden(product: &Product) -> String {
    let folder = product.folder("questions");
    let (questions, run) = (folder.join("golden.jsonl"), folder.join("run.tsv"));
    let line =
        |(number, topic): (usize, &&str)| format!("{{\"id\":\"{number}\",\"text\":\"{topic} KX-{}\"}}\n", number * 9);
    fs::write(&questions, TOPICS.iter().enumerate().map(line).collect::<String>()).unwrap();
    let paths = [&questions, &run].map(|path| path.display().to_string());
    product.ok(&["search", "--queries", &paths[0], "--run", &paths[1], "-k", "20"]);
    fs::read_to_string(run).unwrap()
}

/// The event `begun` of a first backup: its recovery key, put into a file.
fn recovery_key(run: &Run, file: &Path) {
    let events = run.err.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let begun = events.into_iter().find(|event| event["event"] == "begun").expect("the key is shown once");
    fs::write(file, begun["recovery_key"].as_str().unwrap()).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A first backup to a medium of its own. Returns the medium and the file with the recovery key.
fn first_backup(product: &Product) -> (String, String) {
    let medium = product.folder("media").join("stick").display().to_string();
    let run = product.ok(&["backup", "create", "--to", &medium, "--json"]);
    let key = product.folder("safe").join("recovery-key");
    recovery_key(&run, &key);
    (medium, key.display().to_string())
}

fn backup(product: &Product, args: &[&str]) -> Run {
    let mut all = vec!["backup"];
    all.extend(args);
    product.run(&all)
}

fn packs(medium: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in fs::read_dir(Path::new(medium).join("packs")).unwrap().map(Result::unwrap) {
        found.extend(fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()));
    }
    found.sort();
    found
}

fn size(medium: &str) -> u64 {
    packs(medium).iter().map(|pack| pack.metadata().unwrap().len()).sum()
}

#[test]
fn a_backup_restored_elsewhere_answers_the_same() {
    let product = Product::new();
    let folder = product.folder("share");
    documents(&folder, 60);
    let share = folder.display().to_string();
    product.ok(&["ingest", &share]);
    let (medium, key) = first_backup(&product);
    let first = golden(&product);
    let before = packs(&medium);

    // More is read; the second backup is small, and needs no place named.
    documents(&folder, 90);
    product.ok(&["ingest", &share]);
    let second = backup(&product, &["create", "--json"]).expect(0).json();
    assert_eq!(second["place"], medium);
    assert!(second["backup"]["skipped"] == 0 && second["backup"]["commit"].as_u64().unwrap() > 0, "{second}");
    let expected = golden(&product);
    assert_ne!(first, expected);
    let listed = backup(&product, &["list", "--json"]).expect(0).json();
    let listed = listed["snapshots"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    backup(&product, &["verify"]).expect(0);

    // On a machine that knows nothing: with the recovery key, to another root.
    let other = Product::new();
    backup(&other, &["restore", "--from", &medium]).expect(2);
    let restored = backup(&other, &["restore", "--from", &medium, "--key-file", &key, "--json"]).expect(0).json();
    assert_eq!(restored["restored"]["customer"], "demo", "{restored}");
    assert_eq!(golden(&other), expected);
    let again = other.ok(&["ingest", &share, "--json"]).json();
    assert_eq!((again["unchanged"].as_u64(), again["added"].as_u64()), (Some(90), Some(0)), "nothing is read again");
    // In place is in place.
    let refused = backup(&other, &["restore", "--from", &medium, "--key-file", &key]).expect(2);
    assert!(refused.err.contains("--replace"), "{}", refused.err);
    let older = listed[0]["id"].as_str().unwrap();
    let restored = backup(
        &other,
        &["restore", "--from", &medium, "--key-file", &key, "--snapshot", &older[..10], "--replace", "--json"],
    );
    let restored = restored.expect(0).json();
    let aside = restored["restored"]["aside"][0].as_str().unwrap();
    assert!(Path::new(aside).join("lakehouse").is_dir(), "{restored}");
    assert_eq!(golden(&other), first);

    // What the second backup added, it needs, and is still here.
    let added = packs(&medium).into_iter().find(|pack| !before.contains(pack)).expect("a second pack");
    damage_is_noticed(&product, &medium, &key, &added);
    old_backups_go(&product, &medium);
    a_schedule_is_kept(&product, &medium);
}

fn damage_is_noticed(product: &Product, medium: &str, key: &str, pack: &Path) {
    let mut bent = fs::read(pack).unwrap();
    let middle = bent.len() / 2;
    bent[middle] ^= 1;
    fs::write(pack, bent).unwrap();
    let refused = backup(product, &["verify", "--json"]).expect(12);
    let found: Value = serde_json::from_str(refused.out.lines().next().unwrap()).unwrap();
    assert!(!found["found"]["problems"].as_array().unwrap().is_empty(), "{found}");
    let fresh = Product::new();
    backup(&fresh, &["restore", "--from", medium, "--key-file", key]).expect(12);
    assert!(!fresh.root.join("var/demo").exists(), "nothing is written before all is proven");
    // What is still there is written anew, and both backups are whole again.
    backup(product, &["verify", "--mend"]).expect(0);
    backup(product, &["create"]).expect(0);
    backup(product, &["verify"]).expect(0);
}

fn old_backups_go(product: &Product, medium: &str) {
    backup(product, &["prune"]).expect(2);
    let dry = backup(product, &["prune", "--keep-last", "1", "--dry-run", "--json"]).expect(0).json();
    assert_eq!(dry["pruned"]["removed"].as_array().unwrap().len(), 2, "{dry}");
    let done = backup(product, &["prune", "--keep-last", "1", "--json"]).expect(0).json();
    assert_eq!(done["pruned"]["removed"], dry["pruned"]["removed"]);
    backup(product, &["verify"]).expect(0);
    assert!(!packs(medium).is_empty());
}

fn a_schedule_is_kept(product: &Product, medium: &str) {
    backup(product, &["schedule", "--at", "25:00"]).expect(1);
    backup(product, &["schedule", "--at", "02:30", "--keep-daily", "7"]).expect(0);
    let shown = backup(product, &["schedule", "--json"]).expect(0).json();
    assert_eq!((shown["schedule"]["at"].as_str(), shown["schedule"]["to"].as_str()), (Some("02:30"), Some(medium)));
    assert!(shown["last_success"]["snapshot"].is_string(), "{shown}");
    backup(product, &["create", "--scheduled"]).expect(0);
    // The stick is pulled out: the failure is known, and nothing is written where it was mounted.
    let away = Path::new(medium).with_extension("away");
    fs::rename(medium, &away).unwrap();
    backup(product, &["create", "--scheduled"]).expect(7);
    assert!(!Path::new(medium).exists());
    let shown = backup(product, &["schedule", "--json"]).expect(0).json();
    assert!(shown["last_failure"]["error"].as_str().unwrap().contains("no backup"), "{shown}");
    let refused = backup(product, &["create"]).expect(7);
    assert!(refused.err.contains("--new"), "{}", refused.err);
    fs::rename(&away, medium).unwrap();
    backup(product, &["create"]).expect(0);
    let off = backup(product, &["schedule", "--off", "--json"]).expect(0).json();
    assert!(off["schedule"].is_null() && off["last_failure"].is_null(), "{off}");
}

#[test]
fn a_killed_backup_and_a_killed_pruning_go_on() {
    let product = Product::new();
    let customer = product.root.join("var/demo");
    // No lake is needed for this: adapters are the larger part of many a backup.
    let adapter = |name: &str, seed: u64| {
        let dir = customer.join("loras").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("adapter.gguf"), noise(seed, 24 << 20)).unwrap();
    };
    adapter("v1_20261101", 1);
    let slug = ["--slug", "demo"];
    let (medium, key) = {
        let medium = product.folder("media").join("stick").display().to_string();
        let run = product.ok(&["backup", "create", "--to", &medium, "--json", slug[0], slug[1]]);
        let key = product.folder("safe").join("recovery-key");
        recovery_key(&run, &key);
        (medium, key.display().to_string())
    };
    let command = |args: &[&str]| {
        let mut command = product.command(args);
        command.args(slug).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let whole = |round: u64| {
        product.ok(&["backup", "verify", slug[0], slug[1]]);
        let listed = product.ok(&["backup", "list", "--json", slug[0], slug[1]]).json();
        assert!(!listed["snapshots"].as_array().unwrap().is_empty(), "round {round}");
    };
    for round in 0..4_u64 {
        adapter(&format!("v{}_20261102", round + 2), round + 2);
        let started = Instant::now();
        let mut child = command(&["backup", "create"]).spawn().unwrap();
        // The golden ratio spreads the moments over the second it takes.
        std::thread::sleep(Duration::from_millis((round * 618 + 150) % 1000));
        child.kill().unwrap();
        child.wait().unwrap();
        println!("create killed after {:?}", started.elapsed());
        whole(round);
        assert!(command(&["backup", "create"]).status().unwrap().success());
        whole(round);
        let mut child = command(&["backup", "prune", "--keep-last", "1"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis((round * 382 + 80) % 600));
        child.kill().unwrap();
        child.wait().unwrap();
        whole(round);
        assert!(command(&["backup", "prune", "--keep-last", "1"]).status().unwrap().success());
        whole(round);
    }
    let other = Product::new();
    other.ok(&["backup", "restore", "--from", &medium, "--key-file", &key]);
    for version in 1..=5_u64 {
        let name = format!("v{version}_2026110{}", if version == 1 { 1 } else { 2 });
        let restored = fs::read(other.root.join("var/demo/loras").join(name).join("adapter.gguf")).unwrap();
        assert!(restored == noise(version, 24 << 20), "v{version} is another one");
    }
}

/// Bytes that look like nothing in particular, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length / 8).flat_map(|_| word()).collect()
}

/// While every service runs: the lake gives a commit, the backup is proven, and it answers the same elsewhere.
pub fn backups_are_made_while_everything_runs(product: &Product) {
    let (medium, key) = first_backup(product);
    let before = golden(product);
    backup(product, &["verify"]).expect(0);
    let other = Product::new();
    let restored = backup(&other, &["restore", "--from", &medium, "--key-file", &key, "--json"]).expect(0).json();
    assert!(restored["next"].as_str().unwrap().contains("install --answers"), "{restored}");
    assert_eq!(golden(&other), before);
    let status = product.json(&["status"]);
    assert!(status["backup"]["last_success"]["snapshot"].is_string(), "{status}");
    // Somebody else's services must be stopped before their data are moved aside.
    backup(product, &["restore", "--from", &medium, "--replace"]).expect(5);
}

#[test]
fn five_thousand_documents_come_back() {
    if std::env::var_os("ZERO711_SOAK").is_none() {
        println!("skipped: reading 5,000 documents takes minutes; scripts/soak.sh runs it");
        return;
    }
    let product = Product::new();
    let folder = product.folder("share");
    documents(&folder, 5000);
    let started = Instant::now();
    product.ok(&["ingest", &folder.display().to_string()]);
    println!("read in {:?}", started.elapsed());
    let expected = golden(&product);
    let started = Instant::now();
    let (medium, key) = first_backup(&product);
    println!("backed up in {:?}: {} bytes in {} packs", started.elapsed(), size(&medium), packs(&medium).len());
    let started = Instant::now();
    let again = backup(&product, &["create", "--json"]).expect(0).json();
    let (read, added) = (&again["backup"]["read_files"], &again["backup"]["added_bytes"]);
    println!("again in {:?}: {read} files read, {added} bytes added", started.elapsed());
    let started = Instant::now();
    backup(&product, &["verify"]).expect(0);
    println!("proven in {:?}", started.elapsed());
    let other = Product::new();
    let started = Instant::now();
    backup(&other, &["restore", "--from", &medium, "--key-file", &key]).expect(0);
    println!("restored in {:?}", started.elapsed());
    // The questions are answered by the restored copy alone.
    fs::remove_dir_all(product.root.join("var/demo")).unwrap();
    assert_eq!(golden(&other), expected);
}
