use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

/// What a folder holds, as counted in the time there was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Folders, the surveyed one not counted.
    pub folders: u64,
    /// Symbolic links (never followed) and special files (never read).
    pub skipped: u64,
    /// Entries that could not be looked at, for instance for want of rights.
    pub denied: u64,
    /// Files and bytes by lower-case extension without the dot; files without one are under the empty name.
    pub by_extension: BTreeMap<String, TypeCount>,
    /// Whether the whole tree was seen. If not, every number is a lower bound.
    pub complete: bool,
}

/// Files of one extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeCount {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Survey {
    /// Returns how many files have one of these extensions (lower case, without the dot).
    pub fn files_of(&self, extensions: &[&str]) -> u64 {
        extensions.iter().filter_map(|extension| self.by_extension.get(*extension)).map(|count| count.files).sum()
    }

    /// Returns the extensions with most files first, ties in alphabetical order.
    pub fn most_common(&self) -> Vec<(&str, TypeCount)> {
        let mut all: Vec<_> = self.by_extension.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        all.sort_by(|left, right| right.1.files.cmp(&left.1.files).then(left.0.cmp(right.0)));
        all
    }
}

/// Distinct extensions kept; beyond them files count under the empty name, so that a folder of `name.<random>` files
/// cannot fill the memory.
const EXTENSIONS_MAX: usize = 500;

/// Counts what is below `root`, for at most `budget`.
///
/// The walk runs on a thread of its own which is left behind when time is up: a `stat` on a dead network share blocks
/// for minutes and cannot be interrupted.
pub fn survey(root: &Path, budget: Duration) -> Survey {
    let seen = Arc::new(Mutex::new(Survey::default()));
    let time_is_up = Arc::new(AtomicBool::new(false));
    let (done, wait) = mpsc::channel();
    let walker = {
        let (root, seen, time_is_up) = (root.to_owned(), Arc::clone(&seen), Arc::clone(&time_is_up));
        std::thread::Builder::new().name("survey".to_owned()).spawn(move || {
            walk(&root, &seen, &time_is_up);
            // The receiver may be gone; then nobody waits for the news.
            let _ = done.send(());
        })
    };
    if walker.is_ok() {
        // Either the walk is over or time is; `complete` says which.
        let _ = wait.recv_timeout(budget);
    }
    time_is_up.store(true, Ordering::Relaxed);
    seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn walk(root: &Path, seen: &Mutex<Survey>, time_is_up: &AtomicBool) {
    for entry in WalkDir::new(root).min_depth(1).follow_links(false) {
        if time_is_up.load(Ordering::Relaxed) {
            return;
        }
        let counted = entry.ok().and_then(|entry| {
            let kind = entry.file_type();
            let bytes = if kind.is_file() { entry.metadata().ok()?.len() } else { 0 };
            Some((kind, bytes, entry))
        });
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match counted {
            None => seen.denied += 1,
            Some((kind, _, _)) if kind.is_dir() => seen.folders += 1,
            Some((kind, bytes, entry)) if kind.is_file() => {
                let extension = entry.path().extension().and_then(|name| name.to_str()).unwrap_or("").to_lowercase();
                let is_kept = seen.by_extension.len() < EXTENSIONS_MAX || seen.by_extension.contains_key(&extension);
                let count = seen.by_extension.entry(if is_kept { extension } else { String::new() }).or_default();
                count.files += 1;
                count.bytes += bytes;
                seen.files += 1;
                seen.bytes += bytes;
            }
            Some(_) => seen.skipped += 1,
        }
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).complete = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_files_and_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("a.PDF"), "12345").unwrap();
        std::fs::write(at("sub/b.pdf"), "123").unwrap();
        std::fs::write(at("README"), "1").unwrap();
        std::os::unix::fs::symlink("/", at("everything")).unwrap();
        std::os::unix::fs::symlink(folder.path(), at("sub/loop")).unwrap();
        let survey = survey(folder.path(), Duration::from_secs(10));
        assert!(survey.complete);
        assert_eq!((survey.files, survey.bytes, survey.folders, survey.skipped), (3, 9, 1, 2));
        assert_eq!(survey.by_extension["pdf"], TypeCount { files: 2, bytes: 8 });
        assert_eq!(survey.files_of(&["pdf", "docx"]), 2);
        assert_eq!(survey.most_common()[0].0, "pdf");
    }

    #[test]
    fn says_when_time_was_up() {
        let survey = survey(Path::new("/"), Duration::ZERO);
        assert!(!survey.complete);
    }
}
