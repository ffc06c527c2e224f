//! A repository in a folder: a disk, a stick, a share.
//!
//! Sticks come with file systems that know no modes and no links, so neither is asked for. A stick that is pulled out leaves
//! an empty folder of the system disk behind: nothing may be written to that, and nothing read from it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{Error, seal::random, store::Listed};

const TEMPORARY: &str = ".tmp-";
/// What file systems and desktops put into an empty medium.
const FOREIGN: [&str; 4] = ["lost+found", "System Volume Information", ".Trashes", ".fseventsd"];

/// A folder that holds, or will hold, a repository.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// None while it does not exist.
    same: Option<Held>,
}

/// The folder that was opened. It stays open: file systems of sticks number a folder anew once nobody looks at it.
#[derive(Debug)]
struct Held {
    folder: File,
}

impl Held {
    fn open(path: &Path) -> Result<Self, Error> {
        File::open(path).map(|folder| Self { folder }).map_err(Error::read(path))
    }

    /// Whether this is the folder that is found at `path` now.
    fn is_at(&self, path: &Path) -> bool {
        let numbers = |found: fs::Metadata| (found.dev(), found.ino());
        let own = self.folder.metadata().map(numbers);
        own.is_ok_and(|own| fs::metadata(path).map(numbers).is_ok_and(|now| now == own))
    }
}

impl Folder {
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let absolute = std::path::absolute(&path).map_err(Error::read(&path))?;
        let same = match fs::metadata(&absolute) {
            Ok(found) if found.is_dir() => Some(Held::open(&absolute)?),
            Ok(_) => {
                return Err(Error::Place { place: path.display().to_string(), reason: "it is no folder".to_owned() });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::read(&absolute)(error)),
        };
        Ok(Self { path: absolute, same })
    }

    pub(crate) fn place(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn is_empty(&self) -> Result<bool, Error> {
        if self.same.is_none() {
            return Ok(true);
        }
        for entry in fs::read_dir(&self.path).map_err(Error::read(&self.path))? {
            let name = entry.map_err(Error::read(&self.path))?.file_name();
            let name = name.to_string_lossy();
            if !FOREIGN.contains(&name.as_ref()) && !name.starts_with(".Trash-") {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(crate) fn prepare(&mut self) -> Result<(), Error> {
        if self.same.is_none() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
            made.map_err(Error::write(&self.path))?;
            self.same = Some(Held::open(&self.path)?);
        }
        Ok(())
    }

    /// Returns where a piece lies, if this is still the folder that was opened.
    fn at(&self, name: &str) -> Result<PathBuf, Error> {
        if self.same.as_ref().is_some_and(|held| !held.is_at(&self.path)) {
            return Err(Error::TargetGone { place: self.place() });
        }
        Ok(self.path.join(name))
    }

    fn failed(&self, act: &'static str, name: &str) -> impl FnOnce(io::Error) -> Error {
        let (name, place) = (name.to_owned(), self.place());
        move |source| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { what: name },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::TargetFull { place, source },
            _ => Error::Target { act, name, source },
        }
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.at(name)?;
        let dir = path.parent().unwrap_or(&self.path);
        let temporary = dir.join(format!("{TEMPORARY}{}", hex::encode(random::<8>())));
        let written = write(&self.path, dir, &temporary, &path, bytes);
        if written.is_err() {
            // Room on a full medium is worth having; what cannot be removed now is swept later.
            let _ = fs::remove_file(&temporary);
        }
        written.map_err(|source| match source.kind() {
            // The folder of the piece was there a moment ago.
            io::ErrorKind::NotFound => Error::TargetGone { place: self.place() },
            _ => self.failed("write", name)(source),
        })
    }

    pub(crate) fn get(&self, name: &str, most: u64) -> Result<Vec<u8>, Error> {
        let path = self.at(name)?;
        let read = || {
            let file = File::open(&path)?;
            let length = file.metadata()?.len();
            if length > most {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has {length} bytes")));
            }
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            file.take(most).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(self.failed("read", name))
    }

    pub(crate) fn range(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        let path = self.at(name)?;
        let read = || {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = vec![0; length];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::damaged(name, "it is cut off"),
            _ => self.failed("read", name)(source),
        })
    }

    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        let mut found = Vec::new();
        self.walk(prefix, &mut |name, metadata| {
            if !is_temporary(name) {
                let modified_ms = metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000;
                found.push(Listed { name: name.to_owned(), size_bytes: metadata.len(), modified_ms });
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `each` for every file below `prefix`.
    fn walk(&self, prefix: &str, each: &mut dyn FnMut(&str, &fs::Metadata) -> Result<(), Error>) -> Result<(), Error> {
        let dir = self.at(prefix)?;
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(self.failed("list", prefix))?,
        };
        for entry in entries {
            let entry = entry.map_err(self.failed("list", prefix))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => self.walk(&name, each)?,
                Ok(metadata) => each(&name, &metadata)?,
                // A lock that was given back meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed("look at", &name)(error)),
            }
        }
        Ok(())
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        match fs::remove_file(self.at(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("remove", name)(error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from_path, to_path) = (self.at(from)?, self.at(to)?);
        let dir = to_path.parent().unwrap_or(&self.path);
        let renamed =
            fs::create_dir_all(dir).and_then(|()| fs::rename(&from_path, &to_path)).and_then(|()| sync_dir(dir));
        renamed.map_err(self.failed("move", from))
    }

    pub(crate) fn sweep(&self) -> Result<(), Error> {
        let mut left = Vec::new();
        self.walk("", &mut |name, _| {
            if is_temporary(name) {
                left.push(name.to_owned());
            }
            Ok(())
        })?;
        left.iter().try_for_each(|name| self.remove(name))
    }
}

fn is_temporary(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|name| name.starts_with(TEMPORARY))
}

fn write(root: &Path, dir: &Path, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    if !dir.is_dir() {
        // Only below the folder that is there: a medium that went away must not be made anew on the system's disk.
        for missing in dir.ancestors().take_while(|dir| *dir != root).collect::<Vec<_>>().into_iter().rev() {
            match fs::DirBuilder::new().mode(0o700).create(missing) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => sync_dir(missing.parent().unwrap_or(root))?,
            }
        }
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    sync_dir(dir)
}

/// Some network file systems know no syncing of folders and say so with EINVAL; they write names at once.
fn sync_dir(dir: &Path) -> io::Result<()> {
    match base::file::sync_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(dir: &tempfile::TempDir) -> Folder {
        let mut folder = Folder::open(dir.path().join("stick")).unwrap();
        folder.prepare().unwrap();
        folder
    }

    #[test]
    fn a_piece_comes_back_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir);
        folder.put("packs/ab/abc", b"0123456789").unwrap();
        folder.put("packs/ab/abc", b"9876543210").unwrap();
        assert_eq!(folder.get("packs/ab/abc", 10).unwrap(), b"9876543210");
        assert_eq!(folder.range("packs/ab/abc", 8, 2).unwrap(), b"10");
        assert!(matches!(folder.range("packs/ab/abc", 8, 3), Err(Error::Damaged { .. })));
        assert!(matches!(folder.get("packs/ab/abc", 9), Err(Error::Target { .. })));
        assert!(matches!(folder.get("packs/ab/x", 9), Err(Error::Missing { .. })));
        fs::write(folder.path.join("packs/.tmp-1"), b"torn").unwrap();
        let names = |folder: &Folder| folder.list("packs").unwrap().into_iter().map(|found| found.name);
        assert_eq!(names(&folder).collect::<Vec<_>>(), ["packs/ab/abc"]);
        folder.sweep().unwrap();
        assert_eq!(fs::read_dir(folder.path.join("packs")).unwrap().count(), 1);
        folder.remove("packs/ab/abc").unwrap();
        folder.remove("packs/ab/abc").unwrap();
        assert_eq!(names(&folder).count(), 0);
    }

    #[test]
    fn a_stick_that_was_pulled_out_gets_nothing_written_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir);
        folder.put("a", b"1").unwrap();
        fs::rename(&folder.path, dir.path().join("pulled")).unwrap();
        assert!(matches!(folder.put("b", b"1"), Err(Error::TargetGone { .. })));
        fs::create_dir(&folder.path).unwrap();
        assert!(matches!(folder.put("b", b"1"), Err(Error::TargetGone { .. })));
        assert!(matches!(folder.get("a", 9), Err(Error::TargetGone { .. })));
        assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_with_other_things_is_not_taken_for_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir);
        fs::create_dir(folder.path.join("lost+found")).unwrap();
        assert!(folder.is_empty().unwrap());
        fs::write(folder.path.join("Urlaub.jpg"), b"x").unwrap();
        assert!(!folder.is_empty().unwrap());
        assert!(matches!(Folder::open(folder.path.join("Urlaub.jpg")), Err(Error::Place { .. })));
    }
}
