//! Causal grouped-query attention, forward and backward.
//!
//! Scores are made for a block of queries at a time and never kept: the backward pass makes them
//! again from the log-sum-exp of each row. Every (sequence, query head) is one task, so the result
//! does not depend on how tasks fall on threads.

use gemm::Parallelism;
use rayon::prelude::*;

use crate::{
    math,
    matrix::{Into, View, ViewMut, multiply},
};

/// Queries whose scores are in memory at once, per thread.
const BLOCK: usize = 128;

/// Shapes of one call: `sequences · length` rows, each `[query heads | key heads | value heads] · size`.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) sequences: usize,
    pub(crate) length: usize,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) size: usize,
}

/// The four buffers of the backward pass that are laid out by head: `[sequence, head, position, size]`.
pub(crate) struct HeadGradients<'a> {
    pub(crate) query: &'a mut [f32],
    /// Per query head; the key heads' gradients are sums over their group.
    pub(crate) key: &'a mut [f32],
    pub(crate) value: &'a mut [f32],
}

impl Shape {
    fn row_width(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.size
    }

    fn query_width(&self) -> usize {
        self.heads * self.size
    }

    /// Values in one head-major buffer.
    pub(crate) fn head_major_len(&self) -> usize {
        self.sequences * self.length * self.query_width()
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    /// Query, key and value of a task, `length` rows each.
    fn operands<'a>(&self, qkv: &'a [f32], task: usize) -> [View<'a>; 3] {
        let (sequence, head) = (task / self.heads, task % self.heads);
        let kv_head = head / (self.heads / self.kv_heads);
        let rows = &qkv[sequence * self.length * self.row_width()..];
        let column = |head: usize| View::strided(&rows[head * self.size..], self.length, self.size, self.row_width());
        [column(head), column(self.heads + kv_head), column(self.heads + self.kv_heads + kv_head)]
    }

    fn blocks(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let length = self.length;
        (0..length).step_by(BLOCK).map(move |start| start..(start + BLOCK).min(length))
    }
}

/// Scores of the queries in `block` against all keys they may see, turned into probabilities.
fn probabilities(
    query: View<'_>,
    key: View<'_>,
    block: &std::ops::Range<usize>,
    scale: f32,
    log_sums: LogSums<'_>,
    scores: &mut [f32],
) {
    multiply(
        ViewMut::new(scores, block.len(), block.end),
        Into::Replace,
        scale,
        query.rows(block.clone()),
        key.rows(0..block.end).t(),
        Parallelism::None,
    );
    let rows = scores.chunks_exact_mut(block.end).zip(block.clone());
    match log_sums {
        LogSums::Make(log_sums) => {
            for ((row, position), log_sum) in rows.zip(log_sums) {
                let (seen, unseen) = row.split_at_mut(position + 1);
                let largest = math::max(seen);
                let sum = math::exp_in_place(seen, largest);
                let share = 1.0 / sum;
                seen.iter_mut().for_each(|value| *value *= share);
                unseen.fill(0.0);
                *log_sum = largest + sum.ln();
            }
        }
        LogSums::Use(log_sums) => {
            for ((row, position), log_sum) in rows.zip(log_sums) {
                let (seen, unseen) = row.split_at_mut(position + 1);
                math::exp_in_place(seen, *log_sum);
                unseen.fill(0.0);
            }
        }
    }
}

enum LogSums<'a> {
    Make(&'a mut [f32]),
    Use(&'a [f32]),
}

/// Attends: `heads` receives the outputs by head, `log_sums` one value per (sequence, head, position).
pub(crate) fn forward(shape: Shape, qkv: &[f32], heads: &mut [f32], log_sums: &mut [f32]) {
    assert_eq!(heads.len(), shape.head_major_len(), "one output row per query head and position");
    let per_task = shape.length * shape.size;
    heads.par_chunks_exact_mut(per_task).zip(log_sums.par_chunks_exact_mut(shape.length)).enumerate().for_each_init(
        || vec![0.0f32; BLOCK.min(shape.length) * shape.length],
        |scores, (task, (output, log_sums))| {
            let [query, key, value] = shape.operands(qkv, task);
            for block in shape.blocks() {
                let scores = &mut scores[..block.len() * block.end];
                let sums = LogSums::Make(&mut log_sums[block.clone()]);
                probabilities(query, key, &block, shape.scale(), sums, scores);
                multiply(
                    ViewMut::new(
                        &mut output[block.start * shape.size..block.end * shape.size],
                        block.len(),
                        shape.size,
                    ),
                    Into::Replace,
                    1.0,
                    View::new(scores, block.len(), block.end),
                    value.rows(0..block.end),
                    Parallelism::None,
                );
            }
        },
    );
}

/// Given the gradient of the outputs in row order (`d_rows`, `[rows, heads · size]`) and the outputs
/// themselves (`rows`), fills the gradients of queries, keys and values by query head.
pub(crate) fn backward(
    shape: Shape,
    qkv: &[f32],
    log_sums: &[f32],
    rows: &[f32],
    d_rows: &[f32],
    gradients: &mut HeadGradients<'_>,
) {
    let per_task = shape.length * shape.size;
    let width = shape.query_width();
    gradients
        .query
        .par_chunks_exact_mut(per_task)
        .zip(gradients.key.par_chunks_exact_mut(per_task))
        .zip(gradients.value.par_chunks_exact_mut(per_task))
        .zip(log_sums.par_chunks_exact(shape.length))
        .enumerate()
        .for_each_init(
            || {
                let size = BLOCK.min(shape.length) * shape.length;
                (vec![0.0f32; size], vec![0.0f32; size])
            },
            |(scores, d_scores), (task, (((d_query, d_key), d_value), log_sums))| {
                let (sequence, head) = (task / shape.heads, task % shape.heads);
                let first = sequence * shape.length * width + head * shape.size;
                let output = View::strided(&rows[first..], shape.length, shape.size, width);
                let d_output = View::strided(&d_rows[first..], shape.length, shape.size, width);
                let [query, key, value] = shape.operands(qkv, task);
                d_key.fill(0.0);
                d_value.fill(0.0);
                for block in shape.blocks() {
                    let area = block.len() * block.end;
                    let (scores, d_scores) = (&mut scores[..area], &mut d_scores[..area]);
                    let sums = LogSums::Use(&log_sums[block.clone()]);
                    probabilities(query, key, &block, shape.scale(), sums, scores);
                    let product = |target: ViewMut<'_>, into, scale, lhs: View<'_>, rhs: View<'_>| {
                        multiply(target, into, scale, lhs, rhs, Parallelism::None);
                    };
                    // dV += Pᵀ · dO
                    product(
                        ViewMut::new(&mut d_value[..block.end * shape.size], block.end, shape.size),
                        Into::Add,
                        1.0,
                        View::new(scores, block.len(), block.end).t(),
                        d_output.rows(block.clone()),
                    );
                    // dP = dO · Vᵀ
                    product(
                        ViewMut::new(d_scores, block.len(), block.end),
                        Into::Replace,
                        1.0,
                        d_output.rows(block.clone()),
                        value.rows(0..block.end).t(),
                    );
                    // dS = P ∘ (dP − rowsum(dO ∘ O))
                    let probabilities = scores.chunks_exact(block.end);
                    let d_rows = d_scores.chunks_exact_mut(block.end);
                    for ((d_row, row), position) in d_rows.zip(probabilities).zip(block.clone()) {
                        let pull = math::dot(d_output.row(position), output.row(position));
                        for (d, p) in d_row.iter_mut().zip(row) {
                            *d = p * (*d - pull);
                        }
                    }
                    // dQ = dS · K, dK += dSᵀ · Q, both with the scale of the scores
                    product(
                        ViewMut::new(
                            &mut d_query[block.start * shape.size..block.end * shape.size],
                            block.len(),
                            shape.size,
                        ),
                        Into::Replace,
                        shape.scale(),
                        View::new(d_scores, block.len(), block.end),
                        key.rows(0..block.end),
                    );
                    product(
                        ViewMut::new(&mut d_key[..block.end * shape.size], block.end, shape.size),
                        Into::Add,
                        shape.scale(),
                        View::new(d_scores, block.len(), block.end).t(),
                        query.rows(block.clone()),
                    );
                }
            },
        );
}

/// Copies outputs by head into rows, `[rows, heads · size]`.
pub(crate) fn to_rows(shape: Shape, heads: &[f32], rows: &mut [f32]) {
    rows.par_chunks_exact_mut(shape.query_width()).enumerate().for_each(|(row, target)| {
        let (sequence, position) = (row / shape.length, row % shape.length);
        for (head, target) in target.chunks_exact_mut(shape.size).enumerate() {
            target.copy_from_slice(head_values(shape, heads, sequence, head, position));
        }
    });
}

/// Collects the gradients by head into rows of `[query | key | value]`, summing each key head's group.
pub(crate) fn gradients_to_rows(shape: Shape, gradients: &HeadGradients<'_>, rows: &mut [f32]) {
    let group = shape.heads / shape.kv_heads;
    rows.par_chunks_exact_mut(shape.row_width()).enumerate().for_each(|(row, target)| {
        let (sequence, position) = (row / shape.length, row % shape.length);
        let (query, rest) = target.split_at_mut(shape.query_width());
        let (key, value) = rest.split_at_mut(shape.kv_heads * shape.size);
        for (head, target) in query.chunks_exact_mut(shape.size).enumerate() {
            let from = head_values(shape, gradients.query, sequence, head, position);
            target.copy_from_slice(from);
        }
        for (source, target) in [(&*gradients.key, key), (&*gradients.value, value)] {
            for (kv_head, target) in target.chunks_exact_mut(shape.size).enumerate() {
                target.fill(0.0);
                for head in kv_head * group..(kv_head + 1) * group {
                    let from = head_values(shape, source, sequence, head, position);
                    target.iter_mut().zip(from).for_each(|(sum, x)| *sum += x);
                }
            }
        }
    });
}

fn head_values(shape: Shape, buffer: &[f32], sequence: usize, head: usize, position: usize) -> &[f32] {
    let at = ((sequence * shape.heads + head) * shape.length + position) * shape.size;
    &buffer[at..at + shape.size]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::gradcheck;

    /// 150 positions cross the border between two blocks.
    const SHAPES: [Shape; 2] = [
        Shape { sequences: 2, length: 5, heads: 4, kv_heads: 2, size: 4 },
        Shape { sequences: 1, length: 150, heads: 2, kv_heads: 1, size: 2 },
    ];

    fn attend(shape: Shape, qkv: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let mut heads = vec![0.0; shape.head_major_len()];
        let mut log_sums = vec![0.0; shape.sequences * shape.heads * shape.length];
        forward(shape, qkv, &mut heads, &mut log_sums);
        let mut rows = vec![0.0; heads.len()];
        to_rows(shape, &heads, &mut rows);
        (rows, log_sums)
    }

    fn input(shape: Shape) -> Vec<f32> {
        gradcheck::values(shape.sequences * shape.length * shape.row_width(), 5)
    }

    #[test]
    fn forward_is_the_plain_formula() {
        for shape in SHAPES {
            let qkv = input(shape);
            let (rows, _) = attend(shape, &qkv);
            let width = shape.row_width();
            for sequence in 0..shape.sequences {
                for head in 0..shape.heads {
                    for position in [0, 1, shape.length - 1] {
                        let at = |row: usize, head: usize| {
                            let start = (sequence * shape.length + row) * width + head * shape.size;
                            &qkv[start..start + shape.size]
                        };
                        let kv = shape.heads + head / (shape.heads / shape.kv_heads);
                        let weights: Vec<f64> = (0..=position)
                            .map(|row| {
                                let score = math::dot(at(position, head), at(row, kv));
                                f64::from(score * shape.scale()).exp()
                            })
                            .collect();
                        let total: f64 = weights.iter().sum();
                        for index in 0..shape.size {
                            let expected: f64 = weights
                                .iter()
                                .enumerate()
                                .map(|(row, weight)| weight / total * f64::from(at(row, kv + shape.kv_heads)[index]))
                                .sum();
                            let row = sequence * shape.length + position;
                            let got = rows[row * shape.query_width() + head * shape.size + index];
                            assert!((f64::from(got) - expected).abs() < 1e-5);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn backward_is_the_derivative_of_forward() {
        for shape in SHAPES {
            let qkv = input(shape);
            let (rows, log_sums) = attend(shape, &qkv);
            let up = gradcheck::values(rows.len(), 6);
            let mut buffers = [(); 3].map(|()| vec![0.0; shape.head_major_len()]);
            let [query, key, value] = &mut buffers;
            let mut by_head = HeadGradients { query, key, value };
            backward(shape, &qkv, &log_sums, &rows, &up, &mut by_head);
            let mut gradient = vec![0.0; qkv.len()];
            gradients_to_rows(shape, &by_head, &mut gradient);
            gradcheck::compare(&qkv, &gradient, |qkv| gradcheck::weighted(&attend(shape, qkv).0, &up));
        }
    }
}
