//! What is changed in a repository, by chance or on purpose, is noticed; and what can be made good is.

use super::*;

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
            // This machine has seen what the round before made of the medium.
            fs::remove_dir_all(world.customer().backup_state()).unwrap();
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
fn an_older_state_of_the_medium_is_noticed() {
    let world = World::new();
    world.create(1).unwrap();
    let first = world.pieces();
    world.commit("c", b"more");
    world.create(2).unwrap();
    world.lay(&first);
    assert!(matches!(world.create(3), Err(Error::RolledBack { seen: 3, found: 2 })));
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
