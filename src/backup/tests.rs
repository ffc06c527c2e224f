//! The room at its face: what whoever relies on a backup can rely on.

mod bucket;
mod damage;
mod ends;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use base::{Clock, CustomerLayout, Digest, Layout, Slug, Timestamp, file::Lock};
use tokio_util::sync::CancellationToken;

use crate::{
    Create, Created, Depth, Error, Event, Keep, LakeCut, Memory, Prune, Pruned, Repository, RepositoryKey, Restore,
    Restored, Source, Store, Turn, Verified, mend, seal::random, verify,
};

/// A customer with data, a medium, and a machine to restore on.
struct World {
    dir: tempfile::TempDir,
    layout: Layout,
    slug: Slug,
    key: RepositoryKey,
}

fn at(day: u32) -> Clock {
    Clock::fixed(Timestamp::parse("2026-11-01T02:30:00Z").unwrap().plus_days(i64::from(day)))
}

/// Bytes that look like nothing in particular, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| byte()).collect()
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path().join("old"));
        let world = Self { layout, slug: Slug::parse("eaton").unwrap(), key: RepositoryKey::generate(), dir };
        let customer = world.customer();
        write(&customer.license(), b"license");
        write(&customer.answers(), b"folders: [/srv/daten]\n");
        write(&customer.backup_schedule(), b"schedule");
        write(&customer.backup_keys().join("x.key"), b"key");
        write(&customer.plan(), b"plan");
        write(&customer.receipt(), b"receipt");
        write(&customer.config(), b"config");
        write(&customer.token(), b"token");
        write(&customer.first_password(), b"password");
        write(&customer.log(base::Role::Llm), b"log");
        write(&customer.loras().join("registry.json"), b"{}");
        write(&customer.loras().join("v1_20261101/adapter.gguf"), &noise(1, 700_000));
        write(&customer.loras().join("registry.lock"), b"");
        write(&customer.console_state().join("empty"), b"");
        write(&customer.lakehouse().join("delta/documents/live.parquet"), b"of no commit");
        world.commit("a", &noise(2, 3_000_000));
        world.commit("b", "text ".repeat(100_000).as_bytes());
        fs::set_permissions(customer.license(), fs::Permissions::from_mode(0o600)).unwrap();
        world
    }

    fn customer(&self) -> CustomerLayout {
        self.layout.customer(&self.slug)
    }

    /// A file of the lake's commit, as the lake holds it.
    fn commit(&self, name: &str, content: &[u8]) {
        write(&self.customer().lake_pin().join("delta/documents").join(name), content);
    }

    fn medium(&self) -> PathBuf {
        self.dir.path().join("medium")
    }

    fn store(&self) -> Arc<Store> {
        let store = Store::folder(self.medium()).unwrap();
        match Repository::find(&store).unwrap() {
            Some(_) => Arc::new(store),
            None => Repository::begin(store, &self.key, None, at(0)).unwrap(),
        }
    }

    fn create(&self, day: u32) -> Result<Created, Error> {
        self.create_as(day, &|_| (), &CancellationToken::new())
    }

    fn create_as(&self, day: u32, events: crate::Sink<'_>, cancel: &CancellationToken) -> Result<Created, Error> {
        let customer = self.customer();
        let lake = Some(LakeCut { commit: u64::from(day), committed: at(day).now() });
        let turn = Turn::take(&customer)?;
        let create = Create {
            turn: &turn,
            store: self.store(),
            key: &self.key,
            source: Source { layout: &customer, lake },
            root: self.layout.root(),
            needs: Vec::new(),
            formats: BTreeMap::from([("lake".to_owned(), 1)]),
            program: "0.1.0",
            waits: false,
            accepts_older: false,
            clock: at(day),
        };
        create.run(events, cancel)
    }

    fn restore(&self, to: &str) -> Result<Restored, Error> {
        self.restore_as(to, |_| ())
    }

    fn restore_as<'a>(&'a self, to: &str, change: impl FnOnce(&mut Restore<'a>)) -> Result<Restored, Error> {
        let layout = Layout::rooted(self.dir.path().join(to));
        let mut restore = Restore {
            store: self.store(),
            key: &self.key,
            layout: &self.layout,
            customer: None,
            which: None,
            replaces: false,
            with_secrets: false,
            rewrite: &|_, _| None,
            clock: at(99),
        };
        change(&mut restore);
        Restore { layout: &layout, ..restore }.run(&|_| (), &CancellationToken::new())
    }

    fn verify(&self, depth: Depth) -> Result<Verified, Error> {
        verify(&self.store(), &self.key, depth, &|_| (), &CancellationToken::new())
    }

    fn prune(&self, keep: Keep, is_dry: bool) -> Result<Pruned, Error> {
        let layout = self.customer();
        let prune = Prune { store: self.store(), key: &self.key, layout: &layout, keep, is_dry, waits: false };
        prune.run(&|_| (), &CancellationToken::new())
    }

    /// What a restored customer has, by path; the lake's files where the pin had them.
    fn restored(&self, to: &str) -> BTreeMap<String, Vec<u8>> {
        let layout = Layout::rooted(self.dir.path().join(to)).customer(&self.slug);
        let mut found = tree(layout.dir(), "var");
        found.extend(tree(layout.etc(), "etc"));
        found
    }

    /// What a restored customer should have.
    fn expected(&self) -> BTreeMap<String, Vec<u8>> {
        let customer = self.customer();
        let mut expected = BTreeMap::new();
        let mut add = |name: &str, path: &Path| {
            expected.insert(name.to_owned(), fs::read(path).unwrap());
        };
        add("etc/license", &customer.license());
        add("etc/answers.yaml", &customer.answers());
        add("var/former/backup.yaml", &customer.backup_schedule());
        add("var/former/plan.json", &customer.plan());
        add("var/former/receipt.json", &customer.receipt());
        add("var/former/config.yaml", &customer.config());
        add("var/loras/registry.json", &customer.loras().join("registry.json"));
        add("var/loras/v1_20261101/adapter.gguf", &customer.loras().join("v1_20261101/adapter.gguf"));
        add("var/console/empty", &customer.console_state().join("empty"));
        expected.extend(tree(&customer.lake_pin(), "var/lakehouse"));
        expected
    }

    fn pieces(&self) -> BTreeMap<String, Vec<u8>> {
        let mut pieces = tree(&self.medium(), "");
        pieces.retain(|name, _| !name.starts_with("/locks/"));
        pieces
    }

    /// Makes the medium hold exactly these pieces.
    fn lay(&self, pieces: &BTreeMap<String, Vec<u8>>) {
        fs::remove_dir_all(self.medium()).unwrap();
        fs::create_dir(self.medium()).unwrap();
        for (name, content) in pieces {
            write(&self.medium().join(name.trim_start_matches('/')), content);
        }
    }

    fn nothing_was_written(&self, to: &str) -> bool {
        tree(&self.dir.path().join(to), "").is_empty()
    }
}

fn tree(folder: &Path, name: &str) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(tree(&entry.path(), &name));
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

#[test]
fn what_was_backed_up_comes_back_in_another_place() {
    let world = World::new();
    for (folder, mode) in [(world.customer().dir().to_owned(), 0o755), (world.customer().loras(), 0o750)] {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    }
    let created = world.create(1).unwrap();
    assert_eq!(created.skipped_files, []);
    assert_eq!(world.verify(Depth::Everything).unwrap().problems, []);
    let restored = world.restore("new").unwrap();
    assert_eq!(world.restored("new"), world.expected());
    assert_eq!((restored.files, restored.lacking), (world.expected().len() as u64, 0));
    assert_eq!(restored.lake.unwrap().commit, 1);
    let there = Layout::rooted(world.dir.path().join("new")).customer(&world.slug);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    // What is a customer's is nobody else's, and below that everything is as it was.
    assert_eq!([there.license(), there.dir().to_owned(), there.loras()].map(mode), [0o600, 0o700, 0o750]);
    // What is between here and there cannot be read without the key.
    let sealed: Vec<u8> = world.pieces().into_values().flatten().collect();
    let text = String::from_utf8_lossy(&sealed);
    assert!(!text.contains("text text") && !text.contains("adapter") && !text.contains("eaton"));
}

#[test]
fn secrets_come_back_only_when_they_are_asked_for() {
    let world = World::new();
    world.create(1).unwrap();
    world.restore_as("new", |restore| restore.with_secrets = true).unwrap();
    let mut expected = world.expected();
    expected.insert("var/deployment/secrets/token".to_owned(), b"token".to_vec());
    assert_eq!(world.restored("new"), expected);
}

#[test]
fn a_second_backup_reads_and_writes_only_what_changed() {
    let world = World::new();
    let first = world.create(1).unwrap();
    let second = world.create(2).unwrap();
    assert_eq!((second.read_files, second.entry.added_bytes), (0, 0));
    assert!(first.read_files > 10 && first.entry.added_bytes > 3_000_000);
    // A pin gives new names to old files: they are known all the same.
    let pin = world.customer().lake_pin();
    fs::rename(&pin, world.dir.path().join("pin-before")).unwrap();
    fs::create_dir_all(pin.join("delta/documents")).unwrap();
    for name in ["a", "b"] {
        let before = world.dir.path().join("pin-before/delta/documents").join(name);
        fs::hard_link(before, pin.join("delta/documents").join(name)).unwrap();
    }
    let mut longer = noise(2, 3_000_000);
    longer.splice(1_500_000..1_500_000, *b"some more");
    world.commit("c", &longer);
    let third = world.create(3).unwrap();
    assert_eq!(third.read_files, 1);
    assert!(third.entry.added_bytes < 3_000_000, "{} bytes for nine", third.entry.added_bytes);
    // The same name, length and time of writing, and other bytes: the time of the change tells.
    let path = world.customer().loras().join("v1_20261101/adapter.gguf");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, noise(9, 700_000)).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(world.create(4).unwrap().read_files, 1);
    world.restore("new").unwrap();
    assert_eq!(world.restored("new"), world.expected());
    world.restore_as("older", |restore| restore.which = Some("")).unwrap_err();
    let id = first.entry.id.hex();
    world.restore_as("older", |restore| restore.which = Some(&id[..12])).unwrap();
    assert_eq!(
        world.restored("older")["/var/loras/v1_20261101/adapter.gguf".trim_start_matches('/')],
        noise(1, 700_000)
    );
}

#[test]
fn nothing_in_place_is_overwritten_and_what_is_replaced_is_kept() {
    let world = World::new();
    world.create(1).unwrap();
    let there = Layout::rooted(world.dir.path().join("new")).customer(&world.slug);
    write(&there.lakehouse().join("mine"), b"precious");
    assert!(matches!(world.restore("new"), Err(Error::Occupied { .. })));
    assert_eq!(world.restored("new").len(), 1);
    let running = Lock::try_acquire(&there.lake_lock(), "serve lake").unwrap();
    let replace = || world.restore_as("new", |restore| restore.replaces = true);
    assert!(matches!(replace(), Err(Error::Running(_))));
    drop(running);
    let restored = replace().unwrap();
    assert_eq!(world.restored("new"), world.expected());
    assert_eq!(fs::read(restored.aside[0].join("lakehouse/mine")).unwrap(), b"precious");
    let again = replace().unwrap();
    assert_eq!(again.aside.len(), 2);
    assert!(again.aside.iter().all(|path| path.exists() && !restored.aside.contains(path)));
}

#[test]
fn what_opens_the_backups_and_what_was_seen_of_them_outlives_a_restore_in_place() {
    let world = World::new();
    world.create(1).unwrap();
    let key = world.key.keep(&world.customer().backup_keys()).unwrap();
    let (customer, memory) = (world.customer(), Memory::read(&world.customer()).unwrap());
    fs::write(customer.answers(), b"spoilt").unwrap();
    world.restore_as("old", |restore| restore.replaces = true).unwrap();
    assert_eq!(fs::read(customer.answers()).unwrap(), b"folders: [/srv/daten]\n");
    assert_eq!(RepositoryKey::read(&key).unwrap().repository(), world.key.repository());
    assert_eq!(Memory::read(&customer).unwrap(), memory);
}

#[test]
fn a_repository_that_lost_its_catalogs_is_damaged_and_not_empty() {
    let world = World::new();
    world.create(1).unwrap();
    let whole = world.pieces();
    world.lay(&whole.iter().filter(|(name, _)| !name.starts_with("/catalog/")).map(own).collect());
    assert!(matches!(world.restore("new"), Err(Error::Damaged { .. })));
    assert!(matches!(world.prune(Keep { last: 1, ..Keep::default() }, false), Err(Error::Damaged { .. })));
    assert!(matches!(world.create(2), Err(Error::Damaged { .. })));
    mend(&world.store(), &world.key, &|_| (), &CancellationToken::new()).unwrap();
    world.restore("new").unwrap();
    assert_eq!(world.restored("new"), world.expected());
    // A first backup that was cut short right before it counted is taken in.
    let begun = |name: &str| !name.starts_with("/catalog/") || name.ends_with('1');
    world.lay(&whole.iter().filter(|(name, _)| begun(name)).map(own).collect());
    fs::remove_dir_all(world.customer().backup_state()).unwrap();
    assert_eq!(world.create(2).unwrap().entry.added_bytes, 0);
    let found = world.verify(Depth::Everything).unwrap();
    assert_eq!((found.snapshots, found.problems), (2, Vec::new()));
}

fn own((name, content): (&String, &Vec<u8>)) -> (String, Vec<u8>) {
    (name.clone(), content.clone())
}

#[test]
fn a_lake_that_is_not_held_is_no_backup() {
    let world = World::new();
    fs::remove_dir_all(world.customer().lake_pin()).unwrap();
    assert!(matches!(world.create(1), Err(Error::Read { .. })));
    assert!(Memory::read(&world.customer()).unwrap().last_failure.is_some());
}

#[test]
fn who_was_passed_over_undoes_nothing() {
    let world = World::new();
    world.create(1).unwrap();
    let store = world.store();
    let mut slept = Repository::open(&store, &world.key).unwrap();
    world.create(2).unwrap();
    let old = slept.catalog.clone();
    assert!(matches!(slept.put_catalog(old), Err(Error::Changed)));
    assert_eq!(Repository::open(&store, &world.key).unwrap().snapshots().len(), 2);
}

#[test]
fn small_files_can_be_told_where_they_are_now() {
    let world = World::new();
    world.create(1).unwrap();
    let rewrite = |name: &str, content: &[u8]| {
        (name == "etc/answers.yaml").then(|| String::from_utf8_lossy(content).replace("/srv", "/mnt").into_bytes())
    };
    for _ in 0..2 {
        world.restore_as("new", |restore| restore.rewrite = &rewrite).unwrap();
        assert_eq!(world.restored("new")["etc/answers.yaml"], b"folders: [/mnt/daten]\n");
        // Also the rewritten one is known again.
        let there = Layout::rooted(world.dir.path().join("new")).customer(&world.slug);
        fs::remove_dir_all(there.dir()).unwrap();
    }
}

#[test]
fn files_that_cannot_be_read_are_listed_and_the_others_are_safe() {
    let world = World::new();
    let odd = world.customer().loras().join("link");
    std::os::unix::fs::symlink("/etc/passwd", &odd).unwrap();
    let told = Mutex::new(Vec::new());
    let events = |event: Event| {
        if let Event::Skipped(skipped) = event {
            told.lock().unwrap().push(skipped);
        }
    };
    let created = world.create_as(1, &events, &CancellationToken::new()).unwrap();
    assert_eq!(created.skipped_files, told.into_inner().unwrap());
    assert_eq!(created.skipped_files.len(), 1);
    assert_eq!(created.skipped_files[0].path, "var/loras/link");
    let memory = Memory::read(&world.customer()).unwrap();
    assert_eq!(memory.last_success.unwrap().skipped, 1);
    assert_eq!(world.restore("new").unwrap().lacking, 1);
    assert_eq!(world.restored("new"), world.expected());
}

#[test]
fn customers_share_a_medium_and_keep_their_own_rules() {
    let world = World::new();
    world.create(1).unwrap();
    let mut other = World::new();
    (other.slug, other.key) = (Slug::parse("abb").unwrap(), world.key.clone());
    let there = other.customer();
    fs::rename(other.layout.customer(&world.slug).dir(), there.dir()).unwrap();
    let turn = Turn::take(&there).unwrap();
    let shared = Create {
        turn: &turn,
        store: world.store(),
        key: &world.key,
        source: Source { layout: &there, lake: Some(LakeCut { commit: 1, committed: at(1).now() }) },
        root: None,
        needs: Vec::new(),
        formats: BTreeMap::new(),
        program: "0.1.0",
        waits: false,
        accepts_older: false,
        clock: at(2),
    };
    let created = shared.run(&|_| (), &CancellationToken::new()).unwrap();
    assert_eq!(created.entry.added_bytes, 0, "what is the same is kept once");
    world.create(3).unwrap();
    assert!(matches!(world.restore("new"), Err(Error::WhichCustomer { .. })));
    let pruned = world.prune(Keep { last: 1, ..Keep::default() }, false).unwrap();
    assert_eq!((pruned.removed.len(), pruned.kept.len()), (1, 2));
    let slug = other.slug.clone();
    world.restore_as("new", |restore| restore.customer = Some(&slug)).unwrap();
}

#[test]
fn bytes_of_any_kind_come_back() {
    let world = World::new();
    let folder = world.customer().loras().join("kinds");
    for (number, length) in [0, 1, 262_144, 262_145, 1_048_576, 4_194_304, 4_194_305, 9_000_000].into_iter().enumerate()
    {
        write(&folder.join(format!("noise{number}")), &noise(number as u64, length));
        write(&folder.join(format!("zeros{number}")), &vec![0; length]);
    }
    write(&folder.join("Ümläut und Leer\nzeile"), b"x");
    fs::create_dir(folder.join("empty folder")).unwrap();
    world.create(1).unwrap();
    world.restore("new").unwrap();
    let there = Layout::rooted(world.dir.path().join("new")).customer(&world.slug);
    let digests = |folder: &Path| -> BTreeMap<String, Digest> {
        tree(folder, "").into_iter().map(|(name, content)| (name, Digest::of(&content))).collect()
    };
    assert_eq!(digests(&there.loras().join("kinds")), digests(&folder));
    assert!(there.loras().join("kinds/empty folder").is_dir());
}
