//! Rules → tables: which rules belong together, which cells they enclose, and what stands in those.

use super::glyph::Glyph;
use super::line::{Segment, join, segments};
use super::rule::{Rule, Rules, SNAP};

/// More crossings than this are no table a person reads.
const MAX_CROSSINGS: usize = 1_000_000;

/// Fields of one table, and tables of one page: beyond that it is a drawing.
const MAX_FIELDS: usize = 200_000;
const MAX_TABLES: usize = 200;

/// A cell with more text than this is a page in a frame.
const MAX_CELL_CHARS: usize = 2_500;

/// A table and the rectangle it fills.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub rows: Vec<Vec<String>>,
    pub x0: f32,
    pub x1: f32,
    pub top: f32,
    pub bottom: f32,
}

/// Takes the glyphs that stand in ruled tables out of `glyphs`.
pub(super) fn tables(rules: &Rules, glyphs: &mut Vec<Glyph>) -> Vec<Table> {
    let mut grids: Vec<Grid> = components(rules).iter().filter_map(|(across, down)| Grid::new(across, down)).collect();
    // What lies inside a table belongs to a cell of it.
    grids.sort_by(|a, b| b.area().total_cmp(&a.area()));
    let mut tables: Vec<Table> = Vec::new();
    for grid in grids.into_iter().take(MAX_TABLES) {
        let middle = ((grid.xs[0] + grid.right()) / 2.0, (grid.ys[0] + grid.bottom()) / 2.0);
        let inside =
            |table: &Table| (table.x0..table.x1).contains(&middle.0) && (table.top..table.bottom).contains(&middle.1);
        if tables.iter().any(inside) {
            continue;
        }
        let (within, without): (Vec<Glyph>, Vec<Glyph>) = glyphs.iter().partition(|glyph| grid.holds(glyph));
        if let Some(rows) = grid.fill(within) {
            *glyphs = without;
            tables.push(Table { rows, x0: grid.xs[0], x1: grid.right(), top: grid.ys[0], bottom: grid.bottom() });
        }
    }
    tables
}

/// Rules that cross each other, directly or by way of others.
fn components(rules: &Rules) -> Vec<(Vec<Rule>, Vec<Rule>)> {
    let (across, down) = (&rules.across, &rules.down);
    if across.len() < 2 || down.is_empty() || across.len() * down.len() > MAX_CROSSINGS {
        return Vec::new();
    }
    let mut sets = Sets::new(across.len() + down.len());
    for (i, line) in across.iter().enumerate() {
        for (j, column) in down.iter().enumerate() {
            let meets = |rule: &Rule, at: f32| (rule.from - SNAP..=rule.to + SNAP).contains(&at);
            if meets(line, column.at) && meets(column, line.at) {
                sets.unite(i, across.len() + j);
            }
        }
    }
    let mut found: std::collections::BTreeMap<usize, (Vec<Rule>, Vec<Rule>)> = std::collections::BTreeMap::new();
    for (i, line) in across.iter().enumerate() {
        found.entry(sets.root(i)).or_default().0.push(*line);
    }
    for (j, column) in down.iter().enumerate() {
        found.entry(sets.root(across.len() + j)).or_default().1.push(*column);
    }
    found.into_values().filter(|(across, down)| across.len() >= 2 && !down.is_empty()).collect()
}

/// Disjoint sets of indexes; the root of a set is its smallest.
struct Sets(Vec<usize>);

impl Sets {
    fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    fn root(&mut self, mut one: usize) -> usize {
        while self.0[one] != one {
            self.0[one] = self.0[self.0[one]];
            one = self.0[one];
        }
        one
    }

    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

/// Columns between `xs`, rows between `ys`; `cells` says to which cell each field belongs, by its first field.
struct Grid {
    xs: Vec<f32>,
    ys: Vec<f32>,
    cells: Vec<usize>,
}

impl Grid {
    fn new(across: &[Rule], down: &[Rule]) -> Option<Self> {
        let xs = edges(down, across);
        let ys = edges(across, down);
        if xs.len() < 3 || ys.len() < 3 {
            return None;
        }
        let (columns, rows) = (xs.len() - 1, ys.len() - 1);
        if columns * rows > MAX_FIELDS {
            return None;
        }
        // Walls to the right of each field, and below it.
        let mut right = vec![false; columns * rows];
        let mut below = vec![false; columns * rows];
        for rule in down {
            let i = nearest(&xs, rule.at);
            if (1..columns).contains(&i) {
                for j in (0..rows).filter(|j| rule.from < middle(&ys, *j) && middle(&ys, *j) < rule.to) {
                    right[j * columns + i - 1] = true;
                }
            }
        }
        for rule in across {
            let j = nearest(&ys, rule.at);
            if (1..rows).contains(&j) {
                for i in (0..columns).filter(|i| rule.from < middle(&xs, *i) && middle(&xs, *i) < rule.to) {
                    below[(j - 1) * columns + i] = true;
                }
            }
        }
        let mut sets = Sets::new(columns * rows);
        for j in 0..rows {
            for i in 0..columns {
                let field = j * columns + i;
                if i + 1 < columns && !right[field] {
                    sets.unite(field, field + 1);
                }
                if j + 1 < rows && !below[field] {
                    sets.unite(field, field + columns);
                }
            }
        }
        let cells = (0..columns * rows).map(|field| sets.root(field)).collect();
        Some(Self { xs, ys, cells })
    }

    fn columns(&self) -> usize {
        self.xs.len() - 1
    }

    fn rows(&self) -> usize {
        self.ys.len() - 1
    }

    fn right(&self) -> f32 {
        self.xs[self.columns()]
    }

    fn bottom(&self) -> f32 {
        self.ys[self.rows()]
    }

    fn area(&self) -> f32 {
        (self.right() - self.xs[0]) * (self.bottom() - self.ys[0])
    }

    fn holds(&self, glyph: &Glyph) -> bool {
        let (x, y) = glyph.middle();
        x > self.xs[0] && x < self.right() && y > self.ys[0] && y < self.bottom()
    }

    /// The rows with their text; `None` when this is a frame, a form or a drawing rather than a table.
    fn fill(&self, mut glyphs: Vec<Glyph>) -> Option<Vec<Vec<String>>> {
        let mut contents: Vec<Vec<Glyph>> = vec![Vec::new(); self.cells.len()];
        glyphs.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
        let mut last: Option<(Glyph, usize)> = None;
        for glyph in glyphs {
            let (x, y) = glyph.middle();
            let i = self.xs.partition_point(|edge| *edge <= x).clamp(1, self.columns()) - 1;
            let j = self.ys.partition_point(|edge| *edge <= y).clamp(1, self.rows()) - 1;
            let field = j * self.columns() + i;
            // A wall through a word is none there: a name over several columns, with the rule above them left out.
            let field = match last {
                Some((before, field)) if field / self.columns() == j && is_one_word(&before, &glyph) => field,
                _ => field,
            };
            contents[self.cells[field]].push(glyph);
            last = Some((glyph, field));
        }
        let filled = contents.iter().filter(|glyphs| glyphs.iter().any(|glyph| !glyph.is_space())).count();
        if filled < 3 || contents.iter().any(|glyphs| glyphs.len() > MAX_CELL_CHARS) {
            return None;
        }
        let mut rows: Vec<Vec<String>> = Vec::new();
        for row in contents.chunks_mut(self.columns()) {
            let cells: Vec<Vec<Segment>> = row.iter_mut().map(|glyphs| segments(std::mem::take(glyphs))).collect();
            rows.extend(lines_of(&cells));
        }
        rows.retain(|row| row.iter().any(|cell| !cell.is_empty()));
        drop_empty_columns(&mut rows);
        let full = rows.iter().filter(|row| row.iter().filter(|cell| !cell.is_empty()).count() >= 2).count();
        (rows.len() >= 2 && full >= 2).then_some(rows)
    }
}

/// Whether two characters are letters of one word. Figures are not: those of two cells may all but touch.
fn is_one_word(before: &Glyph, after: &Glyph) -> bool {
    let gap = after.x0 - before.x1;
    (before.c.is_alphabetic() || before.c == '/')
        && (after.c.is_alphabetic() || after.c == '/')
        && (before.y - after.y).abs() < 0.1 * after.size
        && gap.abs() < 0.12 * after.size
}

/// The places of rules, and the ends of those that cross them: a table may be open at its sides.
fn edges(rules: &[Rule], crossing: &[Rule]) -> Vec<f32> {
    let mut edges: Vec<f32> = rules.iter().map(|rule| rule.at).collect();
    edges.sort_by(f32::total_cmp);
    edges.dedup_by(|next, last| *next - *last <= SNAP);
    let from = crossing.iter().map(|rule| rule.from).fold(f32::MAX, f32::min);
    let to = crossing.iter().map(|rule| rule.to).fold(f32::MIN, f32::max);
    if edges.first().is_some_and(|first| *first - from > SNAP * 2.0) {
        edges.insert(0, from);
    }
    if edges.last().is_some_and(|last| to - *last > SNAP * 2.0) {
        edges.push(to);
    }
    edges
}

fn middle(edges: &[f32], index: usize) -> f32 {
    (edges[index] + edges[index + 1]) / 2.0
}

fn nearest(edges: &[f32], at: f32) -> usize {
    let after = edges.partition_point(|edge| *edge < at);
    match (after.checked_sub(1), edges.get(after)) {
        (Some(before), Some(edge)) if at - edges[before] < edge - at => before,
        (Some(before), None) => before,
        _ => after,
    }
}

/// One ruled row as rows of text: usually one. Where every cell is a list whose lines stand beside each other, the lines are
/// the rows, and only nobody drew rules between them.
fn lines_of(cells: &[Vec<Segment>]) -> Vec<Vec<String>> {
    let lines: Vec<Vec<(f32, String)>> = cells.iter().map(|segments| lines(segments)).collect();
    let filled: Vec<&Vec<(f32, String)>> = lines.iter().filter(|lines| !lines.is_empty()).collect();
    let longest = filled.iter().max_by_key(|lines| lines.len()).copied();
    if let Some(longest) = longest.filter(|lines| lines.len() >= 3 && filled.len() >= 3) {
        let beside = |y: f32| longest.iter().position(|(line, _)| (line - y).abs() <= 2.0);
        let aligned = filled.iter().all(|lines| lines.iter().all(|(y, _)| beside(*y).is_some()));
        let full = filled.iter().filter(|lines| lines.len() * 10 >= longest.len() * 7).count();
        if aligned && full * 10 >= filled.len() * 6 {
            let mut rows = vec![vec![String::new(); cells.len()]; longest.len()];
            for (column, lines) in lines.iter().enumerate() {
                for (y, text) in lines {
                    if let Some(row) = beside(*y) {
                        join(&mut rows[row][column], text);
                    }
                }
            }
            return rows;
        }
    }
    let cell = |lines: &Vec<(f32, String)>| {
        let mut text = String::new();
        for (_, line) in lines {
            join(&mut text, line);
        }
        text
    };
    vec![lines.iter().map(cell).collect()]
}

/// The lines of a cell with their baselines.
fn lines(segments: &[Segment]) -> Vec<(f32, String)> {
    let mut lines: Vec<(f32, String)> = Vec::new();
    for segment in segments {
        match lines.last_mut() {
            Some((y, text)) if (segment.y - *y).abs() <= 0.25 * segment.size => {
                text.push(' ');
                text.push_str(&segment.text);
            }
            _ => lines.push((segment.y, segment.text.clone())),
        }
    }
    lines
}

/// Double rules and gaps between cells leave columns without any text.
fn drop_empty_columns(rows: &mut [Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    for column in (0..columns).rev() {
        if rows.iter().all(|row| row.get(column).is_none_or(String::is_empty)) {
            for row in rows.iter_mut().filter(|row| row.len() > column) {
                row.remove(column);
            }
        }
    }
}
