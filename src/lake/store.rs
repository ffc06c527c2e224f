//! The tables together, and the protocol that makes a change of several of them one change.
//!
//! A commit writes the Lance rows, then the Delta tables, then one row of `commits` that names the version of each. Only
//! that row makes it count: readers open the versions the newest row names. Whatever a crash left beyond them is rolled
//! back at the next open, by restoring the named versions as new ones and naming those in a row of kind `rollback`. Every
//! file is synced before the row that names it is written, and the row before the commit returns.

mod check;
mod files;
mod products;
mod sheets;
mod sources;
mod vacuum;

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

use base::{Clock, CustomerLayout};

use crate::{
    CatalogRow, CommitId, DocumentRow, EdgeRow, EmbedSpec, EntityRow, Error, Feedback, Interaction, Pin, VersionRow,
    catalog::{self, CATALOG},
    durable,
    format::CommitRow,
    knowledge::{self, EDGES, ENTITIES},
    products::{FEATURES, PRICES, PRODUCTS},
    regrant::Regranted,
    rows::{self, CHUNKS, COMMITS, DOCUMENTS, FEEDBACK, INTERACTIONS, VERSIONS},
    table::Table,
    vectors::Vectors,
};

use files::{join, list, locate, paths, replace, small};
use products::{Aside, OwnFiles};
pub(crate) use sources::{Source, Sources, Which};

/// Delta files with so many rows are not joined further: to replace one document, its whole file is written anew.
const FULL_FILE_ROWS: usize = 4096;
/// So many small files, and they are joined.
const MANY_FILES: usize = 48;
/// The same at the end of an ingestion, when there is time.
const SOME_FILES: usize = 8;

pub(crate) struct Store {
    pub vectors: Vectors,
    documents: Table,
    chunks: Table,
    interactions: Table,
    feedback: Table,
    versions: Table,
    entities: Table,
    edges: Table,
    catalog: Table,
    products: Table,
    features: Table,
    prices: Table,
    commits: Table,
    /// The spreadsheet tables of the newest commit, by document.
    sheets: HashMap<String, Vec<CatalogRow>>,
    /// Where the folders of spreadsheet tables are.
    sheets_home: PathBuf,
    /// Every row of `commits`, oldest first: small, and rewritten as one file now and then.
    history: Vec<CommitRow>,
    document_files: Files,
    chunk_files: Files,
    entity_files: Files,
    edge_files: Files,
    catalog_files: Files,
    catalogue_files: OwnFiles,
    /// Rows of catalogues no commit named yet, by document.
    aside: HashMap<String, Aside>,
    spec: EmbedSpec,
    clock: Clock,
    /// A change was begun and not finished: the tables may be ahead of the newest row.
    torn: bool,
}

/// Which file holds the rows of a document.
type Files = HashMap<String, Arc<str>>;

/// The points between the steps of a commit, where a test can stop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    VectorsDeleted,
    VectorsAppended,
    DocumentsWritten,
    ChunksWritten,
    EntitiesWritten,
    EdgesWritten,
    SheetsWritten,
    CatalogWritten,
    CataloguesWritten,
    Synced,
}

impl Step {
    #[cfg(test)]
    pub const ALL: [Self; 10] = [
        Self::VectorsDeleted,
        Self::VectorsAppended,
        Self::DocumentsWritten,
        Self::ChunksWritten,
        Self::EntitiesWritten,
        Self::EdgesWritten,
        Self::SheetsWritten,
        Self::CatalogWritten,
        Self::CataloguesWritten,
        Self::Synced,
    ];

    /// Ends the commit here when `stop` says so.
    fn pass(self, stop: Option<Self>) -> Result<(), Error> {
        if stop != Some(self) {
            return Ok(());
        }
        Err(Error::Stopped(match self {
            Self::VectorsDeleted => "deleting vectors",
            Self::VectorsAppended => "appending vectors",
            Self::DocumentsWritten => "writing documents",
            Self::ChunksWritten => "writing chunks",
            Self::EntitiesWritten => "writing entities",
            Self::EdgesWritten => "writing edges",
            Self::SheetsWritten => "writing spreadsheet tables",
            Self::CatalogWritten => "writing the catalog",
            Self::CataloguesWritten => "writing rows of catalogues",
            Self::Synced => "syncing",
        }))
    }
}

impl Store {
    /// Opens all tables, rolls back what no row of `commits` names, and returns the documents with them.
    pub async fn open(
        layout: &CustomerLayout,
        spec: EmbedSpec,
        clock: Clock,
    ) -> Result<(Self, Vec<DocumentRow>), Error> {
        let table = |layout_of: crate::columns::Layout| Table::open(layout.delta().join(layout_of.name), layout_of);
        let mut commits = table(COMMITS).await?;
        // A lake of version 1 has rows without the newer tables: they were empty.
        commits.widen().await?;
        let mut history = Vec::new();
        for batch in commits.read()? {
            history.extend(rows::commits_rows(&batch)?);
        }
        history.sort_by_key(|row| row.id);
        let mut store = Self {
            vectors: Vectors::open(layout.lance().join("chunks"), spec).await?,
            documents: table(DOCUMENTS).await?,
            chunks: table(CHUNKS).await?,
            interactions: table(INTERACTIONS).await?,
            feedback: table(FEEDBACK).await?,
            versions: table(VERSIONS).await?,
            entities: table(ENTITIES).await?,
            edges: table(EDGES).await?,
            catalog: table(CATALOG).await?,
            products: table(PRODUCTS).await?,
            features: table(FEATURES).await?,
            prices: table(PRICES).await?,
            commits,
            sheets: HashMap::new(),
            sheets_home: layout.delta().join(catalog::SHEETS),
            history,
            document_files: Files::new(),
            chunk_files: Files::new(),
            entity_files: Files::new(),
            edge_files: Files::new(),
            catalog_files: Files::new(),
            catalogue_files: OwnFiles::new(),
            aside: HashMap::new(),
            spec,
            clock,
            torn: false,
        };
        // The lake's lock is held, and this store has put nothing aside yet: what is there is of one that is gone.
        for table in [&store.products, &store.features, &store.prices] {
            table.clear_aside()?;
        }
        store.roll_back().await?;
        let documents = store.locate()?;
        Ok((store, documents))
    }

    /// Returns the newest row; before the first commit, the versions the tables are created with.
    fn newest(&self) -> CommitRow {
        self.history.last().cloned().unwrap_or(CommitRow {
            id: 0,
            committed_ms: 0,
            kind: String::new(),
            lance_chunks: 1,
            documents: 0,
            chunks: 0,
            interactions: 0,
            feedback: 0,
            versions: 0,
            entities: 0,
            edges: 0,
            catalog: 0,
            products: 0,
            features: 0,
            prices: 0,
            journal: 0,
            model: self.spec.model,
        })
    }

    pub fn commits(&self) -> u64 {
        self.newest().id
    }

    /// Reads the newest row of `commits` from the disk; `None` before the first commit.
    pub fn read_newest(&self) -> Result<Option<CommitId>, Error> {
        let newest = self.commits();
        for file in self.commits.files() {
            for batch in self.commits.read_file(&file.path, None)? {
                if rows::commits_rows(&batch)?.iter().any(|row| row.id == newest) {
                    return Ok(Some(CommitId(newest)));
                }
            }
        }
        if newest == 0 {
            return Ok(None);
        }
        Err(Error::Damaged { table: COMMITS.name, what: format!("the row of commit {newest} is not in it") })
    }

    /// The newest journal file that is in the tables.
    pub fn journal(&self) -> u64 {
        self.newest().journal
    }

    /// Whether the store must be opened anew before it is changed again.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    async fn roll_back(&mut self) -> Result<(), Error> {
        let named = self.newest();
        let mut made = Vec::new();
        let before = self.vectors.dataset();
        let mut changed = false;
        if self.vectors.version() != named.lance_chunks {
            self.vectors.restore(named.lance_chunks).await?;
            self.vectors.made_since(&before, &mut made);
            changed = true;
        }
        let tables = [
            (&mut self.documents, named.documents),
            (&mut self.chunks, named.chunks),
            (&mut self.interactions, named.interactions),
            (&mut self.feedback, named.feedback),
            (&mut self.versions, named.versions),
            (&mut self.entities, named.entities),
            (&mut self.edges, named.edges),
            (&mut self.catalog, named.catalog),
            (&mut self.products, named.products),
            (&mut self.features, named.features),
            (&mut self.prices, named.prices),
        ];
        for (table, version) in tables {
            if table.version() != version {
                table.restore(version, &mut made).await?;
                changed = true;
            }
        }
        if changed {
            tracing::info!(lake.commit = named.id, "rolled back an unfinished commit");
            self.seal("rollback", named.journal, made).await?;
        }
        Ok(())
    }

    /// Reads which file holds which document, and the documents.
    fn locate(&mut self) -> Result<Vec<DocumentRow>, Error> {
        self.document_files.clear();
        self.chunk_files.clear();
        let mut documents = Vec::new();
        for file in self.documents.files() {
            let path: Arc<str> = file.path.as_str().into();
            for batch in self.documents.read_file(&file.path, None)? {
                for row in rows::documents_rows(&batch)? {
                    self.document_files.insert(row.id.clone(), path.clone());
                    documents.push(row);
                }
            }
        }
        locate(&self.chunks, "document_id", &mut self.chunk_files)?;
        self.locate_knowledge()?;
        self.locate_catalogues()?;
        Ok(documents)
    }

    /// Reads which file holds what each document names, and the catalog.
    fn locate_knowledge(&mut self) -> Result<(), Error> {
        locate(&self.entities, "document_id", &mut self.entity_files)?;
        locate(&self.edges, "document_id", &mut self.edge_files)?;
        self.catalog_files.clear();
        self.sheets.clear();
        for file in self.catalog.files() {
            let path: Arc<str> = file.path.as_str().into();
            for batch in self.catalog.read_file(&file.path, None)? {
                for row in catalog::catalog_rows(&batch)? {
                    self.catalog_files.insert(row.document_id.clone(), path.clone());
                    self.sheets.entry(row.document_id.clone()).or_default().push(row);
                }
            }
        }
        Ok(())
    }

    /// Gives tables that were made before there were readers their column. Returns whether one lacked it.
    async fn widen(&mut self) -> Result<bool, Error> {
        let vectors = self.vectors.widen().await?;
        let documents = self.documents.widen().await?;
        Ok(self.chunks.widen().await? || documents || vectors)
    }

    /// Makes a commit, and returns its number and the address of each chunk's row.
    pub async fn commit(&mut self, of: &Regranted, stop: Option<Step>) -> Result<(CommitId, Vec<u64>), Error> {
        let Regranted { commit, terms, kept } = of;
        let ids = commit.upsert.iter().map(|row| &row.id).chain(&commit.remove);
        let gone: BTreeSet<&str> = ids.map(String::as_str).filter(|id| self.document_files.contains_key(*id)).collect();
        if gone.is_empty() && commit.upsert.is_empty() {
            return Ok((CommitId(self.commits()), Vec::new()));
        }
        self.check_aside(&commit.catalogues)?;
        // What the documents named, where that is written again too.
        let known: BTreeSet<&str> = gone.iter().copied().filter(|id| !kept.contains(*id)).collect();
        self.torn = true;
        let before = self.vectors.dataset();
        let mut made = Vec::new();
        self.widen().await?;

        let with_chunks: Vec<&str> = gone.iter().copied().filter(|id| self.chunk_files.contains_key(*id)).collect();
        self.vectors.delete(&with_chunks).await?;
        Step::VectorsDeleted.pass(stop)?;
        let addresses = match commit.chunks.as_slice() {
            [] => Vec::new(),
            chunks => self.vectors.append(chunks, terms).await?,
        };
        self.vectors.made_since(&before, &mut made);
        Step::VectorsAppended.pass(stop)?;

        let new = rows::documents_batch(&commit.upsert)?;
        let documents = replace(&mut self.documents, "id", &self.document_files, &gone, new, &mut made).await?;
        Step::DocumentsWritten.pass(stop)?;
        let new = rows::chunks_batch(&commit.chunks)?;
        let chunks = replace(&mut self.chunks, "document_id", &self.chunk_files, &gone, new, &mut made).await?;
        Step::ChunksWritten.pass(stop)?;
        let new = knowledge::entities_batch(&commit.entities)?;
        let entities = replace(&mut self.entities, "document_id", &self.entity_files, &known, new, &mut made).await?;
        Step::EntitiesWritten.pass(stop)?;
        let new = knowledge::edges_batch(&commit.edges)?;
        let edges = replace(&mut self.edges, "document_id", &self.edge_files, &known, new, &mut made).await?;
        Step::EdgesWritten.pass(stop)?;
        let sheets = self.write_sheets(commit, &known, &mut made).await?;
        Step::SheetsWritten.pass(stop)?;
        let new = catalog::catalog_batch(&sheets)?;
        let catalog = replace(&mut self.catalog, "document_id", &self.catalog_files, &known, new, &mut made).await?;
        Step::CatalogWritten.pass(stop)?;
        let own = self.write_catalogues(commit, &known, &mut made).await?;
        Step::CataloguesWritten.pass(stop)?;

        durable::sync(made).await?;
        Step::Synced.pass(stop)?;
        let id = self.seal("ingest", self.journal(), Vec::new()).await?;
        for id in &gone {
            self.document_files.remove(*id);
            self.chunk_files.remove(*id);
        }
        for id in &known {
            self.entity_files.remove(*id);
            self.edge_files.remove(*id);
            self.catalog_files.remove(*id);
            self.sheets.remove(*id);
        }
        self.note_catalogues(&known, own);
        documents.note(&mut self.document_files);
        chunks.note(&mut self.chunk_files);
        entities.note(&mut self.entity_files);
        edges.note(&mut self.edge_files);
        catalog.note(&mut self.catalog_files);
        for row in sheets {
            self.sheets.entry(row.document_id.clone()).or_default().push(row);
        }
        Ok((id, addresses))
    }

    /// Writes the row that makes everything written so far count.
    async fn seal(&mut self, kind: &str, journal: u64, made: Vec<PathBuf>) -> Result<CommitId, Error> {
        durable::sync(made).await?;
        let row = CommitRow {
            id: self.commits() + 1,
            committed_ms: self.clock.now().millis(),
            kind: kind.to_owned(),
            lance_chunks: self.vectors.version(),
            documents: self.documents.version(),
            chunks: self.chunks.version(),
            interactions: self.interactions.version(),
            feedback: self.feedback.version(),
            versions: self.versions.version(),
            entities: self.entities.version(),
            edges: self.edges.version(),
            catalog: self.catalog.version(),
            products: self.products.version(),
            features: self.features.version(),
            prices: self.prices.version(),
            journal,
            model: self.spec.model,
        };
        let mut made = Vec::new();
        let files = self.commits.files();
        self.history.push(row);
        if files.len() < MANY_FILES {
            let newest = &self.history[self.history.len() - 1..];
            self.commits.write(&[], rows::commits_batch(newest)?, &mut made).await?;
        } else {
            let files = paths(&files);
            self.commits.write(&files, rows::commits_batch(&self.history)?, &mut made).await?;
        }
        durable::sync(made).await?;
        self.torn = false;
        Ok(CommitId(self.commits()))
    }

    /// Appends interactions and feedback of the journal's files up to `journal`.
    pub async fn fold(
        &mut self,
        interactions: &[Interaction],
        feedback: &[Feedback],
        journal: u64,
    ) -> Result<(), Error> {
        self.torn = true;
        let mut made = Vec::new();
        let new = rows::interactions_batch(interactions)?;
        self.interactions.write(&[], new, &mut made).await?;
        self.feedback.write(&[], rows::feedback_batch(feedback)?, &mut made).await?;
        self.seal("interactions", journal, made).await.map(drop)
    }

    pub fn interactions(&self) -> Result<Vec<Interaction>, Error> {
        let mut all = Vec::new();
        for batch in self.interactions.read()? {
            all.extend(rows::interactions_rows(&batch)?);
        }
        Ok(all)
    }

    pub fn feedback(&self) -> Result<Vec<Feedback>, Error> {
        let mut all = Vec::new();
        for batch in self.feedback.read()? {
            all.extend(rows::feedback_rows(&batch)?);
        }
        Ok(all)
    }

    pub fn versions(&self) -> Result<Vec<VersionRow>, Error> {
        let mut all = Vec::new();
        for batch in self.versions.read()? {
            all.extend(rows::versions_rows(&batch)?);
        }
        all.sort_by_key(|row| row.created_ms);
        Ok(all)
    }

    /// Returns everything documents name, and how it belongs together.
    pub fn knowledge(&self) -> Result<(Vec<EntityRow>, Vec<EdgeRow>), Error> {
        let (mut entities, mut edges) = (Vec::new(), Vec::new());
        for batch in self.entities.read()? {
            entities.extend(knowledge::entities_rows(&batch)?);
        }
        for batch in self.edges.read()? {
            edges.extend(knowledge::edges_rows(&batch)?);
        }
        Ok((entities, edges))
    }

    /// Adds or replaces a version. The table is small: it is written anew as one file.
    pub async fn put_version(&mut self, row: VersionRow) -> Result<(), Error> {
        let mut all = self.versions()?;
        all.retain(|known| known.version != row.version);
        all.push(row);
        self.torn = true;
        let mut made = Vec::new();
        let files = paths(&self.versions.files());
        self.versions.write(&files, rows::versions_batch(&all)?, &mut made).await?;
        self.seal("version", self.journal(), made).await.map(drop)
    }

    /// Returns the newest commit, and every file an opener of it needs.
    pub async fn held(&self) -> Result<(Pin, Vec<PathBuf>), Error> {
        let newest = self.newest();
        let mut files = self.vectors.held().await?;
        for table in self.tables().into_iter().chain([&self.commits]) {
            files.extend(table.held()?);
        }
        if let Ok(home) = self.sheets_home.canonicalize() {
            for row in self.sheets.values().flatten() {
                list(&home.join(&row.folder), &mut files)?;
            }
        }
        Ok((Pin { commit: CommitId(newest.id), committed_ms: newest.committed_ms }, files))
    }

    fn tables(&self) -> [&Table; 11] {
        [
            &self.documents,
            &self.chunks,
            &self.interactions,
            &self.feedback,
            &self.versions,
            &self.entities,
            &self.edges,
            &self.catalog,
            &self.products,
            &self.features,
            &self.prices,
        ]
    }

    /// Whether so many small files came together that they should be joined now.
    pub fn is_scattered(&self) -> bool {
        self.vectors.small_fragments() >= MANY_FILES || small(&self.chunks.files()).len() >= MANY_FILES
    }

    /// Joins small files and, with `index`, brings the BM25 index up to date. Returns whether rows have new addresses.
    pub async fn upkeep(&mut self, index: bool) -> Result<bool, Error> {
        self.torn = true;
        let before = self.vectors.dataset();
        let mut made = Vec::new();
        let moved = self.vectors.small_fragments() >= SOME_FILES;
        if moved {
            self.vectors.compact().await?;
        }
        let mut changed = self.widen().await?;
        if index {
            self.vectors.refresh_index().await?;
        }
        if self.vectors.version() != before.version_id() {
            changed = true;
            self.vectors.made_since(&before, &mut made);
        }
        let documents = join(&mut self.documents, &mut made).await?;
        let chunks = join(&mut self.chunks, &mut made).await?;
        let entities = join(&mut self.entities, &mut made).await?;
        let edges = join(&mut self.edges, &mut made).await?;
        let catalog = join(&mut self.catalog, &mut made).await?;
        changed |= documents || chunks || entities || edges || catalog;
        changed |= join(&mut self.interactions, &mut made).await?;
        changed |= join(&mut self.feedback, &mut made).await?;
        if !changed {
            self.torn = false;
            return Ok(false);
        }
        self.seal("upkeep", self.journal(), made).await?;
        if documents || chunks {
            self.locate()?;
        } else if entities || edges || catalog {
            self.locate_knowledge()?;
        }
        if moved {
            self.vectors.clean().await?;
        }
        Ok(moved)
    }
}
