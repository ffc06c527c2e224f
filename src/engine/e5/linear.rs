//! Linear layers in whole numbers: 4-bit weights times 8-bit activations, both with one scale per 32 values along the inputs.
//!
//! Weights stay what the file says (ggml's Q4_0: `(q - 8) × scale`, `q` from 0 to 15); activations are rounded to 8 bits, block by block,
//! before a product. A block's product is exact in integers, `Σ q a - 8 Σ a`, and is then scaled in f32. Sixteen outputs make a panel;
//! the bytes of a panel lie in the order in which one instruction multiplies them.
//!
//! Two kernels compute the same bits: AVX2, the floor of this program, and AVX-512 VNNI where the processor has it.

use rayon::prelude::*;

use super::file::{BLOCK, BLOCK_BYTES, ModelFile};
use crate::Error;

/// Outputs per panel.
const PANEL: usize = 16;
/// Inputs one instruction multiplies and adds per output.
const QUAD: usize = 4;
/// Bytes of a panel per block of inputs.
const PANEL_BLOCK: usize = PANEL * BLOCK;
/// Rows that pass through all panels together: their activations stay in the first cache.
const ROWS: usize = 48;

/// `y = x Wᵀ + b`.
pub(super) struct Linear {
    inputs: usize,
    outputs: usize,
    /// `[panel][block][quad][output in panel][input in quad]`, values 0 to 15.
    weights: Vec<u8>,
    /// `[panel][block][output in panel]`.
    scales: Vec<f32>,
    bias: Vec<f32>,
    kernel: Kernel,
}

/// Rows of activations, rounded to 8 bits.
#[derive(Default)]
pub(super) struct Rounded {
    inputs: usize,
    /// `[row][input]`, -127 to 127.
    values: Vec<i8>,
    /// `[row][block]`.
    scales: Vec<f32>,
    /// `[row][block]`: -8 times the block's sum, which turns `q` into `q - 8`.
    offsets: Vec<i32>,
}

impl Rounded {
    /// Rounds rows of `inputs` values, a multiple of [`BLOCK`].
    pub fn round(&mut self, rows: &[f32], inputs: usize) {
        self.inputs = inputs;
        let (blocks, _) = rows.as_chunks::<BLOCK>();
        self.values.resize(rows.len(), 0);
        self.scales.resize(blocks.len(), 0.0);
        self.offsets.resize(blocks.len(), 0);
        let (values, _) = self.values.as_chunks_mut::<BLOCK>();
        for (((block, values), scale), offset) in blocks.iter().zip(values).zip(&mut self.scales).zip(&mut self.offsets)
        {
            let largest = block.iter().fold(0.0_f32, |largest, value| {
                let size = value.abs();
                if size > largest { size } else { largest }
            });
            *scale = largest / 127.0;
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            let mut sum = 0;
            for (rounded, value) in values.iter_mut().zip(block) {
                // The clamp also holds for what is not a number: the cast makes it 0.
                let nearest = (value * inverse).round_ties_even().clamp(-127.0, 127.0) as i32;
                sum += nearest;
                *rounded = nearest as i8;
            }
            *offset = -8 * sum;
        }
    }

    fn rows(&self) -> usize {
        self.values.len() / self.inputs.max(1)
    }
}

impl Linear {
    /// Reads the layers of these names as one, their outputs one after the other.
    ///
    /// # Errors
    /// [`Error::ModelFormat`] when a tensor is missing, has another size, or is not stored in blocks.
    pub fn read(file: &mut ModelFile, names: &[String], outputs: usize, inputs: usize) -> Result<Self, Error> {
        if !inputs.is_multiple_of(BLOCK) || !outputs.is_multiple_of(PANEL) {
            return Err(file.bad(format!("a layer of {outputs} × {inputs} does not divide into {PANEL} × {BLOCK}")));
        }
        let (mut blocks, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            blocks.extend(file.blocks(&format!("{name}.w"), outputs * inputs)?);
            bias.extend(file.floats(&format!("{name}.b"), outputs)?);
        }
        let linear = Self::new(&blocks, bias, inputs);
        match linear.scales.iter().all(|scale| scale.is_finite()) {
            true => Ok(linear),
            false => Err(file.bad(format!("tensor `{}.w` holds a scale that is not finite", names.join("`, `")))),
        }
    }

    /// Takes Q4_0 blocks, `[output][block]`, apart into panels.
    fn new(blocks: &[u8], bias: Vec<f32>, inputs: usize) -> Self {
        let outputs = bias.len();
        let per_row = inputs / BLOCK;
        let mut weights = vec![0; outputs * inputs];
        let mut scales = vec![0.0; outputs * per_row];
        for (index, block) in blocks.as_chunks::<BLOCK_BYTES>().0.iter().enumerate() {
            let (output, block_index) = (index / per_row, index % per_row);
            let (panel, lane) = (output / PANEL, output % PANEL);
            let place = panel * per_row + block_index;
            scales[place * PANEL + lane] = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
            for (input, byte) in block[2..].iter().enumerate() {
                for (input, weight) in [(input, byte & 0x0f), (input + BLOCK / 2, byte >> 4)] {
                    let quad = (input / QUAD * PANEL + lane) * QUAD;
                    weights[place * PANEL_BLOCK + quad + input % QUAD] = weight;
                }
            }
        }
        let mut linear = Self { inputs, outputs, weights, scales, bias, kernel: Kernel::Avx2 };
        linear.kernel = Kernel::fastest(&linear);
        linear
    }

    /// Writes `x Wᵀ + b`, rows one after the other; over all threads of the pool this runs in when `parallel`.
    ///
    /// # Panics
    /// When the sizes of `x` and `y` are not those of this layer.
    pub fn multiply(&self, x: &Rounded, y: &mut [f32], parallel: bool) {
        self.multiply_by(self.kernel, x, y, parallel);
    }

    fn multiply_by(&self, kernel: Kernel, x: &Rounded, y: &mut [f32], parallel: bool) {
        assert!(x.inputs == self.inputs && y.len() == x.rows() * self.outputs, "a product's sizes must agree");
        let part = |(index, y): (usize, &mut [f32])| self.rows(kernel, x, index * ROWS, y);
        match parallel {
            true => y.par_chunks_mut(ROWS * self.outputs).enumerate().for_each(part),
            false => y.chunks_mut(ROWS * self.outputs).enumerate().for_each(part),
        }
    }

    /// Writes the rows from `first` on that `y` has room for.
    fn rows(&self, kernel: Kernel, x: &Rounded, first: usize, y: &mut [f32]) {
        let per_row = self.inputs / BLOCK;
        let weights = self.weights.chunks_exact(per_row * PANEL_BLOCK);
        let scales = self.scales.chunks_exact(per_row * PANEL);
        let (bias, _) = self.bias.as_chunks::<PANEL>();
        for (index, ((weights, scales), bias)) in weights.zip(scales).zip(bias).enumerate() {
            let panel = Panel { weights, scales, bias };
            let mut row = 0;
            let mut lines = y.chunks_exact_mut(self.outputs);
            while lines.len() > 0 {
                let many = kernel.tile().min(lines.len());
                let mut written = [[0.0; PANEL]; MOST_ROWS];
                kernel.multiply(&panel, &x.part(first + row, many), &mut written[..many]);
                for (line, written) in lines.by_ref().take(many).zip(&written) {
                    line[index * PANEL..(index + 1) * PANEL].copy_from_slice(written);
                }
                row += many;
            }
        }
    }
}

/// Sixteen outputs of a layer: `weights` is `[block][quad][output][input in quad]`, `scales` is `[block][output]`.
struct Panel<'a> {
    weights: &'a [u8],
    scales: &'a [f32],
    bias: &'a [f32; PANEL],
}

/// A few rows of [`Rounded`].
struct Part<'a> {
    values: &'a [i8],
    scales: &'a [f32],
    offsets: &'a [i32],
}

impl Rounded {
    fn part(&self, first: usize, rows: usize) -> Part<'_> {
        let blocks = self.inputs / BLOCK;
        Part {
            values: &self.values[first * self.inputs..(first + rows) * self.inputs],
            scales: &self.scales[first * blocks..(first + rows) * blocks],
            offsets: &self.offsets[first * blocks..(first + rows) * blocks],
        }
    }
}

/// The instructions a product is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Avx2,
    Avx512Vnni,
}

/// The most rows any kernel keeps in registers.
const MOST_ROWS: usize = 6;

impl Kernel {
    /// Returns the fastest kernel of this processor that computes what the plainest does.
    fn fastest(linear: &Linear) -> Self {
        if !Self::Avx512Vnni.is_here() {
            return Self::Avx2;
        }
        let rows: Vec<f32> = (0..2 * linear.inputs).map(|index| ((index * 37 % 101) as f32 - 50.0) / 25.0).collect();
        let mut rounded = Rounded::default();
        rounded.round(&rows, linear.inputs);
        let run = |kernel| {
            let mut y = vec![0.0; 2 * linear.outputs];
            linear.multiply_by(kernel, &rounded, &mut y, false);
            y
        };
        match run(Self::Avx2) == run(Self::Avx512Vnni) {
            true => Self::Avx512Vnni,
            false => Self::Avx2,
        }
    }

    fn is_here(self) -> bool {
        match self {
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512Vnni => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"),
        }
    }

    /// Rows it multiplies at once.
    fn tile(self) -> usize {
        match self {
            Self::Avx2 => 3,
            Self::Avx512Vnni => MOST_ROWS,
        }
    }

    /// Writes one panel's outputs of up to [`Self::tile`] rows.
    fn multiply(self, panel: &Panel<'_>, x: &Part<'_>, y: &mut [[f32; PANEL]]) {
        let blocks = panel.scales.len() / PANEL;
        let rows = y.len();
        assert!(
            panel.weights.len() == blocks * PANEL_BLOCK
                && x.values.len() == rows * blocks * BLOCK
                && x.scales.len() == rows * blocks
                && x.offsets.len() == rows * blocks,
            "a tile must read inside its factors"
        );
        // SAFETY: the processor has the instructions (AVX2 is checked before the engine starts, AVX-512 VNNI in `fastest`), and the
        // assertion above keeps every address inside the slices.
        unsafe {
            match (self, y) {
                (Self::Avx2, [a, b, c]) => avx2(panel, x, blocks, [a, b, c]),
                (Self::Avx2, [a, b]) => avx2(panel, x, blocks, [a, b]),
                (Self::Avx2, [a]) => avx2(panel, x, blocks, [a]),
                (Self::Avx512Vnni, [a, b, c, d, e, f]) => avx512_vnni(panel, x, blocks, [a, b, c, d, e, f]),
                (Self::Avx512Vnni, y) => y.iter_mut().enumerate().for_each(|(row, y)| {
                    let per_row = blocks * BLOCK;
                    let x = Part {
                        values: &x.values[row * per_row..(row + 1) * per_row],
                        scales: &x.scales[row * blocks..(row + 1) * blocks],
                        offsets: &x.offsets[row * blocks..(row + 1) * blocks],
                    };
                    avx512_vnni(panel, &x, blocks, [y]);
                }),
                (Self::Avx2, y) => unreachable!("a tile has one to three rows, not {}", y.len()),
            }
        }
    }
}

/// A block's sums fit 16 bits: sixteen products of at most 15 × 127.
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const R: usize>(panel: &Panel<'_>, x: &Part<'_>, blocks: usize, y: [&mut [f32; PANEL]; R]) {
    use std::arch::x86_64::*;
    let ones = _mm256_set1_epi16(1);
    // SAFETY (all of this function's): the caller checked that `panel` and `x` hold `blocks` blocks, `x` for `R` rows.
    unsafe {
        let bias = panel.bias.as_ptr();
        let mut low = [_mm256_loadu_ps(bias); R];
        let mut high = [_mm256_loadu_ps(bias.add(8)); R];
        for block in 0..blocks {
            let weights = panel.weights.as_ptr().add(block * PANEL_BLOCK);
            let mut low_sums = [_mm256_setzero_si256(); R];
            let mut high_sums = [_mm256_setzero_si256(); R];
            for quad in 0..BLOCK / QUAD {
                let low_weights = _mm256_loadu_si256(weights.add(quad * PANEL * QUAD).cast());
                let high_weights = _mm256_loadu_si256(weights.add(quad * PANEL * QUAD + 32).cast());
                for row in 0..R {
                    let at = (row * blocks + block) * BLOCK + quad * QUAD;
                    let four = _mm256_set1_epi32(x.values.as_ptr().add(at).cast::<i32>().read_unaligned());
                    low_sums[row] = _mm256_add_epi16(low_sums[row], _mm256_maddubs_epi16(low_weights, four));
                    high_sums[row] = _mm256_add_epi16(high_sums[row], _mm256_maddubs_epi16(high_weights, four));
                }
            }
            let scales = panel.scales.as_ptr().add(block * PANEL);
            let (low_scales, high_scales) = (_mm256_loadu_ps(scales), _mm256_loadu_ps(scales.add(8)));
            for row in 0..R {
                let offset = _mm256_set1_epi32(*x.offsets.get_unchecked(row * blocks + block));
                let scale = _mm256_set1_ps(*x.scales.get_unchecked(row * blocks + block));
                let sums = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_madd_epi16(low_sums[row], ones), offset));
                low[row] = _mm256_fmadd_ps(sums, _mm256_mul_ps(low_scales, scale), low[row]);
                let sums = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_madd_epi16(high_sums[row], ones), offset));
                high[row] = _mm256_fmadd_ps(sums, _mm256_mul_ps(high_scales, scale), high[row]);
            }
        }
        for (row, y) in y.into_iter().enumerate() {
            _mm256_storeu_ps(y.as_mut_ptr(), low[row]);
            _mm256_storeu_ps(y.as_mut_ptr().add(8), high[row]);
        }
    }
}

/// As [`avx2`], a panel in one register, with the same sums in the same order.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn avx512_vnni<const R: usize>(panel: &Panel<'_>, x: &Part<'_>, blocks: usize, y: [&mut [f32; PANEL]; R]) {
    use std::arch::x86_64::*;
    // SAFETY (all of this function's): the caller checked that `panel` and `x` hold `blocks` blocks, `x` for `R` rows.
    unsafe {
        let mut totals = [_mm512_loadu_ps(panel.bias.as_ptr()); R];
        for block in 0..blocks {
            let weights = panel.weights.as_ptr().add(block * PANEL_BLOCK);
            let mut sums: [__m512i; R] =
                std::array::from_fn(|row| _mm512_set1_epi32(*x.offsets.get_unchecked(row * blocks + block)));
            for quad in 0..BLOCK / QUAD {
                let weights = _mm512_loadu_si512(weights.add(quad * PANEL * QUAD).cast());
                for (row, sums) in sums.iter_mut().enumerate() {
                    let at = (row * blocks + block) * BLOCK + quad * QUAD;
                    let four = _mm512_set1_epi32(x.values.as_ptr().add(at).cast::<i32>().read_unaligned());
                    *sums = _mm512_dpbusd_epi32(*sums, weights, four);
                }
            }
            let scales = _mm512_loadu_ps(panel.scales.as_ptr().add(block * PANEL));
            for (row, total) in totals.iter_mut().enumerate() {
                let scale = _mm512_set1_ps(*x.scales.get_unchecked(row * blocks + block));
                *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[row]), _mm512_mul_ps(scales, scale), *total);
            }
        }
        for (y, total) in y.into_iter().zip(totals) {
            _mm512_storeu_ps(y.as_mut_ptr(), total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::file::dequantise, *};

    /// Blocks, bias and rows of a layer, all different and repeatable.
    fn layer(outputs: usize, inputs: usize, rows: usize) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
        let mut state = 711_u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let mut blocks = Vec::new();
        for _ in 0..outputs * inputs / BLOCK {
            let scale = half::f16::from_f32((next() % 1000) as f32 / 20_000.0 - 0.02);
            blocks.extend(scale.to_le_bytes());
            blocks.extend((0..BLOCK / 2).map(|_| next() as u8));
        }
        let mut value = || (next() % 4001) as f32 / 1000.0 - 2.0;
        (blocks, (0..outputs).map(|_| value()).collect(), (0..rows * inputs).map(|_| value()).collect())
    }

    fn multiply(linear: &Linear, kernel: Kernel, x: &[f32], parallel: bool) -> Vec<f32> {
        let mut rounded = Rounded::default();
        rounded.round(x, linear.inputs);
        let mut y = vec![f32::NAN; rounded.rows() * linear.outputs];
        linear.multiply_by(kernel, &rounded, &mut y, parallel);
        y
    }

    #[test]
    fn a_product_is_that_of_the_weights_to_rounding() {
        for (outputs, inputs, rows) in [(16, 32, 1), (48, 64, 2), (32, 384, 3), (16, 1536, 7), (64, 96, 101)] {
            let (blocks, bias, x) = layer(outputs, inputs, rows);
            let mut weights = vec![0.0; outputs * inputs];
            dequantise(&blocks, &mut weights);
            let linear = Linear::new(&blocks, bias.clone(), inputs);
            for parallel in [false, true] {
                let y = multiply(&linear, Kernel::Avx2, &x, parallel);
                let (mut error, mut size) = (0.0, 0.0);
                for (row, y) in x.chunks_exact(inputs).zip(y.chunks_exact(outputs)) {
                    for ((weights, bias), y) in weights.chunks_exact(inputs).zip(&bias).zip(y) {
                        let pairs = weights.iter().zip(row);
                        let exact: f64 = pairs.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
                        error += (f64::from(y - bias) - exact).powi(2);
                        size += exact.powi(2);
                    }
                }
                let share = (error / size).sqrt();
                assert!(share < 0.006, "{outputs} × {inputs}, {rows} rows: off by {share}");
            }
        }
    }

    #[test]
    fn extreme_values_do_not_overflow_a_sum() {
        let block = [&half::f16::from_f32(1.0).to_le_bytes()[..], &[0xff; BLOCK / 2]].concat();
        let linear = Linear::new(&block.repeat(PANEL), vec![0.5; PANEL], BLOCK);
        for sign in [1.0, -1.0] {
            let y = multiply(&linear, Kernel::Avx2, &[sign * 127.0; BLOCK], false);
            assert_eq!(y, [sign * 7.0 * 127.0 * BLOCK as f32 + 0.5; PANEL]);
        }
        assert_eq!(multiply(&linear, Kernel::Avx2, &[0.0; BLOCK], false), [0.5; PANEL]);
        // What is not a number must not be a crash.
        multiply(&linear, Kernel::Avx2, &[f32::NAN; BLOCK], false);
        multiply(&linear, Kernel::Avx2, &[f32::INFINITY; BLOCK], false);
    }

    #[test]
    fn both_kernels_compute_the_same_bits() {
        if !Kernel::Avx512Vnni.is_here() {
            println!("skipped: this processor has no AVX-512 VNNI");
            return;
        }
        let (blocks, bias, x) = layer(48, 384, 20);
        let linear = Linear::new(&blocks, bias, 384);
        assert_eq!(multiply(&linear, Kernel::Avx2, &x, false), multiply(&linear, Kernel::Avx512Vnni, &x, false));
        assert_eq!(linear.kernel, Kernel::Avx512Vnni);
    }
}
