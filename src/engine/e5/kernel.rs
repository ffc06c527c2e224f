//! The instructions a product of whole numbers is made of, and how they are chosen.
//!
//! A kernel takes a panel of 32 outputs and as many rows as its registers hold, sums `u q` over all inputs in 32 bits, and ends with
//! `fma(fma(-z, Σ q, Σ u q), sₓ sᵥᵥ, b)`: integers in any order are the same integers, and one end makes the same bits of them.

mod amx;
mod avx2;
mod vnni;

use super::linear::{End, PANEL, Quad, Rounded};

/// Where a kernel writes: up to [`super::linear::ROWS`] rows, of which it fills the outputs of a panel.
pub(super) struct Tile<'a> {
    /// The row of activations the first one belongs to, a multiple of as many.
    pub first: usize,
    /// The first row's outputs; the next row's lie `stride` values on.
    pub values: &'a mut [f32],
    pub stride: usize,
}

impl Tile<'_> {
    /// Returns how many rows there are.
    fn rows(&self) -> usize {
        self.values.len().div_ceil(self.stride)
    }

    /// Returns a row's outputs of the panel, in two halves.
    fn row(&mut self, row: usize) -> &mut [[f32; 16]] {
        self.values[row * self.stride..][..PANEL].as_chunks_mut().0
    }
}

/// Reports whether the processor has registers of sixteen floats.
pub(super) fn has_wide_registers() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// The floor of this program.
    Avx2,
    /// Dot products of four bytes in one instruction: servers since 2019.
    Avx512Vnni,
    /// A unit for products of whole tiles: Xeons since 2023.
    Amx,
}

impl Kernel {
    #[cfg(test)]
    pub const ALL: [Self; 3] = [Self::Avx2, Self::Avx512Vnni, Self::Amx];

    /// Reports whether this processor, and this system, have what it needs.
    pub fn is_here(self) -> bool {
        match self {
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Self::Avx512Vnni => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"),
            // Its sums become outputs as the other's do.
            Self::Amx => Self::Avx512Vnni.is_here() && amx::is_here(),
        }
    }

    /// Makes the tiles ready for this thread, where there are tiles, until what is returned is dropped.
    pub fn tiles(self) -> Option<amx::Tiles> {
        // SAFETY: a kernel is used only where it is here.
        (self == Self::Amx).then(|| unsafe { amx::Tiles::configure() })
    }

    /// Multiplies rows by a panel and writes them to `y`. The thread's [`Self::tiles`] are ready.
    pub fn multiply(self, weights: &[Quad], end: &End, x: &Rounded, y: Tile<'_>) {
        // SAFETY: the processor has the instructions: AVX2 is checked before the engine starts, the others where a layer chooses.
        unsafe {
            match self {
                Self::Avx2 => avx2::multiply(weights, end, x, y),
                Self::Avx512Vnni => vnni::multiply(weights, end, x, y),
                Self::Amx => amx::multiply(weights, end, x, y),
            }
        }
    }
}
