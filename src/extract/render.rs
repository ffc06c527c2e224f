//! A document as Markdown, and as plain text.

use crate::format::{Block, BlockKind, Document};
use crate::table::{one_line, row_text, width};

/// Renders a document as Markdown: headings, lists, pipe tables. The text of the document is not escaped.
pub fn to_markdown(document: &Document) -> String {
    let mut out = String::new();
    let mut after_item = false;
    for block in &document.blocks {
        let is_item = block.kind == BlockKind::ListItem;
        if !out.is_empty() {
            out.push_str(if after_item && is_item { "\n" } else { "\n\n" });
        }
        after_item = is_item;
        match &block.kind {
            BlockKind::Heading(level) => {
                let marks = "#".repeat(usize::from((*level).clamp(1, 6)));
                out.push_str(&format!("{marks} {}", one_line(&block.text)));
            }
            BlockKind::Paragraph => out.push_str(&block.text),
            BlockKind::ListItem => {
                if !is_marked(&block.text) {
                    out.push_str("- ");
                }
                out.push_str(&block.text);
            }
            BlockKind::Code => out.push_str(&format!("```\n{}\n```", block.text)),
            BlockKind::Table { header, rows } => pipe_table(&mut out, header, rows),
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

fn is_marked(item: &str) -> bool {
    let digits = item.bytes().take_while(u8::is_ascii_digit).count();
    ["- ", "* ", "+ "].iter().any(|mark| item.starts_with(mark)) || digits > 0 && item[digits..].starts_with(['.', ')'])
}

fn pipe_table(out: &mut String, header: &[String], rows: &[Vec<String>]) {
    let columns = width(rows).max(header.len());
    let mut line = |cells: &[String]| {
        out.push('|');
        for column in 0..columns {
            let cell = cells.get(column).map(|cell| one_line(cell)).unwrap_or_default();
            out.push_str(&format!(" {} |", cell.replace('|', "\\|")));
        }
        out.push('\n');
    };
    line(header);
    line(&vec!["---".to_owned(); columns]);
    for row in rows {
        line(row);
    }
    out.pop();
}

/// The whole text of a document in reading order: what its chunks hold together.
pub fn plain_text(document: &Document) -> String {
    document.blocks.iter().flat_map(block_lines).collect::<Vec<_>>().join("\n")
}

/// A block's text: itself, or a table's header and rows.
fn block_lines(block: &Block) -> Vec<String> {
    match &block.kind {
        BlockKind::Table { header, rows } => {
            header_line(header).into_iter().chain(rows.iter().map(|row| row_text(header, row))).collect()
        }
        _ => vec![block.text.clone()],
    }
}

/// A table's header as a line of its own; columns without a value are named only there.
pub(crate) fn header_line(header: &[String]) -> Option<String> {
    let line = row_text(&[], header);
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Place;

    #[test]
    fn markdown_shows_structure() {
        let block = |kind, text: &str| Block::new(kind, text, Place::default());
        let document = Document {
            blocks: vec![
                block(BlockKind::Heading(2), "Maße"),
                block(BlockKind::ListItem, "eins"),
                block(BlockKind::ListItem, "2. zwei"),
                Block::table(vec!["a".into(), "b|c".into()], vec![vec!["1".into()]], Place::default()),
            ],
            ..Document::default()
        };
        assert_eq!(to_markdown(&document), "## Maße\n\n- eins\n2. zwei\n\n| a | b\\|c |\n| --- | --- |\n| 1 |  |\n");
    }
}
