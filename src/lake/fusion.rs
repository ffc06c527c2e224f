//! Joins what the vectors say and what the words say into one order.
//!
//! By scores, not by ranks. Reciprocal rank fusion forgets how sure each list is of itself: a German question on an English
//! text then loses what the vectors found to chance matches of words, and a hit ten standard deviations ahead counts no more
//! than one a hair ahead. So a passage gets the sum of
//!
//! - its nearness: the cosine, evened between languages, in standard deviations (`tongue`), for models put their cosines
//!   into bands of very different width; and
//! - its words, by what they can know: [`COVERAGE`] × coverage + [`DEPTH`] × coverage × BM25. Coverage is the share of the
//!   question's idf that the passage really holds; one that shares only `2019` with the question gets next to nothing from
//!   its words, whatever its BM25 score. Of a passage in another language the words say little either way.
//!
//! The two weights were chosen on question sets of our own (`scripts/bench-retrieval.sh` takes such sets), not on held-out questions; around
//! them the order changes little.

use std::collections::HashMap;

use nearest::best;

use crate::{lexical::Words, tongue::WORDS_OF_OTHERS};

/// Standard deviations of cosine a passage with every word of the question is worth, beside its BM25 score.
const COVERAGE: f32 = 3.5;
/// The same for each point of its BM25 score.
const DEPTH: f32 = 0.25;

/// One fused hit: its score and its ranks, from 1, in the lists it stood in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fused {
    pub slot: u32,
    pub score: f32,
    pub vector_rank: Option<usize>,
    pub lexical_rank: Option<usize>,
}

/// Fuses two lists, each best first, into the `limit` best. `nearness` is each slot's in standard deviations, by the same
/// zero for all; of a slot that `is_foreign` to the question the words say little.
pub(crate) fn fuse(
    vector: &[u32],
    nearness: impl Fn(u32) -> f32,
    words: &Words,
    is_foreign: impl Fn(u32) -> bool,
    limit: usize,
) -> Vec<Fused> {
    let mut all: HashMap<u32, Fused> = HashMap::new();
    let empty = |slot: u32| {
        let (score, coverage) = (words.score(slot), words.coverage(slot));
        let others = if is_foreign(slot) { WORDS_OF_OTHERS } else { 0.0 };
        let score = nearness(slot) + COVERAGE * coverage + DEPTH * coverage * score + others;
        Fused { slot, score, vector_rank: None, lexical_rank: None }
    };
    for (index, slot) in vector.iter().enumerate() {
        all.entry(*slot).or_insert_with(|| empty(*slot)).vector_rank = Some(index + 1);
    }
    for (index, found) in words.best.iter().enumerate() {
        all.entry(found.slot).or_insert_with(|| empty(found.slot)).lexical_rank = Some(index + 1);
    }
    // Equal scores fall to the better vector rank, then to the older slot, so that the order never depends on a hash.
    let by_vector = |fused: &Fused| std::cmp::Reverse(fused.vector_rank.unwrap_or(usize::MAX));
    best(all.into_values(), limit, |fused| (fused.score, (by_vector(fused), std::cmp::Reverse(fused.slot))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexical::Found;

    /// Words as if these slots of ten were found: slot, BM25 score, coverage.
    fn words(found: &[(u32, f32, f32)]) -> Words {
        let (mut scores, mut coverages) = (vec![0.0; 10], vec![0.0; 10]);
        for (slot, score, coverage) in found {
            scores[*slot as usize] = *score;
            coverages[*slot as usize] = *coverage;
        }
        let best = found.iter().map(|(slot, score, _)| Found { slot: *slot, score: *score }).collect();
        Words { best, scores, coverages }
    }

    /// The order of the slots with these cosines, the nearest `depth` of them in the list by vector.
    fn order(cosines: [f32; 10], depth: usize, found: &[(u32, f32, f32)]) -> Vec<u32> {
        let vector = best(0..10_u32, depth, |slot| (cosines[*slot as usize], std::cmp::Reverse(*slot)));
        fuse(&vector, |slot| cosines[slot as usize] / 0.02, &words(found), |_| false, 10)
            .iter()
            .map(|fused| fused.slot)
            .collect()
    }

    const COSINES: [f32; 10] = [0.78, 0.86, 0.85, 0.84, 0.83, 0.80, 0.79, 0.78, 0.77, 0.76];

    #[test]
    fn what_both_lists_name_comes_first() {
        assert_eq!(order(COSINES, 4, &[(2, 8.0, 1.0), (6, 8.0, 1.0)])[0], 2);
    }

    #[test]
    fn a_word_list_that_knows_little_changes_little() {
        // Across languages: the words matched by chance cover a tenth of the question.
        let noise = [(9, 6.0, 0.1), (6, 5.0, 0.1), (8, 4.0, 0.1)];
        assert_eq!(order(COSINES, 4, &noise)[..4], [1, 2, 3, 4]);
        // The same list, sure of itself, leads with what it found.
        let sure = [(9, 12.0, 1.0), (6, 6.0, 0.6), (8, 5.0, 0.5)];
        assert_eq!(order(COSINES, 4, &sure)[0], 9);
    }

    #[test]
    fn a_hit_far_ahead_is_not_caught_by_ranks() {
        let mut cosines = COSINES;
        cosines[1] = 0.95;
        assert_eq!(order(cosines, 4, &[(2, 5.0, 0.3), (3, 4.0, 0.3)])[0], 1);
    }

    #[test]
    fn the_words_of_the_own_language_do_not_drown_the_others() {
        let chance = [(5, 4.0, 0.25), (6, 4.0, 0.25)];
        let vector = [1, 5, 6];
        let near = |slot: u32| COSINES[slot as usize] / 0.02;
        let order = |foreign: u32| {
            let fused = fuse(&vector, near, &words(&chance), |slot| slot == foreign, 3);
            fused.iter().map(|fused| fused.slot).collect::<Vec<_>>()
        };
        assert_eq!(order(1)[0], 1);
        assert!(order(1) == [1, 5, 6] && order(9) == [1, 5, 6]);
        let better = [(5, 14.0, 0.9)];
        let fused = fuse(&vector, near, &words(&better), |slot| slot == 1, 3);
        assert_eq!(fused[0].slot, 5, "an answer in the own language wins: {fused:?}");
    }

    #[test]
    fn one_empty_list_leaves_the_other_as_it_is() {
        assert_eq!(order(COSINES, 3, &[]), [1, 2, 3]);
        assert_eq!(order([0.8; 10], 0, &[(5, 3.0, 0.4), (1, 2.0, 0.4)]), [5, 1]);
    }
}
