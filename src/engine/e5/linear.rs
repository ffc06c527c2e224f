//! Linear layers in whole numbers: 4-bit weights times 8-bit activations, both with one scale per 32 values along the inputs.
//!
//! Weights stay what the file says (ggml's Q4_0: `(q - 8) × scale`, `q` from 0 to 15); activations are rounded to 8 bits, block by block,
//! before a product. A block's product is exact in integers, `Σ q a - 8 Σ a`, and is then scaled in f32. Sixteen outputs make a panel;
//! the bytes of a panel lie in the order in which one instruction multiplies them.
//!
//! Two kernels compute the same bits: AVX2, the floor of this program, and AVX-512 VNNI where the processor has it.

use std::mem::transmute;

use rayon::prelude::*;

use super::file::{BLOCK, BLOCK_BYTES, ModelFile};
use crate::Error;

/// Outputs per panel.
const PANEL: usize = 16;
/// Inputs one instruction multiplies and adds per output.
const QUAD: usize = 4;
/// Of a block.
const QUADS: usize = BLOCK / QUAD;
/// Rows that pass through all panels together: their activations stay in the first cache.
const ROWS: usize = 48;

/// The weights of a panel for one block of inputs: `[quad][half][output in half × input in quad]`, values 0 to 15.
type Weights = [[[u8; 32]; 2]; QUADS];
/// Their scales, `[half][output in half]`.
type Scales = [[f32; 8]; 2];

/// `y = x Wᵀ + b`.
pub(super) struct Linear {
    inputs: usize,
    outputs: usize,
    /// `[panel][block]`.
    weights: Vec<Weights>,
    /// `[panel][block]`.
    scales: Vec<Scales>,
    /// `[panel]`.
    bias: Vec<Scales>,
    kernel: Kernel,
}

/// Rows of activations, rounded to 8 bits.
#[derive(Default)]
pub(super) struct Rounded {
    inputs: usize,
    /// `[row][block]`, four signed bytes from -127 to 127 in each number, the first in its lowest bits.
    values: Vec<[i32; QUADS]>,
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
        self.values.resize(blocks.len(), [0; QUADS]);
        self.scales.resize(blocks.len(), 0.0);
        self.offsets.resize(blocks.len(), 0);
        let places = self.values.iter_mut().zip(&mut self.scales).zip(&mut self.offsets);
        for (block, ((values, scale), offset)) in blocks.iter().zip(places) {
            // SAFETY: AVX2 is checked before the engine starts.
            (*scale, *offset) = unsafe { round_block(block, values) };
        }
    }

    fn rows(&self) -> usize {
        self.values.len() * BLOCK / self.inputs.max(1)
    }
}

/// Rounds one block; returns its scale and -8 times the sum of what it became. What is not a number becomes 0.
///
/// Written out, because plain code is not: a conversion that minds what is not a number is done value by value, and took a fifth of the
/// encoder's time.
#[target_feature(enable = "avx2,fma")]
fn round_block(block: &[f32; BLOCK], values: &mut [i32; QUADS]) -> (f32, i32) {
    use std::arch::x86_64::*;
    // SAFETY: plain values of the same size.
    let eights = unsafe { transmute::<[f32; BLOCK], [__m256; BLOCK / 8]>(*block) };
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX));
    // Of two values of which the first is not a number, the second is taken.
    let larger = |largest, eight| _mm256_max_ps(_mm256_and_ps(eight, magnitude), largest);
    let eight = eights.into_iter().fold(_mm256_setzero_ps(), larger);
    let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    let largest = _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    let inverse = _mm256_set1_ps(if largest > 0.0 { 127.0 / largest } else { 0.0 });
    let [least, most] = [-127.0, 127.0].map(|bound| _mm256_set1_ps(bound));
    let rounded = eights.map(|eight| {
        let scaled = _mm256_mul_ps(eight, inverse);
        let bounded = _mm256_min_ps(_mm256_max_ps(scaled, least), most);
        _mm256_cvtps_epi32(_mm256_and_ps(bounded, _mm256_cmp_ps::<_CMP_ORD_Q>(scaled, scaled)))
    });
    let words = [_mm256_packs_epi32(rounded[0], rounded[1]), _mm256_packs_epi32(rounded[2], rounded[3])];
    // Packing goes on in halves of a register: the fours come out in another order.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(words[0], words[1]), order);
    // SAFETY: as above.
    *values = unsafe { transmute::<__m256i, [i32; QUADS]>(bytes) };
    let sums = _mm256_add_epi32(_mm256_add_epi32(rounded[0], rounded[1]), _mm256_add_epi32(rounded[2], rounded[3]));
    // SAFETY: as above.
    let sums = unsafe { transmute::<__m256i, [i32; 8]>(sums) };
    (largest / 127.0, -8 * sums.iter().sum::<i32>())
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
        match linear.scales.as_flattened().as_flattened().iter().all(|scale| scale.is_finite()) {
            true => Ok(linear),
            false => Err(file.bad(format!("tensor `{}.w` holds a scale that is not finite", names.join("`, `")))),
        }
    }

    /// Takes Q4_0 blocks, `[output][block]`, apart into panels.
    fn new(blocks: &[u8], bias: Vec<f32>, inputs: usize) -> Self {
        let outputs = bias.len();
        let per_row = inputs / BLOCK;
        let mut weights = vec![[[[0; 32]; 2]; QUADS]; outputs / PANEL * per_row];
        let mut scales = vec![Scales::default(); weights.len()];
        for (index, block) in blocks.as_chunks::<BLOCK_BYTES>().0.iter().enumerate() {
            let (output, block_index) = (index / per_row, index % per_row);
            let place = output / PANEL * per_row + block_index;
            let (half, lane) = (output % PANEL / 8, output % 8);
            scales[place][half][lane] = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
            for (input, byte) in block[2..].iter().enumerate() {
                for (input, weight) in [(input, byte & 0x0f), (input + BLOCK / 2, byte >> 4)] {
                    weights[place][input / QUAD][half][lane * QUAD + input % QUAD] = weight;
                }
            }
        }
        let halves = bias.as_chunks::<8>().0.as_chunks::<2>().0;
        let mut linear = Self { inputs, outputs, weights, scales, bias: halves.to_vec(), kernel: Kernel::Avx2 };
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
        let blocks = self.inputs / BLOCK;
        let parts = self.weights.chunks_exact(blocks).zip(self.scales.chunks_exact(blocks)).zip(&self.bias);
        for (index, ((weights, scales), bias)) in parts.enumerate() {
            let panel = Panel { weights, scales, bias };
            let (mut row, mut at) = (first, index * PANEL);
            while at < y.len() {
                let left = (y.len() - at).div_ceil(self.outputs);
                let many = kernel.multiply(&panel, x, row, left, &mut y[at..], self.outputs);
                row += many;
                at += many * self.outputs;
            }
        }
    }
}

/// Sixteen outputs of a layer, block by block.
struct Panel<'a> {
    weights: &'a [Weights],
    scales: &'a [Scales],
    bias: &'a Scales,
}

/// One row of [`Rounded`], block by block.
#[derive(Clone, Copy)]
struct Row<'a> {
    values: &'a [[i32; QUADS]],
    scales: &'a [f32],
    offsets: &'a [i32],
}

impl Rounded {
    fn row(&self, row: usize) -> Row<'_> {
        let blocks = self.inputs / BLOCK;
        let range = row * blocks..(row + 1) * blocks;
        Row { values: &self.values[range.clone()], scales: &self.scales[range.clone()], offsets: &self.offsets[range] }
    }
}

/// The instructions a product is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Avx2,
    Avx512Vnni,
}

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

    /// Multiplies as many rows from `first` on as fit into registers, at most `left`, and writes them to `y`, whose rows lie `stride`
    /// values apart. Returns how many they are.
    fn multiply(
        self,
        panel: &Panel<'_>,
        x: &Rounded,
        first: usize,
        left: usize,
        y: &mut [f32],
        stride: usize,
    ) -> usize {
        let row = |index: usize| x.row(first + index);
        // SAFETY: the processor has the instructions: AVX2 is checked before the engine starts, AVX-512 VNNI in `fastest`.
        unsafe {
            match (self, left) {
                (Self::Avx2, 0..=1) => avx2(panel, [row(0)], y, stride),
                (Self::Avx2, _) => avx2(panel, [row(0), row(1)], y, stride),
                (Self::Avx512Vnni, 0..=5) => avx512_vnni(panel, [row(0)], y, stride),
                (Self::Avx512Vnni, _) => avx512_vnni(panel, std::array::from_fn::<_, 6, _>(row), y, stride),
            }
        }
    }
}

/// A block's sums fit 16 bits: sixteen products of at most 15 × 127. They are added with saturation all the same, because the compiler
/// leaves that order alone; plain sums it turns into trees that need more registers than there are.
#[target_feature(enable = "avx2,fma")]
fn avx2<const R: usize>(panel: &Panel<'_>, x: [Row<'_>; R], y: &mut [f32], stride: usize) -> usize {
    use std::arch::x86_64::*;
    // SAFETY: plain values of the same size. (The load intrinsics check their pointers in builds with debug assertions, and spill.)
    let floats = |floats: &[f32; 8]| unsafe { transmute::<[f32; 8], __m256>(*floats) };
    let bytes = |bytes: &[u8; 32]| unsafe { transmute::<[u8; 32], __m256i>(*bytes) };
    let ones = _mm256_set1_epi16(1);
    let (mut low, mut high) = ([floats(&panel.bias[0]); R], [floats(&panel.bias[1]); R]);
    for (block, (weights, scales)) in panel.weights.iter().zip(panel.scales).enumerate() {
        let values: [&[i32; QUADS]; R] = std::array::from_fn(|row| &x[row].values[block]);
        let mut low_sums = [_mm256_setzero_si256(); R];
        let mut high_sums = [_mm256_setzero_si256(); R];
        for quad in 0..QUADS {
            let (low_weights, high_weights) = (bytes(&weights[quad][0]), bytes(&weights[quad][1]));
            for row in 0..R {
                let four = _mm256_set1_epi32(values[row][quad]);
                low_sums[row] = _mm256_adds_epi16(low_sums[row], _mm256_maddubs_epi16(low_weights, four));
                high_sums[row] = _mm256_adds_epi16(high_sums[row], _mm256_maddubs_epi16(high_weights, four));
            }
        }
        let (low_scales, high_scales) = (floats(&scales[0]), floats(&scales[1]));
        for row in 0..R {
            let offset = _mm256_set1_epi32(x[row].offsets[block]);
            let scale = _mm256_set1_ps(x[row].scales[block]);
            let sums = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_madd_epi16(low_sums[row], ones), offset));
            low[row] = _mm256_fmadd_ps(sums, _mm256_mul_ps(low_scales, scale), low[row]);
            let sums = _mm256_cvtepi32_ps(_mm256_add_epi32(_mm256_madd_epi16(high_sums[row], ones), offset));
            high[row] = _mm256_fmadd_ps(sums, _mm256_mul_ps(high_scales, scale), high[row]);
        }
    }
    for row in 0..R {
        // SAFETY: as above.
        let sums = unsafe { transmute::<[__m256; 2], [f32; PANEL]>([low[row], high[row]]) };
        y[row * stride..][..PANEL].copy_from_slice(&sums);
    }
    R
}

/// As [`avx2`], a panel in one register, with the same sums in the same order.
#[target_feature(enable = "avx512f,avx512vnni")]
fn avx512_vnni<const R: usize>(panel: &Panel<'_>, x: [Row<'_>; R], y: &mut [f32], stride: usize) -> usize {
    use std::arch::x86_64::*;
    // SAFETY: plain values of the same size.
    let floats = |floats: &Scales| unsafe { transmute::<Scales, __m512>(*floats) };
    let bytes = |bytes: &[[u8; 32]; 2]| unsafe { transmute::<[[u8; 32]; 2], __m512i>(*bytes) };
    let mut totals = [floats(panel.bias); R];
    for (block, (weights, scales)) in panel.weights.iter().zip(panel.scales).enumerate() {
        let values: [&[i32; QUADS]; R] = std::array::from_fn(|row| &x[row].values[block]);
        let mut sums: [__m512i; R] = x.map(|row| _mm512_set1_epi32(row.offsets[block]));
        for quad in 0..QUADS {
            let weights = bytes(&weights[quad]);
            for row in 0..R {
                sums[row] = _mm512_dpbusd_epi32(sums[row], weights, _mm512_set1_epi32(values[row][quad]));
            }
        }
        let scales = floats(scales);
        for row in 0..R {
            let scale = _mm512_set1_ps(x[row].scales[block]);
            totals[row] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[row]), _mm512_mul_ps(scales, scale), totals[row]);
        }
    }
    for (row, total) in totals.into_iter().enumerate() {
        // SAFETY: as above. Written from the register: handed back in an array, they would go through memory three times.
        let sums = unsafe { transmute::<__m512, [f32; PANEL]>(total) };
        y[row * stride..][..PANEL].copy_from_slice(&sums);
    }
    R
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
