mod layer;

use std::sync::Arc;

use gemm::Parallelism;

use crate::{
    Adapter, AdapterShape, BaseModel, Error,
    attention::Shape,
    head::{Gradient, Head},
    norm,
    rope::Rope,
    threads::Threads,
};

/// Sequences of equal length with the token that is to follow each position.
///
/// `tokens` and `targets` are `[sequences, length]`; a target of [`crate::NO_TARGET`] is not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub(crate) length: usize,
    pub(crate) tokens: Vec<u32>,
    pub(crate) targets: Vec<u32>,
}

impl Batch {
    /// Returns how many positions have a target.
    pub(crate) fn asked(&self) -> usize {
        self.targets.iter().filter(|&&target| target != crate::NO_TARGET).count()
    }
}

/// The forward and the hand-written backward pass of a Llama model with an adapter.
///
/// No gradient is ever computed for a frozen weight. Activations of the forward pass that the
/// backward pass needs are kept per layer; norms, attention scores and SwiGLU products are made
/// again. All large buffers are made once and reused.
pub struct Network {
    model: Arc<BaseModel>,
    shape: AdapterShape,
    threads: Threads,
    rope: Rope,
    head: Head,
    kept: Vec<Kept>,
    scratch: Scratch,
}

/// What the backward pass needs of one layer.
#[derive(Default)]
struct Kept {
    input: Vec<f32>,
    inverse_1: Vec<f32>,
    qkv: Vec<f32>,
    low_qkv: Vec<f32>,
    log_sums: Vec<f32>,
    attended: Vec<f32>,
    low_output: Vec<f32>,
    middle: Vec<f32>,
    inverse_2: Vec<f32>,
    gate_up: Vec<f32>,
}

/// Buffers that live for one layer only.
#[derive(Default)]
struct Scratch {
    x: Vec<f32>,
    normed: Vec<f32>,
    act: Vec<f32>,
    inverse: Vec<f32>,
    heads: Vec<f32>,
    d_key: Vec<f32>,
    d_value: Vec<f32>,
    d_attended: Vec<f32>,
    d_qkv: Vec<f32>,
    low: Vec<f32>,
    d_x: Vec<f32>,
}

/// Whether a forward pass is followed by a backward pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    AllLayers,
    OneLayer,
}

impl Network {
    /// Sets up the passes for one model and one adapter shape on `threads` threads of low priority.
    pub fn new(model: Arc<BaseModel>, shape: AdapterShape, threads: usize) -> Result<Self, Error> {
        let config = model.config();
        Ok(Self {
            rope: Rope::new(0, config.head_size, config.rope_theta),
            head: Head::new(config.hidden),
            kept: Vec::new(),
            scratch: Scratch::default(),
            threads: Threads::new(threads)?,
            shape,
            model,
        })
    }

    /// Returns Σ −ln p(target) over the batch; `None` as adapter means the base model.
    pub fn loss(&mut self, adapter: Option<&Adapter>, batch: &Batch) -> f64 {
        self.inside(|this, parallelism| {
            this.forward(adapter, batch, Keep::OneLayer, parallelism, &mut |_, _| {});
            this.head.loss(
                &this.scratch.normed[..batch.tokens.len() * this.model.config.hidden],
                this.model.head(),
                &batch.targets,
                Gradient::No,
                parallelism,
            )
        })
    }

    /// Adds the gradient of `weight` · Σ −ln p(target) to `gradients` and returns the sum without weight.
    pub fn gradients(&mut self, adapter: &Adapter, batch: &Batch, weight: f32, gradients: &mut [f32]) -> f64 {
        assert_eq!(gradients.len(), self.shape.parameters());
        self.inside(|this, parallelism| {
            this.forward(Some(adapter), batch, Keep::AllLayers, parallelism, &mut |_, _| {});
            let size = batch.tokens.len() * this.model.config.hidden;
            let mut d_normed = std::mem::take(&mut this.scratch.d_attended);
            grow(&mut d_normed, size);
            let loss = this.head.loss(
                &this.scratch.normed[..size],
                this.model.head(),
                &batch.targets,
                Gradient::Yes { d_x: &mut d_normed[..size], weight },
                parallelism,
            );
            grow(&mut this.scratch.d_x, size);
            let d_x = &mut this.scratch.d_x[..size];
            d_x.fill(0.0);
            norm::backward(
                &d_normed[..size],
                &this.scratch.x[..size],
                &this.model.final_norm,
                &this.scratch.inverse[..batch.tokens.len()],
                d_x,
            );
            this.scratch.d_attended = d_normed;
            for layer in (0..this.model.config.layers).rev() {
                this.backward_layer(layer, adapter, batch, gradients, parallelism);
            }
            loss
        })
    }

    /// Returns the logits at `positions` of one sequence, `[positions, vocabulary]`.
    pub fn logits(&mut self, adapter: Option<&Adapter>, tokens: &[u32], positions: std::ops::Range<usize>) -> Vec<f32> {
        self.observed_logits(adapter, tokens, positions, &mut |_, _| {})
    }

    /// [`Self::logits`] that shows the hidden states: index 0 after the embedding, then after each
    /// layer but the last, and last after the final norm.
    pub(crate) fn observed_logits(
        &mut self,
        adapter: Option<&Adapter>,
        tokens: &[u32],
        positions: std::ops::Range<usize>,
        observe: &mut (dyn FnMut(usize, &[f32]) + Send),
    ) -> Vec<f32> {
        let batch = Batch { length: tokens.len(), tokens: tokens.to_vec(), targets: Vec::new() };
        self.inside(|this, parallelism| {
            this.forward(adapter, &batch, Keep::OneLayer, parallelism, observe);
            let size = tokens.len() * this.model.config.hidden;
            this.head.logits(&this.scratch.normed[..size], this.model.head(), positions, parallelism)
        })
    }

    fn inside<T: Send>(&mut self, work: impl FnOnce(&mut Self, Parallelism) -> T + Send) -> T {
        let threads = self.threads.clone();
        threads.run(|parallelism| work(self, parallelism))
    }

    fn attention_shape(&self, batch: &Batch) -> Shape {
        let config = self.model.config();
        Shape {
            sequences: batch.tokens.len() / batch.length,
            length: batch.length,
            heads: config.heads,
            kv_heads: config.kv_heads,
            size: config.head_size,
        }
    }

    /// Leaves the residual stream in `scratch.x` and its final norm in `scratch.normed`.
    fn forward(
        &mut self,
        adapter: Option<&Adapter>,
        batch: &Batch,
        keep: Keep,
        parallelism: Parallelism,
        observe: &mut (dyn FnMut(usize, &[f32]) + Send),
    ) {
        let model = Arc::clone(&self.model);
        let config = model.config();
        let (rows, hidden) = (batch.tokens.len(), config.hidden);
        assert!(batch.length > 0 && rows.is_multiple_of(batch.length));
        if self.rope.positions() < batch.length {
            self.rope = Rope::new(batch.length, config.head_size, config.rope_theta);
        }
        let layers = match keep {
            Keep::AllLayers => config.layers,
            Keep::OneLayer => 1,
        };
        while self.kept.len() < layers {
            self.kept.push(Kept::default());
        }
        grow(&mut self.scratch.x, rows * hidden);
        grow(&mut self.scratch.normed, rows * hidden);
        grow(&mut self.scratch.inverse, rows);
        let x = self.scratch.x[..rows * hidden].chunks_exact_mut(hidden);
        for (target, &token) in x.zip(&batch.tokens) {
            target.copy_from_slice(&model.embedding[token as usize * hidden..][..hidden]);
        }
        for layer in 0..config.layers {
            observe(layer, &self.scratch.x[..rows * hidden]);
            let slot = if keep == Keep::AllLayers { layer } else { 0 };
            self.forward_layer(layer, slot, adapter, batch, parallelism);
        }
        norm::forward(
            &self.scratch.x[..rows * hidden],
            &model.final_norm,
            config.rms_epsilon,
            &mut self.scratch.normed[..rows * hidden],
            &mut self.scratch.inverse[..rows],
        );
        observe(config.layers, &self.scratch.normed[..rows * hidden]);
    }
}

/// Returns the first `size` values of a reused buffer, making it larger when needed.
fn grow(buffer: &mut Vec<f32>, size: usize) -> &mut [f32] {
    if buffer.len() < size {
        buffer.resize(size, 0.0);
    }
    &mut buffer[..size]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        NO_TARGET,
        tests::{gradcheck, testing},
    };

    fn batch() -> Batch {
        let tokens: Vec<u32> = (0..12).map(|index| (index * 7 + 3) % 20).collect();
        let mut targets: Vec<u32> = tokens.iter().map(|token| (token * 3 + 1) % 20).collect();
        targets[2] = NO_TARGET;
        targets[11] = NO_TARGET;
        Batch { length: 6, tokens, targets }
    }

    #[test]
    fn the_gradient_of_every_parameter_is_the_derivative_of_the_loss() {
        let mut adapter = testing::adapter(9);
        // Small, so that the differences see a nearly straight line.
        adapter.values.iter_mut().for_each(|value| *value *= 0.3);
        let mut network = Network::new(testing::model(), adapter.shape().clone(), 2).unwrap();
        let batch = batch();
        let mut gradients = vec![0.0; adapter.values.len()];
        let loss = network.gradients(&adapter, &batch, 1.0, &mut gradients);
        assert!((loss - network.loss(Some(&adapter), &batch)).abs() < 1e-4);
        gradcheck::compare(&adapter.values, &gradients, |values| {
            let moved = Adapter { values: values.to_vec(), ..adapter.clone() };
            network.loss(Some(&moved), &batch)
        });
    }

    #[test]
    fn batches_add_up_and_threads_change_nothing() {
        let adapter = testing::adapter(9);
        let whole = batch();
        let gradients = |threads: usize, parts: &[Batch]| {
            let mut network = Network::new(testing::model(), adapter.shape().clone(), threads).unwrap();
            let mut gradients = vec![0.0; adapter.values.len()];
            for part in parts {
                network.gradients(&adapter, part, 1.0, &mut gradients);
            }
            gradients
        };
        let part = |range: std::ops::Range<usize>| Batch {
            length: 6,
            tokens: whole.tokens[range.clone()].to_vec(),
            targets: whole.targets[range].to_vec(),
        };
        let once = gradients(2, std::slice::from_ref(&whole));
        assert_eq!(once, gradients(2, std::slice::from_ref(&whole)), "the same threads give the same bits");
        let twice = gradients(1, &[part(0..6), part(6..12)]);
        for (once, twice) in once.iter().zip(&twice) {
            assert!((once - twice).abs() < 1e-4 * (1.0 + once.abs()));
        }
    }

    #[test]
    fn a_fresh_adapter_is_the_base_model() {
        let fresh = Adapter::fresh(testing::adapter(1).shape().clone(), 5);
        let mut network = Network::new(testing::model(), fresh.shape().clone(), 1).unwrap();
        let tokens = batch().tokens;
        let with = network.logits(Some(&fresh), &tokens, 3..12);
        assert_eq!(with.len(), 9 * 20);
        assert_eq!(with, network.logits(None, &tokens, 3..12));
    }
}
