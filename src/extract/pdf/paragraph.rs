//! Lines → paragraphs, list items, headings, and tables nobody drew rules for.

use super::columns::Item;
use super::grid::Table;
use super::line::{Segment, join};

/// Rows of a run at which a table may begin.
const MAX_TRIES: u32 = 4;
/// A table without rules is no larger.
const MAX_CELLS: usize = 200_000;

/// A piece of a page before it is known how large the text of the document is.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Text { text: String, size: f32, bold: bool, lines: usize, item: bool },
    Table(Vec<Vec<String>>),
}

/// Reads one region of a page from top to bottom.
pub(super) fn pieces(region: Vec<Item>, out: &mut Vec<Piece>) {
    let mut rows: Vec<Vec<Segment>> = Vec::new();
    let mut tables: Vec<Table> = Vec::new();
    let mut texts: Vec<Segment> = Vec::new();
    for item in region {
        match item {
            Item::Text(segment) => texts.push(segment),
            Item::Table(table) => tables.push(table),
        }
    }
    texts.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
    for segment in texts {
        match rows.last_mut() {
            Some(row) if (segment.y - row[0].y).abs() <= 0.3 * segment.size.min(row[0].size) => row.push(segment),
            _ => rows.push(vec![segment]),
        }
    }
    for row in &mut rows {
        row.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    }
    tables.sort_by(|a, b| b.top.total_cmp(&a.top));
    let mut above: Vec<Vec<Segment>> = Vec::new();
    for row in rows {
        while let Some(table) = tables.pop_if(|table| table.top < row[0].y) {
            flow(std::mem::take(&mut above), out);
            out.push(Piece::Table(table.rows));
        }
        above.push(row);
    }
    flow(above, out);
    while let Some(table) = tables.pop() {
        out.push(Piece::Table(table.rows));
    }
}

fn flow(rows: Vec<Vec<Segment>>, out: &mut Vec<Piece>) {
    let (mut at, mut prose) = (0, 0);
    let mut tries = 0;
    while at < rows.len() {
        let run = run(&rows[at..]);
        if let Some((count, table)) = aligned(&rows[at..at + run]) {
            paragraphs(&rows[prose..at], out);
            out.push(Piece::Table(table));
            at += count;
            prose = at;
            tries = 0;
        } else if tries < MAX_TRIES && run > 1 {
            // The first rows may be titles.
            at += 1;
            tries += 1;
        } else {
            at += run;
            tries = 0;
        }
    }
    paragraphs(&rows[prose..], out);
}

/// How many of these rows follow each other closely and have several pieces; at least one.
fn run(rows: &[Vec<Segment>]) -> usize {
    let end = |pair: &[Vec<Segment>]| pair[1].len() < 2 || pair[1][0].y - pair[0][0].y > 3.0 * pair[0][0].size;
    rows.windows(2).position(end).map_or(rows.len(), |last| last + 1)
}

/// A table without rules at the head of a run of rows: at least three whose pieces stand in the same columns.
fn aligned(rows: &[Vec<Segment>]) -> Option<(usize, Vec<Vec<String>>)> {
    if rows.len() < 3 || rows[0].len() < 2 {
        return None;
    }
    // A title over the table must not join its columns: the longest run from the top that has columns.
    let mut columns: Vec<(f32, f32)> = Vec::new();
    let mut kept = 0;
    for row in rows {
        let mut next = columns.clone();
        next.extend(row.iter().map(|segment| (segment.x0, segment.x1)));
        let next = united(next);
        if next.len() * (kept + 1) > MAX_CELLS {
            break;
        }
        if next.len() < 2 || kept >= 3 && next.len() < columns.len() && columns.len() > 2 {
            break;
        }
        columns = next;
        kept += 1;
    }
    if kept < 3 {
        return None;
    }
    let table: Vec<Vec<String>> = rows[..kept]
        .iter()
        .map(|row| {
            let mut cells = vec![String::new(); columns.len()];
            for segment in row {
                let middle = (segment.x0 + segment.x1) / 2.0;
                let column = columns.partition_point(|(_, right)| *right < middle).min(columns.len() - 1);
                if !cells[column].is_empty() {
                    cells[column].push(' ');
                }
                cells[column].push_str(&segment.text);
            }
            cells
        })
        .collect();
    is_table(&table, columns.len()).then_some((kept, table))
}

/// Intervals with those that overlap made one.
fn united(mut intervals: Vec<(f32, f32)>) -> Vec<(f32, f32)> {
    intervals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut out: Vec<(f32, f32)> = Vec::new();
    for (from, to) in intervals {
        match out.last_mut() {
            Some(last) if from <= last.1 + 2.0 => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out
}

/// Whether aligned pieces are a table rather than a list with its numbers, a contents page or text with wide gaps.
fn is_table(rows: &[Vec<String>], columns: usize) -> bool {
    let filled = rows.iter().flatten().filter(|cell| !cell.is_empty()).count();
    if filled * 2 < rows.len() * columns {
        return false;
    }
    let marks = rows.iter().filter(|row| row[0].chars().count() <= 3 || is_marked(&row[0])).count();
    let values = rows.iter().filter(|row| row[1..].iter().any(|cell| cell.chars().any(|c| c.is_ascii_digit()))).count();
    if columns == 2 {
        return marks * 3 < rows.len() && values * 2 >= rows.len();
    }
    let long = rows.iter().flatten().filter(|cell| cell.chars().count() > 60).count();
    long * 4 < filled
}

fn paragraphs(rows: &[Vec<Segment>], out: &mut Vec<Piece>) {
    let mut pitches: Vec<f32> =
        rows.windows(2).map(|pair| pair[1][0].y - pair[0][0].y).filter(|dy| *dy > 1.0).collect();
    pitches.sort_by(f32::total_cmp);
    let right = rows.iter().flatten().map(|segment| segment.x1).fold(f32::MIN, f32::max);
    let left = rows.iter().flatten().map(|segment| segment.x0).fold(f32::MAX, f32::min);
    let mut open: Option<(Piece, &[Segment])> = None;
    for row in rows {
        let line = row.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>().join(" ");
        let size = row.iter().map(|segment| segment.size).fold(0.0, f32::max);
        let bold = row.iter().all(|segment| segment.bold);
        if let Some((Piece::Text { text, size: open_size, bold: open_bold, lines, .. }, above)) = &mut open {
            let pitch = row[0].y - above[0].y;
            // The usual pitch of the region; in a region of few lines, what the size asks for.
            let usual = pitches.get(pitches.len() / 4).copied().unwrap_or(f32::MAX).clamp(size * 1.1, size * 1.6);
            let end = above.iter().map(|segment| segment.x1).fold(f32::MIN, f32::max);
            let short = end < left + (right - left) * 0.75;
            let ended = text.ends_with(['.', ':', '!', '?', ';']);
            let apart = pitch > usual * 1.25
                || (size - *open_size).abs() > 0.12 * size
                || bold != *open_bold && (short || row.len() == 1 && *open_bold)
                || is_marked(&line)
                || short && ended
                || ended && row[0].x0 > above[0].x0 + size;
            if !apart {
                join(text, &line);
                *lines += 1;
                *above = row.as_slice();
                continue;
            }
        }
        out.extend(open.take().map(|(piece, _)| piece));
        let item = is_marked(&line);
        open = Some((Piece::Text { text: line, size, bold, lines: 1, item }, row.as_slice()));
    }
    out.extend(open.map(|(piece, _)| piece));
}

/// Whether a line begins as an item of a list does.
pub(super) fn is_marked(line: &str) -> bool {
    let mut chars = line.chars();
    match chars.next() {
        Some(first) if is_bullet(first) => true,
        Some('-' | '–' | '*') => chars.next() == Some(' '),
        Some(first) if first.is_ascii_digit() => {
            let digits = line.bytes().take_while(u8::is_ascii_digit).count();
            digits <= 3 && line[digits..].starts_with([')', '.']) && line[digits + 1..].starts_with(' ')
        }
        Some(first) if first.is_ascii_lowercase() => line[1..].starts_with(") "),
        _ => false,
    }
}

/// Whether a character is a list's mark and nothing else; the last two are those of Word's symbol font.
pub(super) fn is_bullet(c: char) -> bool {
    matches!(c, '•' | '‣' | '▪' | '■' | '◦' | '●' | '○' | '\u{f0b7}' | '\u{f0a7}')
}
