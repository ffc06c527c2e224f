//! Groups of vectors that lie close together: of very many, a search looks only into the groups nearest to its question (an inverted file).
//!
//! The centres come from k-means over a sample (Lloyd, squared Euclidean distance, as many centres as the root of the rows). How many groups a
//! question looks into is not a setting: when the groups are made, stored passages are asked as questions, and as many are taken as it
//! needs to find [`RECALL`] of the ten nearest an exact scan finds. Where half of the groups do not suffice, there are none, and all is
//! scanned. Rows that came after the groups were made are scanned always.

use gemm::Parallelism;
use rayon::prelude::*;

use crate::{
    best::best,
    matrix::{Matrix, Reach},
};

/// The share of the nearest ten that must be found.
pub const RECALL: f32 = 0.99;
/// Passages asked to measure it.
const QUESTIONS: usize = 100;
/// The nearest rows that must be found.
const NEAREST: usize = 10;
/// Rows per centre that k-means sees.
const SAMPLE: usize = 48;
const ROUNDS: usize = 8;
/// Rows whose nearest centre is looked for at once.
const BATCH: usize = 1024;

pub struct Groups {
    dimension: usize,
    /// One centre after the other, `dimension` numbers each.
    centres: Vec<f32>,
    /// Half the squared length of each centre.
    halves: Vec<f32>,
    /// The rows of each group.
    members: Vec<Vec<u32>>,
    /// The rows that are in groups: all before this one.
    rows: usize,
    /// How many groups a question looks into.
    probes: usize,
    /// The share of the nearest ten that was found with it.
    recall: f32,
}

/// Returns `count` rows of `rows`, without an order that files or subjects could have too: multiples of the golden ratio, which spread
/// evenly however many are taken.
pub fn scattered(rows: usize, count: usize) -> impl Iterator<Item = usize> {
    (1..=count as u64).map(move |index| {
        let fraction = index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((u128::from(fraction) * rows as u128) >> 64) as usize
    })
}

impl Groups {
    /// Puts all rows of a matrix into groups; `None` where too many groups would have to be looked into.
    pub fn of(matrix: &Matrix) -> Option<Self> {
        let (dimension, rows) = (matrix.dimension(), matrix.rows());
        let count = (rows as f64).sqrt() as usize;
        if count < 4 {
            return None;
        }
        let sample: Vec<usize> = scattered(rows, rows.min(count * SAMPLE)).collect();
        let first = (0..count).map(|index| sample[index * sample.len() / count]);
        let mut groups = Self {
            dimension,
            centres: first.flat_map(|row| matrix.row(row).iter().copied()).collect(),
            halves: Vec::new(),
            members: Vec::new(),
            rows,
            probes: 0,
            recall: 0.0,
        };
        groups.measure_centres();
        for _ in 0..ROUNDS {
            let nearest = groups.nearest_centres(matrix, &sample);
            groups.move_centres(matrix, &sample, &nearest);
        }
        let all: Vec<usize> = (0..rows).collect();
        groups.members = vec![Vec::new(); count];
        for (row, centre) in groups.nearest_centres(matrix, &all).into_iter().enumerate() {
            groups.members[centre as usize].push(row as u32);
        }
        groups.choose_probes(matrix).then_some(groups)
    }

    /// Returns how many rows are in groups; later ones are not.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the share of the ten nearest passages that was found when the groups were made, from 0 to 1.
    pub fn recall(&self) -> f32 {
        self.recall
    }

    /// Returns the rows of the groups nearest to a question.
    pub fn near<'a>(&'a self, query: &[f32]) -> impl Iterator<Item = u32> + 'a {
        self.order(query, self.probes).into_iter().flat_map(|group| self.members[group as usize].iter().copied())
    }

    /// Returns the `limit` groups nearest to a question, the nearest first.
    fn order(&self, query: &[f32], limit: usize) -> Vec<u32> {
        let distances = self.nearness(query);
        best(0..distances.len() as u32, limit, |group| (distances[*group as usize], std::cmp::Reverse(*group)))
    }

    /// Returns what orders the centres by their distance to each of some rows, the greater the nearer: a · c − c²/2. One row's values
    /// stand together.
    fn nearness(&self, rows: &[f32]) -> Vec<f32> {
        let (count, many) = (self.halves.len(), rows.len() / self.dimension);
        let mut out = vec![0.0_f32; many * count];
        // SAFETY: `rows` holds `many` rows and `centres` `count` rows of `dimension` numbers; `out` holds `many` rows of `count` numbers and
        // overlaps neither. The product is rows × centresᵀ.
        unsafe {
            gemm::gemm(
                many,
                count,
                self.dimension,
                out.as_mut_ptr(),
                1,
                count as isize,
                false,
                rows.as_ptr(),
                1,
                self.dimension as isize,
                self.centres.as_ptr(),
                self.dimension as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
        for row in out.chunks_mut(count) {
            row.iter_mut().zip(&self.halves).for_each(|(value, half)| *value -= half);
        }
        out
    }

    fn nearest_centres(&self, matrix: &Matrix, rows: &[usize]) -> Vec<u32> {
        let of_batch = |batch: &[usize]| {
            let mut numbers = Vec::with_capacity(batch.len() * self.dimension);
            batch.iter().for_each(|row| numbers.extend_from_slice(matrix.row(*row)));
            let nearness = self.nearness(&numbers);
            let greatest = |row: &[f32]| {
                let all = row.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
                all.map_or(0, |(centre, _)| centre as u32)
            };
            nearness.chunks(self.halves.len()).map(greatest).collect::<Vec<u32>>()
        };
        rows.par_chunks(BATCH).flat_map_iter(of_batch).collect()
    }

    /// Moves each centre into the middle of the rows nearest to it; one without rows stays.
    fn move_centres(&mut self, matrix: &Matrix, rows: &[usize], nearest: &[u32]) {
        let mut sums = vec![0.0_f32; self.centres.len()];
        let mut counts = vec![0_u32; self.halves.len()];
        for (row, centre) in rows.iter().zip(nearest) {
            let from = *centre as usize * self.dimension;
            sums[from..from + self.dimension].iter_mut().zip(matrix.row(*row)).for_each(|(sum, value)| *sum += value);
            counts[*centre as usize] += 1;
        }
        let old = self.centres.chunks_mut(self.dimension).zip(sums.chunks(self.dimension)).zip(&counts);
        for ((centre, sum), count) in old.filter(|(_, count)| **count > 0) {
            centre.iter_mut().zip(sum).for_each(|(value, sum)| *value = sum / *count as f32);
        }
        self.measure_centres();
    }

    fn measure_centres(&mut self) {
        let half = |centre: &[f32]| centre.iter().map(|value| value * value).sum::<f32>() / 2.0;
        self.halves = self.centres.chunks(self.dimension).map(half).collect();
    }

    /// Chooses the fewest probes that find enough; false where half of the groups do not.
    fn choose_probes(&mut self, matrix: &Matrix) -> bool {
        let questions: Vec<usize> = scattered(self.rows, QUESTIONS).collect();
        let mut group_of = vec![0_u32; self.rows];
        for (group, members) in self.members.iter().enumerate() {
            members.iter().for_each(|row| group_of[*row as usize] = group as u32);
        }
        let half = self.members.len() / 2;
        // For each question and each of its nearest rows: how many groups must be looked into until that row is found.
        let needed = |question: &usize| {
            let query = matrix.row(*question);
            let (cosines, _) = matrix.cosines(query, Reach::All);
            let nearest = best(0..cosines.len(), 4 * NEAREST, |row| (cosines[*row], std::cmp::Reverse(*row)));
            let nearest = best(nearest, NEAREST, |row| (matrix.cosine(*row, query), std::cmp::Reverse(*row)));
            let mut place = vec![usize::MAX; self.members.len()];
            self.order(query, half).iter().enumerate().for_each(|(at, group)| place[*group as usize] = at);
            nearest.iter().map(|row| place[group_of[*row] as usize]).collect::<Vec<_>>()
        };
        let mut places: Vec<usize> = questions.iter().flat_map(needed).collect();
        places.sort_unstable();
        let wanted = ((places.len() as f32 * RECALL).ceil() as usize).clamp(1, places.len());
        let last = places[wanted - 1];
        if last >= half {
            return false;
        }
        self.probes = last + 1;
        self.recall = places.partition_point(|place| *place <= last) as f32 / places.len() as f32;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMENSION: usize = 32;

    /// Pseudo-random unit vectors around subjects.
    fn rows(count: usize, subjects: usize) -> Vec<Vec<f32>> {
        let mut state = 11_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        let mut around = |centre: &[f32], spread: f32| {
            let vector: Vec<f32> = centre.iter().map(|value| value + spread * next()).collect();
            let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
            vector.iter().map(|value| value / length).collect::<Vec<f32>>()
        };
        let centres: Vec<Vec<f32>> = (0..subjects).map(|_| around(&[0.0; DIMENSION], 1.0)).collect();
        (0..count).map(|index| around(&centres[index % subjects], 0.4)).collect()
    }

    fn matrix(rows: &[Vec<f32>]) -> Matrix {
        let mut matrix = Matrix::new(DIMENSION);
        rows.iter().for_each(|row| matrix.push(row));
        matrix
    }

    #[test]
    fn few_groups_hold_what_is_near() {
        let all = rows(6_000, 60);
        let matrix = matrix(&all);
        let groups = Groups::of(&matrix).unwrap();
        let held: usize = groups.members.iter().map(Vec::len).sum();
        assert_eq!((held, groups.rows()), (6_000, 6_000), "each row is in one group");
        assert!(groups.recall() >= RECALL, "{}", groups.recall());
        // Questions it was not measured with.
        let (mut looked, mut found) = (0, 0);
        for question in (7..6_000).step_by(97) {
            let query = &all[question];
            let near: std::collections::HashSet<u32> = groups.near(query).collect();
            looked += near.len();
            let exact = best(0..6_000_u32, 10, |row| (matrix.cosine(*row as usize, query), std::cmp::Reverse(*row)));
            found += exact.iter().filter(|row| near.contains(row)).count();
        }
        let questions = (7..6_000).step_by(97).count();
        assert!(found as f32 / (questions * 10) as f32 >= 0.97, "{found} of {}", questions * 10);
        assert!(looked / questions < 6_000 / 3, "a question looks at {} rows", looked / questions);
    }

    #[test]
    fn vectors_without_any_order_are_not_grouped() {
        // Each its own subject, in many dimensions: all are equally far from all.
        let matrix = matrix(&rows(2_000, 2_000));
        assert!(Groups::of(&matrix).is_none_or(|groups| groups.recall() >= RECALL));
    }
}
