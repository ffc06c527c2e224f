//! How long the disk takes to keep what it was given: every commit and every journal record waits for it.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, fdatasync, open, unlink};
use rustix::io::{Errno, pwrite, write};

use super::check::Check;

/// Rounds and time spent at most; one round that hangs is cut by the deadline of the whole look.
const ROUNDS_MAX: usize = 32;
const BUDGET: Duration = Duration::from_millis(250);
const ROUND_BYTES: usize = 4096;
/// A spinning disk takes some 10 ms; above this an installation is no pleasure.
const GOOD: Duration = Duration::from_millis(20);
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);
/// How long a round took, on its way out of the child: microseconds.
const RESULT_BYTES: usize = size_of::<u32>();

/// Writes and syncs small blocks in `dir` and returns how long each took, ascending.
///
/// A child process does it. A thread that waits for a dead disk cannot be ended, and would keep this process from ending;
/// a child is left behind. The file has no name where the file system allows that, and loses it at once elsewhere: it is
/// gone with the child, also after an error or a kill.
pub(super) fn look(dir: &Path) -> io::Result<Vec<Duration>> {
    let name = dir.join(format!(".0711-preflight-{}", std::process::id()));
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    let name = CString::new(name.as_os_str().as_bytes())?;
    // Never executed: the child ends before it would become this program.
    let mut child = Command::new("/proc/self/exe");
    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let probe = move || {
        let (results, rounds) = measure(&dir, &name)?;
        // SAFETY: the descriptor is the pipe that was set up for this child, open until it ends.
        write(unsafe { BorrowedFd::borrow_raw(1) }, results[..rounds].as_flattened())?;
        // SAFETY: ends the child at once; what the parent registered for its own end must not run here.
        unsafe { libc::_exit(0) }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; the probe makes system calls, reads the clock
    // and allocates nothing.
    unsafe { child.pre_exec(probe) };
    let output = child.spawn()?.wait_with_output()?;
    let (results, _) = output.stdout.as_chunks::<RESULT_BYTES>();
    let mut taken: Vec<_> =
        results.iter().map(|result| Duration::from_micros(u32::from_le_bytes(*result).into())).collect();
    taken.sort();
    Ok(taken)
}

/// Runs in the child: no allocation, no lock.
fn measure(dir: &CStr, name: &CStr) -> io::Result<([[u8; RESULT_BYTES]; ROUNDS_MAX], usize)> {
    let file = nameless(dir, name)?;
    let (mut results, mut rounds) = ([[0; RESULT_BYTES]; ROUNDS_MAX], 0);
    let (block, begun) = ([0x71; ROUND_BYTES], Instant::now());
    while rounds < ROUNDS_MAX && (rounds == 0 || begun.elapsed() < BUDGET) {
        let round = Instant::now();
        pwrite(&file, &block, 0)?;
        fdatasync(&file)?;
        let micros = u32::try_from(round.elapsed().as_micros()).unwrap_or(u32::MAX);
        results[rounds] = micros.to_le_bytes();
        rounds += 1;
    }
    Ok((results, rounds))
}

fn nameless(dir: &CStr, name: &CStr) -> Result<OwnedFd, Errno> {
    match open(dir, OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE, OWNER_ONLY) {
        // What file systems and kernels say that do not know files without names (open(2)).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => named(name),
        other => other,
    }
}

fn named(name: &CStr) -> Result<OwnedFd, Errno> {
    let file = open(name, OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL, OWNER_ONLY)?;
    unlink(name)?;
    Ok(file)
}

/// `latency.<name>`, from what was measured in `dir`; `None` when it was not done in time.
pub(super) fn latency(name: &str, dir: &Path, measured: Option<&io::Result<Vec<Duration>>>) -> Check {
    let id = format!("latency.{name}");
    let remedy = "look for the cause: a failing disk (`dmesg`), a full controller queue, a slow network share";
    match measured {
        None => Check::unknown(id, format!("`{}` did not keep one small block in time", dir.display()), remedy),
        Some(Err(error)) => {
            let seen = format!("cannot write in `{}`: {error}", dir.display());
            Check::unknown(id, seen, "run as a user who may write there, or choose another place with `--root DIR`")
        }
        Some(Ok(taken)) => match (taken.get(taken.len() / 2), taken.last()) {
            (Some(median), Some(longest)) => {
                let seen = format!(
                    "{:.1} ms to keep a block of 4 KiB, {:.1} ms at most, in {} rounds",
                    median.as_secs_f64() * 1000.0,
                    longest.as_secs_f64() * 1000.0,
                    taken.len()
                );
                if *median <= GOOD { Check::ok(id, seen) } else { Check::warning(id, seen, remedy) }
            }
            _ => Check::unknown(id, "nothing was measured", "run `0711 preflight` again"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn measures_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let taken = look(dir.path()).unwrap();
        assert!(!taken.is_empty() && taken.len() <= ROUNDS_MAX && taken.is_sorted());
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(look(&dir.path().join("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(look(Path::new("/proc")).unwrap_err().kind(), io::ErrorKind::NotFound, "no file can be made there");
    }

    #[test]
    fn a_file_that_needs_a_name_loses_it_at_once_and_takes_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("named");
        let name = CString::new(at.as_os_str().as_bytes()).unwrap();
        let file = named(&name).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(pwrite(&file, b"kept", 0), Ok(4));
        std::os::unix::fs::symlink("/etc/passwd", &at).unwrap();
        assert_eq!(named(&name).unwrap_err(), Errno::EXIST);
        assert!(at.is_symlink(), "what somebody else put there stays");
    }

    #[test]
    fn the_middle_counts_and_not_the_worst() {
        let verdict = |taken: &[u64]| {
            let measured = Ok(taken.iter().copied().map(Duration::from_millis).collect());
            latency("data", Path::new("/x"), Some(&measured)).verdict
        };
        assert_eq!(verdict(&[1, 2, 900]), Verdict::Ok);
        assert_eq!(verdict(&[1, 60, 900]), Verdict::Warning);
        assert_eq!(verdict(&[]), Verdict::Unknown);
        assert_eq!(latency("data", Path::new("/x"), None).verdict, Verdict::Unknown);
        let refused = Err(io::ErrorKind::PermissionDenied.into());
        assert_eq!(latency("data", Path::new("/x"), Some(&refused)).verdict, Verdict::Unknown);
    }
}
