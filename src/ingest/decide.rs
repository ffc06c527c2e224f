//! What is to be done: the folders as they are against the documents the lake has. Pure.
//!
//! A file is known by its absolute path, whichever folder it was read from: a folder inside a folder that was read before, or around
//! one, changes nothing for the files already there.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use lake::{DocumentRow, DocumentStatus, Readers};

use crate::{
    format::{FolderReport, FolderState},
    handled::HANDLERS_KEY,
    name,
    products::{CATALOGUE_KEY, is_catalogue},
    rights::meet,
    walk::{Found, Stamp, Walk},
};

/// Raise this when extraction or chunking gives other text for the same bytes: documents that carry another value are read again.
pub(crate) const EXTRACTOR: &str = "3";

/// The metadata key that holds [`EXTRACTOR`].
pub(crate) const EXTRACTOR_KEY: &str = "extractor";

/// The metadata key that holds how many tables of the document can be asked in SQL.
pub(crate) const TABLES_KEY: &str = "tables";

/// The metadata key that holds the kind of a failure.
pub(crate) const FAILURE_KEY: &str = "failure";

/// The kind of a failure that lies with the disk or the rights, not with the file: it is tried again at every run.
pub(crate) const UNREACHABLE: &str = "unreachable";

/// Two states of a file this close to each other may carry the same time: file systems count in steps.
const RACY_MS: i64 = 2_000;

/// How a run treats what it finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Read files again that could not be read before, though they did not change.
    pub retry: bool,
    /// Believe a folder that is suddenly empty, and forget its documents.
    pub prune: bool,
    /// The state of the handlers, as a number. What was read under another one, and has to do with them, is read again. A run fills it in.
    pub handlers: u64,
}

/// One file to read.
#[derive(Clone, Debug)]
pub(crate) struct Todo {
    pub path: PathBuf,
    pub source: Arc<str>,
    pub relative: String,
    pub stamp: Stamp,
    /// Who may read it, sorted.
    pub readers: Arc<[String]>,
    pub known: Option<Box<DocumentRow>>,
}

/// What a run does.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    pub todo: Vec<Todo>,
    pub unchanged: u64,
    /// Documents others may read than before.
    pub regrant: Vec<Readers>,
    /// Ids of documents whose files are gone.
    pub remove: Vec<String>,
    pub kept: u64,
    pub elsewhere: u64,
    /// Searchable documents there will be before anything new is added.
    pub searchable: u64,
    pub notes: Vec<String>,
}

impl Todo {
    fn new(found: Found, known: Option<DocumentRow>) -> Self {
        let (source, relative) = match &known {
            Some(row) => (Arc::from(row.source.as_str()), row.path.clone()),
            None => (found.source, found.relative),
        };
        Self {
            path: found.path,
            source,
            relative,
            stamp: found.stamp,
            readers: found.readers,
            known: known.map(Box::new),
        }
    }

    /// Returns the file's name without its folder.
    pub fn name(&self) -> &str {
        self.relative.rsplit('/').next().unwrap_or(&self.relative)
    }
}

/// Compares. `folders` of the walk get their state corrected and the number of documents kept.
pub(crate) fn decide(walk: Walk, known: Vec<DocumentRow>, options: Options) -> (Decision, Vec<FolderReport>) {
    let mut decision = Decision::default();
    let mut folders = walk.folders;
    let mut by_path: HashMap<String, DocumentRow> = HashMap::with_capacity(known.len());
    for row in known {
        let path = name::absolute(&row.source, &row.path);
        if let Some(twice) = by_path.insert(path, row) {
            decision.remove.push(twice.id);
        }
    }
    for found in walk.files {
        let row = by_path.remove(&name::absolute(&found.source, &found.relative));
        let searchable = row.as_ref().is_some_and(is_searchable);
        decision.searchable += u64::from(searchable);
        // Before anything is read: what was closed is not to be found until its turn comes. A row that is made anew gets its new readers
        // with its new content; until then nobody reads it who may not read both.
        if let Some(row) = row.as_ref() {
            let is_left = is_current(row, options) && has_stamp(row, found.stamp);
            let set = |names: &[String]| names.iter().cloned().collect();
            let readers = match is_left {
                true => found.readers.to_vec(),
                false => meet(&set(&row.readers), &set(&found.readers)).into_iter().collect(),
            };
            if row.readers != readers {
                decision.regrant.push(Readers { document_id: row.id.clone(), readers });
            }
        }
        match row {
            Some(row) if is_unchanged(&row, found.stamp, options) => decision.unchanged += 1,
            row => decision.todo.push(Todo::new(found, row)),
        }
    }
    for (path, row) in by_path {
        let Some(folder) = folders.iter_mut().find(|folder| name::is_below(&path, &folder.path)) else {
            decision.elsewhere += 1;
            decision.searchable += u64::from(is_searchable(&row));
            continue;
        };
        if folder.state == FolderState::Read && folder.files == 0 && !options.prune {
            folder.state = FolderState::Emptied;
        }
        let is_unknown =
            folder.state == FolderState::Emptied || walk.unknown.iter().any(|unknown| name::is_below(&path, unknown));
        if is_unknown {
            if !row.readers.is_empty() && walk.denied.iter().any(|denied| name::is_below(&path, denied)) {
                decision.regrant.push(Readers { document_id: row.id.clone(), readers: Vec::new() });
            }
            folder.kept += 1;
            decision.kept += 1;
            decision.searchable += u64::from(is_searchable(&row));
        } else {
            decision.remove.push(row.id);
        }
    }
    decision.remove.sort();
    decision.notes = folders.iter().filter_map(note).chain(walk.closed).collect();
    (decision, folders)
}

fn is_searchable(row: &DocumentRow) -> bool {
    row.status == DocumentStatus::Searchable
}

/// Returns whether the row was made by this version of the readers, so that the same bytes would give the same row, and has with it all
/// that is read from the file.
pub(crate) fn is_current(row: &DocumentRow, options: Options) -> bool {
    is_read(row, options) && has_rows(row)
}

/// Returns whether the rows of a catalogue were read. They were not from one of before there were such rows, nor where the worker ended
/// before the file did.
pub(crate) fn has_rows(row: &DocumentRow) -> bool {
    !is_catalogue(&row.format) || row.status != DocumentStatus::Searchable || row.metadata.contains_key(CATALOGUE_KEY)
}

/// Returns whether the passages are those this version of the readers gives.
pub(crate) fn is_read(row: &DocumentRow, options: Options) -> bool {
    let failure = row.metadata.get(FAILURE_KEY).map(String::as_str);
    let is_final = match row.status {
        DocumentStatus::Failed => !options.retry && failure != Some(UNREACHABLE),
        DocumentStatus::Searchable | DocumentStatus::Empty => true,
    };
    let seen = row.metadata.get(HANDLERS_KEY);
    let is_settled = seen.is_none_or(|seen| *seen == options.handlers.to_string());
    is_final && is_settled && row.metadata.get(EXTRACTOR_KEY).map(String::as_str) == Some(EXTRACTOR)
}

/// Returns whether the row still has the size and time of the file.
pub(crate) fn has_stamp(row: &DocumentRow, stamp: Stamp) -> bool {
    row.size_bytes == stamp.size_bytes && row.modified_ms == stamp.modified_ms
}

fn is_unchanged(row: &DocumentRow, stamp: Stamp, options: Options) -> bool {
    // Written within the clock's grain of being read, it may have been written once more since: only the digest knows.
    let is_racy = row.digest.is_some() && row.modified_ms.saturating_add(RACY_MS) > row.ingested_ms;
    has_stamp(row, stamp) && !is_racy && is_current(row, options)
}

fn note(folder: &FolderReport) -> Option<String> {
    let path = name::shown(&folder.path);
    let kept = match folder.kept {
        0 => "nothing was known from it".to_owned(),
        kept => format!("its {kept} documents are kept"),
    };
    match folder.state {
        FolderState::Read if folder.kept > 0 => {
            Some(format!("parts of `{path}` cannot be listed: the {} documents in them are kept", folder.kept))
        }
        FolderState::Read => None,
        FolderState::Emptied => Some(format!(
            "`{path}` is empty now, as if it were not mounted: {kept}; `0711 ingest --prune` forgets them"
        )),
        FolderState::Missing => Some(format!("`{path}` is not there: {kept}")),
        FolderState::Unreadable => Some(format!("`{path}` cannot be listed: {kept}")),
        FolderState::NotAFolder => Some(format!("`{path}` is not a folder: {kept}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use base::Digest;

    use super::*;

    fn row(source: &str, path: &str, metadata: &[(&str, &str)]) -> DocumentRow {
        let pairs = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut metadata: BTreeMap<String, String> = pairs.collect();
        metadata.entry(EXTRACTOR_KEY.to_owned()).or_insert_with(|| EXTRACTOR.to_owned());
        let is_failed = metadata.contains_key(FAILURE_KEY);
        DocumentRow {
            id: lake::document_id(source, path),
            source: source.to_owned(),
            path: path.to_owned(),
            name: path.to_owned(),
            digest: Some(Digest::of(path.as_bytes())),
            size_bytes: 1,
            modified_ms: 0,
            format: "txt".to_owned(),
            language: None,
            title: None,
            status: if is_failed { DocumentStatus::Failed } else { DocumentStatus::Searchable },
            reason: None,
            chunk_count: 1,
            ingested_ms: 1_000_000,
            readers: Vec::new(),
            metadata,
        }
    }

    fn walk(files: &[&str], unknown: &[&str]) -> Walk {
        let found = |path: &&str| Found {
            path: PathBuf::from("/s").join(path),
            source: "/s".into(),
            relative: (*path).to_owned(),
            stamp: Stamp { size_bytes: 1, modified_ms: 0 },
            readers: Vec::new().into(),
        };
        Walk {
            files: files.iter().map(found).collect(),
            passed_over: Vec::new(),
            folders: vec![FolderReport {
                path: "/s".to_owned(),
                state: FolderState::Read,
                files: files.len() as u64,
                passed_over: 0,
                kept: 0,
            }],
            unknown: unknown.iter().map(|path| (*path).to_owned()).collect(),
            ..Walk::default()
        }
    }

    fn todo(decision: &Decision) -> Vec<&str> {
        decision.todo.iter().map(|todo| todo.relative.as_str()).collect()
    }

    #[test]
    fn what_cannot_be_listed_is_kept_and_what_is_gone_is_not() {
        let known = ["a", "closed/b", "c"].map(|path| row("/s", path, &[]));
        let gone = known[2].id.clone();
        let (decision, folders) = decide(walk(&["a"], &["/s/closed"]), known.to_vec(), Options::default());
        assert_eq!((decision.unchanged, decision.kept, decision.remove.clone()), (1, 1, vec![gone]));
        assert_eq!((folders[0].kept, decision.notes.len(), todo(&decision).len()), (1, 1, 0));
    }

    #[test]
    fn what_is_behind_a_closed_folder_is_for_administrators() {
        let everybody = |path| DocumentRow { readers: vec!["*".to_owned()], ..row("/s", path, &[]) };
        let known = ["closed/b", "torn/c"].map(everybody);
        let closed = Readers { document_id: known[0].id.clone(), readers: Vec::new() };
        let walk = Walk { denied: vec!["/s/closed".to_owned()], ..walk(&[], &["/s/closed", "/s/torn"]) };
        let (decision, _) = decide(walk, known.to_vec(), Options { prune: true, ..Options::default() });
        assert_eq!((decision.kept, decision.regrant), (2, vec![closed]));
    }

    #[test]
    fn what_is_read_anew_is_closed_at_once_and_opened_with_its_new_content() {
        let readers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let check = |before: &[&str], now: &[&str], metadata: &[(&str, &str)], modified_ms, expect: Option<&[&str]>| {
            let known = DocumentRow { readers: readers(before), ..row("/s", "a", metadata) };
            let id = known.id.clone();
            let mut walk = walk(&["a"], &[]);
            walk.files[0].readers = readers(now).into();
            walk.files[0].stamp.modified_ms = modified_ms;
            let (decision, _) = decide(walk, vec![known], Options::default());
            let expect = expect.map(|names| Readers { document_id: id, readers: readers(names) });
            assert_eq!(decision.regrant, expect.into_iter().collect::<Vec<_>>(), "{before:?} {now:?}");
        };
        let (old, current) = ([(EXTRACTOR_KEY, "0")], []);
        check(&["*"], &["hr"], &old, 0, Some(&["hr"]));
        check(&["hr", "sales"], &["hr", "it"], &old, 0, Some(&["hr"]));
        check(&["hr"], &["*"], &old, 0, None);
        // Another content: those who may read it now may not have read what was there before.
        check(&["hr"], &["*"], &current, 5, None);
        check(&["*"], &["hr"], &current, 5, Some(&["hr"]));
        check(&["hr"], &["*"], &current, 0, Some(&["*"]));
    }

    #[test]
    fn failures_of_the_disk_are_tried_again_and_those_of_the_file_are_not() {
        let known = vec![
            row("/s", "broken", &[(FAILURE_KEY, "unreadable")]),
            row("/s", "denied", &[(FAILURE_KEY, UNREACHABLE)]),
            row("/s", "old", &[(EXTRACTOR_KEY, "0")]),
        ];
        let walk = || walk(&["broken", "denied", "old"], &[]);
        let (decision, _) = decide(walk(), known.clone(), Options::default());
        assert_eq!(todo(&decision), ["denied", "old"]);
        let (decision, _) = decide(walk(), known, Options { retry: true, ..Options::default() });
        assert_eq!(todo(&decision), ["broken", "denied", "old"]);
    }

    #[test]
    fn a_file_keeps_its_identity_when_another_folder_reaches_it() {
        let inner = vec![row("/s/inner", "a", &[])];
        let (decision, _) = decide(walk(&["inner/a"], &[]), inner, Options::default());
        assert_eq!((decision.unchanged, decision.remove.len(), todo(&decision).len()), (1, 0, 0));
    }
}
