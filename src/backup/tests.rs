//! The room at its face: what whoever relies on a backup can rely on.

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
    Restored, Source, Store, Verified, mend, seal::random, verify,
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
        let create = Create {
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

    fn restore_as(&self, to: &str, change: impl FnOnce(&mut Restore<'_>)) -> Result<Restored, Error> {
        let layout = Layout::rooted(self.dir.path().join(to));
        let mut restore = Restore {
            store: self.store(),
            key: &self.key,
            layout: &layout,
            customer: None,
            which: None,
            replaces: false,
            with_secrets: false,
            rewrite: &|_, _| None,
            clock: at(99),
        };
        change(&mut restore);
        restore.run(&|_| (), &CancellationToken::new())
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
    let created = world.create(1).unwrap();
    assert_eq!(created.skipped_files, []);
    assert_eq!(world.verify(Depth::Everything).unwrap().problems, []);
    let restored = world.restore("new").unwrap();
    assert_eq!(world.restored("new"), world.expected());
    assert_eq!((restored.files, restored.lacking), (world.expected().len() as u64, 0));
    assert_eq!(restored.lake.unwrap().commit, 1);
    let there = Layout::rooted(world.dir.path().join("new")).customer(&world.slug);
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(there.license()), mode(there.dir().to_owned())),
        (0o600, 0o755 & mode(world.customer().dir().to_owned()))
    );
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
fn a_hundred_corruptions_are_noticed_by_the_proof_and_before_anything_is_restored() {
    let world = World::new();
    world.create(1).unwrap();
    let first = world.pieces();
    world.commit("c", &noise(3, 1_000_000));
    world.create(2).unwrap();
    let whole = world.pieces();
    let seed = u64::from_le_bytes(random());
    let mut numbers = noise(seed, 10_000).into_iter();
    let mut below = |most: usize| {
        let number = (0..4).fold(0_usize, |number, _| number << 8 | usize::from(numbers.next().unwrap()));
        number % most
    };
    let names: Vec<&String> = whole.keys().collect();
    let of = |prefix: &str| -> Vec<&String> { names.iter().copied().filter(|name| name.starts_with(prefix)).collect() };
    for round in 0..100 {
        let mut pieces = whole.clone();
        let name = names[below(names.len())].clone();
        let length = whole[&name].len();
        let what = match round % 6 {
            0 | 1 => {
                let bit = below(length * 8);
                pieces.get_mut(&name).unwrap()[bit / 8] ^= 1 << (bit % 8);
                format!("bit {bit} of {name}")
            }
            2 => {
                let shorter = below(length);
                pieces.get_mut(&name).unwrap().truncate(shorter);
                format!("{name} cut to {shorter} of {length}")
            }
            3 => {
                pieces.remove(&name);
                format!("{name} removed")
            }
            4 => {
                let kind = ["/packs/", "/snapshots/", "/index/", "/catalog/"][below(4)];
                let [a, b] = [0, 1].map(|which| of(kind)[which].clone());
                pieces.insert(a.clone(), whole[&b].clone());
                pieces.insert(b.clone(), whole[&a].clone());
                format!("{a} and {b} swapped")
            }
            _ => {
                // An older catalog in the place of the newest, or the newest taken away.
                let newest = of("/catalog/").last().unwrap().to_string();
                let older = first.keys().rfind(|name| name.starts_with("/catalog/")).unwrap();
                if below(2) == 0 {
                    pieces.insert(newest.clone(), first[older].clone());
                } else {
                    pieces.remove(&newest);
                }
                format!("{newest} rolled back")
            }
        };
        world.lay(&pieces);
        let what = format!("seed {seed}, round {round}: {what}");
        match Repository::find(&Store::folder(world.medium()).unwrap()) {
            Ok(_) => {}
            // Both copies of the header are never hit at once.
            Err(error) => panic!("{what}: {error}"),
        }
        let noticed = world.verify(Depth::Everything);
        assert!(noticed.is_err() || !noticed.as_ref().unwrap().problems.is_empty(), "{what}: {noticed:?}");
        let to = format!("new{round}");
        let restored = world.restore(&to);
        match restored {
            Err(error) => {
                assert!(error.is_of_content(), "{what}: {error}");
                assert!(world.nothing_was_written(&to), "{what}: something was written");
            }
            // What was hit was not needed: a header, a catalog before the newest, or the newest backup itself.
            Ok(restored) => {
                let is_newest = restored.lake.unwrap().commit == 2;
                let mut expected = world.expected();
                if !is_newest {
                    expected.remove("var/lakehouse/delta/documents/c");
                }
                assert_eq!(world.restored(&to), expected, "{what}");
                assert!(!restored.problems.is_empty() || !noticed.unwrap().problems.is_empty(), "{what}");
            }
        }
        let _ = fs::remove_dir_all(world.dir.path().join(&to));
    }
}

#[test]
fn mending_puts_aside_what_is_damaged_and_the_next_backup_makes_it_good() {
    let world = World::new();
    world.create(1).unwrap();
    world.commit("c", &noise(3, 1_000_000));
    world.create(2).unwrap();
    let whole = world.pieces();
    for name in whole.keys() {
        for removes in [false, true] {
            let mut pieces = whole.clone();
            if removes {
                pieces.remove(name);
            } else {
                let content = pieces.get_mut(name).unwrap();
                let middle = content.len() / 2;
                content[middle] ^= 1;
            }
            world.lay(&pieces);
            let found = mend(&world.store(), &world.key, &|_| (), &CancellationToken::new()).unwrap();
            assert!(!found.problems.is_empty(), "{name}");
            let is_pack = name.starts_with("/packs/");
            let after = world.verify(Depth::Everything).unwrap();
            let is_only_lacking = after.problems.iter().all(|problem| problem.what.starts_with("snapshots/"));
            assert!(if is_pack { is_only_lacking } else { after.problems.is_empty() }, "{name}: {:?}", after.problems);
            world.create(3).unwrap();
            let after = world.verify(Depth::Everything).unwrap();
            assert_eq!(after.problems, [], "{name}");
            let lost = u64::from(name.starts_with("/snapshots/"));
            assert_eq!(after.snapshots, 3 - lost, "{name}");
            let to = tempfile::tempdir_in(world.dir.path()).unwrap();
            let to = to.path().join("new").display().to_string();
            world.restore(&to).unwrap();
            assert_eq!(world.restored(&to), world.expected(), "{name}");
        }
    }
}

#[test]
fn a_backup_that_ends_anywhere_leaves_the_others_and_its_packs_to_the_next() {
    let world = World::new();
    world.create(1).unwrap();
    let before = world.pieces();
    let expected = world.expected();
    world.commit("c", &noise(3, 2_000_000));
    let added = world.create(2).unwrap().entry.added_bytes;
    let after = world.pieces();
    // In the order they are written.
    let new =
        |prefix: &str| after.keys().filter(|name| name.starts_with(prefix) && !before.contains_key(*name)).cloned();
    let written: Vec<String> = ["/packs/", "/index/", "/snapshots/", "/catalog/"].into_iter().flat_map(new).collect();
    assert_eq!(written.len(), 4);
    for count in 0..=written.len() {
        let mut pieces = before.clone();
        pieces.extend(written[..count].iter().map(|name| (name.clone(), after[name].clone())));
        pieces.insert("/packs/.tmp-0123".to_owned(), b"torn".to_vec());
        world.lay(&pieces);
        // The memory of this machine says that the second backup was made; another machine knows nothing of it.
        fs::remove_dir_all(world.customer().backup_state()).unwrap();
        let to = format!("killed{count}");
        world.restore(&to).unwrap();
        let mut whole = world.expected();
        if count < 4 {
            whole = expected.clone();
        }
        assert_eq!(world.restored(&to), whole, "after {count} pieces");
        let again = world.create(3).unwrap();
        assert_eq!(again.entry.added_bytes > 0, count == 0, "what was written is used: {added} bytes");
        assert_eq!(world.verify(Depth::Everything).unwrap().problems, []);
        world.restore(&format!("again{count}")).unwrap();
        assert_eq!(world.restored(&format!("again{count}")), world.expected());
        let pruned = world.prune(Keep { last: 9, ..Keep::default() }, false).unwrap();
        assert_eq!(pruned.removed, []);
        assert_eq!(world.verify(Depth::Everything).unwrap().leftovers, Vec::<String>::new());
        assert!(!world.medium().join("packs/.tmp-0123").exists());
    }
}

#[test]
fn pruning_that_ends_anywhere_loses_no_backup_that_stays() {
    let world = World::new();
    for day in 1..=4_u32 {
        world.commit("changing", &noise(u64::from(day), 900_000));
        world.commit(&format!("only{day}"), &noise(u64::from(day) + 50, 600_000));
        if day > 1 {
            fs::remove_file(world.customer().lake_pin().join("delta/documents").join(format!("only{}", day - 1)))
                .unwrap();
        }
        world.create(day).unwrap();
    }
    let before = world.pieces();
    let keep = Keep { last: 2, ..Keep::default() };
    let dry = world.prune(keep, true).unwrap();
    assert_eq!(world.pieces(), before, "a dry run changes nothing");
    let pruned = world.prune(keep, false).unwrap();
    assert_eq!((dry.kept.clone(), dry.removed.clone()), (pruned.kept.clone(), pruned.removed.clone()));
    assert_eq!((pruned.kept.len(), pruned.removed.len()), (2, 2));
    assert!(pruned.freed_bytes > 1_500_000, "{}", pruned.freed_bytes);
    assert!(pruned.rewritten_bytes > 0, "the first pack holds what all need and what nobody needs");
    let after = world.pieces();
    let size = |pieces: &BTreeMap<String, Vec<u8>>| pieces.values().map(Vec::len).sum::<usize>();
    assert!(size(&after) + 1_500_000 < size(&before));
    let new =
        |prefix: &str| after.keys().filter(|name| name.starts_with(prefix) && !before.contains_key(*name)).cloned();
    let written: Vec<String> = ["/packs/", "/index/", "/catalog/"].into_iter().flat_map(new).collect();
    let old =
        |prefix: &str| before.keys().filter(|name| name.starts_with(prefix) && !after.contains_key(*name)).cloned();
    let removed: Vec<String> = ["/catalog/", "/snapshots/", "/index/", "/packs/"].into_iter().flat_map(old).collect();
    for count in 0..=written.len() + removed.len() {
        let mut pieces = before.clone();
        pieces.extend(written.iter().take(count).map(|name| (name.clone(), after[name].clone())));
        for name in removed.iter().take(count.saturating_sub(written.len())) {
            pieces.remove(name);
        }
        world.lay(&pieces);
        fs::remove_dir_all(world.customer().backup_state()).unwrap();
        assert_eq!(world.verify(Depth::Everything).unwrap().problems, [], "after {count} steps");
        let again = world.prune(keep, false).unwrap();
        assert_eq!(again.kept, pruned.kept, "after {count} steps");
        assert_eq!(world.verify(Depth::Everything).unwrap().leftovers, Vec::<String>::new());
        for entry in &pruned.kept {
            let to = format!("killed{count}-{}", entry.sequence);
            let id = entry.id.hex();
            world.restore_as(&to, |restore| restore.which = Some(&id)).unwrap();
        }
        let newest = format!("killed{count}-{}", pruned.kept[1].sequence);
        assert_eq!(world.restored(&newest), world.expected());
        let next = world.create(9).unwrap();
        assert_eq!(next.entry.added_bytes, 0, "everything is there still");
    }
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
fn a_restore_that_ended_between_its_two_renames_goes_on() {
    let world = World::new();
    world.create(1).unwrap();
    world.restore("new").unwrap();
    let there = Layout::rooted(world.dir.path().join("new"));
    fs::remove_dir_all(there.customer(&world.slug).dir()).unwrap();
    write(&there.restoring(&world.slug).dir().join("half"), b"written");
    world.restore("new").unwrap();
    assert_eq!(world.restored("new"), world.expected());
    assert!(!there.restoring(&world.slug).dir().exists());
    // Another license is somebody else's.
    fs::remove_dir_all(there.customer(&world.slug).dir()).unwrap();
    fs::write(there.customer(&world.slug).license(), b"another").unwrap();
    assert!(matches!(world.restore("new"), Err(Error::Occupied { .. })));
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
fn an_interrupted_backup_loses_nothing_it_has_read() {
    let world = World::new();
    world.commit("large", &noise(5, 80_000_000));
    let cancel = CancellationToken::new();
    let stop = |event: Event| {
        if matches!(event, Event::Progress(progress) if progress.done > 50) {
            cancel.cancel();
        }
    };
    assert!(matches!(world.create_as(1, &stop, &cancel), Err(Error::Interrupted)));
    let memory = Memory::read(&world.customer()).unwrap();
    assert!(memory.last_success.is_none() && memory.last_failure.is_some());
    let written: usize = world.pieces().values().map(Vec::len).sum();
    assert!(written > 30_000_000, "{written}");
    let created = world.create(2).unwrap();
    assert!(created.entry.added_bytes as usize + written < 90_000_000, "{written} bytes were used");
    let memory = Memory::read(&world.customer()).unwrap();
    assert!(memory.last_success.is_some() && memory.last_failure.is_none());
    assert_eq!(world.verify(Depth::Everything).unwrap().problems, []);
}

#[test]
fn an_older_state_of_the_medium_is_noticed() {
    let world = World::new();
    world.create(1).unwrap();
    let first = world.pieces();
    world.commit("c", b"more");
    world.create(2).unwrap();
    world.lay(&first);
    assert!(matches!(world.create(3), Err(Error::RolledBack { seen: 2, found: 1 })));
    assert!(matches!(world.prune(Keep { last: 1, ..Keep::default() }, false), Err(Error::RolledBack { .. })));
    let repository = Repository::open(&world.store(), &world.key).unwrap();
    assert!(Memory::read(&world.customer()).unwrap().check(&repository).is_err());
}

#[test]
fn another_key_opens_nothing() {
    let world = World::new();
    world.create(1).unwrap();
    let other = RepositoryKey::generate();
    assert!(matches!(Repository::open(&world.store(), &other), Err(Error::WrongKey)));
    assert_eq!(Repository::find(&world.store()).unwrap(), Some(world.key.repository()));
    let nothing = Arc::new(Store::folder(world.dir.path().join("nothing")).unwrap());
    assert!(matches!(Repository::open(&nothing, &other), Err(Error::NoRepository { .. })));
    write(&world.dir.path().join("full/file"), b"x");
    let full = Store::folder(world.dir.path().join("full")).unwrap();
    assert!(matches!(Repository::find(&full), Err(Error::Place { .. })));
    assert!(matches!(Repository::begin(full, &other, None, at(1)), Err(Error::Place { .. })));
}

#[test]
fn a_passphrase_opens_the_key_and_survives_one_damaged_header() {
    let dir = tempfile::tempdir().unwrap();
    let key = RepositoryKey::generate();
    let passphrase = base::Secret::new("correct horse battery");
    let store = Store::folder(dir.path().to_owned()).unwrap();
    let store = Repository::begin(store, &key, Some(&passphrase), at(1)).unwrap();
    assert_eq!(Repository::unlock(&store, &passphrase).unwrap().repository(), key.repository());
    let wrong = base::Secret::new("incorrect horse battery");
    assert!(matches!(Repository::unlock(&store, &wrong), Err(Error::WrongKey)));
    for damaged in ["repository", "repository.copy"] {
        let whole = fs::read(dir.path().join(damaged)).unwrap();
        fs::write(dir.path().join(damaged), b"0711bkup").unwrap();
        assert_eq!(Repository::unlock(&store, &passphrase).unwrap().repository(), key.repository());
        let mut repository = Repository::open(&store, &key).unwrap();
        assert_eq!(repository.problems().len(), 1);
        repository.ready_to_write().unwrap();
        assert_eq!(fs::read(dir.path().join(damaged)).unwrap(), whole);
    }
}

#[test]
fn customers_share_a_medium_and_keep_their_own_rules() {
    let world = World::new();
    world.create(1).unwrap();
    let mut other = World::new();
    (other.slug, other.key) = (Slug::parse("abb").unwrap(), world.key.clone());
    let there = other.customer();
    fs::rename(other.layout.customer(&world.slug).dir(), there.dir()).unwrap();
    let shared = Create {
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
fn who_makes_a_backup_of_a_customer_is_alone_and_says_so() {
    let world = World::new();
    let _busy = Lock::try_acquire(&world.customer().backup_state().join("backup.lock"), "backup create").unwrap();
    assert!(matches!(world.create(1), Err(Error::Busy(_))));
    assert!(Memory::read(&world.customer()).unwrap().last_failure.is_none(), "the one who runs keeps the note");
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
