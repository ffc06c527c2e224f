//! What kind of file system it is, and whether this user may write there.

use std::io::ErrorKind;

use super::check::Check;
use super::place::{Found, Seen};
use super::wanted::{Place, PlaceKind};

/// What a kind of file system is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Keeps what was synced, knows owners, links and locks.
    Sound,
    /// Belongs to another machine: locks and syncs hold as far as that one keeps its word.
    Remote,
    /// Is gone after the next start.
    Volatile,
    /// A layer of a container: gone with it, and no ground for another overlay.
    Layer,
    /// Knows no owners and no links: a secret would be readable by all.
    WithoutOwners,
    /// Not in our list.
    Strange,
}

fn kind(name: &str) -> Kind {
    match name {
        "ext3" | "ext4" | "xfs" | "btrfs" | "zfs" | "f2fs" | "bcachefs" => Kind::Sound,
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "glusterfs" | "virtiofs" | "afs" => Kind::Remote,
        "tmpfs" | "ramfs" => Kind::Volatile,
        "overlay" | "aufs" => Kind::Layer,
        "vfat" | "msdos" | "exfat" | "ntfs" | "ntfs3" | "fuseblk" | "hfsplus" => Kind::WithoutOwners,
        name if name.starts_with("fuse.") => Kind::Remote,
        _ => Kind::Strange,
    }
}

/// `fs.<name>` and `rights.<name>` of every place they matter for.
pub(super) fn file_systems(places: &[(Place, Found)]) -> Vec<Check> {
    let lasting = |place: &Place| !matches!(place.kind, PlaceKind::Passing { .. });
    let ours = |place: &Place| matches!(place.kind, PlaceKind::Data | PlaceKind::Programs);
    let kinds = places.iter().filter(|(place, _)| lasting(place)).map(|(place, found)| file_system(place, found));
    let rights = places.iter().filter(|(place, _)| ours(place)).map(|(place, found)| rights(place, found));
    kinds.chain(rights).collect()
}

fn file_system(place: &Place, found: &Found) -> Check {
    let id = format!("fs.{}", place.name);
    let seen = match found.seen(place) {
        Ok(seen) => seen,
        Err((reason, remedy)) => return Check::unknown(id, reason, remedy),
    };
    let text = seen.file_system();
    let elsewhere = match place.kind {
        PlaceKind::Engine => {
            "give the engine a folder on ext4, xfs or btrfs (`data-root` in `/etc/docker/daemon.json`)"
        }
        _ => "choose a folder on ext4, xfs or btrfs with `--root DIR`",
    };
    if seen.is_read_only {
        let point = seen.mount.as_ref().map_or(seen.at.as_path(), |mount| mount.point.as_path());
        let remedy = format!("mount it writable (`mount -o remount,rw {}`), or {elsewhere}", point.display());
        return Check::failed(id, format!("{text} is mounted read-only"), remedy);
    }
    if place.kind == PlaceKind::Programs && seen.is_noexec {
        return Check::failed(id, format!("{text} is mounted `noexec`: no program starts from there"), elsewhere);
    }
    let Some(mount) = &seen.mount else {
        return Check::unknown(id, text, "see `findmnt`");
    };
    match (kind(&mount.kind), place.kind) {
        (Kind::Sound, _) => Check::ok(id, text),
        (Kind::WithoutOwners, _) => {
            Check::failed(id, format!("{text}: knows no owners, so secrets could not be kept"), elsewhere)
        }
        (Kind::Remote | Kind::Layer, PlaceKind::Engine) => {
            Check::failed(id, format!("{text}: the engine's layers cannot lie there"), elsewhere)
        }
        (Kind::Remote, _) => {
            Check::warning(id, format!("{text}: locks and syncs depend on another machine"), elsewhere)
        }
        (Kind::Volatile, _) => Check::warning(id, format!("{text}: empty after the next start"), elsewhere),
        (Kind::Layer, _) => Check::warning(id, format!("{text}: gone with this container"), elsewhere),
        (Kind::Strange, _) => Check::unknown(id, format!("{text}: not tested by us"), elsewhere),
    }
}

fn rights(place: &Place, found: &Found) -> Check {
    let id = format!("rights.{}", place.name);
    let remedy = "run with `sudo`, or choose a folder of your own with `--root DIR`";
    match found {
        Found::Refused(ErrorKind::PermissionDenied | ErrorKind::NotADirectory, error) => {
            Check::failed(id, format!("`{}` cannot be made: {error}", place.path.display()), remedy)
        }
        Found::Refused(..) | Found::Late => {
            let reason = found.seen(place).err().map(|(reason, _)| reason).unwrap_or_default();
            Check::unknown(id, reason, remedy)
        }
        Found::Seen(Seen { at, may_write: true, .. }) => {
            Check::ok(id, format!("this user may write in `{}`", at.display()))
        }
        Found::Seen(Seen { at, .. }) => {
            Check::failed(id, format!("this user may not write in `{}`", at.display()), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{self, Failed, Ok, Unknown, Warning};
    use super::super::mount::Mount;
    use super::super::place::example;
    use super::super::wanted::Need;
    use super::*;

    fn place(kind: PlaceKind) -> Place {
        Place { name: "x", path: "/x".into(), need: Need::default(), kind }
    }

    fn on(kind: &str) -> Seen {
        Seen { mount: Some(Mount { kind: kind.into(), ..example().mount.unwrap() }), ..example() }
    }

    fn verdict(id: &str, kind: PlaceKind, found: Found) -> Verdict {
        let checks = file_systems(&[(place(kind), found)]);
        checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("{id} is not checked")).verdict
    }

    #[test]
    fn kinds_are_judged_by_who_writes_there() {
        for (name, data, engine) in [
            ("ext4", Ok, Ok),
            ("xfs", Ok, Ok),
            ("nfs4", Warning, Failed),
            ("fuse.sshfs", Warning, Failed),
            ("overlay", Warning, Failed),
            ("tmpfs", Warning, Warning),
            ("vfat", Failed, Failed),
            ("wonderfs", Unknown, Unknown),
        ] {
            assert_eq!(verdict("fs.x", PlaceKind::Data, Found::Seen(on(name))), data, "data on {name}");
            assert_eq!(verdict("fs.x", PlaceKind::Engine, Found::Seen(on(name))), engine, "engine on {name}");
        }
        let nowhere = Seen { mount: None, ..example() };
        assert_eq!(verdict("fs.x", PlaceKind::Data, Found::Seen(nowhere)), Unknown);
    }

    #[test]
    fn read_only_and_noexec_fail_where_they_matter() {
        let read_only = Seen { is_read_only: true, ..on("ext4") };
        assert_eq!(verdict("fs.x", PlaceKind::Data, Found::Seen(read_only)), Failed);
        let noexec = Seen { is_noexec: true, ..on("ext4") };
        assert_eq!(verdict("fs.x", PlaceKind::Programs, Found::Seen(noexec.clone())), Failed);
        assert_eq!(verdict("fs.x", PlaceKind::Data, Found::Seen(noexec)), Ok, "data need not be started");
    }

    #[test]
    fn missing_rights_fail_and_silence_does_not() {
        let denied = Seen { may_write: false, ..example() };
        assert_eq!(verdict("rights.x", PlaceKind::Data, Found::Seen(denied)), Failed);
        let refused = Found::Refused(ErrorKind::PermissionDenied, "denied".into());
        assert_eq!(verdict("rights.x", PlaceKind::Data, refused), Failed);
        assert_eq!(verdict("rights.x", PlaceKind::Data, Found::Late), Unknown);
        assert_eq!(verdict("rights.x", PlaceKind::Data, Found::Seen(example())), Ok);
        assert!(file_systems(&[(place(PlaceKind::Passing { setting: "TMPDIR" }), Found::Late)]).is_empty());
    }
}
