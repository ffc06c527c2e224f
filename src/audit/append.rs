use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use base::{
    Clock, Digest, Seed, dsse,
    file::{self, Lock, LockError},
};
use serde_json::Value;

use crate::format::{Act, BEGINNING, CHECKPOINT_TYPE, Entry, FORMAT, Head, Outcome, Record, Seen, Statement, encode};
use crate::log::{HeadFile, read_head};
use crate::tail::{Last, Tail};
use crate::{Error, Log, Who};

/// A record takes milliseconds; a disk that is this slow has other troubles.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_LOOK_EVERY: Duration = Duration::from_millis(5);
/// A file that has reached this many bytes is followed by another: some thirty thousand records.
pub(crate) const FILE_BYTES_MAX: u64 = 8 << 20;
/// A checkpoint is every record whose number this divides.
pub(crate) const CHECKPOINT_EVERY: u64 = 64;

impl Log {
    /// Records an act: when this returns, it is on the disk, and the head file knows it.
    ///
    /// Waits a moment for another process that writes. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::File`], [`Error::Format`]: then the act is perhaps not recorded, and whoever called has to say so.
    pub fn append(&self, entry: Entry, clock: Clock) -> Result<Head, Error> {
        self.append_within(entry, clock, FILE_BYTES_MAX)
    }

    /// As [`Self::append`], with files of another size.
    pub(crate) fn append_within(&self, entry: Entry, clock: Clock, file_bytes_max: u64) -> Result<Head, Error> {
        for dir in [Some(self.dir.as_path()), self.head.parent()].into_iter().flatten() {
            make_dir(dir)?;
        }
        let _lock = self.lock()?;
        let (mut writer, found) = Writer::open(self, clock, file_bytes_max)?;
        for said in found {
            writer.write(said, None)?;
        }
        let head = writer.write(entry, None)?;
        writer.checkpoint()?;
        Ok(head)
    }

    fn lock(&self) -> Result<Lock, Error> {
        let path = self.dir.join("lock");
        let begun = Instant::now();
        loop {
            match Lock::try_acquire(&path, "audit") {
                Ok(lock) => return Ok(lock),
                Err(LockError::Held { .. }) if begun.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_LOOK_EVERY),
                Err(LockError::Held { path, holder }) => return Err(Error::Busy { path, holder }),
                Err(error) => return Err(Error::Lock(error)),
            }
        }
    }
}

/// Makes a folder for its owner alone. One that is there keeps its rights: others may need to look into it.
fn make_dir(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("make folder", path))
}

/// The log, open for the one process that holds its lock.
struct Writer<'a> {
    log: &'a Log,
    clock: Clock,
    file_bytes_max: u64,
    number: u64,
    file: File,
    length: u64,
    next: u64,
    previous: Digest,
}

impl<'a> Writer<'a> {
    /// Finds the end of the log and mends what a crash tore. Returns what was found to be said about it, too.
    fn open(log: &'a Log, clock: Clock, file_bytes_max: u64) -> Result<(Self, Vec<Entry>), Error> {
        let tail = Tail::find(log)?;
        let head = read_head(&log.head)?;
        let (base, damage) = base(&tail.last, &head);
        let is_new = damage.is_some() && tail.last == Last::Unreadable;
        // What cannot be read is left as it was found: it may tell somebody something.
        let number = tail.number + u64::from(is_new);
        let path = log.file(number);
        let is_there = path.exists();
        let options = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let file = options.map_err(Error::file("open", &path))?;
        if !is_there {
            file::sync_dir(&log.dir).map_err(Error::file("sync", &log.dir))?;
        }
        let mut said = Vec::new();
        if let (Some((bytes, digest)), false) = (tail.torn, is_new) {
            file.set_len(tail.length).and_then(|()| file.sync_all()).map_err(Error::file("mend", &path))?;
            let text = format!("{bytes} bytes of an unfinished line were cut off; their digest was {digest}");
            said.push(Entry::new(Who::Log, Act::Mended).object(file_name(&path)).detail(text));
        }
        if let Some(damage) = damage {
            said.push(Entry::new(Who::Log, Act::Damaged).object(log.name).outcome(Outcome::Failed).detail(damage));
        }
        let (next, previous) = match base {
            Some(head) => (head.seq + 1, head.digest),
            None => (0, Digest::from_bytes(BEGINNING)),
        };
        let length = if is_new { 0 } else { tail.length };
        Ok((Self { log, clock, file_bytes_max, number, file, length, next, previous }, said))
    }

    fn write(&mut self, entry: Entry, envelope: Option<Value>) -> Result<Head, Error> {
        let Entry { who, act, object, outcome, detail } = entry;
        let record = Record {
            format: FORMAT,
            seq: self.next,
            at: self.clock.now(),
            who,
            act,
            object,
            outcome,
            detail,
            seen: self.log.beside.as_ref().and_then(|(name, head)| seen(name, head)),
            envelope,
            previous: self.previous,
        };
        let (line, digest) = encode(&record)?;
        let bytes = line.len() as u64 + 1;
        if self.length > 0 && self.length + bytes > self.file_bytes_max {
            self.number += 1;
            let path = self.log.file(self.number);
            let options = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
            self.file = options.map_err(Error::file("make", &path))?;
            file::sync_dir(&self.log.dir).map_err(Error::file("sync", &self.log.dir))?;
            self.length = 0;
        }
        let path = self.log.file(self.number);
        file::append_line_synced(&mut self.file, &line).map_err(Error::file("append to", &path))?;
        let head = Head::new(self.next, digest);
        (self.length, self.next, self.previous) = (self.length + bytes, self.next + 1, digest);
        // The log first, then its head: a crash in between leaves a head that is behind, never one that is ahead.
        let bytes = serde_json::to_vec(&head).map_err(Error::Json)?;
        file::write_atomic(&self.log.head, &bytes, 0o600).map_err(Error::file("write", &self.log.head))?;
        Ok(head)
    }

    /// Signs the records so far, when it is time and there is a key.
    fn checkpoint(&mut self) -> Result<(), Error> {
        if !self.next.is_multiple_of(CHECKPOINT_EVERY) {
            return Ok(());
        }
        let Some(seed) = self.log.key.as_ref().and_then(|key| Seed::read(key).ok()) else { return Ok(()) };
        let key = dsse::PrivateKey::of(&seed);
        let seq = self.next - 1;
        let statement = Statement { format: FORMAT, log: self.log.id.clone(), seq, digest: self.previous };
        let payload = serde_json::to_vec(&statement).map_err(Error::Json)?;
        let envelope = key.seal(CHECKPOINT_TYPE, &payload).map_err(Error::Json)?;
        let envelope = serde_json::from_slice(&envelope).map_err(Error::Json)?;
        let entry = Entry::new(Who::Log, Act::Checkpoint).object(format!("records 0 to {seq}"));
        self.write(entry.detail(format!("signed by key {}", key.public().id())), Some(envelope)).map(drop)
    }
}

/// Returns what the next record follows, and what has to be said about it.
///
/// Where records are missing, their numbers are left out: the gap stays to be seen.
fn base(last: &Last, head: &HeadFile) -> (Option<Head>, Option<String>) {
    match (last, head) {
        (Last::None, HeadFile::Absent) => (None, None),
        (Last::None, HeadFile::Says(head)) => {
            (Some(*head), Some(format!("the log's files are gone; record {} was the last", head.seq)))
        }
        (Last::Is(last), HeadFile::Says(head)) if head.seq > last.seq => {
            let text = format!("records {} to {} are missing at the end", last.seq + 1, head.seq);
            (Some(*head), Some(text))
        }
        (Last::Is(last), HeadFile::Says(head)) if head.seq == last.seq && head.digest != last.digest => {
            (Some(*head), Some(format!("record {} is another one than was written", last.seq)))
        }
        (Last::Is(last), HeadFile::Says(_)) => (Some(*last), None),
        // Killed before the first head was ever written.
        (Last::Is(last), HeadFile::Absent) if last.seq == 0 => (Some(*last), None),
        (Last::Is(last), _) => (Some(*last), Some("the head file is gone, or damaged".to_owned())),
        (Last::Unreadable, HeadFile::Says(head)) => (Some(*head), Some("the last line cannot be read".to_owned())),
        (Last::Unreadable, _) => (None, Some("the last line and the head file cannot be read".to_owned())),
        (Last::None, HeadFile::Damaged) => {
            (None, Some("the log's files are gone, and the head file is damaged".to_owned()))
        }
    }
}

fn seen(name: &str, head: &Path) -> Option<Seen> {
    // A log beside that cannot be read is a matter for `verify`; it keeps nobody from writing this one.
    match read_head(head) {
        Ok(HeadFile::Says(head)) => Some(Seen { log: name.to_owned(), seq: head.seq, digest: head.digest }),
        _ => None,
    }
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
