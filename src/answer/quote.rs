//! The extractive answer: the best units, quoted.

use crate::{
    candidates::{Candidate, Scored},
    support::ANSWER_FROM,
};

/// A unit within this share of the best one says something of its own worth quoting too.
const ALSO_FROM: f32 = 0.93;
/// The most units one answer quotes.
const QUOTES: usize = 2;
/// Characters of one quoted sentence; a longer unit is quoted from its start.
const SHOWN_CHARS: usize = 600;

/// Chooses the units to quote, best first: the best one, and one more sentence when it scores nearly as well and stands close by; a table row stands for itself.
///
/// A second passage with the same score mostly repeats or contradicts the first (an older price list, another article), so it is left to the retrieved passages.
pub(crate) fn quotes(candidates: &[Candidate], scored: &[Scored]) -> Vec<Scored> {
    let Some(best) = scored.first().copied().filter(|s| s.score >= ANSWER_FROM) else {
        return Vec::new();
    };
    let mut out = vec![best];
    for other in &scored[1..] {
        let row = |s: &Scored| candidates[s.candidate].units[s.unit].row;
        let near =
            other.candidate == best.candidate && other.unit.abs_diff(best.unit) <= 2 && !row(&best) && !row(other);
        let alike = other.score >= best.score * ALSO_FROM && other.score >= ANSWER_FROM;
        if near && alike && out.len() < QUOTES {
            out.push(*other);
        }
    }
    out.sort_by_key(|s| s.unit);
    out
}

/// The unit as a sentence of the answer.
pub(crate) fn sentence(candidate: &Candidate, unit: usize) -> String {
    let shown = &candidate.units[unit].shown;
    if shown.chars().count() <= SHOWN_CHARS {
        return shown.clone();
    }
    let cut: String = shown.chars().take(SHOWN_CHARS).collect();
    let end = cut.rfind(' ').unwrap_or(cut.len());
    format!("{} …", &cut[..end])
}
