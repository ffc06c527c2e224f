//! JSON and JSON lines → lines of `path: value`, and lists of like objects as tables.

use std::fmt;

use base::Place;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::format::{Block, BlockKind, Document};

const BLOCK_BYTES: usize = 900;

/// Deeper values are no data somebody keeps.
const MAX_DEPTH: u32 = 100;

/// Reads JSON, or one JSON value per line; `None` when it is neither (or nested deeper than anybody nests), so that the
/// caller reads it as plain text.
pub(crate) fn read(text: &str) -> Option<Document> {
    let mut writer = Writer::default();
    match parse(text) {
        Some(value) => writer.value("", "", &value),
        None => {
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            let values: Option<Vec<Json>> = lines.iter().map(|line| parse(line)).collect();
            match values {
                Some(values) if values.len() > 1 => writer.value("", "", &Json::Array(values)),
                _ => return None,
            }
        }
    }
    writer.flush();
    Some(Document { format: "json".to_owned(), blocks: writer.blocks, ..Document::default() })
}

/// A value in which numbers stay as they are written: whoever looks for 150.00, or for the twenty digits of an account, finds
/// them.
#[derive(Debug, PartialEq)]
enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    /// As a person reads it: text without quotes, nothing for `null`.
    Scalar(String),
}

fn parse(text: &str) -> Option<Json> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    value(raw.get(), MAX_DEPTH)
}

fn value(raw: &str, depth: u32) -> Option<Json> {
    let inner = depth.checked_sub(1)?;
    Some(match raw.as_bytes().first()? {
        b'{' => {
            let Fields(fields) = serde_json::from_str(raw).ok()?;
            let fields = fields.into_iter().map(|(name, raw)| Some((name, value(raw.get(), inner)?)));
            Json::Object(fields.collect::<Option<_>>()?)
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
            Json::Array(items.into_iter().map(|raw| value(raw.get(), inner)).collect::<Option<_>>()?)
        }
        b'"' => Json::Scalar(serde_json::from_str(raw).ok()?),
        b'n' => Json::Scalar(String::new()),
        _ => Json::Scalar(raw.to_owned()),
    })
}

/// The fields of an object in their order.
struct Fields<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Fields<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'t> Visitor<'t> for All {
            type Value = Fields<'t>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Fields<'t>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[derive(Default)]
struct Writer {
    blocks: Vec<Block>,
    text: String,
    /// The value that holds the text gathered so far, as a JSON Pointer (RFC 6901).
    pointer: String,
}

impl Writer {
    /// Writes a value; `path` is what a person reads before it, `pointer` where it stands.
    fn value(&mut self, path: &str, pointer: &str, value: &Json) {
        match value {
            Json::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    let step = name.replace('~', "~0").replace('/', "~1");
                    self.value(&path, &format!("{pointer}/{step}"), value);
                }
            }
            Json::Array(items) => {
                if let Some((header, rows)) = table(items) {
                    if !path.is_empty() {
                        self.line(path, pointer);
                    }
                    self.flush();
                    let last = u32::try_from(rows.len()).unwrap_or(u32::MAX);
                    let place = Place { xpath: at(pointer), ..Place::rows(None, 1, last) };
                    self.blocks.push(Block::table(header, rows, place));
                } else if let Some(list) = items.iter().map(scalar).collect::<Option<Vec<_>>>() {
                    self.pair(path, pointer, &list.join(", "));
                } else {
                    for (index, item) in items.iter().enumerate() {
                        self.value(&format!("{path}[{}]", index + 1), &format!("{pointer}/{index}"), item);
                        self.cut();
                    }
                }
            }
            Json::Scalar(text) => self.pair(path, pointer, text),
        }
    }

    fn pair(&mut self, path: &str, pointer: &str, value: &str) {
        if value.trim().is_empty() {
            return;
        }
        if path.is_empty() {
            self.line(value, pointer);
        } else {
            self.line(&format!("{path}: {value}"), pointer);
        }
    }

    fn line(&mut self, line: &str, pointer: &str) {
        if self.text.is_empty() {
            self.pointer = pointer.to_owned();
        } else {
            self.text.push('\n');
            let both = Place::xpath(self.pointer.as_str()).union(&Place::xpath(pointer));
            self.pointer = both.and_then(|place| place.xpath).unwrap_or_default();
        }
        self.text.push_str(line);
        self.cut();
    }

    fn cut(&mut self) {
        if self.text.len() > BLOCK_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            let place = Place { xpath: at(&self.pointer), ..Place::default() };
            self.blocks.push(Block::new(BlockKind::Paragraph, text, place));
        }
    }
}

/// A pointer as a place; the whole file needs none.
fn at(pointer: &str) -> Option<String> {
    (!pointer.is_empty()).then(|| pointer.to_owned())
}

fn scalar(value: &Json) -> Option<&str> {
    match value {
        Json::Scalar(text) => Some(text),
        Json::Object(_) | Json::Array(_) => None,
    }
}

/// Objects with scalar fields, at least two of them, are rows; the header is the union of their keys in order.
fn table(items: &[Json]) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    if items.len() < 2 {
        return None;
    }
    let mut columns = std::collections::HashMap::new();
    let mut header: Vec<String> = Vec::new();
    let mut rows = Vec::new();
    for item in items {
        let Json::Object(fields) = item else { return None };
        let mut row = vec![String::new(); header.len()];
        for (name, value) in fields {
            let text = scalar(value)?;
            let column = *columns.entry(name.as_str()).or_insert_with(|| {
                header.push(name.clone());
                row.push(String::new());
                header.len() - 1
            });
            if header.len() > 256 {
                return None;
            }
            text.clone_into(&mut row[column]);
        }
        rows.push(row);
    }
    for row in &mut rows {
        row.resize(header.len(), String::new());
    }
    (!header.is_empty()).then_some((header, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_lines_and_like_objects_a_table() {
        let document =
            read(r#"{"name":"WDU","maße":{"b":5.1},"preise":[{"ab":1,"eur":2},{"ab":100,"eur":1.8}]}"#).unwrap();
        assert_eq!(document.blocks[0].text, "name: WDU\nmaße.b: 5.1\npreise");
        assert!(
            matches!(&document.blocks[1].kind, BlockKind::Table { header, rows } if header == &["ab", "eur"] && rows[1] == ["100", "1.8"])
        );
    }

    #[test]
    fn blocks_point_to_their_value() {
        let document = read(r#"{"kopf":{"nr":1,"ort":"Ulm"},"a/b":[{"ab":1},{"ab":2}]}"#).unwrap();
        let places: Vec<String> = document.blocks.iter().map(|block| block.place.to_string()).collect();
        assert_eq!(places, ["", "rows 1–2, /a~1b"]);
        let document = read(r#"{"kopf":{"nr":1,"ort":"Ulm"}}"#).unwrap();
        assert_eq!(document.blocks[0].place.xpath.as_deref(), Some("/kopf"));
    }

    #[test]
    fn numbers_stay_as_they_are_written() {
        let document =
            read(r#"{"summe":150.00,"konto":12345678901234567890123,"e":1.50E+3,"x":[1.0,null,true]}"#).unwrap();
        assert_eq!(
            document.blocks[0].text,
            "summe: 150.00\nkonto: 12345678901234567890123\ne: 1.50E+3\nx: 1.0, , true"
        );
        let document = read("{\"a\":1.10}\n{\"a\":2.20,\"b\":\"\\u00fc\"}\n").unwrap();
        assert!(
            matches!(&document.blocks[0].kind, BlockKind::Table { rows, .. } if rows == &[["1.10", ""], ["2.20", "ü"]])
        );
    }

    #[test]
    fn lines_of_json_are_rows_and_depth_is_no_danger() {
        let document = read("{\"a\":1}\n{\"a\":2}\n").unwrap();
        assert!(matches!(&document.blocks[0].kind, BlockKind::Table { rows, .. } if rows.len() == 2));
        assert!(read(&"[".repeat(50_000)).is_none());
        assert!(read(&("[".repeat(50_000) + &"]".repeat(50_000))).is_none());
    }
}
