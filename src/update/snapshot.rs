//! What a customer's stack was before the switch: the control files always, the data by second names of its files.

use std::path::{Path, PathBuf};

use base::{CustomerLayout, Role, file};

use crate::tree::{self, How};
use crate::{Error, State};

/// The snapshot of one customer.
pub(crate) struct Snapshot {
    dir: PathBuf,
    customer: CustomerLayout,
}

/// Says, within a snapshot, that it is whole.
const WHOLE: &str = "whole.json";

impl Snapshot {
    pub(crate) fn of(customer: CustomerLayout) -> Self {
        Self { dir: customer.update_snapshot(), customer }
    }

    /// What says which release is installed, and how it is set up.
    fn control(&self) -> Vec<(&'static str, PathBuf)> {
        let customer = &self.customer;
        vec![
            ("plan.json", customer.plan()),
            ("journal.jsonl", customer.journal()),
            ("receipt.json", customer.receipt()),
            ("answers.yaml", customer.answers()),
            ("license", customer.license()),
            ("deployment", customer.deployment()),
        ]
    }

    /// What was learned.
    fn data(&self) -> Vec<(&'static str, PathBuf)> {
        let customer = &self.customer;
        vec![
            ("lakehouse", customer.lakehouse()),
            ("loras", customer.loras()),
            ("ingest", customer.ingest_state()),
            ("console", customer.console_state()),
            ("jobs-trainer", customer.jobs_dir(Role::Trainer)),
            ("jobs-ingest", customer.jobs_dir(Role::Ingest)),
        ]
    }

    /// Takes it. The stack is stopped: nothing changes meanwhile.
    pub(crate) fn take(&self) -> Result<(), Error> {
        tree::remove(&self.dir)?;
        file::private_dir(&self.dir).map_err(Error::file("make folder", &self.dir))?;
        for (name, from) in self.control().into_iter().filter(|(_, from)| from.exists()) {
            tree::bring(&from, &self.dir.join(name), How::Copy)?;
        }
        for (name, from) in self.data().into_iter().filter(|(_, from)| from.exists()) {
            tree::bring(&from, &self.dir.join(name), How::LinkTables)?;
        }
        let mark = serde_json::json!({ "format": State::FORMAT }).to_string();
        let path = self.dir.join(WHOLE);
        file::write_atomic(&path, mark.as_bytes(), 0o600).map_err(Error::file("write", &path))
    }

    /// Returns whether it was taken to its end.
    pub(crate) fn is_whole(&self) -> bool {
        self.dir.join(WHOLE).is_file()
    }

    /// Puts the control files back, and with `with_data` the data; the data that was there is kept aside.
    ///
    /// Interrupted and done again, it ends the same: what is put back is brought beside and renamed.
    pub(crate) fn restore(&self, with_data: bool) -> Result<(), Error> {
        for (name, to) in self.control() {
            self.put_back(name, &to, How::Copy, None)?;
        }
        if with_data {
            let aside = self.set_aside();
            file::private_dir(&aside).map_err(Error::file("make folder", &aside))?;
            for (name, to) in self.data() {
                self.put_back(name, &to, How::LinkTables, Some(&aside.join(name)))?;
            }
        }
        Ok(())
    }

    /// Where data of the release that was taken back is kept.
    pub(crate) fn set_aside(&self) -> PathBuf {
        self.dir.join("taken-back")
    }

    fn put_back(&self, name: &str, to: &Path, how: How, aside: Option<&Path>) -> Result<(), Error> {
        let from = self.dir.join(name);
        if !from.exists() {
            // It was not there before.
            return match aside {
                Some(aside) if to.exists() && !aside.exists() => {
                    std::fs::rename(to, aside).map_err(Error::file("put aside", to))
                }
                _ => tree::remove(to),
            };
        }
        let beside = to.with_file_name(format!(".back-{name}"));
        tree::remove(&beside)?;
        tree::bring(&from, &beside, how)?;
        match aside {
            // Set aside once: a second run must not take the data it has just put back for the release's.
            Some(aside) if to.exists() && !aside.exists() => {
                std::fs::rename(to, aside).map_err(Error::file("put aside", to))?;
            }
            _ => tree::remove(to)?,
        }
        std::fs::rename(&beside, to).map_err(Error::file("put back", to))
    }

    /// Removes it.
    pub(crate) fn discard(&self) -> Result<(), Error> {
        tree::remove(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use base::{Layout, Slug};

    use super::*;

    fn customer() -> (tempfile::TempDir, CustomerLayout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        let customer = layout.customer(&Slug::parse("eaton").unwrap());
        for folder in [customer.lakehouse(), customer.deployment(), customer.etc().to_owned()] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(customer.plan(), "old plan").unwrap();
        std::fs::write(customer.config(), "old config").unwrap();
        std::fs::write(customer.journal(), "old\n").unwrap();
        std::fs::write(customer.lakehouse().join("table"), vec![1; 100_000]).unwrap();
        (dir, customer)
    }

    #[test]
    fn going_back_restores_every_file_and_keeps_what_the_new_release_wrote() {
        let (_dir, customer) = customer();
        let snapshot = Snapshot::of(customer.clone());
        assert!(!snapshot.is_whole());
        snapshot.take().unwrap();
        assert!(snapshot.is_whole());
        // What a new release does: files are replaced, one is appended to, tables get further files.
        std::fs::write(customer.plan(), "new plan").unwrap();
        std::fs::write(customer.receipt(), "new").unwrap();
        use std::io::Write;
        std::fs::OpenOptions::new().append(true).open(customer.journal()).unwrap().write_all(b"new\n").unwrap();
        std::fs::remove_file(customer.lakehouse().join("table")).unwrap();
        std::fs::write(customer.lakehouse().join("table2"), "new").unwrap();
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        snapshot.restore(false).unwrap();
        assert_eq!((read(customer.plan()), read(customer.journal())), ("old plan".to_owned(), "old\n".to_owned()));
        assert!(!customer.receipt().exists(), "there was none");
        assert!(customer.lakehouse().join("table2").exists(), "the data was not asked for");
        for _ in 0..2 {
            snapshot.restore(true).unwrap();
            assert_eq!(std::fs::metadata(customer.lakehouse().join("table")).unwrap().len(), 100_000);
            assert!(!customer.lakehouse().join("table2").exists());
            assert!(snapshot.set_aside().join("lakehouse/table2").exists(), "nothing is thrown away");
        }
        snapshot.discard().unwrap();
        assert!(!snapshot.is_whole());
    }
}
