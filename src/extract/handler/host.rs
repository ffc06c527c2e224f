//! The host functions: the only things a handler reaches besides its own values.
//!
//! Those that take an `offset` read the file and count what they read; those that take `data` work on bytes a handler already
//! has. None of them reaches anything but the file's bytes and the output.

mod arguments;
mod parts;

use monty_types::{ExcType, MontyException, MontyObject};
use num_bigint::BigInt;

use arguments::{Arguments, Mistake};

use super::coverage::Bits;
use super::decimal;
use super::limits::HandlerLimits;
use super::output::{EmitError, Output};
use super::refusal::Refusal;
use super::run::{Figures, Run};
use super::unpack::{Format, Value, integer};
use crate::code_page::CodePage;

/// Every host function and its parameters. The contract in `bundles/handlers/contract.md` explains them.
pub(super) const FUNCTIONS: [(&str, &[&str]); 17] = [
    ("text", &["offset", "length", "codepage"]),
    ("line", &["offset", "codepage"]),
    ("unpack", &["format", "offset"]),
    ("integer", &["offset", "length", "order", "signed"]),
    ("packed", &["offset", "length", "scale"]),
    ("zoned", &["offset", "length", "scale", "codepage"]),
    ("skip", &["offset", "length"]),
    ("read", &["offset", "length"]),
    ("find", &["pattern", "offset"]),
    ("xml_events", &["offset", "length"]),
    ("unzip", &["offset", "length"]),
    ("decode", &["data", "codepage"]),
    ("unpack_data", &["format", "data", "offset"]),
    ("packed_data", &["data", "scale"]),
    ("xml_events_data", &["data"]),
    ("emit", &["record", "table"]),
    ("emit_text", &["text"]),
];

/// More digits after the point than any amount has.
const MAX_SCALE: usize = 18;
/// A decimal of a mainframe has at most 31 digits.
const MAX_DECIMAL_BYTES: usize = 40;
/// What is searched for is a mark.
const MAX_PATTERN_BYTES: usize = 1_024;

/// What one run reads from and writes to.
pub(super) struct Host<'a> {
    file: &'a [u8],
    limits: &'a HandlerLimits,
    explained: Bits,
    skipped: Bits,
    peeked: Bits,
    output: Output,
    calls: u64,
    unpacked_left: u64,
}

/// What a call comes to.
pub(super) enum Answer {
    Value(MontyObject),
    /// Raised in the handler, which may catch it.
    Raise(MontyException),
    /// The end of the run.
    Refuse(Refusal),
}

/// Why a host function gives no value.
enum Trouble {
    Mistake(Mistake),
    Limit(Refusal),
}

impl From<Mistake> for Trouble {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake)
    }
}

impl From<EmitError> for Trouble {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::Mistake(text) => Self::Mistake(Mistake::Value(text)),
            EmitError::Limit(refusal) => Self::Limit(refusal),
        }
    }
}

impl<'a> Host<'a> {
    pub fn new(file: &'a [u8], limits: &'a HandlerLimits) -> Self {
        Self {
            file,
            limits,
            explained: Bits::new(file.len()),
            skipped: Bits::new(file.len()),
            peeked: Bits::new(file.len()),
            output: Output::default(),
            calls: 0,
            unpacked_left: limits.max_unpacked_bytes,
        }
    }

    /// Answers one call of a handler.
    pub fn call(&mut self, name: &str, positional: Vec<MontyObject>, named: Vec<(MontyObject, MontyObject)>) -> Answer {
        self.calls += 1;
        if self.calls > self.limits.max_calls {
            return Answer::Refuse(Refusal::Calls { limit: self.limits.max_calls });
        }
        let Some((name, parameters)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            return Answer::Refuse(Refusal::Forbidden { what: name.chars().take(60).collect() });
        };
        let answer = Arguments::new(name, parameters, positional, named)
            .map_err(Trouble::from)
            .and_then(|arguments| self.perform(name, arguments));
        match answer {
            Ok(value) => Answer::Value(value),
            Err(Trouble::Limit(refusal)) => Answer::Refuse(refusal),
            Err(Trouble::Mistake(mistake)) => {
                let (kind, text) = match mistake {
                    Mistake::Type(text) => (ExcType::TypeError, text),
                    Mistake::Value(text) => (ExcType::ValueError, text),
                    Mistake::Index(text) => (ExcType::IndexError, text),
                };
                Answer::Raise(MontyException::new(kind, Some(text)))
            }
        }
    }

    fn perform(&mut self, name: &str, mut arguments: Arguments) -> Result<MontyObject, Trouble> {
        match name {
            "text" => {
                let (start, end) = self.range(&mut arguments)?;
                let page = page(arguments.text(2)?)?;
                self.explained.add(start, end);
                Ok(MontyObject::String(page.decode(&self.file[start..end])))
            }
            "line" => self.line(&mut arguments),
            "unpack" => {
                let format = Format::parse(&arguments.text(0)?).map_err(Mistake::Value)?;
                let start = arguments.count(1)?;
                let end = self.end(start, format.size())?;
                self.explained.add(start, end);
                let skipped = &mut self.skipped;
                let values = format.read(&self.file[start..end], |at| skipped.add(start + at, start + at + 1));
                Ok(tuple(values))
            }
            "integer" => {
                let (start, end) = self.range(&mut arguments)?;
                let order = arguments.optional_text(2)?.unwrap_or_else(|| "big".to_owned());
                let is_little = match order.as_str() {
                    "little" => true,
                    "big" => false,
                    _ => return Err(Mistake::Value("integer(): `order` is `big` or `little`".into()).into()),
                };
                if !(1..=8).contains(&(end - start)) {
                    return Err(Mistake::Value("integer(): `length` is 1 to 8".into()).into());
                }
                let is_signed = arguments.flag(3)?;
                self.explained.add(start, end);
                Ok(object(Value::Int(integer(&self.file[start..end], is_little, is_signed))))
            }
            "packed" => {
                let (start, end) = self.range(&mut arguments)?;
                let scale = scale(&mut arguments, 2)?;
                let number = number(&self.file[start..end], |bytes| decimal::packed(bytes, scale))?;
                self.explained.add(start, end);
                Ok(number)
            }
            "zoned" => {
                let (start, end) = self.range(&mut arguments)?;
                let scale = scale(&mut arguments, 2)?;
                let page = arguments.optional_text(3)?.map(page).transpose()?;
                let is_ebcdic = page.is_none_or(CodePage::is_ebcdic);
                let number = number(&self.file[start..end], |bytes| decimal::zoned(bytes, scale, is_ebcdic))?;
                self.explained.add(start, end);
                Ok(number)
            }
            "skip" => {
                let (start, end) = self.range(&mut arguments)?;
                self.skipped.add(start, end);
                Ok(MontyObject::None)
            }
            "read" => {
                let (start, end) = self.range(&mut arguments)?;
                self.peeked.add(start, end);
                Ok(MontyObject::Bytes(self.file[start..end].to_vec()))
            }
            "find" => {
                let (pattern, start) = (arguments.bytes(0)?, arguments.optional_count(1)?.unwrap_or(0));
                if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES {
                    let text = format!("find(): `pattern` has 1 to {MAX_PATTERN_BYTES} bytes");
                    return Err(Mistake::Value(text).into());
                }
                let found = self.file.get(start..).and_then(|rest| memchr::memmem::find(rest, &pattern));
                Ok(MontyObject::Int(found.map_or(-1, |at| to_i64(start + at))))
            }
            "xml_events" => {
                let (start, end) = self.range(&mut arguments)?;
                self.explained.add(start, end);
                parts::xml_events(&self.file[start..end]).map_err(|text| Mistake::Value(text).into())
            }
            "unzip" => {
                let (start, end) = self.range(&mut arguments)?;
                self.explained.add(start, end);
                match parts::unzip(&self.file[start..end], &mut self.unpacked_left) {
                    Ok(members) => Ok(members),
                    Err(parts::UnzipError::Damaged(text)) => Err(Mistake::Value(text).into()),
                    Err(parts::UnzipError::TooMuch) => {
                        let what = "unpacked bytes".to_owned();
                        Err(Trouble::Limit(Refusal::Output { what, limit: self.limits.max_unpacked_bytes }))
                    }
                }
            }
            "decode" => {
                let (data, page) = (arguments.bytes(0)?, page(arguments.text(1)?)?);
                Ok(MontyObject::String(page.decode(&data)))
            }
            "unpack_data" => {
                let format = Format::parse(&arguments.text(0)?).map_err(Mistake::Value)?;
                let (data, start) = (arguments.bytes(1)?, arguments.optional_count(2)?.unwrap_or(0));
                let end = start.checked_add(format.size()).filter(|end| *end <= data.len());
                let end = end.ok_or_else(|| beyond(start, format.size(), data.len(), "data"))?;
                Ok(tuple(format.read(&data[start..end], |_| ())))
            }
            "packed_data" => {
                let (data, scale) = (arguments.bytes(0)?, scale(&mut arguments, 1)?);
                Ok(number(&data, |bytes| decimal::packed(bytes, scale))?)
            }
            "xml_events_data" => parts::xml_events(&arguments.bytes(0)?).map_err(|text| Mistake::Value(text).into()),
            "emit" => {
                let cells = arguments.record(0)?;
                let table = arguments.optional_text(1)?.unwrap_or_else(|| "records".to_owned());
                self.output.record(&table, cells, self.limits)?;
                Ok(MontyObject::None)
            }
            "emit_text" => {
                let text = arguments.text(0)?;
                self.output.text(text, self.limits)?;
                Ok(MontyObject::None)
            }
            other => Err(Trouble::Limit(Refusal::Forbidden { what: other.to_owned() })),
        }
    }

    /// One line of text and where the next one begins; `None` at the end of the file.
    fn line(&mut self, arguments: &mut Arguments) -> Result<MontyObject, Trouble> {
        let start = arguments.count(0)?;
        let page = page(arguments.text(1)?)?;
        let Some(rest) = self.file.get(start..).filter(|rest| !rest.is_empty()) else { return Ok(MontyObject::None) };
        if page.char(b'A').is_none() && page != CodePage::Web(encoding_rs::UTF_8) {
            let text = format!("line(): lines of {} cannot be found by a byte; take text()", page.name());
            return Err(Mistake::Value(text).into());
        }
        let length = rest.iter().position(|byte| page.line_ends().contains(byte));
        let next = start + length.map_or(rest.len(), |length| length + 1);
        self.explained.add(start, next);
        let text = page.decode(&rest[..length.unwrap_or(rest.len())]);
        let text = text.strip_suffix('\r').unwrap_or(&text).to_owned();
        Ok(MontyObject::Tuple(vec![MontyObject::String(text), MontyObject::Int(to_i64(next))]))
    }

    /// The range of the parameters `offset` and `length`, which are a function's first two; no length means the rest.
    fn range(&self, arguments: &mut Arguments) -> Result<(usize, usize), Mistake> {
        let start = arguments.count(0)?;
        match arguments.optional_count(1)? {
            Some(length) => Ok((start, self.end(start, length)?)),
            None if start <= self.file.len() => Ok((start, self.file.len())),
            None => Err(beyond(start, 0, self.file.len(), "file")),
        }
    }

    fn end(&self, start: usize, length: usize) -> Result<usize, Mistake> {
        let end = start.checked_add(length).filter(|end| *end <= self.file.len());
        end.ok_or_else(|| beyond(start, length, self.file.len(), "file"))
    }

    /// Ends the run.
    pub fn finish(self, refusal: Option<Refusal>, printed: String, elapsed_ms: u64) -> Run {
        let figures = Figures {
            size_bytes: self.file.len() as u64,
            explained_bytes: self.explained.count_beside(&self.skipped),
            skipped_bytes: self.skipped.count(),
            peeked_bytes: self.peeked.count(),
            calls: self.calls,
            records: self.output.records,
            output_bytes: self.output.bytes,
            elapsed_ms,
        };
        let (tables, texts) = self.output.into_tables();
        Run { refusal, tables, texts, printed, figures }
    }
}

fn beyond(start: usize, length: usize, size: usize, what: &str) -> Mistake {
    Mistake::Index(format!("{length} bytes from {start} on are beyond the {what}'s {size} bytes"))
}

fn page(name: String) -> Result<CodePage, Mistake> {
    CodePage::named(&name).ok_or_else(|| {
        let name: String = name.chars().take(40).collect();
        Mistake::Value(format!("no code page is called `{name}`"))
    })
}

fn scale(arguments: &mut Arguments, at: usize) -> Result<usize, Mistake> {
    match arguments.optional_count(at)?.unwrap_or(0) {
        scale if scale <= MAX_SCALE => Ok(scale),
        _ => Err(Mistake::Value(format!("`scale` is at most {MAX_SCALE}"))),
    }
}

fn number(bytes: &[u8], read: impl Fn(&[u8]) -> Result<String, String>) -> Result<MontyObject, Mistake> {
    if bytes.len() > MAX_DECIMAL_BYTES {
        return Err(Mistake::Value(format!("a decimal has at most {MAX_DECIMAL_BYTES} bytes")));
    }
    read(bytes).map(MontyObject::String).map_err(Mistake::Value)
}

fn tuple(values: Vec<Value>) -> MontyObject {
    MontyObject::Tuple(values.into_iter().map(object).collect())
}

fn object(value: Value) -> MontyObject {
    match value {
        Value::Int(number) => match i64::try_from(number) {
            Ok(number) => MontyObject::Int(number),
            Err(_) => MontyObject::BigInt(BigInt::from(number)),
        },
        Value::Float(number) => MontyObject::Float(number),
        Value::Flag(flag) => MontyObject::Bool(flag),
        Value::Bytes(bytes) => MontyObject::Bytes(bytes),
    }
}

fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
