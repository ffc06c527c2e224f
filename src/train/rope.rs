//! Rotary position embedding in Hugging Face order: the halves (x₁, x₂) of a head turn by position·θ.

use rayon::prelude::*;

/// Cosines and sines of each position, `[positions, head_size / 2]` each.
pub(crate) struct Rope {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// Which way a rotation goes: the gradient turns back.
#[derive(Clone, Copy)]
pub(crate) enum Turn {
    Forward,
    Back,
}

impl Rope {
    /// θᵢ = base^(−2i / head_size), as in the Llama of transformers: angles in `f32`.
    pub(crate) fn new(positions: usize, head_size: usize, base: f32) -> Self {
        let half = head_size / 2;
        let mut rope =
            Self { half, cos: Vec::with_capacity(positions * half), sin: Vec::with_capacity(positions * half) };
        for position in 0..positions {
            for index in 0..half {
                let power = (2 * index) as f32 / head_size as f32;
                let angle = position as f32 * (1.0 / base.powf(power));
                rope.cos.push(angle.cos());
                rope.sin.push(angle.sin());
            }
        }
        rope
    }

    /// Returns for how many positions the table holds.
    pub(crate) fn positions(&self) -> usize {
        self.cos.len() / self.half
    }

    /// Turns one head of one position in place.
    pub(crate) fn turn(&self, head: &mut [f32], position: usize, turn: Turn) {
        let at = position * self.half;
        let cos = &self.cos[at..at + self.half];
        let sin = &self.sin[at..at + self.half];
        let sign = match turn {
            Turn::Forward => 1.0,
            Turn::Back => -1.0,
        };
        let (first, second) = head.split_at_mut(self.half);
        for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            let (a, b) = (*first, *second);
            let sin = sin * sign;
            *first = a * cos - b * sin;
            *second = b * cos + a * sin;
        }
    }

    /// Turns the first `heads` heads of every row; rows are `width` values, positions restart every `length` rows.
    pub(crate) fn turn_rows(&self, rows: &mut [f32], width: usize, heads: usize, length: usize, turn: Turn) {
        let size = self.half * 2;
        rows.par_chunks_exact_mut(width).enumerate().for_each(|(row, values)| {
            for head in values[..heads * size].chunks_exact_mut(size) {
                self.turn(head, row % length, turn);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::gradcheck;

    #[test]
    fn turning_back_undoes_and_is_the_derivative() {
        let rope = Rope::new(4, 6, 100.0);
        let x = gradcheck::values(6, 1);
        let up = gradcheck::values(6, 2);
        let mut round = x.clone();
        rope.turn(&mut round, 3, Turn::Forward);
        rope.turn(&mut round, 3, Turn::Back);
        for (a, b) in x.iter().zip(&round) {
            assert!((a - b).abs() < 1e-6);
        }
        let mut gradient = up.clone();
        rope.turn(&mut gradient, 3, Turn::Back);
        gradcheck::compare(&x, &gradient, |x| {
            let mut y = x.to_vec();
            rope.turn(&mut y, 3, Turn::Forward);
            gradcheck::weighted(&y, &up)
        });
    }

    #[test]
    fn positions_restart_with_each_sequence_and_values_stay() {
        let rope = Rope::new(3, 4, 10.0);
        let mut rows = [1.0; 2 * 3 * 6];
        rope.turn_rows(&mut rows, 6, 1, 3, Turn::Forward);
        assert_eq!(rows[..6], [1.0; 6], "position 0 does not turn");
        assert_eq!(rows[..18], rows[18..]);
        assert_eq!(rows[10..12], [1.0; 2], "values beside the heads stay");
    }
}
