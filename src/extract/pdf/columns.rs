//! The order a page is read in: columns one after the other, what spans them in between.

use super::grid::Table;
use super::line::Segment;

/// What stands on a page.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Text(Segment),
    Table(Table),
}

impl Item {
    fn x0(&self) -> f32 {
        match self {
            Self::Text(segment) => segment.x0,
            Self::Table(table) => table.x0,
        }
    }

    fn x1(&self) -> f32 {
        match self {
            Self::Text(segment) => segment.x1,
            Self::Table(table) => table.x1,
        }
    }

    fn top(&self) -> f32 {
        match self {
            Self::Text(segment) => segment.top(),
            Self::Table(table) => table.top,
        }
    }

    fn bottom(&self) -> f32 {
        match self {
            Self::Text(segment) => segment.bottom(),
            Self::Table(table) => table.bottom,
        }
    }
}

/// How often a region is cut; a page of nothing but gaps ends here.
const MAX_DEPTH: u32 = 40;

/// A page with more pieces of lines than this is read from top to bottom.
const MAX_ITEMS: usize = 20_000;

/// Lines a column must have.
const MIN_LINES: usize = 4;

/// A gutter is at least this wide, in points.
const MIN_GUTTER: f32 = 7.0;

/// Steps in which gutters are looked for, in points.
const STEP: f32 = 2.0;

/// Gutters that are tried in a region.
const MAX_TRIED: usize = 32;

/// Cuts what stands on a page into regions in reading order. Within one, lines follow each other downwards.
pub(super) fn regions(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut regions = Vec::new();
    cut(items, 0, &mut regions);
    regions
}

fn cut(mut items: Vec<Item>, depth: u32, regions: &mut Vec<Vec<Item>>) {
    if items.is_empty() {
        return;
    }
    items.sort_by(|a, b| a.top().total_cmp(&b.top()));
    if depth >= MAX_DEPTH || !(MIN_LINES * 2..MAX_ITEMS).contains(&items.len()) {
        regions.push(items);
        return;
    }
    if let Some(gutter) = gutter(&items) {
        let (mut left, mut right, mut across) = (Vec::new(), Vec::new(), Vec::new());
        for item in items {
            if item.x1() <= gutter.from + 1.0 || item.x0() >= gutter.to - 1.0 {
                if !across.is_empty() {
                    cut(std::mem::take(&mut across), depth + 1, regions);
                }
                if item.x1() <= gutter.from + 1.0 { left.push(item) } else { right.push(item) }
            } else {
                for column in [&mut left, &mut right] {
                    cut(std::mem::take(column), depth + 1, regions);
                }
                across.push(item);
            }
        }
        for column in [left, right, across] {
            cut(column, depth + 1, regions);
        }
        return;
    }
    match widest_gap(&items) {
        Some(at) => {
            let below = items.split_off(at);
            cut(items, depth + 1, regions);
            cut(below, depth + 1, regions);
        }
        None => regions.push(items),
    }
}

struct Gutter {
    from: f32,
    to: f32,
}

/// The gap between two columns of running text, if there are two.
fn gutter(items: &[Item]) -> Option<Gutter> {
    let left = items.iter().map(Item::x0).fold(f32::MAX, f32::min);
    let right = items.iter().map(Item::x1).fold(f32::MIN, f32::max);
    let steps = ((right - left) / STEP) as usize;
    if !(50..5_000).contains(&steps) {
        return None;
    }
    // How many items end before each place, begin after it, and cover it.
    let mut ends = vec![0_usize; steps + 2];
    let mut begins = vec![0_usize; steps + 2];
    let bin = |x: f32| (((x - left) / STEP).max(0.0) as usize).min(steps);
    for item in items {
        ends[(bin(item.x1()) + 1).min(steps)] += 1;
        begins[bin(item.x0())] += 1;
    }
    for i in 1..=steps {
        ends[i] += ends[i - 1];
    }
    for i in (0..steps).rev() {
        begins[i] += begins[i + 1];
    }
    let width = (MIN_GUTTER / STEP).ceil() as usize;
    let mut candidates: Vec<(usize, usize)> = (1..steps.saturating_sub(width))
        .map(|at| (ends[at].min(begins[at + width]), at))
        .filter(|(lines, _)| *lines >= MIN_LINES)
        .collect();
    candidates.sort_by(|a, b| b.cmp(a));
    // The best of places that are nearly the same.
    let mut tried: Vec<usize> = Vec::new();
    for (_, at) in candidates {
        if tried.len() >= MAX_TRIED {
            break;
        }
        if tried.iter().any(|known| known.abs_diff(at) <= 2) {
            continue;
        }
        tried.push(at);
        let from = left + at as f32 * STEP;
        let gutter = Gutter { from, to: from + MIN_GUTTER };
        if are_columns(items, &gutter) {
            return Some(gutter);
        }
    }
    None
}

/// Whether a gap has running text on both sides, and little across it. Names with their values beside them are no columns:
/// they are read line by line.
fn are_columns(items: &[Item], gutter: &Gutter) -> bool {
    let mut left: Vec<&Segment> = Vec::new();
    let mut right: Vec<&Segment> = Vec::new();
    for item in items {
        if let Item::Text(segment) = item {
            if segment.x1 <= gutter.from + 1.0 {
                left.push(segment);
            } else if segment.x0 >= gutter.to - 1.0 {
                right.push(segment);
            }
        }
    }
    if left.len() < MIN_LINES || right.len() < MIN_LINES {
        return false;
    }
    let span = |side: &[&Segment]| {
        let top = side.iter().map(|segment| segment.top()).fold(f32::MAX, f32::min);
        let bottom = side.iter().map(|segment| segment.bottom()).fold(f32::MIN, f32::max);
        (top, bottom)
    };
    let (left_span, right_span) = (span(&left), span(&right));
    let (top, bottom) = (left_span.0.max(right_span.0), left_span.1.min(right_span.1));
    let within = |item: &&Item| item.bottom() > top && item.top() < bottom;
    let across =
        items.iter().filter(within).filter(|item| item.x1() > gutter.from + 1.0 && item.x0() < gutter.to - 1.0);
    if across.count() * 3 > left.len().min(right.len()) {
        return false;
    }
    let mut baselines: Vec<f32> = right.iter().map(|segment| segment.y).collect();
    baselines.sort_by(f32::total_cmp);
    let beside = |segment: &&&Segment| {
        let at = baselines.partition_point(|y| *y <= segment.y - 1.0);
        baselines.get(at).is_some_and(|y| *y < segment.y + 1.0)
    };
    let aligned = left.iter().filter(beside).count() * 2 > left.len();
    let (fill_left, chars_left) = fill(&left);
    let (fill_right, chars_right) = fill(&right);
    let (fill, chars) = (fill_left.min(fill_right), chars_left.min(chars_right));
    fill >= 0.6 && chars >= 22 || !aligned && fill >= 0.4 && chars >= 12
}

/// How much of the width of a column its middle line fills, and how many characters that line has.
fn fill(side: &[&Segment]) -> (f32, usize) {
    let left = side.iter().map(|segment| segment.x0).fold(f32::MAX, f32::min);
    let right = side.iter().map(|segment| segment.x1).fold(f32::MIN, f32::max);
    let mut lines: Vec<(f32, usize)> =
        side.iter().map(|segment| (segment.x1 - segment.x0, segment.text.chars().count())).collect();
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (width, chars) = lines[lines.len() / 2];
    (width / (right - left).max(1.0), chars)
}

/// The first item below the widest gap that is wider than that between paragraphs.
fn widest_gap(items: &[Item]) -> Option<usize> {
    let mut bottom = f32::MIN;
    let mut best = (0.0, None);
    let mut sizes: Vec<f32> = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let gap = item.top() - bottom;
        if at > 0 && gap > best.0 {
            best = (gap, Some(at));
        }
        bottom = bottom.max(item.bottom());
        if let Item::Text(segment) = item {
            sizes.push(segment.size);
        }
    }
    sizes.sort_by(f32::total_cmp);
    let size = sizes.get(sizes.len() / 2).copied().unwrap_or(10.0);
    best.1.filter(|_| best.0 > 0.6 * size)
}
