//! Which file system a path lies on, from the kernel's table of mounts: reading it asks no file system anything.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// For instance `ext4` or `fuse.sshfs`.
    pub(super) kind: String,
    /// For instance `/dev/vda1` or `server:/export`.
    pub(super) source: String,
}

/// Returns the mount that holds `path`, an absolute one without links, by the text of `/proc/self/mountinfo`.
///
/// The device number is not used: a btrfs subvolume's differs from the one in the table.
pub(super) fn holding(table: &str, path: &Path) -> Option<Mount> {
    let mounts = table.lines().filter_map(parse).filter(|mount| path.starts_with(&mount.point));
    // Among mounts on the same point the last one lies on top.
    mounts.max_by_key(|mount| mount.point.components().count())
}

/// One row (proc_pid_mountinfo(5)): `id parent major:minor root point options [optional…] - kind source options`.
fn parse(row: &str) -> Option<Mount> {
    let (before, after) = row.split_once(" - ")?;
    let point = before.split(' ').nth(4)?;
    let mut after = after.split(' ');
    let kind = after.next()?.to_owned();
    let source = unescape(after.next()?).to_string_lossy().into_owned();
    Some(Mount { point: unescape(point).into(), kind, source })
}

/// White space and backslashes stand as a backslash and three octal digits.
fn unescape(text: &str) -> OsString {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 4;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 27 0:40 / /srv rw,relatime - tmpfs under rw
31 27 0:41 /vol /srv rw,relatime shared:3 master:1 - nfs4 nas:/export rw,vers=4.2
32 31 8:17 / /srv/My\\040Stick rw,noexec - vfat /dev/sdb1 rw
broken row";

    #[test]
    fn the_longest_and_topmost_mount_holds_the_path() {
        let kind = |path: &str| holding(TABLE, Path::new(path)).unwrap().kind;
        assert_eq!(kind("/var/lib/0711"), "ext4");
        assert_eq!(kind("/srv"), "nfs4", "the one mounted last lies on top");
        assert_eq!(kind("/srvdata"), "ext4", "a prefix of a name is not a folder above");
        let stick = holding(TABLE, Path::new("/srv/My Stick/models")).unwrap();
        assert_eq!((stick.point.to_str().unwrap(), stick.source.as_str()), ("/srv/My Stick", "/dev/sdb1"));
        assert_eq!(holding("", Path::new("/")), None);
    }

    #[test]
    fn knows_where_proc_is() {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(holding(&table, Path::new("/proc/self")).unwrap().kind, "proc");
    }
}
