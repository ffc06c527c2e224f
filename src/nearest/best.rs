//! The first of many.

use std::cmp::Ordering;

/// Returns the `limit` largest by key, largest first: a number, then what decides between equal ones.
pub fn best<T, K: Ord>(all: impl IntoIterator<Item = T>, limit: usize, key: impl Fn(&T) -> (f32, K)) -> Vec<T> {
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

    #[test]
    fn best_is_a_sorted_prefix() {
        let numbers: Vec<u32> = (0..100).map(|n| n * 37 % 100).collect();
        let top = best(numbers, 3, |n| (*n as f32, *n));
        assert_eq!(top, [99, 98, 97]);
        assert_eq!(best(vec![1_u32], 0, |n| (*n as f32, *n)), [0_u32; 0]);
    }
}
