//! What the general extractor leaves out of a Word document: the cells of tables as plain text with the rows and columns they
//! span, of boxes drawn as a group all but the last, and the numbers of headings and lists.
//!
//! Read from the document's own XML (ECMA-376 part 1, WordprocessingML); what is missing or damaged there is left to the
//! extractor.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use quick_xml::events::BytesStart;

use super::numbering::{LEVELS, Numbered, Numbering};
use crate::format::Limits;
use crate::table::{Area, one_line};
use crate::xml::{Visit, local, walk};

/// The widest table Word makes; a larger span is damage.
const MAX_COLUMNS: usize = 63;
/// Cells of all tables together; beyond that the file is made to be large.
const MAX_CELLS: usize = 2_000_000;

/// The tables, groups of boxes and numbered paragraphs of a document's body, in its order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Word {
    pub tables: Vec<Grid>,
    pub groups: Vec<Group>,
    pub labels: Vec<Label>,
}

/// A paragraph outside tables and boxes that is shown with a number.
#[derive(Debug, PartialEq)]
pub(super) struct Label {
    pub number: String,
    pub text: String,
}

/// A table: cells in their columns, covered ones empty.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grid {
    pub rows: Vec<Vec<String>>,
    pub merged: Vec<Area>,
}

/// Boxes with text that one drawing holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Group {
    /// The paragraphs of the boxes before the last one.
    pub lost: Vec<String>,
    /// The last box, which the extractor reads.
    pub last: String,
}

/// Reads the parts of a document; nothing where the main one is missing.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Word {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else { return Word::default() };
    let mut part = |name: &str| {
        let mut text = String::new();
        let part = archive.by_name(&format!("word/{name}.xml")).ok()?;
        part.take(limits.max_unpacked_bytes).read_to_string(&mut text).ok()?;
        Some(text)
    };
    let Some(text) = part("document") else { return Word::default() };
    let numbering = match part("numbering") {
        Some(numbering) => Numbering::read(&numbering, &part("styles").unwrap_or_default()),
        None => Numbering::default(),
    };
    of_xml(&text, numbering)
}

fn of_xml(text: &str, numbering: Numbering) -> Word {
    let mut walker = Walker { numbering, ..Walker::default() };
    // A table that is cut off has no end and is not among those found.
    let _damage = walk(text, &mut walker);
    walker.word
}

/// What an open element is to us.
#[derive(Clone, Copy, PartialEq)]
enum Element {
    Table,
    Row,
    Cell,
    Paragraph,
    Properties,
    Text,
    Drawing,
    Box,
    Hidden,
    Other,
}

/// How a cell stands to the one above it (`vMerge`).
#[derive(Clone, Copy, Default)]
enum Merge {
    #[default]
    Alone,
    Begins,
    GoesOn,
}

#[derive(Default)]
struct Walker {
    word: Word,
    numbering: Numbering,
    open: Vec<Element>,
    /// How many of the open elements hold what is not shown: changes that were undone, the same content for older programs.
    hidden: usize,
    tables: usize,
    drawings: usize,
    boxes: usize,
    cells: usize,
    grid: Grid,
    row: Vec<String>,
    cell: String,
    span: usize,
    merge: Merge,
    /// The merged cell that ends in the row above, by its column: its position among the table's.
    above: HashMap<usize, usize>,
    /// The boxes of the drawing, each its paragraphs.
    group: Vec<Vec<String>>,
    paragraph: String,
    /// What the open paragraph says of its number, the number, and its text outside tables and boxes.
    numbered: Numbered,
    number: Option<String>,
    line: String,
}

impl Visit for Walker {
    fn open(&mut self, start: &BytesStart<'_>, _at: usize) {
        let element = if self.hidden > 0 { Element::Hidden } else { self.element(start) };
        match element {
            Element::Hidden => self.hidden += 1,
            Element::Table if self.boxes == 0 => self.tables += 1,
            Element::Drawing => self.drawings += 1,
            Element::Box => {
                self.boxes += 1;
                self.group.push(Vec::new());
            }
            _ => {}
        }
        self.open.push(element);
    }

    fn text(&mut self, text: &str) {
        if self.open.last() == Some(&Element::Text) {
            self.say(text);
        }
    }

    fn close(&mut self, _at: usize) {
        match self.open.pop() {
            Some(Element::Hidden) => self.hidden -= 1,
            Some(Element::Paragraph) => self.end_paragraph(),
            Some(Element::Properties) if self.boxes == 0 => self.count(),
            Some(Element::Cell) if self.is_in_table() => self.end_cell(),
            Some(Element::Row) if self.is_in_table() => self.grid.rows.push(std::mem::take(&mut self.row)),
            Some(Element::Table) if self.boxes == 0 => {
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    self.word.tables.push(std::mem::take(&mut self.grid));
                    self.above.clear();
                    self.row.clear();
                }
            }
            Some(Element::Box) => {
                self.end_paragraph();
                self.boxes -= 1;
            }
            Some(Element::Drawing) => {
                self.drawings -= 1;
                if self.drawings == 0 {
                    self.end_group();
                }
            }
            _ => {}
        }
    }
}

impl Walker {
    fn element(&mut self, start: &BytesStart<'_>) -> Element {
        match local(start) {
            "tbl" => Element::Table,
            "tr" => Element::Row,
            "tc" => {
                if self.is_in_table() {
                    (self.span, self.merge) = (1, Merge::Alone);
                }
                Element::Cell
            }
            "gridBefore" if self.is_in_table() => {
                let columns = number(start).unwrap_or(0).min(MAX_COLUMNS);
                self.row.resize(self.row.len() + columns, String::new());
                Element::Other
            }
            "gridSpan" if self.is_in_table() => {
                self.span = number(start).unwrap_or(1).clamp(1, MAX_COLUMNS);
                Element::Other
            }
            "vMerge" if self.is_in_table() => {
                let begins = value(start).is_some_and(|value| value == "restart");
                self.merge = if begins { Merge::Begins } else { Merge::GoesOn };
                Element::Other
            }
            "p" => {
                if self.boxes == 0 {
                    self.line.clear();
                    self.number = None;
                }
                Element::Paragraph
            }
            "pPr" => {
                self.numbered = Numbered::default();
                Element::Properties
            }
            "pStyle" => {
                self.numbered.style = value(start);
                Element::Other
            }
            "numId" => {
                self.numbered.list = value(start);
                Element::Other
            }
            "ilvl" => {
                self.numbered.level = number(start).filter(|level| *level < LEVELS);
                Element::Other
            }
            "t" => Element::Text,
            "drawing" | "pict" | "object" => Element::Drawing,
            "txbxContent" if self.drawings > 0 => Element::Box,
            "tab" | "br" | "cr" | "ptab" => {
                self.say(" ");
                Element::Other
            }
            "noBreakHyphen" => {
                self.say("-");
                Element::Other
            }
            "Fallback" | "del" | "moveFrom" => Element::Hidden,
            name if name.ends_with("Change") => Element::Hidden,
            _ => Element::Other,
        }
    }

    /// Whether what comes belongs to a table of the body; tables inside its cells are text of those.
    fn is_in_table(&self) -> bool {
        self.tables == 1 && self.boxes == 0
    }

    fn say(&mut self, text: &str) {
        if self.boxes > 0 {
            self.paragraph.push_str(text);
        } else if self.tables > 0 {
            self.cell.push_str(text);
        } else if self.number.is_some() {
            self.line.push_str(text);
        }
    }

    /// Counts the open paragraph. In a cell its number is text.
    fn count(&mut self) {
        let number = self.numbering.next(&self.numbered);
        if self.tables > 0 {
            number.iter().for_each(|number| self.cell.extend([number, " "]));
        } else {
            self.number = number;
        }
    }

    fn end_paragraph(&mut self) {
        if self.boxes == 0 {
            self.say(" ");
            if let Some(number) = self.number.take().filter(|_| self.tables == 0) {
                let text = one_line(&std::mem::take(&mut self.line));
                if !text.is_empty() {
                    self.word.labels.push(Label { number, text });
                }
            }
            return;
        }
        let paragraph = one_line(&std::mem::take(&mut self.paragraph));
        if let Some(last) = self.group.last_mut().filter(|_| !paragraph.is_empty()) {
            last.push(paragraph);
        }
    }

    fn end_cell(&mut self) {
        let (row, column, span) = (self.grid.rows.len(), self.row.len(), self.span);
        let mut text = one_line(&std::mem::take(&mut self.cell));
        self.cells += span;
        if self.cells > MAX_CELLS {
            return;
        }
        let above = self.above.remove(&column);
        let area = Area { row, column, more_rows: 0, more_columns: span - 1 };
        match (self.merge, above) {
            (Merge::GoesOn, Some(area)) if ends_above(&self.grid.merged[area], row) => {
                self.grid.merged[area].more_rows += 1;
                self.above.insert(column, area);
                text.clear();
            }
            (Merge::Begins, _) => {
                self.above.insert(column, self.grid.merged.len());
                self.grid.merged.push(area);
            }
            _ if span > 1 => self.grid.merged.push(area),
            _ => {}
        }
        self.row.push(text);
        self.row.resize(column + span, String::new());
    }

    fn end_group(&mut self) {
        let mut boxes = std::mem::take(&mut self.group);
        boxes.retain(|paragraphs| !paragraphs.is_empty());
        if let Some(last) = boxes.pop().filter(|_| !boxes.is_empty()) {
            self.word.groups.push(Group { lost: boxes.concat(), last: last.join(" ") });
        }
    }
}

fn ends_above(area: &Area, row: usize) -> bool {
    area.row + area.more_rows + 1 == row
}

/// An attribute, in whatever namespace.
pub(super) fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = start.attributes();
    attributes.with_checks(false).filter_map(Result::ok).find_map(|attribute| {
        let key: &str = attribute.key.into_inner();
        (key.rsplit(':').next() == Some(name)).then(|| crate::xml::unescape(&attribute.value))
    })
}

/// The attribute `val`.
pub(super) fn value(start: &BytesStart<'_>) -> Option<String> {
    attribute(start, "val")
}

fn number(start: &BytesStart<'_>) -> Option<usize> {
    value(start)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(properties: &str, text: &str) -> String {
        format!("<w:tc><w:tcPr>{properties}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>")
    }

    #[test]
    fn cells_have_their_columns_and_what_they_span() {
        let rows = [
            cell("<w:vMerge w:val='restart'/>", "Artikel") + &cell("<w:gridSpan w:val='2'/>", "Maße"),
            cell("<w:vMerge/>", "") + &cell("", "Breite") + &cell("", "Tiefe"),
            cell("<w:vMerge w:val='restart'/>", "WDU") + &cell("", "5,1") + &cell("", "47"),
            cell("<w:vMerge w:val='continue'/>", "") + &cell("", "6,1") + &cell("", "47"),
            format!("<w:trPr><w:gridBefore w:val='1'/></w:trPr>{}", cell("", "x")),
        ];
        let rows = rows.map(|row| format!("<w:tr>{row}</w:tr>")).concat();
        let word =
            of_xml(&format!("<w:document><w:body><w:tbl>{rows}</w:tbl></w:body></w:document>"), Numbering::default());
        let area = |row, column, more_rows, more_columns| Area { row, column, more_rows, more_columns };
        let line = |line: &str| line.split(';').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            word.tables,
            [Grid {
                rows: ["Artikel;Maße;", ";Breite;Tiefe", "WDU;5,1;47", ";6,1;47", ";x"].map(line).to_vec(),
                merged: vec![area(0, 0, 1, 0), area(0, 1, 0, 1), area(2, 0, 1, 0)],
            }]
        );
    }

    #[test]
    fn cells_read_as_shown() {
        let text = "<w:p><w:r><w:rPr><w:b/></w:rPr><w:t>Art_</w:t></w:r><w:r><w:t>Nr</w:t><w:br/><w:t>[a](b)</w:t></w:r>\
                    <w:del><w:r><w:delText>alt</w:delText><w:t>alt</w:t></w:r></w:del></w:p>\
                    <w:tbl><w:tr><w:tc><w:p><w:r><w:t>innen</w:t></w:r></w:p></w:tc></w:tr></w:tbl>";
        let word = of_xml(&format!("<w:tbl><w:tr><w:tc>{text}</w:tc></w:tr></w:tbl>"), Numbering::default());
        assert_eq!(word.tables[0].rows, [["Art_Nr [a](b) innen"]]);
        assert_eq!(word.tables.len(), 1);
    }

    #[test]
    fn all_boxes_of_a_group_are_there() {
        let text = |text: &str| format!("<w:txbxContent><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:txbxContent>");
        let drawing = |boxes: &str| format!("<w:p><w:r><w:drawing>{boxes}</w:drawing></w:r></w:p>");
        let fallback = format!("<mc:Fallback>{}</mc:Fallback>", drawing(&text("doppelt")));
        let group = drawing(&format!("{}{}", text("Anschrift"), text("Telefon")));
        let word =
            of_xml(&format!("<w:body>{}{group}{fallback}</w:body>", drawing(&text("allein"))), Numbering::default());
        assert_eq!(word.groups, [Group { lost: vec!["Anschrift".to_owned()], last: "Telefon".to_owned() }]);
    }

    #[test]
    fn what_is_cut_off_or_made_to_be_large_is_no_danger() {
        assert_eq!(of_xml("<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a", Numbering::default()), Word::default());
        let row = format!("<w:tr>{}</w:tr>", cell("<w:gridSpan w:val='4000000000'/>", "a").repeat(3));
        let word = of_xml(&format!("<w:tbl>{row}</w:tbl></w:tbl></w:txbxContent></w:drawing>"), Numbering::default());
        assert_eq!(word.tables[0].rows[0].len(), 3 * MAX_COLUMNS);
    }

    #[test]
    fn paragraphs_have_the_numbers_they_are_shown_with() {
        let level = |at, text| {
            format!(
                "<w:lvl w:ilvl='{at}'><w:start w:val='1'/><w:numFmt w:val='decimal'/><w:lvlText w:val='{text}'/></w:lvl>"
            )
        };
        let parts = format!(
            "<w:numbering><w:abstractNum w:abstractNumId='0'>{}{}</w:abstractNum><w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num></w:numbering>",
            level(0, "%1"),
            level(1, "%1.%2")
        );
        let paragraph = |level: usize, text: &str| {
            format!(
                "<w:p><w:pPr><w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='1'/></w:numPr></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
            )
        };
        let plain = "<w:p><w:r><w:t>Text</w:t></w:r></w:p>";
        let gone = format!("<w:del>{}</w:del>", paragraph(0, "Gestrichen"));
        let table = format!("<w:tbl><w:tr><w:tc>{}</w:tc><w:tc>{plain}</w:tc></w:tr></w:tbl>", paragraph(1, ""));
        let body = [
            paragraph(0, "Allgemeines"),
            plain.to_owned(),
            gone,
            paragraph(1, "Maße &amp; Gewichte"),
            table,
            paragraph(1, "Technische Daten"),
        ];
        let word = of_xml(&format!("<w:body>{}</w:body>", body.concat()), Numbering::read(&parts, ""));
        let labels: Vec<String> = word.labels.iter().map(|label| format!("{}|{}", label.number, label.text)).collect();
        assert_eq!(labels, ["1|Allgemeines", "1.1|Maße & Gewichte", "1.3|Technische Daten"]);
        assert_eq!(word.tables[0].rows, [["1.2", "Text"]]);
    }
}
