//! AVX2: eight outputs in a register. Products of bytes would not fit the 16 bits their instruction adds in, so bytes are widened first:
//! even and odd ones of four inputs apart.

use std::{arch::x86_64::*, mem::transmute};

use super::{
    super::linear::{End, Quad, Rounded},
    Tile,
};

/// Rows at a time: their sums take half of the sixteen registers.
const AT_ONCE: usize = 4;

#[target_feature(enable = "avx2,fma")]
pub(super) fn multiply(weights: &[Quad], end: &End, x: &Rounded, mut y: Tile<'_>) {
    for first in (0..y.rows()).step_by(AT_ONCE) {
        for half in 0..2 {
            let row = y.first + first;
            let sums = sums(weights, half, x, row);
            for (index, sums) in sums.into_iter().enumerate().take(y.rows() - first) {
                finish(sums, end, half, x.end(row + index), &mut y.row(first + index)[half]);
            }
        }
    }
}

/// Returns the sums of one half of a panel for [`AT_ONCE`] rows.
#[target_feature(enable = "avx2")]
#[inline]
fn sums(weights: &[Quad], half: usize, x: &Rounded, row: usize) -> [[__m256i; 2]; AT_ONCE] {
    let low_bytes = _mm256_set1_epi16(0xff);
    let mut sums = [[_mm256_setzero_si256(); 2]; AT_ONCE];
    for (block, weights) in x.sixteen(row - row % 16).iter().zip(weights.as_chunks::<16>().0) {
        let rows = &block.0.as_chunks::<AT_ONCE>().0[row % 16 / AT_ONCE];
        for (quad, halves) in weights.iter().enumerate() {
            // SAFETY: plain values of the same size.
            let eights = unsafe { transmute::<[i8; 64], [__m256i; 2]>(halves[half]) };
            let odd = eights.map(|eight| _mm256_srai_epi16::<8>(eight));
            let even = eights.map(|eight| _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(eight)));
            for (row, sums) in rows.iter().zip(&mut sums) {
                let four = _mm256_set1_epi32(i32::from_le_bytes(row.as_chunks().0[quad]));
                let (even_x, odd_x) = (_mm256_and_si256(four, low_bytes), _mm256_srli_epi16::<8>(four));
                for eight in 0..2 {
                    sums[eight] = _mm256_add_epi32(sums[eight], _mm256_madd_epi16(even_x, even[eight]));
                    sums[eight] = _mm256_add_epi32(sums[eight], _mm256_madd_epi16(odd_x, odd[eight]));
                }
            }
        }
    }
    sums
}

/// Writes a row's outputs for half a panel from its sums.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn finish(sums: [__m256i; 2], end: &End, half: usize, (scale, zero): (f32, f32), y: &mut [f32; 16]) {
    // SAFETY: plain values of the same size.
    let floats = |values: &[f32; 16]| unsafe { transmute::<[f32; 16], [__m256; 2]>(*values) };
    let (totals, scales, bias) = (floats(&end.sums[half]), floats(&end.scales[half]), floats(&end.bias[half]));
    let mut outputs = bias;
    for eight in 0..2 {
        let sum = _mm256_fnmadd_ps(_mm256_set1_ps(zero), totals[eight], _mm256_cvtepi32_ps(sums[eight]));
        outputs[eight] = _mm256_fmadd_ps(sum, _mm256_mul_ps(_mm256_set1_ps(scale), scales[eight]), bias[eight]);
    }
    // SAFETY: as above.
    *y = unsafe { transmute::<[__m256; 2], [f32; 16]>(outputs) };
}
