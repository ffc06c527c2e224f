//! The end of a log, as it lies on the disk.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use base::{Digest, file};

use crate::format::{Head, LINE_BYTES_MAX, decode, other_format};
use crate::{Error, Log};

/// Where the next line goes, and what it follows.
#[derive(Debug)]
pub(crate) struct Tail {
    /// The file that is written to.
    pub(crate) number: u64,
    /// Bytes of whole lines in it.
    pub(crate) length: u64,
    /// Bytes behind them: a line that was never finished.
    pub(crate) torn: Option<(u64, Digest)>,
    pub(crate) last: Last,
}

/// The last whole line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// There is none.
    None,
    Is(Head),
    /// There is one, and it is not what was written.
    Unreadable,
}

/// The end of a file.
struct End {
    length: u64,
    torn: Option<(u64, Digest)>,
    last: Last,
}

impl Tail {
    pub(crate) fn find(log: &Log) -> Result<Self, Error> {
        let numbers = log.numbers()?;
        let Some((&number, earlier)) = numbers.split_last() else {
            return Ok(Self { number: 1, length: 0, torn: None, last: Last::None });
        };
        let End { length, torn, mut last } = end(log, number)?;
        // A file that was made for a line that never came: what the line follows stands in the one before.
        if let (Last::None, Some(&before)) = (&last, earlier.last()) {
            last = match end(log, before)? {
                End { torn: None, last, .. } => last,
                End { .. } => Last::Unreadable,
            };
        }
        Ok(Self { number, length, torn, last })
    }
}

fn end(log: &Log, number: u64) -> Result<End, Error> {
    let path = log.file(number);
    let mut file = file::open_regular_nofollow(&path)?;
    let read = |file: &mut File| -> std::io::Result<(u64, Vec<u8>)> {
        let size = file.metadata()?.len();
        // Two lines: the last whole one, and what may be torn behind it.
        let from = size.saturating_sub(2 * (LINE_BYTES_MAX as u64 + 1));
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(size - from).read_to_end(&mut bytes)?;
        Ok((from, bytes))
    };
    let (from, bytes) = read(&mut file).map_err(Error::file("read", &path))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = (whole < bytes.len()).then(|| ((bytes.len() - whole) as u64, Digest::of(&bytes[whole..])));
    if whole == 0 && from > 0 {
        // So much without an end of a line was never written here.
        return Ok(End { length: from + bytes.len() as u64, torn: None, last: Last::Unreadable });
    }
    let line =
        bytes[..whole].strip_suffix(b"\n").map(|lines| lines.rsplit(|byte| *byte == b'\n').next().unwrap_or(lines));
    let last = match line {
        None => Last::None,
        Some(line) => match (decode(line), other_format(line)) {
            (Some((record, digest)), _) => Last::Is(Head::new(record.seq, digest)),
            (None, Some(found)) => return Err(Error::Format { path, found, known: crate::FORMAT }),
            (None, None) => Last::Unreadable,
        },
    };
    Ok(End { length: from + whole as u64, torn, last })
}
