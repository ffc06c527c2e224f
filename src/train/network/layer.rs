//! One layer of the network, forward and backward.

use gemm::Parallelism;

use super::{Batch, Network, grow};
use crate::{
    Adapter, Projection,
    attention::{self, HeadGradients},
    feed_forward,
    matrix::{Into, View, ViewMut, multiply},
    norm,
    rope::Turn,
};

impl Network {
    /// Adds the layer to `scratch.x` and keeps in `slot` what its backward pass needs.
    pub(super) fn forward_layer(
        &mut self,
        layer: usize,
        slot: usize,
        adapter: Option<&Adapter>,
        batch: &Batch,
        parallelism: Parallelism,
    ) {
        let attention = self.attention_shape(batch);
        let config = &self.model.config;
        let weights = &self.model.layers[layer];
        let (rows, hidden) = (batch.tokens.len(), config.hidden);
        let (query, width) = (config.query_width(), config.qkv_width());
        let (feed, rank) = (config.feed_forward, self.shape.rank);
        let kept = &mut self.kept[slot];
        let scratch = &mut self.scratch;
        let product = |target: ViewMut<'_>, into, scale, lhs: View<'_>, rhs: View<'_>| {
            multiply(target, into, scale, lhs, rhs, parallelism);
        };
        let x = &mut scratch.x[..rows * hidden];
        let normed = &mut scratch.normed[..rows * hidden];

        let input = grow(&mut kept.input, rows * hidden);
        input.copy_from_slice(x);
        let inverse = grow(&mut kept.inverse_1, rows);
        norm::forward(x, &weights.attention_norm, config.rms_epsilon, normed, inverse);
        let qkv = grow(&mut kept.qkv, rows * width);
        product(
            ViewMut::new(qkv, rows, width),
            Into::Replace,
            1.0,
            View::new(normed, rows, hidden),
            View::new(&weights.qkv, width, hidden).t(),
        );
        if let Some(adapter) = adapter {
            let low = grow(&mut kept.low_qkv, rows * 3 * rank);
            let a = self.shape.stacked_a(layer);
            product(
                ViewMut::new(low, rows, 3 * rank),
                Into::Replace,
                1.0,
                View::new(normed, rows, hidden),
                View::new(&adapter.values[a.range()], 3 * rank, hidden).t(),
            );
            let mut column = 0;
            for (index, projection) in Projection::ALL[..3].iter().enumerate() {
                let b = self.shape.b(layer, *projection);
                product(
                    ViewMut::strided(&mut qkv[column..], rows, b.rows, width),
                    Into::Add,
                    self.shape.scale(),
                    View::strided(&low[index * rank..], rows, rank, 3 * rank),
                    View::new(&adapter.values[b.range()], b.rows, rank).t(),
                );
                column += b.rows;
            }
        }
        let turned = config.heads + config.kv_heads;
        self.rope.turn_rows(qkv, width, turned, batch.length, Turn::Forward);
        let heads = grow(&mut scratch.heads, rows * query);
        let log_sums = grow(&mut kept.log_sums, rows * config.heads);
        attention::forward(attention, qkv, heads, log_sums);
        let attended = grow(&mut kept.attended, rows * query);
        attention::to_rows(attention, heads, attended);
        product(
            ViewMut::new(x, rows, hidden),
            Into::Add,
            1.0,
            View::new(attended, rows, query),
            View::new(&weights.output, hidden, query).t(),
        );
        if let Some(adapter) = adapter {
            let low = grow(&mut kept.low_output, rows * rank);
            let a = self.shape.a(layer, Projection::Output);
            let b = self.shape.b(layer, Projection::Output);
            product(
                ViewMut::new(low, rows, rank),
                Into::Replace,
                1.0,
                View::new(attended, rows, query),
                View::new(&adapter.values[a.range()], rank, query).t(),
            );
            product(
                ViewMut::new(x, rows, hidden),
                Into::Add,
                self.shape.scale(),
                View::new(low, rows, rank),
                View::new(&adapter.values[b.range()], hidden, rank).t(),
            );
        }

        let middle = grow(&mut kept.middle, rows * hidden);
        middle.copy_from_slice(x);
        let inverse = grow(&mut kept.inverse_2, rows);
        norm::forward(x, &weights.feed_forward_norm, config.rms_epsilon, normed, inverse);
        let gate_up = grow(&mut kept.gate_up, rows * 2 * feed);
        product(
            ViewMut::new(gate_up, rows, 2 * feed),
            Into::Replace,
            1.0,
            View::new(normed, rows, hidden),
            View::new(&weights.gate_up, 2 * feed, hidden).t(),
        );
        let act = grow(&mut scratch.act, rows * feed);
        feed_forward::forward(gate_up, act, feed);
        product(
            ViewMut::new(x, rows, hidden),
            Into::Add,
            1.0,
            View::new(act, rows, feed),
            View::new(&weights.down, hidden, feed).t(),
        );
    }

    /// Takes the gradient of the layer's output in `scratch.d_x` and leaves that of its input there.
    pub(super) fn backward_layer(
        &mut self,
        layer: usize,
        adapter: &Adapter,
        batch: &Batch,
        gradients: &mut [f32],
        parallelism: Parallelism,
    ) {
        let attention = self.attention_shape(batch);
        let config = &self.model.config;
        let weights = &self.model.layers[layer];
        let (rows, hidden) = (batch.tokens.len(), config.hidden);
        let (query, width) = (config.query_width(), config.qkv_width());
        let (feed, rank) = (config.feed_forward, self.shape.rank);
        let kept = &mut self.kept[layer];
        let scratch = &mut self.scratch;
        let product = |target: ViewMut<'_>, into, scale, lhs: View<'_>, rhs: View<'_>| {
            multiply(target, into, scale, lhs, rhs, parallelism);
        };
        let scale = self.shape.scale();
        let d_x = &mut scratch.d_x[..rows * hidden];
        let d_normed = &mut scratch.normed[..rows * hidden];

        // Feed-forward: x = middle + down(silu(gate) · up).
        let d_act = grow(&mut scratch.act, rows * feed);
        product(
            ViewMut::new(d_act, rows, feed),
            Into::Replace,
            1.0,
            View::new(d_x, rows, hidden),
            View::new(&weights.down, hidden, feed),
        );
        let gate_up = &mut kept.gate_up[..rows * 2 * feed];
        feed_forward::backward(gate_up, d_act, feed);
        product(
            ViewMut::new(d_normed, rows, hidden),
            Into::Replace,
            1.0,
            View::new(gate_up, rows, 2 * feed),
            View::new(&weights.gate_up, 2 * feed, hidden),
        );
        norm::backward(
            d_normed,
            &kept.middle[..rows * hidden],
            &weights.feed_forward_norm,
            &kept.inverse_2[..rows],
            d_x,
        );

        // Output projection: middle = input + W·attended + scale · B·(A·attended).
        let a = self.shape.a(layer, Projection::Output);
        let b = self.shape.b(layer, Projection::Output);
        let attended = &kept.attended[..rows * query];
        let low = grow(&mut scratch.low, rows * 3 * rank);
        let d_low = &mut low[..rows * rank];
        product(
            ViewMut::new(&mut gradients[b.range()], hidden, rank),
            Into::Add,
            scale,
            View::new(d_x, rows, hidden).t(),
            View::new(&kept.low_output[..rows * rank], rows, rank),
        );
        product(
            ViewMut::new(d_low, rows, rank),
            Into::Replace,
            scale,
            View::new(d_x, rows, hidden),
            View::new(&adapter.values[b.range()], hidden, rank),
        );
        product(
            ViewMut::new(&mut gradients[a.range()], rank, query),
            Into::Add,
            1.0,
            View::new(d_low, rows, rank).t(),
            View::new(attended, rows, query),
        );
        let d_attended = grow(&mut scratch.d_attended, rows * query);
        product(
            ViewMut::new(d_attended, rows, query),
            Into::Replace,
            1.0,
            View::new(d_x, rows, hidden),
            View::new(&weights.output, hidden, query),
        );
        product(
            ViewMut::new(d_attended, rows, query),
            Into::Add,
            1.0,
            View::new(d_low, rows, rank),
            View::new(&adapter.values[a.range()], rank, query),
        );

        let mut head_gradients = HeadGradients {
            query: grow(&mut scratch.heads, rows * query),
            key: grow(&mut scratch.d_key, rows * query),
            value: grow(&mut scratch.d_value, rows * query),
        };
        attention::backward(
            attention,
            &kept.qkv[..rows * width],
            &kept.log_sums[..rows * config.heads],
            attended,
            d_attended,
            &mut head_gradients,
        );
        let d_qkv = grow(&mut scratch.d_qkv, rows * width);
        attention::gradients_to_rows(attention, &head_gradients, d_qkv);
        let turned = config.heads + config.kv_heads;
        self.rope.turn_rows(d_qkv, width, turned, batch.length, Turn::Back);

        // Query, key and value: qkv = W·normed + scale · B·(A·normed).
        let d_low = &mut low[..rows * 3 * rank];
        let mut column = 0;
        for (index, projection) in Projection::ALL[..3].iter().enumerate() {
            let b = self.shape.b(layer, *projection);
            let d_part = View::strided(&d_qkv[column..], rows, b.rows, width);
            product(
                ViewMut::new(&mut gradients[b.range()], b.rows, rank),
                Into::Add,
                scale,
                d_part.t(),
                View::strided(&kept.low_qkv[index * rank..], rows, rank, 3 * rank),
            );
            product(
                ViewMut::strided(&mut d_low[index * rank..], rows, rank, 3 * rank),
                Into::Replace,
                scale,
                d_part,
                View::new(&adapter.values[b.range()], b.rows, rank),
            );
            column += b.rows;
        }
        let a = self.shape.stacked_a(layer);
        let input = &kept.input[..rows * hidden];
        let inverse = &kept.inverse_1[..rows];
        let normed = d_normed;
        norm::again(input, &weights.attention_norm, inverse, normed);
        product(
            ViewMut::new(&mut gradients[a.range()], 3 * rank, hidden),
            Into::Add,
            1.0,
            View::new(d_low, rows, 3 * rank).t(),
            View::new(normed, rows, hidden),
        );
        if layer == 0 {
            // Below lies only the frozen embedding.
            return;
        }
        let d_normed = normed;
        product(
            ViewMut::new(d_normed, rows, hidden),
            Into::Replace,
            1.0,
            View::new(d_qkv, rows, width),
            View::new(&weights.qkv, width, hidden),
        );
        product(
            ViewMut::new(d_normed, rows, hidden),
            Into::Add,
            1.0,
            View::new(d_low, rows, 3 * rank),
            View::new(&adapter.values[a.range()], 3 * rank, hidden),
        );
        norm::backward(d_normed, input, &weights.attention_norm, inverse, d_x);
    }
}
