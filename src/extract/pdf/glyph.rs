//! The characters of a page, by the direction they are written in.

use std::collections::BTreeMap;

use xberg_native_pdf::layout::{FontWeight, TextChar};

/// A character in the frame of its writing direction: x grows along the line, y downwards, in points.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glyph {
    pub c: char,
    pub x0: f32,
    pub x1: f32,
    /// The baseline.
    pub y: f32,
    /// The size of its font.
    pub size: f32,
    pub bold: bool,
}

impl Glyph {
    pub(super) fn is_space(&self) -> bool {
        self.c.is_whitespace()
    }

    /// The middle of a lower-case letter, by which it is counted to a cell.
    pub(super) fn middle(&self) -> (f32, f32) {
        ((self.x0 + self.x1) / 2.0, self.y - self.size * 0.3)
    }
}

/// A writing direction, in whole degrees anticlockwise in the page's own coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Direction(i32);

impl Direction {
    /// Turns a point of the page into the frame of this direction.
    pub(super) fn turn(self, x: f32, y: f32) -> (f32, f32) {
        match self.0 {
            0 => (x, -y),
            90 => (y, x),
            180 => (-x, y),
            270 => (-y, -x),
            other => {
                let (sin, cos) = (other as f32).to_radians().sin_cos();
                (x * cos + y * sin, x * sin - y * cos)
            }
        }
    }

    /// How much of a length along the line is left along the page's lower edge; none where that is next to nothing.
    fn shortening(self) -> Option<f32> {
        let part = (self.0 as f32).to_radians().cos().abs();
        (part > 0.05).then_some(part)
    }

    /// Whether rules drawn along the page's edges run along its lines.
    pub(super) fn is_square(self) -> bool {
        self.0 % 90 == 0
    }
}

/// Takes the width of each character from where the next one stands; words are apart where the text has a space.
fn widths_from_gaps(glyphs: &mut [Glyph]) {
    glyphs.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
    for i in 0..glyphs.len() {
        let Glyph { x0, y, size, .. } = glyphs[i];
        let next = glyphs.get(i + 1).filter(|next| (next.y - y).abs() < 0.1 * size).map(|next| next.x0 - x0);
        glyphs[i].x1 = x0 + next.filter(|gap| *gap > 0.0 && *gap <= 0.95 * size).unwrap_or(0.5 * size);
    }
}

/// Sorts characters by writing direction, the one most are written in first.
pub(super) fn by_direction(chars: &[TextChar]) -> Vec<(Direction, Vec<Glyph>)> {
    let mut frames: BTreeMap<Direction, Vec<Glyph>> = BTreeMap::new();
    for one in chars {
        let finite = one.origin_x.is_finite() && one.origin_y.is_finite() && one.advance_width.is_finite();
        if !finite || !one.font_size.is_finite() || !one.rotation_degrees.is_finite() {
            continue;
        }
        let direction = Direction((one.rotation_degrees.round() as i32).rem_euclid(360));
        let (x0, y) = direction.turn(one.origin_x, one.origin_y);
        let size = one.font_size.abs().max(1.0);
        // The reader measures widths along the page: those of turned text come out shorter, and of upright ones as nothing.
        let advance = match direction.shortening() {
            Some(part) if one.advance_width > 0.0 => one.advance_width / part,
            _ => size * 0.3,
        };
        frames.entry(direction).or_default().push(Glyph {
            c: one.char,
            x0,
            x1: x0 + advance,
            y,
            size,
            bold: matches!(
                one.font_weight,
                FontWeight::SemiBold | FontWeight::Bold | FontWeight::ExtraBold | FontWeight::Black
            ),
        });
    }
    for (direction, glyphs) in &mut frames {
        if direction.shortening().is_none() {
            widths_from_gaps(glyphs);
        }
    }
    let mut frames: Vec<_> = frames.into_iter().collect();
    frames.sort_by_key(|(_, glyphs)| std::cmp::Reverse(glyphs.len()));
    frames
}
