//! Characters → pieces of lines: what stands on one baseline without a gap wider than a word's.

use super::glyph::Glyph;

/// Gaps wider than this part of the font size cut a line: between columns, between cells. The columns of many articles are ten
/// points apart, in letters of ten or eleven.
const CUT: f32 = 0.9;

/// Gaps wider than this part of the font size stand between words.
const WORD: f32 = 0.2;

/// A piece of a line.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub text: String,
    pub x0: f32,
    pub x1: f32,
    /// The baseline.
    pub y: f32,
    pub size: f32,
    pub bold: bool,
}

impl Segment {
    pub(super) fn top(&self) -> f32 {
        self.y - self.size * 0.8
    }

    pub(super) fn bottom(&self) -> f32 {
        self.y + self.size * 0.25
    }
}

/// Cuts characters into segments, ordered by baseline and then from left to right.
pub(super) fn segments(mut glyphs: Vec<Glyph>) -> Vec<Segment> {
    glyphs.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
    let mut runs: Vec<Vec<Glyph>> = Vec::new();
    let mut line: Vec<Glyph> = Vec::new();
    let mut first = 0.0;
    for glyph in glyphs {
        if line.first().is_some_and(|one| glyph.y - first > 0.25 * one.size.min(glyph.size)) {
            cut(std::mem::take(&mut line), &mut runs);
        }
        if line.is_empty() {
            first = glyph.y;
        }
        line.push(glyph);
    }
    cut(line, &mut runs);
    attach_small(&mut runs);
    let mut segments: Vec<Segment> = runs.iter().filter_map(|run| segment(run)).collect();
    segments.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
    segments
}

/// Letters that begin where others do before a line counts as written over.
const MIN_COVERED: usize = 3;
/// Texts over each other in one line; what goes beyond is added to them.
const MAX_LAYERS: usize = 8;

/// Cuts one line at wide gaps; letters drawn twice to look bold are kept once.
fn cut(mut line: Vec<Glyph>, runs: &mut Vec<Vec<Glyph>>) {
    line.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    let letters: Vec<&Glyph> = line.iter().filter(|glyph| glyph.c.is_alphanumeric() || glyph.c == '_').collect();
    // Narrower than any letter; widths would not tell, for those of many fonts are wrong.
    let covers = |pair: &&[&Glyph]| pair[0].c != pair[1].c && pair[1].x0 - pair[0].x0 < 0.15 * pair[0].size;
    if letters.windows(2).filter(covers).count() < MIN_COVERED {
        cut_layer(line, runs);
    } else {
        layers(line).into_iter().for_each(|layer| cut_layer(layer, runs));
    }
}

/// Parts what was written over something else from it: of two texts, a character belongs to the one that ends where it begins.
fn layers(line: Vec<Glyph>) -> Vec<Vec<Glyph>> {
    let mut layers: Vec<Vec<Glyph>> = Vec::new();
    for glyph in line {
        let ends = layers.iter().enumerate().filter_map(|(at, layer)| Some((at, layer.last()?.x1)));
        let free = ends.filter(|(_, end)| layers.len() >= MAX_LAYERS || end - glyph.x0 <= 0.3 * glyph.size);
        match free.min_by(|a, b| (a.1 - glyph.x0).abs().total_cmp(&(b.1 - glyph.x0).abs())) {
            Some((at, _)) => layers[at].push(glyph),
            None => layers.push(vec![glyph]),
        }
    }
    layers
}

/// Whether a letter is drawn once more to look bold.
fn is_twice(run: &[Glyph], glyph: &Glyph) -> bool {
    run.iter().rev().take(3).any(|last| {
        last.c == glyph.c
            && (last.x0 - glyph.x0).abs() < 0.1 * glyph.size
            && (last.y - glyph.y).abs() < 0.1 * glyph.size
    })
}

fn cut_layer(line: Vec<Glyph>, runs: &mut Vec<Vec<Glyph>>) {
    let mut run: Vec<Glyph> = Vec::new();
    let mut end = f32::MIN;
    for glyph in line {
        if glyph.is_space() {
            if !run.is_empty() {
                run.push(glyph);
            }
            continue;
        }
        if is_twice(&run, &glyph) {
            continue;
        }
        if !run.is_empty() && glyph.x0 - end > CUT * glyph.size {
            runs.push(std::mem::take(&mut run));
            end = f32::MIN;
        }
        end = end.max(glyph.x1);
        run.push(glyph);
    }
    if run.iter().any(|glyph| !glyph.is_space()) {
        runs.push(run);
    }
}

/// Puts raised and lowered characters (a footnote's mark, the 2 of m²) into the line they belong to.
fn attach_small(runs: &mut Vec<Vec<Glyph>>) {
    let measures: Vec<(f32, f32, f32, f32)> = runs.iter().map(|run| measure(run)).collect();
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by(|a, b| measures[*a].2.total_cmp(&measures[*b].2));
    let mut gone = vec![false; runs.len()];
    for (at, &small) in order.iter().enumerate() {
        let (x0, x1, y, size) = measures[small];
        if runs[small].len() > 8 {
            continue;
        }
        let near = order[at.saturating_sub(64)..(at + 64).min(order.len())].iter().copied().find(|&large| {
            let (other_x0, other_x1, other_y, other_size) = measures[large];
            let beside =
                x0 > other_x0 && x0 < other_x1 + 0.5 * other_size || x1 > other_x0 - 0.5 * other_size && x1 < other_x1;
            size < 0.85 * other_size
                && !gone[large]
                && beside
                && y > other_y - 0.7 * other_size
                && y < other_y + 0.35 * other_size
        });
        if let Some(large) = near {
            let mut moved = std::mem::take(&mut runs[small]);
            gone[small] = true;
            let (_, _, base, _) = measures[large];
            for glyph in &mut moved {
                glyph.y = base;
            }
            runs[large].append(&mut moved);
            runs[large].sort_by(|a, b| a.x0.total_cmp(&b.x0));
        }
    }
    runs.retain(|run| !run.is_empty());
}

/// Left, right, baseline and size of a run; the last two are its most frequent.
fn measure(run: &[Glyph]) -> (f32, f32, f32, f32) {
    let x0 = run.iter().map(|glyph| glyph.x0).fold(f32::MAX, f32::min);
    let x1 = run.iter().filter(|glyph| !glyph.is_space()).map(|glyph| glyph.x1).fold(f32::MIN, f32::max);
    let mut sizes: Vec<(f32, f32)> = run.iter().map(|glyph| (glyph.size, glyph.y)).collect();
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (size, y) = sizes.get(sizes.len() / 2).copied().unwrap_or((1.0, 0.0));
    (x0, x1, y, size)
}

fn segment(run: &[Glyph]) -> Option<Segment> {
    let (x0, x1, y, size) = measure(run);
    let text = text(run);
    let letters = run.iter().filter(|glyph| !glyph.is_space()).count();
    let bold = run.iter().filter(|glyph| glyph.bold && !glyph.is_space()).count() * 10 >= letters * 9;
    (!text.is_empty()).then_some(Segment { text, x0, x1, y, size, bold })
}

/// The text of characters in visual order.
fn text(run: &[Glyph]) -> String {
    let mut out = String::new();
    let mut last: Option<&Glyph> = None;
    let mut space = false;
    for glyph in run {
        if glyph.is_space() {
            space = true;
            continue;
        }
        if let Some(last) = last {
            let gap = glyph.x0 - last.x1;
            let size = last.size.min(glyph.size);
            if gap > WORD * size || space && gap > 0.02 * size {
                out.push(' ');
            }
        }
        match ligature(glyph.c) {
            Some(letters) => out.push_str(letters),
            None => out.push(glyph.c),
        }
        last = Some(glyph);
        space = false;
    }
    if out.chars().any(is_rtl) { logical(&out) } else { out }
}

fn ligature(c: char) -> Option<&'static str> {
    Some(match c {
        '\u{fb00}' => "ff",
        '\u{fb01}' => "fi",
        '\u{fb02}' => "fl",
        '\u{fb03}' => "ffi",
        '\u{fb04}' => "ffl",
        '\u{fb05}' | '\u{fb06}' => "st",
        _ => return None,
    })
}

fn is_rtl(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}')
}

/// Visual order → reading order for Hebrew and Arabic: their words turn round, and so does a line that is mostly theirs.
fn logical(text: &str) -> String {
    let mut words: Vec<String> = text
        .split(' ')
        .map(|word| if word.chars().any(is_rtl) { word.chars().rev().collect() } else { word.to_owned() })
        .collect();
    let rtl = text.chars().filter(|c| is_rtl(*c)).count();
    if rtl * 2 > text.chars().filter(|c| c.is_alphabetic()).count() {
        words.reverse();
    }
    words.join(" ")
}

/// Words after which a hyphen at a line's end stays: "Ein- und Ausgang".
const SUSPENDED: [&str; 7] = ["und", "oder", "bis", "sowie", "bzw.", "and", "or"];

/// Joins two lines of one text. A word that was hyphenated at the line's end is whole again.
pub(super) fn join(text: &mut String, next: &str) {
    if text.is_empty() {
        text.push_str(next);
        return;
    }
    let before = text.strip_suffix(['-', '\u{ad}', '\u{2010}']).and_then(|head| head.chars().next_back());
    let Some(before) = before.filter(|c| c.is_alphanumeric()) else {
        text.push(' ');
        text.push_str(next);
        return;
    };
    let word = next.split_whitespace().next().unwrap_or("");
    let soft = text.ends_with('\u{ad}');
    match next.chars().next() {
        _ if SUSPENDED.contains(&word) => text.push(' '),
        Some(first) if soft || first.is_lowercase() && before.is_alphabetic() => {
            text.pop();
        }
        _ => {}
    }
    text.push_str(next);
}
