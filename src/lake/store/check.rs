//! Whether what the newest commit names is there, and says the same everywhere.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
};

use crate::{
    CommitId, Error,
    format::Checked,
    rows,
    table::{Table, open_at},
};

use super::Store;

/// Faults beyond this say nothing new.
const MAX_FAULTS: usize = 100;

impl Store {
    /// Looks at every file of the newest commit. Reads the ends of all data files, and some columns of all tables.
    ///
    /// # Errors
    /// When a table cannot be read at all; what is wrong in it is in the answer.
    pub async fn check(&self) -> Result<Checked, Error> {
        let newest = self.newest();
        let (mut faults, mut notes, mut rows) = (Vec::new(), Vec::new(), BTreeMap::new());
        let named: HashMap<&str, u64> = newest.versions().into_iter().collect();
        for table in self.tables() {
            let name = table.layout.name;
            if named.get(name) != Some(&table.version()) {
                faults.push(format!(
                    "`{name}` is at version {}, the newest commit names {:?}",
                    table.version(),
                    named.get(name)
                ));
            }
            let (count, wrong) = table.check();
            rows.insert(name.to_owned(), count);
            faults.extend(wrong);
        }
        faults.extend(self.commits.check().1);
        self.check_vectors(newest.lance_chunks, &rows, &mut faults).await?;
        if faults.is_empty() {
            self.check_documents(&mut faults)?;
        }
        self.check_sheets(&mut faults, &mut notes).await?;
        faults.truncate(MAX_FAULTS);
        Ok(Checked { commit: CommitId(newest.id), rows, faults, notes, nearest: None })
    }

    async fn check_vectors(
        &self,
        named: u64,
        rows: &BTreeMap<String, u64>,
        faults: &mut Vec<String>,
    ) -> Result<(), Error> {
        if self.vectors.version() != named {
            faults.push(format!(
                "the vectors are at version {}, the newest commit names {named}",
                self.vectors.version()
            ));
        }
        let count = self.vectors.dataset().count_rows(None).await.map_err(Error::vectors("count"))? as u64;
        let chunks = rows.get("chunks").copied().unwrap_or(0);
        if count != chunks {
            faults.push(format!("there are {count} vectors and {chunks} passages"));
        }
        if let Err(error) = self.vectors.held().await {
            faults.push(format!("a file of the vectors is missing: {error}"));
        }
        Ok(())
    }

    /// Every row of a document's has a document, and it has as many passages as it says.
    fn check_documents(&self, faults: &mut Vec<String>) -> Result<(), Error> {
        let mut expected: HashMap<String, u32> = HashMap::new();
        for batch in self.documents.read()? {
            for row in rows::documents_rows(&batch)? {
                if expected.insert(row.id.clone(), row.chunk_count).is_some() {
                    faults.push(format!("the document {} is there twice", row.id));
                }
            }
        }
        let mut found: HashMap<String, u32> = HashMap::new();
        for table in [&self.chunks, &self.entities, &self.edges, &self.catalog] {
            let mut strays = 0_u64;
            for id in ids(table)? {
                strays += u64::from(!expected.contains_key(&id));
                if table.layout.name == self.chunks.layout.name {
                    *found.entry(id).or_default() += 1;
                }
            }
            if strays > 0 {
                faults.push(format!("{strays} rows of `{}` belong to no document", table.layout.name));
            }
        }
        let strays = self.catalogue_files.keys().filter(|id| !expected.contains_key(*id)).count();
        if strays > 0 {
            faults.push(format!("{strays} catalogues belong to no document"));
        }
        for (id, count) in expected {
            let found = found.get(&id).copied().unwrap_or(0);
            if found != count {
                faults.push(format!("the document {id} has {found} passages, not {count}"));
            }
        }
        Ok(())
    }

    async fn check_sheets(&self, faults: &mut Vec<String>, notes: &mut Vec<String>) -> Result<(), Error> {
        let mut named = HashSet::new();
        for row in self.sheets.values().flatten() {
            named.insert(row.folder.as_str());
            let folder = self.sheets_home.join(&row.folder);
            let count = match open_at(&folder.canonicalize().unwrap_or(folder.clone()), 0).await {
                Ok(table) => {
                    let state = table.snapshot().map_err(Error::table("check", "sheets"))?;
                    let whole = state.log_data().iter().all(|view| folder.join(view.path().as_ref()).is_file());
                    let count = state.log_data().iter().map(|view| view.num_records().unwrap_or(0) as u64).sum::<u64>();
                    whole.then_some(count)
                }
                Err(_) => None,
            };
            if count != Some(row.rows) {
                faults.push(format!("the table `{}` of a spreadsheet is not whole", row.name));
            }
        }
        let folders = fs::read_dir(&self.sheets_home).into_iter().flatten().flatten();
        let older = folders.filter(|entry| entry.file_name().to_str().is_none_or(|name| !named.contains(name))).count();
        if older > 0 {
            notes.push(format!(
                "{older} tables of spreadsheets belong to older commits; `0711 lake vacuum` removes them"
            ));
        }
        Ok(())
    }
}

fn ids(table: &Table) -> Result<Vec<String>, Error> {
    let mut ids = Vec::new();
    for file in table.files() {
        for batch in table.read_file(&file.path, Some(&["document_id"]))? {
            ids.extend(table.layout.read(&batch).texts("document_id")?.iter().flatten().map(str::to_owned));
        }
    }
    Ok(ids)
}
