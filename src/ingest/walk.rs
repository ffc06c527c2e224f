//! The folders as they are now: which files there are, and what was passed over.

use std::{
    collections::{BTreeMap, HashSet},
    fs::Metadata,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio_util::sync::CancellationToken;
use walkdir::{DirEntry, WalkDir};

use crate::{
    format::{FileReport, FileStatus, FolderReport, FolderState},
    name,
    rights::{Names, Way},
    skip,
};

/// A regular file, as the walk saw it. Nothing of it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub path: PathBuf,
    /// The folder it belongs to, as text.
    pub source: Arc<str>,
    /// The way below `source`, as text.
    pub relative: String,
    pub stamp: Stamp,
    /// Who may read it, sorted.
    pub readers: Arc<[String]>,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub size_bytes: u64,
    pub modified_ms: i64,
}

/// What a walk over all folders found.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// In the order of the folders, and within one by path.
    pub files: Vec<Found>,
    pub passed_over: Vec<FileReport>,
    pub folders: Vec<FolderReport>,
    /// Folders, as absolute text, whose content is unknown: what was read from them before is kept.
    pub unknown: Vec<String>,
    /// Of these, those that were closed to this program: what was read from them before is for administrators from now on.
    pub denied: Vec<String>,
    /// ACL files that cannot be used, each a sentence.
    pub closed: Vec<String>,
    /// Every list of readers once.
    pub lists: HashSet<Arc<[String]>>,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self { size_bytes: metadata.len(), modified_ms: metadata.modified().map_or(0, millis) }
    }
}

fn millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

/// Returns folders in one spelling each; one that lies inside another is left out, for the outer one covers it.
pub(crate) fn roots(folders: &[PathBuf]) -> Vec<PathBuf> {
    let resolve = |folder: &PathBuf| {
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        absolute.canonicalize().unwrap_or(absolute)
    };
    let mut resolved: Vec<PathBuf> = folders.iter().map(resolve).collect();
    let all = resolved.clone();
    let mut seen = std::collections::BTreeSet::new();
    resolved.retain(|folder| {
        let is_inside = all.iter().any(|other| other != folder && folder.starts_with(other));
        !is_inside && seen.insert(folder.clone())
    });
    resolved
}

/// Walks every root without following links or opening files. `own` is a folder of ours that is never read. Calls `tick` with the
/// number of files now and then. Stops early when cancelled: the caller must not use such a walk to forget anything.
pub(crate) fn walk(roots: &[PathBuf], own: &Path, tick: &dyn Fn(u64), cancel: &CancellationToken) -> Walk {
    let mut walk = Walk::default();
    let names = Names::of_machine();
    for root in roots {
        let source: Arc<str> = name::text(root.as_os_str()).into();
        let before = (walk.files.len(), walk.passed_over.len());
        let state = match std::fs::metadata(root) {
            Ok(metadata) if metadata.is_dir() => {
                walk.one((root, &source), &names, own, tick, cancel);
                FolderState::Read
            }
            Ok(_) => FolderState::NotAFolder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => FolderState::Missing,
            Err(_) => FolderState::Unreadable,
        };
        if state != FolderState::Read {
            walk.unknown.push(source.to_string());
        }
        let state = match state {
            FolderState::Read if walk.unknown.iter().any(|folder| **folder == *source) => FolderState::Unreadable,
            state => state,
        };
        walk.folders.push(FolderReport {
            path: source.to_string(),
            state,
            files: (walk.files.len() - before.0) as u64,
            passed_over: (walk.passed_over.len() - before.1) as u64,
            kept: 0,
        });
    }
    walk
}

impl Walk {
    fn one(
        &mut self,
        (root, source): (&Path, &Arc<str>),
        names: &Names,
        own: &Path,
        tick: &dyn Fn(u64),
        cancel: &CancellationToken,
    ) {
        let mut way = Way::new(names);
        let mut entries = WalkDir::new(root).follow_links(false).sort_by_file_name().into_iter();
        let mut by_reason: BTreeMap<&'static str, u64> = BTreeMap::new();
        while let Some(entry) = entries.next() {
            if cancel.is_cancelled() {
                return;
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.unreadable(root, source, &error);
                    continue;
                }
            };
            if entry.depth() == 0 {
                // Named by whoever runs this, it may be a link.
                self.enter(&mut way, (root, source), &entry, std::fs::metadata(root));
                continue;
            }
            let relative = name::below(root, entry.path()).unwrap_or_default();
            let passed_over = if entry.path() == own { Some("0711's own data") } else { passed_over(&entry) };
            if let Some(reason) = passed_over {
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
                *by_reason.entry(reason).or_default() += 1;
                self.pass_over(source, relative, reason.to_owned());
                continue;
            }
            if entry.file_type().is_dir() {
                let metadata = std::fs::symlink_metadata(entry.path());
                self.enter(&mut way, (root, source), &entry, metadata);
                continue;
            }
            match entry.metadata() {
                Ok(metadata) => {
                    let readers = self.list(way.readers(entry.path(), entry.depth(), &metadata));
                    self.files.push(Found {
                        path: entry.path().to_owned(),
                        source: Arc::clone(source),
                        relative,
                        stamp: Stamp::of(&metadata),
                        readers,
                    });
                }
                // Gone since its folder was listed: it is no longer there, and that is all.
                Err(error) if error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => {}
                Err(error) => self.unreadable(root, source, &error),
            }
            if self.files.len().is_multiple_of(1000) {
                tick(self.files.len() as u64);
            }
        }
        tracing::debug!(folder = %source, passed_over = ?by_reason, "walked a folder");
    }

    fn enter(
        &mut self,
        way: &mut Way<'_>,
        (root, source): (&Path, &Arc<str>),
        entry: &DirEntry,
        metadata: io::Result<Metadata>,
    ) {
        let Ok(metadata) = metadata else {
            way.close(entry.depth());
            return;
        };
        let Some((path, reason)) = way.enter(entry.path(), entry.depth(), &metadata) else { return };
        let reason = format!("not understood ({reason}): nobody but administrators may read this folder");
        self.closed.push(format!("`{}` is {reason}", name::text(path.as_os_str())));
        self.pass_over(source, name::below(root, &path).unwrap_or_default(), reason);
    }

    fn list(&mut self, readers: Vec<String>) -> Arc<[String]> {
        if let Some(known) = self.lists.get(readers.as_slice()) {
            return Arc::clone(known);
        }
        let list: Arc<[String]> = readers.into();
        self.lists.insert(Arc::clone(&list));
        list
    }

    fn pass_over(&mut self, source: &Arc<str>, path: String, reason: String) {
        self.passed_over.push(FileReport { source: source.to_string(), path, status: FileStatus::Skipped, reason });
    }

    fn unreadable(&mut self, root: &Path, source: &Arc<str>, error: &walkdir::Error) {
        let path = error.path().unwrap_or(root);
        let relative = name::below(root, path).unwrap_or_default();
        let cause = match error.io_error() {
            Some(cause) => describe(cause),
            None => error.to_string(),
        };
        self.unknown.push(name::text(path.as_os_str()));
        if error.io_error().is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied) {
            self.denied.push(name::text(path.as_os_str()));
        }
        self.pass_over(source, relative, format!("cannot be listed: {cause}"));
    }
}

fn passed_over(entry: &DirEntry) -> Option<&'static str> {
    let kind = entry.file_type();
    // A name that is not UTF-8 is none of the known leftovers; only its first byte can matter, and that is ASCII.
    let file_name = entry.file_name().to_string_lossy();
    if kind.is_dir() {
        return skip::folder(&file_name);
    }
    if kind.is_file() {
        return skip::file(&file_name);
    }
    match base::file::kind_name(kind) {
        "symbolic link" => Some("symbolic link, not followed"),
        "named pipe" => Some("named pipe, not a file"),
        "socket" => Some("socket, not a file"),
        "device" => Some("device, not a file"),
        _ => Some("special file"),
    }
}

/// Returns an operating error as people know it, without its number.
pub(crate) fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::NotFound => "it is gone".to_owned(),
        _ => error.to_string(),
    }
}
