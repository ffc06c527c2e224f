//! Whatever ends early leaves something whole behind.

use super::*;

/// The names below `prefix` that are in the first and not in the second.
fn only(first: &BTreeMap<String, Vec<u8>>, second: &BTreeMap<String, Vec<u8>>, prefix: &str) -> Vec<String> {
    first.keys().filter(|name| name.starts_with(prefix) && !second.contains_key(*name)).cloned().collect()
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
    let new = |prefix: &str| only(&after, &before, prefix);
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
        // Seeds of their own: what other files hold already is kept once, and would not be waste.
        world.commit("changing", &noise(u64::from(day) + 100, 1_500_000));
        world.commit(&format!("only{day}"), &noise(u64::from(day) + 50, 1_200_000));
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
    let new = |prefix: &str| only(&after, &before, prefix);
    let written: Vec<String> = ["/packs/", "/index/", "/catalog/"].into_iter().flat_map(new).collect();
    let old = |prefix: &str| only(&before, &after, prefix);
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
fn who_makes_a_backup_of_a_customer_is_alone_and_says_so() {
    let world = World::new();
    let _busy = Turn::take(&world.customer()).unwrap();
    assert!(matches!(world.create(1), Err(Error::Busy(_))));
    assert!(Memory::read(&world.customer()).unwrap().last_failure.is_none(), "the one who runs keeps the note");
}
