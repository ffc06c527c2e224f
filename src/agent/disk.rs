//! How full a disk may be, in stages, and when a stage is over.
//!
//! Nothing here looks at a disk: what was seen comes in, a stage comes out. A stage ends only when there is clearly more room than it
//! began with, so that a role is not stopped and started again with every file that comes and goes.

use install::control::{DiskRoom, DiskStage};

/// When a stage begins: below `percent` of the size, and below `bytes` too.
///
/// A twentieth of a large disk is room for years, and two gigabytes are all a small one has: only what is little both ways is little. A
/// training writes some hundred megabytes, a reading of ten thousand files about as much.
struct Floor {
    stage: DiskStage,
    percent: u64,
    bytes: u64,
}

const GB: u64 = 1_000_000_000;
const FLOORS: [Floor; 3] = [
    Floor { stage: DiskStage::Protect, percent: 2, bytes: GB / 2 },
    Floor { stage: DiskStage::Hold, percent: 5, bytes: 2 * GB },
    Floor { stage: DiskStage::Warn, percent: 10, bytes: u64::MAX },
];
/// People are told about less than this on any disk that could have four times as much.
const WARN_BYTES: u64 = 5 * GB;
/// A stage is over at a quarter more than it began with.
const MARGIN_PERCENT: u64 = 125;

/// Returns the stage of a disk that stood at `before`, and why, where it is one.
pub(crate) fn stage(room: &DiskRoom, before: DiskStage) -> (DiskStage, String) {
    for floor in &FLOORS {
        // Leaving a stage, or one above it, takes the margin.
        let margin = if before >= floor.stage { MARGIN_PERCENT } else { 100 };
        if let Some(why) = short(room, floor, margin) {
            return (floor.stage, why);
        }
    }
    (DiskStage::Room, String::new())
}

/// Returns the worst stage of several disks, and why.
pub(crate) fn worst(stages: impl IntoIterator<Item = (DiskStage, String)>) -> (DiskStage, String) {
    stages.into_iter().max_by_key(|(stage, _)| *stage).unwrap_or_default()
}

fn short(room: &DiskRoom, floor: &Floor, margin: u64) -> Option<String> {
    let share = |total: u64| (u128::from(total) * u128::from(floor.percent) / 100) as u64;
    let wide = |least: u64| (u128::from(least) * u128::from(margin) / 100) as u64;
    let mut least = share(room.total_bytes).min(floor.bytes);
    if floor.stage == DiskStage::Warn {
        least = least.max(WARN_BYTES.min(room.total_bytes / 4));
    }
    let place = || format!("{} (`{}`)", room.purpose, room.path.display());
    if room.total_bytes > 0 && room.free_bytes < wide(least) {
        return Some(format!("{} of {} are free for {}", size(room.free_bytes), size(room.total_bytes), place()));
    }
    // Some file systems make room for names as they go, and count none.
    if room.total_files > 0 && room.free_files < wide(share(room.total_files)) {
        return Some(format!("{} of {} files can still be made for {}", room.free_files, room.total_files, place()));
    }
    None
}

fn size(bytes: u64) -> String {
    match bytes {
        0..GB => format!("{} MB", bytes / 1_000_000),
        _ => format!("{:.1} GB", bytes as f64 / GB as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DiskStage::{Hold, Protect, Room, Warn};

    const MB: u64 = 1_000_000;

    fn room(total_bytes: u64, free_bytes: u64) -> DiskRoom {
        let (path, purpose) = ("/var".into(), "the data".to_owned());
        DiskRoom { path, purpose, free_bytes, total_bytes, free_files: 0, total_files: 0 }
    }

    fn stages(total_bytes: u64, free: &[u64]) -> Vec<DiskStage> {
        let mut before = Room;
        let mut next = |free: &u64| {
            before = stage(&room(total_bytes, *free), before).0;
            before
        };
        free.iter().map(&mut next).collect()
    }

    #[test]
    fn a_disk_that_fills_up_passes_every_stage() {
        let free = [50 * GB, 9 * GB, 4900 * MB, 1900 * MB, 900 * MB, 490 * MB, 0];
        assert_eq!(stages(100 * GB, &free), [Room, Warn, Warn, Hold, Hold, Protect, Protect]);
        assert_eq!(stages(20 * GB, &[5 * GB, 4900 * MB, 900 * MB, 300 * MB]), [Room, Warn, Hold, Protect]);
        assert_eq!(stages(64 * MB, &[20 * MB, 10 * MB, 3 * MB, MB]), [Room, Warn, Hold, Protect]);
    }

    #[test]
    fn little_of_a_large_disk_is_much() {
        assert_eq!(stages(20_000 * GB, &[1500 * GB, 100 * GB, 3 * GB, 1900 * MB]), [Warn, Warn, Warn, Hold]);
    }

    #[test]
    fn a_stage_ends_with_a_margin() {
        let free = [1900 * MB, 2100 * MB, 2400 * MB, 2600 * MB, 2100 * MB];
        assert_eq!(stages(100 * GB, &free), [Hold, Hold, Hold, Warn, Warn]);
        let free = [400 * MB, 600 * MB, 700 * MB, 13 * GB];
        assert_eq!(stages(100 * GB, &free), [Protect, Protect, Hold, Room]);
    }

    #[test]
    fn names_run_out_too() {
        let files = |free_files| DiskRoom { free_files, total_files: 1000, ..room(100 * GB, 80 * GB) };
        let stages: Vec<_> = [500, 90, 40, 10].map(|free| stage(&files(free), Room).0).into();
        assert_eq!(stages, [Room, Warn, Hold, Protect]);
        assert!(stage(&files(40), Room).1.contains("40 of 1000 files"));
    }

    #[test]
    fn the_worst_disk_counts() {
        let of = |free| stage(&room(100 * GB, free), Room);
        let (found, why) = worst([of(50 * GB), of(1500 * MB), of(9 * GB)]);
        assert_eq!((found, why.as_str()), (Hold, "1.5 GB of 100.0 GB are free for the data (`/var`)"));
        assert_eq!(worst([]), (Room, String::new()));
    }
}
