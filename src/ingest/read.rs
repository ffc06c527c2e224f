//! One file → an [`Item`]: digest, known content or extraction, chunks.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use base::Digest;
use extract::{ChunkLimits, Document, Outcome, worker::Pool};
use lake::ChunkRow;
use rustix::fs::OFlags;
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    admission::Admission,
    decide::{self, Options, TABLES_KEY, Todo, UNREACHABLE},
    handled::{self, HANDLERS_KEY, Handled},
    item::{Body, Item, Origin},
    ledger::Ledger,
    meter::{Meter, Stage},
    run::limits,
    tables::tables,
    twins::{Claim, Follower, Key, Twins},
    walk::{Stamp, describe},
};

/// What reading needs.
pub(crate) struct Reader<'a> {
    pub pool: &'a Pool,
    pub embedding: &'a engine::Embedding,
    pub lake: &'a lake::Access,
    /// Where files nobody reads find their handlers; without it they go unread.
    pub handlers: Option<&'a handlers::Desk>,
    pub twins: &'a Twins,
    pub admission: &'a Admission,
    pub ledger: &'a Ledger,
    pub meter: &'a Meter<'a>,
    pub options: Options,
    pub max_file_bytes: u64,
    pub cancel: &'a CancellationToken,
}

/// How a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// For the first time; files with the same bytes may share the work.
    First,
    /// Once more and alone, because it changed meanwhile.
    Again,
}

/// How a file came to be read.
struct Lead {
    /// Present when others wait for this content.
    key: Option<Key>,
    attempt: Attempt,
    origin: Origin,
}

enum Step {
    Ready(Box<Item>),
    /// Nothing to put down.
    Over,
    /// These are to be read alone.
    Again(Vec<Todo>),
}

/// What the lake knows of a content.
enum Known {
    Body(Box<Body>),
    /// It has tables, which are read from the file: the lake gives out passages only.
    HasTables,
    Gone,
}

enum Opened {
    Digested(Digest, Stamp),
    TooLarge(Stamp),
    NotRegular(&'static str),
}

impl Reader<'_> {
    /// Reads one file, and those that waited for it in vain.
    ///
    /// # Errors
    /// Only what stops the run: no worker can be started, the lake does not answer. A file's own trouble is in the item.
    pub async fn read(&self, todo: Todo) -> Result<Vec<Item>, Error> {
        let mut items = Vec::new();
        let mut queue = vec![(todo, Attempt::First)];
        while let Some((todo, attempt)) = queue.pop() {
            if self.cancel.is_cancelled() {
                break;
            }
            match self.one(todo, attempt).await? {
                Step::Ready(item) => items.push(*item),
                Step::Over => {}
                Step::Again(todos) => {
                    queue.extend(todos.into_iter().map(|todo| (todo, Attempt::Again)));
                }
            }
        }
        Ok(items)
    }

    async fn one(&self, todo: Todo, attempt: Attempt) -> Result<Step, Error> {
        if !self.admission.has_room_for(todo.known.as_deref()) {
            self.ledger.over_limit(&todo);
            self.meter.file_done(todo.stamp.size_bytes);
            return Ok(Step::Over);
        }
        let max_bytes = self.max_file_bytes;
        let path = todo.path.clone();
        let timer = self.meter.start(Stage::Read);
        let opened = tokio::task::spawn_blocking(move || digest(&path, max_bytes)).await;
        timer.stop();
        let (digest, stamp) = match opened.map_err(broken)? {
            Ok(Opened::Digested(digest, stamp)) => (digest, stamp),
            Ok(Opened::TooLarge(stamp)) => {
                let what = "the file".to_owned();
                let error = extract::Error::TooLarge { what, limit_bytes: max_bytes };
                let body = Body::failed(todo.name(), error.kind(), error.to_string());
                return Ok(Step::ready(todo, stamp, None, body, Origin::File));
            }
            Ok(Opened::NotRegular(kind)) => return Ok(self.gone(&todo, &format!("it became a {kind}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(self.gone(&todo, "it vanished before it was read"));
            }
            Err(error) => {
                let body = Body::failed(todo.name(), UNREACHABLE, describe(&error));
                let stamp = todo.stamp;
                return Ok(Step::ready(todo, stamp, None, body, Origin::File));
            }
        };
        self.meter.read(stamp.size_bytes);
        let mut origin = Origin::File;
        if let Some(known) = todo.known.as_deref()
            && known.digest == Some(digest)
            && decide::is_read(known, self.options)
        {
            if decide::has_stamp(known, stamp) && decide::has_rows(known) {
                self.ledger.unchanged();
                self.meter.file_done(stamp.size_bytes);
                return Ok(Step::Over);
            }
            match self.copy(&known.id).await? {
                Known::Body(body) => return Ok(Step::ready(todo, stamp, Some(digest), *body, Origin::Touched)),
                Known::HasTables => origin = Origin::Touched,
                Known::Gone => {}
            }
        }
        let key = Key::new(digest, todo.name());
        let mut leads = None;
        if attempt == Attempt::First {
            let follower = Follower { todo: todo.clone(), stamp };
            match self.twins.claim(&key, &follower) {
                Claim::Lead => leads = Some(key),
                Claim::Follows => return Ok(Step::Over),
                Claim::Stored { document_id } => {
                    let of_stored = match self.ledger.is_removed(&document_id) {
                        true => Origin::Moved,
                        false => Origin::Copy,
                    };
                    match self.copy(&document_id).await? {
                        Known::Body(body) => return Ok(Step::ready(todo, stamp, Some(digest), *body, of_stored)),
                        Known::HasTables => origin = of_stored,
                        Known::Gone => {}
                    }
                }
            }
        }
        self.extracted(todo, stamp, digest, Lead { key: leads, attempt, origin }).await
    }

    async fn extracted(&self, todo: Todo, stamp: Stamp, digest: Digest, lead: Lead) -> Result<Step, Error> {
        let Lead { key: leads, attempt, origin } = lead;
        let timer = self.meter.start(Stage::Extract);
        let outcome = self.pool.extract(&todo.path).await;
        timer.stop();
        let now = std::fs::symlink_metadata(&todo.path).map(|metadata| Stamp::of(&metadata));
        let is_gone = outcome.is_err() && now.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let has_changed = attempt == Attempt::First && now.is_ok_and(|now| now != stamp);
        if is_gone || has_changed {
            let waited = leads.map(|key| self.twins.abandon(&key)).unwrap_or_default();
            let mut again: Vec<Todo> = waited.into_iter().map(|follower| follower.todo).collect();
            if has_changed {
                again.push(todo);
            } else {
                self.gone(&todo, "it vanished while it was read");
            }
            return Ok(Step::Again(again));
        }
        let handled = match self.handlers {
            Some(desk) => handled::consult(desk, &todo.path, outcome).await?,
            None => Handled::Untouched(outcome),
        };
        let has_to_do_with_handlers = !matches!(handled, Handled::Untouched(_));
        let mut body = match handled {
            Handled::Untouched(outcome) | Handled::Settled(outcome) => match outcome {
                Ok(Outcome::Text(document)) => self.chunked(document).await?,
                Ok(Outcome::Empty { format, reason }) => Body::empty(format, reason),
                Err(source @ extract::Error::NoWorker { .. }) => return Err(Error::Worker { source }),
                Err(error) => Body::failed(todo.name(), error.kind(), error.to_string()),
            },
            Handled::Quarantined(reason) => Body::failed(todo.name(), handled::QUARANTINED, reason),
        };
        if has_to_do_with_handlers {
            body.metadata.insert(HANDLERS_KEY.to_owned(), self.options.handlers.to_string());
        }
        Ok(Step::Ready(Box::new(Item { todo, stamp, digest: Some(digest), body, key: leads, origin })))
    }

    async fn chunked(&self, document: Document) -> Result<Body, Error> {
        let timer = self.meter.start(Stage::Chunk);
        let embedding = self.embedding.clone();
        let body = tokio::task::spawn_blocking(move || body_of(document, &embedding)).await;
        timer.stop();
        body.map_err(broken)
    }

    /// Returns what a document of the lake says.
    async fn copy(&self, document_id: &str) -> Result<Known, Error> {
        let failed = |source| Error::Lake { act: "looking up a known document", source };
        let Some(row) = self.lake.document(document_id).await.map_err(failed)? else {
            return Ok(Known::Gone);
        };
        if row.metadata.contains_key(TABLES_KEY) {
            return Ok(Known::HasTables);
        }
        let chunks = self.lake.chunks_of(document_id).await.map_err(failed)?;
        if chunks.len() != row.chunk_count as usize {
            return Ok(Known::Gone);
        }
        Ok(Known::Body(Box::new(Body {
            format: row.format,
            language: row.language,
            title: row.title,
            status: row.status,
            reason: row.reason,
            metadata: row.metadata,
            chunks,
            tables: Vec::new(),
        })))
    }

    fn gone(&self, todo: &Todo, reason: &str) -> Step {
        self.ledger.passed_over(todo, reason.to_owned());
        self.meter.file_done(todo.stamp.size_bytes);
        Step::Over
    }
}

impl Step {
    fn ready(todo: Todo, stamp: Stamp, digest: Option<Digest>, body: Body, origin: Origin) -> Self {
        Self::Ready(Box::new(Item { todo, stamp, digest, body, key: None, origin }))
    }
}

fn broken(error: tokio::task::JoinError) -> Error {
    Error::Broken { reason: error.to_string() }
}

/// Digests a file without following a link and without waiting on a pipe.
fn digest(path: &Path, max_bytes: u64) -> io::Result<Opened> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file: File = match opened {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Ok(Opened::NotRegular("symbolic link"));
        }
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Opened::NotRegular(base::file::kind_name(metadata.file_type())));
    }
    let stamp = Stamp::of(&metadata);
    // Catalogues are read product by product: they may be larger than what is held.
    let max_bytes = if stamp.size_bytes > max_bytes && is_catalog(&file)? {
        max_bytes.max(limits().max_catalog_bytes)
    } else {
        max_bytes
    };
    if stamp.size_bytes > max_bytes {
        return Ok(Opened::TooLarge(stamp));
    }
    // A file that grows while it is read must not be read for ever; its stamp tells the next run.
    let digest = Digest::of_reader(io::Read::take(file, max_bytes))?;
    Ok(Opened::Digested(digest, stamp))
}

fn is_catalog(file: &File) -> io::Result<bool> {
    let mut head = [0; 16 << 10];
    let count = file.read_at(&mut head, 0)?;
    Ok(extract::sniff_catalog(&head[..count]).is_some())
}

/// The most characters of warnings kept with a document.
const MAX_WARNING_CHARS: usize = 2_000;

fn body_of(document: Document, embedding: &engine::Embedding) -> Body {
    let (tables, note) = tables(&document);
    let chunks = extract::chunk(&document, &ChunkLimits::default(), &|text| embedding.count_tokens(text));
    if chunks.is_empty() {
        return Body::empty(document.format, "it holds no words".to_owned());
    }
    let mut metadata = document.metadata;
    if !tables.is_empty() {
        metadata.insert(TABLES_KEY.to_owned(), tables.len().to_string());
    }
    let warnings: Vec<String> = document.warnings.into_iter().chain(note).collect();
    if !warnings.is_empty() {
        let warnings: String = warnings.join("\n").chars().take(MAX_WARNING_CHARS).collect();
        metadata.insert("warnings".to_owned(), warnings);
    }
    let chunks = chunks
        .into_iter()
        .map(|chunk| ChunkRow {
            id: String::new(),
            document_id: String::new(),
            ordinal: chunk.ordinal,
            text: chunk.text,
            heading_path: chunk.heading_path,
            place: chunk.place,
            language: chunk.language,
            token_count: chunk.token_count,
            readers: Vec::new(),
            vector: Vec::new(),
        })
        .collect();
    Body {
        format: document.format,
        language: document.language,
        title: document.title,
        status: lake::DocumentStatus::Searchable,
        reason: None,
        metadata,
        chunks,
        tables,
    }
}
