//! Spreadsheets (xlsx, xlsm, xlsb, xls, ods): each sheet a table with its row numbers.

use std::io::Cursor;

use base::Place;
use calamine::{Data, Reader, SheetType, open_workbook_auto_from_rs};

use crate::error::Error;
use crate::format::{Block, BlockKind, Document};
use crate::table::{is_header, one_line, width};

/// Reads a workbook. Numbers are written with up to 15 significant digits, dates as ISO 8601; text stays as displayed.
pub(crate) fn read(bytes: &[u8], format: &str) -> Result<Document, Error> {
    let mut workbook = open_workbook_auto_from_rs(Cursor::new(bytes)).map_err(|error| refuse(&error.to_string()))?;
    let mut document = Document { format: format.to_owned(), ..Document::default() };
    let sheets: Vec<String> = workbook
        .sheets_metadata()
        .iter()
        .filter(|sheet| matches!(sheet.typ, SheetType::WorkSheet | SheetType::MacroSheet | SheetType::DialogSheet))
        .map(|sheet| sheet.name.clone())
        .collect();
    let mut failed = 0;
    for name in &sheets {
        match workbook.worksheet_range(name) {
            Ok(range) => {
                let first = range.start().map_or(0, |(row, _)| row);
                let rows = range
                    .rows()
                    .zip(first + 1..)
                    .map(|(row, number)| (number, cells(row)))
                    .filter(|(_, row)| !row.is_empty());
                let blocks = regions(rows, name);
                if !blocks.is_empty() {
                    let place = Place { sheet: Some(name.clone()), ..Place::default() };
                    document.blocks.push(Block::new(BlockKind::Heading(1), name, place));
                    document.blocks.extend(blocks);
                }
            }
            Err(error) => {
                failed += 1;
                document.warnings.push(format!("sheet {name} cannot be read: {error}"));
            }
        }
    }
    if failed > 0 && failed == sheets.len() {
        return Err(Error::unreadable(document.warnings.join("; ")));
    }
    document.metadata.insert("sheets".to_owned(), sheets.join(", "));
    Ok(document)
}

fn refuse(message: &str) -> Error {
    let lower = message.to_lowercase();
    if lower.contains("password") || lower.contains("encrypt") {
        Error::Encrypted
    } else {
        Error::unreadable(format!("damaged workbook: {message}"))
    }
}

/// Cuts a sheet's filled rows into tables: a blank row ends one, titles above a table are text. A table without a header of
/// its own goes on under the header before it.
fn regions(rows: impl Iterator<Item = (u32, Vec<String>)>, sheet: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut header: Vec<String> = Vec::new();
    let mut region: Vec<Vec<String>> = Vec::new();
    let mut last = 0;
    for (number, row) in rows {
        if number != last + 1 && !region.is_empty() {
            close(&mut blocks, &mut header, std::mem::take(&mut region), last, sheet);
        }
        region.push(row);
        last = number;
    }
    close(&mut blocks, &mut header, region, last, sheet);
    blocks
}

fn close(blocks: &mut Vec<Block>, header: &mut Vec<String>, mut rows: Vec<Vec<String>>, last: u32, sheet: &str) {
    let columns = width(&rows);
    if columns == 1 && rows.len() <= 3 {
        let first = last + 1 - rows.len() as u32;
        for (number, row) in (first..).zip(rows) {
            let text = row.join(" ");
            blocks.push(Block::new(BlockKind::Paragraph, text, Place::rows(Some(sheet), number, number)));
        }
        return;
    }
    let count = |rows: &[Vec<String>]| u32::try_from(rows.len()).unwrap_or(u32::MAX);
    while columns >= 2 && rows.first().is_some_and(|row| filled(row) == 1) && (rows.len() > 1) {
        let row = rows.remove(0);
        let number = last - count(&rows);
        let text = row.join(" ");
        blocks.push(Block::new(BlockKind::Paragraph, text.trim(), Place::rows(Some(sheet), number, number)));
    }
    if rows.len() >= 2 && is_header(&rows[0], columns) {
        *header = rows.remove(0);
    } else if header.len() < columns {
        header.clear();
    }
    if !rows.is_empty() {
        let first = last + 1 - count(&rows);
        blocks.push(Block::table(header.clone(), rows, Place::rows(Some(sheet), first, last)));
    }
}

fn filled(row: &[String]) -> usize {
    row.iter().filter(|cell| !cell.is_empty()).count()
}

/// A row's cells without the empty ones at its end; empty for a blank row.
fn cells(row: &[Data]) -> Vec<String> {
    let mut cells: Vec<String> = row.iter().map(cell).collect();
    while cells.last().is_some_and(String::is_empty) {
        cells.pop();
    }
    cells
}

fn cell(data: &Data) -> String {
    match data {
        Data::Empty => String::new(),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => one_line(text),
        Data::Int(number) => number.to_string(),
        Data::Float(number) => float(*number),
        Data::Bool(true) => "TRUE".to_owned(),
        Data::Bool(false) => "FALSE".to_owned(),
        Data::Error(error) => error.to_string(),
        Data::DateTime(moment) if moment.is_duration() => {
            let seconds = (moment.as_f64() * 86_400.0).round() as i64;
            format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        }
        Data::DateTime(moment) => {
            let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
            let date = format!("{year:04}-{month:02}-{day:02}");
            let time = format!("{hour:02}:{minute:02}:{second:02}");
            match (moment.as_f64() < 1.0, hour == 0 && minute == 0 && second == 0) {
                (true, _) => time,
                (false, true) => date,
                (false, false) => format!("{date} {time}"),
            }
        }
    }
}

/// Spreadsheets compute with 15 significant digits and show no more: 0.1 + 0.2 is 0.3.
fn float(number: f64) -> String {
    let rounded = format!("{number:.14e}").parse::<f64>().unwrap_or(number);
    if rounded != 0.0 && (rounded.abs() >= 1e16 || rounded.abs() < 1e-9) {
        format!("{rounded:e}")
    } else {
        rounded.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u32, line: &str) -> (u32, Vec<String>) {
        (number, line.split(';').map(str::to_owned).collect())
    }

    #[test]
    fn numbers_read_as_shown() {
        for (number, expect) in
            [(0.1 + 0.2, "0.3"), (4711.0, "4711"), (12.5, "12.5"), (-0.0625, "-0.0625"), (4.0e15, "4000000000000000")]
        {
            assert_eq!(float(number), expect);
        }
    }

    #[test]
    fn titles_blank_rows_and_repeated_headers_are_told_apart() {
        let rows = [
            row(1, "Preisliste 2026"),
            row(3, "Artikel;Preis;Menge"),
            row(4, "WDU 2.5;1.2;10"),
            row(6, "WDU 4;1.5;20"),
            row(8, "Ort;Name;Amt"),
            row(9, "Ulm;Kurz;3"),
        ];
        let blocks = regions(rows.into_iter(), "Preise");
        let got: Vec<String> = blocks
            .iter()
            .map(|block| match &block.kind {
                BlockKind::Table { header, rows } => format!("{} | {} | {}", block.place, header.join(","), rows.len()),
                _ => format!("{} | {}", block.place, block.text),
            })
            .collect();
        assert_eq!(
            got,
            [
                "sheet Preise, row 1 | Preisliste 2026",
                "sheet Preise, row 4 | Artikel,Preis,Menge | 1",
                "sheet Preise, row 6 | Artikel,Preis,Menge | 1",
                "sheet Preise, row 9 | Ort,Name,Amt | 1",
            ]
        );
    }
}
