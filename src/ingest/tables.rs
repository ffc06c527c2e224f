//! The tables of a spreadsheet, as the lake keeps them beside its passages.
//!
//! Only files that are tables: one in the running text of a manual is part of what is told, and stays in its passage.

use extract::{Block, BlockKind, Document};
use lake::{Numbers, SheetTable};

/// Tables beyond this are left out of SQL; their passages are found all the same.
const MAX_TABLES: usize = 200;
/// The most cells of one document that become tables.
const MAX_CELLS: usize = 4_000_000;

/// Returns a document's tables, without its id, and a sentence about those left out.
pub(crate) fn tables(document: &Document) -> (Vec<SheetTable>, Option<String>) {
    let mut tables: Vec<SheetTable> = Vec::new();
    let (mut cells, mut left_out) = (0, 0);
    for block in &document.blocks {
        let BlockKind::Table { header, rows } = &block.kind else { continue };
        let Some(format) = spreadsheet(document, block) else { continue };
        let size = rows.iter().map(Vec::len).sum::<usize>();
        if size == 0 {
            continue;
        }
        if tables.len() >= MAX_TABLES || cells + size > MAX_CELLS {
            left_out += 1;
            continue;
        }
        cells += size;
        tables.push(SheetTable {
            document_id: String::new(),
            ordinal: tables.len() as u32,
            label: label(block),
            place: block.place.clone(),
            header: header.clone(),
            rows: rows.clone(),
            numbers: numbers(document, &format),
        });
    }
    let note = (left_out > 0)
        .then(|| format!("{left_out} more tables cannot be asked in SQL: they are too many, or too large"));
    (tables, note)
}

/// Returns the format of the spreadsheet a block is part of: the document, or a file inside it.
fn spreadsheet(document: &Document, block: &Block) -> Option<String> {
    const SPREADSHEETS: [&str; 8] = ["xlsx", "xlsm", "xlsb", "xls", "ods", "fods", "csv", "tsv"];
    let format = match &block.place.part {
        Some(part) => part.rsplit_once('.').map(|(_, ending)| ending.to_lowercase())?,
        None => document.format.clone(),
    };
    SPREADSHEETS.contains(&format.as_str()).then_some(format)
}

fn label(block: &Block) -> Option<String> {
    let file = block.place.part.as_deref().map(|part| part.rsplit('/').next().unwrap_or(part));
    let stem = file.map(|file| file.rsplit_once('.').map_or(file, |(stem, _)| stem));
    match (stem, &block.place.sheet) {
        (Some(stem), Some(sheet)) => Some(format!("{stem} {sheet}")),
        (Some(stem), None) => Some(stem.to_owned()),
        (None, sheet) => sheet.clone(),
    }
}

/// A workbook stores numbers in one way; in text they are written as its people write them.
fn numbers(document: &Document, format: &str) -> Numbers {
    if !matches!(format, "csv" | "tsv") {
        return Numbers::Stored;
    }
    // Programs set for a decimal comma put semicolons between columns.
    let has_semicolons = document.metadata.get("delimiter").is_some_and(|delimiter| delimiter == ";");
    if has_semicolons || document.language.as_deref() == Some("de") { Numbers::Comma } else { Numbers::Point }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Vec<SheetTable> {
        match extract::read(text.as_bytes(), name, &extract::Limits::default()).unwrap() {
            extract::Outcome::Text(document) => tables(&document).0,
            extract::Outcome::Empty { .. } => Vec::new(),
        }
    }

    #[test]
    fn a_file_that_is_a_table_becomes_one_and_a_text_with_a_table_does_not() {
        let found = read("Preise.csv", "Artikel;Preis\nWDU 2.5;1,20\nWDU 4;1,50\n");
        assert_eq!((found.len(), found[0].rows.len(), found[0].numbers), (1, 2, Numbers::Comma));
        assert_eq!(found[0].header, ["Artikel", "Preis"]);
        assert_eq!(read("prices.csv", "item,price,stock\nA1,1.20,3\nB2,1.50,4\n")[0].numbers, Numbers::Point);
        assert_eq!(read("Handbuch.md", "# Klemmen\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"), []);
    }
}
