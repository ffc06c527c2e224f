//! Which bytes of a file were accounted for: one bit per byte.

/// A set of byte positions.
pub(super) struct Bits {
    words: Vec<u64>,
    length: usize,
}

impl Bits {
    pub fn new(length: usize) -> Self {
        Self { words: vec![0; length.div_ceil(64)], length }
    }

    /// Adds the positions from `start` up to `end`; what is beyond the file is none.
    pub fn add(&mut self, start: usize, end: usize) {
        let end = end.min(self.length);
        if start >= end {
            return;
        }
        let (first, last) = (start / 64, (end - 1) / 64);
        let head = u64::MAX << (start % 64);
        let tail = u64::MAX >> (63 - (end - 1) % 64);
        if first == last {
            self.words[first] |= head & tail;
            return;
        }
        self.words[first] |= head;
        self.words[first + 1..last].fill(u64::MAX);
        self.words[last] |= tail;
    }

    /// Returns how many positions are in the set.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Returns how many positions are in the set and not in `other`, which is about the same file.
    pub fn count_beside(&self, other: &Self) -> u64 {
        self.words.iter().zip(&other.words).map(|(word, other)| u64::from((word & !other).count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_counts_its_bytes_once() {
        for start in 0..140 {
            for end in start..200 {
                let mut bits = Bits::new(150);
                bits.add(start, end);
                bits.add(start, end);
                assert_eq!(bits.count(), end.min(150).saturating_sub(start) as u64, "{start}..{end}");
            }
        }
        let (mut a, mut b) = (Bits::new(100), Bits::new(100));
        a.add(0, 50);
        b.add(40, 60);
        assert_eq!((a.count_beside(&b), b.count_beside(&a)), (40, 10));
        Bits::new(0).add(0, 5);
    }
}
