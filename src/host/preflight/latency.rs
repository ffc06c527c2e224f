//! How long the disk takes to keep what it was given: every commit and every journal record waits for it.

use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::check::Check;

/// Rounds and time spent at most; one round that hangs is cut by the deadline of the whole look.
const ROUNDS_MAX: usize = 32;
const BUDGET: Duration = Duration::from_millis(250);
const ROUND_BYTES: usize = 4096;
/// A spinning disk takes some 10 ms; above this an installation is no pleasure.
const GOOD: Duration = Duration::from_millis(20);

/// Writes and syncs small blocks in `dir` and returns how long each took, ascending.
///
/// The file has no name where the file system allows that, and loses it at once elsewhere: it is gone with the last
/// descriptor, also after an error or a kill.
pub(super) fn look(dir: &Path) -> io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(dir)?;
    let (begun, mut taken) = (Instant::now(), Vec::new());
    let block = [0x71_u8; ROUND_BYTES];
    while taken.len() < ROUNDS_MAX && (taken.is_empty() || begun.elapsed() < BUDGET) {
        let round = Instant::now();
        file.rewind()?;
        file.write_all(&block)?;
        file.sync_data()?;
        taken.push(round.elapsed());
    }
    taken.sort();
    Ok(taken)
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
        assert!(look(&dir.path().join("missing")).is_err());
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
