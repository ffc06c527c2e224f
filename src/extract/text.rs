//! Plain text → paragraphs with their lines.

use base::Place;

use crate::format::{Block, BlockKind, Document};

/// A paragraph longer than this many lines is a listing; cut here, each piece keeps an exact place.
const MAX_LINES: u32 = 40;

/// Reads plain text: paragraphs stand between blank lines.
pub(crate) fn read(text: &str, format: &str) -> Document {
    Document { format: format.to_owned(), blocks: paragraphs(text, 1), ..Document::default() }
}

/// Cuts text into paragraphs; `first` is the number of its first line.
pub(crate) fn paragraphs(text: &str, first: u32) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut start = first;
    let mut current = String::new();
    let mut line_number = first;
    for line in lines(text) {
        let blank = line.trim().is_empty();
        if !current.is_empty() && (blank || line_number - start >= MAX_LINES) {
            push(&mut blocks, &mut current, start, line_number - 1);
        }
        if !blank {
            if current.is_empty() {
                start = line_number;
            } else {
                current.push('\n');
            }
            current.push_str(line.trim_end());
        }
        line_number = line_number.saturating_add(1);
    }
    if !current.is_empty() {
        push(&mut blocks, &mut current, start, line_number - 1);
    }
    blocks
}

/// Lines of text with any of the three line ends, and form feeds as line ends of their own kind.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        // A carriage return inside a line is an old Macintosh line end.
        line.split('\r')
    })
}

fn push(blocks: &mut Vec<Block>, text: &mut String, first: u32, last: u32) {
    let text = std::mem::take(text);
    blocks.push(Block::new(BlockKind::Paragraph, text, Place::lines(first, last)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_know_their_lines() {
        let blocks = read("eins\nzwei\r\n\n\ndrei\n", "txt").blocks;
        let got: Vec<_> = blocks.iter().map(|b| (b.text.as_str(), b.place.line_first, b.place.line_last)).collect();
        assert_eq!(got, [("eins\nzwei", Some(1), Some(2)), ("drei", Some(5), Some(5))]);
    }

    #[test]
    fn a_long_listing_is_cut_where_places_stay_exact() {
        let text = (1..=100).map(|i| format!("Zeile {i}\n")).collect::<String>();
        let blocks = read(&text, "txt").blocks;
        assert_eq!(blocks.len(), 3);
        assert_eq!(blocks[2].place, Place::lines(81, 100));
        assert!(blocks[2].text.starts_with("Zeile 81\n"));
    }
}
