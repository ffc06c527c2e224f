//! The handle everything goes through: one writer, any number of searches.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use base::{Clock, CustomerLayout, Digest, file::Lock};

use futures::future::BoxFuture;
use lance::Dataset;

use crate::{
    CataloguePart, ChunkRow, Commit, CommitId, DocumentRow, DocumentStatus, Error, Feedback, Hit, Interaction, Pin,
    SearchMode, SearchRequest, Stats, VersionRow,
    analysis::Analyzer,
    format::JournalLine,
    graph::Graph,
    index::{Candidate, Entry, Index, Wanted},
    journal::Journal,
    pin,
    regrant::Regranted,
    store::{Step, Store},
    tongue::language_of,
    vectors::{self, take},
};

/// The model the vectors are made by. A lake holds vectors of one model only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbedSpec {
    /// The length of every vector.
    pub dimension: usize,
    /// The digest of the model's file.
    pub model: Digest,
}

/// So many interactions, and the journal is folded into the tables.
const FOLD_AT: usize = 64;

/// One customer's open lake, held under its lock. Clones are handles to the same lake; the last one gone frees the lock.
#[derive(Clone)]
pub struct Lake {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    layout: CustomerLayout,
    spec: EmbedSpec,
    clock: Clock,
    analyzer: Analyzer,
    index: RwLock<Index>,
    /// Made when it is first asked, and kept in step from then on.
    pub(crate) graph: RwLock<Option<Graph>>,
    journal: Mutex<Journal>,
    // The one who holds this writes. Searches never wait for it.
    store: tokio::sync::Mutex<Store>,
    /// The tables are not to grow: see [`Lake::protect`].
    is_protected: AtomicBool,
    _lock: Lock,
}

impl Lake {
    /// Opens a customer's lake, or makes an empty one, and takes its lock.
    ///
    /// Rolls back what a crash left behind and folds the journal. Fails when another process holds the lock and when the
    /// vectors there were made by another model.
    pub fn open(layout: &CustomerLayout, spec: EmbedSpec) -> BoxFuture<'_, Result<Self, Error>> {
        Box::pin(Self::open_at(layout, spec, Clock::system()))
    }

    pub(crate) async fn open_at(layout: &CustomerLayout, spec: EmbedSpec, clock: Clock) -> Result<Self, Error> {
        let lock = Lock::try_acquire(&layout.lake_lock(), "serve lake")?;
        let (store, documents) = Store::open(layout, spec, clock).await?;
        let index = load(store.vectors.dataset(), documents, spec).await?;
        let journal = Journal::open(layout.lakehouse().join("journal"), store.journal())?;
        let lake = Self {
            inner: Arc::new(Inner {
                layout: layout.clone(),
                spec,
                clock,
                analyzer: Analyzer::new(),
                index: RwLock::new(index),
                graph: RwLock::new(None),
                journal: Mutex::new(journal),
                store: tokio::sync::Mutex::new(store),
                is_protected: AtomicBool::new(false),
                _lock: lock,
            }),
        };
        // A disk that is full now must not keep a lake from answering: the lines stay in the journal, and the next fold takes them.
        if let Err(error) = lake.fold().await {
            tracing::warn!(%error, "cannot fold the journal into the tables yet");
        }
        Ok(lake)
    }

    /// Protects the tables, or lets them grow again: for a disk that is nearly full.
    ///
    /// While it holds, what would write tables is refused with [`Error::Protected`]. Searches go on, and so does the journal: an
    /// accepted interaction stays on the disk before its call returns, and is folded when there is room again.
    pub async fn protect(&self, holds: bool) -> Result<(), Error> {
        let held = self.inner.is_protected.swap(holds, Ordering::SeqCst);
        if held != holds {
            tracing::info!(lake.protected = holds, "the tables are {}", if holds { "protected" } else { "open again" });
        }
        if held && !holds { self.fold().await } else { Ok(()) }
    }

    fn graph_mut(&self) -> RwLockWriteGuard<'_, Option<Graph>> {
        self.inner.graph.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> Result<(), Error> {
        if self.inner.is_protected.load(Ordering::SeqCst) { Err(Error::Protected) } else { Ok(()) }
    }

    /// Reads the newest row of `commits` from the disk and returns its number; `None` while somebody writes the tables, or before the
    /// first commit.
    pub(crate) async fn read_newest(&self) -> Result<Option<CommitId>, Error> {
        let this = self.clone();
        let read = move || match this.inner.store.try_lock() {
            Ok(store) => store.read_newest(),
            Err(_) => Ok(None),
        };
        tokio::task::spawn_blocking(read).await?
    }

    /// Returns the model the lake was opened for.
    pub fn spec(&self) -> EmbedSpec {
        self.inner.spec
    }

    // A poisoned lock means a search or a writer panicked; the index is changed by whole documents, and the store is the truth.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.inner.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.inner.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the store, opened anew when the last change did not finish.
    pub(crate) async fn store(&self) -> Result<tokio::sync::MutexGuard<'_, Store>, Error> {
        let mut store = self.inner.store.lock().await;
        if store.is_torn() {
            let (fresh, documents) = Store::open(&self.inner.layout, self.inner.spec, self.inner.clock).await?;
            let index = load(fresh.vectors.dataset(), documents, self.inner.spec).await?;
            *self.index_mut() = index;
            *self.graph_mut() = None;
            *store = fresh;
        }
        Ok(store)
    }

    /// Makes a commit: all of it is found from now on, or, after an error, nothing.
    pub async fn commit(&self, commit: Commit) -> Result<CommitId, Error> {
        self.commit_until(commit, None).await
    }

    pub(crate) async fn commit_until(&self, mut commit: Commit, stop: Option<Step>) -> Result<CommitId, Error> {
        self.writable()?;
        check(&commit, self.inner.spec.dimension)?;
        follow(&mut commit);
        let this = self.clone();
        let (commit, terms) = tokio::task::spawn_blocking(move || {
            let terms: Vec<_> = commit.chunks.iter().map(|chunk| this.inner.analyzer.terms(&worded(chunk))).collect();
            (commit, terms)
        })
        .await?;
        // A caller that goes away must not leave half a commit to the next one: the work runs in a task of its own.
        let this = self.clone();
        tokio::spawn(async move { this.commit_now(commit, terms, stop).await }).await?
    }

    async fn commit_now(&self, commit: Commit, terms: Vec<String>, stop: Option<Step>) -> Result<CommitId, Error> {
        let mut store = self.store().await?;
        let regranted = self.regrant(commit, terms).await?;
        let (id, addresses) = store.commit(&regranted, stop).await?;
        let Regranted { commit, terms, kept } = regranted;
        {
            let mut graph = self.graph_mut();
            if let Some(known) = graph.as_mut() {
                let again = commit.upsert.iter().map(|row| &row.id).filter(|id| !kept.contains(*id));
                again.chain(&commit.remove).for_each(|id| known.remove(id));
                known.insert(&commit.entities, &commit.edges);
            }
            if graph.as_ref().is_some_and(Graph::is_worn) {
                *graph = None;
            }
        }
        {
            let mut index = self.index_mut();
            index.dataset = Arc::new(store.vectors.dataset());
            for id in commit.upsert.iter().map(|row| &row.id).chain(&commit.remove) {
                index.remove_document(id);
            }
            commit.upsert.into_iter().for_each(|row| index.insert_document(row));
            for ((chunk, terms), address) in commit.chunks.iter().zip(&terms).zip(addresses) {
                index.insert_chunk(Entry {
                    id: &chunk.id,
                    document_id: &chunk.document_id,
                    terms,
                    language: chunk.language.as_deref(),
                    vector: &chunk.vector,
                    row: address,
                });
            }
        }
        if store.is_scattered() {
            self.upkeep(&mut store, false).await?;
        }
        Ok(id)
    }

    /// Puts some rows of a catalogue aside, until the commit of its document names them. Nobody sees them before.
    ///
    /// # Errors
    /// [`Error::Refused`] for a part out of turn: begin again with the first.
    pub async fn put_aside(&self, part: CataloguePart) -> Result<(), Error> {
        self.writable()?;
        let this = self.clone();
        tokio::spawn(async move { this.store().await?.put_aside(&part).await }).await?
    }

    async fn upkeep(&self, store: &mut Store, index: bool) -> Result<(), Error> {
        let moved = store.upkeep(index).await?;
        let addresses = if moved { store.vectors.addresses().await? } else { Vec::new() };
        self.index_mut().readdress(store.vectors.dataset(), addresses);
        Ok(())
    }

    /// Folds the journal, joins small files and brings the stored BM25 index up to date: for the end of an ingestion.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.writable()?;
        self.fold().await?;
        let this = self.clone();
        tokio::spawn(async move {
            let mut store = this.store().await?;
            this.upkeep(&mut store, true).await?;
            this.group().await
        })
        .await?
    }

    /// Makes groups of very many vectors. Called by whoever has the store: no row comes or goes meanwhile.
    async fn group(&self) -> Result<(), Error> {
        let this = self.clone();
        let made = tokio::task::spawn_blocking(move || this.index().groups()).await?;
        if let Some(groups) = made {
            self.index_mut().set_groups(groups);
        }
        Ok(())
    }

    /// Folds the journal and holds the newest commit for a backup: [`CustomerLayout::lake_pin`] then has every file that makes
    /// up a lake at this commit, and stays so until it is released or made anew. Nobody's writing waits for more than that.
    pub async fn pin(&self) -> Result<Pin, Error> {
        self.fold().await?;
        let this = self.clone();
        tokio::spawn(async move {
            // Whoever has the store writes: no file comes or goes while the second names are given.
            let store = this.store().await?;
            let (pin, files) = store.held().await?;
            let layout = this.inner.layout.clone();
            tokio::task::spawn_blocking(move || pin::hold(&layout, &files)).await??;
            drop(store);
            Ok(pin)
        })
        .await?
    }

    /// Lets go of the commit that is held, if there is one.
    pub async fn unpin(&self) -> Result<(), Error> {
        let layout = self.inner.layout.clone();
        tokio::task::spawn_blocking(move || pin::release(&layout)).await?
    }

    /// Finds passages. A vector of another length is refused.
    pub async fn search(&self, request: SearchRequest) -> Result<Vec<Hit>, Error> {
        let dimension = self.inner.spec.dimension;
        let fits = |vector: &Vec<f32>| vector.len() == dimension && vector.iter().all(|value| value.is_finite());
        if !request.vector.iter().all(fits) {
            return Err(Error::Refused(format!("a question's vector must have {dimension} finite numbers")));
        }
        let mode = match (request.mode, &request.vector) {
            (SearchMode::Vector, None) => {
                return Err(Error::Refused("a search by vector needs a vector".to_owned()));
            }
            (SearchMode::Hybrid, None) => SearchMode::Lexical,
            (mode, _) => mode,
        };
        let older = match request.at {
            Some(at) => Some(self.index_at(at).await?),
            None => None,
        };
        let this = self.clone();
        let (dataset, candidates) = tokio::task::spawn_blocking(move || match older {
            Some(index) => this.find(&index, &request, mode),
            None => this.find(&this.index(), &request, mode),
        })
        .await?;
        // The addresses belong to the dataset version taken with them: a commit meanwhile changes nothing here.
        let rows: Vec<u64> = candidates.iter().map(|candidate| candidate.row).collect();
        let chunks = take(&dataset, &rows).await?;
        Ok(candidates.into_iter().zip(chunks).enumerate().map(hit).collect())
    }

    fn find(&self, index: &Index, request: &SearchRequest, mode: SearchMode) -> (Arc<Dataset>, Vec<Candidate>) {
        let query = match mode {
            SearchMode::Vector => Vec::new(),
            SearchMode::Hybrid | SearchMode::Lexical => self.inner.analyzer.query(&request.text),
        };
        let found = index.search(&Wanted {
            words: &query,
            language: language_of(&request.text),
            vector: request.vector.as_deref(),
            mode,
            k: request.k,
            candidates: request.candidates,
            filter: &request.filter,
            rights: &request.rights,
        });
        (index.dataset.clone(), found)
    }

    /// Reads an older commit for a search: all its vectors, as at the start.
    async fn index_at(&self, at: CommitId) -> Result<Index, Error> {
        let (dataset, mut documents) = self.store().await?.passages_at(at).await?;
        // Who may read a document is what it is now: what was closed or removed since is for administrators.
        {
            let index = self.index();
            for row in &mut documents {
                row.readers = index.documents.get(&row.id).map(|now| now.readers.clone()).unwrap_or_default();
            }
        }
        load(dataset, documents, self.inner.spec).await
    }

    /// Returns all documents, in the order of their ids.
    pub fn documents(&self) -> Vec<DocumentRow> {
        self.index().documents.values().map(|row| row.as_ref().clone()).collect()
    }

    /// Returns one document.
    pub fn document(&self, id: &str) -> Option<DocumentRow> {
        self.index().documents.get(id).map(|row| row.as_ref().clone())
    }

    /// Returns a document's chunks in their order, without vectors.
    pub async fn chunks_of(&self, document_id: &str) -> Result<Vec<ChunkRow>, Error> {
        let (dataset, rows) = {
            let index = self.index();
            (index.dataset.clone(), index.rows_of(document_id))
        };
        let mut chunks = take(&dataset, &rows).await?;
        chunks.sort_by_key(|chunk| chunk.ordinal);
        Ok(chunks)
    }

    /// Returns one chunk without its vector.
    pub async fn chunk(&self, id: &str) -> Result<Option<ChunkRow>, Error> {
        let (dataset, row) = {
            let index = self.index();
            (index.dataset.clone(), index.row_of(id))
        };
        let rows: Vec<u64> = row.into_iter().collect();
        Ok(take(&dataset, &rows).await?.pop())
    }

    /// Returns up to `limit` chunks without vectors, in the order of their ids, after the id `after`.
    pub async fn all_chunks(&self, after: Option<&str>, limit: usize) -> Result<Vec<ChunkRow>, Error> {
        let (dataset, rows) = {
            let index = self.index();
            (index.dataset.clone(), index.rows_after(after, limit))
        };
        take(&dataset, &rows).await
    }

    /// Returns how much there is.
    pub async fn stats(&self) -> Result<Stats, Error> {
        let layout = self.inner.layout.clone();
        // The canary is not the customer's, and what is held for a backup are other names of the same files.
        let measure = move || {
            let apart = size_of(layout.canary().dir()) + size_of(&layout.lake_pin());
            size_of(&layout.lakehouse()).saturating_sub(apart)
        };
        let bytes = tokio::task::spawn_blocking(measure).await?;
        let commits = self.inner.store.lock().await.commits();
        let index = self.index();
        Ok(Stats {
            documents: index.documents.len() as u64,
            searchable: index.count(DocumentStatus::Searchable),
            empty: index.count(DocumentStatus::Empty),
            failed: index.count(DocumentStatus::Failed),
            chunks: index.chunks() as u64,
            commits,
            bytes,
            dimension: self.inner.spec.dimension,
            model: self.inner.spec.model,
        })
    }

    /// Records an exchange. It is on the disk when this returns.
    pub async fn record(&self, interaction: Interaction) -> Result<(), Error> {
        self.journal(JournalLine::Interaction(Box::new(interaction))).await
    }

    /// Records a person's word on an answer. It is on the disk when this returns.
    pub async fn feedback(&self, feedback: Feedback) -> Result<(), Error> {
        self.journal(JournalLine::Feedback(feedback)).await
    }

    async fn journal(&self, line: JournalLine) -> Result<(), Error> {
        let this = self.clone();
        let pending = tokio::task::spawn_blocking(move || {
            let mut journal = this.inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.append(line).map(|()| journal.pending_count())
        })
        .await??;
        if pending >= FOLD_AT {
            // The line is safe whatever becomes of the fold: the next one tries again.
            if let Err(error) = self.fold().await {
                tracing::warn!(%error, "cannot fold the journal into the tables yet");
            }
        }
        Ok(())
    }

    /// Puts the journal into the tables. Nothing is there twice, whenever this stops. Protected tables stay as they are.
    pub async fn fold(&self) -> Result<(), Error> {
        if self.writable().is_err() {
            return Ok(());
        }
        let this = self.clone();
        tokio::spawn(async move {
            let mut store = this.store().await?;
            let journal = || this.inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut interactions, mut feedback) = (Vec::new(), Vec::new());
            let folded = {
                let mut journal = journal();
                for line in journal.pending() {
                    match line {
                        JournalLine::Interaction(row) => interactions.push((**row).clone()),
                        JournalLine::Feedback(row) => feedback.push(row.clone()),
                        JournalLine::Format(_) => {}
                    }
                }
                if interactions.is_empty() && feedback.is_empty() {
                    return Ok(());
                }
                journal.rotate()
            };
            store.fold(&interactions, &feedback, folded).await?;
            journal().forget(folded)
        })
        .await?
    }

    /// Returns the interactions asked at `since_ms` or later, oldest first.
    pub async fn interactions(&self, since_ms: i64) -> Result<Vec<Interaction>, Error> {
        let store = self.store().await?;
        let mut all = store.interactions()?;
        let journal = self.inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(journal.pending().filter_map(|line| match line {
            JournalLine::Interaction(row) => Some((**row).clone()),
            _ => None,
        }));
        all.retain(|row| row.asked_ms >= since_ms);
        all.sort_by_key(|row| row.asked_ms);
        Ok(all)
    }

    /// Returns the feedback given at `since_ms` or later, oldest first.
    pub async fn feedback_since(&self, since_ms: i64) -> Result<Vec<Feedback>, Error> {
        let store = self.store().await?;
        let mut all = store.feedback()?;
        let journal = self.inner.journal.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(journal.pending().filter_map(|line| match line {
            JournalLine::Feedback(row) => Some(row.clone()),
            _ => None,
        }));
        all.retain(|row| row.at_ms >= since_ms);
        all.sort_by_key(|row| row.at_ms);
        Ok(all)
    }

    /// Adds or replaces the row of an adapter's version.
    pub async fn put_version(&self, row: VersionRow) -> Result<(), Error> {
        self.writable()?;
        let this = self.clone();
        tokio::spawn(async move { this.store().await?.put_version(row).await }).await?
    }

    /// Returns the adapters' versions, oldest first.
    pub async fn versions(&self) -> Result<Vec<VersionRow>, Error> {
        self.store().await?.versions()
    }
}

async fn load(dataset: Dataset, documents: Vec<DocumentRow>, spec: EmbedSpec) -> Result<Index, Error> {
    let mut index = Index::new(dataset.clone(), spec.dimension);
    documents.into_iter().for_each(|row| index.insert_document(row));
    let mut strays = 0_u64;
    vectors::load(&dataset, |chunk| {
        let known = index.insert_chunk(Entry {
            id: &chunk.id,
            document_id: &chunk.document_id,
            terms: &chunk.terms,
            language: chunk.language.as_deref(),
            vector: &chunk.vector,
            row: chunk.row,
        });
        strays += u64::from(!known);
    })
    .await?;
    if strays > 0 {
        return Err(Error::Damaged { table: "chunks", what: format!("{strays} chunks belong to no document") });
    }
    let grouped = move || {
        if let Some(groups) = index.groups() {
            index.set_groups(groups);
        }
        index
    };
    Ok(tokio::task::spawn_blocking(grouped).await?)
}

/// Gives passages the readers of their documents.
fn follow(commit: &mut Commit) {
    let readers: HashMap<&str, &[String]> =
        commit.upsert.iter().map(|row| (row.id.as_str(), row.readers.as_slice())).collect();
    for chunk in &mut commit.chunks {
        chunk.readers = readers.get(chunk.document_id.as_str()).map(|readers| readers.to_vec()).unwrap_or_default();
    }
}

/// Refuses a commit that contradicts itself, before anything is written.
fn check(commit: &Commit, dimension: usize) -> Result<(), Error> {
    let refused = |why: String| Err(Error::Refused(why));
    let mut documents = BTreeSet::new();
    for row in &commit.upsert {
        if !documents.insert(row.id.as_str()) {
            return refused(format!("the document {} stands twice in one commit", row.id));
        }
    }
    if let Some(id) = commit.remove.iter().find(|id| documents.contains(id.as_str())) {
        return refused(format!("the document {id} is both written and removed"));
    }
    let mut granted = BTreeSet::new();
    for id in commit.readers.iter().map(|change| change.document_id.as_str()) {
        if documents.contains(id) || commit.remove.iter().any(|gone| gone == id) || !granted.insert(id) {
            return refused(format!("the readers of the document {id} change twice, or it is written or removed too"));
        }
    }
    let mut chunks = BTreeSet::new();
    for chunk in &commit.chunks {
        if !documents.contains(chunk.document_id.as_str()) {
            return refused(format!("the chunk {} belongs to no document of its commit", chunk.id));
        }
        if !chunks.insert(chunk.id.as_str()) {
            return refused(format!("the chunk {} stands twice in one commit", chunk.id));
        }
        if chunk.vector.len() != dimension || !chunk.vector.iter().all(|value| value.is_finite()) {
            return refused(format!("the vector of the chunk {} must have {dimension} finite numbers", chunk.id));
        }
    }
    check_knowledge(commit, &documents)
}

/// Refuses rows about documents the commit does not write, edges between what their document does not name, and empty tables.
fn check_knowledge(commit: &Commit, documents: &BTreeSet<&str>) -> Result<(), Error> {
    let refused = |why: String| Err(Error::Refused(why));
    let mut named = BTreeSet::new();
    for row in &commit.entities {
        let document = row.document_id.as_str();
        if !documents.contains(document) || !named.insert((document, row.id.as_str())) {
            return refused(format!(
                "the {} `{}` stands twice, or belongs to no document of its commit",
                row.kind, row.key
            ));
        }
    }
    for row in &commit.edges {
        let ends = [&row.from_id, &row.to_id];
        if !ends.iter().all(|end| named.contains(&(row.document_id.as_str(), end.as_str()))) {
            return refused(format!("an edge `{}` joins what its document does not name", row.kind));
        }
    }
    let mut catalogues = BTreeSet::new();
    for named in &commit.catalogues {
        let document = named.document_id.as_str();
        if !documents.contains(document) || !catalogues.insert(document) {
            return refused("a catalogue stands twice, or belongs to no document of its commit".to_owned());
        }
    }
    let mut places = BTreeSet::new();
    for table in &commit.tables {
        let is_new = places.insert((table.document_id.as_str(), table.ordinal));
        let is_filled = !table.rows.is_empty() && table.rows.iter().any(|row| !row.is_empty());
        if !is_new || !is_filled || !documents.contains(table.document_id.as_str()) {
            return refused("a table is empty, stands twice, or belongs to no document of its commit".to_owned());
        }
    }
    Ok(())
}

/// Returns what a passage is found by: its text under the headings it does not repeat, which often name the article when the
/// text says only `Nennstrom 24 A`.
fn worded(chunk: &ChunkRow) -> Cow<'_, str> {
    let mut above = String::new();
    for heading in chunk.heading_path.iter().filter(|heading| !chunk.text.contains(heading.as_str())) {
        above.push_str(heading);
        above.push('\n');
    }
    if above.is_empty() { Cow::Borrowed(&chunk.text) } else { Cow::Owned(above + &chunk.text) }
}

fn hit((index, (candidate, chunk)): (usize, (Candidate, ChunkRow))) -> Hit {
    Hit {
        rank: index + 1,
        score: candidate.fused.score,
        document_id: candidate.document.id.clone(),
        chunk_id: candidate.chunk_id.to_string(),
        document: candidate.document.path.clone(),
        source: candidate.document.source.clone(),
        place: chunk.place,
        heading_path: chunk.heading_path,
        text: chunk.text,
        language: chunk.language,
        similarity: candidate.similarity,
        lexical_score: candidate.lexical_score,
        vector_rank: candidate.fused.vector_rank,
        lexical_rank: candidate.fused.lexical_rank,
        copies: candidate.copies.iter().map(|row| row.path.clone()).collect(),
    }
}

/// Returns the size of everything below a folder. What goes away meanwhile is not counted.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_of(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
