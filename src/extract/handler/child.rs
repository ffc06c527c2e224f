//! The handler's side of the pipe: a process without files, network or programs that holds one file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use monty_types::{BASELINE_MEMORY, LIVE_MEMORY};

use super::wire::{Ask, FORMAT, Hello, Reply, Setup};
use super::{analysis, interpret};
use crate::sandbox::{self, Policy};
use crate::worker::{end_with_parent, message, send};

/// How often the process looks at its own memory. Between two looks a loop of the interpreter fills some ten megabytes.
const LOOK: Duration = Duration::from_millis(2);
/// What starting, analysing and answering may take beside the handler.
const SPARE_SECONDS: u64 = 30;

/// The body of the hidden verb `worker handler`: serves its parent until that closes the pipe, then ends the process.
///
/// Call it first thing in `main`, before any thread: the sandbox binds only threads that start after it.
pub fn main() -> ! {
    let code = match serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => 0,
        Err(error) => {
            // The parent reads it; where it is gone nobody does.
            let _ = writeln!(io::stderr(), "handler: {error}");
            1
        }
    };
    std::process::exit(code)
}

fn serve(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let Some(setup) = message::<Setup>(&mut input)? else { return Ok(()) };
    if setup.format != FORMAT {
        return Err(io::Error::other("the parent speaks another format"));
    }
    let limits = setup.limits;
    // Opened while files can be: afterwards there is none to open.
    let memory = File::open("/proc/self/statm");
    let seconds = limits.time_ms.div_ceil(1000).saturating_add(SPARE_SECONDS);
    let applied = sandbox::apply(&Policy::worker(limits.address_space_bytes, seconds));
    end_with_parent()?;
    send(&mut output, &Hello { format: FORMAT, sandbox: applied })?;
    let size = usize::try_from(setup.size).map_err(io::Error::other)?;
    let mut file = Vec::new();
    file.try_reserve_exact(size).map_err(io::Error::other)?;
    input.by_ref().take(setup.size).read_to_end(&mut file)?;
    if file.len() != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let watch = Watch::start(memory.ok(), Duration::from_millis(limits.time_ms))?;
    while let Some(ask) = message::<Ask>(&mut input)? {
        let reply = match ask {
            Ask::Analyse => Reply::Analysis(Box::new(analysis::analyse(&file, &setup.name, setup.whole))),
            Ask::Run { code } => {
                watch.begin();
                let run = interpret::run(&code, &file, &setup.name, &limits);
                watch.end();
                Reply::Run(Box::new(run))
            }
        };
        send(&mut output, &reply)?;
    }
    Ok(())
}

/// What the process says before it ends itself because a run does not.
pub(super) const OUT_OF_TIME: &str = "out of time";
/// How much longer than it may a run is let go on: the interpreter ends most by itself, and says more.
const PATIENCE: Duration = Duration::from_millis(700);

/// A thread beside the interpreter. It tells the interpreter how much memory the process fills, which that compares with the
/// handler's limit while it runs; and it ends the process when a run goes on after its time, inside a single step of the
/// interpreter: the square of a giant number is one.
struct Watch {
    started: Instant,
    /// When the run must be over, in milliseconds since `started`; 0 while there is none.
    deadline_ms: Arc<AtomicU64>,
    limit: Duration,
}

impl Watch {
    fn start(memory: Option<File>, limit: Duration) -> io::Result<Self> {
        let started = Instant::now();
        let deadline_ms = Arc::new(AtomicU64::new(0));
        let watched = Arc::clone(&deadline_ms);
        let memory = memory.filter(|memory| {
            resident(memory).is_some_and(|before| {
                BASELINE_MEMORY.store(before, Ordering::Relaxed);
                LIVE_MEMORY.store(before, Ordering::Relaxed);
                true
            })
        });
        std::thread::Builder::new().name("watch".to_owned()).stack_size(64 << 10).spawn(move || {
            loop {
                if let Some(now) = memory.as_ref().and_then(resident) {
                    LIVE_MEMORY.store(now, Ordering::Relaxed);
                }
                let deadline_ms = watched.load(Ordering::Acquire);
                if deadline_ms > 0 && elapsed_ms(started) > deadline_ms {
                    // The parent reads it; where it is gone nobody does.
                    let _ = writeln!(io::stderr(), "handler: {OUT_OF_TIME}");
                    std::process::exit(1);
                }
                std::thread::sleep(LOOK);
            }
        })?;
        Ok(Self { started, deadline_ms, limit })
    }

    fn begin(&self) {
        let deadline = self.started.elapsed() + self.limit + PATIENCE;
        self.deadline_ms.store(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    fn end(&self) {
        self.deadline_ms.store(0, Ordering::Release);
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// How much memory the process fills, in bytes, by the kernel's count of its pages.
fn resident(memory: &File) -> Option<usize> {
    let mut text = [0; 128];
    let length = memory.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..length]).ok()?;
    let pages = text.split_whitespace().nth(1)?.parse::<usize>().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size()))
}
