//! The vectors once more, a byte a number: what a scan over very many of them reads first.
//!
//! Two hundred thousand vectors of 384 f32 are 300 MB, and reading them is what a flat scan spends its time with. In bytes they
//! are 77 MB. Each vector has a scale of its own, its greatest number over 127; the product of two such vectors is off by a few
//! thousandths of cosine at most, so the first few hundred by it hold the first hundred, and those are computed anew in f32
//! (`index`). How many are missed is measured in the tests: none of 2,000 in 200 questions.

use rayon::prelude::*;

/// Numbers per step of the kernel; vectors are filled up with zeros.
const STEP: usize = 32;
/// Vectors per block: a block is allocated once and never moved.
const BLOCK_ROWS: usize = 4096;

pub struct Codes {
    /// Bytes per vector.
    width: usize,
    blocks: Vec<Vec<i8>>,
    scales: Vec<f32>,
}

impl Codes {
    pub fn new(dimension: usize) -> Self {
        Self { width: dimension.next_multiple_of(STEP), blocks: Vec::new(), scales: Vec::new() }
    }

    /// Appends a vector.
    pub fn push(&mut self, row: &[f32]) {
        if self.scales.len().is_multiple_of(BLOCK_ROWS) {
            self.blocks.push(Vec::with_capacity(BLOCK_ROWS * self.width));
        }
        if let Some(block) = self.blocks.last_mut() {
            self.scales.push(encode(row, self.width, block));
        }
    }

    /// Returns the product of every vector with `query`, in order, each off by a few thousandths of cosine at most.
    pub fn dot(&self, query: &[f32]) -> Vec<f32> {
        let mut asked = Vec::with_capacity(self.width);
        let scale = encode(query, self.width, &mut asked);
        let mut out = vec![0_f32; self.scales.len()];
        let blocks = self.blocks.par_iter().zip(self.scales.par_chunks(BLOCK_ROWS)).zip(out.par_chunks_mut(BLOCK_ROWS));
        blocks.for_each(|((block, scales), out)| {
            for ((row, own), out) in block.chunks_exact(self.width).zip(scales).zip(out) {
                *out = product(row, &asked) as f32 * own * scale;
            }
        });
        out
    }

    /// Returns the same for the vectors named, in their places, and minus infinity for all others.
    pub fn dot_of(&self, rows: &[u32], query: &[f32]) -> Vec<f32> {
        let mut asked = Vec::with_capacity(self.width);
        let scale = encode(query, self.width, &mut asked);
        let product_of = |row: &u32| {
            let row = *row as usize;
            let from = row % BLOCK_ROWS * self.width;
            product(&self.blocks[row / BLOCK_ROWS][from..from + self.width], &asked) as f32 * self.scales[row] * scale
        };
        let products: Vec<f32> = rows.par_iter().with_min_len(BLOCK_ROWS).map(product_of).collect();
        let mut out = vec![f32::NEG_INFINITY; self.scales.len()];
        rows.iter().zip(products).for_each(|(row, product)| out[*row as usize] = product);
        out
    }
}

/// Appends the bytes of a vector and returns what they are to be multiplied with.
fn encode(row: &[f32], width: usize, to: &mut Vec<i8>) -> f32 {
    let greatest = row.iter().fold(0.0_f32, |greatest, value| greatest.max(value.abs()));
    let scale = if greatest > 0.0 { greatest / 127.0 } else { 1.0 };
    to.extend(row.iter().map(|value| (value / scale).round() as i8));
    to.extend(std::iter::repeat_n(0, width - row.len()));
    scale
}

/// Returns the exact product of two vectors of bytes from −127 to 127, whose length is a multiple of [`STEP`].
#[cfg(target_feature = "avx2")]
fn product(a: &[i8], b: &[i8]) -> i32 {
    use std::arch::x86_64::{
        __m256i, _mm256_abs_epi8, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
        _mm256_set1_epi16, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_storeu_si256,
    };
    let mut lanes = [0_i32; 8];
    // SAFETY: the processor has AVX2, as the program is built for it; each load reads the 32 bytes of its chunk, the store
    // writes the 32 bytes of `lanes`.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let mut sum = _mm256_setzero_si256();
        for (a, b) in a.chunks_exact(STEP).zip(b.chunks_exact(STEP)) {
            let a = _mm256_loadu_si256(a.as_ptr().cast::<__m256i>());
            let b = _mm256_loadu_si256(b.as_ptr().cast::<__m256i>());
            // Two products of at most 127 × 127 fit into 16 bits; |a| × (b with a's sign) is a × b.
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
        }
        _mm256_storeu_si256(lanes.as_mut_ptr().cast::<__m256i>(), sum);
    }
    lanes.iter().sum()
}

/// Returns the exact product of two vectors of bytes.
#[cfg(not(target_feature = "avx2"))]
fn product(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-random numbers from −0.5 to 0.5.
    fn numbers(seed: u64) -> impl FnMut() -> f32 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.5
        }
    }

    fn unit(mut vector: Vec<f32>) -> Vec<f32> {
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|value| *value /= length);
        vector
    }

    #[test]
    fn products_of_bytes_are_exact() {
        let ends: Vec<i8> = (0..64).map(|index| [127, -127, 0, 1][index % 4]).collect();
        let other: Vec<i8> = (0..64).map(|index| [127, 127, -127, -1][index % 4]).collect();
        let plain = |a: &[i8], b: &[i8]| a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>();
        assert_eq!(product(&ends, &other), plain(&ends, &other));
        assert_eq!(product(&ends, &ends), plain(&ends, &ends));
    }

    #[test]
    fn the_nearest_are_among_the_first_by_bytes() {
        const DIMENSION: usize = 96;
        // Ten subjects, each with near passages: the crowd at the top is what rounding could mix up.
        let mut next = numbers(7);
        let mut random =
            |spread: f32, around: &[f32]| unit(around.iter().map(|value| value + spread * next()).collect::<Vec<_>>());
        let subjects: Vec<Vec<f32>> = (0..10).map(|_| random(2.0, &[0.0; DIMENSION])).collect();
        let mut codes = Codes::new(DIMENSION);
        let rows: Vec<Vec<f32>> = (0..2000).map(|index| random(0.1, &subjects[index % 10])).collect();
        rows.iter().for_each(|row| codes.push(row));
        let (mut worst, mut missed) = (0.0_f32, 0);
        for question in 0..200 {
            let query = random(0.1, &subjects[question % 10]);
            let near = codes.dot(&query);
            let exact: Vec<f32> = rows.iter().map(|row| row.iter().zip(&query).map(|(a, b)| a * b).sum()).collect();
            worst = near.iter().zip(&exact).fold(worst, |worst, (near, exact)| worst.max((near - exact).abs()));
            let first = |of: &[f32], count: usize| {
                let mut order: Vec<usize> = (0..of.len()).collect();
                order.sort_by(|a, b| of[*b].total_cmp(&of[*a]));
                order.truncate(count);
                order
            };
            let wide = first(&near, 60);
            missed += first(&exact, 10).iter().filter(|row| !wide.contains(row)).count();
        }
        assert!(worst < 0.005, "{worst}");
        assert_eq!(missed, 0);
    }
}
