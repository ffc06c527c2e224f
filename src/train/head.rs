//! The output head and the cross entropy, in chunks of rows, so that the logits never exist whole.
//!
//! The gradient with respect to the hidden states is made in the same pass: the chunk's logits are
//! turned into their own gradient in place.

use gemm::Parallelism;
use rayon::prelude::*;

use crate::{
    math,
    matrix::{Into, View, ViewMut, multiply},
};

/// Rows whose logits are in memory at once. 384 rows keep the products at full speed.
const CHUNK: usize = 384;

/// Marks a row whose next token is not asked for.
pub const NO_TARGET: u32 = u32::MAX;

/// The output matrix, `[vocabulary, hidden]`, and buffers for one chunk, made once.
pub(crate) struct Head {
    hidden: usize,
    rows: Vec<f32>,
    d_rows: Vec<f32>,
    logits: Vec<f32>,
}

/// What to compute besides the loss.
pub(crate) enum Gradient<'a> {
    No,
    /// Fills `d_x`, the gradient of `weight` · Σ loss with respect to the normalised rows.
    Yes {
        d_x: &'a mut [f32],
        weight: f32,
    },
}

impl Head {
    pub(crate) fn new(hidden: usize) -> Self {
        Self { hidden, rows: Vec::new(), d_rows: Vec::new(), logits: Vec::new() }
    }

    /// Returns Σ −ln p(target) over the rows of `x` that have a target.
    pub(crate) fn loss(
        &mut self,
        x: &[f32],
        weights: &[f32],
        targets: &[u32],
        mut gradient: Gradient<'_>,
        parallelism: Parallelism,
    ) -> f64 {
        let hidden = self.hidden;
        let vocabulary = weights.len() / hidden;
        let asked: Vec<usize> = (0..targets.len()).filter(|&row| targets[row] != NO_TARGET).collect();
        if let Gradient::Yes { d_x, .. } = &mut gradient {
            d_x.fill(0.0);
        }
        let largest = CHUNK.min(asked.len());
        self.rows.resize(self.rows.len().max(largest * hidden), 0.0);
        self.logits.resize(self.logits.len().max(largest * vocabulary), 0.0);
        let mut total = 0.0;
        for chunk in asked.chunks(CHUNK) {
            let rows = &mut self.rows[..chunk.len() * hidden];
            for (&row, target) in chunk.iter().zip(rows.chunks_exact_mut(hidden)) {
                target.copy_from_slice(&x[row * hidden..][..hidden]);
            }
            let logits = &mut self.logits[..chunk.len() * vocabulary];
            multiply(
                ViewMut::new(logits, chunk.len(), vocabulary),
                Into::Replace,
                1.0,
                View::new(rows, chunk.len(), hidden),
                View::new(weights, vocabulary, hidden).t(),
                parallelism,
            );
            let losses: Vec<f64> = logits
                .par_chunks_exact_mut(vocabulary)
                .zip(chunk.par_iter())
                .map(|(logits, &row)| {
                    let target = targets[row] as usize;
                    match gradient {
                        Gradient::No => f64::from(math::log_sum_exp(logits) - logits[target]),
                        Gradient::Yes { weight, .. } => into_gradient(logits, target, weight),
                    }
                })
                .collect();
            total += losses.iter().sum::<f64>();
            if let Gradient::Yes { d_x, .. } = &mut gradient {
                self.d_rows.resize(self.d_rows.len().max(largest * hidden), 0.0);
                let d_rows = &mut self.d_rows[..chunk.len() * hidden];
                multiply(
                    ViewMut::new(d_rows, chunk.len(), hidden),
                    Into::Replace,
                    1.0,
                    View::new(logits, chunk.len(), vocabulary),
                    View::new(weights, vocabulary, hidden),
                    parallelism,
                );
                for (&row, from) in chunk.iter().zip(d_rows.chunks_exact(hidden)) {
                    d_x[row * hidden..][..hidden].copy_from_slice(from);
                }
            }
        }
        total
    }

    /// Returns the logits of some rows of `x`, `[rows, vocabulary]`.
    pub(crate) fn logits(
        &self,
        x: &[f32],
        weights: &[f32],
        rows: std::ops::Range<usize>,
        parallelism: Parallelism,
    ) -> Vec<f32> {
        let vocabulary = weights.len() / self.hidden;
        let mut logits = vec![0.0; rows.len() * vocabulary];
        multiply(
            ViewMut::new(&mut logits, rows.len(), vocabulary),
            Into::Replace,
            1.0,
            View::new(&x[rows.start * self.hidden..], rows.len(), self.hidden),
            View::new(weights, vocabulary, self.hidden).t(),
            parallelism,
        );
        logits
    }
}

/// Replaces a row of logits by weight · (softmax − one-hot) and returns its loss.
fn into_gradient(logits: &mut [f32], target: usize, weight: f32) -> f64 {
    let largest = math::max(logits);
    let wanted = logits[target] - largest;
    let sum = math::exp_in_place(logits, largest);
    let share = weight / sum;
    logits.iter_mut().for_each(|value| *value *= share);
    logits[target] -= weight;
    f64::from(sum.ln() - wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::gradcheck;

    const HIDDEN: usize = 3;

    #[test]
    fn the_gradient_is_the_derivative_and_skips_rows_without_target() {
        let weights = gradcheck::values(7 * HIDDEN, 1);
        let targets: Vec<u32> =
            (0..CHUNK as u32 + 5).map(|row| if row % 3 == 0 { NO_TARGET } else { row % 7 }).collect();
        let x = gradcheck::values(targets.len() * HIDDEN, 2);
        let mut head = Head::new(HIDDEN);
        let mut d_x = vec![9.0; x.len()];
        let gradient = Gradient::Yes { d_x: &mut d_x, weight: 0.5 };
        let loss = head.loss(&x, &weights, &targets, gradient, Parallelism::None);
        let without = head.loss(&x, &weights, &targets, Gradient::No, Parallelism::None);
        assert!((loss - without).abs() < 1e-4);
        assert_eq!(d_x[..HIDDEN], [0.0; HIDDEN]);
        // The first rows only: the loss sums over all, and every coordinate costs two passes.
        let probe = 4 * HIDDEN;
        gradcheck::compare(&x[..probe], &d_x[..probe], |first| {
            0.5 * head.loss(first, &weights, &targets[..4], Gradient::No, Parallelism::None)
        });
    }

    #[test]
    fn the_loss_is_the_definition() {
        let weights = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let x = [2.0, 1.0, 5.0];
        let mut head = Head::new(HIDDEN);
        let loss = head.loss(&x, &weights, &[1], Gradient::No, Parallelism::None);
        let expected = (2f64.exp() + 1f64.exp()).ln() - 1.0;
        assert!((loss - expected).abs() < 1e-6);
        let logits = head.logits(&x, &weights, 0..1, Parallelism::None);
        assert_eq!(logits, [2.0, 1.0]);
    }
}
