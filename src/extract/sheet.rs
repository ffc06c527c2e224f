//! Spreadsheets (xlsx, xlsm, xlsb, xls, ods): each sheet a table with its row numbers.

mod biff;

use std::io::{Cursor, Read, Seek};

use base::Place;
use calamine::{Data, Dimensions, Reader, SheetType, Sheets, open_workbook_auto_from_rs};

use crate::error::Error;
use crate::format::{Block, BlockKind, Document};
use crate::table::{Area, fill_merged, filled, is_header, one_line, two_line_header, width};

/// Reads a workbook. Numbers are written with up to 15 significant digits, dates as ISO 8601; text stays as displayed.
pub(crate) fn read(bytes: &[u8], format: &str) -> Result<Document, Error> {
    if biff::sniff(bytes) {
        return oldest(bytes, format);
    }
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
                let (top, left) = range.start().unwrap_or_default();
                let mut rows: Vec<Vec<String>> = range.rows().map(cells).collect();
                fill_merged(&mut rows, &merged(&mut workbook, name, (top, left)));
                let rows = rows.into_iter().zip(top + 1..).map(|(row, number)| (number, row));
                let blocks = regions(rows.filter(|(_, row)| !row.is_empty()), name);
                push(&mut document, name, blocks);
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

/// Reads the sheets of Excel 2 to 4.
fn oldest(bytes: &[u8], format: &str) -> Result<Document, Error> {
    let mut document = Document { format: format.to_owned(), ..Document::default() };
    let mut names = Vec::new();
    for (number, sheet) in (1..).zip(biff::read(bytes)?) {
        let name = sheet.name.unwrap_or_else(|| format!("Sheet {number}"));
        let rows = (1..).zip(sheet.rows.iter().map(|row| cells(row)));
        let blocks = regions(rows.filter(|(_, row)| !row.is_empty()), &name);
        push(&mut document, &name, blocks);
        names.push(name);
    }
    document.metadata.insert("sheets".to_owned(), names.join(", "));
    Ok(document)
}

/// Appends the tables of a sheet under its name.
fn push(document: &mut Document, name: &str, blocks: Vec<Block>) {
    if !blocks.is_empty() {
        let place = Place { sheet: Some(name.to_owned()), ..Place::default() };
        document.blocks.push(Block::new(BlockKind::Heading(1), name, place));
        document.blocks.extend(blocks);
    }
}

/// The merged cells of a sheet whose first filled cell stands at `origin`, where the format tells.
fn merged<RS: Read + Seek>(workbook: &mut Sheets<RS>, sheet: &str, origin: (u32, u32)) -> Vec<Area> {
    let areas = match workbook {
        Sheets::Xlsx(workbook) => workbook.merge_cells_by_sheet_name(sheet).unwrap_or_default(),
        Sheets::Xls(workbook) => workbook.merge_cells_by_sheet_name(sheet).unwrap_or_default(),
        Sheets::Xlsb(_) | Sheets::Ods(_) => Vec::new(),
    };
    areas.iter().filter_map(|area| area_from(area, origin)).collect()
}

fn area_from(area: &Dimensions, origin: (u32, u32)) -> Option<Area> {
    Some(Area {
        row: area.start.0.checked_sub(origin.0)? as usize,
        column: area.start.1.checked_sub(origin.1)? as usize,
        more_rows: area.end.0.saturating_sub(area.start.0) as usize,
        more_columns: area.end.1.saturating_sub(area.start.1) as usize,
    })
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
    } else if let Some(both) = two_line_header(&rows, columns) {
        *header = both;
        rows.drain(..2);
    } else if header.len() < columns {
        header.clear();
    }
    if !rows.is_empty() {
        let first = last + 1 - count(&rows);
        blocks.push(Block::table(header.clone(), rows, Place::rows(Some(sheet), first, last)));
    }
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

/// Spreadsheets compute with 15 significant digits and show no more: 0.1 + 0.2 is 0.3. Whole numbers are kept as they are
/// stored: the sixteenth digit of one is most often somebody's account.
fn float(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 9.007_199_254_740_992e15 {
        return (number as i64).to_string();
    }
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
        for (number, expect) in [
            (0.1 + 0.2, "0.3"),
            (4711.0, "4711"),
            (12.5, "12.5"),
            (-0.0625, "-0.0625"),
            (1_234_567_890_123_451.0, "1234567890123451"),
        ] {
            assert_eq!(float(number), expect);
        }
    }

    #[test]
    fn merged_cells_stand_where_they_are_seen() {
        let area = |start, end| Dimensions { start, end };
        let line = |text: &str| row(0, text).1;
        let mut rows = vec![
            line("Artikel;Abmessungen;;Preis"),
            line(";Breite;Tiefe;"),
            line("WDU;5,1;47;1,20"),
            line(";6,1;47;1,50"),
        ];
        let merged = [area((4, 1), (5, 1)), area((4, 2), (4, 3)), area((4, 4), (5, 4)), area((6, 1), (7, 1))];
        let merged: Vec<Area> = merged.iter().filter_map(|area| area_from(area, (4, 1))).collect();
        fill_merged(&mut rows, &merged);
        let blocks = regions((5..).zip(rows), "Preise");
        let BlockKind::Table { header, rows } = &blocks[0].kind else { panic!("{blocks:?}") };
        assert_eq!(header, &["Artikel", "Abmessungen Breite", "Abmessungen Tiefe", "Preis"]);
        assert_eq!(rows, &[line("WDU;5,1;47;1,20"), line("WDU;6,1;47;1,50")]);
        assert_eq!(blocks[0].place, Place::rows(Some("Preise"), 7, 8));
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
