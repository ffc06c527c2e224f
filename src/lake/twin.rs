//! Tells passages that say the same: copies of a file, its versions, a paragraph that stands in every contract.
//!
//! Two passages are twins when their numbers and codes are the same and their words nearly so. Words alone would not do:
//! the rows of two articles differ in nothing but numbers, and are the last thing to be thrown together.
//!
//! Nearly: at most [`NEAR_BITS`] of the 64 bits of their simhashes differ (Charikar, STOC 2002; each bit differs with
//! probability angle / π), and the vectors agree too. Of few words a simhash says little, so they must be the same.

use std::hash::{DefaultHasher, Hash, Hasher};

/// What is kept of a passage to tell its twins: 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Of all terms with a digit, in whatever order.
    numbers: u64,
    words: u64,
    word_count: u32,
}

const NEAR_BITS: u32 = 10;
/// From so many words on, a simhash is worth comparing.
const ENOUGH_WORDS: u32 = 24;
/// The cosine from which two passages mean the same; e5 puts a sentence and its translation at 0.9.
const NEAR_COSINE: f32 = 0.97;

impl Mark {
    /// Reads a passage's terms, a blank between them.
    pub fn of(terms: &str) -> Self {
        let mut sums = [0_i32; 64];
        let (mut numbers, mut word_count) = (0_u64, 0);
        for term in terms.split(' ').filter(|term| !term.is_empty()) {
            let mut hasher = DefaultHasher::new();
            term.hash(&mut hasher);
            let hash = hasher.finish();
            if term.bytes().any(|byte| byte.is_ascii_digit()) {
                numbers = numbers.wrapping_add(hash);
                continue;
            }
            word_count += 1;
            for (bit, sum) in sums.iter_mut().enumerate() {
                *sum += if hash >> bit & 1 == 1 { 1 } else { -1 };
            }
        }
        let words = sums.iter().enumerate().fold(0, |all, (bit, sum)| all | u64::from(*sum > 0) << bit);
        Self { numbers, words, word_count }
    }

    /// Whether two passages are twins; `cosine` is that of their vectors.
    pub fn is_twin(&self, other: &Self, cosine: impl FnOnce() -> f32) -> bool {
        if self.numbers != other.numbers {
            return false;
        }
        if self.words == other.words && self.word_count == other.word_count {
            return true;
        }
        let enough = self.word_count.min(other.word_count) >= ENOUGH_WORDS;
        enough && (self.words ^ other.words).count_ones() <= NEAR_BITS && cosine() >= NEAR_COSINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Analyzer;

    const TERMS: &str = "Die Gewährleistung beginnt mit der Abnahme der Anlage durch den Käufer und endet nach Ablauf der \
        vereinbarten Frist. Der Verkäufer behebt Mängel innerhalb angemessener Zeit auf eigene Kosten, sofern der Käufer \
        sie schriftlich anzeigt. Weitergehende Ansprüche bleiben hiervon unberührt, soweit das Gesetz zwingend haftet.";

    fn twins(a: &str, b: &str) -> bool {
        let analyzer = Analyzer::new();
        Mark::of(&analyzer.terms(a)).is_twin(&Mark::of(&analyzer.terms(b)), || 0.99)
    }

    #[test]
    fn copies_and_light_revisions_are_twins() {
        assert!(twins(TERMS, TERMS));
        assert!(twins(TERMS, &TERMS.replace("innerhalb angemessener Zeit", "innerhalb angemessener Frist")));
        assert!(twins(TERMS, &format!("{TERMS} ").replace(". ", ".\n")));
        assert!(twins("Seite leer", "Seite leer"));
    }

    #[test]
    fn another_number_or_another_text_is_no_twin() {
        assert!(!twins(&format!("{TERMS} 24 Monate"), &format!("{TERMS} 12 Monate")));
        assert!(!twins("WDU 2.5 Reihenklemme beige", "WDU 4 Reihenklemme beige"));
        assert!(!twins("Seite leer", "Seite voll"));
        let other = "Die Lieferung erfolgt ab Werk, verpackt und versichert, sobald alle technischen Fragen geklärt sind. \
            Teillieferungen sind zulässig, wenn sie dem Besteller zumutbar sind. Gerät der Lieferer in Verzug, kann der \
            Besteller nach fruchtlosem Ablauf einer Nachfrist zurücktreten oder Ersatz seines Schadens verlangen.";
        assert!(!twins(TERMS, other));
    }

    #[test]
    fn near_words_with_far_vectors_are_no_twins() {
        let analyzer = Analyzer::new();
        let mark = |text: &str| Mark::of(&analyzer.terms(text));
        let changed = TERMS.replace("innerhalb angemessener Zeit", "innerhalb angemessener Frist");
        assert!(!mark(TERMS).is_twin(&mark(&changed), || 0.9));
    }
}
