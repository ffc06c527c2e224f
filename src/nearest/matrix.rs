//! All vectors in memory, and the cosine of each with a question's.
//!
//! A flat scan is exact and, at the sizes of one company's folder, fast: 10,000 vectors of 384 numbers are 4 million
//! multiplications, 4 ms even in a debug build, where Lance's own flat search takes 60 to 90 ms. The product of a block of rows and the question is `gemm`'s, which picks its kernel at run time.
//!
//! Of many vectors the scan reads bytes instead ([`Codes`]), and what comes out first is computed exactly. Of very many it reads the
//! bytes of the groups nearest to the question ([`Groups`]).

use gemm::Parallelism;

use crate::{codes::Codes, groups::Groups};

/// Rows per block: a block is allocated once and never moved, so that growing copies nothing.
const BLOCK_ROWS: usize = 4096;

/// Up to so many rows the exact scan costs less than a few milliseconds.
#[cfg(not(test))]
const FEW_ROWS: usize = 32_768;
#[cfg(test)]
const FEW_ROWS: usize = 2 * BLOCK_ROWS;

/// From so many rows on, groups are made: a scan of all bytes would take tens of milliseconds.
#[cfg(not(test))]
const MANY_ROWS: usize = 400_000;
#[cfg(test)]
const MANY_ROWS: usize = 3 * BLOCK_ROWS;

/// Where only groups are looked into, every so-manieth row is looked at too: for what must be known of all rows, like their mean.
pub const SAMPLED: usize = 64;

/// How the cosines with a question were got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// All, exactly.
    Exact,
    /// All, each off by a few thousandths at most.
    Bytes,
    /// The same of the nearest groups and of a sample; all others are minus infinity.
    Groups,
}

/// Which rows a question is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every row: for a question about few of them, which may lie anywhere.
    All,
    /// Rows that can be among the nearest.
    Near,
}

/// Vectors of one length, in the order they were pushed.
pub struct Matrix {
    dimension: usize,
    codes: Codes,
    blocks: Vec<Vec<f32>>,
    rows: usize,
    groups: Option<Groups>,
    /// How many rows there were when groups were last made, or found to be of no use.
    grouped: usize,
}

impl Matrix {
    pub fn new(dimension: usize) -> Self {
        let codes = Codes::new(dimension);
        Self { dimension, codes, blocks: Vec::new(), rows: 0, groups: None, grouped: 0 }
    }

    /// Whether groups should be made: there are many rows, and a quarter more than when that was last done.
    pub fn wants_groups(&self) -> bool {
        self.rows > MANY_ROWS && self.rows - self.grouped > self.grouped / 4
    }

    /// Takes the groups that were made of these rows, if they are of any use.
    pub fn set_groups(&mut self, groups: Option<Groups>) {
        match &groups {
            Some(groups) => tracing::info!(rows = self.rows, recall = groups.recall(), "vectors are in groups"),
            None => tracing::info!(rows = self.rows, "groups of vectors would not pay: all are scanned"),
        }
        self.grouped = self.rows;
        self.groups = groups;
    }

    /// Appends a row of `dimension` numbers.
    pub fn push(&mut self, row: &[f32]) {
        assert_eq!(row.len(), self.dimension, "vectors are checked before they come here");
        if self.rows.is_multiple_of(BLOCK_ROWS) {
            self.blocks.push(Vec::with_capacity(BLOCK_ROWS * self.dimension));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.extend_from_slice(row);
        }
        self.codes.push(row);
        self.rows += 1;
    }

    pub fn dimension(&self) -> usize {
        self.dimension
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn row(&self, index: usize) -> &[f32] {
        let from = index % BLOCK_ROWS * self.dimension;
        &self.blocks[index / BLOCK_ROWS][from..from + self.dimension]
    }

    /// Returns the cosine of every row with `query`, in order, and how they were got; [`Self::cosine`] says each exactly.
    pub fn cosines(&self, query: &[f32], reach: Reach) -> (Vec<f32>, Scan) {
        assert_eq!(query.len(), self.dimension, "a question's vector is checked before it comes here");
        match &self.groups {
            _ if self.rows <= FEW_ROWS => (self.dot(query), Scan::Exact),
            Some(groups) if reach == Reach::Near => {
                let later = groups.rows() as u32..self.rows as u32;
                let sampled = (0..self.rows as u32).step_by(SAMPLED);
                let looked_at: Vec<u32> = groups.near(query).chain(later).chain(sampled).collect();
                (self.codes.dot_of(&looked_at, query), Scan::Groups)
            }
            _ => (self.codes.dot(query), Scan::Bytes),
        }
    }

    /// Returns the exact cosine of one row with `query`.
    pub fn cosine(&self, index: usize, query: &[f32]) -> f32 {
        self.row(index).iter().zip(query).map(|(a, b)| a * b).sum()
    }

    /// Returns the dot product of every row with `query`, in order: the cosine, as all vectors have length 1.
    pub fn dot(&self, query: &[f32]) -> Vec<f32> {
        let mut out = vec![0_f32; self.rows];
        for (block, out) in self.blocks.iter().zip(out.chunks_mut(BLOCK_ROWS)) {
            let stride = self.dimension as isize;
            // SAFETY: `block` holds `out.len()` rows of `dimension` numbers, row-major; `query` is one column of
            // `dimension` numbers; `out` is one column of as many numbers as there are rows, and overlaps neither.
            unsafe {
                gemm::gemm(
                    out.len(),
                    1,
                    self.dimension,
                    out.as_mut_ptr(),
                    out.len() as isize,
                    1,
                    false,
                    block.as_ptr(),
                    1,
                    stride,
                    query.as_ptr(),
                    1,
                    1,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_agree_with_the_definition_over_block_bounds() {
        let dimension = 33;
        let mut matrix = Matrix::new(dimension);
        let value = |row: usize, column: usize| ((row * 31 + column * 17) % 23) as f32 / 23.0 - 0.5;
        let rows = BLOCK_ROWS + 5;
        for row in 0..rows {
            matrix.push(&(0..dimension).map(|column| value(row, column)).collect::<Vec<_>>());
        }
        let query: Vec<f32> = (0..dimension).map(|column| value(7, column)).collect();
        let products = matrix.dot(&query);
        assert_eq!(products.len(), rows);
        for row in [0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, rows - 1] {
            let exact: f32 = matrix.row(row).iter().zip(&query).map(|(a, b)| a * b).sum();
            assert!((products[row] - exact).abs() < 1e-5, "{row}");
            assert!((matrix.cosine(row, &query) - exact).abs() < 1e-5, "{row}");
        }
    }

    #[test]
    fn many_rows_are_scanned_in_bytes() {
        let mut matrix = Matrix::new(4);
        let row = |index: usize| {
            let angle = index as f32 * 0.001;
            [angle.cos(), angle.sin(), 0.0, 0.0]
        };
        (0..FEW_ROWS).for_each(|index| matrix.push(&row(index)));
        assert_eq!(matrix.cosines(&row(3), Reach::Near).1, Scan::Exact);
        matrix.push(&row(FEW_ROWS));
        let (cosines, scan) = matrix.cosines(&row(3), Reach::Near);
        assert!(scan == Scan::Bytes && cosines.len() == FEW_ROWS + 1);
        for index in [0, 3, BLOCK_ROWS, FEW_ROWS] {
            assert!((cosines[index] - matrix.cosine(index, &row(3))).abs() < 0.01, "{index}");
        }
    }

    #[test]
    fn of_very_many_rows_only_near_ones_and_a_sample_are_looked_at() {
        let mut matrix = Matrix::new(8);
        // Sixty-four directions, each with rows close around it.
        let row = |index: usize| {
            let mut row: Vec<f32> =
                (0..8).map(|bit| if ((index % 64) >> (bit % 6)) & 1 == 1 { 1.0 } else { -1.0 }).collect();
            row[index / 64 % 8] += (index / 512) as f32 * 0.001;
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            row.into_iter().map(|value| value / length).collect::<Vec<f32>>()
        };
        (0..MANY_ROWS).for_each(|index| matrix.push(&row(index)));
        assert!(!matrix.wants_groups());
        matrix.push(&row(MANY_ROWS));
        assert!(matrix.wants_groups());
        let groups = Groups::of(&matrix);
        matrix.set_groups(groups);
        assert!(matrix.groups.is_some() && !matrix.wants_groups());
        matrix.push(&row(5));
        let (cosines, scan) = matrix.cosines(&row(5), Reach::Near);
        assert_eq!((scan, cosines.len()), (Scan::Groups, MANY_ROWS + 2));
        let looked_at = cosines.iter().filter(|cosine| cosine.is_finite()).count();
        assert!(looked_at < MANY_ROWS / 2, "{looked_at}");
        for index in [5, SAMPLED, MANY_ROWS + 1] {
            assert!((cosines[index] - matrix.cosine(index, &row(5))).abs() < 0.01, "{index}");
        }
        let (cosines, scan) = matrix.cosines(&row(5), Reach::All);
        assert!(scan == Scan::Bytes && cosines.iter().all(|cosine| cosine.is_finite()));
    }
}
