//! Delimited text (CSV, TSV): delimiter and header are found by looking.

use base::Place;

use crate::error::Error;
use crate::format::{Block, Document};
use crate::table::split_header;

const DELIMITERS: [u8; 4] = [b';', b'\t', b',', b'|'];

/// A record this large means a quote that was never closed.
const MAX_RECORD_BYTES: usize = 256 << 10;

/// Reads delimited text. Rows are numbered as a spreadsheet would number them, the header included.
pub(crate) fn read(text: &str, format: &str, decimal_comma_likely: bool) -> Result<Document, Error> {
    let delimiter = delimiter(text, decimal_comma_likely);
    let mut rows = records(text, delimiter, true)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    let unclosed = rows.iter().any(|row| row.iter().map(String::len).sum::<usize>() > MAX_RECORD_BYTES);
    if unclosed && rows.len() * 2 < lines {
        rows = records(text, delimiter, false)?;
    }
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let (header, rows) = split_header(rows);
    let mut document = Document { format: format.to_owned(), ..Document::default() };
    let name = match delimiter {
        b'\t' => "tab".to_owned(),
        other => char::from(other).to_string(),
    };
    document.metadata.insert("delimiter".to_owned(), name);
    if !rows.is_empty() {
        let first = if header.is_empty() { 1 } else { 2 };
        document.blocks.push(Block::table(header, rows, Place::rows(None, first, count)));
    }
    Ok(document)
}

fn records(text: &str, delimiter: u8, quoting: bool) -> Result<Vec<Vec<String>>, Error> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quoting(quoting)
        .from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| Error::unreadable(format!("damaged table: {error}")))?;
        rows.push(record.iter().map(|cell| cell.trim().to_owned()).collect());
    }
    Ok(rows)
}

/// The delimiter that cuts the first lines into the most, and most equal, columns. Where figures have a decimal comma, a
/// comma is the least likely one.
fn delimiter(text: &str, decimal_comma_likely: bool) -> u8 {
    if let Some(first) = text.lines().next()
        && let Some(named) = first.strip_prefix("sep=")
        && let Some(byte) = named.bytes().next()
    {
        return byte;
    }
    let mut end = text.len().min(64 << 10);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let sample = &text[..end];
    let mut best = (0.0_f64, b',');
    for delimiter in DELIMITERS {
        let Ok(rows) = records(sample, delimiter, true) else {
            continue;
        };
        let rows = &rows[..rows.len().min(50)];
        let mut widths: Vec<usize> = rows.iter().map(Vec::len).collect();
        widths.sort_unstable();
        let Some(middle) = widths.get(widths.len() / 2).copied() else {
            continue;
        };
        if middle < 2 {
            continue;
        }
        let equal = widths.iter().filter(|width| **width == middle).count() as f64 / widths.len() as f64;
        let mut score = equal * (1.0 + (middle as f64).ln() / 4.0);
        if delimiter == b',' && decimal_comma_likely {
            score *= 0.8;
        }
        if score > best.0 {
            best = (score, delimiter);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::BlockKind;

    fn check(text: &str, delimiter: &str, header: &[&str], first_row: &[&str], rows: (u32, u32)) {
        let document = read(text, "csv", true).unwrap();
        assert_eq!(document.metadata["delimiter"], delimiter);
        let block = &document.blocks[0];
        let BlockKind::Table { header: h, rows: r } = &block.kind else { panic!("no table") };
        assert_eq!(
            (h.as_slice(), r[0].as_slice()),
            (
                &header.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..],
                &first_row.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..]
            )
        );
        assert_eq!(block.place, Place::rows(None, rows.0, rows.1));
    }

    #[test]
    fn delimiter_and_header_are_found() {
        check("Artikel;Preis\nWDU 2.5;1,20\nWDU 4;1,50\n", ";", &["Artikel", "Preis"], &["WDU 2.5", "1,20"], (2, 3));
        check("a,b,c\n1,2,3\n", ",", &["a", "b", "c"], &["1", "2", "3"], (2, 2));
        check("1\t2\n3\t4\n", "tab", &[], &["1", "2"], (1, 2));
        check("a;b\n\"x;\ny\";2\n", ";", &["a", "b"], &["x;\ny", "2"], (2, 2));
    }

    #[test]
    fn a_quote_that_never_closes_swallows_no_table() {
        let mut text = "a;b\n\"offen;1\n".to_owned();
        for i in 0..60_000 {
            text.push_str(&format!("zeile {i};{i}\n"));
        }
        let document = read(&text, "csv", false).unwrap();
        let BlockKind::Table { rows, .. } = &document.blocks[0].kind else { panic!("no table") };
        assert_eq!(rows.len(), 60_001);
    }
}
