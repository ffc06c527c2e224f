//! Markdown → headings, paragraphs, lists, tables and code, with the lines each stands on.
//!
//! CommonMark's block structure as far as retrieval needs it; inline marks stay as they are, because a reader sees them too.

use base::Place;

use crate::format::{Block, BlockKind, Document};

/// Reads Markdown. A YAML head (`---` … `---`) becomes metadata where its lines are `key: value`.
pub(crate) fn read(text: &str) -> Document {
    let mut reader =
        Reader { document: Document { format: "md".to_owned(), ..Document::default() }, text: String::new(), first: 1 };
    let lines: Vec<&str> = crate::text::lines(text).collect();
    let mut at = reader.front_matter(&lines);
    while at < lines.len() {
        at = reader.block(&lines, at);
    }
    reader.flush(lines.len());
    reader.document
}

struct Reader {
    document: Document,
    text: String,
    first: usize,
}

impl Reader {
    fn front_matter(&mut self, lines: &[&str]) -> usize {
        if lines.first().map(|line| line.trim_end()) != Some("---") {
            return 0;
        }
        let Some(end) = lines.iter().take(200).skip(1).position(|line| matches!(line.trim_end(), "---" | "...")) else {
            return 0;
        };
        for line in &lines[1..=end] {
            if let Some((key, value)) = line.split_once(':') {
                let value = value.trim().trim_matches(['"', '\'']);
                if !value.is_empty() && !key.starts_with([' ', '-', '#']) {
                    self.document.metadata.insert(key.trim().to_lowercase(), value.to_owned());
                }
            }
        }
        self.document.title = self.document.metadata.get("title").cloned();
        // The head is text as well: somebody will search for what it says.
        let text = lines[1..=end].join("\n");
        if !text.trim().is_empty() {
            let place = Place::lines(2, number(end));
            self.document.blocks.push(Block::new(BlockKind::Paragraph, text, place));
        }
        end + 2
    }

    /// Reads what begins at `at` and returns the index of the line after it.
    fn block(&mut self, lines: &[&str], at: usize) -> usize {
        let line = lines[at];
        let trimmed = line.trim();
        if trimmed.is_empty() {
            self.flush(at);
            return at + 1;
        }
        if let Some(fence) = fence(trimmed) {
            self.flush(at);
            let end = lines[at + 1..]
                .iter()
                .position(|line| {
                    line.trim().starts_with(fence) && line.trim().trim_start_matches(&fence[..1]).is_empty()
                })
                .map_or(lines.len(), |offset| at + 1 + offset);
            let code = lines[at + 1..end].join("\n");
            self.push(BlockKind::Code, code, at, end.min(lines.len() - 1));
            return end + 1;
        }
        if let Some((level, text)) = atx_heading(trimmed) {
            self.flush(at);
            self.push(BlockKind::Heading(level), text.to_owned(), at, at);
            return at + 1;
        }
        if self.text.lines().count() == 1
            && let Some(level) = underline(trimmed)
        {
            let text = std::mem::take(&mut self.text);
            self.push(BlockKind::Heading(level), text, self.first, at);
            return at + 1;
        }
        if trimmed.starts_with('|') || (at + 1 < lines.len() && is_table_rule(lines[at + 1]) && trimmed.contains('|')) {
            let end = lines[at..]
                .iter()
                .position(|line| !line.contains('|') || line.trim().is_empty())
                .map_or(lines.len(), |offset| at + offset);
            if end - at >= 2 && is_table_rule(lines[at + 1]) {
                self.flush(at);
                let rows = lines[at + 2..end].iter().map(|line| cells(line)).collect();
                let place = Place::lines(number(at), number(end - 1));
                self.document.blocks.push(Block::table(cells(line), rows, place));
                return end;
            }
        }
        if is_list_item(trimmed) {
            self.flush(at);
            // An item ends where the next begins, or at a blank line.
            let end = lines[at + 1..]
                .iter()
                .position(|line| {
                    let next = line.trim();
                    next.is_empty() || is_list_item(next) || atx_heading(next).is_some() || fence(next).is_some()
                })
                .map_or(lines.len(), |offset| at + 1 + offset);
            let text = lines[at..end].iter().map(|line| line.trim()).collect::<Vec<_>>().join("\n");
            self.push(BlockKind::ListItem, text, at, end - 1);
            return end;
        }
        if self.text.is_empty() {
            self.first = at;
        } else {
            self.text.push('\n');
        }
        self.text.push_str(line.trim_end());
        at + 1
    }

    fn flush(&mut self, next: usize) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            let first = self.first;
            self.push(BlockKind::Paragraph, text, first, next.saturating_sub(1));
        }
    }

    fn push(&mut self, kind: BlockKind, text: String, first: usize, last: usize) {
        if !text.trim().is_empty() {
            let place = Place::lines(number(first), number(last));
            self.document.blocks.push(Block::new(kind, text, place));
        }
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

fn fence(line: &str) -> Option<&'static str> {
    ["```", "~~~"].into_iter().find(|fence| line.starts_with(fence))
}

fn atx_heading(line: &str) -> Option<(u8, &str)> {
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    let rest = &line[level..];
    if !(1..=6).contains(&level) || !rest.starts_with([' ', '\t']) {
        return None;
    }
    let text = rest.trim().trim_end_matches('#').trim_end();
    (!text.is_empty()).then_some((level as u8, text))
}

fn underline(line: &str) -> Option<u8> {
    let level = match line.as_bytes().first()? {
        b'=' => 1,
        b'-' => 2,
        _ => return None,
    };
    let mark = if level == 1 { '=' } else { '-' };
    (line.len() >= 2 && line.chars().all(|c| c == mark)).then_some(level)
}

fn is_table_rule(line: &str) -> bool {
    let line = line.trim();
    line.contains('-') && line.contains('|') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ' | '\t'))
}

fn is_list_item(line: &str) -> bool {
    if let Some(rest) = line.strip_prefix(['-', '*', '+']) {
        return rest.starts_with(' ');
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    (1..=4).contains(&digits) && line[digits..].starts_with(['.', ')']) && line[digits + 1..].starts_with(' ')
}

/// The cells of a row; `\|` is a bar inside a cell.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for c in line.chars() {
        match c {
            '|' if !escaped => cells.push(String::new()),
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ => {
                if let Some(cell) = cells.last_mut() {
                    if escaped && c != '|' {
                        cell.push('\\');
                    }
                    cell.push(c);
                }
            }
        }
        escaped = false;
    }
    if line.ends_with('|') {
        cells.pop();
    }
    cells.into_iter().map(|cell| cell.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structure_and_lines_are_kept() {
        let text = "---\ntitle: ElektroG\n---\n# Gesetz\n\nErster Absatz\nzweite Zeile.\n\n## § 1 Ziele ##\n- eins\n- zwei\n  weiter\n\n| a | b\\|c |\n|---|---|\n| 1 | 2 |\n\n```\nx = 1\n```\nEnde\n===\n";
        let document = read(text);
        assert_eq!(document.title.as_deref(), Some("ElektroG"));
        let got: Vec<String> = document
            .blocks
            .iter()
            .map(|block| {
                format!(
                    "{}-{} {:?} {:?}",
                    block.place.line_first.unwrap(),
                    block.place.line_last.unwrap(),
                    block.kind,
                    block.text
                )
            })
            .collect();
        assert_eq!(
            got,
            [
                "2-2 Paragraph \"title: ElektroG\"",
                "4-4 Heading(1) \"Gesetz\"",
                "6-7 Paragraph \"Erster Absatz\\nzweite Zeile.\"",
                "9-9 Heading(2) \"§ 1 Ziele\"",
                "10-10 ListItem \"- eins\"",
                "11-12 ListItem \"- zwei\\nweiter\"",
                "14-16 Table { header: [\"a\", \"b|c\"], rows: [[\"1\", \"2\"]] } \"\"",
                "18-20 Code \"x = 1\"",
                "21-22 Heading(1) \"Ende\"",
            ]
        );
    }

    #[test]
    fn an_open_fence_ends_with_the_file() {
        assert_eq!(read("```\nnie zu\n").blocks[0].kind, BlockKind::Code);
        assert!(read("```").blocks.is_empty());
    }
}
