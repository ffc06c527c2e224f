//! The formats read by the general extractor (`xberg`): Word, PowerPoint, OpenDocument, HTML, Outlook, some hundred more, and
//! PDFs in which our own reader finds no text. Here its element tree becomes blocks.

mod numbering;
mod word;

use std::collections::{HashMap, VecDeque};

use base::Place;
use xberg::types::document_structure::{ContentLayer, NodeContent, TableGrid};
use xberg::{
    ContentFilterConfig, ExtractInput, ExtractedDocument, ExtractionConfig, OutputFormat, SecurityLimits, XbergError,
};

use crate::error::Error;
use crate::format::{Block, BlockKind, Document, Limits};
use crate::table::{Area, fill_merged, one_line, split_header, width};
use word::{Grid, Group, Label, Word};

/// Reads bytes of a known format.
pub(crate) fn read(bytes: &[u8], format: &str, media_type: &str, limits: &Limits) -> Result<Document, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_stack_size(32 << 20)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::NoWorker { reason: format!("no runtime: {error}") })?;
    let input = ExtractInput::from_bytes(bytes.to_vec(), media_type, None);
    let result = runtime.block_on(xberg::extract(input, &config(format, limits))).map_err(refuse)?;
    if let Some(failure) = result.errors.first() {
        return Err(refuse_text(&failure.message));
    }
    let Some(extracted) = result.results.into_iter().next() else {
        return Err(Error::unreadable("the reader gave no result"));
    };
    let word = if format == "docx" { word::read(bytes, limits) } else { Word::default() };
    Ok(document(extracted, format, word))
}

/// Nothing is cached, fetched or recognised from images; headers, footers and notes are text as well.
fn config(format: &str, limits: &Limits) -> ExtractionConfig {
    // Slides come as text cut into blocks, in which only Markdown tells tables from paragraphs.
    let slides = matches!(format, "pptx" | "ppt");
    ExtractionConfig {
        output_format: if slides { OutputFormat::Markdown } else { OutputFormat::Plain },
        use_cache: false,
        enable_quality_processing: false,
        disable_ocr: true,
        include_document_structure: true,
        escape_markdown: false,
        extraction_timeout_secs: None,
        max_archive_depth: limits.max_depth.min(4) as usize,
        max_embedded_file_bytes: Some(limits.max_unpacked_bytes / 4),
        content_filter: Some(ContentFilterConfig {
            include_headers: true,
            include_footers: true,
            include_footnotes: true,
            strip_repeating_text: false,
            include_watermarks: false,
        }),
        security_limits: Some(SecurityLimits {
            max_archive_size: limits.max_unpacked_bytes as usize,
            max_files_in_archive: limits.max_parts as usize * 5,
            max_table_cells: 2_000_000,
            max_compression_ratio: 1_000,
            ..SecurityLimits::default()
        }),
        ..ExtractionConfig::default()
    }
}

fn refuse(error: XbergError) -> Error {
    match error {
        XbergError::UnsupportedFormat(format) => Error::unsupported(format),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(&other);
            while let Some(error) = cause {
                let more = error.to_string();
                if !text.contains(&more) {
                    text = format!("{text}: {more}");
                }
                cause = error.source();
            }
            refuse_text(&text)
        }
    }
}

fn refuse_text(message: &str) -> Error {
    let lower = message.to_lowercase();
    if ["password", "encrypted", "decrypt"].iter().any(|word| lower.contains(word)) {
        return Error::Encrypted;
    }
    let message = ["Parsing error: ", "Security violation: ", "IO error: "]
        .iter()
        .fold(message, |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    Error::unreadable(message.chars().take(300).collect::<String>())
}

fn document(extracted: ExtractedDocument, format: &str, word: Word) -> Document {
    let paged_as_slides = matches!(format, "pptx" | "ppt" | "odp" | "key");
    let mut blocks = blocks(&extracted, paged_as_slides, word.tables, word.labels);
    add_boxes(&mut blocks, word.groups);
    if format == "docx" {
        blocks.iter_mut().for_each(|block| block.text = unmarked(&block.text));
    }
    let mut document = Document { format: format.to_owned(), blocks, ..Document::default() };
    let metadata = extracted.metadata;
    document.title = metadata.title;
    let list = |items: Option<Vec<String>>| items.map(|items| items.join(", "));
    for (key, value) in [
        ("subject", metadata.subject),
        ("authors", list(metadata.authors)),
        ("keywords", list(metadata.keywords)),
        ("created", metadata.created_at),
        ("modified", metadata.modified_at),
    ] {
        if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
            document.metadata.insert(key.to_owned(), value);
        }
    }
    if format == "pdf" && extracted.counts.pages > 0 {
        document.metadata.insert("pages".to_owned(), extracted.counts.pages.to_string());
    }
    for field in &extracted.form_fields {
        if let Some(value) = field.value.as_deref().map(str::trim).filter(|value| !value.is_empty() && *value != "Off")
        {
            let text = format!("{}: {value}", field.full_name);
            document.blocks.push(Block::new(BlockKind::ListItem, text, Place::default()));
        }
    }
    for warning in extracted.processing_warnings {
        document.warnings.push(warning.message.into());
    }
    for child in extracted.children.unwrap_or_default() {
        let name = one_line(&child.path);
        let format = crate::detect::extension(&name);
        let part = self::document(*child.result, &format, Word::default());
        if part.blocks.iter().any(|block| !block.is_blank()) {
            crate::read::append(&mut document, part, &name);
        }
    }
    document
}

/// The element tree as blocks; the plain content where the tree lost too much of it. Tables stand as `tables` has them, where
/// those are the same, and paragraphs with their number among `labels`.
fn blocks(extracted: &ExtractedDocument, slides: bool, tables: Vec<Grid>, labels: Vec<Label>) -> Vec<Block> {
    let blocks = tree_blocks(extracted, slides, tables.into(), labels.into());
    let count = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
    let in_tree: usize = blocks
        .iter()
        .map(|block| match &block.kind {
            BlockKind::Table { header, rows } => {
                header.iter().chain(rows.iter().flatten()).map(|cell| count(cell)).sum()
            }
            _ => count(&block.text),
        })
        .sum();
    // The plain content says the attributes of headings as well, the names of their styles for instance: none of it is text.
    let headings = extracted.document.iter().flat_map(|structure| &structure.nodes);
    let headings = headings.filter(|node| matches!(node.content, NodeContent::Heading { .. }));
    let attributes = headings.filter_map(|node| node.attributes.as_ref()).flatten();
    let added: usize = attributes.map(|(key, value)| count(key) + count(value)).sum();
    if in_tree * 10 >= count(&extracted.content).saturating_sub(added) * 8 {
        return blocks;
    }
    let mut blocks = crate::text::paragraphs(&extracted.content, 1);
    for block in &mut blocks {
        // Lines of the extractor's rendering are no lines of the file.
        block.place = Place::default();
    }
    blocks
}

/// Groups of boxes looked for in one document; beyond that the file is made to be large.
const MAX_GROUPS: usize = 1_000;

/// Puts the boxes the extractor lost before the last one of their group.
fn add_boxes(blocks: &mut Vec<Block>, groups: Vec<Group>) {
    let mut from = 0;
    for group in groups.into_iter().take(MAX_GROUPS) {
        let last = letters(&group.last);
        let at = blocks.iter().skip(from).position(|block| letters(&block.text) == last).map(|at| from + at);
        let at = at.unwrap_or(blocks.len());
        let place = blocks.get(at).map(|block| block.place.clone()).unwrap_or_default();
        let lost: Vec<Block> =
            group.lost.into_iter().map(|text| Block::new(BlockKind::Paragraph, text, place.clone())).collect();
        if at < blocks.len() {
            from = at + lost.len() + 1;
        }
        blocks.splice(at..at, lost);
    }
}

/// The letters and digits of a text: what two ways of writing it down have in common.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

fn tree_blocks(
    extracted: &ExtractedDocument,
    slides: bool,
    mut tables: VecDeque<Grid>,
    mut labels: VecDeque<Label>,
) -> Vec<Block> {
    let mut blocks = Vec::new();
    let Some(structure) = &extracted.document else {
        return blocks;
    };
    let mut slide = None;
    // How many items of each numbered list have been seen, by the list's node.
    let mut counts: HashMap<u32, u32> = HashMap::new();
    for node in &structure.nodes {
        if let NodeContent::Slide { number, .. } = &node.content {
            slide = Some(*number);
        }
        let place = if slides {
            Place { slide: node.page.or(slide), ..Place::default() }
        } else {
            Place {
                page: node.page,
                page_last: node.page_end.filter(|last| Some(*last) != node.page),
                ..Place::default()
            }
        };
        let aside = matches!(node.content_layer, ContentLayer::Header | ContentLayer::Footer);
        let mut number = None;
        let (kind, text) = match &node.content {
            NodeContent::Title { text } => (BlockKind::Heading(1), text.clone()),
            NodeContent::Heading { text, .. } if aside => (BlockKind::Paragraph, text.clone()),
            NodeContent::Heading { level, text } => (BlockKind::Heading((*level).clamp(1, 9)), text.clone()),
            NodeContent::Paragraph { text }
            | NodeContent::Footnote { text }
            | NodeContent::Comment { text }
            | NodeContent::Formula { text }
            | NodeContent::Citation { text, .. } => (BlockKind::Paragraph, text.clone()),
            NodeContent::ListItem { text } => {
                let list = node.parent.filter(|parent| {
                    let parent = structure.nodes.get(parent.0 as usize).map(|node| &node.content);
                    matches!(parent, Some(NodeContent::List { ordered: true }))
                });
                number = list.map(|list| {
                    let count = counts.entry(list.0).or_default();
                    *count += 1;
                    format!("{count}.")
                });
                (BlockKind::ListItem, text.clone())
            }
            NodeContent::Code { text, .. } => (BlockKind::Code, text.clone()),
            NodeContent::Table { grid } => {
                let own = if aside { None } else { take_same(&mut tables, grid) };
                blocks.push(table(grid, own, place));
                continue;
            }
            NodeContent::Slide { title: Some(title), .. } => (BlockKind::Heading(1), title.clone()),
            NodeContent::Image { description: Some(text), .. } => (BlockKind::Paragraph, text.clone()),
            NodeContent::DefinitionItem { term, definition } => (BlockKind::ListItem, format!("{term}: {definition}")),
            NodeContent::Admonition { title: Some(title), .. } => (BlockKind::Paragraph, title.clone()),
            NodeContent::RawBlock { content, .. } => (BlockKind::Code, content.clone()),
            NodeContent::MetadataBlock { entries } => {
                let lines: Vec<String> =
                    entries.iter().map(|entry| format!("{}: {}", entry.key, entry.value)).collect();
                (BlockKind::Paragraph, lines.join("\n"))
            }
            _ => continue,
        };
        let text = text.trim();
        if !aside {
            number = take_label(&mut labels, text).or(number);
        }
        if !text.is_empty() {
            let text = number.map_or_else(|| text.to_owned(), |number| format!("{number} {text}"));
            blocks.push(Block::new(kind, text, place));
        }
    }
    blocks
}

/// How many numbered paragraphs the extractor may have left out between two it read.
const MAX_LABELS_SKIPPED: usize = 5;

/// Takes the number of the next paragraph of this text, and drops those before it.
fn take_label(labels: &mut VecDeque<Label>, text: &str) -> Option<String> {
    if labels.is_empty() {
        return None;
    }
    let wanted = letters(&unmarked(text));
    let at = labels.iter().take(MAX_LABELS_SKIPPED).position(|label| letters(&label.text) == wanted)?;
    labels.drain(..=at).next_back().map(|label| label.number)
}

/// A cell without the Markdown of one that is bold as a whole: `**Summe**` is `Summe`.
fn unstressed(cell: &str) -> &str {
    let inner = cell.strip_prefix("**").and_then(|cell| cell.strip_suffix("**"));
    inner.filter(|inner| !inner.is_empty() && !inner.contains('*')).unwrap_or(cell)
}

/// A cell without the Markdown its links were written in: `[text](target "title")` is `text`.
fn unlinked(cell: &str) -> String {
    if !cell.contains("](") {
        return cell.to_owned();
    }
    let mut out = String::with_capacity(cell.len());
    // Where the text of each open bracket begins in `out`.
    let mut open: Vec<usize> = Vec::new();
    let mut rest = cell;
    while let Some(c) = rest.chars().next() {
        match c {
            '[' => {
                open.push(out.len());
                out.push(c);
            }
            ']' => match open.pop() {
                Some(start) if rest.starts_with("](") => {
                    if let Some(end) = target_end(&rest[2..]) {
                        let text_start = if out[..start].ends_with('!') { start - 1 } else { start };
                        let text = out.split_off(start);
                        out.truncate(text_start);
                        out.push_str(&text[1..]);
                        rest = &rest[2 + end..];
                        continue;
                    }
                    out.push(c);
                }
                _ => out.push(c),
            },
            '\\' if rest[1..].starts_with(['[', ']', '(', ')']) => {
                rest = &rest[1..];
                out.extend(rest.chars().next());
            }
            other => out.push(other),
        }
        rest = &rest[rest.chars().next().map_or(1, char::len_utf8)..];
    }
    out
}

/// The length of a link's target with its closing parenthesis; parentheses in it are paired, those in its title are not.
fn target_end(target: &str) -> Option<usize> {
    let (mut depth, mut quoted) = (0_u32, false);
    for (at, c) in target.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => return Some(at + 1),
            ')' if !quoted => depth -= 1,
            _ => {}
        }
    }
    None
}

/// A text without the marks the extractor puts where a note or a comment of a Word document belongs: `[^1]`, `[cmt:0]`.
fn unmarked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let number = after.strip_prefix("cmt:").or_else(|| after.strip_prefix('^'));
        let number = number.filter(|number| number.starts_with(|c: char| c.is_ascii_digit()));
        rest = match number.and_then(|number| number.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(']'))
        {
            Some(behind) => behind,
            None => {
                out.push('[');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

/// How many tables the extractor may have left out between two it read.
const MAX_SKIPPED: usize = 50;

/// Takes the next table that has the rows of `grid` and begins with the same text, and drops those before it.
fn take_same(tables: &mut VecDeque<Grid>, grid: &TableGrid) -> Option<Grid> {
    let is_same = |own: &Grid| {
        let begin = own.rows.iter().enumerate().find_map(|(row, cells)| {
            let cell = cells.iter().find(|cell| !cell.is_empty())?;
            Some((row, letters(cell).chars().take(16).collect::<String>()))
        });
        own.rows.len() == grid.rows as usize
            && begin.is_none_or(|(row, begin)| {
                let cells = grid.cells.iter().filter(|cell| cell.row as usize == row);
                let text: String = cells.map(|cell| cell.content.replace("<u>", "").replace("</u>", "")).collect();
                letters(&text).contains(&begin)
            })
    };
    let at = tables.iter().take(MAX_SKIPPED).position(is_same)?;
    tables.drain(..=at).next_back()
}

/// A grid as a table, with the cells of `own` where those are given. Two columns are most often names and values, without a
/// header above them.
fn table(grid: &TableGrid, own: Option<Grid>, place: Place) -> Block {
    let Grid { mut rows, merged } = own.unwrap_or_else(|| cells(grid));
    for row in &mut rows {
        if row.iter().all(String::is_empty) {
            row.clear();
        }
    }
    fill_merged(&mut rows, &merged);
    rows.retain(|row| !row.is_empty());
    let columns = width(&rows).max(grid.cols as usize);
    let (header, rows) = if columns >= 3 { split_header(rows) } else { (Vec::new(), rows) };
    Block::table(header, rows, place)
}

fn cells(grid: &TableGrid) -> Grid {
    let mut rows: Vec<Vec<String>> = vec![Vec::new(); (grid.rows as usize).min(1_000_000)];
    let mut merged = Vec::new();
    for cell in &grid.cells {
        let (row, column) = (cell.row as usize, cell.col as usize);
        if cell.row_span > 1 || cell.col_span > 1 {
            let more = |span: u32| span.saturating_sub(1) as usize;
            merged.push(Area { row, column, more_rows: more(cell.row_span), more_columns: more(cell.col_span) });
        }
        if let Some(row) = rows.get_mut(row) {
            if row.len() <= column && column < (grid.cols as usize).max(1) {
                row.resize(column + 1, String::new());
            }
            if let Some(place) = row.get_mut(column) {
                *place = unlinked(unstressed(cell.content.trim()));
            }
        }
    }
    Grid { rows, merged }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: &str = "xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'";

    /// A Word document of this body, in which the style `H` is a heading, with more parts.
    fn docx(body: &str, more: &[(&str, String)]) -> Vec<u8> {
        let style = "<w:style w:type='paragraph' w:styleId='H'><w:name w:val='heading 1'/><w:pPr><w:outlineLvl w:val='0'/></w:pPr></w:style>";
        let types = "<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'><Default Extension='xml' ContentType='application/xml'/></Types>";
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let parts = [
            ("[Content_Types].xml", types.to_owned()),
            ("word/styles.xml", format!("<w:styles {W}>{style}</w:styles>")),
            ("word/document.xml", format!("<w:document {W}><w:body>{body}</w:body></w:document>")),
        ];
        for (name, content) in parts.iter().chain(more) {
            archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            std::io::Write::write_all(&mut archive, content.as_bytes()).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    fn read_docx(body: &str) -> Document {
        read_docx_with(body, &[])
    }

    fn read_docx_with(body: &str, more: &[(&str, String)]) -> Document {
        read(
            &docx(body, more),
            "docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            &Limits::default(),
        )
        .unwrap()
    }

    #[test]
    fn a_name_over_several_rows_of_a_word_table_stands_in_each() {
        let cell = |merge: &str, text: &str| {
            format!("<w:tc><w:tcPr>{merge}</w:tcPr><w:p><w:r><w:rPr><w:b/></w:rPr><w:t>{text}</w:t></w:r></w:p></w:tc>")
        };
        let rows = [
            cell("", "Artikel") + &cell("", "Länge mm") + &cell("", "Preis"),
            cell("<w:vMerge w:val='restart'/>", "WDU 2.5") + &cell("", "40") + &cell("", "1,20"),
            cell("<w:vMerge/>", "") + &cell("", "60") + &cell("", "1,50"),
            cell("", "Summe") + &cell("<w:gridSpan w:val='2'/>", "2,70"),
        ];
        let rows = rows.map(|row| format!("<w:tr>{row}</w:tr>")).concat();
        let document = read_docx(&format!("<w:tbl>{rows}</w:tbl>"));
        let BlockKind::Table { header, rows } = &document.blocks[0].kind else { panic!("{document:?}") };
        assert_eq!(header, &["Artikel", "Länge mm", "Preis"]);
        assert_eq!(rows[..2], [["WDU 2.5", "40", "1,20"], ["WDU 2.5", "60", "1,50"]]);
        assert_eq!(rows[2][..2], ["Summe", "2,70"]);
    }

    #[test]
    fn short_word_documents_keep_their_headings_and_tables() {
        let heading = "<w:p><w:pPr><w:pStyle w:val='H'/></w:pPr><w:r><w:t>Kopf</w:t></w:r></w:p>";
        let table = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Ort</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>Ulm</w:t></w:r></w:p></w:tc></w:tr></w:tbl>";
        let kinds: Vec<BlockKind> =
            read_docx(&format!("{heading}{table}")).blocks.into_iter().map(|block| block.kind).collect();
        let rows = vec![vec!["Ort".to_owned(), "Ulm".to_owned()]];
        assert_eq!(kinds, [BlockKind::Heading(1), BlockKind::Table { header: Vec::new(), rows }]);
    }

    #[test]
    fn headings_and_items_have_the_numbers_word_shows() {
        let level = |at, format, text| {
            format!(
                "<w:lvl w:ilvl='{at}'><w:start w:val='4'/><w:numFmt w:val='{format}'/><w:lvlText w:val='{text}'/></w:lvl>"
            )
        };
        let numbering = format!(
            "<w:numbering {W}><w:abstractNum w:abstractNumId='0'>{}{}</w:abstractNum><w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num></w:numbering>",
            level(0, "decimal", "%1"),
            level(1, "lowerLetter", "%1.%2)")
        );
        let paragraph = |style: &str, level: usize, text: &str| {
            format!(
                "<w:p><w:pPr>{style}<w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='1'/></w:numPr></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"
            )
        };
        let body = paragraph("<w:pStyle w:val='H'/>", 0, "Technische Daten")
            + "<w:p><w:r><w:t>Text dazu</w:t></w:r></w:p>"
            + &paragraph("", 1, "Nennstrom");
        let document = read_docx_with(&body, &[("word/numbering.xml", numbering)]);
        let texts: Vec<&str> = document.blocks.iter().map(|block| block.text.as_str()).collect();
        assert_eq!(texts, ["4 Technische Daten", "Text dazu", "4.d) Nennstrom"]);
        assert_eq!(document.blocks[0].kind, BlockKind::Heading(1));
    }

    #[test]
    fn no_box_of_a_group_is_lost() {
        let text = |text: &str| {
            format!(
                "<wps:wsp><wps:txbx><w:txbxContent><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:txbxContent></wps:txbx></wps:wsp>"
            )
        };
        let group = text("Anschrift Ulm") + &text("Telefon 4711");
        let body = format!(
            "<w:p><w:r><w:drawing><wp:anchor><a:graphic><a:graphicData><wpg:wgp>{group}</wpg:wgp></a:graphicData></a:graphic></wp:anchor></w:drawing></w:r></w:p><w:p><w:r><w:t>nach</w:t></w:r></w:p>"
        );
        let texts: Vec<String> = read_docx(&body).blocks.into_iter().map(|block| block.text).collect();
        assert_eq!(texts, ["Anschrift Ulm", "Telefon 4711", "nach"]);
    }

    #[test]
    fn notes_leave_no_marks() {
        for (text, expect) in [
            ("Klemme[^12] und Schiene[cmt:0].", "Klemme und Schiene."),
            ("Feld[3], [^a], [cmt:] und [^", "Feld[3], [^a], [cmt:] und [^"),
        ] {
            assert_eq!(unmarked(text), expect);
        }
    }

    #[test]
    fn links_and_stress_in_cells_read_as_their_text() {
        for (cell, expect) in [
            ("61,8 Mrd. [[3]](#cite_note-3)", "61,8 Mrd. [3]"),
            ("[PLZ](https://a.de/PLZ_(D) \"PLZ (Deutschland)\"): 1", "PLZ: 1"),
            ("![Wappen](w.png) Berlin", "Wappen Berlin"),
            ("a[1] und f(x)](y", "a[1] und f(x)](y"),
            ("offen [a](b", "offen [a](b"),
        ] {
            assert_eq!(unlinked(cell), expect);
        }
        for (cell, expect) in [("**Summe**", "Summe"), ("**a** und **b**", "**a** und **b**"), ("****", "****")] {
            assert_eq!(unstressed(cell), expect);
        }
    }
}
