//! JSON from a stream: whole values where they are small, and a way into lists too large to hold.
//!
//! Numbers stay the text they are written as, which is why this is not `serde_json`: its numbers are floats, and a price must
//! not pass through one.

use std::io::{BufRead, Read};

use super::source::Utf8Source;
use crate::error::Error;

/// Objects and lists inside one another.
const MAX_DEPTH: u32 = 64;

/// One value that is held whole, in bytes of JSON.
const MAX_VALUE_BYTES: usize = 64 << 20;

/// A value that is held whole.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(super) fn field(&self, name: &str) -> Option<&Json> {
        match self {
            Self::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    pub(super) fn fields(&self) -> &[(String, Json)] {
        match self {
            Self::Object(fields) => fields,
            _ => &[],
        }
    }

    /// The elements of a list; a value that is no list is a list of itself.
    pub(super) fn items(&self) -> &[Json] {
        match self {
            Self::List(items) => items,
            Self::Null => &[],
            other => std::slice::from_ref(other),
        }
    }

    /// A scalar as text; `None` for null, objects, lists and empty text.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(text) | Self::Text(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            _ => None,
        }
    }

    /// The text of a field.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.field(name)?.text()
    }

    /// The elements of a field.
    pub(super) fn list(&self, name: &str) -> &[Json] {
        self.field(name).map_or(&[], Self::items)
    }
}

/// Reads tokens and values.
pub(super) struct JsonStream<R> {
    source: Utf8Source<R>,
    /// Bytes the value being read may still take.
    left: usize,
}

impl<R: Read> JsonStream<R> {
    pub(super) fn new(source: Utf8Source<R>) -> Self {
        Self { source, left: MAX_VALUE_BYTES }
    }

    /// A new value begins: its size is counted from here.
    pub(super) fn begin_value(&mut self) {
        self.left = MAX_VALUE_BYTES;
    }

    fn peek_byte(&mut self) -> Result<Option<u8>, Error> {
        // Sizes are this reader's business, not the source's.
        self.source.begin_event();
        let bytes = self.source.fill_buf().map_err(|error| Error::unreadable(error.to_string()))?;
        Ok(bytes.first().copied())
    }

    fn take_byte(&mut self) -> Result<u8, Error> {
        let byte = self.peek_byte()?.ok_or_else(ended)?;
        self.source.consume(1);
        self.charge(1)?;
        Ok(byte)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| Error::TooLarge {
            what: "a single record of the JSON".to_owned(),
            limit_bytes: MAX_VALUE_BYTES as u64,
        })?;
        Ok(())
    }

    /// The next byte that is no white space, not taken; `None` at the end.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Error> {
        while let Some(byte) = self.peek_byte()? {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(Some(byte));
            }
            self.source.consume(1);
        }
        Ok(None)
    }

    /// Takes the next byte that is no white space, which must be this one.
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Error> {
        match self.peek()? {
            Some(found) if found == byte => self.take_byte().map(|_| ()),
            Some(found) => Err(damaged(&format!("`{}` where `{}` should be", found as char, byte as char))),
            None => Err(ended()),
        }
    }

    /// The next key of an open object, its colon taken too; `None` at its end, which is taken. `first` is whether none came
    /// before.
    pub(super) fn key(&mut self, first: bool) -> Result<Option<String>, Error> {
        if !self.more(first, b'}')? {
            return Ok(None);
        }
        self.expect(b'"')?;
        let key = self.string()?;
        self.expect(b':')?;
        Ok(Some(key))
    }

    /// Whether an open list or object has another element; its end is taken.
    pub(super) fn more(&mut self, first: bool, end: u8) -> Result<bool, Error> {
        match self.peek()? {
            Some(byte) if byte == end => self.take_byte().map(|_| false),
            Some(b',') if !first => self.take_byte().map(|_| true),
            Some(_) if first => Ok(true),
            Some(byte) => Err(damaged(&format!("`{}` between two elements", byte as char))),
            None => Err(ended()),
        }
    }

    /// Reads a whole value.
    pub(super) fn value(&mut self, depth: u32) -> Result<Json, Error> {
        if depth >= MAX_DEPTH {
            return Err(damaged(&format!("values nest more than {MAX_DEPTH} deep")));
        }
        match self.peek()?.ok_or_else(ended)? {
            b'{' => {
                self.expect(b'{')?;
                let mut fields = Vec::new();
                while let Some(key) = self.key(fields.is_empty())? {
                    fields.push((key, self.value(depth + 1)?));
                }
                Ok(Json::Object(fields))
            }
            b'[' => {
                self.expect(b'[')?;
                let mut items = Vec::new();
                while self.more(items.is_empty(), b']')? {
                    items.push(self.value(depth + 1)?);
                }
                Ok(Json::List(items))
            }
            b'"' => {
                self.expect(b'"')?;
                Ok(Json::Text(self.string()?))
            }
            _ => self.word(),
        }
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Json, Error> {
        let mut word = String::new();
        while let Some(byte) = self.peek_byte()? {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) || word.len() > 1000 {
                break;
            }
            word.push(self.take_byte()? as char);
        }
        match word.as_str() {
            "true" => Ok(Json::Bool(true)),
            "false" => Ok(Json::Bool(false)),
            "null" => Ok(Json::Null),
            _ if word.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && word.len() <= 1000 => {
                Ok(Json::Number(word))
            }
            _ => Err(damaged(&format!("`{}` is no value", word.chars().take(40).collect::<String>()))),
        }
    }

    /// The rest of a string whose opening quote is taken.
    fn string(&mut self) -> Result<String, Error> {
        let mut bytes = Vec::new();
        loop {
            // Most strings have no escape: what stands before the next quote is taken at once.
            self.source.begin_event();
            let ahead = self.source.fill_buf().map_err(|error| Error::unreadable(error.to_string()))?;
            let plain = memchr::memchr2(b'"', b'\\', ahead).unwrap_or(ahead.len());
            if plain > 0 {
                bytes.extend_from_slice(&ahead[..plain]);
                self.source.consume(plain);
                self.charge(plain)?;
                continue;
            }
            match self.take_byte()? {
                b'"' => break,
                b'\\' => {
                    let c = self.escape()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                byte => bytes.push(byte),
            }
        }
        // The source gives UTF-8 only, and strings end at ASCII.
        String::from_utf8(bytes).map_err(|_| damaged("a string that is no text"))
    }

    fn escape(&mut self) -> Result<char, Error> {
        Ok(match self.take_byte()? {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                let high = self.hex()?;
                if !(0xd800..0xdc00).contains(&high) {
                    return Ok(char::from_u32(high).unwrap_or('\u{fffd}'));
                }
                if self.take_byte()? != b'\\' || self.take_byte()? != b'u' {
                    return Err(damaged("half a character"));
                }
                let low = self.hex()?;
                let code = 0x10000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                char::from_u32(code).unwrap_or('\u{fffd}')
            }
            byte @ (b'"' | b'\\' | b'/') => byte as char,
            _ => return Err(damaged("an escape JSON does not have")),
        })
    }

    fn hex(&mut self) -> Result<u32, Error> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = (self.take_byte()? as char).to_digit(16).ok_or_else(|| damaged("an escape without digits"))?;
            code = code * 16 + digit;
        }
        Ok(code)
    }
}

fn ended() -> Error {
    Error::unreadable("damaged JSON: it ends too early")
}

fn damaged(what: &str) -> Error {
    Error::unreadable(format!("damaged JSON: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Json, Error> {
        JsonStream::new(Utf8Source::new(text.as_bytes()).unwrap()).value(0)
    }

    #[test]
    fn values_keep_their_text() {
        let value = parse(r#" {"a":[1.10,-2e5,true,null,"x\u00e4\"\n\ud83d\ude00"],"b":{}} "#).unwrap();
        let numbers: Vec<_> = value.list("a").iter().map(Json::text).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(numbers, [text("1.10"), text("-2e5"), text("true"), None, text("xä\"\n😀")]);
        assert_eq!(value.field("b"), Some(&Json::Object(Vec::new())));
    }

    #[test]
    fn damage_is_said_and_depth_is_no_danger() {
        for text in ["{\"a\":1", "[1 2]", "{\"a\" 1}", "[\"\\x\"]", "tru", "[1,,2]", ""] {
            assert!(parse(text).is_err(), "{text}");
        }
        let error = parse(&"[".repeat(100_000)).unwrap_err();
        assert!(error.to_string().contains("nest more than 64 deep"), "{error}");
    }
}
