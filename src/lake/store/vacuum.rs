//! Older commits: which can still be asked, and letting go of them.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use crate::{
    CommitId, Error, catalog,
    format::{CommitRow, Snapshot, Vacuumed},
    table::{Table, open_at},
};

use super::Store;

impl Store {
    /// Returns the newest commits, newest first.
    pub async fn snapshots(&self, limit: usize) -> Vec<Snapshot> {
        let mut known: HashMap<(&str, u64), bool> = HashMap::new();
        let mut all = Vec::new();
        for row in self.history.iter().rev().take(limit) {
            let mut is_whole = true;
            for (name, version) in row.versions() {
                let Some(table) = self.tables().into_iter().find(|table| table.layout.name == name) else { continue };
                let whole = match known.get(&(table.layout.name, version)) {
                    Some(whole) => *whole,
                    None => {
                        let whole = files_at(table, version)
                            .await
                            .is_ok_and(|files| files.iter().all(|file| table.folder().join(file).is_file()));
                        known.insert((table.layout.name, version), whole);
                        whole
                    }
                };
                is_whole &= whole;
            }
            let (commit, kind) = (CommitId(row.id), row.kind.clone());
            all.push(Snapshot { commit, committed_ms: row.committed_ms, kind, is_whole });
        }
        all
    }

    /// Removes the files only commits before the newest `keep` need. What is held for a backup stays: it has other names.
    ///
    /// The history and the logs stay too; asking a commit whose files are gone is refused.
    pub async fn vacuum(&mut self, keep: usize) -> Result<Vacuumed, Error> {
        let kept: Vec<CommitRow> = self.history[self.history.len().saturating_sub(keep.max(1))..].to_vec();
        let mut done = Vacuumed { oldest: kept.first().map_or(0, |row| row.id), ..Vacuumed::default() };
        for table in self.tables() {
            let versions: HashSet<u64> = kept
                .iter()
                .flat_map(CommitRow::versions)
                .filter(|(name, _)| *name == table.layout.name)
                .map(|(_, version)| version)
                .collect();
            let mut needed: HashSet<String> = table.files().into_iter().map(|file| file.path).collect();
            for version in versions {
                // What an earlier vacuum left incomplete is not made worse: its files that are there stay.
                needed.extend(files_at(table, version).await.map_err(Error::table("read", table.layout.name))?);
            }
            remove_others(table.folder(), &needed, &mut done)?;
        }
        let needed = self.commits.files().into_iter().map(|file| file.path).collect();
        remove_others(self.commits.folder(), &needed, &mut done)?;
        let mut folders: HashSet<String> = self.sheets.values().flatten().map(|row| row.folder.clone()).collect();
        for version in kept.iter().map(|row| row.catalog).collect::<HashSet<_>>() {
            for batch in self.catalog.read_at(version).await? {
                folders.extend(catalog::catalog_rows(&batch)?.into_iter().map(|row| row.folder));
            }
        }
        for entry in fs::read_dir(&self.sheets_home).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| !folders.contains(name)) {
                count(&entry.path(), &mut done);
                fs::remove_dir_all(entry.path()).map_err(Error::io("remove", entry.path()))?;
            }
        }
        self.vectors.clean().await?;
        Ok(done)
    }
}

async fn files_at(table: &Table, version: u64) -> Result<Vec<String>, deltalake::DeltaTableError> {
    let at = open_at(table.folder(), version).await?;
    Ok(at.snapshot()?.log_data().iter().map(|view| view.path().into_owned()).collect())
}

/// Removes a table's data files that are not among those needed. Its log stays.
fn remove_others(folder: &Path, needed: &HashSet<String>, done: &mut Vacuumed) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let entry = entry.map_err(Error::io("list", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".parquet") && !needed.contains(&name) {
            count(&entry.path(), done);
            fs::remove_file(entry.path()).map_err(Error::io("remove", entry.path()))?;
        }
    }
    Ok(())
}

fn count(path: &Path, done: &mut Vacuumed) {
    if path.is_dir() {
        fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| count(&entry.path(), done));
    } else {
        done.files += 1;
        done.bytes += fs::metadata(path).map_or(0, |found| found.len());
    }
}
