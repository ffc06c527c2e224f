//! What of a customer goes into a backup.
//!
//! Everything, but for what is named here. What a later version keeps beside the customer's data is in the backup from its
//! first day; what can be made again, or must not come back, is listed in [`Source::is_left_out`] with the reason.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base::{CustomerLayout, Role};

use crate::{
    Error,
    format::{LakeCut, Stamp},
};

/// A customer's data, at one moment of the lake.
pub struct Source<'a> {
    pub layout: &'a CustomerLayout,
    /// The commit that [`CustomerLayout::lake_pin`] holds; none where there is no lake.
    pub lake: Option<LakeCut>,
}

/// Something below the customer's folders.
pub(crate) struct Found {
    /// The name in the backup: `etc/…` or `var/…`.
    pub path: String,
    pub real: PathBuf,
    pub kind: FoundKind,
}

pub(crate) enum FoundKind {
    Folder {
        mode: u32,
    },
    File {
        mode: u32,
        size_bytes: u64,
        stamp: Stamp,
    },
    /// It belongs into the backup and cannot be read.
    Unreadable {
        reason: String,
    },
}

impl Source<'_> {
    /// Returns a path's name in the backup.
    fn name(&self, path: &Path) -> Option<String> {
        name(self.layout, path)
    }

    fn is_left_out(&self, path: &Path) -> bool {
        let layout = self.layout;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Half-written files and locks mean something to their process only.
        if name.starts_with(".new-") || name.starts_with(".tmp") || name.ends_with(".lock") {
            return true;
        }
        let places = [
            // The lake is read from its pin; its folder changes all the time.
            layout.lakehouse(),
            // Logs are no data, and the largest part of what changes.
            layout.logs(),
            // Datasets and checkpoints of a training: made again from the lake.
            layout.train_dir(),
            // What this machine knows of its backups would tell another machine nothing true.
            layout.backup_state(),
            // A key inside what it opens helps nobody; in another repository it opens the first one.
            layout.backup_keys(),
            // It is shown once and then gone, and shall stay so.
            layout.first_password(),
            layout.former(),
        ];
        // A finished ingestion must not pass for one of the next installation; a finished training may.
        let jobs = Role::ALL.into_iter().filter(|role| *role != Role::Trainer).map(|role| layout.jobs_dir(role));
        places.into_iter().chain(jobs).any(|place| place == path)
    }

    /// Calls `each` with everything that belongs into the backup, a folder before what it holds.
    ///
    /// In each folder the files come before the folders, and the folders are looked for after the files were handled: what
    /// names a folder (`registry.json` names adapters) is then never newer than the folders that are found.
    pub(crate) fn walk(&self, each: &mut dyn FnMut(Found) -> Result<(), Error>) -> Result<(), Error> {
        for root in [self.layout.etc(), self.layout.dir()] {
            self.enter(root, root, each)?;
        }
        if self.lake.is_some() {
            let pin = self.layout.lake_pin();
            fs::metadata(&pin).map_err(Error::read(&pin))?;
            self.enter(&pin, &self.layout.lakehouse(), each)?;
        }
        Ok(())
    }

    /// Walks `real`, whose place in the backup is that of `shown`.
    fn enter(&self, real: &Path, shown: &Path, each: &mut dyn FnMut(Found) -> Result<(), Error>) -> Result<(), Error> {
        let Some(path) = self.name(shown) else { return Ok(()) };
        let unreadable = |error: io::Error| FoundKind::Unreadable { reason: error.to_string() };
        // Where the administrator put a link in place of the whole folder, the folder behind it is meant.
        let folder = match fs::metadata(real) {
            Ok(metadata) => {
                let metadata = fs::metadata(shown).unwrap_or(metadata);
                FoundKind::Folder { mode: metadata.permissions().mode() & 0o7777 }
            }
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => unreadable(error),
        };
        each(Found { path: path.clone(), real: real.to_owned(), kind: folder })?;
        for wants_folders in [false, true] {
            let names = match list(real) {
                Ok(names) => names,
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error) if wants_folders => {
                    return each(Found { path, real: real.to_owned(), kind: unreadable(error) });
                }
                Err(_) => continue,
            };
            for name in names {
                let (real, shown) = (real.join(&name), shown.join(&name));
                // The pin has the lakehouse's names, and nothing of it is left out.
                if real == shown && self.is_left_out(&shown) {
                    continue;
                }
                let metadata = match fs::symlink_metadata(&real) {
                    Ok(metadata) => metadata,
                    Err(error) if is_gone(&error) => continue,
                    Err(error) => {
                        if !wants_folders {
                            let path = self.name(&shown).unwrap_or_default();
                            each(Found { path, real, kind: unreadable(error) })?;
                        }
                        continue;
                    }
                };
                if metadata.is_dir() {
                    if wants_folders {
                        self.enter(&real, &shown, each)?;
                    }
                } else if !wants_folders {
                    self.file(real, &shown, &metadata, each)?;
                }
            }
        }
        Ok(())
    }

    fn file(
        &self,
        real: PathBuf,
        shown: &Path,
        metadata: &fs::Metadata,
        each: &mut dyn FnMut(Found) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(path) = self.name(shown) else {
            let path = shown.to_string_lossy().into_owned();
            let reason = "its name is not UTF-8".to_owned();
            return each(Found { path, real, kind: FoundKind::Unreadable { reason } });
        };
        let kind = if metadata.is_file() {
            FoundKind::File {
                mode: metadata.permissions().mode() & 0o7777,
                size_bytes: metadata.len(),
                stamp: stamp(metadata, real != shown),
            }
        } else if metadata.is_symlink() {
            FoundKind::Unreadable { reason: "it is a symbolic link".to_owned() }
        } else {
            // Pipes and sockets have no content.
            return Ok(());
        };
        each(Found { path, real, kind })
    }
}

/// Returns the name in a backup of a path below a customer's folders.
pub(crate) fn name(layout: &CustomerLayout, path: &Path) -> Option<String> {
    let below = |root: &Path, word: &str| {
        let rest = path.strip_prefix(root).ok()?.to_str()?;
        Some(if rest.is_empty() { word.to_owned() } else { format!("{word}/{rest}") })
    };
    below(layout.dir(), "var").or_else(|| below(layout.etc(), "etc"))
}

/// What tells whether a file is the one the last backup has.
///
/// A file of the lake gets its second name from the pin, which counts as a change to it: there the time of that change says
/// nothing, and nothing is lost, because the lake never writes a file twice.
pub(crate) fn stamp(metadata: &fs::Metadata, is_of_lake: bool) -> Stamp {
    let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Stamp {
        inode: metadata.ino(),
        modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
        changed_ns: (!is_of_lake).then(|| ns(metadata.ctime(), metadata.ctime_nsec())),
    }
}

fn list(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// What goes between being listed and being looked at was removed by its owner: the state without it is as good.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
