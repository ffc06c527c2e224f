//! Items go into the lake, some at a time: a crash loses only what is in flight.

use std::time::Duration;

use base::Clock;
use extract::worker::Pool;
use lake::{Catalogue, Commit, DocumentRow, DocumentStatus, Readers, SheetTable};
use tokio::{sync::mpsc::Receiver, time::Instant};

use crate::{
    Error,
    admission::Admission,
    classify::Classifier,
    format::Event,
    item::{Item, Origin},
    ledger::Ledger,
    meter::{Meter, Stage},
    products::{BROKEN_KEY, BROKEN_MOST, CATALOGUE_KEY, Found, is_catalogue, put_aside},
    twins::{Follower, Twins},
};

/// A commit is made when one of these is reached.
const MAX_DOCUMENTS: usize = 32;
const MAX_CHUNKS: usize = 1_024;
const MAX_WAIT: Duration = Duration::from_secs(4);
/// The cells' text of the tables in one commit; a document whose tables have more is alone with it.
const MAX_TABLE_BYTES: usize = 4 << 20;

/// How many documents, and about how many of their passages, get other readers in one commit.
const REGRANTS: usize = 500;
const REGRANTED_CHUNKS: u64 = 4_096;

/// How many documents one commit removes.
const REMOVALS: usize = 1_000;

/// Writes to the lake.
pub(crate) struct Committer<'a> {
    pub lake: &'a lake::Access,
    /// Where catalogues are read for their rows.
    pub pool: &'a Pool,
    pub twins: &'a Twins,
    pub admission: &'a Admission,
    pub ledger: &'a Ledger,
    pub meter: &'a Meter<'a>,
    pub clock: Clock,
    pub classifier: &'a Classifier,
}

impl Committer<'_> {
    /// Commits what comes until the queue ends, the rest included.
    ///
    /// # Errors
    /// [`Error::Lake`].
    pub async fn commit_all(&self, mut inbox: Receiver<Item>) -> Result<(), Error> {
        let mut pending: Vec<Item> = Vec::new();
        let mut chunks = 0;
        let mut deadline = Instant::now();
        loop {
            let next = match pending.is_empty() {
                true => inbox.recv().await,
                // `recv` is cancel-safe: what was not received stays in the queue.
                false => match tokio::time::timeout_at(deadline, inbox.recv()).await {
                    Ok(next) => next,
                    Err(_) => {
                        self.commit(std::mem::take(&mut pending)).await?;
                        chunks = 0;
                        continue;
                    }
                },
            };
            let Some(item) = next else { break };
            if pending.is_empty() {
                deadline = Instant::now() + MAX_WAIT;
            }
            chunks += item.body.chunks.len();
            pending.push(item);
            if pending.len() >= MAX_DOCUMENTS || chunks >= MAX_CHUNKS {
                self.commit(std::mem::take(&mut pending)).await?;
                chunks = 0;
            }
        }
        self.commit(pending).await
    }

    async fn commit(&self, mut items: Vec<Item>) -> Result<(), Error> {
        let mut files: Vec<(usize, Follower, Origin)> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let own = Follower { todo: item.todo.clone(), stamp: item.stamp };
            files.push((index, own, item.origin));
            let waiting = item.key.as_ref().map(|key| self.twins.followers(key));
            let waiting = waiting.unwrap_or_default().into_iter();
            files.extend(waiting.map(|follower| (index, follower, Origin::Copy)));
        }
        while !files.is_empty() {
            self.write(&items, std::mem::take(&mut files)).await?;
            for (index, item) in items.iter_mut().enumerate() {
                // From here on the lake has the content; files with it that come later are copies of the row.
                let Some(key) = item.key.take() else { continue };
                let late = self.twins.settle(key, lake::document_id(&item.todo.source, &item.todo.relative));
                files.extend(late.into_iter().map(|follower| (index, follower, Origin::Copy)));
            }
        }
        Ok(())
    }

    async fn write(&self, items: &[Item], files: Vec<(usize, Follower, Origin)>) -> Result<(), Error> {
        let mut commit = Commit::default();
        let mut put_down = Vec::new();
        let mut table_bytes = 0;
        let now_ms = self.clock.now().millis();
        for (index, file, origin) in files {
            let rows = items[index].rows(&file, now_ms);
            let mut row = rows.document;
            self.classifier.classify(&mut row, &rows.chunks).await?;
            if !self.admission.admit(file.todo.known.as_deref(), &row) {
                self.ledger.over_limit(&file.todo);
                self.meter.file_done(file.stamp.size_bytes);
                continue;
            }
            if row.status == DocumentStatus::Failed {
                let reason = row.reason.as_deref().unwrap_or_default();
                tracing::info!(document.source = %row.source, document.path = %row.path, reason, "a file cannot be read");
            }
            let more_bytes: usize = rows.tables.iter().map(size).sum();
            if table_bytes > 0 && table_bytes + more_bytes > MAX_TABLE_BYTES {
                self.put_down(std::mem::take(&mut commit), std::mem::take(&mut put_down)).await?;
                table_bytes = 0;
            }
            table_bytes += more_bytes;
            commit.catalogues.extend(self.catalogue(&mut row, &file).await?);
            commit.upsert.push(row);
            commit.chunks.extend(rows.chunks);
            commit.entities.extend(rows.entities);
            commit.edges.extend(rows.edges);
            commit.tables.extend(rows.tables);
            put_down.push((file, origin));
        }
        self.put_down(commit, put_down).await
    }

    /// Puts the rows of a catalogue aside and takes note of it in its document.
    async fn catalogue(&self, row: &mut DocumentRow, file: &Follower) -> Result<Option<Catalogue>, Error> {
        if row.status != DocumentStatus::Searchable || !is_catalogue(&row.format) {
            return Ok(None);
        }
        // What was copied from another row, or from the one before, says nothing of this file now.
        for key in [CATALOGUE_KEY, BROKEN_KEY] {
            row.metadata.remove(key);
        }
        let timer = self.meter.start(Stage::Extract);
        let read = put_aside(self.pool, self.lake, &row.id, &file.todo.path).await;
        timer.stop();
        let (named, note) = match read? {
            Found::Rows { named, fault: None } => (Some(named), "rows".to_owned()),
            Found::Rows { named, fault: Some(fault) } => {
                tracing::info!(document.path = %row.path, fault, "the products of a catalogue end before it does");
                (Some(named), format!("its products end before it does: {fault}"))
            }
            Found::Broken { reason } => {
                let known = file.todo.known.as_deref().filter(|known| known.digest == row.digest);
                let before = known.and_then(|known| known.metadata.get(BROKEN_KEY)?.parse::<u32>().ok());
                let times = before.unwrap_or_default().saturating_add(1);
                row.metadata.insert(BROKEN_KEY.to_owned(), times.to_string());
                tracing::warn!(document.path = %row.path, reason, times, "the products of a catalogue could not be read to the end");
                if times < BROKEN_MOST {
                    return Ok(None);
                }
                (None, format!("no products: {times} times, {reason}"))
            }
        };
        row.metadata.insert(CATALOGUE_KEY.to_owned(), note);
        Ok(named)
    }

    async fn put_down(&self, commit: Commit, put_down: Vec<(Follower, Origin)>) -> Result<(), Error> {
        if commit.upsert.is_empty() {
            return Ok(());
        }
        let (documents, chunks) = (commit.upsert.len() as u64, commit.chunks.len() as u64);
        self.send(commit, "putting down documents").await?;
        for (file, origin) in put_down {
            self.ledger.put_down(&file.todo, origin);
            self.meter.file_done(file.stamp.size_bytes);
        }
        self.meter.tell(Event::Committed { documents, chunks });
        Ok(())
    }

    /// Tells the lake who may read documents from now on. Each comes with the number of its passages.
    ///
    /// # Errors
    /// [`Error::Lake`].
    pub async fn regrant(&self, changes: Vec<(Readers, u64)>) -> Result<(), Error> {
        let (mut some, mut chunks) = (Vec::new(), 0);
        for (change, count) in changes {
            if !some.is_empty() && (some.len() >= REGRANTS || chunks + count > REGRANTED_CHUNKS) {
                let commit = Commit { readers: std::mem::take(&mut some), ..Commit::default() };
                self.send(commit, "changing who may read documents").await?;
                chunks = 0;
            }
            chunks += count;
            some.push(change);
        }
        if some.is_empty() {
            return Ok(());
        }
        self.send(Commit { readers: some, ..Commit::default() }, "changing who may read documents").await
    }

    /// Makes the lake forget documents.
    ///
    /// # Errors
    /// [`Error::Lake`].
    pub async fn remove(&self, ids: &[String]) -> Result<(), Error> {
        for some in ids.chunks(REMOVALS) {
            let commit = Commit { remove: some.to_vec(), ..Commit::default() };
            self.send(commit, "forgetting documents").await?;
        }
        Ok(())
    }

    async fn send(&self, commit: Commit, act: &'static str) -> Result<(), Error> {
        let timer = self.meter.start(Stage::Commit);
        let done = self.lake.commit(commit).await;
        timer.stop();
        done.map(|_| ()).map_err(|source| Error::Lake { act, source })
    }
}

/// Returns how many bytes of text a table has.
fn size(table: &SheetTable) -> usize {
    table.rows.iter().chain([&table.header]).flatten().map(|cell| cell.len() + 4).sum()
}
