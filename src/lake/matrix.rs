//! All vectors in memory, and the cosine of each with a question's.
//!
//! A flat scan is exact and, at the sizes of one company's folder, fast: 10,000 vectors of 384 numbers are 4 million
//! multiplications, 4 ms even in a debug build, where Lance's own flat search takes 60 to 90 ms. The product of a block of rows and the question is `gemm`'s, which picks its kernel at run time.
//!
//! Of very many vectors the scan reads bytes instead ([`Codes`]), and what comes out first is computed exactly.

use gemm::Parallelism;

use crate::codes::Codes;

/// Rows per block: a block is allocated once and never moved, so that growing copies nothing.
const BLOCK_ROWS: usize = 4096;

/// Up to so many rows the exact scan costs less than a few milliseconds.
#[cfg(not(test))]
const FEW_ROWS: usize = 32_768;
#[cfg(test)]
const FEW_ROWS: usize = 2 * BLOCK_ROWS;

pub(crate) struct Matrix {
    dimension: usize,
    codes: Codes,
    blocks: Vec<Vec<f32>>,
    rows: usize,
}

impl Matrix {
    pub fn new(dimension: usize) -> Self {
        Self { dimension, codes: Codes::new(dimension), blocks: Vec::new(), rows: 0 }
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

    pub fn row(&self, index: usize) -> &[f32] {
        let from = index % BLOCK_ROWS * self.dimension;
        &self.blocks[index / BLOCK_ROWS][from..from + self.dimension]
    }

    /// Returns the cosine of every row with `query`, in order, and whether they are exact; else each is off by a few
    /// thousandths at most, and [`Self::cosine`] says it exactly.
    pub fn cosines(&self, query: &[f32]) -> (Vec<f32>, bool) {
        assert_eq!(query.len(), self.dimension, "a question's vector is checked before it comes here");
        match self.rows <= FEW_ROWS {
            true => (self.dot(query), true),
            false => (self.codes.dot(query), false),
        }
    }

    /// Returns the exact cosine of one row with `query`.
    pub fn cosine(&self, index: usize, query: &[f32]) -> f32 {
        self.row(index).iter().zip(query).map(|(a, b)| a * b).sum()
    }

    /// Returns the dot product of every row with `query`, in order: the cosine, as all vectors have length 1.
    fn dot(&self, query: &[f32]) -> Vec<f32> {
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
        assert!(matrix.cosines(&row(3)).1);
        matrix.push(&row(FEW_ROWS));
        let (cosines, is_exact) = matrix.cosines(&row(3));
        assert!(!is_exact && cosines.len() == FEW_ROWS + 1);
        for index in [0, 3, BLOCK_ROWS, FEW_ROWS] {
            assert!((cosines[index] - matrix.cosine(index, &row(3))).abs() < 0.01, "{index}");
        }
    }
}
