//! A document → passages of bounded size, each with its place, headings and language.

use base::Place;

use crate::format::{Block, BlockKind, Document};
use crate::language::LanguageDetector;
use crate::render::header_line;
use crate::sentence::sentences;
use crate::table::row_text;

/// How large a chunk should be, and may be, in tokens of the caller's counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Paragraphs are merged up to this.
    pub target_tokens: usize,
    /// No chunk is larger.
    pub max_tokens: usize,
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self { target_tokens: 200, max_tokens: 400 }
    }
}

/// A passage of a document.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Chunk {
    /// Its position in the document, from 0.
    pub ordinal: u32,
    pub text: String,
    /// The headings it stands under, outermost first.
    pub heading_path: Vec<String>,
    pub place: Place,
    /// ISO 639-1; short passages have the document's language.
    pub language: Option<String>,
    /// The size by the caller's counter.
    pub token_count: u32,
}

/// Cuts a document into chunks. Headings, sheets, slides and parts begin a new chunk; paragraphs are merged up to
/// `target_tokens`; sentences, rows and, if need be, words are the bounds. The work is linear in the text: `count_tokens`
/// sees every sentence once and every chunk once.
pub fn chunk(document: &Document, limits: &ChunkLimits, count_tokens: &dyn Fn(&str) -> usize) -> Vec<Chunk> {
    let max = limits.max_tokens.max(1);
    let mut chunker = Chunker {
        target: limits.target_tokens.clamp(1, max),
        max,
        count: count_tokens,
        detector: LanguageDetector::new(),
        language: document.language.clone(),
        headings: Vec::new(),
        units: Vec::new(),
        tokens: 0,
        whole: false,
        chunks: Vec::new(),
    };
    for block in &document.blocks {
        chunker.block(block);
    }
    chunker.flush(false);
    chunker.chunks
}

/// A sentence, a row or a heading: what is never cut again, unless it alone is too large.
struct Unit {
    text: String,
    tokens: usize,
    place: Place,
    /// What stands between it and the unit before it.
    glue: &'static str,
    is_heading: bool,
    heading_path: Vec<String>,
}

struct Chunker<'a> {
    target: usize,
    max: usize,
    count: &'a dyn Fn(&str) -> usize,
    detector: LanguageDetector,
    language: Option<String>,
    headings: Vec<(u8, String)>,
    units: Vec<Unit>,
    tokens: usize,
    /// Whether the units that come now belong into one chunk.
    whole: bool,
    chunks: Vec<Chunk>,
}

impl Chunker<'_> {
    fn block(&mut self, block: &Block) {
        match &block.kind {
            BlockKind::Heading(level) => {
                if self.tokens * 3 >= self.target {
                    self.flush(false);
                }
                self.headings.retain(|(open, _)| open < level);
                let title = crate::table::one_line(&block.text);
                self.headings.push((*level, title.chars().take(200).collect()));
                self.text(&block.text, &block.place, "\n\n", true);
            }
            BlockKind::Table { header, rows } => self.table(block, header, rows),
            BlockKind::Code => {
                let lines = exact_lines(block);
                for (index, line) in block.text.split('\n').enumerate() {
                    let place =
                        lines.map_or_else(|| block.place.clone(), |first| at_line(&block.place, first, index, index));
                    self.text(line, &place, if index == 0 { "\n\n" } else { "\n" }, false);
                }
            }
            BlockKind::Paragraph | BlockKind::ListItem => {
                let lines = exact_lines(block);
                let mut glue = if block.kind == BlockKind::ListItem { "\n" } else { "\n\n" };
                let (mut end, mut line) = (0, 0);
                for range in sentences(&block.text) {
                    let gap = newlines(&block.text[end..range.start]);
                    if end > 0 {
                        glue = if gap > 0 { "\n" } else { " " };
                    }
                    let first = line + gap;
                    line = first + newlines(&block.text[range.clone()]);
                    let place =
                        lines.map_or_else(|| block.place.clone(), |start| at_line(&block.place, start, first, line));
                    end = range.end;
                    self.text(&block.text[range], &place, glue, false);
                }
            }
        }
    }

    /// Adds a table: whole where one chunk can hold it, else row by row. Rows name their columns themselves, so a table that is
    /// cut loses nothing but its neighbours.
    fn table(&mut self, block: &Block, header: &[String], rows: &[Vec<String>]) {
        let lines: Vec<(String, Place, &'static str)> = header_line(header)
            .map(|line| (line, self.row_place(block, rows.len(), 0), "\n\n"))
            .into_iter()
            .chain(
                rows.iter()
                    .enumerate()
                    .map(|(index, row)| (row_text(header, row), self.row_place(block, rows.len(), index), "\n")),
            )
            .collect();
        // What cannot fit by far is not counted twice.
        let chars: usize = lines.iter().map(|(line, _, _)| line.len()).sum();
        let tokens =
            if chars > self.max * 24 { usize::MAX } else { lines.iter().map(|(line, _, _)| (self.count)(line)).sum() };
        if tokens <= self.max {
            if self.tokens + tokens > self.max {
                self.flush(true);
            }
            // Headings carried along may still leave too little room.
            self.whole = self.tokens + tokens <= self.max;
        }
        for (line, place, glue) in lines {
            self.text(&line, &place, glue, false);
        }
        self.whole = false;
    }

    /// The place of one row: rows count down from the table's last one.
    fn row_place(&self, block: &Block, rows: usize, index: usize) -> Place {
        let mut place = block.place.clone();
        if let Some(last) = place.row_last {
            let below = u32::try_from(rows.saturating_sub(1 + index)).unwrap_or(u32::MAX);
            let row = last.saturating_sub(below);
            place.row_first = Some(row);
            place.row_last = Some(row);
        }
        place
    }

    /// Adds text as one unit, or as several when it is larger than a chunk may be.
    fn text(&mut self, text: &str, place: &Place, glue: &'static str, is_heading: bool) {
        let mut glue = glue;
        for (piece, tokens) in self.pieces(text.trim()) {
            self.unit(piece, tokens, place, glue, is_heading);
            glue = " ";
        }
    }

    fn unit(&mut self, text: &str, tokens: usize, place: &Place, glue: &'static str, is_heading: bool) {
        if let Some(last) = self.units.last() {
            let apart = last.place.union(place).is_none();
            let full = self.tokens + tokens > if self.whole || self.only_headings() { self.max } else { self.target };
            let new_page = place.page.is_some() && place.page != last.place.page && self.tokens * 2 >= self.target;
            if apart || full || new_page {
                self.flush(!apart);
            }
        }
        // What the carried headings left no room for.
        if !self.units.is_empty() && self.tokens + tokens > self.max {
            self.flush(false);
        }
        self.tokens += tokens;
        self.units.push(Unit {
            text: text.to_owned(),
            tokens,
            place: place.clone(),
            glue,
            is_heading,
            heading_path: self.headings.iter().map(|(_, title)| title.clone()).collect(),
        });
    }

    fn only_headings(&self) -> bool {
        self.units.iter().all(|unit| unit.is_heading)
    }

    /// Cuts what no chunk could hold: first by size at white space, so that the counter never sees a giant, then by halves
    /// until the counter agrees.
    fn pieces<'t>(&self, text: &'t str) -> Vec<(&'t str, usize)> {
        let window = (self.max * 2).clamp(16, 4000);
        let mut pieces = Vec::new();
        let mut rest = text;
        // Anything up to twice the window is small enough to be counted whole.
        while !rest.is_empty() {
            let cut = if rest.len() <= window * 2 { rest.len() } else { cut_at(rest, window) };
            let (head, tail) = rest.split_at(cut);
            self.halve(head.trim(), &mut pieces);
            rest = tail.trim_start();
        }
        pieces
    }

    fn halve<'t>(&self, text: &'t str, pieces: &mut Vec<(&'t str, usize)>) {
        let mut pending = vec![text];
        while let Some(text) = pending.pop() {
            if text.is_empty() {
                continue;
            }
            let tokens = (self.count)(text);
            let cut = cut_at(text, text.len() / 2);
            if tokens <= self.max || cut == 0 || cut >= text.len() {
                pieces.push((text, tokens));
            } else {
                let (head, tail) = text.split_at(cut);
                pending.push(tail.trim());
                pending.push(head.trim());
            }
        }
    }

    /// Ends the chunk. With `carry`, headings at its end go to the next one, where their text is.
    fn flush(&mut self, carry: bool) {
        let mut units = std::mem::take(&mut self.units);
        self.tokens = 0;
        if carry && !units.iter().all(|unit| unit.is_heading) {
            let body = units.iter().rposition(|unit| !unit.is_heading).map_or(0, |last| last + 1);
            self.units = units.split_off(body);
            self.tokens = self.units.iter().map(|unit| unit.tokens).sum();
        }
        self.emit(&units);
    }

    fn emit(&mut self, units: &[Unit]) {
        let Some(first) = units.first() else { return };
        let mut text = String::new();
        let mut place = first.place.clone();
        let mut path: Option<Vec<String>> = None;
        for unit in units {
            if !text.is_empty() {
                text.push_str(unit.glue);
            }
            text.push_str(&unit.text);
            place = place.union(&unit.place).unwrap_or(place);
            path = Some(match path {
                None => unit.heading_path.clone(),
                Some(path) => common(path, &unit.heading_path),
            });
        }
        let tokens = (self.count)(&text);
        // Counters need not be additive; where the whole is more than its parts, it is cut again.
        if tokens > self.max && units.len() > 1 {
            let (head, tail) = units.split_at(units.len() / 2);
            self.emit(head);
            self.emit(tail);
            return;
        }
        let language = self.detector.detect(&text).map(str::to_owned).or_else(|| self.language.clone());
        self.chunks.push(Chunk {
            ordinal: u32::try_from(self.chunks.len()).unwrap_or(u32::MAX),
            text,
            heading_path: path.unwrap_or_default(),
            place,
            language,
            token_count: u32::try_from(tokens).unwrap_or(u32::MAX),
        });
    }
}

fn common(mut path: Vec<String>, other: &[String]) -> Vec<String> {
    let same = path.iter().zip(other).take_while(|(a, b)| a == b).count();
    path.truncate(same);
    path
}

/// The last white space at or before `limit`, else the last character bound, never 0.
fn cut_at(text: &str, limit: usize) -> usize {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match text[..end].rfind(char::is_whitespace) {
        Some(at) if at * 2 > end => at,
        _ if end > 0 => end,
        _ => text.chars().next().map_or(0, char::len_utf8),
    }
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// The first line of a block whose text has exactly the lines its place names.
fn exact_lines(block: &Block) -> Option<u32> {
    let (first, last) = (block.place.line_first?, block.place.line_last?);
    (newlines(&block.text) == last.checked_sub(first)? as usize).then_some(first)
}

fn at_line(place: &Place, start: u32, first: usize, last: usize) -> Place {
    let line = |offset: usize| Some(start.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX)));
    Place { line_first: line(first), line_last: line(last), ..place.clone() }
}

#[cfg(test)]
mod tests;
