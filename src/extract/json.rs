//! JSON and JSON lines → lines of `path: value`, and lists of like objects as tables.

use base::Place;
use serde_json::Value;

use crate::format::{Block, BlockKind, Document};

const BLOCK_BYTES: usize = 900;

/// Reads JSON, or one JSON value per line; `None` when it is neither (or nested deeper than the parser allows), so that the
/// caller reads it as plain text.
pub(crate) fn read(text: &str) -> Option<Document> {
    let mut writer = Writer::default();
    match serde_json::from_str::<Value>(text) {
        Ok(value) => writer.value("", "", &value),
        Err(_) => {
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            let values: Option<Vec<Value>> = lines.iter().map(|line| serde_json::from_str(line).ok()).collect();
            match values {
                Some(values) if values.len() > 1 => writer.value("", "", &Value::Array(values)),
                _ => return None,
            }
        }
    }
    writer.flush();
    Some(Document { format: "json".to_owned(), blocks: writer.blocks, ..Document::default() })
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
    fn value(&mut self, path: &str, pointer: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    let step = name.replace('~', "~0").replace('/', "~1");
                    self.value(&path, &format!("{pointer}/{step}"), value);
                }
            }
            Value::Array(items) => {
                if let Some((header, rows)) = table(items) {
                    if !path.is_empty() {
                        self.line(path, pointer);
                    }
                    self.flush();
                    let last = u32::try_from(rows.len()).unwrap_or(u32::MAX);
                    let place = Place { xpath: at(pointer), ..Place::rows(None, 1, last) };
                    self.blocks.push(Block::table(header, rows, place));
                } else if items.iter().all(is_scalar) {
                    let list = items.iter().map(scalar).collect::<Vec<_>>().join(", ");
                    self.pair(path, pointer, &list);
                } else {
                    for (index, item) in items.iter().enumerate() {
                        self.value(&format!("{path}[{}]", index + 1), &format!("{pointer}/{index}"), item);
                        self.cut();
                    }
                }
            }
            other => self.pair(path, pointer, &scalar(other)),
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

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Objects with scalar fields, at least two of them, are rows; the header is the union of their keys in order.
fn table(items: &[Value]) -> Option<(Vec<String>, Vec<Vec<String>>)> {
    if items.len() < 2 {
        return None;
    }
    let mut columns = std::collections::HashMap::new();
    let mut header: Vec<String> = Vec::new();
    for item in items {
        for (name, value) in item.as_object()? {
            if !is_scalar(value) {
                return None;
            }
            if !columns.contains_key(name) {
                if header.len() >= 256 {
                    return None;
                }
                columns.insert(name.clone(), header.len());
                header.push(name.clone());
            }
        }
    }
    let rows = items
        .iter()
        .filter_map(Value::as_object)
        .map(|fields| header.iter().map(|name| fields.get(name).map(scalar).unwrap_or_default()).collect())
        .collect();
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
    fn lines_of_json_are_rows_and_depth_is_no_danger() {
        let document = read("{\"a\":1}\n{\"a\":2}\n").unwrap();
        assert!(matches!(&document.blocks[0].kind, BlockKind::Table { rows, .. } if rows.len() == 2));
        assert!(read(&"[".repeat(50_000)).is_none());
    }
}
