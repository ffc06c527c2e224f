//! The parent's side: one process per file, killed when it takes too long.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::child::OUT_OF_TIME;
use super::wire::{Ask, FORMAT, Hello, Reply, Setup};
use super::{Analysis, HandlerLimits, Refusal, Run};
use crate::sandbox::Applied;
use crate::worker::{MAX_MESSAGE_BYTES, encode, open};

const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Analysing the largest file takes some seconds.
const ANALYSE_TIMEOUT: Duration = Duration::from_secs(60);
/// What a run may take beyond the handler's own time: its result is written out and read.
const SPARE: Duration = Duration::from_secs(10);
const LAST_WORDS_BYTES: u64 = 4_096;

/// Starts the processes of handlers. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    inner: Arc<Inner>,
}

struct Inner {
    program: PathBuf,
    arguments: Vec<OsString>,
    limits: HandlerLimits,
}

impl Runner {
    /// A runner of the program at `program`, whose `worker handler` runs [`main`](super::main).
    pub fn new(program: PathBuf, limits: HandlerLimits) -> Self {
        let arguments = ["worker", "handler"].map(Into::into).to_vec();
        Self { inner: Arc::new(Inner { program, arguments, limits }) }
    }

    /// Returns the limits every run has.
    pub fn limits(&self) -> &HandlerLimits {
        &self.inner.limits
    }

    /// Gives a file to a new process. `at_most` cuts it short, to see what a handler makes of a file that breaks off.
    ///
    /// # Errors
    /// [`Refusal::Unreadable`], [`Refusal::TooLarge`], [`Refusal::NoWorker`], [`Refusal::Crashed`].
    pub async fn open(&self, path: &Path, at_most: Option<u64>) -> Result<Session, Refusal> {
        let max_bytes = self.inner.limits.max_file_bytes;
        let owned = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || open(&owned, max_bytes)).await;
        let unreadable = |reason: String| Refusal::Unreadable { reason };
        let (file, whole) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(crate::Error::TooLarge { what, limit_bytes })) => {
                return Err(Refusal::TooLarge { what, limit_bytes });
            }
            Ok(Err(crate::Error::Unreadable { reason })) => return Err(unreadable(reason)),
            Ok(Err(error)) => return Err(unreadable(error.to_string())),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        let size = at_most.unwrap_or(whole).min(whole);
        let no_worker = |error: io::Error| Refusal::NoWorker { reason: error.to_string() };
        let mut session = Session::start(&self.inner).map_err(no_worker)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let setup = Setup { format: FORMAT, limits: self.inner.limits.clone(), name, size, whole };
        match tokio::time::timeout(START_TIMEOUT, session.greet(&setup, file.into())).await {
            Ok(Ok(())) => Ok(session),
            Ok(Err(_)) => Err(session.post_mortem(Duration::ZERO).await),
            Err(_) => Err(Refusal::NoWorker { reason: "it does not answer".to_owned() }),
        }
    }

    /// Runs a handler over a file in a process of its own. The refusal, if any, is in the result.
    pub async fn run(&self, path: &Path, code: &str, at_most: Option<u64>) -> Run {
        match self.open(path, at_most).await {
            Ok(session) => session.run(code).await,
            Err(refusal) => Run::refused(refusal),
        }
    }

    /// Analyses a file in a process of its own.
    ///
    /// # Errors
    /// As [`Self::open`], and [`Refusal::Time`].
    pub async fn analyse(&self, path: &Path) -> Result<Analysis, Refusal> {
        self.open(path, None).await?.analyse().await
    }
}

/// A process that holds one file. It ends when this is dropped.
pub struct Session {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    limits: HandlerLimits,
    sandbox: Option<Applied>,
}

impl Session {
    fn start(inner: &Inner) -> io::Result<Self> {
        let mut child = Command::new(&inner.program)
            .args(&inner.arguments)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("a pipe is missing");
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        Ok(Self { child, input, output, limits: inner.limits.clone(), sandbox: None })
    }

    async fn greet(&mut self, setup: &Setup, file: tokio::fs::File) -> io::Result<()> {
        self.input.write_all(&encode(setup)?).await?;
        let hello: Hello = self.message().await?;
        if hello.format != FORMAT {
            return Err(io::Error::other("it is of another version"));
        }
        self.sandbox = Some(hello.sandbox);
        let copied = tokio::io::copy(&mut file.take(setup.size), &mut self.input).await?;
        if copied == setup.size { Ok(()) } else { Err(io::Error::other("the file became shorter")) }
    }

    /// What the walls of the process hold.
    pub fn sandbox(&self) -> Option<&Applied> {
        self.sandbox.as_ref()
    }

    /// Analyses the file.
    ///
    /// # Errors
    /// [`Refusal::Time`], [`Refusal::Crashed`], [`Refusal::Memory`].
    pub async fn analyse(&mut self) -> Result<Analysis, Refusal> {
        match self.ask(&Ask::Analyse, ANALYSE_TIMEOUT).await? {
            Reply::Analysis(analysis) => Ok(*analysis),
            Reply::Run(_) => Err(Refusal::Crashed { signal: None }),
        }
    }

    /// Runs a handler over the file. The process is not used again: what one run left in it must not decide about another.
    pub async fn run(mut self, code: &str) -> Run {
        let timeout = Duration::from_millis(self.limits.time_ms) + SPARE;
        match self.ask(&Ask::Run { code: code.to_owned() }, timeout).await {
            Ok(Reply::Run(run)) => *run,
            Ok(Reply::Analysis(_)) => Run::refused(Refusal::Crashed { signal: None }),
            Err(refusal) => Run::refused(refusal),
        }
    }

    async fn ask(&mut self, ask: &(impl Serialize + Sync), timeout: Duration) -> Result<Reply, Refusal> {
        let asked = async {
            self.input.write_all(&encode(ask)?).await?;
            self.message::<Reply>().await
        };
        match tokio::time::timeout(timeout, asked).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(self.post_mortem(Duration::from_secs(2)).await),
            Err(_) => {
                self.kill().await;
                Err(Refusal::Time { limit_ms: self.limits.time_ms })
            }
        }
    }

    async fn message<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let length = self.output.read_u64_le().await?;
        if length > MAX_MESSAGE_BYTES {
            return Err(io::Error::other("a message is too long"));
        }
        // The length is a promise of a process that may be broken: memory grows with what comes, not with what it says.
        let mut bytes = Vec::new();
        (&mut self.output).take(length).read_to_end(&mut bytes).await?;
        serde_json::from_slice(&bytes).map_err(io::Error::from)
    }

    /// Finds out what the process died of; one that lives is ended.
    async fn post_mortem(&mut self, patience: Duration) -> Refusal {
        let patience = patience.max(Duration::from_millis(500));
        let status = match tokio::time::timeout(patience, self.child.wait()).await {
            Ok(Ok(status)) => Some(status),
            _ => {
                self.kill().await;
                None
            }
        };
        let mut words = Vec::new();
        if let Some(errors) = self.child.stderr.take() {
            let read = async { errors.take(LAST_WORDS_BYTES).read_to_end(&mut words).await };
            // The pipe closes with the process, so this ends; what it did not say is not waited for.
            let _said = tokio::time::timeout(Duration::from_secs(1), read).await;
        }
        let words = String::from_utf8_lossy(&words);
        if words.contains("memory allocation of") || words.contains("out of memory") {
            return Refusal::Memory { limit_bytes: self.limits.memory_bytes };
        }
        if words.contains(OUT_OF_TIME) {
            return Refusal::Time { limit_ms: self.limits.time_ms };
        }
        tracing::debug!(handler.said = %words, "the process of a handler ended");
        Refusal::Crashed { signal: status.and_then(|status| status.signal()) }
    }

    async fn kill(&mut self) {
        // Already ended is as good as ended now.
        if let Err(error) = self.child.kill().await {
            tracing::debug!(%error, "the process of a handler was gone already");
        }
    }
}
