//! Joins the list by meaning and the list by words into one.
//!
//! Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): a list gives a hit 1 / (60 + rank). Plain, it trusts
//! both lists alike, and a German question on an English text then loses what the vectors found to chance matches of
//! words. So each hit's place in the word list counts by what that list can know about it: the square of its coverage, the
//! share of the question's idf that the passage really holds. A passage with every word asked for counts fully, one that
//! shares only `2019` with the question hardly at all. (Squared, because neighbours in a list differ by less than 2 %: a
//! tenth of a vote would still lift a hit by six places.)

use std::{cmp::Ordering, collections::HashMap};

use crate::lexical::Found;

const DAMPING: f32 = 60.0;

/// One fused hit: its score and its ranks, from 1, in the lists it stood in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fused {
    pub slot: u32,
    pub score: f32,
    pub vector_rank: Option<usize>,
    pub lexical_rank: Option<usize>,
}

/// Fuses two lists, each best first.
pub(crate) fn fuse(vector: &[u32], lexical: &[Found], limit: usize) -> Vec<Fused> {
    let mut all: HashMap<u32, Fused> = HashMap::new();
    let empty = |slot| Fused { slot, score: 0.0, vector_rank: None, lexical_rank: None };
    for (index, slot) in vector.iter().enumerate() {
        let entry = all.entry(*slot).or_insert_with(|| empty(*slot));
        entry.vector_rank = Some(index + 1);
        entry.score += share(index);
    }
    for (index, found) in lexical.iter().enumerate() {
        let entry = all.entry(found.slot).or_insert_with(|| empty(found.slot));
        entry.lexical_rank = Some(index + 1);
        entry.score += found.coverage * found.coverage * share(index);
    }
    // Equal scores fall to the better vector rank, then to the older slot, so that the order never depends on a hash.
    let by_vector = |fused: &Fused| std::cmp::Reverse(fused.vector_rank.unwrap_or(usize::MAX));
    best(all.into_values(), limit, |fused| (fused.score, (by_vector(fused), std::cmp::Reverse(fused.slot))))
}

fn share(index: usize) -> f32 {
    1.0 / (DAMPING + index as f32 + 1.0)
}

/// Returns the `limit` largest by key, largest first: a number, then what decides between equal ones.
pub(crate) fn best<T, K: Ord>(all: impl IntoIterator<Item = T>, limit: usize, key: impl Fn(&T) -> (f32, K)) -> Vec<T> {
    let order = |a: &T, b: &T| -> Ordering {
        let ((a, a_then), (b, b_then)) = (key(a), key(b));
        b.total_cmp(&a).then_with(|| b_then.cmp(&a_then))
    };
    if limit == 0 {
        return Vec::new();
    }
    // Most of a long list is turned away by one comparison with the worst that is still wanted.
    let full = limit.saturating_mul(2).saturating_add(64);
    let mut kept: Vec<T> = Vec::new();
    let mut least = f32::NEG_INFINITY;
    for one in all {
        if key(&one).0 < least {
            continue;
        }
        kept.push(one);
        if kept.len() >= full {
            kept.select_nth_unstable_by(limit - 1, order);
            kept.truncate(limit);
            least = key(&kept[limit - 1]).0;
        }
    }
    kept.sort_unstable_by(order);
    kept.truncate(limit);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(slot: u32, coverage: f32) -> Found {
        Found { slot, score: 1.0, coverage }
    }

    fn order(vector: &[u32], lexical: &[Found]) -> Vec<u32> {
        fuse(vector, lexical, 10).iter().map(|fused| fused.slot).collect()
    }

    #[test]
    fn what_both_lists_name_comes_first() {
        assert_eq!(order(&[1, 2, 3], &[found(2, 1.0), found(4, 1.0)])[0], 2);
    }

    #[test]
    fn a_word_list_that_knows_little_changes_little() {
        // Across languages: the words matched by chance cover a tenth of the question.
        let noise = [found(9, 0.1), found(3, 0.1), found(8, 0.1)];
        assert_eq!(order(&[1, 2, 3, 4], &noise)[..2], [1, 2]);
        // The same list, sure of itself, leads with what it found.
        let sure = [found(9, 1.0), found(3, 1.0), found(8, 1.0)];
        assert_eq!(order(&[1, 2, 3, 4], &sure)[0], 3);
    }

    #[test]
    fn one_empty_list_leaves_the_other_as_it_is() {
        assert_eq!(order(&[5, 1, 7], &[]), [5, 1, 7]);
        assert_eq!(order(&[], &[found(5, 0.4), found(1, 0.4)]), [5, 1]);
    }

    #[test]
    fn best_is_a_sorted_prefix() {
        let numbers: Vec<u32> = (0..100).map(|n| n * 37 % 100).collect();
        let top = best(numbers, 3, |n| (*n as f32, *n));
        assert_eq!(top, [99, 98, 97]);
        assert_eq!(best(vec![1_u32], 0, |n| (*n as f32, *n)), [0_u32; 0]);
    }
}
