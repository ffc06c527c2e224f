//! Gives what containers write, and what they alone may read, to their user.
//!
//! A container may rename and link in its folders while we look, so nothing is done by name twice: an entry is opened without
//! following a link, judged by that descriptor, and given by it. Nothing on another mount is touched, nothing that has a second
//! name elsewhere, and never a data folder, whatever stands in its place.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, chownat, fstat, openat};
use rustix::process::{Gid, Uid};

use crate::Error;

/// Deeper than any folder of ours; each level holds a descriptor.
const DEPTH_MAX: usize = 64;

/// Whom things are given to, and what is never given.
pub(super) struct Giver {
    user: u32,
    group: u32,
    /// Device and inode of the data folders.
    data: BTreeSet<(u64, u64)>,
}

impl Giver {
    pub(super) fn new((user, group): (u32, u32), data_folders: &[PathBuf]) -> Self {
        use std::os::unix::fs::MetadataExt;
        let identity = |path: &PathBuf| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        Self { user, group, data: data_folders.iter().filter_map(identity).collect() }
    }

    /// Returns whether the path itself, and no link, belongs to the user.
    pub(super) fn owns(&self, path: &Path) -> bool {
        open(CWD, path.as_os_str()).and_then(|entry| fstat(&entry)).is_ok_and(|found| self.is_owner(&found))
    }

    fn is_owner(&self, found: &Stat) -> bool {
        (found.st_uid, found.st_gid) == (self.user, self.group)
    }

    /// Gives a file, or a folder with all it holds. Doing it twice is the same as once.
    pub(super) fn give(&self, path: &Path) -> Result<(), Error> {
        let entry = open(CWD, path.as_os_str()).map_err(|error| failed(path, error.into()))?;
        let found = fstat(&entry).map_err(|error| failed(path, error.into()))?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
            return Err(Error::NotOurs { path: path.to_owned() });
        }
        let mount = mount_of(&entry).map_err(|error| failed(path, error))?;
        self.entry(&entry, &found, mount, path, 0)
    }

    fn entry(&self, entry: &OwnedFd, found: &Stat, mount: u64, path: &Path, depth: usize) -> Result<(), Error> {
        let refuse = |why: &'static str| Err(failed(path, std::io::Error::other(why)));
        let kind = FileType::from_raw_mode(found.st_mode);
        if self.data.contains(&(found.st_dev, found.st_ino)) {
            return refuse("it is a data folder");
        }
        if mount_of(entry).map_err(|error| failed(path, error))? != mount {
            if self.is_owner(found) {
                return Ok(());
            }
            return Err(Error::MountInside { path: path.to_owned(), user: self.user, group: self.group });
        }
        if !self.is_owner(found) {
            if kind != FileType::Directory && found.st_nlink > 1 {
                return refuse("it has a second name (a hard link)");
            }
            let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
            chownat(entry, "", Some(user), Some(group), AtFlags::EMPTY_PATH)
                .map_err(|error| failed(path, error.into()))?;
        }
        if kind != FileType::Directory {
            return Ok(());
        }
        if depth == DEPTH_MAX {
            return refuse("its folders are too deep");
        }
        self.below(entry, mount, path, depth + 1)
    }

    fn below(&self, folder: &OwnedFd, mount: u64, path: &Path, depth: usize) -> Result<(), Error> {
        let here = |error: rustix::io::Errno| failed(path, error.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = openat(folder, ".", flags, Mode::empty()).map_err(here)?;
        for listed in Dir::new(listing).map_err(here)? {
            let name = listed.map_err(here)?.file_name().to_owned();
            if [c".", c".."].contains(&name.as_c_str()) {
                continue;
            }
            let path = path.join(as_os(&name));
            let entry = match open(folder, as_os(&name)) {
                Ok(entry) => entry,
                // It went while we looked.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => return Err(failed(&path, error.into())),
            };
            let found = fstat(&entry).map_err(|error| failed(&path, error.into()))?;
            if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
                self.entry(&entry, &found, mount, &path, depth)?;
            }
        }
        Ok(())
    }
}

fn as_os(name: &CStr) -> &OsStr {
    OsStr::from_bytes(name.to_bytes())
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::File { act: "give to the containers' user", path: path.to_owned(), source }
}

/// Opens the entry itself, a link too, for nothing but looking at it and changing its owner.
fn open(dir: impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Returns the number of the mount an open file lies on: a bind mount has the same device number as what it shows.
fn mount_of(file: &OwnedFd) -> std::io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let number = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    number.ok_or_else(|| std::io::Error::other("the kernel does not say on which mount it lies"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn own() -> (u32, u32) {
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    /// Whom root may give things to; anybody else may give them to nobody.
    fn other() -> Option<(u32, u32)> {
        (own().0 == 0).then_some((7110, 7110))
    }

    fn owner(path: &Path) -> (u32, u32) {
        let found = std::fs::symlink_metadata(path).unwrap();
        (found.uid(), found.gid())
    }

    #[test]
    fn a_folder_goes_with_all_it_holds_and_links_lead_nowhere() {
        let Some(to) = other() else { return };
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("lake/inner/deep")).unwrap();
        std::fs::write(at("lake/inner/table"), "x").unwrap();
        std::fs::create_dir(at("outside")).unwrap();
        std::fs::write(at("outside/file"), "x").unwrap();
        symlink(at("outside"), at("lake/inner/link")).unwrap();
        symlink(at("outside/file"), at("lake/link")).unwrap();
        let giver = Giver::new(to, &[]);
        assert!(!giver.owns(&at("lake")));
        for _ in 0..2 {
            giver.give(&at("lake")).unwrap();
        }
        for given in ["lake", "lake/inner", "lake/inner/deep", "lake/inner/table"] {
            assert_eq!(owner(&at(given)), to, "{given}");
            assert!(giver.owns(&at(given)));
        }
        for kept in ["outside", "outside/file", "lake/link", "lake/inner/link"] {
            assert_eq!(owner(&at(kept)), own(), "{kept}");
        }
        symlink(at("outside"), at("instead")).unwrap();
        assert!(matches!(giver.give(&at("instead")), Err(Error::NotOurs { .. })));
        assert_eq!(owner(&at("outside")), own());
    }

    #[test]
    fn what_has_a_second_name_is_refused() {
        let Some(to) = other() else { return };
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("lake")).unwrap();
        std::fs::write(at("password"), "x").unwrap();
        std::fs::hard_link(at("password"), at("lake/mine")).unwrap();
        let refused = Giver::new(to, &[]).give(&at("lake")).unwrap_err();
        assert!(refused.to_string().contains("lake/mine"), "{refused}");
        assert_eq!(owner(&at("password")), own());
    }

    #[test]
    fn a_data_folder_is_never_given() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("lake/data")).unwrap();
        let giver = Giver::new(own(), &[at("lake/data")]);
        assert!(giver.give(&at("lake")).unwrap_err().to_string().contains("lake/data"));
        giver.give(dir.path()).unwrap_err();
    }

    #[test]
    fn another_mount_is_left_alone_and_named() {
        let Some(to) = other() else { return };
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("lake/inner")).unwrap();
        std::fs::create_dir(at("shown")).unwrap();
        // A bind mount: the device number is the same.
        let mounted = std::process::Command::new("mount").arg("--bind").args([at("shown"), at("lake/inner")]).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("skipped: nothing can be mounted here");
            return;
        }
        let refused = Giver::new(to, &[]).give(&at("lake"));
        let still = owner(&at("shown"));
        std::process::Command::new("umount").arg(at("lake/inner")).status().unwrap();
        assert!(matches!(refused, Err(Error::MountInside { path, .. }) if path == at("lake/inner")));
        assert_eq!(still, own());
    }
}
