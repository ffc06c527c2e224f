//! A folder that will be written to, as it was found: the facts under the checks of room, inodes, rights and file system.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use super::mount::{self, Mount};
use super::wanted::Place;

/// What was found at a place.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// Its file system answered.
    Seen(Seen),
    /// It cannot be looked at.
    Refused(io::ErrorKind, String),
    /// It did not answer in time.
    Late,
}

/// The file system that holds (or would hold) a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The nearest folder that exists.
    pub(super) at: PathBuf,
    /// Places with the same number share their room.
    pub(super) device: u64,
    pub(super) total_bytes: u64,
    pub(super) free_bytes: u64,
    /// 0 where the file system makes inodes as they are needed, or does not say.
    pub(super) inodes_total: u64,
    pub(super) inodes_free: u64,
    pub(super) is_read_only: bool,
    /// Programs on it cannot be started.
    pub(super) is_noexec: bool,
    /// This user may make entries in `at`.
    pub(super) may_write: bool,
    pub(super) mount: Option<Mount>,
}

/// Looks at the place; may hang as long as its file system does.
pub(super) fn look(path: &Path) -> Found {
    try_look(path).map_or_else(|error| Found::Refused(error.kind(), error.to_string()), Found::Seen)
}

fn try_look(path: &Path) -> io::Result<Seen> {
    let disk = crate::disk(path)?;
    let (at, _) = crate::disk::nearest(path)?;
    let stat = statvfs(&at)?;
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    Ok(Seen {
        device: disk.device,
        total_bytes: disk.total_bytes,
        free_bytes: disk.free_bytes,
        inodes_total: stat.f_files,
        inodes_free: stat.f_favail,
        is_read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        is_noexec: stat.f_flag.contains(StatVfsMountFlags::NOEXEC),
        may_write: access(&at, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        mount: mount::holding(&table, &at.canonicalize()?),
        at,
    })
}

impl Seen {
    /// Returns `/srv (nfs4 from nas:/export)`, or as much of it as is known.
    pub(super) fn file_system(&self) -> String {
        match &self.mount {
            Some(Mount { point, kind, source }) => format!("`{}` ({kind} from {source})", point.display()),
            None => "a file system that is not in the table of mounts".to_owned(),
        }
    }
}

impl Found {
    /// Returns the facts, or why there are none, with what to do about that.
    pub(super) fn seen(&self, place: &Place) -> Result<&Seen, (String, &'static str)> {
        let path = place.path.display();
        match self {
            Self::Seen(seen) => Ok(seen),
            Self::Refused(_, error) => {
                Err((format!("`{path}` cannot be looked at: {error}"), "correct the path, or run as a user who may"))
            }
            Self::Late => Err((
                format!("`{path}` does not answer: its file system hangs"),
                "look at the mount (`findmnt`, `dmesg`), or choose another place with `--root DIR`",
            )),
        }
    }
}

/// A file system for tests: 50 of 100 GB free on ext4.
#[cfg(test)]
pub(super) fn example() -> Seen {
    let mount = Mount { point: "/".into(), kind: "ext4".into(), source: "/dev/vda1".into() };
    Seen {
        at: "/var/lib".into(),
        device: 1,
        total_bytes: 100_000_000_000,
        free_bytes: 50_000_000_000,
        inodes_total: 6_000_000,
        inodes_free: 5_000_000,
        is_read_only: false,
        is_noexec: false,
        may_write: true,
        mount: Some(mount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_be_made_is_answered_by_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let Found::Seen(seen) = look(&dir.path().join("var/lib/0711")) else { panic!("a temporary folder is there") };
        assert_eq!(seen.at, dir.path());
        assert!(seen.may_write && !seen.is_read_only && seen.total_bytes > 0 && seen.mount.is_some());
    }

    #[test]
    fn below_a_file_nothing_can_be_made() {
        let found = look(Path::new("/etc/passwd/var"));
        assert!(matches!(found, Found::Refused(io::ErrorKind::NotADirectory, _)), "{found:?}");
    }
}
