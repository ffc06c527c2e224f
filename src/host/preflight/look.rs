//! Looking with a limit in time: a hanging file system, engine or tool costs its own answer and nothing else.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// A look at the machine, on a thread of its own that is left behind when it does not come back: a `stat` on a dead
/// network share cannot be interrupted.
pub(super) struct Look<T>(Receiver<T>);

impl<T: Send + 'static> Look<T> {
    /// Begins to look.
    pub(super) fn begin(look: impl FnOnce() -> T + Send + 'static) -> Self {
        let (tell, hear) = sync_channel(1);
        // A thread that cannot be made tells nothing, and nothing is what `by` then returns.
        let _ = std::thread::Builder::new().name("preflight".to_owned()).spawn(move || {
            // Whoever asked may have given up.
            let _ = tell.send(look());
        });
        Self(hear)
    }

    /// Returns what was seen, or `None` when that takes longer than until `deadline`.
    pub(super) fn by(self, deadline: Instant) -> Option<T> {
        self.0.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }
}

/// What a program said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It ended well; its standard output, trimmed.
    Text(String),
    /// It ended badly.
    Failed(String),
    /// There is no such program here.
    Absent,
    /// It did not end in time and was killed.
    Late,
}

/// More than this no program we ask has to say.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Runs `program` until `deadline`, with no input.
pub(super) fn ask(program: &str, arguments: &[&str], deadline: Instant) -> Said {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A group of its own: a plugin the program started is killed with it.
    let mut child = match command.process_group(0).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Said::Absent,
        Err(error) => return Said::Failed(error.to_string()),
    };
    let output = child.stdout.take();
    let text = Look::begin(move || {
        let mut bytes = Vec::new();
        // What was read until an error is what it said.
        let _ = output.map(|output| output.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).trim().to_owned()
    });
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                return match text.by(deadline) {
                    Some(text) if status.success() => Said::Text(text),
                    Some(_) => Said::Failed(status.to_string()),
                    None => Said::Late,
                };
            }
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK_EVERY),
            Ok(None) => break,
            Err(error) => return Said::Failed(error.to_string()),
        }
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended in this very moment.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    Said::Late
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    #[test]
    fn what_hangs_is_left_behind() {
        let begun = Instant::now();
        let hanging = Look::begin(|| std::thread::sleep(Duration::from_secs(20)));
        assert_eq!(hanging.by(within(50)), None);
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(Look::begin(|| 7).by(within(5_000)), Some(7));
    }

    #[test]
    fn what_panics_says_nothing() {
        assert_eq!(Look::<u8>::begin(|| panic!("on purpose")).by(within(5_000)), None);
    }

    #[test]
    fn tells_apart_how_a_program_ended() {
        assert_eq!(ask("sh", &["-c", "echo 2.26.1; echo noise >&2"], within(5_000)), Said::Text("2.26.1".into()));
        assert!(matches!(ask("sh", &["-c", "exit 3"], within(5_000)), Said::Failed(_)));
        assert_eq!(ask("no-such-program-0711", &[], within(5_000)), Said::Absent);
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("pid");
        let script = format!("sleep 30 & echo $! > {}; wait", mark.display());
        assert_eq!(ask("sh", &["-c", &script], within(700)), Said::Late);
        let pid = std::fs::read_to_string(mark).unwrap();
        // Killed, it is gone, or a zombie until its new parent has looked.
        let ends = Instant::now() + Duration::from_secs(5);
        let state = |pid: &str| std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let lives = |stat: String| !stat.is_empty() && !stat.contains(") Z ");
        while lives(state(&pid)) {
            assert!(Instant::now() < ends, "the child of the killed program lives on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_flood_is_cut() {
        match ask("sh", &["-c", "yes | head -c 200000"], within(5_000)) {
            // The writer dies of the closed pipe or ends: either way no more than the bound is kept.
            Said::Text(text) => assert!(text.len() as u64 <= OUTPUT_BYTES_MAX),
            other => assert!(matches!(other, Said::Failed(_)), "{other:?}"),
        }
    }
}
