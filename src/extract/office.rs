//! The formats read by the general extractor (`xberg`): Word, PowerPoint, OpenDocument, HTML, Outlook, some hundred more, and
//! PDFs in which our own reader finds no text. Here its element tree becomes blocks.

use std::collections::HashMap;

use base::Place;
use xberg::types::document_structure::{ContentLayer, NodeContent, TableGrid};
use xberg::{
    ContentFilterConfig, ExtractInput, ExtractedDocument, ExtractionConfig, OutputFormat, SecurityLimits, XbergError,
};

use crate::error::Error;
use crate::format::{Block, BlockKind, Document, Limits};
use crate::table::{one_line, split_header};

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
    Ok(document(extracted, format))
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

fn document(extracted: ExtractedDocument, format: &str) -> Document {
    let paged_as_slides = matches!(format, "pptx" | "ppt" | "odp" | "key");
    let mut document =
        Document { format: format.to_owned(), blocks: blocks(&extracted, paged_as_slides), ..Document::default() };
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
        let part = self::document(*child.result, &format);
        if part.blocks.iter().any(|block| !block.is_blank()) {
            crate::read::append(&mut document, part, &name);
        }
    }
    document
}

/// The element tree as blocks; the plain content where the tree lost too much of it.
fn blocks(extracted: &ExtractedDocument, slides: bool) -> Vec<Block> {
    let blocks = tree_blocks(extracted, slides);
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
    let in_tree: usize = blocks
        .iter()
        .map(|block| match &block.kind {
            BlockKind::Table { header, rows } => {
                header.iter().chain(rows.iter().flatten()).map(|cell| letters(cell)).sum()
            }
            _ => letters(&block.text),
        })
        .sum();
    if in_tree * 10 >= letters(&extracted.content) * 8 {
        return blocks;
    }
    let mut blocks = crate::text::paragraphs(&extracted.content, 1);
    for block in &mut blocks {
        // Lines of the extractor's rendering are no lines of the file.
        block.place = Place::default();
    }
    blocks
}

fn tree_blocks(extracted: &ExtractedDocument, slides: bool) -> Vec<Block> {
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
                let text = match list {
                    Some(list) => {
                        let count = counts.entry(list.0).or_default();
                        *count += 1;
                        format!("{count}. {}", text.trim())
                    }
                    None => text.clone(),
                };
                (BlockKind::ListItem, text)
            }
            NodeContent::Code { text, .. } => (BlockKind::Code, text.clone()),
            NodeContent::Table { grid } => {
                blocks.push(table(grid, place));
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
        if !text.trim().is_empty() {
            blocks.push(Block::new(kind, text.trim(), place));
        }
    }
    blocks
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

/// A grid as a table. Two columns are most often names and values, without a header above them.
fn table(grid: &TableGrid, place: Place) -> Block {
    let (height, width) = (grid.rows as usize, grid.cols as usize);
    let mut rows: Vec<Vec<String>> = vec![Vec::new(); height.min(1_000_000)];
    for cell in &grid.cells {
        if let Some(row) = rows.get_mut(cell.row as usize) {
            let column = cell.col as usize;
            if row.len() <= column && column < width.max(1) {
                row.resize(column + 1, String::new());
            }
            if let Some(place) = row.get_mut(column) {
                *place = unlinked(cell.content.trim());
            }
        }
    }
    rows.retain(|row| row.iter().any(|cell| !cell.is_empty()));
    let (header, rows) = if width >= 3 { split_header(rows) } else { (Vec::new(), rows) };
    Block::table(header, rows, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_cells_read_as_their_text() {
        for (cell, expect) in [
            ("61,8 Mrd. [[3]](#cite_note-3)", "61,8 Mrd. [3]"),
            ("[PLZ](https://a.de/PLZ_(D) \"PLZ (Deutschland)\"): 1", "PLZ: 1"),
            ("![Wappen](w.png) Berlin", "Wappen Berlin"),
            ("a[1] und f(x)](y", "a[1] und f(x)](y"),
            ("offen [a](b", "offen [a](b"),
        ] {
            assert_eq!(unlinked(cell), expect);
        }
    }
}
