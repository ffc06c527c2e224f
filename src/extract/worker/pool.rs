use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{Semaphore, mpsc};

use super::open::open;
use super::wire::{Batch, FORMAT, Hello, MAX_MESSAGE_BYTES, Request, Response, Setup, Want, encode};
use crate::catalog::CatalogItem;
use crate::error::Error;
use crate::format::{Limits, Outcome};
use crate::sandbox::Applied;

/// A worker is replaced after this many files, so that what a reader leaks or leaves behind stays bounded.
const FILES_PER_WORKER: u32 = 200;
/// How long a new worker may take to say hello.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a worker's last words is kept.
const LAST_WORDS_BYTES: usize = 4096;

/// A bounded number of worker processes. Cheap to clone; workers start when they are needed and end with the last clone.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    program: PathBuf,
    arguments: Vec<OsString>,
    limits: Limits,
    slots: Semaphore,
    idle: Mutex<Vec<Worker>>,
    sandbox: Mutex<Option<Applied>>,
}

impl Pool {
    /// A pool of at most `size` workers of the program at `program`, whose `worker extract` runs [`main`](super::main).
    pub fn new(program: PathBuf, size: usize, limits: Limits) -> Self {
        Self::with_arguments(program, ["worker", "extract"], size, limits)
    }

    /// As [`Pool::new`], for a program that starts a worker by other arguments.
    pub fn with_arguments<A: Into<OsString>>(
        program: PathBuf,
        arguments: impl IntoIterator<Item = A>,
        size: usize,
        limits: Limits,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                program,
                arguments: arguments.into_iter().map(Into::into).collect(),
                limits,
                slots: Semaphore::new(size.max(1)),
                idle: Mutex::new(Vec::new()),
                sandbox: Mutex::new(None),
            }),
        }
    }

    /// What the sandbox of the worker started last holds; `None` before the first.
    pub fn sandbox(&self) -> Option<Applied> {
        self.inner.sandbox.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the right to use a worker.
    async fn slot(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        let slot = self.inner.slots.acquire().await;
        slot.map_err(|_| Error::NoWorker { reason: "the pool is closed".to_owned() })
    }

    /// Reads one file in a worker. Waits while all are busy; the time limit counts from when one is free. Dropping the
    /// future stops the worker.
    ///
    /// # Errors
    ///
    /// Those of [`read`](crate::read), and [`Error::NotRegular`], [`Error::TimedOut`], [`Error::OutOfMemory`],
    /// [`Error::Crashed`], [`Error::NoWorker`].
    pub async fn extract(&self, path: &Path) -> Result<Outcome, Error> {
        let _slot = self.slot().await?;
        match self.attempt(path).await {
            // What earlier files left in the worker must not decide about this one: once more, in a fresh worker.
            (Err(Error::Crashed { .. } | Error::OutOfMemory { .. }), served) if served > 0 => {
                self.attempt(path).await.0
            }
            (result, _) => result,
        }
    }

    /// Reads the file in one worker; returns also how many files that worker had served before.
    async fn attempt(&self, path: &Path) -> (Result<Outcome, Error>, u32) {
        let max_bytes = self.inner.limits.max_file_bytes.max(self.inner.limits.max_catalog_bytes);
        let owned = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || open(&owned, max_bytes)).await;
        let (file, size) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return (Err(error), 0),
            Err(error) => return (Err(Error::unreadable(error.to_string())), 0),
        };
        let mut worker = match self.worker().await {
            Ok(worker) => worker,
            Err(reason) => return (Err(Error::NoWorker { reason }), 0),
        };
        let served = worker.served;
        let timeout = Duration::from_millis(self.inner.limits.timeout_ms);
        let name = path.to_string_lossy().into_owned();
        match tokio::time::timeout(timeout, worker.ask(file.into(), size, name)).await {
            Ok(Ok(Response { result, worn })) => {
                worker.served += 1;
                if worker.served < FILES_PER_WORKER && !worn {
                    self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
                }
                (result, served)
            }
            Ok(Err(Broken::FileChanged)) => (Err(Error::unreadable("it changed while it was being read")), served),
            Ok(Err(Broken::File(error))) => (Err(Error::unreadable(format!("the disk refuses it: {error}"))), served),
            Ok(Err(Broken::Worker)) => (Err(worker.post_mortem(&self.inner.limits).await), served),
            Err(_) => {
                worker.kill().await;
                (Err(Error::TimedOut { seconds: timeout.as_secs() }), served)
            }
        }
    }

    /// As [`Self::catalog_batches`], item by item.
    ///
    /// # Errors
    ///
    /// Those of [`Self::catalog_batches`].
    pub async fn catalog(&self, path: &Path, mut each: impl FnMut(CatalogItem) + Send) -> Result<(), Error> {
        let (out, mut batches) = mpsc::channel::<Vec<CatalogItem>>(1);
        let taking = async {
            while let Some(items) = batches.recv().await {
                items.into_iter().for_each(&mut each);
            }
        };
        tokio::join!(self.catalog_batches(path, out), taking).0
    }

    /// Reads a catalogue in a worker and hands on its items (header, groups, products, end) as they are read, some at a time: memory here
    /// and there does not grow with the file, for the worker waits while nobody takes them. What came before an error is good; when
    /// nobody will take any more, the reading ends.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when the file is no catalogue, and those of [`Self::extract`]; the time limit is for each batch of items.
    pub async fn catalog_batches(&self, path: &Path, out: mpsc::Sender<Vec<CatalogItem>>) -> Result<(), Error> {
        let limits = &self.inner.limits;
        let _slot = self.slot().await?;
        let (owned, max_bytes) = (path.to_owned(), limits.max_catalog_bytes);
        let opened = tokio::task::spawn_blocking(move || open(&owned, max_bytes)).await;
        let (file, size) = opened.map_err(|error| Error::unreadable(error.to_string()))??;
        let mut worker = self.worker().await.map_err(|reason| Error::NoWorker { reason })?;
        let name = path.to_string_lossy().into_owned();
        let limit = Duration::from_millis(limits.timeout_ms);
        // The worker ends after a catalogue; dropping it ends it where it hangs.
        match worker.stream(file.into(), size, name, limit, &out).await {
            Ok(end) => end,
            Err(Broken::FileChanged) => Err(Error::unreadable("it changed while it was being read")),
            Err(Broken::File(error)) => Err(Error::unreadable(format!("the disk refuses it: {error}"))),
            Err(Broken::Worker) => Err(worker.post_mortem(limits).await),
        }
    }

    async fn worker(&self) -> Result<Worker, String> {
        let idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(worker) = idle {
            return Ok(worker);
        }
        let mut worker = Worker::start(&self.inner).map_err(|error| error.to_string())?;
        let hello = tokio::time::timeout(START_TIMEOUT, worker.greet(&self.inner.limits)).await;
        match hello {
            Ok(Ok(hello)) if hello.format == FORMAT => {
                *self.inner.sandbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(hello.sandbox);
                Ok(worker)
            }
            Ok(Ok(_)) => Err("it is of another version".to_owned()),
            Ok(Err(error)) => {
                worker.kill().await;
                Err(format!("{error}; it said: {}", worker.last_words()))
            }
            Err(_) => Err("it does not answer".to_owned()),
        }
    }
}

/// Why a worker gave no answer.
enum Broken {
    Worker,
    /// The file became shorter after it was opened.
    FileChanged,
    File(io::Error),
}

struct Worker {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    last_words: Arc<Mutex<VecDeque<u8>>>,
    listener: Option<tokio::task::JoinHandle<()>>,
    served: u32,
}

impl Worker {
    fn start(inner: &Inner) -> io::Result<Self> {
        let mut child = Command::new(&inner.program)
            .args(&inner.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("a pipe is missing");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        let listener = child.stderr.take().map(|errors| tokio::spawn(listen(errors, Arc::clone(&last_words))));
        Ok(Self { child, input, output, last_words, listener, served: 0 })
    }

    async fn greet(&mut self, limits: &Limits) -> io::Result<Hello> {
        let setup = Setup { format: FORMAT, limits: limits.clone(), files: FILES_PER_WORKER };
        self.input.write_all(&encode(&setup)?).await?;
        message(&mut self.output).await
    }

    /// Sends the file and waits for the answer. One that comes before the whole file is sent needs no more of it; the worker is
    /// worn then.
    async fn ask(&mut self, file: tokio::fs::File, size: u64, name: String) -> Result<Response, Broken> {
        let request = Request { name, size, want: Want::Document };
        let Self { input, output, .. } = self;
        let answer = async { message(output).await.map_err(|_| Broken::Worker) };
        beside(send_file(input, file, request), answer).await
    }

    /// Sends the file and hands on the items as they come. Each batch has the whole time limit: what a catalogue takes is a matter
    /// of its size.
    async fn stream(
        &mut self,
        file: tokio::fs::File,
        size: u64,
        name: String,
        limit: Duration,
        out: &mpsc::Sender<Vec<CatalogItem>>,
    ) -> Result<Result<(), Error>, Broken> {
        let request = Request { name, size, want: Want::Catalog };
        let Self { input, output, .. } = self;
        let items = async {
            loop {
                let batch = tokio::time::timeout(limit, message::<Batch>(output)).await;
                let Ok(batch) = batch else {
                    return Ok(Err(Error::TimedOut { seconds: limit.as_secs() }));
                };
                let batch = batch.map_err(|_| Broken::Worker)?;
                let is_wanted = out.send(batch.items).await.is_ok();
                match batch.end {
                    Some(end) => return Ok(end),
                    None if !is_wanted => return Ok(Ok(())),
                    None => {}
                }
            }
        };
        beside(send_file(input, file, request), items).await
    }

    /// Finds out what a worker died of.
    async fn post_mortem(&mut self, limits: &Limits) -> Error {
        // It closed its pipe, so it is ending; one that is not is ended.
        let status = match tokio::time::timeout(Duration::from_secs(2), self.child.wait()).await {
            Ok(Ok(status)) => Some(status),
            _ => {
                self.kill().await;
                None
            }
        };
        if let Some(listener) = self.listener.take() {
            // What it said last is still on the way; the pipe closes with the process, so this ends.
            let _said = tokio::time::timeout(Duration::from_secs(1), listener).await;
        }
        let words = self.last_words();
        if words.contains("memory allocation of")
            || words.contains("out of memory")
            || words.contains("Cannot allocate memory")
        {
            return Error::OutOfMemory { limit_bytes: limits.memory_bytes };
        }
        tracing::debug!(worker.said = words, "worker ended");
        Error::Crashed { signal: status.and_then(|status| status.signal()) }
    }

    async fn kill(&mut self) {
        // Already ended is as good as ended now.
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "worker was gone already");
        }
    }

    fn last_words(&self) -> String {
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = words.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// Sends a request and its file.
async fn send_file(input: &mut ChildStdin, file: tokio::fs::File, request: Request) -> Result<(), Broken> {
    let mut left = request.size;
    let request = encode(&request).map_err(|_| Broken::Worker)?;
    input.write_all(&request).await.map_err(|_| Broken::Worker)?;
    let mut file = file.take(left);
    let mut buffer = vec![0; 128 << 10];
    while left > 0 {
        let count = file.read(&mut buffer).await.map_err(Broken::File)?;
        if count == 0 {
            return Err(Broken::FileChanged);
        }
        left -= count as u64;
        input.write_all(&buffer[..count]).await.map_err(|_| Broken::Worker)?;
    }
    Ok(())
}

/// Sends while it waits for the answer, which ends both. A worker that takes no more has most often answered already: the answer
/// tells what happened.
async fn beside<T>(
    sending: impl Future<Output = Result<(), Broken>>,
    answer: impl Future<Output = Result<T, Broken>>,
) -> Result<T, Broken> {
    tokio::pin!(sending, answer);
    let mut sent = false;
    loop {
        // Both are kept across turns, so neither loses what it has done when the other is first.
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            result = &mut sending, if !sent => match result {
                Ok(()) | Err(Broken::Worker) => sent = true,
                Err(broken) => return Err(broken),
            },
        }
    }
}

async fn message<T: DeserializeOwned>(output: &mut ChildStdout) -> io::Result<T> {
    let length = output.read_u64_le().await?;
    if length > MAX_MESSAGE_BYTES {
        return Err(io::Error::other("a message is too long"));
    }
    // The length is a promise of a process that may be broken: memory grows with what comes, not with what it says.
    let mut bytes = Vec::new();
    output.take(length).read_to_end(&mut bytes).await?;
    serde_json::from_slice(&bytes).map_err(io::Error::from)
}

/// Keeps the end of what a worker writes to standard error, and keeps the pipe empty so that it never blocks on it.
async fn listen(mut errors: ChildStderr, last_words: Arc<Mutex<VecDeque<u8>>>) {
    let mut buffer = vec![0; 4096];
    while let Ok(count) = errors.read(&mut buffer).await
        && count > 0
    {
        let mut words = last_words.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend(&buffer[..count]);
        let surplus = words.len().saturating_sub(LAST_WORDS_BYTES);
        words.drain(..surplus);
    }
}
