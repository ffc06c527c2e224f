use std::collections::VecDeque;

use base::{Digest, Timestamp, file};

use crate::format::{Record, decode};
use crate::{Error, Log};

/// Several times what a file grows to here.
pub(crate) const FILE_READ_BYTES_MAX: u64 = 64 << 20;

/// A record, and which log it was in.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// `host`, `customer` or `console`.
    pub log: &'static str,
    pub record: Record,
    pub digest: Digest,
}

/// What was read of some logs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// In the order of time; each log's own order is kept.
    pub records: Vec<Kept>,
    /// Lines that are not what was written. [`crate::verify`] says where.
    pub unreadable: u64,
}

/// Reads one log, from `since` on.
///
/// # Errors
/// [`Error::Read`], [`Error::File`].
pub fn read(log: &Log, since: Option<Timestamp>) -> Result<Reading, Error> {
    let mut reading = Reading::default();
    for path in log.files()? {
        let bytes = file::read_bounded_nofollow(&path, FILE_READ_BYTES_MAX)?;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n").map(decode) {
                Some(Some((record, digest))) if since.is_none_or(|since| record.at >= since) => {
                    reading.records.push(Kept { log: log.name, record, digest });
                }
                Some(Some(_)) => {}
                Some(None) => reading.unreadable += 1,
                // Torn by a crash, or just being written.
                None => {}
            }
        }
    }
    Ok(reading)
}

/// Reads several logs into one story.
///
/// # Errors
/// As [`read`].
pub fn merged(logs: &[Log], since: Option<Timestamp>) -> Result<Reading, Error> {
    let mut all = Reading::default();
    let mut queues: Vec<VecDeque<Kept>> = Vec::new();
    for log in logs {
        let reading = read(log, since)?;
        all.unreadable += reading.unreadable;
        queues.push(reading.records.into());
    }
    // A clock set back must not put a log's records into another order than they were written in: only fronts are compared.
    loop {
        let earliest = queues
            .iter_mut()
            .filter(|queue| !queue.is_empty())
            .min_by_key(|queue| queue.front().map(|kept| kept.record.at));
        match earliest.and_then(VecDeque::pop_front) {
            Some(kept) => all.records.push(kept),
            None => return Ok(all),
        }
    }
}
