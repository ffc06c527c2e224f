use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use install::control::older_part;
use serde::Serialize;

/// A file of lines that never grows beyond its limit: the older half stands beside it with `.1`.
///
/// It is opened for each line, which come seldom: a folder that is moved or removed keeps no descriptor of ours.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    part_bytes_max: u64,
}

impl Ledger {
    pub(crate) fn new(path: PathBuf, part_bytes_max: u64) -> Self {
        Self { path, part_bytes_max }
    }

    /// Appends one line. It is not synced: after a power cut the last seconds may be missing, and nothing depends on them.
    pub(crate) fn append(&self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        if file.metadata()?.len().saturating_add(line.len() as u64) > self.part_bytes_max {
            std::fs::rename(&self.path, older_part(&self.path))?;
            file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        }
        file.write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use install::control::read_lines;

    use super::*;

    #[test]
    fn lines_are_kept_in_order_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let ledger = Ledger::new(path.clone(), 40);
        for number in 100..130_u64 {
            ledger.append(&number).unwrap();
        }
        let kept: Vec<u64> = read_lines(&path);
        assert_eq!(kept.last(), Some(&129));
        assert!(kept.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{kept:?}");
        assert!((10..=20).contains(&kept.len()), "{kept:?}");
    }

    #[test]
    fn a_torn_line_loses_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let ledger = Ledger::new(path.clone(), 1 << 20);
        ledger.append(&1_u64).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"to\n").unwrap();
        ledger.append(&2_u64).unwrap();
        assert_eq!(read_lines::<u64>(&path), [1, 2]);
    }
}
