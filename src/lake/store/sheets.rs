//! The spreadsheet tables of a commit: a name for each, and a folder.

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
};

use crate::{CatalogRow, Commit, Error, catalog};

use super::{Store, sources::NAMES};

impl Store {
    /// Writes a commit's spreadsheet tables, each into a folder of its own, and returns their rows of the catalog.
    pub(super) async fn write_sheets(
        &self,
        commit: &Commit,
        gone: &BTreeSet<&str>,
        made: &mut Vec<PathBuf>,
    ) -> Result<Vec<CatalogRow>, Error> {
        if commit.tables.is_empty() {
            return Ok(Vec::new());
        }
        std::fs::create_dir_all(&self.sheets_home).map_err(Error::io("create", &self.sheets_home))?;
        made.push(self.sheets_home.clone());
        let kept = self.sheets.iter().filter(|(document, _)| !gone.contains(document.as_str()));
        let mut taken: HashSet<String> = kept.flat_map(|(_, rows)| rows).map(|row| row.name.clone()).collect();
        taken.extend(NAMES.map(str::to_owned));
        let mut rows = Vec::new();
        for table in &commit.tables {
            let of_document = || commit.tables.iter().filter(|other| other.document_id == table.document_id);
            let file = commit.upsert.iter().find(|row| row.id == table.document_id).map_or("", |row| row.name.as_str());
            // A table that was there keeps its name, whoever else has come since.
            let before = self.sheets.get(&table.document_id).into_iter().flatten();
            let before =
                before.filter(|row| row.ordinal == table.ordinal && row.label == table.label).map(|row| &row.name);
            let name = match before.into_iter().find(|name| !taken.contains(*name)) {
                Some(name) => name.clone(),
                None => catalog::name(file, table, of_document().nth(1).is_none(), &taken),
            };
            taken.insert(name.clone());
            let folder = format!("{name}.{}", self.commits() + 1);
            let columns = catalog::write(&self.sheets_home, &folder, table, made).await?;
            rows.push(CatalogRow {
                name,
                document_id: table.document_id.clone(),
                ordinal: table.ordinal,
                label: table.label.clone(),
                place: table.place.clone(),
                rows: table.rows.len() as u64,
                columns,
                folder,
            });
        }
        Ok(rows)
    }
}
