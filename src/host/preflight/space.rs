//! Room: bytes and inodes of every file system something is written to.

use super::check::{Check, Space, size};
use super::place::{Found, Seen};
use super::wanted::{Need, Place, PlaceKind};

/// What should be left where something grows, and is warned about when it is not.
const RESERVE_BYTES: u64 = 1_000_000_000;
/// Tables are many small files: fewer free inodes than the first hold none, fewer than the second not for long.
const INODES_MIN: u64 = 5_000;
const INODES_GOOD: u64 = 50_000;

/// `disk.<name>` and `inodes.<name>` of every place. Places on one file system are judged by the sum of their needs.
pub(super) fn space(places: &[(Place, Found)]) -> Vec<Check> {
    let disks = places.iter().map(|(place, found)| disk(place, found, places));
    let filled = |place: &Place| matches!(place.kind, PlaceKind::Data | PlaceKind::Engine);
    let inodes = places.iter().filter(|(place, _)| filled(place)).map(|(place, found)| inodes(place, found));
    disks.chain(inodes).collect()
}

fn disk(place: &Place, found: &Found, places: &[(Place, Found)]) -> Check {
    let id = format!("disk.{}", place.name);
    let seen = match found.seen(place) {
        Ok(seen) => seen,
        Err((reason, remedy)) => return Check::unknown(id, reason, remedy),
    };
    let others: Vec<_> = places
        .iter()
        .filter(|(other, found)| {
            other.name != place.name && matches!(found, Found::Seen(other) if other.device == seen.device)
        })
        .map(|(other, _)| other)
        .collect();
    let all = others.iter().fold(place.need, |sum, other| Need {
        peak_bytes: sum.peak_bytes.saturating_add(other.need.peak_bytes),
        final_bytes: sum.final_bytes.saturating_add(other.need.final_bytes),
    });
    let room = Space {
        total_bytes: seen.total_bytes,
        free_now_bytes: seen.free_bytes,
        free_peak_bytes: seen.free_bytes.saturating_sub(all.peak_bytes),
        free_final_bytes: seen.free_bytes.saturating_sub(all.final_bytes),
        needed_bytes: all.peak_bytes,
    };
    let text = describe(place, seen, &others, &room);
    let grows = matches!(place.kind, PlaceKind::Data | PlaceKind::Engine);
    let check = if seen.free_bytes < all.peak_bytes {
        let seen = format!("{text}; {} are missing", size(all.peak_bytes - seen.free_bytes));
        match place.kind {
            PlaceKind::Passing { .. } => Check::warning(id, seen, remedy(place)),
            _ => Check::failed(id, seen, remedy(place)),
        }
    } else if grows && room.free_peak_bytes < RESERVE_BYTES {
        Check::warning(id, format!("{text}; that leaves little to grow"), remedy(place))
    } else {
        Check::ok(id, text)
    };
    check.with_space(room)
}

fn describe(place: &Place, seen: &Seen, others: &[&Place], room: &Space) -> String {
    let shared = match others.iter().map(|other| other.name).collect::<Vec<_>>() {
        names if names.is_empty() => String::new(),
        names => format!(" together with {}", names.join(", ")),
    };
    format!(
        "`{}` on {}: {} of {} free now, {} at the peak, {} in the end; {} to be written{shared}",
        place.path.display(),
        seen.file_system(),
        size(room.free_now_bytes),
        size(room.total_bytes),
        size(room.free_peak_bytes),
        size(room.free_final_bytes),
        size(room.needed_bytes)
    )
}

fn remedy(place: &Place) -> String {
    let path = place.path.display();
    match place.kind {
        PlaceKind::Data | PlaceKind::Programs => {
            format!("free space at `{path}`, or choose another place with `--root DIR`")
        }
        PlaceKind::Passing { setting } => format!("free space at `{path}`, or name another folder in `{setting}`"),
        PlaceKind::Engine => {
            format!("free space at `{path}` (`docker system df` shows who takes it), or move it to a larger disk")
        }
    }
}

fn inodes(place: &Place, found: &Found) -> Check {
    let id = format!("inodes.{}", place.name);
    let seen = match found.seen(place) {
        Ok(seen) => seen,
        Err((reason, remedy)) => return Check::unknown(id, reason, remedy),
    };
    let kind = seen.mount.as_ref().map_or("", |mount| mount.kind.as_str());
    if seen.inodes_total == 0 {
        return match kind {
            "btrfs" | "zfs" | "bcachefs" => Check::ok(id, format!("{kind} makes inodes as they are needed")),
            _ => {
                let text = format!("{} does not say how many inodes it has", seen.file_system());
                Check::unknown(id, text, "nothing to do, unless writing fails with disk space left")
            }
        };
    }
    let text = format!("{} of {} inodes are free on {}", seen.inodes_free, seen.inodes_total, seen.file_system());
    let remedy = "remove heaps of small files there (`du --inodes`), or choose another file system";
    match seen.inodes_free {
        free if free < INODES_MIN => Check::failed(id, text, remedy),
        free if free < INODES_GOOD => Check::warning(id, text, remedy),
        _ => Check::ok(id, text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Failed, Ok, Unknown, Warning};
    use super::super::mount::Mount;
    use super::super::place::example;
    use super::*;

    const GB: u64 = 1_000_000_000;
    const TMP: PlaceKind = PlaceKind::Passing { setting: "TMPDIR" };

    fn place(name: &'static str, kind: PlaceKind, gigabytes: u64) -> Place {
        let need = Need { peak_bytes: gigabytes * GB, final_bytes: gigabytes * GB / 2 };
        Place { name, path: format!("/x/{name}").into(), need, kind }
    }

    fn on(device: u64, free: u64) -> Found {
        Found::Seen(Seen { device, free_bytes: free * GB, ..example() })
    }

    fn verdict(checks: &[Check], id: &str) -> Verdict {
        checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("{id} is not checked")).verdict
    }

    #[test]
    fn needs_on_one_file_system_are_added_up() {
        let both = |devices: [u64; 2], free| {
            space(&[
                (place("data", PlaceKind::Data, 6), on(devices[0], free)),
                (place("docker-root", PlaceKind::Engine, 6), on(devices[1], free)),
            ])
        };
        let apart = both([1, 2], 10);
        assert_eq!((verdict(&apart, "disk.data"), verdict(&apart, "disk.docker-root")), (Ok, Ok));
        let together = both([1, 1], 10);
        assert_eq!((verdict(&together, "disk.data"), verdict(&together, "disk.docker-root")), (Failed, Failed));
        assert!(together[0].seen.ends_with("2.0 GB are missing"), "{}", together[0].seen);
        let room = both([1, 1], 20)[0].space.unwrap();
        assert_eq!([room.free_now_bytes, room.free_peak_bytes, room.free_final_bytes], [20 * GB, 8 * GB, 14 * GB]);
    }

    #[test]
    fn what_grows_wants_a_reserve_and_what_passes_does_not() {
        let checks = space(&[(place("data", PlaceKind::Data, 5), on(1, 5))]);
        assert_eq!(verdict(&checks, "disk.data"), Warning);
        let checks = space(&[(place("tmp", TMP, 5), on(1, 5))]);
        assert_eq!(verdict(&checks, "disk.tmp"), Ok);
        assert_eq!(checks.len(), 1, "inodes are not asked of what passes through");
        assert_eq!(verdict(&space(&[(place("tmp", TMP, 5), on(1, 4))]), "disk.tmp"), Warning);
    }

    #[test]
    fn a_place_that_does_not_answer_is_unknown_and_takes_no_part_in_sums() {
        let checks = space(&[(place("data", PlaceKind::Data, 1), Found::Late), (place("tmp", TMP, 1), on(1, 9))]);
        assert_eq!((verdict(&checks, "disk.data"), verdict(&checks, "inodes.data")), (Unknown, Unknown));
        assert_eq!(verdict(&checks, "disk.tmp"), Ok);
        assert!(!checks[1].seen.contains("with data"), "{}", checks[1].seen);
    }

    #[test]
    fn inodes_run_out_and_some_file_systems_do_not_count_them() {
        let with = |total, free, kind: &str| {
            let mount = Some(Mount { kind: kind.into(), ..example().mount.unwrap() });
            let seen = Seen { inodes_total: total, inodes_free: free, mount, ..example() };
            verdict(&space(&[(place("data", PlaceKind::Data, 1), Found::Seen(seen))]), "inodes.data")
        };
        assert_eq!(with(1_000_000, 900_000, "ext4"), Ok);
        assert_eq!(with(1_000_000, 20_000, "ext4"), Warning);
        assert_eq!(with(1_000_000, 10, "ext4"), Failed);
        assert_eq!(with(0, 0, "btrfs"), Ok);
        assert_eq!(with(0, 0, "fuse.sshfs"), Unknown);
    }
}
