//! PDF: the characters and rules of each page → tables, columns, headings and paragraphs with their page.
//!
//! Characters and paths come from the reader inside the general extractor (`xberg-native-pdf`), which knows fonts, encodings
//! and encryption. What they mean on the page is decided here: that reader's own tables run cells into each other
//! (`0` and `1,096` become `01,096`), and its columns are read across at places. What cannot be read this way is left to
//! the general extractor as a whole.

mod columns;
mod glyph;
mod grid;
mod line;
mod paragraph;
mod rule;

use std::panic::{AssertUnwindSafe, catch_unwind};

use base::Place;
use xberg_native_pdf::PdfDocument;
use xberg_native_pdf::annotation_types::AnnotationSubtype;
use xberg_native_pdf::extractors::forms::{FieldValue, FormExtractor};
use xberg_native_pdf::optional_content::compute_default_off_ocgs;

use crate::error::Error;
use crate::format::{Block, BlockKind, Document};
use crate::table::{one_line, split_header};
use columns::Item;
use paragraph::Piece;

/// Pages that are named in a warning; of more, only the number is said.
const MAX_NAMED: usize = 12;

/// Reads the pages of a PDF, its notes and its form. `None` when it has no text this way: the caller tries the other.
///
/// # Errors
///
/// [`Error::Encrypted`] for a PDF that opens with a password only.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<Document>, Error> {
    let Ok(Ok(pdf)) = guarded(|| PdfDocument::from_bytes(bytes.to_vec())) else { return Ok(None) };
    if pdf.is_encrypted() && !guarded(|| pdf.authenticate(b"")).is_ok_and(|result| result.unwrap_or(false)) {
        return Err(Error::Encrypted);
    }
    let Ok(Ok(count)) = guarded(|| pdf.page_count()) else { return Ok(None) };
    let hidden = guarded(|| compute_default_off_ocgs(&pdf)).unwrap_or_default();
    let mut document = Document { format: "pdf".to_owned(), ..Document::default() };
    let mut pages: Vec<(u32, Vec<Piece>)> = Vec::new();
    let (mut failed, mut bare) = (Vec::new(), Vec::new());
    for index in 0..count {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        match guarded(|| page(&pdf, index, &hidden)) {
            Ok(Some(pieces)) => {
                if pieces.is_empty() {
                    bare.push(number);
                }
                pages.push((number, pieces));
            }
            _ => failed.push(number),
        }
    }
    let sizes = Sizes::of(&pages);
    for (number, pieces) in pages {
        document.blocks.extend(pieces.into_iter().map(|piece| sizes.block(piece, Place::page(number))));
        let notes = guarded(|| notes(&pdf, number as usize - 1)).unwrap_or_default();
        document
            .blocks
            .extend(notes.into_iter().map(|note| Block::new(BlockKind::Paragraph, note, Place::page(number))));
    }
    let fields = guarded(|| fields(&pdf)).unwrap_or_default();
    document.blocks.extend(fields.into_iter().map(|field| Block::new(BlockKind::ListItem, field, Place::default())));
    if document.blocks.is_empty() {
        return Ok(None);
    }
    if !failed.is_empty() {
        document.warnings.push(format!("{} cannot be read", named(&failed)));
    }
    if !bare.is_empty() {
        let warning = format!("{} without a text layer: images (a scan) or drawings, which are not read", named(&bare));
        document.warnings.push(warning);
    }
    document.metadata.insert("pages".to_owned(), count.to_string());
    let _ = guarded(|| describe(&pdf, &mut document));
    Ok(Some(document))
}

/// Damaged files make the reader panic at places; what was read before stays.
fn guarded<T>(read: impl FnOnce() -> T) -> std::thread::Result<T> {
    catch_unwind(AssertUnwindSafe(read))
}

/// What stands on a page, in reading order; `None` when it cannot be read.
fn page(pdf: &PdfDocument, index: usize, hidden: &std::collections::HashSet<String>) -> Option<Vec<Piece>> {
    let chars = pdf.extract_chars_filtered(index, hidden.clone(), std::collections::HashSet::new()).ok()?;
    if chars.iter().all(|one| one.char.is_whitespace()) {
        return Some(Vec::new());
    }
    let paths = guarded(|| pdf.extract_paths(index)).ok().and_then(Result::ok).unwrap_or_default();
    let mut pieces = Vec::new();
    for (direction, mut glyphs) in glyph::by_direction(&chars) {
        let mut items: Vec<Item> = Vec::new();
        if direction.is_square() && !paths.is_empty() {
            let tables = grid::tables(&rule::rules(&paths, direction), &mut glyphs);
            items.extend(tables.into_iter().map(Item::Table));
        }
        items.extend(line::segments(glyphs).into_iter().map(Item::Text));
        for region in columns::regions(items) {
            paragraph::pieces(region, &mut pieces);
        }
    }
    Some(pieces)
}

/// The text of notes and comments that stand on a page beside its content.
fn notes(pdf: &PdfDocument, index: usize) -> Vec<String> {
    let annotations = pdf.get_annotations(index).unwrap_or_default();
    let wanted = annotations.into_iter().filter(|annotation| {
        !matches!(
            annotation.subtype_enum,
            AnnotationSubtype::Link | AnnotationSubtype::Widget | AnnotationSubtype::Popup
        )
    });
    wanted.filter_map(|annotation| annotation.contents).filter(|text| !text.trim().is_empty()).collect()
}

/// The filled fields of the form as `name: value`.
fn fields(pdf: &PdfDocument) -> Vec<String> {
    let fields = FormExtractor::extract_fields(pdf).unwrap_or_default();
    let filled = fields.into_iter().filter_map(|field| {
        let value = match field.value {
            FieldValue::Text(text) | FieldValue::Name(text) => text,
            FieldValue::Array(values) => values.join(", "),
            FieldValue::Boolean(true) => "yes".to_owned(),
            FieldValue::Boolean(false) | FieldValue::None => String::new(),
        };
        let value = value.trim();
        (!value.is_empty() && value != "Off").then(|| format!("{}: {value}", field.full_name))
    });
    filled.collect()
}

/// What the PDF says of itself.
fn describe(pdf: &PdfDocument, document: &mut Document) {
    let Some(info) = pdf.trailer().as_dict().and_then(|trailer| trailer.get("Info")) else { return };
    let info = match info.as_reference() {
        Some(reference) => pdf.load_object(reference).ok(),
        None => Some(info.clone()),
    };
    let Some(info) = info.as_ref().and_then(|info| info.as_dict()) else { return };
    let text = |key: &str| {
        let text = info.get(key).and_then(|value| value.as_string()).map(string)?;
        let text = one_line(&text);
        (!text.is_empty()).then_some(text)
    };
    document.title = text("Title");
    for (name, key) in [
        ("subject", "Subject"),
        ("authors", "Author"),
        ("keywords", "Keywords"),
        ("created", "CreationDate"),
        ("modified", "ModDate"),
    ] {
        if let Some(text) = text(key) {
            let text = if key.ends_with("Date") { date(&text).unwrap_or(text) } else { text };
            document.metadata.insert(name.to_owned(), text);
        }
    }
}

/// A text string (ISO 32000-1, 7.9.2.2): UTF-16 or UTF-8 with a mark, else nearly Latin-1.
pub(crate) fn string(bytes: &[u8]) -> String {
    match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, length)) => encoding.decode_without_bom_handling(&bytes[length..]).0.into_owned(),
        None => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// `D:20260131120000+01'00'` as `2026-01-31T12:00:00`, or as much of it as there is.
fn date(text: &str) -> Option<String> {
    let digits: String = text.strip_prefix("D:").unwrap_or(text).chars().take_while(char::is_ascii_digit).collect();
    match digits.len() {
        14.. => Some(format!(
            "{}-{}-{}T{}:{}:{}",
            &digits[..4],
            &digits[4..6],
            &digits[6..8],
            &digits[8..10],
            &digits[10..12],
            &digits[12..14]
        )),
        8..14 => Some(format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..8])),
        _ => None,
    }
}

/// `page 3`, `pages 3, 5`, or how many where they are many.
fn named(pages: &[u32]) -> String {
    match pages {
        [one] => format!("page {one}"),
        few if few.len() <= MAX_NAMED => {
            format!("pages {}", few.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
        }
        many => format!("{} pages", many.len()),
    }
}

/// The sizes of text in a document: its body's, and those above it, largest first.
struct Sizes {
    body: f32,
    larger: Vec<f32>,
}

/// Headings deeper than this read as text.
const MAX_LEVELS: usize = 4;

impl Sizes {
    fn of(pages: &[(u32, Vec<Piece>)]) -> Self {
        let mut chars: std::collections::BTreeMap<u32, usize> = std::collections::BTreeMap::new();
        for piece in pages.iter().flat_map(|(_, pieces)| pieces) {
            if let Piece::Text { text, size, .. } = piece {
                *chars.entry((size * 2.0).round() as u32).or_default() += text.len();
            }
        }
        let body = chars.iter().max_by_key(|(_, count)| **count).map_or(10.0, |(half, _)| *half as f32 / 2.0);
        let mut larger: Vec<f32> = Vec::new();
        for piece in pages.iter().flat_map(|(_, pieces)| pieces) {
            if let Piece::Text { text, size, lines, .. } = piece
                && *size > body * 1.15
                && is_title(text, *lines)
                && !larger.iter().any(|known| (known - size).abs() < 0.8)
            {
                larger.push(*size);
            }
        }
        larger.sort_by(|a, b| b.total_cmp(a));
        larger.truncate(MAX_LEVELS);
        Self { body, larger }
    }

    fn block(&self, piece: Piece, place: Place) -> Block {
        match piece {
            Piece::Table(rows) => {
                // Two columns are most often names and values, without a header above them.
                let wide = rows.first().is_some_and(|row| row.len() >= 3);
                let (header, rows) = if wide { split_header(rows) } else { (Vec::new(), rows) };
                Block::table(header, rows, place)
            }
            Piece::Text { text, item: true, .. } => {
                Block::new(BlockKind::ListItem, text.trim_start_matches(paragraph::is_bullet).trim_start(), place)
            }
            Piece::Text { text, size, bold, lines, .. } => {
                let level = self.larger.iter().position(|known| (known - size).abs() < 0.8);
                let level = match level {
                    Some(level) if size > self.body * 1.15 => Some(level + 1),
                    _ if bold && lines <= 2 && text.len() <= 90 && !text.ends_with(['.', ',', ';', ':']) => {
                        Some(self.larger.len() + 1)
                    }
                    _ => None,
                };
                match level.filter(|_| is_title(&text, lines)) {
                    Some(level) => Block::new(BlockKind::Heading(level as u8), text, place),
                    None => Block::new(BlockKind::Paragraph, text, place),
                }
            }
        }
    }
}

/// Whether text can be a heading: short, and with a word in it.
fn is_title(text: &str, lines: usize) -> bool {
    lines <= 3
        && text.chars().count() <= 160
        && text.split(|c: char| !c.is_alphabetic()).any(|word| word.chars().count() >= 3)
}

#[cfg(test)]
mod tests;
