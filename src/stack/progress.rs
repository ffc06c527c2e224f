//! Whether a role that is not ready yet is getting there: it may take as long as it moves.
//!
//! A role moves when its processes read or write files, grow in memory, start or end one another, or when its log grows. Loading ninety
//! gigabytes takes minutes and shows in every one of these; a role that waits for a lock shows in none.

use std::path::Path;
use std::time::{Duration, Instant};

use base::Role;
use base::config::ServiceConfig;

use crate::process::resident_bytes;

/// Heaps breathe; growth of less is none.
const GROWTH_BYTES: u64 = 1 << 20;
/// Processes of one role that are looked at: vLLM has one per card and some beside.
const PROCESSES_MAX: usize = 64;

/// What a role's processes have done so far, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The first process and all it started.
    pub processes: u64,
    /// From files, where this user may see it (`proc(5)`, `io`: `rchar` counts sockets too, and so every probe; this one does not).
    pub read_bytes: u64,
    /// To files.
    pub written_bytes: u64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Length of the log.
    pub log_bytes: u64,
}

impl Sample {
    /// Looks at the process `pid` with all that it started, and at the role's log. What may not be seen counts nothing.
    pub fn of(pid: u32, log: &Path) -> Self {
        let mut sample =
            Self { log_bytes: std::fs::metadata(log).map_or(0, |metadata| metadata.len()), ..Self::default() };
        let mut left = vec![pid];
        while let Some(pid) = left.pop().filter(|_| sample.processes < PROCESSES_MAX as u64) {
            sample.processes += 1;
            sample.resident_bytes += resident_bytes(pid).unwrap_or(0);
            let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            sample.read_bytes += field(&io, "read_bytes:");
            sample.written_bytes += field(&io, "write_bytes:");
            left.extend(children(pid));
        }
        sample
    }

    fn has_moved_since(&self, before: &Self) -> bool {
        // A process that ends takes its counters with it: then all are counted from what is left.
        self.processes != before.processes
            || self.read_bytes != before.read_bytes
            || self.written_bytes != before.written_bytes
            || self.log_bytes != before.log_bytes
            || self.resident_bytes >= before.resident_bytes + GROWTH_BYTES
    }
}

fn field(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

/// What any thread of a process has started.
fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// When a role last moved.
#[derive(Clone, Copy, Debug)]
pub struct Movement {
    before: Option<Sample>,
    moved: Instant,
}

impl Movement {
    /// Begins to watch a role that was just started.
    pub fn begin(now: Instant) -> Self {
        Self { before: None, moved: now }
    }

    /// Takes a sample.
    pub fn see(&mut self, now: Instant, sample: Sample) {
        // The earlier sample stays while nothing moves: slow growth adds up.
        if self.before.is_none_or(|before| sample.has_moved_since(&before)) {
            *self = Self { before: Some(sample), moved: now };
        }
    }

    /// Returns for how long nothing has moved.
    pub fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.moved)
    }
}

/// Returns how long a role may show no progress while it starts before it is taken for stuck.
///
/// Our own engines map a file and are ready within seconds of the last sign of life. vLLM compiles kernels and records graphs for minutes,
/// mostly in silence.
pub fn start_patience(role: Role, config: &ServiceConfig) -> Duration {
    let has_vllm = config.containers.as_ref().is_some_and(|containers| containers.vllm(role).is_some());
    Duration::from_secs(match role {
        Role::Llm if has_vllm => 900,
        Role::Embed if has_vllm => 300,
        Role::Llm => 120,
        Role::Embed | Role::Lake | Role::Ingest | Role::Trainer | Role::Console => 60,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Returns the silence in seconds after samples that come every ten seconds.
    fn silence(samples: &[Sample]) -> u64 {
        let begun = Instant::now();
        let mut movement = Movement::begin(begun);
        let mut now = begun;
        for sample in samples {
            now += Duration::from_secs(10);
            movement.see(now, *sample);
        }
        movement.silent_for(now).as_secs()
    }

    fn reads(mebibytes: u64) -> Sample {
        Sample { processes: 3, read_bytes: mebibytes * MIB, resident_bytes: 500 * MIB, ..Sample::default() }
    }

    #[test]
    fn a_role_that_reads_ninety_gigabytes_is_never_silent() {
        let samples: Vec<_> = (0..1000).map(|step| reads(step * 90)).collect();
        assert_eq!(silence(&samples), 0);
    }

    #[test]
    fn a_role_that_stops_moving_is_silent_from_then_on() {
        let samples: Vec<_> = (0..100).map(|step| reads(step.min(40) * 90)).collect();
        assert_eq!(silence(&samples), 590);
    }

    #[test]
    fn every_sign_of_life_counts_and_breathing_is_none() {
        let still = reads(7);
        let breath = Sample { resident_bytes: still.resident_bytes + MIB / 2, ..still };
        assert_eq!(silence(&[still, breath, still, breath]), 30);
        for sign in [
            Sample { processes: 4, ..still },
            Sample { written_bytes: 1, ..still },
            Sample { log_bytes: 1, ..still },
            Sample { resident_bytes: still.resident_bytes + MIB, ..still },
            // A process has ended.
            Sample { processes: 2, read_bytes: 0, resident_bytes: MIB, ..still },
        ] {
            assert_eq!(silence(&[still, still, sign]), 0, "{sign:?}");
        }
    }

    #[test]
    fn slow_growth_adds_up() {
        let grown = |step: u64| Sample { resident_bytes: step * MIB / 4, processes: 1, ..Sample::default() };
        let samples: Vec<_> = (0..9).map(grown).collect();
        assert_eq!(silence(&samples), 0);
    }

    #[test]
    fn a_real_process_moves_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("role.log");
        let script =
            "while :; do dd if=/dev/zero of=$0 bs=64k count=16 conv=fsync 2>&- >&-; sleep 0.05; done".to_owned();
        let file = dir.path().join("file").display().to_string();
        let arguments = ["-c".to_owned(), script, file];
        let mut child = crate::process::spawn(Path::new("/bin/sh"), &arguments, &log).unwrap();
        let first = Sample::of(child.id(), &log);
        let begun = Instant::now();
        while !Sample::of(child.id(), &log).has_moved_since(&first) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{first:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(first.processes >= 1 && first.resident_bytes > 0, "{first:?}");
    }
}
