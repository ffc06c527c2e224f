//! Retrieved passages taken apart: units, what stands beside them, near-duplicates dropped.

use std::collections::{HashMap, HashSet};

use lake::Hit;

use crate::{
    asked::Asked,
    language::Language,
    support::{Signals, Weights, codes_missing, focus_missing, names_missing, support, translated_focus, wanted},
    units::{Unit, units},
    words::Bag,
};

/// A retrieved passage with its words and units.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) hit: Hit,
    /// Heading path and document name: what the passage is about without saying so.
    pub(crate) about: Bag,
    pub(crate) words: Bag,
    /// The passage's words with the codes of all retrieved passages of its document: a chunk of a data sheet is about the article its first page names.
    pub(crate) kin: Bag,
    pub(crate) units: Vec<Unit>,
}

/// A unit scored as the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scored {
    pub(crate) candidate: usize,
    pub(crate) unit: usize,
    pub(crate) score: f32,
}

/// Two passages that share this much of their words say the same (versions and copies of one document).
const DUPLICATE_FROM: f32 = 0.9;

/// Takes the hits apart, best first, leaving out passages that repeat a better one.
pub(crate) fn candidates(hits: Vec<Hit>) -> Vec<Candidate> {
    let mut codes: HashMap<String, HashSet<String>> = HashMap::new();
    for hit in &hits {
        let known = codes.entry(hit.document_id.clone()).or_default();
        known.extend(crate::words::codes(&hit.text));
    }
    let mut out: Vec<Candidate> = Vec::new();
    for hit in hits {
        let words = Bag::of(&hit.text);
        if out.iter().any(|c| overlap(&c.words, &words) >= DUPLICATE_FROM) {
            continue;
        }
        let about =
            Bag::of(&format!("{} {}", hit.heading_path.join(" "), hit.document.replace(['/', '_', '-', '.'], " ")));
        out.push(Candidate {
            units: units(&hit.text),
            about,
            kin: Bag { codes: codes.get(&hit.document_id).cloned().unwrap_or_default(), ..words.clone() },
            words,
            hit,
        });
    }
    out
}

/// Jaccard overlap of words and numbers.
fn overlap(a: &Bag, b: &Bag) -> f32 {
    let both = a.stems.intersection(&b.stems).count() + a.numbers.intersection(&b.numbers).count();
    let all = a.stems.union(&b.stems).count() + a.numbers.union(&b.numbers).count();
    if all == 0 {
        return 1.0;
    }
    both as f32 / all as f32
}

impl Candidate {
    /// What stands beside a unit: heading path, document name, the heading or header row above it, the unit before it.
    pub(crate) fn beside(&self, unit: usize) -> Bag {
        let mut bag = self.about.clone();
        let lead = self.units[..unit].iter().rev().find(|u| u.lead);
        for near in lead.into_iter().chain(unit.checked_sub(1).map(|i| &self.units[i])) {
            let words = Bag::of(&near.shown);
            bag.stems.extend(words.stems);
            bag.numbers.extend(words.numbers);
            bag.codes.extend(words.codes);
        }
        bag
    }

    /// The signals of one unit of this passage.
    pub(crate) fn signals(&self, unit: usize, asked: &Asked, weights: &Weights, similarity: Option<f32>) -> Signals {
        let shown = &self.units[unit].shown;
        let bag = Bag::of(shown);
        let beside = self.beside(unit);
        let everywhere = (&bag, &beside, &self.kin);
        let foreign = self.foreign(asked.language);
        let all = [&bag, &beside, &self.kin];
        // In a table that lists the article, a row is about its own article only; prose, and a table of properties, may name it elsewhere.
        let listed = |u: &Unit| u.row && !codes_missing(asked, &[&Bag::of(&u.shown)]);
        let identity: &[&Bag] = match self.units[unit].row && self.units.iter().any(listed) {
            true => &[&bag],
            false => &all,
        };
        Signals {
            coverage: weights.coverage(asked, everywhere, foreign),
            similarity: similarity.or(self.hit.similarity),
            wanted: wanted(asked, shown),
            names_missing: names_missing(asked, &all),
            codes_missing: codes_missing(asked, identity),
            focus_missing: focus_missing(asked, &all) && (!foreign || translated_focus(asked)),
        }
    }

    /// Whether the passage is known to be in another language than the question.
    fn foreign(&self, language: Language) -> bool {
        let code = match language {
            Language::German => "de",
            Language::English => "en",
        };
        self.hit.language.as_deref().is_some_and(|found| !found.to_lowercase().starts_with(code))
    }
}

/// Scores every unit that can be an answer, best first. `similarity(candidate, unit)` is the unit's cosine to the question where it was embedded.
pub(crate) fn scored(
    candidates: &[Candidate],
    asked: &Asked,
    weights: &Weights,
    similarity: &dyn Fn(usize, usize) -> Option<f32>,
) -> Vec<Scored> {
    let mut out = Vec::new();
    for (c, candidate) in candidates.iter().enumerate() {
        let only_leads = candidate.units.iter().all(|u| u.lead);
        for (u, unit) in candidate.units.iter().enumerate() {
            if unit.lead && !only_leads {
                continue;
            }
            let signals = candidate.signals(u, asked, weights, similarity(c, u));
            out.push(Scored {
                candidate: c,
                unit: u,
                // A tie goes to the passage that was retrieved first.
                score: support(&signals) - 0.001 * c as f32,
            });
        }
    }
    out.sort_by(|a, b| b.score.total_cmp(&a.score));
    out
}
