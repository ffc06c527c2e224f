//! One run: walk, decide, then read, embed and commit side by side, then forget what is gone.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use base::{Clock, file::Lock};
use extract::{Limits, worker::Pool};
use futures::StreamExt;
use lake::Readers;
use tokio::sync::mpsc::{self, Sender};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    admission::Admission,
    classify::{Classifier, Corrections},
    commit::Committer,
    decide::{self, Options, Todo},
    embed::embed,
    format::{Event, FORMAT, FolderReport, FolderState, Report},
    item::Item,
    ledger::Ledger,
    meter::{Meter, Stage},
    read::Reader,
    report,
    step::{self, Sight},
    twins::Twins,
    walk::{self, Walk},
};

/// Items between two stages. Each may hold a large document: few are enough, for the slow stage never runs dry.
const QUEUE: usize = 8;

/// What a run needs.
pub struct Job {
    pub folders: Vec<PathBuf>,
    pub lake: lake::Access,
    pub embedding: engine::Embedding,
    /// The processes that parse the files.
    pub pool: Pool,
    /// Files read at the same time; the pool's size.
    pub readers: usize,
    /// Larger files are put down as too large without being opened.
    pub max_file_bytes: u64,
    /// The most searchable documents the license allows.
    pub max_documents: u64,
    /// Where the report and the lock are: `CustomerLayout::ingest_state`.
    pub state_dir: PathBuf,
    pub options: Options,
    /// The handlers of formats nobody reads; none leaves such files unread.
    pub handlers: Option<handlers::Desk>,
    pub clock: Clock,
}

/// Returns what one file may cost when a customer's folders are read.
pub fn limits() -> Limits {
    Limits {
        // Two thousand pages of dense text are 8 MB; what is longer is data, and its passages would not fit into one commit.
        max_text_bytes: 8 << 20,
        ..Limits::default()
    }
}

/// Brings the lake up to date with the folders.
///
/// `events` is called often and must be quick. Cancelling stops soon, keeps what was committed and returns a report that says so; the next
/// run goes on from there, as it does after a crash.
///
/// # Errors
/// When the run as a whole cannot be made: another one is under way, no folder is there, the lake or the model does not answer, no worker
/// starts. What was committed before stays.
pub async fn run(
    mut job: Job,
    events: &(dyn Fn(Event) + Send + Sync),
    cancel: CancellationToken,
) -> Result<Report, Error> {
    base::file::private_dir(&job.state_dir)
        .map_err(|source| Error::WriteReport { path: job.state_dir.clone(), source })?;
    let _lock =
        Lock::try_acquire(&job.state_dir.join("ingest.lock"), "ingest").map_err(|source| Error::Locked { source })?;
    job.options.handlers = job.handlers.as_ref().map_or(0, handlers::Desk::generation);
    let started = job.clock.now();
    let meter = Meter::new(events);
    let walk = walked(&job, &meter, &cancel).await?;
    let mut known =
        job.lake.documents().await.map_err(|source| Error::Lake { act: "listing its documents", source })?;
    let corrections = Corrections::read(&job.state_dir)?;
    corrections.ask_again(&mut known);
    let mut report =
        Report { format: FORMAT, started: Some(started), seen: walk.files.len() as u64, ..Report::default() };
    let passed_over = walk.passed_over.clone();
    let sight = Sight::of(&walk);
    let twins = Twins::default();
    let (decision, folders) = decide::decide(walk, known.clone(), job.options);
    refuse_nothing(&folders, decision.kept)?;
    let todo_ids: HashSet<&str> =
        decision.todo.iter().filter_map(|todo| todo.known.as_ref().map(|row| row.id.as_str())).collect();
    for row in &known {
        if !todo_ids.contains(row.id.as_str()) && decide::is_current(row, job.options) {
            twins.stored(row);
        }
    }
    let counts: HashMap<&str, u64> = known.iter().map(|row| (row.id.as_str(), u64::from(row.chunk_count))).collect();
    let counted = |change: &Readers| (change.clone(), counts.get(change.document_id.as_str()).copied().unwrap_or(0));
    let regrant: Vec<(Readers, u64)> = decision.regrant.iter().map(counted).collect();
    report.regranted = regrant.len() as u64;
    drop(known);
    meter.plan(decision.todo.iter().map(|todo| todo.stamp.size_bytes));
    meter.tell(Event::Planned {
        files: decision.todo.len() as u64,
        bytes: decision.todo.iter().map(|todo| todo.stamp.size_bytes).sum(),
        unchanged: decision.unchanged,
        removed: decision.remove.len() as u64,
    });
    for note in &decision.notes {
        tracing::warn!("{note}");
        meter.tell(Event::Note { text: note.clone() });
    }
    let removed = decision.remove.clone();
    let ledger = Ledger::new(decision.unchanged, removed.iter().cloned().collect());
    let admission = Admission::new(decision.searchable, job.max_documents);
    let has_todo = !decision.todo.is_empty();
    let classifier = Classifier::new(job.embedding.clone(), corrections);
    let committer = Committer {
        lake: &job.lake,
        pool: &job.pool,
        twins: &twins,
        admission: &admission,
        ledger: &ledger,
        meter: &meter,
        clock: job.clock,
        classifier: &classifier,
    };
    let has_regrants = !regrant.is_empty();
    committer.regrant(regrant).await?;
    stages(&job, &committer, decision.todo, &cancel).await?;
    // Only a run that saw everything may forget, and only after files that moved were copied from what it forgets.
    if !cancel.is_cancelled() {
        committer.remove(&removed).await?;
        report.removed = removed.len() as u64;
        if has_todo || has_regrants || !removed.is_empty() {
            let refreshed = job.lake.refresh().await;
            refreshed.map_err(|source| Error::Lake { act: "refreshing its index", source })?;
        }
    }
    report.interrupted = cancel.is_cancelled();
    report.folders = folders;
    report.notes = decision.notes;
    report.kept = decision.kept;
    report.elsewhere = decision.elsewhere;
    finish(&job, &mut report, &ledger, &meter, passed_over).await?;
    if !report.interrupted {
        sight.keep(&job.folders, &job.state_dir)?;
    }
    Ok(report)
}

/// Puts the counts together, keeps the report and tells the listener.
async fn finish(
    job: &Job,
    report: &mut Report,
    ledger: &Ledger,
    meter: &Meter<'_>,
    passed_over: Vec<crate::FileReport>,
) -> Result<(), Error> {
    let counts = ledger.take();
    report.added = counts.added;
    report.changed = counts.changed;
    report.moved = counts.moved;
    report.unchanged = counts.unchanged;
    let rows = job.lake.documents().await.map_err(|source| Error::Lake { act: "listing its documents", source })?;
    let others = passed_over.into_iter().chain(counts.files).collect();
    report.count(&rows, others);
    if report.over_limit > 0 {
        report.notes.push(format!(
            "the license allows {} documents: {} files were left out",
            job.max_documents, report.over_limit
        ));
    }
    report.bytes_read = meter.bytes_read();
    report.seconds = meter.elapsed().as_secs_f64();
    report.files_per_second = meter.files_done() as f64 / report.seconds.max(1e-3);
    report.chunks_per_second = meter.embedded() as f64 / report.seconds.max(1e-3);
    report.stages = meter.stages();
    report::write(&job.state_dir, report)?;
    tracing::info!(
        searchable = report.searchable,
        empty = report.empty,
        failed = report.failed,
        unchanged = report.unchanged,
        removed = report.removed,
        chunks = report.chunks,
        seconds = report.seconds,
        interrupted = report.interrupted,
        "ingested"
    );
    meter.tell(Event::Finished(Box::new(report.clone())));
    Ok(())
}

async fn walked(job: &Job, meter: &Meter<'_>, cancel: &CancellationToken) -> Result<Walk, Error> {
    if job.folders.is_empty() {
        return Err(Error::NoFolders);
    }
    let own = step::own(&job.state_dir);
    let (folders, stop) = (job.folders.clone(), cancel.clone());
    let (ticks, mut ticked) = mpsc::unbounded_channel();
    let timer = meter.start(Stage::Walk);
    let walking = tokio::task::spawn_blocking(move || {
        let tick = |files| {
            // Nobody listening is no reason to stop walking.
            let _ = ticks.send(files);
        };
        walk::walk(&walk::roots(&folders), &own, &tick, &stop)
    });
    while let Some(files) = ticked.recv().await {
        meter.tell(Event::Walking { files });
    }
    let walk = walking.await.map_err(|error| Error::Broken { reason: error.to_string() })?;
    timer.stop();
    Ok(walk)
}

/// A folder that is not there, and of which nothing is known, is a spelling mistake, not an empty result.
fn refuse_nothing(folders: &[FolderReport], kept: u64) -> Result<(), Error> {
    let is_there = |folder: &FolderReport| matches!(folder.state, FolderState::Read | FolderState::Emptied);
    match folders.first() {
        Some(first) if kept == 0 && !folders.iter().any(is_there) => {
            Err(Error::NoFolder { path: PathBuf::from(&first.path) })
        }
        _ => Ok(()),
    }
}

/// Reads, embeds and commits until all is done, or one stage fails, or the run is cancelled. In every case what was embedded is
/// committed before this returns.
async fn stages(
    job: &Job,
    committer: &Committer<'_>,
    todo: Vec<Todo>,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    // Its own token: a stage that fails stops the others without marking the run as stopped by the user.
    let stop = cancel.child_token();
    let (read_out, embed_in) = mpsc::channel(QUEUE);
    let (embed_out, commit_in) = mpsc::channel(QUEUE);
    let reader = Reader {
        pool: &job.pool,
        embedding: &job.embedding,
        lake: &job.lake,
        handlers: job.handlers.as_ref(),
        twins: committer.twins,
        admission: committer.admission,
        ledger: committer.ledger,
        meter: committer.meter,
        options: job.options,
        max_file_bytes: job.max_file_bytes,
        cancel: &stop,
    };
    let stopping = |result: Result<(), Error>| {
        if result.is_err() {
            stop.cancel();
        }
        result
    };
    let read = async { stopping(read_all(&reader, todo, job.readers, read_out, &stop).await) };
    let embed = async { stopping(embed(&job.embedding, embed_in, embed_out, committer.meter, &stop).await) };
    let commit = async { stopping(committer.commit_all(commit_in).await) };
    let (read, embed, commit) = futures::join!(read, embed, commit);
    commit.and(embed).and(read)
}

async fn read_all(
    reader: &Reader<'_>,
    todo: Vec<Todo>,
    at_once: usize,
    outbox: Sender<Item>,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let reading = futures::stream::iter(todo).map(|todo| reader.read(todo));
    let mut reading = std::pin::pin!(reading.buffer_unordered(at_once.max(1)));
    loop {
        let items = tokio::select! {
            // Files in flight are dropped with their workers; the next run reads them.
            () = stop.cancelled() => return Ok(()),
            items = reading.next() => items,
        };
        let Some(items) = items else { return Ok(()) };
        for item in items? {
            if outbox.send(item).await.is_err() {
                return Ok(());
            }
        }
    }
}
