//! Where files are read: a file nobody knows gets its handler here, or waits.

use std::path::Path;

use base::{Clock, CustomerLayout};
use extract::{
    Document,
    handler::{Analysis, Kind, Refusal, Run, Runner, Session, faults_of_run},
};

use crate::{
    Entry, Error, Queue, Registry, State,
    registry::{candidates, generation},
};

/// What is to be done with a file nobody else reads, or reads only as plain text.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// An approved handler read it.
    Read { document: Document, handler: String },
    /// A handler read it that nobody approved; its records are dropped.
    Quarantined { handler: String, records: u64 },
    /// It waits for a handler of this kind.
    Waits { kind: String },
    /// There is nothing to be done here: the file cannot be looked at.
    None { reason: String },
}

/// The handlers of one customer, as they were when a run began. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    runner: Runner,
    registry: Registry,
    queue: Queue,
    entries: std::sync::Arc<Vec<Entry>>,
    clock: Clock,
}

impl Desk {
    /// Opens the desk.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Format`].
    pub fn open(customer: &CustomerLayout, runner: Runner, clock: Clock) -> Result<Self, Error> {
        let registry = Registry::new(customer);
        let entries = std::sync::Arc::new(registry.list()?);
        Ok(Self { runner, registry, queue: Queue::new(customer), entries, clock })
    }

    /// Returns the state of the registry, as a number: see [`Registry::generation`].
    pub fn generation(&self) -> u64 {
        generation(&self.entries)
    }

    /// A file no reader knows.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Format`] when the files of this room cannot be used; the file's own trouble is in the verdict.
    pub async fn unknown(&self, path: &Path) -> Result<Verdict, Error> {
        let looked = async {
            let mut session = self.runner.open(path, None).await?;
            let analysis = session.analyse().await?;
            Ok::<_, Refusal>((session, analysis))
        };
        match looked.await {
            Ok((session, analysis)) => self.consult(path, session, analysis, false).await,
            Err(refusal) => Ok(Verdict::None { reason: refusal.to_string() }),
        }
    }

    /// A file that was read as plain text and is made of records, by its kind. Without a handler its text stays, and it waits.
    ///
    /// # Errors
    /// As [`Self::unknown`].
    pub async fn text(&self, path: &Path, kind: &Kind) -> Result<Verdict, Error> {
        // Seen before and still waiting: nothing new is learnt by looking again.
        let is_known = candidates(&self.entries, kind).is_empty()
            && self.queue.get(&kind.id()).is_ok_and(|waiting| waiting.files.iter().any(|file| file == path));
        if is_known {
            return Ok(Verdict::Waits { kind: kind.id() });
        }
        let looked = async {
            let mut session = self.runner.open(path, None).await?;
            let analysis = session.analyse().await?;
            Ok::<_, Refusal>((session, analysis))
        };
        match looked.await {
            Ok((session, analysis)) => self.consult(path, session, analysis, true).await,
            Err(refusal) => Ok(Verdict::None { reason: refusal.to_string() }),
        }
    }

    async fn consult(
        &self,
        path: &Path,
        session: Session,
        analysis: Analysis,
        is_text: bool,
    ) -> Result<Verdict, Error> {
        let mut session = Some(session);
        let mut reason = None;
        for entry in candidates(&self.entries, &analysis.kind) {
            // What waits may be the successor of an approved one of the same name.
            let found = match entry.state {
                State::Approved => self.registry.get(&entry.name),
                _ => self.registry.newest(&entry.name),
            };
            let handler = match found {
                Ok(handler) if handler.entry.digest == entry.digest => handler,
                Ok(_) => continue,
                Err(error @ (Error::Changed { .. } | Error::NoHandler { .. })) => {
                    tracing::error!(handler = %entry.name, "{error}");
                    reason = Some(error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            };
            let run = match session.take() {
                Some(session) => session.run(&handler.source).await,
                None => self.runner.run(path, &handler.source, None).await,
            };
            let faults = faults_of_run(&run);
            if !faults.is_empty() {
                let texts: Vec<String> = faults.into_iter().map(|(_, text)| text).collect();
                reason = Some(format!("the handler `{}` does not read it: {}", entry.name, texts.join("; ")));
                continue;
            }
            return Ok(match handler.entry.state {
                State::Approved => Self::read(run, entry, &analysis),
                _ => Verdict::Quarantined { handler: entry.name.clone(), records: run.figures.records },
            });
        }
        let id = analysis.kind.id();
        let (queue, path, clock) = (self.queue.clone(), path.to_owned(), self.clock);
        // Files of many readers end here: the disk is waited for beside them.
        let added = tokio::task::spawn_blocking(move || queue.add(&analysis, &path, is_text, reason, clock)).await;
        match added {
            Ok(Ok(())) => Ok(Verdict::Waits { kind: id }),
            Ok(Err(error)) => Err(error),
            Err(error) => Ok(Verdict::None { reason: error.to_string() }),
        }
    }

    fn read(run: Run, entry: &Entry, analysis: &Analysis) -> Verdict {
        let records = run.figures.records;
        let coverage = run.figures.coverage();
        let mut document = run.into_document(&analysis.kind.format());
        let mut put = |key: &str, value: String| document.metadata.insert(key.to_owned(), value);
        put("handler", entry.name.clone());
        put("handler_digest", entry.digest.to_string());
        put("records", records.to_string());
        put("coverage", format!("{coverage:.3}"));
        Verdict::Read { document, handler: entry.name.clone() }
    }
}
