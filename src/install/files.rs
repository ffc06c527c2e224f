use std::path::Path;
use std::time::{Duration, Instant};

use base::file::{self, Lock, LockError, ReadError};
use base::{CustomerLayout, Layout};
use plan::journal::{self, Journal};
use plan::{Plan, Receipt, SlotTable};

use crate::Error;
use crate::journal_file::JOURNAL_BYTES_MAX;

const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads the plan on disk; `None` when there is none.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn read_plan(layout: &CustomerLayout) -> Result<Option<Plan>, Error> {
    read(&layout.plan(), FILE_BYTES_MAX, Plan::from_json)
}

/// Reads the receipt; `None` when nothing is installed.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn read_receipt(layout: &CustomerLayout) -> Result<Option<Receipt>, Error> {
    read(&layout.receipt(), FILE_BYTES_MAX, Receipt::from_json)
}

/// Reads the journal without changing it; `None` when there is none.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn read_journal(layout: &CustomerLayout) -> Result<Option<Journal>, Error> {
    read(&layout.journal(), JOURNAL_BYTES_MAX, journal::read)
}

/// Reads who has which ports; an installation without customers has an empty table.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn read_slots(layout: &Layout) -> Result<SlotTable, Error> {
    read(&layout.slots_file(), FILE_BYTES_MAX, SlotTable::from_json).map(Option::unwrap_or_default)
}

fn read<T>(
    path: &Path,
    bytes_max: u64,
    parse: impl FnOnce(&[u8]) -> Result<T, plan::Error>,
) -> Result<Option<T>, Error> {
    match bytes_if_any(path, bytes_max)? {
        Some(bytes) => parse(&bytes).map(Some).map_err(|source| Error::Format { path: path.to_owned(), source }),
        None => Ok(None),
    }
}

/// A shared table is held for the time of one small write.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Takes a lock that others hold for moments only.
pub(crate) async fn brief_lock(path: &Path, what: &str) -> Result<Lock, Error> {
    let begun = Instant::now();
    loop {
        match Lock::try_acquire(path, what) {
            Ok(held) => return Ok(held),
            Err(LockError::Held { .. }) if begun.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(Error::Lock(error)),
        }
    }
}

/// Reads a file of ours; `None` when there is none.
pub(crate) fn bytes_if_any(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
    match file::read_bounded(path, bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path: path.to_owned(), source: source.into() }),
    }
}
