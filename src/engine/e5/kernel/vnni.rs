//! AVX-512 VNNI: sixteen outputs in a register, four inputs in an instruction.

use std::{arch::x86_64::*, mem::transmute};

use super::{
    super::linear::{End, Quad, Rounded},
    Tile,
};

/// Rows at a time: with two registers of sums each they keep both units busy.
const AT_ONCE: usize = 8;

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn multiply(weights: &[Quad], end: &End, x: &Rounded, mut y: Tile<'_>) {
    for first in (0..y.rows()).step_by(AT_ONCE) {
        let mut sums = [[_mm512_setzero_si512(); 2]; AT_ONCE];
        let row = y.first + first;
        for (block, weights) in x.sixteen(row - row % 16).iter().zip(weights.as_chunks::<16>().0) {
            let rows = &block.0.as_chunks::<AT_ONCE>().0[row % 16 / AT_ONCE];
            for (quad, halves) in weights.iter().enumerate() {
                // SAFETY: plain values of the same size.
                let halves = unsafe { transmute::<Quad, [__m512i; 2]>(*halves) };
                for (row, sums) in rows.iter().zip(&mut sums) {
                    let four = _mm512_set1_epi32(i32::from_le_bytes(row.as_chunks().0[quad]));
                    for half in 0..2 {
                        sums[half] = _mm512_dpbusd_epi32(sums[half], four, halves[half]);
                    }
                }
            }
        }
        for (index, sums) in sums.into_iter().enumerate().take(y.rows() - first) {
            finish(sums, end, x.end(row + index), y.row(first + index));
        }
    }
}

/// Writes a row's outputs for a panel from its sums.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn finish(sums: [__m512i; 2], end: &End, (scale, zero): (f32, f32), y: &mut [[f32; 16]]) {
    // SAFETY: plain values of the same size.
    let floats = |values: &[f32; 16]| unsafe { transmute::<[f32; 16], __m512>(*values) };
    for half in 0..2 {
        let sum = _mm512_cvtepi32_ps(sums[half]);
        let sum = _mm512_fnmadd_ps(_mm512_set1_ps(zero), floats(&end.sums[half]), sum);
        let scale = _mm512_mul_ps(_mm512_set1_ps(scale), floats(&end.scales[half]));
        let outputs = _mm512_fmadd_ps(sum, scale, floats(&end.bias[half]));
        // SAFETY: as above.
        y[half] = unsafe { transmute::<__m512, [f32; 16]>(outputs) };
    }
}
