use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Identity;
use rustix::process::{Pid, PidfdFlags, Signal};

/// How a process came to its end when it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was not there any more.
    Gone,
    /// It ended in time after SIGTERM.
    Asked,
    /// It did not, and got SIGKILL.
    Killed,
}

/// How long a process may take to vanish after SIGKILL; longer only if the kernel itself is stuck.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Starts `program` in a session of its own: no terminal, no signals meant for us, input from nowhere, output appended to
/// `log`. It outlives this process.
///
/// Its environment holds nothing but a search path, a UTF-8 locale and `RUST_BACKTRACE`: what stands in ours may be secret.
///
/// # Errors
/// When the log cannot be opened or the program cannot be executed.
pub fn spawn(program: &Path, arguments: &[String], log: &Path) -> io::Result<Child> {
    if let Some(dir) = log.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .env("RUST_BACKTRACE", "1")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; setsid is one.
    unsafe { command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into)) };
    command.spawn()
}

/// Ends exactly the process `identity` names: SIGTERM, and after `patience` SIGKILL to its whole group.
///
/// The signal goes through a pid descriptor that was checked after it was opened, so it cannot hit a successor of the pid.
///
/// # Errors
/// When the process may not be signalled, or does not vanish after SIGKILL.
pub async fn stop(identity: &Identity, patience: Duration) -> io::Result<Ended> {
    let Some(process) = open(identity)? else { return Ok(Ended::Gone) };
    signal(&process, Signal::TERM)?;
    if ended(identity, patience).await {
        return Ok(Ended::Asked);
    }
    // The leader is still there, so its group is its own: helpers it started go with it.
    if let Some(group) = pid(identity) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    signal(&process, Signal::KILL)?;
    if ended(identity, KILL_PATIENCE).await {
        return Ok(Ended::Killed);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the process does not end after SIGKILL"))
}

fn open(identity: &Identity) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = pid(identity) else { return Ok(None) };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => Ok(identity.is_alive().then_some(descriptor)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn pid(identity: &Identity) -> Option<Pid> {
    i32::try_from(identity.pid).ok().and_then(Pid::from_raw)
}

fn signal(process: &OwnedFd, signal: Signal) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Looks every few milliseconds: an end is rare and a look is cheap.
async fn ended(identity: &Identity, patience: Duration) -> bool {
    let gone = async {
        while identity.is_alive() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(patience, gone).await.is_ok()
}

/// Returns the resident memory of a process in bytes; `None` when it is gone.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, log: &Path) -> Child {
        spawn(Path::new("/bin/sh"), &["-c".to_owned(), script.to_owned()], log).unwrap()
    }

    fn log() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("logs/role.log");
        (dir, log)
    }

    #[tokio::test]
    async fn a_process_ends_when_asked() {
        let (_dir, log) = log();
        let mut child = spawn(Path::new("/bin/sleep"), &["100".to_owned()], &log).unwrap();
        let identity = Identity::of(child.id()).unwrap();
        assert!(identity.is_alive() && resident_bytes(child.id()).unwrap() > 0);
        assert_eq!(stop(&identity, Duration::from_secs(10)).await.unwrap(), Ended::Asked);
        assert!(!identity.is_alive(), "a process nobody waited for counts as dead");
        child.wait().unwrap();
        assert_eq!(stop(&identity, Duration::from_secs(10)).await.unwrap(), Ended::Gone);
    }

    #[tokio::test]
    async fn a_deaf_process_is_killed_with_its_helpers() {
        let (_dir, log) = log();
        let mut child = shell("trap '' TERM; sleep 100 & echo $!; while :; do sleep 0.05; done", &log);
        let identity = Identity::of(child.id()).unwrap();
        let helper = loop {
            match std::fs::read_to_string(&log).unwrap().trim().parse() {
                Ok(pid) => break Identity::of(pid).unwrap(),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert_eq!(stop(&identity, Duration::from_millis(200)).await.unwrap(), Ended::Killed);
        child.wait().unwrap();
        let gone = async {
            while helper.is_alive() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
    }

    #[tokio::test]
    async fn a_successor_of_the_pid_is_left_alone() {
        let (_dir, log) = log();
        let mut child = spawn(Path::new("/bin/sleep"), &["100".to_owned()], &log).unwrap();
        let identity = Identity::of(child.id()).unwrap();
        let predecessor = Identity { start_ticks: identity.start_ticks - 1, ..identity.clone() };
        assert_eq!(stop(&predecessor, Duration::from_secs(1)).await.unwrap(), Ended::Gone);
        assert!(identity.is_alive());
        stop(&identity, Duration::from_secs(10)).await.unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn a_process_has_a_session_of_its_own_and_none_of_our_environment() {
        let (_dir, log) = log();
        let mut child = shell("ps -o sid= -p $$ | tr -d ' '; echo $$; env; echo to-stderr >&2", &log);
        child.wait().unwrap();
        let text = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(!text.contains("CARGO") && !text.contains("HOME="), "{text}");
        assert!(lines.contains(&"to-stderr") && lines.contains(&"LANG=C.UTF-8"), "{text}");
        // `ps` is not everywhere; where it is, the session is the process itself.
        if lines[0].parse::<u32>().is_ok() && lines[1].parse::<u32>().is_ok() {
            assert_eq!(lines[0], lines[1]);
        }
    }
}
