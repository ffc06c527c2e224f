//! The tables at one commit: what is asked, and what is exported.

use std::{collections::BTreeMap, path::PathBuf};

use base::CustomerLayout;
use lance::Dataset;

use crate::{
    CatalogRow, CommitId, DocumentRow, Error,
    catalog::{self, CATALOG},
    format::{CommitRow, SqlTable},
    rows::{self, COMMITS},
    table::Table,
};

use super::Store;

/// The names no spreadsheet's table gets.
pub(super) const NAMES: [&str; 14] = [
    "documents",
    "chunks",
    "entities",
    "edges",
    "products",
    "features",
    "prices",
    "catalog",
    "interactions",
    "feedback",
    "versions",
    "commits",
    "search",
    "neighbors",
];

/// A Delta table at one version.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub folder: PathBuf,
    pub version: u64,
}

/// The tables of one commit, by name.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub commit: CommitId,
    pub committed_ms: i64,
    pub is_newest: bool,
    pub tables: BTreeMap<String, Source>,
}

/// Which tables are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those anybody may ask: what people asked is not among them.
    Asked,
    All,
}

/// Returns the names of the lake's own tables that can be asked, each with what it holds.
fn asked() -> [(&'static str, &'static str); 8] {
    [
        ("documents", "every file that was read, with what became of it"),
        ("chunks", "the passages of the documents"),
        (
            "entities",
            "what documents name: products, certificates, standards, companies, complaints; a row per document",
        ),
        ("edges", "how what they name belongs together, and where that was read"),
        ("products", "the products of catalogues (BMEcat, ETIM xChange); a row per product and language"),
        ("features", "the features of these products; a row per value"),
        ("prices", "the prices of these products"),
        ("catalog", "the tables of spreadsheets"),
    ]
}

impl CommitRow {
    /// Returns the version of each Delta table.
    pub(super) fn versions(&self) -> [(&'static str, u64); 11] {
        [
            ("documents", self.documents),
            ("chunks", self.chunks),
            ("interactions", self.interactions),
            ("feedback", self.feedback),
            ("versions", self.versions),
            ("entities", self.entities),
            ("edges", self.edges),
            ("catalog", self.catalog),
            ("products", self.products),
            ("features", self.features),
            ("prices", self.prices),
        ]
    }
}

impl Sources {
    fn of(row: &CommitRow, delta: &std::path::Path, sheets: Vec<CatalogRow>, which: Which, newest: u64) -> Self {
        let is_meant = |name: &str| which == Which::All || asked().iter().any(|(asked, _)| *asked == name);
        let mut tables = BTreeMap::new();
        for (name, version) in row.versions().into_iter().filter(|(name, _)| is_meant(name)) {
            tables.insert(name.to_owned(), Source { folder: delta.join(name), version });
        }
        for sheet in sheets {
            let folder = delta.join(catalog::SHEETS).join(sheet.folder);
            tables.insert(sheet.name, Source { folder, version: 0 });
        }
        Self { commit: CommitId(row.id), committed_ms: row.committed_ms, is_newest: row.id == newest, tables }
    }

    /// Reads from the disk what a commit names, without the lock: for whoever only looks, while another process may write.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such commit, or none at all.
    pub async fn read(layout: &CustomerLayout, at: Option<CommitId>, which: Which) -> Result<Self, Error> {
        let delta = layout.delta();
        let none = || Error::Refused("there is no commit yet".to_owned());
        if !delta.join(COMMITS.name).join("_delta_log").is_dir() {
            return Err(none());
        }
        let delta = delta.canonicalize().map_err(Error::io("open", &delta))?;
        let mut history = Vec::new();
        for batch in Table::open(delta.join(COMMITS.name), COMMITS).await?.read()? {
            history.extend(rows::commits_rows(&batch)?);
        }
        history.sort_by_key(|row| row.id);
        let newest = history.last().ok_or_else(none)?.id;
        let row = find(&history, at).ok_or_else(|| unknown(at, newest))?.clone();
        let sheets = match delta.join(CATALOG.name).join("_delta_log").is_dir() {
            true => sheets(&Table::open(delta.join(CATALOG.name), CATALOG).await?, row.catalog).await?,
            // A lake of version 1 that nobody has written to since.
            false => Vec::new(),
        };
        let mut sources = Self::of(&row, &delta, sheets, which, newest);
        sources.tables.retain(|_, source| source.folder.join("_delta_log").is_dir());
        Ok(sources)
    }
}

fn find(history: &[CommitRow], at: Option<CommitId>) -> Option<&CommitRow> {
    match at {
        None => history.last(),
        Some(CommitId(id)) => history.iter().find(|row| row.id == id),
    }
}

fn unknown(at: Option<CommitId>, newest: u64) -> Error {
    let id = at.map_or(0, |at| at.0);
    Error::Refused(format!("there is no commit {id}; the newest is {newest}"))
}

fn vacuumed(error: Error) -> Error {
    match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::Refused("this commit is not there any more: a vacuum removed it".to_owned())
        }
        error => error,
    }
}

async fn sheets(catalog: &Table, version: u64) -> Result<Vec<CatalogRow>, Error> {
    let mut rows = Vec::new();
    for batch in catalog.read_at(version).await.map_err(vacuumed)? {
        rows.extend(catalog::catalog_rows(&batch)?);
    }
    Ok(rows)
}

impl Store {
    /// Returns what can be asked at the newest commit, or at an older one.
    ///
    /// # Errors
    /// [`Error::Refused`] when there was no such commit.
    pub async fn sources(&self, at: Option<CommitId>) -> Result<Sources, Error> {
        let newest = self.commits();
        let row = match at {
            None => self.newest(),
            Some(_) => find(&self.history, at).cloned().ok_or_else(|| unknown(at, newest))?,
        };
        let known = match row.catalog == self.catalog.version() {
            true => self.sheets.values().flatten().cloned().collect(),
            false => sheets(&self.catalog, row.catalog).await?,
        };
        let delta = self.catalog.folder().parent().unwrap_or(self.catalog.folder());
        Ok(Sources::of(&row, delta, known, Which::Asked, newest))
    }

    /// Returns the passages and documents of an older commit.
    ///
    /// # Errors
    /// [`Error::Refused`] when there was no such commit, or it is not there any more.
    pub async fn passages_at(&self, at: CommitId) -> Result<(Dataset, Vec<DocumentRow>), Error> {
        let row = find(&self.history, Some(at)).ok_or_else(|| unknown(Some(at), self.commits()))?;
        let mut documents = Vec::new();
        for batch in self.documents.read_at(row.documents).await.map_err(vacuumed)? {
            documents.extend(rows::documents_rows(&batch)?);
        }
        Ok((self.vectors.at(row.lance_chunks).await?, documents))
    }

    /// Returns the tables of the newest commit that can be asked, with what they hold.
    pub fn sql_tables(&self) -> Vec<SqlTable> {
        let mut all = Vec::new();
        for (name, about) in asked() {
            let Some(table) = self.tables().into_iter().find(|table| table.layout.name == name) else { continue };
            all.push(SqlTable {
                name: name.to_owned(),
                rows: table.files().iter().map(|file| file.rows as u64).sum(),
                columns: table.layout.described(),
                about: about.to_owned(),
                document_id: None,
            });
        }
        let mut sheets: Vec<_> = self.sheets.values().flatten().collect();
        sheets.sort_by(|a, b| a.name.cmp(&b.name));
        all.extend(sheets.into_iter().map(|row| SqlTable {
            name: row.name.clone(),
            rows: row.rows,
            columns: row.columns.clone(),
            about: row.place.to_string(),
            document_id: Some(row.document_id.clone()),
        }));
        all
    }
}
