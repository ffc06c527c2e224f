use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base::{
    CustomerLayout, Layout,
    file::{self, ReadError},
};

use crate::Error;
use crate::format::{FORMAT, Head};

const HEAD_BYTES_MAX: u64 = 4096;
/// The names of log files: `audit-000001.jsonl`, ….
const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// Where a log is, and what it is called.
#[derive(Clone, Debug)]
pub struct Log {
    pub(crate) name: &'static str,
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) head: PathBuf,
    /// The installation's key, which signs checkpoints once it exists.
    pub(crate) key: Option<PathBuf>,
    /// Another log whose end is noted in this one: its name and head file.
    pub(crate) beside: Option<(&'static str, PathBuf)>,
}

impl Log {
    /// The log of acts that concern the whole installation.
    pub fn host(layout: &Layout) -> Self {
        let (dir, head) = (layout.audit(), layout.audit_head());
        Self { name: "host", id: "host".to_owned(), dir, head, key: None, beside: None }
    }

    /// A customer's log.
    pub fn customer(customer: &CustomerLayout) -> Self {
        Self {
            name: "customer",
            id: format!("customer/{}", customer.slug()),
            dir: customer.audit(),
            head: customer.audit_head(),
            key: Some(customer.report_key()),
            beside: Some(("console", customer.console_audit_head())),
        }
    }

    /// The log a customer's console writes, and nobody else.
    pub fn console(customer: &CustomerLayout) -> Self {
        let (dir, head) = (customer.console_audit(), customer.console_audit_head());
        Self { name: "console", id: format!("console/{}", customer.slug()), dir, head, key: None, beside: None }
    }

    /// The logs that tell of a customer: its own, its console's, the host's.
    pub fn of_customer(layout: &Layout, customer: &CustomerLayout) -> [Self; 3] {
        [Self::customer(customer), Self::console(customer), Self::host(layout)]
    }

    /// Returns what it is called: `host`, `customer` or `console`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns whether anything was ever recorded here.
    pub fn exists(&self) -> bool {
        self.head.exists() || self.numbers().is_ok_and(|numbers| !numbers.is_empty())
    }

    /// Returns the log's files in their order.
    ///
    /// # Errors
    /// [`Error::File`] when the folder cannot be listed.
    pub fn files(&self) -> Result<Vec<PathBuf>, Error> {
        Ok(self.numbers()?.into_iter().map(|number| self.file(number)).collect())
    }

    /// Returns the file that says where the log ends.
    pub fn head_file(&self) -> &Path {
        &self.head
    }

    pub(crate) fn file(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{number:06}{SUFFIX}"))
    }

    /// Returns the numbers of the files that are there, in their order.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>, Error> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::file("list", &self.dir)(source)),
        };
        let number = |name: &str| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok();
        let mut numbers: Vec<u64> = entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).collect();
        numbers.sort_unstable();
        // `audit-1.jsonl` is none of ours, and would count as a second `audit-000001.jsonl`.
        numbers.dedup();
        Ok(numbers)
    }
}

/// What a head file says.
pub(crate) enum HeadFile {
    Absent,
    Says(Head),
    /// It is there and is no head.
    Damaged,
}

/// Reads a head file. It may lie in a folder of a user with fewer rights, so no link is followed.
pub(crate) fn read_head(path: &Path) -> Result<HeadFile, Error> {
    let bytes = match file::read_bounded_nofollow(path, HEAD_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(HeadFile::Absent),
        Err(error @ ReadError::Io { .. }) => return Err(error.into()),
        Err(_) => return Ok(HeadFile::Damaged),
    };
    let head = serde_json::from_slice::<Head>(&bytes).ok().filter(|head| head.format == FORMAT);
    Ok(head.map_or(HeadFile::Damaged, HeadFile::Says))
}
