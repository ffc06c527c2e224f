//! The journal of interactions: an accepted one is on the disk before its call returns.
//!
//! A Delta append per question would make one small file each. Lines go to `NNNNNN.jsonl` instead, synced one by one, and
//! are folded into the tables in batches. The `commits` row of such a batch names the newest journal file it holds, so a
//! crash between the row and the removal of the file folds nothing twice.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base::file::{append_line_synced, sync_dir};

use crate::{
    Error,
    format::{JOURNAL, JournalLine},
};

pub(crate) struct Journal {
    folder: PathBuf,
    /// The number of the file that is written.
    number: u64,
    file: Option<File>,
    /// What is in the files and not in the tables, with the number of its file.
    pending: Vec<(u64, JournalLine)>,
}

impl Journal {
    /// Opens the journal. Files up to `folded` are in the tables and go away; the lines of later ones are pending.
    pub fn open(folder: PathBuf, folded: u64) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let mut journal = Self { number: folded, folder, file: None, pending: Vec::new() };
        let mut numbers = journal.numbers()?;
        numbers.sort_unstable();
        for number in numbers {
            journal.number = journal.number.max(number);
            if number > folded {
                let lines = read(&journal.path(number))?;
                journal.pending.extend(lines.into_iter().map(|line| (number, line)));
            }
        }
        journal.forget(folded)?;
        // The next line begins a new file: one that was torn is never written again.
        journal.number += 1;
        Ok(journal)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:06}.jsonl"))
    }

    fn numbers(&self) -> Result<Vec<u64>, Error> {
        let failed = || Error::io("list", &self.folder);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            let number: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse().ok());
            numbers.extend(number);
        }
        Ok(numbers)
    }

    /// Writes a line and waits until it is on the disk.
    pub fn append(&mut self, line: JournalLine) -> Result<(), Error> {
        let path = self.path(self.number);
        let failed = || Error::io("append to", &path);
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut options = OpenOptions::new();
                options.append(true).create(true).mode(0o600);
                let mut file = options.open(&path).map_err(failed())?;
                append_line_synced(&mut file, &text(&JournalLine::Format(JOURNAL))).map_err(failed())?;
                sync_dir(&self.folder).map_err(failed())?;
                none.insert(file)
            }
        };
        if let Err(source) = append_line_synced(file, &text(&line)) {
            // Half a line may be there now: what follows must not be glued to it.
            self.file = None;
            self.number += 1;
            return Err(failed()(source));
        }
        self.pending.push((self.number, line));
        Ok(())
    }

    pub fn pending(&self) -> impl Iterator<Item = &JournalLine> {
        self.pending.iter().map(|(_, line)| line)
    }

    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Ends the current file, so that a fold can take it whole. Returns its number, the newest one that is complete.
    pub fn rotate(&mut self) -> u64 {
        self.file = None;
        self.number += 1;
        self.number - 1
    }

    /// Forgets what is in the tables: lines and files up to `folded`.
    pub fn forget(&mut self, folded: u64) -> Result<(), Error> {
        self.pending.retain(|(number, _)| *number > folded);
        for number in self.numbers()?.into_iter().filter(|number| *number <= folded) {
            let path = self.path(number);
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }
}

fn text(line: &JournalLine) -> String {
    crate::columns::json_text(line)
}

/// Reads a journal file. The last line may be torn by a crash: it was never accepted and is passed over.
fn read(path: &Path) -> Result<Vec<JournalLine>, Error> {
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let mut lines = Vec::new();
    for line in String::from_utf8_lossy(&bytes).lines().filter(|line| !line.trim_matches('\0').trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(JournalLine::Format(JOURNAL)) => {}
            Ok(JournalLine::Format(other)) => {
                return Err(Error::Damaged {
                    table: "journal",
                    what: format!("format {other} is not known to this version of 0711"),
                });
            }
            Ok(line) => lines.push(line),
            Err(error) => {
                tracing::warn!(journal.file = %path.display(), %error, "passed over a torn line of the journal")
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Feedback, Verdict};

    fn line(at_ms: i64) -> JournalLine {
        JournalLine::Feedback(Feedback {
            interaction_id: "i".to_owned(),
            at_ms,
            verdict: Verdict::Up,
            correction: None,
        })
    }

    fn pending(journal: &Journal) -> Vec<JournalLine> {
        journal.pending().cloned().collect()
    }

    #[test]
    fn lines_survive_a_kill_and_are_folded_once() {
        let dir = tempfile::tempdir().unwrap();
        let open = |folded| Journal::open(dir.path().join("journal"), folded).unwrap();
        let mut journal = open(0);
        journal.append(line(1)).unwrap();
        journal.append(line(2)).unwrap();
        let folded = journal.rotate();
        journal.append(line(3)).unwrap();
        drop(journal);
        assert_eq!(pending(&open(0)), [line(1), line(2), line(3)]);
        // The crash came after the commit row and before the file went.
        assert_eq!(pending(&open(folded)), [line(3)]);
        assert_eq!(pending(&open(folded)), [line(3)]);
    }

    #[test]
    fn a_torn_line_loses_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("journal");
        let mut journal = Journal::open(folder.clone(), 0).unwrap();
        journal.append(line(1)).unwrap();
        let path = journal.path(journal.number);
        drop(journal);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"feedback\":{\"interaction_id\":\"x");
        fs::write(&path, bytes).unwrap();
        let mut journal = Journal::open(folder.clone(), 0).unwrap();
        assert_eq!(pending(&journal), [line(1)]);
        journal.append(line(2)).unwrap();
        drop(journal);
        assert_eq!(pending(&Journal::open(folder, 0).unwrap()), [line(1), line(2)]);
    }
}
