//! Worksheets of Excel 2, 3 and 4 (BIFF2 to BIFF4): a plain stream of records, before workbooks came to lie in compound files.
//! After the OpenOffice.org documentation of the Excel file format.

use std::collections::BTreeMap;

use calamine::{Data, ExcelDateTime, ExcelDateTimeType};
use encoding_rs::{Encoding, IBM866, MACINTOSH, WINDOWS_1252};

use crate::error::Error;

/// A sheet has at most this many rows and columns.
const MAX_ROWS: u16 = 16_384;
const MAX_COLUMNS: u16 = 256;
/// Rows of all sheets of a file; further sheets are left out.
const MAX_ALL_ROWS: usize = 1_000_000;

/// A sheet: its name, where it has one, and its rows from the first one on.
pub(super) struct Sheet {
    pub name: Option<String>,
    pub rows: Vec<Vec<Data>>,
}

/// Whether the bytes begin as such a sheet does.
pub(super) fn sniff(bytes: &[u8]) -> bool {
    matches!(bytes, [0x09, 0x00 | 0x02 | 0x04, 4..=8, 0x00, ..])
}

/// Reads all sheets; what is cut off ends the last one.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Sheet>, Error> {
    let mut reader = Reader::default();
    let mut rest = bytes;
    while let [id0, id1, length0, length1, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*length0, *length1]));
        let Some((data, next)) = after.split_at_checked(length) else { break };
        reader.record(u16::from_le_bytes([*id0, *id1]), data)?;
        rest = next;
    }
    reader.close();
    Ok(reader.sheets)
}

#[derive(Default)]
struct Reader {
    sheets: Vec<Sheet>,
    /// Of all sheets so far.
    rows: usize,
    name: Option<String>,
    cells: BTreeMap<(u16, u16), Data>,
    /// Whether each number format is one of dates, in order, and which of them each cell format has.
    dates: Vec<bool>,
    formats: Vec<u8>,
    since_1904: bool,
    code_page: u16,
    /// The formula whose text result comes in the next record.
    awaits_text: Option<(u16, u16)>,
}

impl Reader {
    fn record(&mut self, id: u16, data: &[u8]) -> Result<(), Error> {
        match id {
            0x0009 | 0x0209 | 0x0409 => self.close(),
            0x002f => return Err(Error::Encrypted),
            0x0022 => self.since_1904 = word(data, 0) == Some(1),
            0x0042 => self.code_page = word(data, 0).unwrap_or_default(),
            0x008f => self.name = data.get(5..).map(|name| self.decode(name)),
            0x001e => self.dates.extend(data.get(1..).map(|text| is_date(&self.decode(text)))),
            0x041e => self.dates.extend(data.get(3..).map(|text| is_date(&self.decode(text)))),
            0x0243 | 0x0443 => self.formats.extend(data.get(1)),
            0x0002 => self.cell(data, 7, |_, data| Some(Data::Int(word(data, 0)?.into()))),
            0x0003 => self.cell(data, 7, |_, data| float(data).map(Data::Float)),
            0x0203 => self.cell(data, 6, |_, data| float(data).map(Data::Float)),
            0x027e => self.cell(data, 6, |_, data| Some(Data::Float(packed(data)?))),
            0x0004 => self.cell(data, 7, |reader, data| Some(Data::String(reader.decode(data.get(1..)?)))),
            0x0204 => self.cell(data, 6, |reader, data| Some(Data::String(reader.decode(data.get(2..)?)))),
            0x0005 => self.cell(data, 7, |_, data| boolean(data)),
            0x0205 => self.cell(data, 6, |_, data| boolean(data)),
            0x0006 => self.formula(data, 7),
            0x0206 | 0x0406 => self.formula(data, 6),
            0x0007 => self.text_result(data.get(1..)),
            0x0207 => self.text_result(data.get(2..)),
            _ => {}
        }
        Ok(())
    }

    /// Keeps a cell: row and column come first, its value after `head` bytes.
    fn cell(&mut self, data: &[u8], head: usize, value: impl Fn(&Self, &[u8]) -> Option<Data>) {
        let (Some(row), Some(column)) = (word(data, 0), word(data, 2)) else { return };
        if row >= MAX_ROWS || column >= MAX_COLUMNS {
            return;
        }
        let value = data.get(head..).and_then(|rest| value(self, rest));
        // Of the formats only those of Excel 3 and 4 say which number is a date.
        let format = if head == 6 { word(data, 4) } else { None };
        if let Some(value) = value {
            let value = match value {
                Data::Float(number) => self.number(number, format),
                other => other,
            };
            self.cells.insert((row, column), value);
        }
    }

    fn number(&self, number: f64, format: Option<u16>) -> Data {
        let of_format = format.and_then(|format| self.formats.get(usize::from(format)));
        let is_date = of_format.and_then(|number| self.dates.get(usize::from(*number))).copied().unwrap_or(false);
        if is_date {
            Data::DateTime(ExcelDateTime::new(number, ExcelDateTimeType::DateTime, self.since_1904))
        } else {
            Data::Float(number)
        }
    }

    fn formula(&mut self, data: &[u8], head: usize) {
        match data.get(head..head + 8) {
            // Not a number, but a text that follows, a truth value, an error or nothing.
            Some([0, _, _, _, _, _, 0xff, 0xff]) => self.awaits_text = word(data, 0).zip(word(data, 2)),
            Some([1, _, value, _, _, _, 0xff, 0xff]) => {
                let value = *value != 0;
                self.cell(data, head, |_, _| Some(Data::Bool(value)));
            }
            Some([_, _, _, _, _, _, 0xff, 0xff]) | None => {}
            Some(_) => self.cell(data, head, |_, data| float(data).map(Data::Float)),
        }
    }

    fn text_result(&mut self, text: Option<&[u8]>) {
        if let (Some((row, column)), Some(text)) = (self.awaits_text.take(), text)
            && row < MAX_ROWS
            && column < MAX_COLUMNS
        {
            let text = self.decode(text);
            self.cells.insert((row, column), Data::String(text));
        }
    }

    fn decode(&self, text: &[u8]) -> String {
        let encoding: &'static Encoding = match self.code_page {
            0x8000 | 10_000 => MACINTOSH,
            866 => IBM866,
            437 | 850 | 852 => return crate::encoding::dos(text),
            _ => WINDOWS_1252,
        };
        encoding.decode_without_bom_handling(text).0.into_owned()
    }

    /// Ends the sheet that is being read.
    fn close(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        let name = self.name.take();
        if cells.is_empty() {
            return;
        }
        let last = cells.keys().map(|(row, _)| usize::from(*row)).max().unwrap_or(0);
        // A lone cell far down makes thousands of rows of a few bytes, in as many sheets as there is room for such bytes.
        self.rows += last + 1;
        if self.rows > MAX_ALL_ROWS {
            return;
        }
        let mut rows: Vec<Vec<Data>> = vec![Vec::new(); last + 1];
        for ((row, column), value) in cells {
            let row = &mut rows[usize::from(row)];
            row.resize(usize::from(column), Data::Empty);
            row.push(value);
        }
        self.sheets.push(Sheet { name, rows });
    }
}

fn word(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*data.get(at..)?.first_chunk()?))
}

fn float(data: &[u8]) -> Option<f64> {
    Some(f64::from_le_bytes(*data.first_chunk()?))
}

/// A number in four bytes: an integer or the upper half of a float, perhaps times 100.
fn packed(data: &[u8]) -> Option<f64> {
    let raw = u32::from_le_bytes(*data.first_chunk()?);
    let number =
        if raw & 2 != 0 { f64::from((raw as i32) >> 2) } else { f64::from_bits(u64::from(raw & 0xffff_fffc) << 32) };
    Some(if raw & 1 != 0 { number / 100.0 } else { number })
}

fn boolean(data: &[u8]) -> Option<Data> {
    match data {
        [value, 0, ..] => Some(Data::Bool(*value != 0)),
        _ => None,
    }
}

/// Whether a number format shows dates or times: it has their letters outside of quoted text and colours.
fn is_date(format: &str) -> bool {
    let mut quoted = None;
    let mut escaped = false;
    for c in format.to_lowercase().chars() {
        match (quoted, c) {
            _ if escaped => escaped = false,
            (None, '\\') => escaped = true,
            (None, '"') => quoted = Some('"'),
            (None, '[') => quoted = Some(']'),
            (Some(end), c) if c == end => quoted = None,
            (None, 'd' | 'y' | 'h' | 's' | 't' | 'j')
                if !format.eq_ignore_ascii_case("general") && format != "Standard" =>
            {
                return true;
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u16, data: &[u8]) -> Vec<u8> {
        [&id.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), data].concat()
    }

    fn head(row: u16, column: u16, format: u16) -> Vec<u8> {
        [row, column, format].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_sheet_of_excel_4_is_rows_of_cells() {
        let number = |row, column, format, value: f64| {
            record(0x0203, &[head(row, column, format), value.to_le_bytes().to_vec()].concat())
        };
        let label = |row, column, text: &[u8]| {
            record(0x0204, &[head(row, column, 0), (text.len() as u16).to_le_bytes().to_vec(), text.to_vec()].concat())
        };
        let packed =
            |row, column, raw: u32| record(0x027e, &[head(row, column, 0), raw.to_le_bytes().to_vec()].concat());
        let formula = [head(2, 0, 0), vec![0, 0, 0, 0, 0, 0, 0xff, 0xff], vec![0; 8]].concat();
        let bytes = [
            record(0x0409, &[0, 0, 0x10, 0, 0, 0]),
            record(0x041e, b"\0\0\x07General"),
            record(0x041e, b"\0\0\x08dd.mm.yy"),
            record(0x0443, &[0, 0, 0, 0]),
            record(0x0443, &[0, 1, 0, 0]),
            label(0, 0, b"Gr\xf6\xdfe"),
            label(0, 1, b"Tag"),
            number(1, 0, 0, 2.5),
            number(1, 1, 1, 45_000.0),
            record(0x0406, &formula),
            record(0x0207, b"\x03\0gut"),
            packed(2, 1, (120 << 2) | 3),
            record(0x000a, &[]),
        ]
        .concat();
        assert!(sniff(&bytes));
        let sheets = read(&bytes).unwrap();
        let shown: Vec<Vec<String>> = sheets[0].rows.iter().map(|row| super::super::cells(row)).collect();
        assert_eq!(shown, [["Größe", "Tag"], ["2.5", "2023-03-15"], ["gut", "1.2"]]);
        // Cut off anywhere, it gives what stands before.
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_ok());
        }
    }
}
