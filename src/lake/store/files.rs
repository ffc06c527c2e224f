//! Rows of a document in the files of a table: finding them, replacing them, joining small files.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::{concat_batches, filter_record_batch},
};

use crate::{
    Error,
    table::{Table, TableFile},
};

use super::{FULL_FILE_ROWS, Files, SOME_FILES};

/// Reads which file holds a document's rows. They stand together: only the first needs an entry.
pub(super) fn locate(table: &Table, key: &str, files: &mut Files) -> Result<(), Error> {
    files.clear();
    for file in table.files() {
        let path: Arc<str> = file.path.as_str().into();
        for batch in table.read_file(&file.path, Some(&[key]))? {
            for id in table.layout.read(&batch).texts(key)?.iter().flatten() {
                if !files.contains_key(id) {
                    files.insert(id.to_owned(), path.clone());
                }
            }
        }
    }
    Ok(())
}

/// Adds every file below a folder.
pub(super) fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// What [`replace`] did: these documents' rows are in `path` now.
pub(super) struct Replaced {
    path: Option<Arc<str>>,
    documents: Vec<String>,
}

impl Replaced {
    pub(super) fn note(self, files: &mut Files) {
        if let Some(path) = self.path {
            files.extend(self.documents.into_iter().map(|id| (id, path.clone())));
        }
    }
}

/// Writes `new` and, with them, what stays of the files that hold rows of the documents `gone`.
pub(super) async fn replace(
    table: &mut Table,
    key: &str,
    files: &Files,
    gone: &BTreeSet<&str>,
    new: RecordBatch,
    made: &mut Vec<PathBuf>,
) -> Result<Replaced, Error> {
    let layout = table.layout;
    let failed = |source| Error::Columns { table: layout.name, source };
    let touched: BTreeSet<&Arc<str>> = gone.iter().filter_map(|id| files.get(*id)).collect();
    let touched: Vec<String> = touched.into_iter().map(|path| path.to_string()).collect();
    let mut batches = Vec::new();
    for path in &touched {
        for batch in table.read_file(path, None)? {
            let ids = layout.read(&batch).texts(key)?;
            let stays: BooleanArray = ids.iter().map(|id| Some(id.is_none_or(|id| !gone.contains(id)))).collect();
            batches.push(filter_record_batch(&batch, &stays).map_err(failed)?);
        }
    }
    batches.push(new);
    let all = concat_batches(&layout.schema(), &batches).map_err(failed)?;
    let documents: BTreeSet<&str> = layout.read(&all).texts(key)?.iter().flatten().collect();
    let documents = documents.into_iter().map(str::to_owned).collect();
    let path = table.write(&touched, all, made).await?;
    Ok(Replaced { path: path.map(Into::into), documents })
}

/// Joins a table's small files when there are some. The rows stay the same, and those of one file stay together.
pub(super) async fn join(table: &mut Table, made: &mut Vec<PathBuf>) -> Result<bool, Error> {
    let files = small(&table.files());
    if files.len() < SOME_FILES {
        return Ok(false);
    }
    let (mut group, mut rows) = (Vec::new(), 0);
    for (index, file) in files.iter().enumerate() {
        rows += file.rows;
        group.push(file.path.clone());
        if rows >= FULL_FILE_ROWS || index + 1 == files.len() {
            join_group(table, &group, made).await?;
            (group, rows) = (Vec::new(), 0);
        }
    }
    Ok(true)
}

async fn join_group(table: &mut Table, group: &[String], made: &mut Vec<PathBuf>) -> Result<(), Error> {
    let mut batches = Vec::new();
    for path in group {
        batches.extend(table.read_file(path, None)?);
    }
    let layout = table.layout;
    let failed = |source| Error::Columns { table: layout.name, source };
    let all = concat_batches(&layout.schema(), &batches).map_err(failed)?;
    table.write(group, all, made).await.map(drop)
}

pub(super) fn small(files: &[TableFile]) -> Vec<TableFile> {
    files.iter().filter(|file| file.rows < FULL_FILE_ROWS).cloned().collect()
}

pub(super) fn paths(files: &[TableFile]) -> Vec<String> {
    files.iter().map(|file| file.path.clone()).collect()
}
