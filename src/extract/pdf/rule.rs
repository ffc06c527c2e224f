//! Paths → rules: the straight lines along and across the text that tables are drawn with.

use xberg_native_pdf::elements::{PathContent, PathOperation};

use super::glyph::Direction;

/// A filled shape this thin is a line, in points.
const THIN: f32 = 3.0;

/// Rules this close to each other are one; ends this close meet.
pub(super) const SNAP: f32 = 2.5;

/// A page with more lines than this is a drawing.
const MAX_RULES: usize = 4_000;

/// A straight line: at `at` on one axis, from `from` to `to` on the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rule {
    pub at: f32,
    pub from: f32,
    pub to: f32,
}

/// The rules of a page: `across` run along the lines of text (`at` is y), `down` cross them (`at` is x).
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub across: Vec<Rule>,
    pub down: Vec<Rule>,
}

/// Finds the rules in the paths of a page; none where the page is a drawing.
pub(super) fn rules(paths: &[PathContent], direction: Direction) -> Rules {
    let mut found = Rules::default();
    for path in paths {
        if path.stroke_color.is_none() && path.fill_color.is_none() {
            continue;
        }
        edges(path, direction, &mut found);
        if found.across.len() + found.down.len() > MAX_RULES * 4 {
            return Rules::default();
        }
    }
    found.across = joined(found.across);
    found.down = joined(found.down);
    if found.across.len() + found.down.len() > MAX_RULES { Rules::default() } else { found }
}

fn edges(path: &PathContent, direction: Direction, found: &mut Rules) {
    let (mut start, mut last) = ((0.0, 0.0), (0.0, 0.0));
    for operation in &path.operations {
        match *operation {
            PathOperation::MoveTo(x, y) => {
                last = direction.turn(x, y);
                start = last;
            }
            PathOperation::LineTo(x, y) => {
                let next = direction.turn(x, y);
                found.line(last, next);
                last = next;
            }
            PathOperation::CurveTo(_, _, _, _, x, y) => last = direction.turn(x, y),
            PathOperation::ClosePath => {
                found.line(last, start);
                last = start;
            }
            PathOperation::Rectangle(x, y, width, height) => {
                let (a, b) = (direction.turn(x, y), direction.turn(x + width, y + height));
                found.rectangle(a, b);
                last = a;
                start = a;
            }
        }
    }
}

impl Rules {
    fn line(&mut self, a: (f32, f32), b: (f32, f32)) {
        let (wide, high) = ((a.0 - b.0).abs(), (a.1 - b.1).abs());
        // Also false where a coordinate is no number.
        if high <= 0.7 && wide > high {
            self.across.push(Rule { at: (a.1 + b.1) / 2.0, from: a.0.min(b.0), to: a.0.max(b.0) });
        } else if wide <= 0.7 && high > wide {
            self.down.push(Rule { at: (a.0 + b.0) / 2.0, from: a.1.min(b.1), to: a.1.max(b.1) });
        }
    }

    fn rectangle(&mut self, a: (f32, f32), b: (f32, f32)) {
        let (wide, high) = ((a.0 - b.0).abs(), (a.1 - b.1).abs());
        let middle = ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0);
        if high <= THIN && wide > high {
            self.line((a.0, middle.1), (b.0, middle.1));
        } else if wide <= THIN && high > wide {
            self.line((middle.0, a.1), (middle.0, b.1));
        } else {
            for (from, to) in [(a, (b.0, a.1)), ((a.0, b.1), b), (a, (a.0, b.1)), ((b.0, a.1), b)] {
                self.line(from, to);
            }
        }
    }
}

/// Puts rules at nearly the same place onto one, and joins those that touch; dashes become lines, and what stays short goes.
fn joined(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.retain(|rule| rule.at.is_finite() && rule.from.is_finite() && rule.to.is_finite());
    rules.sort_by(|a, b| a.at.total_cmp(&b.at));
    let mut out: Vec<Rule> = Vec::new();
    let mut rest = rules.as_mut_slice();
    while let Some(first) = rest.first() {
        let at = first.at;
        let end = rest.iter().position(|rule| rule.at - at > SNAP).unwrap_or(rest.len());
        let (same, after) = rest.split_at_mut(end);
        let middle = same.iter().map(|rule| rule.at).sum::<f32>() / same.len() as f32;
        same.sort_by(|a, b| a.from.total_cmp(&b.from));
        let mut current: Option<Rule> = None;
        for rule in same.iter() {
            match &mut current {
                Some(open) if rule.from <= open.to + SNAP => open.to = open.to.max(rule.to),
                _ => {
                    out.extend(current.take());
                    current = Some(Rule { at: middle, ..*rule });
                }
            }
        }
        out.extend(current);
        rest = after;
    }
    out.retain(|rule| rule.to - rule.from > 6.0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_and_doubled_lines_are_one_rule() {
        let dash = |from: f32| Rule { at: 10.0, from, to: from + 2.0 };
        let mut rules: Vec<Rule> = (0..20).map(|i| dash(i as f32 * 4.0)).collect();
        rules.push(Rule { at: 11.0, from: 0.0, to: 78.0 });
        rules.push(Rule { at: 50.0, from: 0.0, to: 3.0 });
        let got = joined(rules);
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!((got[0].from, got[0].to), (0.0, 78.0));
    }
}
