//! The journal's lines and what they add up to.
//!
//! A journal is a text file that only grows. Each line is one JSON object that begins with the format and a digest over
//! the previous line's digest and the rest of this line:
//!
//! ```text
//! {"format":1,"chain":"<64 hex digits>","seq":0,"at":1763812800000,"epoch":1,"event":"opened","plan":"sha256:…"}
//! ```
//!
//! A line that a crash tore can only be the last one; it is cut off. A damaged line before the last is an error: somebody
//! or something else wrote there. State is a fold over the lines; a step found `started` is probed, never believed.

use std::collections::BTreeMap;

use base::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, StepId};

/// The version of the format this program writes and reads.
pub const FORMAT: u32 = 1;

/// What a step left behind, for people and for the receipt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(pub Map<String, Value>);

impl Evidence {
    /// Returns the evidence with one more fact.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Returns the text under `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Returns the number under `name`.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The execution of a plan began. Another plan than before begins a new epoch: every step is probed anew.
    Opened {
        /// Which plan.
        plan: Digest,
    },
    /// A step is about to have effects.
    Started {
        /// Which.
        step: StepId,
    },
    /// A step was applied and verified, or found to hold already.
    Finished {
        /// Which.
        step: StepId,
        /// What it left.
        evidence: Evidence,
    },
    /// A step gave up.
    Failed {
        /// Which.
        step: StepId,
        /// Why, for people.
        cause: String,
    },
    /// The receipt is written.
    Closed {
        /// [`crate::Receipt::digest`].
        receipt: Digest,
    },
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Counted from 0 without a gap.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// Counted from 1; grows with every other plan.
    pub epoch: u32,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// How far a step is.
#[derive(Clone, Debug, PartialEq)]
pub enum StepState {
    /// Perhaps it has had effects.
    Started,
    /// It held when this was written.
    Finished(Evidence),
    /// It gave up.
    Failed(String),
}

/// What the lines of a journal add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    epoch: u32,
    plan: Option<Digest>,
    opened_at: Option<Timestamp>,
    steps: BTreeMap<StepId, StepState>,
    receipt: Option<Digest>,
    next_seq: u64,
    chain: String,
}

impl Default for State {
    fn default() -> Self {
        Self {
            epoch: 0,
            plan: None,
            opened_at: None,
            steps: BTreeMap::new(),
            receipt: None,
            next_seq: 0,
            chain: "0".repeat(CHAIN_LENGTH),
        }
    }
}

const CHAIN_LENGTH: usize = 64;
const HEAD: &str = "{\"format\":1,\"chain\":\"";
const NECK: &str = "\",";

/// What [`read`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// The sum of the lines.
    pub state: State,
    /// Every whole line.
    pub records: Vec<Record>,
    /// Length of the whole lines; what stands behind it was torn and is to be cut off before the next line.
    pub length: usize,
}

/// Reads a journal's bytes.
///
/// # Errors
/// [`Error::JournalDamaged`] for a bad line before the last, [`Error::FormatUnknown`] for lines of another version.
pub fn read(bytes: &[u8]) -> Result<Journal, Error> {
    let mut journal = Journal { state: State::default(), records: Vec::new(), length: 0 };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let is_last = lines.peek().is_none();
        match line.strip_suffix(b"\n").and_then(|line| journal.state.parse(line)) {
            Some((record, chain)) => {
                journal.state.take(&record, chain);
                journal.records.push(record);
                journal.length += line.len();
            }
            None if other_format(line).is_some() => {
                let found = other_format(line).unwrap_or_default();
                return Err(Error::FormatUnknown { what: "journal", found, known: FORMAT });
            }
            None if is_last => break,
            None => return Err(Error::JournalDamaged { line: index + 1 }),
        }
    }
    Ok(journal)
}

fn other_format(line: &[u8]) -> Option<u32> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let format = u32::try_from(value.get("format")?.as_u64()?).ok()?;
    (format != FORMAT).then_some(format)
}

impl State {
    /// Returns the plan being, or last, executed.
    pub fn plan(&self) -> Option<Digest> {
        self.plan
    }

    /// Returns when the present plan's execution first began.
    pub fn opened_at(&self) -> Option<Timestamp> {
        self.opened_at
    }

    /// Returns the receipt's digest, when the plan was executed to its end.
    pub fn receipt(&self) -> Option<Digest> {
        self.receipt
    }

    /// Returns how far a step of the present plan is; `None` when it was never begun.
    pub fn step(&self, id: StepId) -> Option<&StepState> {
        self.steps.get(&id)
    }

    /// Returns the evidence of a finished step.
    pub fn evidence(&self, id: StepId) -> Option<&Evidence> {
        match self.steps.get(&id) {
            Some(StepState::Finished(evidence)) => Some(evidence),
            _ => None,
        }
    }

    /// Takes the next event in, and returns the line (without its newline) that must be on disk before anything follows
    /// from it.
    ///
    /// # Errors
    /// [`Error::Unwritable`], and then the state is unchanged.
    pub fn append(&mut self, at: Timestamp, event: Event) -> Result<String, Error> {
        let epoch = match &event {
            Event::Opened { plan } if self.plan != Some(*plan) => self.epoch + 1,
            _ => self.epoch,
        };
        let record = Record { seq: self.next_seq, at, epoch, event };
        let json = serde_json::to_string(&record)
            .map_err(|source| Error::Unwritable { what: "journal", source: source.into() })?;
        let rest = &json[1..];
        let chain = self.link(rest);
        let line = format!("{HEAD}{chain}{NECK}{rest}");
        self.take(&record, chain);
        Ok(line)
    }

    fn link(&self, rest: &str) -> String {
        Digest::of(format!("{}{rest}", self.chain).as_bytes()).hex()
    }

    /// Returns the record in `line` and its chain, if it is whole and the next one.
    fn parse(&self, line: &[u8]) -> Option<(Record, String)> {
        let tail = std::str::from_utf8(line).ok()?.strip_prefix(HEAD)?;
        let (chain, rest) = tail.split_at_checked(CHAIN_LENGTH)?;
        let rest = rest.strip_prefix(NECK)?;
        if self.link(rest) != chain {
            return None;
        }
        let record: Record = serde_json::from_str(&format!("{{{rest}")).ok()?;
        (record.seq == self.next_seq).then(|| (record, chain.to_owned()))
    }

    fn take(&mut self, record: &Record, chain: String) {
        self.chain = chain;
        self.next_seq = record.seq + 1;
        match &record.event {
            Event::Opened { plan } => {
                if self.plan != Some(*plan) {
                    self.epoch = record.epoch;
                    self.plan = Some(*plan);
                    self.opened_at = Some(record.at);
                    self.steps.clear();
                    self.receipt = None;
                }
            }
            Event::Started { step } => {
                self.steps.insert(*step, StepState::Started);
                self.receipt = None;
            }
            Event::Finished { step, evidence } => {
                self.steps.insert(*step, StepState::Finished(evidence.clone()));
            }
            Event::Failed { step, cause } => {
                self.steps.insert(*step, StepState::Failed(cause.clone()));
            }
            Event::Closed { receipt } => self.receipt = Some(*receipt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: i64) -> Timestamp {
        Timestamp::from_millis(number)
    }

    fn events() -> Vec<Event> {
        let evidence = Evidence::default().with("loss", 1.234_567_890_123_456_7).with("text", "ä\n\"");
        vec![
            Event::Opened { plan: Digest::of(b"plan") },
            Event::Started { step: StepId::Folders },
            Event::Finished { step: StepId::Folders, evidence: Evidence::default() },
            Event::Started { step: StepId::Ingest },
            Event::Failed { step: StepId::Ingest, cause: "role `lake` does not answer".to_owned() },
            Event::Started { step: StepId::Ingest },
            Event::Finished { step: StepId::Ingest, evidence },
            Event::Closed { receipt: Digest::of(b"receipt") },
        ]
    }

    fn written() -> (String, Vec<State>) {
        let (mut text, mut state, mut states) = (String::new(), State::default(), Vec::new());
        for (number, event) in (0..).zip(events()) {
            text += &state.append(at(number), event).unwrap();
            text.push('\n');
            states.push(state.clone());
        }
        (text, states)
    }

    #[test]
    fn any_cut_reads_as_the_whole_lines_before_it() {
        let (text, states) = written();
        for cut in 0..=text.len() {
            let kept = &text.as_bytes()[..cut];
            let journal = read(kept).unwrap();
            let whole = kept.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(journal.records.len(), whole);
            assert_eq!(journal.length, kept.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
            let expect = whole.checked_sub(1).map_or_else(State::default, |last| states[last].clone());
            assert_eq!(journal.state, expect, "cut at byte {cut}");
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let (text, states) = written();
        let last_line = text[..text.len() - 1].rfind('\n').unwrap() + 1;
        for position in (0..text.len()).step_by(7) {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 0x15;
            match read(&bytes) {
                Ok(journal) => {
                    assert!(position >= last_line, "byte {position} went unnoticed");
                    assert_eq!(journal.state, states[states.len() - 2]);
                }
                Err(Error::JournalDamaged { .. } | Error::FormatUnknown { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn a_removed_line_is_noticed() {
        let (text, _) = written();
        let without: String =
            text.split_inclusive('\n').enumerate().filter(|(index, _)| *index != 2).map(|(_, line)| line).collect();
        assert!(matches!(read(without.as_bytes()), Err(Error::JournalDamaged { line: 3 })));
    }

    #[test]
    fn another_plan_begins_a_new_epoch() {
        let (_, states) = written();
        let mut state = states.last().unwrap().clone();
        state.append(at(100), Event::Opened { plan: Digest::of(b"plan") }).unwrap();
        assert!(state.step(StepId::Ingest).is_some() && state.opened_at() == Some(at(0)), "the same plan goes on");
        state.append(at(200), Event::Opened { plan: Digest::of(b"other") }).unwrap();
        assert_eq!((state.step(StepId::Ingest), state.receipt(), state.opened_at()), (None, None, Some(at(200))));
    }

    #[test]
    fn another_format_is_named() {
        assert!(matches!(read(b"{\"format\":2}\n"), Err(Error::FormatUnknown { found: 2, .. })));
    }
}
