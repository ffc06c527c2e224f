//! Who may read a file: from owner, group, mode and POSIX ACL of the file and of the folders above it, up to the one that is read;
//! or from the nearest ACL file (`acl`), where it says so.
//!
//! A name counts when it may pass every folder and read the file. Somebody who may pass one folder by one group and the next by another
//! is not found this way: less is shown, never more. An ACL file says what modes cannot.

use std::{
    collections::{BTreeSet, HashMap},
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use base::Rights;
use rustix::io::Errno;

use crate::acl::Acl;

/// The right to read a file, and the right to pass a folder, as bits of a mode.
const READ: u32 = 4;
const PASS: u32 = 1;
/// The largest file of users or groups.
const MAX_NAMES_BYTES: u64 = 8 << 20;

/// Names of users and groups, where this machine knows them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Names {
    /// Reads what this machine knows. A number without a name stays a number.
    pub fn of_machine() -> Self {
        let read = |path: &str| base::file::read_bounded(Path::new(path), MAX_NAMES_BYTES).unwrap_or_default();
        Self { users: by_number(&read("/etc/passwd")), groups: by_number(&read("/etc/group")) }
    }

    fn user(&self, number: u32) -> String {
        format!("user:{}", self.users.get(&number).cloned().unwrap_or_else(|| number.to_string()))
    }

    pub fn group(&self, number: u32) -> String {
        self.groups.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }
}

/// Reads `NAME:x:NUMBER:…`; of several names of one number the first.
fn by_number(text: &[u8]) -> HashMap<u32, String> {
    let mut known = HashMap::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(number)) = (fields.next(), fields.nth(1).and_then(|number| number.parse().ok())) {
            known.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    known
}

/// A folder on the way down from the one that is read.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    /// Who may pass it and all above it.
    pass: BTreeSet<String>,
    acl: Option<Acl>,
}

/// The folders from the one that is read down to where a walk is.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    names: &'a Names,
    folders: Vec<Folder>,
}

impl<'a> Way<'a> {
    pub fn new(names: &'a Names) -> Self {
        Self { names, folders: Vec::new() }
    }

    /// Enters a folder `depth` steps below the one that is read. Returns the ACL file that cannot be used, with the reason: nobody but
    /// administrators may read what is below it then.
    pub fn enter(&mut self, path: &Path, depth: usize, metadata: &Metadata) -> Option<(PathBuf, String)> {
        self.folders.truncate(depth);
        let pass = self.names_of(path, metadata, PASS);
        let (pass, above) = match self.folders.last() {
            Some(folder) => (meet(&folder.pass, &pass), folder.acl.clone()),
            None => (pass, None),
        };
        let (own, fault) = match Acl::read(path, metadata) {
            Ok(own) => (own, None),
            Err(reason) => (Some(Acl::closed()), Some((Acl::path(path), reason))),
        };
        self.folders.push(Folder { pass, acl: own.or(above) });
        fault
    }

    /// Enters a folder nothing is known of: it is for administrators only.
    pub fn close(&mut self, depth: usize) {
        self.folders.truncate(depth);
        self.folders.push(Folder { pass: BTreeSet::new(), acl: Some(Acl::closed()) });
    }

    /// Returns who may read a file `depth` steps below the folder that is read, sorted.
    pub fn readers(&mut self, path: &Path, depth: usize, metadata: &Metadata) -> Vec<String> {
        self.folders.truncate(depth);
        let Some(folder) = self.folders.last() else { return Vec::new() };
        if let Some(readers) = folder.acl.as_ref().and_then(|acl| acl.readers(path)) {
            return readers;
        }
        meet(&folder.pass, &self.names_of(path, metadata, READ)).into_iter().collect()
    }

    fn names_of(&self, path: &Path, metadata: &Metadata, right: u32) -> BTreeSet<String> {
        let (user, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode());
        let plain = || Classes {
            users: vec![(user, mode >> 6 & right != 0)],
            groups: vec![(group, mode >> 3 & right != 0)],
            others: mode & right != 0,
        };
        let classes = match posix_acl(path) {
            Some(acl) => Classes::of_acl(&acl, (user, group), right).unwrap_or_else(|| Classes::owner(user)),
            None => plain(),
        };
        classes.names(self.names, user)
    }
}

/// Returns the names both lists have; everybody has every name.
pub(crate) fn meet(a: &BTreeSet<String>, b: &BTreeSet<String>) -> BTreeSet<String> {
    match (a.contains(Rights::EVERYBODY), b.contains(Rights::EVERYBODY)) {
        (true, _) => b.clone(),
        (_, true) => a.clone(),
        _ => a.intersection(b).cloned().collect(),
    }
}

/// Whom a file names, and whether it gives each a right.
struct Classes {
    users: Vec<(u32, bool)>,
    groups: Vec<(u32, bool)>,
    others: bool,
}

impl Classes {
    /// What cannot be understood is its owner's.
    fn owner(user: u32) -> Self {
        Self { users: vec![(user, true)], groups: Vec::new(), others: false }
    }

    /// Reads a POSIX ACL as the kernel gives it (`posix_acl_xattr.h`): a version, 2, then entries of tag, rights and number, little-endian.
    fn of_acl(acl: &[u8], (user, group): (u32, u32), right: u32) -> Option<Self> {
        const USER_OBJ: u16 = 0x01;
        const USER: u16 = 0x02;
        const GROUP_OBJ: u16 = 0x04;
        const GROUP: u16 = 0x08;
        const MASK: u16 = 0x10;
        const OTHER: u16 = 0x20;
        let (version, entries) = acl.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*version) != 2 || !entries.len().is_multiple_of(8) {
            return None;
        }
        let entry = |entry: &[u8]| {
            let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
            (number(0), u32::from(number(2)), u32::from(number(4)) | u32::from(number(6)) << 16)
        };
        let entries: Vec<(u16, u32, u32)> = entries.chunks_exact(8).map(entry).collect();
        let mask = entries.iter().find(|(tag, ..)| *tag == MASK).map_or(7, |(_, rights, _)| *rights);
        let mut classes = Self { users: Vec::new(), groups: Vec::new(), others: false };
        for (tag, rights, id) in entries {
            let masked = rights & mask & right != 0;
            match tag {
                USER_OBJ => classes.users.push((user, rights & right != 0)),
                USER => classes.users.push((id, masked)),
                GROUP_OBJ => classes.groups.push((group, masked)),
                GROUP => classes.groups.push((id, masked)),
                OTHER => classes.others = rights & right != 0,
                _ => {}
            }
        }
        Some(classes)
    }

    /// Returns the names that have the right. The kernel asks the first class somebody is in: whoever is refused by name is not let in as a
    /// member of a group or as anybody, and that cannot be said by naming readers. So a refusal closes the classes after it, but for
    /// the owner's, who can change it.
    fn names(&self, names: &Names, owner: u32) -> BTreeSet<String> {
        let mut found: BTreeSet<String> =
            self.users.iter().filter(|(_, may)| *may).map(|(number, _)| names.user(*number)).collect();
        if self.users.iter().all(|(number, may)| *may || *number == owner) {
            found.extend(self.groups.iter().filter(|(_, may)| *may).map(|(number, _)| names.group(*number)));
            if self.others && self.groups.iter().all(|(_, may)| *may) {
                found = BTreeSet::from([Rights::EVERYBODY.to_owned()]);
            }
        }
        found
    }
}

/// Returns the POSIX ACL of a file or folder; `None` where it has none, and an empty one where it cannot be read.
fn posix_acl(path: &Path) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 4096];
    match rustix::fs::lgetxattr(path, "system.posix_acl_access", buffer.as_mut_slice()) {
        Ok(length) => {
            buffer.truncate(length);
            Some(buffer)
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT | Errno::NOSYS) => None,
        Err(_) => Some(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn names() -> Names {
        let read = |text: &str| by_number(text.as_bytes());
        Names {
            users: read("root:x:0:0::/:\nanna:x:7:7::/:\nbob:x:8:8::/:\n"),
            groups: read("hr:x:70:\nsales:x:71:anna\n"),
        }
    }

    fn check(users: &[(u32, bool)], groups: &[(u32, bool)], others: bool, expect: &[&str]) {
        let classes = Classes { users: users.to_vec(), groups: groups.to_vec(), others };
        let found: Vec<String> = classes.names(&names(), 7).into_iter().collect();
        assert_eq!(found, expect, "{users:?} {groups:?} {others}");
    }

    #[test]
    fn a_mode_names_who_has_the_right() {
        check(&[(7, true)], &[(70, true)], true, &["*"]);
        check(&[(7, true)], &[(70, true)], false, &["hr", "user:anna"]);
        check(&[(7, true)], &[(99, true)], false, &["99", "user:anna"]);
        check(&[(7, true)], &[(70, false)], false, &["user:anna"]);
        // Mode 0604: members of the group are refused, so not everybody is let in.
        check(&[(7, true)], &[(70, false)], true, &["user:anna"]);
        check(&[(7, true), (8, false)], &[(70, true)], true, &["user:anna"]);
        check(&[(7, false)], &[(70, true)], false, &["hr"]);
    }

    #[test]
    fn the_mask_of_an_acl_counts() {
        let entry = |tag: u16, rights: u16, id: u32| {
            [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let acl = |mask: u16| {
            let entries = [
                entry(1, 6, u32::MAX),
                entry(2, 4, 8),
                entry(4, 0, u32::MAX),
                entry(8, 4, 71),
                entry(16, mask, u32::MAX),
                entry(32, 0, u32::MAX),
            ];
            [2_u32.to_le_bytes().to_vec(), entries.concat()].concat()
        };
        let found = |mask: u16| {
            let classes = Classes::of_acl(&acl(mask), (7, 70), READ).unwrap();
            classes.names(&names(), 7).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(
            found(4),
            ["sales", "user:anna", "user:bob"],
            "the group of the file itself has no right, whatever the mode shows"
        );
        assert_eq!(found(0), ["user:anna"]);
        assert!(Classes::of_acl(&acl(4)[..9], (7, 70), READ).is_none());
    }

    #[test]
    fn a_closed_folder_closes_open_files() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(meet(&list(&["hr", "user:root"]), &list(&["*"])), list(&["hr", "user:root"]));
        assert_eq!(meet(&list(&["*"]), &list(&["sales"])), list(&["sales"]));
        assert_eq!(meet(&list(&["hr", "user:root"]), &list(&["hr", "user:anna"])), list(&["hr"]));
        assert_eq!(meet(&list(&["hr"]), &list(&["sales"])), list(&[]));

        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("a.txt"), "").unwrap();
        let set = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(dir.path(), 0o755);
        set(&inner.join("a.txt"), 0o644);
        let names = names();
        let readers = |mode: u32| {
            set(&inner, mode);
            let mut way = Way::new(&names);
            way.enter(dir.path(), 0, &fs::metadata(dir.path()).unwrap());
            way.enter(&inner, 1, &fs::metadata(&inner).unwrap());
            way.readers(&inner.join("a.txt"), 2, &fs::metadata(inner.join("a.txt")).unwrap())
        };
        assert_eq!(readers(0o755), ["*"]);
        let owner = names.user(fs::metadata(&inner).unwrap().uid());
        assert_eq!(readers(0o700), [owner]);
    }
}
