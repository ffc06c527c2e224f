//! Vector-friendly scalar functions and lane-wise sums.
//!
//! A sequential `f32` sum over 49,152 logits shifts the loss by 1e-4 and does not vectorise; sixteen
//! lanes do both better. The exponential is the Cephes polynomial in a form without branches, which
//! the compiler turns into vector code where `f32::exp` stays a call per value.

const LANES: usize = 16;

/// e^x with a relative error below 2e-7; arguments are clamped to the finite range.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // 1.5 · 2^23: adding it rounds to an integer and leaves that integer in the low mantissa bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let rest = whole.mul_add(-0.693_359_4, x);
    let rest = whole.mul_add(2.121_944_4e-4, rest);
    let mut poly = 1.987_569_1e-4f32;
    poly = poly.mul_add(rest, 1.398_2e-3);
    poly = poly.mul_add(rest, 8.333_452e-3);
    poly = poly.mul_add(rest, 4.166_579_6e-2);
    poly = poly.mul_add(rest, 1.666_666_5e-1);
    poly = poly.mul_add(rest, 0.5);
    let fraction = (poly * rest).mul_add(rest, rest) + 1.0;
    let exponent = (shifted.to_bits().wrapping_sub(ROUND.to_bits())).wrapping_add(127) << 23;
    fraction * f32::from_bits(exponent)
}

/// Logistic function.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Σ aᵢ·bᵢ in sixteen lanes.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane = x.mul_add(*y, *lane);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sum_lanes(lanes) + rest
}

/// The largest value; −∞ for an empty slice.
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            // Not `f32::max`: its NaN rules cost a second instruction per value here.
            *lane = if value > lane { *value } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b))
}

/// Replaces each value by e^(value − shift) and returns their sum.
pub(crate) fn exp_in_place(values: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (blocks, rest) = values.as_chunks_mut::<LANES>();
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *value = exp(*value - shift);
            *lane += *value;
        }
    }
    let mut sum = 0.0;
    for value in rest {
        *value = exp(*value - shift);
        sum += *value;
    }
    sum_lanes(lanes) + sum
}

/// ln Σ e^value, stable for any finite input.
pub(crate) fn log_sum_exp(values: &[f32]) -> f32 {
    let shift = max(values);
    let mut lanes = [0.0f32; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane += exp(value - shift);
        }
    }
    let rest: f32 = rest.iter().map(|value| exp(value - shift)).sum();
    shift + (sum_lanes(lanes) + rest).ln()
}

/// Σ valueᵢ² in double precision.
pub(crate) fn sum_of_squares(values: &[f32]) -> f64 {
    values.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    let mut lanes = lanes;
    while width > 0 {
        let (low, high) = lanes.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_follows_the_standard_library() {
        for step in -8700..=8800 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            let relative = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(relative < 3e-7, "exp({x}) is off by {relative:e}");
        }
        assert!(exp(f32::NEG_INFINITY) < 2e-38);
        assert!(exp(1000.0).is_finite());
    }

    #[test]
    fn reductions_cover_blocks_and_the_rest() {
        let values: Vec<f32> = (0..37).map(|i| (i as f32 * 0.37).sin()).collect();
        let plain: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        assert!((f64::from(dot(&values, &values)) - plain).abs() < 1e-5);
        assert!((sum_of_squares(&values) - plain).abs() < 1e-12);
        let largest = values.iter().copied().fold(f32::MIN, f32::max);
        assert_eq!(max(&values), largest);
        let exact = values.iter().map(|&x| f64::from(x).exp()).sum::<f64>();
        assert!((f64::from(log_sum_exp(&values)) - exact.ln()).abs() < 1e-6);
        let mut shifted = values.clone();
        let sum = exp_in_place(&mut shifted, largest);
        assert!((f64::from(sum) - exact / f64::from(largest).exp()).abs() < 1e-5);
    }
}
