//! Linear layers in whole numbers: 8-bit weights, one scale per output, times 8-bit activations, one scale and zero point per token.
//!
//! The file's 4-bit blocks are rounded to 8 bits per output when the model is read; a token's activations are rounded between its least and
//! its largest value before a product. With `x = (u - z) sₓ` and `w = q sᵥᵥ` a product is exact in integers but for one step at its end:
//! `Σ x w = (Σ u q - z Σ q) sₓ sᵥᵥ`. No float is touched before, so the tile unit of a processor can compute the whole sum.
//! Against products in f32 the score of two texts moves by 0.0016 (root mean square of a simulation; scores are spread over 0.043).
//!
//! Which instructions compute the sums is chosen at run time ([`super::kernel`]); all give the same bits.

use super::{
    file::{BLOCK, BLOCK_BYTES, ModelFile, dequantise},
    kernel::{Kernel, Tile},
    math,
};
use crate::Error;

/// Outputs per panel.
pub(super) const PANEL: usize = 32;
/// Inputs one instruction multiplies and adds per output.
pub(super) const QUAD: usize = 4;
/// Inputs are filled up with zeros to a multiple of this, and rows of activations to one of [`ROWS`]: whole tiles.
pub(super) const DEPTH: usize = 64;
/// Rows that pass a panel together at most.
pub(super) const ROWS: usize = 32;

/// The weights of a panel for four inputs: `[half][output in half × input in quad]`.
pub(super) type Quad = [[i8; 64]; 2];
/// One number per output of a panel, `[half][output in half]`.
pub(super) type Outputs = [[f32; 16]; 2];

/// `y = x Wᵀ + b`.
pub(super) struct Linear {
    inputs: usize,
    outputs: usize,
    /// `[panel][quad]`.
    weights: Vec<Quad>,
    /// `[panel]`.
    ends: Vec<End>,
    kernel: Kernel,
}

/// What turns a panel's sums into its outputs.
#[derive(Clone, Default)]
pub(super) struct End {
    /// `sᵥᵥ`.
    pub scales: Outputs,
    /// `Σ q`.
    pub sums: Outputs,
    pub bias: Outputs,
}

/// Sixteen rows of activations for 64 inputs: one tile.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Block(pub [[u8; DEPTH]; 16]);

/// Rows of activations, rounded to 8 bits.
#[derive(Default)]
pub(super) struct Rounded {
    rows: usize,
    /// For one row after the other.
    blocks: usize,
    /// `[sixteen rows][64 inputs]`; behind the last row as many as make [`ROWS`], whose products nobody reads.
    values: Vec<Block>,
    /// `[row]`: `sₓ`.
    scales: Vec<f32>,
    /// `[row]`: `z`, a whole number from 0 to 255.
    zeros: Vec<f32>,
}

impl Rounded {
    /// Rounds rows of `inputs` values.
    #[inline(always)]
    pub fn round(&mut self, rows: &[f32], inputs: usize) {
        self.rows = rows.len() / inputs;
        self.blocks = inputs.div_ceil(DEPTH);
        self.values.resize(self.rows.next_multiple_of(ROWS) / 16 * self.blocks, Block([[0; DEPTH]; 16]));
        self.scales.resize(self.rows, 0.0);
        self.zeros.resize(self.rows, 0.0);
        for (index, row) in rows.chunks_exact(inputs).enumerate() {
            let blocks = &mut self.values[index / 16 * self.blocks..][..self.blocks];
            let places = blocks.iter_mut().map(|block| &mut block.0[index % 16]);
            (self.scales[index], self.zeros[index]) = round_row(row, places);
        }
    }

    /// Returns what is known of a row beside its values: scale and zero point.
    pub fn end(&self, row: usize) -> (f32, f32) {
        (self.scales[row], self.zeros[row])
    }

    /// Returns the blocks that `row` and the fifteen behind it lie in; it is a multiple of sixteen.
    pub fn sixteen(&self, row: usize) -> &[Block] {
        &self.values[row / 16 * self.blocks..][..self.blocks]
    }
}

/// Rounds one row; returns its scale and zero point. What is not a number becomes some number.
#[inline(always)]
fn round_row<'a>(row: &[f32], places: impl Iterator<Item = &'a mut [u8; DEPTH]>) -> (f32, f32) {
    /// Added, it leaves no place for a fraction: what is added to it is rounded to the nearest whole number, in its lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let (least, most) = (math::least(row).min(0.0), math::largest(row).max(0.0));
    let scale = (most - least) / 255.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let zero = (-least * inverse).round_ties_even();
    let byte = |value: f32| {
        let value = value.mul_add(inverse, zero);
        let value = if value > 0.0 { value } else { 0.0 };
        let value = if value < 255.0 { value } else { 255.0 };
        (value + ROUND).to_bits() as u8
    };
    for (values, place) in row.chunks(DEPTH).zip(places) {
        match values.as_array::<DEPTH>() {
            Some(values) => {
                for (value, place) in values.iter().zip(place) {
                    *place = byte(*value);
                }
            }
            None => {
                for (value, place) in values.iter().map(|value| byte(*value)).chain(std::iter::repeat(0)).zip(place) {
                    *place = value;
                }
            }
        }
    }
    (scale, zero)
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
        let linear = Self::new(&blocks, &bias, inputs);
        match linear.ends.iter().all(|end| end.scales.as_flattened().iter().all(|scale| scale.is_finite())) {
            true => Ok(linear),
            false => Err(file.bad(format!("tensor `{}.w` holds a scale that is not finite", names.join("`, `")))),
        }
    }

    /// Rounds Q4_0 blocks, `[output][block]`, to 8 bits per output and lays them out in panels.
    fn new(blocks: &[u8], bias: &[f32], inputs: usize) -> Self {
        let outputs = bias.len();
        let quads = inputs.next_multiple_of(DEPTH) / QUAD;
        let mut weights = vec![[[0; 64]; 2]; outputs / PANEL * quads];
        let mut ends = vec![End::default(); outputs / PANEL];
        let mut row = vec![0.0; inputs];
        for (output, blocks) in blocks.chunks_exact(inputs / BLOCK * BLOCK_BYTES).enumerate() {
            dequantise(blocks, &mut row);
            let (panel, half, lane) = (output / PANEL, output % PANEL / 16, output % 16);
            let largest = row
                .iter()
                .fold(0.0_f32, |largest, weight| if weight.is_nan() { f32::NAN } else { largest.max(weight.abs()) });
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            let mut sum = 0;
            for (input, weight) in row.iter().enumerate() {
                let rounded = (weight * inverse).round_ties_even() as i8;
                sum += i32::from(rounded);
                weights[panel * quads + input / QUAD][half][lane * QUAD + input % QUAD] = rounded;
            }
            let end = &mut ends[panel];
            end.scales[half][lane] = largest / 127.0;
            end.sums[half][lane] = sum as f32;
            end.bias[half][lane] = bias[output];
        }
        let mut linear = Self { inputs, outputs, weights, ends, kernel: Kernel::Avx2 };
        linear.kernel = linear.fastest();
        linear
    }

    /// Returns the fastest kernel of this processor that computes what the plainest does.
    fn fastest(&self) -> Kernel {
        let rows = 3;
        let values: Vec<f32> = (0..rows * self.inputs).map(|index| ((index * 37 % 101) as f32 - 50.0) / 25.0).collect();
        let mut rounded = Rounded::default();
        rounded.round(&values, self.inputs);
        let run = |kernel| {
            let mut y = vec![0.0; rows * self.outputs];
            self.multiply_by(kernel, &rounded, &mut y);
            y
        };
        let mut expected = None;
        let computes = |kernel: &Kernel| run(*kernel) == *expected.get_or_insert_with(|| run(Kernel::Avx2));
        [Kernel::Amx, Kernel::Avx512Vnni]
            .into_iter()
            .filter(|kernel| kernel.is_here())
            .find(computes)
            .unwrap_or(Kernel::Avx2)
    }

    /// Returns how many outputs a row has.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Writes `x Wᵀ + b`, rows one after the other.
    ///
    /// # Panics
    /// When the sizes of `x` and `y` are not those of this layer.
    pub fn multiply(&self, x: &Rounded, y: &mut [f32]) {
        self.multiply_by(self.kernel, x, y);
    }

    fn multiply_by(&self, kernel: Kernel, x: &Rounded, y: &mut [f32]) {
        let quads = self.inputs.next_multiple_of(DEPTH) / QUAD;
        assert!(x.blocks * DEPTH == quads * QUAD && y.len() == x.rows * self.outputs, "a product's sizes must agree");
        let _tiles = kernel.tiles();
        for (index, (weights, end)) in self.weights.chunks_exact(quads).zip(&self.ends).enumerate() {
            for (part, y) in y.chunks_mut(ROWS * self.outputs).enumerate() {
                let tile = Tile { first: part * ROWS, values: &mut y[index * PANEL..], stride: self.outputs };
                kernel.multiply(weights, end, x, tile);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn multiply(linear: &Linear, kernel: Kernel, x: &[f32]) -> Vec<f32> {
        let mut rounded = Rounded::default();
        rounded.round(x, linear.inputs);
        let mut y = vec![f32::NAN; rounded.rows * linear.outputs];
        linear.multiply_by(kernel, &rounded, &mut y);
        y
    }

    #[test]
    fn a_product_is_that_of_the_weights_to_rounding() {
        for (outputs, inputs, rows) in [(32, 32, 1), (96, 64, 2), (32, 384, 3), (32, 1536, 7), (64, 96, 101)] {
            let (blocks, bias, x) = layer(outputs, inputs, rows);
            let mut weights = vec![0.0; outputs * inputs];
            dequantise(&blocks, &mut weights);
            let linear = Linear::new(&blocks, &bias, inputs);
            let y = multiply(&linear, Kernel::Avx2, &x);
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
            assert!(share < 0.011, "{outputs} × {inputs}, {rows} rows: off by {share}");
        }
    }

    #[test]
    fn extreme_values_do_not_overflow_a_sum() {
        let inputs = 1536;
        let block = [&half::f16::from_f32(1.0).to_le_bytes()[..], &[0; BLOCK / 2]].concat();
        let linear = Linear::new(&block.repeat(PANEL * inputs / BLOCK), &[0.5; PANEL], inputs);
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_here()) {
            for value in [1.0, -1.0] {
                let y = multiply(&linear, kernel, &vec![value; inputs]);
                let off = (y[0] / (-8.0 * value * inputs as f32 + 0.5) - 1.0).abs();
                assert!(off < 1e-6 && y == [y[0]; PANEL], "{kernel:?}: {}", y[0]);
            }
            assert_eq!(multiply(&linear, kernel, &vec![0.0; inputs]), [0.5; PANEL]);
            // What is not a number must not be a crash.
            multiply(&linear, kernel, &vec![f32::NAN; inputs]);
            multiply(&linear, kernel, &vec![f32::INFINITY; inputs]);
        }
    }

    #[test]
    fn a_value_is_rounded_to_the_nearest_of_two_hundred_and_fifty_six() {
        let row: Vec<f32> = (0..96).map(|index| (index as f32 * 0.37).sin() * 3.0 + 1.0).collect();
        let mut rounded = Rounded::default();
        rounded.round(&row, row.len());
        let ((scale, zero), values) = (rounded.end(0), rounded.sixteen(0));
        let values: Vec<u8> = values.iter().flat_map(|block| block.0[0]).collect();
        for (value, rounded) in row.iter().zip(&values) {
            let error = (f32::from(*rounded) - zero) * scale - value;
            assert!(error.abs() <= scale * 0.501, "{value} became {rounded} × {scale}, zero at {zero}");
        }
        assert!(values[96..128].iter().all(|value| *value == 0), "what fills a row up must stay nothing");
    }

    #[test]
    fn all_kernels_compute_the_same_bits() {
        for (rows, inputs) in [(1, 384), (20, 32), (101, 384), (67, 1536)] {
            let (blocks, bias, x) = layer(96, inputs, rows);
            let linear = Linear::new(&blocks, &bias, inputs);
            let expected = multiply(&linear, Kernel::Avx2, &x);
            for kernel in [Kernel::Avx512Vnni, Kernel::Amx] {
                match kernel.is_here() {
                    true => assert!(multiply(&linear, kernel, &x) == expected, "{kernel:?}: {rows} × {inputs}"),
                    false => println!("skipped: this processor has no {kernel:?}"),
                }
            }
            let fastest = [Kernel::Amx, Kernel::Avx512Vnni].into_iter().find(|kernel| kernel.is_here());
            assert_eq!(linear.kernel, fastest.unwrap_or(Kernel::Avx2));
        }
    }
}
