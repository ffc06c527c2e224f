use std::collections::BTreeMap;

use base::{
    CustomerLayout, Digest, Layout, Seed, Timestamp,
    dsse::{self, PublicKey},
    file::{self, ReadError},
};
use serde::Serialize;

use crate::append::file_name;
use crate::format::{
    Act, BEGINNING, CHECKPOINT_TYPE, FORMAT, Head, LINE_BYTES_MAX, Record, Statement, decode, other_format,
};
use crate::log::{HeadFile, read_head};
use crate::read::FILE_READ_BYTES_MAX;
use crate::{Error, Log};

/// A log beyond this many breaks is not worth a longer list.
const BREAKS_MAX: usize = 20;

/// What became of checking a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `host`, `customer` or `console`.
    pub log: &'static str,
    /// Records that hold.
    pub records: u64,
    /// The end of the log: worth noting elsewhere.
    pub head: Option<Head>,
    /// Where it does not hold, from the beginning on; empty when it is whole.
    pub breaks: Vec<Break>,
    /// Lines that crashes tore, and that were mended.
    pub mended: u64,
    /// Whether the last line is unfinished: a crash just now, which the next record mends.
    pub is_torn: bool,
    /// Checkpoints whose signature holds, by the keys that were given.
    pub signed: u64,
    /// Checkpoints by keys nobody gave.
    pub signed_by_others: u64,
    /// What records of this log say about another one, by its numbers.
    #[serde(skip)]
    pub seen: BTreeMap<u64, Digest>,
}

/// A place where a log does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Absent when it concerns the log as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The last record before it that holds.
    pub intact_to: Option<u64>,
    /// When that one was written.
    pub intact_until: Option<Timestamp>,
    /// For people.
    pub why: String,
}

impl Verdict {
    /// Returns whether everything holds.
    pub fn is_intact(&self) -> bool {
        self.breaks.is_empty()
    }
}

/// Checks a log from its first record to its head.
///
/// `noted` are records that were written down elsewhere: by their number, their digest. `keys` are those whose checkpoints count.
/// Nothing is changed, and nothing is waited for: a record that is just being written may pass for a torn line.
///
/// # Errors
/// [`Error::Read`], [`Error::File`], and [`Error::Format`] for a log of a newer program.
pub fn verify(log: &Log, noted: &BTreeMap<u64, Digest>, keys: &[PublicKey]) -> Result<Verdict, Error> {
    // Before the log: whoever writes meanwhile makes the log longer, and the head is then merely behind.
    let head = read_head(&log.head)?;
    let mut check = Check::new(log, &head, noted, keys);
    let numbers = log.numbers()?;
    for (index, number) in numbers.iter().enumerate() {
        check.file(*number, index + 1 == numbers.len())?;
    }
    Ok(check.end(&head))
}

/// Checks every log that tells of a customer, each by what the others saw of it. The installation's own key counts, beside `keys`;
/// `noted` is about the customer's log.
///
/// # Errors
/// As [`verify`].
pub fn verify_customer(
    layout: &Layout,
    customer: &CustomerLayout,
    noted: &BTreeMap<u64, Digest>,
    mut keys: Vec<PublicKey>,
) -> Result<Vec<Verdict>, Error> {
    keys.extend(Seed::read(&customer.report_key()).ok().map(|seed| dsse::PrivateKey::of(&seed).public()));
    let own = verify(&Log::customer(customer), noted, &keys)?;
    let console = verify(&Log::console(customer), &own.seen, &keys)?;
    let host = verify(&Log::host(layout), &BTreeMap::new(), &keys)?;
    Ok(vec![own, console, host])
}

struct Check<'a> {
    log: &'a Log,
    /// What must be under a number, and who says so.
    wanted: BTreeMap<u64, (Digest, &'static str)>,
    keys: &'a [PublicKey],
    verdict: Verdict,
    next: u64,
    /// Absent behind a line that cannot be read: what follows it is believed again.
    previous: Option<Digest>,
    last_at: Option<Timestamp>,
}

impl<'a> Check<'a> {
    fn new(log: &'a Log, head: &HeadFile, noted: &BTreeMap<u64, Digest>, keys: &'a [PublicKey]) -> Self {
        let mut wanted: BTreeMap<_, _> =
            noted.iter().map(|(seq, digest)| (*seq, (*digest, "somebody noted elsewhere"))).collect();
        if let HeadFile::Says(head) = head {
            wanted.entry(head.seq).or_insert((head.digest, "the head file names"));
        }
        let verdict = Verdict {
            log: log.name,
            records: 0,
            head: None,
            breaks: Vec::new(),
            mended: 0,
            is_torn: false,
            signed: 0,
            signed_by_others: 0,
            seen: BTreeMap::new(),
        };
        let previous = Some(Digest::from_bytes(BEGINNING));
        Self { log, wanted, keys, verdict, next: 0, previous, last_at: None }
    }

    fn broken(&mut self, place: Option<(&str, u64)>, why: String) {
        if self.verdict.breaks.len() < BREAKS_MAX {
            let (file, line) = place.map(|(file, line)| (file.to_owned(), line)).unzip();
            let intact_to = self.verdict.head.map(|head| head.seq);
            self.verdict.breaks.push(Break { file, line, intact_to, intact_until: self.last_at, why });
        }
    }

    fn file(&mut self, number: u64, is_last: bool) -> Result<(), Error> {
        let path = self.log.file(number);
        let name = file_name(&path);
        let bytes = match file::read_bounded_nofollow(&path, FILE_READ_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error @ ReadError::Io { .. }) => return Err(error.into()),
            Err(error) => {
                self.broken(Some((&name, 1)), format!("no file of a log: {error}"));
                self.previous = None;
                return Ok(());
            }
        };
        let mut lines = (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')).peekable();
        while let Some((number, line)) = lines.next() {
            let whole = line.strip_suffix(b"\n");
            match whole.and_then(decode) {
                Some((record, digest)) => self.record((&name, number), &record, digest),
                None if whole.is_none() && is_last && lines.peek().is_none() && line.len() <= LINE_BYTES_MAX => {
                    self.verdict.is_torn = true;
                }
                None => match other_format(line) {
                    Some(found) => return Err(Error::Format { path, found, known: FORMAT }),
                    None => {
                        self.broken(Some((&name, number)), "the line is not what was written there".to_owned());
                        (self.previous, self.next) = (None, self.next + 1);
                    }
                },
            }
        }
        Ok(())
    }

    fn record(&mut self, place: (&str, u64), record: &Record, digest: Digest) {
        let Record { seq, act, .. } = record;
        let is_continued = *seq == self.next && self.previous.is_none_or(|previous| previous == record.previous);
        let missing = if seq.saturating_sub(self.next) == 1 {
            format!("record {} is missing", self.next)
        } else {
            format!("records {} to {} are missing", self.next, seq.saturating_sub(1))
        };
        let why = match act {
            _ if *seq > self.next => Some(missing),
            _ if *seq < self.next => Some(format!("record {seq} stands where record {} belongs", self.next)),
            _ if !is_continued => {
                Some(format!("record {seq} does not follow the one before it: that one was replaced"))
            }
            Act::Damaged => Some(format!("record {seq} says: {}", record.detail)),
            _ => None,
        };
        if let Some(why) = why {
            self.broken(Some(place), why);
        }
        if let Some((expected, who)) = self.wanted.remove(seq)
            && expected != digest
        {
            self.broken(Some(place), format!("record {seq} is another one than {who}"));
        }
        match (act, &record.envelope) {
            (Act::Mended, _) => self.verdict.mended += 1,
            (Act::Checkpoint, Some(envelope)) => self.checkpoint(place, record, envelope),
            (Act::Checkpoint, None) => self.broken(Some(place), format!("checkpoint {seq} has no signature")),
            _ => {}
        }
        if let Some(seen) = &record.seen {
            self.verdict.seen.insert(seen.seq, seen.digest);
        }
        self.verdict.records += 1;
        self.verdict.head = Some(Head::new(*seq, digest));
        (self.next, self.previous, self.last_at) = (seq + 1, Some(digest), Some(record.at));
    }

    fn checkpoint(&mut self, place: (&str, u64), record: &Record, envelope: &serde_json::Value) {
        let seq = record.seq;
        let bytes = envelope.to_string();
        let known = |id: &str| self.keys.iter().find(|key| key.id() == id).map(|key| (key, ()));
        let opened = dsse::open(bytes.as_bytes(), CHECKPOINT_TYPE, LINE_BYTES_MAX as u64, known);
        let expected =
            Statement { format: FORMAT, log: self.log.id.clone(), seq: seq.wrapping_sub(1), digest: record.previous };
        match opened {
            Ok(opened) if serde_json::from_slice::<Statement>(&opened.payload).is_ok_and(|said| said == expected) => {
                self.verdict.signed += 1;
            }
            Err(dsse::Error::UntrustedKey { .. }) => self.verdict.signed_by_others += 1,
            Ok(_) => self.broken(Some(place), format!("checkpoint {seq} signs something else")),
            Err(error) => self.broken(Some(place), format!("checkpoint {seq} does not hold: {error}")),
        }
    }

    fn end(mut self, head: &HeadFile) -> Verdict {
        match head {
            HeadFile::Absent if self.verdict.records > 1 => {
                self.broken(None, "its head file is gone, so nobody can say where it ended".to_owned());
            }
            HeadFile::Damaged => self.broken(None, "its head file is damaged".to_owned()),
            _ => {}
        }
        // Wanted, and never met: behind the end.
        if let Some((last, (_, who))) = self.wanted.pop_last() {
            let why = match last.saturating_sub(self.next) {
                0 => format!("record {last}, which {who}, is missing"),
                _ => format!("records {} to {last} are missing: the last {who}", self.next),
            };
            self.broken(None, why);
        }
        self.verdict
    }
}
