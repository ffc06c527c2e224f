//! The element-wise parts of the encoder, written so that the compiler turns each loop into vector instructions.
//!
//! Sums run over [`LANES`] partial sums: one running f32 sum neither vectorises nor stays as exact.

const LANES: usize = 16;

/// Returns `e^x`, to about two units in the last place between -87 and 88 and clamped outside.
///
/// Cephes' scheme: `x = n ln 2 + r`, a polynomial for `e^r`, and `2^n` put into the exponent bits.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let value = p.mul_add(r * r, r) + 1.0;
    value * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// Returns `x Φ(x)`, the exact GELU, with erf from Abramowitz and Stegun 7.1.26 (absolute error at most 1.5e-7).
#[inline(always)]
fn gelu(x: f32) -> f32 {
    let z = x * std::f32::consts::FRAC_1_SQRT_2;
    let a = z.abs();
    let t = 1.0 / a.mul_add(0.327_591_1, 1.0);
    let p = 1.061_405_4_f32;
    let p = p.mul_add(t, -1.453_152);
    let p = p.mul_add(t, 1.421_413_8);
    let p = p.mul_add(t, -0.284_496_74);
    let p = p.mul_add(t, 0.254_829_6);
    let tail = p * t * exp(-(a * a));
    let erf = (1.0 - tail).copysign(z);
    0.5 * x * (1.0 + erf)
}

/// Applies GELU to each value.
#[inline(always)]
pub(super) fn gelu_rows(rows: &mut [f32]) {
    let (chunks, rest) = rows.as_chunks_mut::<64>();
    for chunk in chunks {
        for value in chunk {
            *value = gelu(*value);
        }
    }
    for value in rest {
        *value = gelu(*value);
    }
}

// `f32::max`, and a running maximum, would go value by value.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

/// Returns the largest value, negative infinity of none.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    across(values, f32::NEG_INFINITY, larger)
}

/// Returns the least value, infinity of none.
#[inline(always)]
pub(super) fn least(values: &[f32]) -> f32 {
    across(values, f32::INFINITY, smaller)
}

#[inline(always)]
fn across(values: &[f32], start: f32, take: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = take(*lane, *value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = take(*lane, *value);
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] = take(lanes[lane], lanes[lane + half]);
        }
    }
    lanes[0]
}

/// Turns a row of scores into `exp(scale × (score - largest))` and returns their sum: softmax, but for the division.
#[inline(always)]
pub(super) fn exp_row(row: &mut [f32], scale: f32) -> f32 {
    let largest = largest(row);
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (value, lane) in chunk.iter_mut().zip(&mut lanes) {
            *value = exp((*value - largest) * scale);
            *lane += *value;
        }
    }
    for (value, lane) in rest.iter_mut().zip(&mut lanes) {
        *value = exp((*value - largest) * scale);
        *lane += *value;
    }
    lanes.iter().sum()
}

/// The weight and bias of a layer norm, each as wide as a row.
pub(super) struct Norm {
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub epsilon: f32,
}

impl Norm {
    /// Returns how wide a row is.
    pub fn width(&self) -> usize {
        self.weight.len()
    }

    /// Normalises each row in place.
    #[inline(always)]
    pub fn apply(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.weight.len()) {
            self.row(row);
        }
    }

    /// Replaces each row by the norm of `row + added`: residual and norm in one pass.
    #[inline(always)]
    pub fn apply_residual(&self, rows: &mut [f32], added: &[f32]) {
        let width = self.weight.len();
        for (row, added) in rows.chunks_exact_mut(width).zip(added.chunks_exact(width)) {
            for (value, added) in row.iter_mut().zip(added) {
                *value += added;
            }
            self.row(row);
        }
    }

    #[inline(always)]
    fn row(&self, row: &mut [f32]) {
        let width = row.len() as f32;
        let mean = sum(row) / width;
        for value in row.iter_mut() {
            *value -= mean;
        }
        let variance = dot(row, row) / width;
        let inverse = 1.0 / (variance + self.epsilon).sqrt();
        for ((value, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
            *value = (*value * inverse).mul_add(*weight, *bias);
        }
    }
}

/// Scales a vector to length one; a zero vector stays zero.
pub(super) fn normalise(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}

#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a_chunks, a_rest), (b_chunks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane = a.mul_add(*b, *lane);
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_follows_the_exact_function() {
        for step in -8600..8700 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 4e-7, "exp({x}) is off by {error}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    /// Values of x Φ(x) from a table of the normal distribution.
    #[test]
    fn gelu_is_the_exact_one() {
        for (x, expect) in [
            (0.0, 0.0),
            (1.0, 0.841_344_7),
            (-1.0, -0.158_655_25),
            (2.0, 1.954_499_7),
            (-3.0, -0.004_049_694),
            (8.0, 8.0),
        ] {
            assert!((gelu(x) - expect).abs() < 1e-6, "gelu({x}) = {}", gelu(x));
        }
    }

    #[test]
    fn exp_of_a_row_is_softmax_when_divided() {
        for length in [1, 16, 37, 160] {
            let scores: Vec<f32> = (0..length).map(|i| (i as f32 * 7.3).sin() * 50.0).collect();
            let mut row = scores.clone();
            let total = exp_row(&mut row, 0.5);
            let exact: Vec<f64> = scores.iter().map(|score| (f64::from(*score) * 0.5).exp()).collect();
            let all: f64 = exact.iter().sum();
            for (value, exact) in row.iter().zip(exact) {
                assert!((f64::from(value / total) - exact / all).abs() < 1e-6, "{value} of {length}");
            }
        }
    }

    #[test]
    fn least_and_largest_see_every_place() {
        for at in 0..40 {
            let mut values = vec![0.5; 40];
            values[at] = 3.0;
            assert_eq!((least(&values), largest(&values)), (0.5, 3.0));
            values[at] = -3.0;
            assert_eq!((least(&values), largest(&values)), (-3.0, 0.5));
        }
    }

    #[test]
    fn a_normed_row_has_mean_zero_and_variance_one() {
        let norm = Norm { weight: vec![1.0; 50], bias: vec![0.0; 50], epsilon: 1e-12 };
        let mut row: Vec<f32> = (0..50).map(|i| (i * i) as f32).collect();
        norm.apply(&mut row);
        assert!(sum(&row).abs() < 1e-3 && (dot(&row, &row) / 50.0 - 1.0).abs() < 1e-4);
    }
}
