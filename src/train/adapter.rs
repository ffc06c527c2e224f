use std::ops::Range;

use crate::{LlamaConfig, random::Random};

/// The four attention projections an adapter changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    Query,
    Key,
    Value,
    Output,
}

impl Projection {
    /// All of them, in the order of a layer's parameters.
    pub const ALL: [Self; 4] = [Self::Query, Self::Key, Self::Value, Self::Output];

    /// Its module's name in Hugging Face's Llama.
    pub const fn module(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
        }
    }

    /// Its tensor's name in GGUF.
    pub const fn gguf(self) -> &'static str {
        match self {
            Self::Query => "attn_q",
            Self::Key => "attn_k",
            Self::Value => "attn_v",
            Self::Output => "attn_output",
        }
    }
}

/// Rank, scale and sizes of a LoRA adapter: y = W·x + (alpha / rank) · B·(A·x).
///
/// All parameters are one vector. Per layer: A of query, key and value stacked (they share their
/// input, so one product serves all three), B of query, key and value, A and B of the output.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterShape {
    pub rank: usize,
    pub alpha: f32,
    layers: usize,
    hidden: usize,
    query: usize,
    kv: usize,
}

/// One matrix inside the parameter vector, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) start: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Slot {
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.start + self.rows * self.columns
    }
}

impl AdapterShape {
    /// The shape of an adapter for a model.
    pub fn new(config: &LlamaConfig, rank: usize, alpha: f32) -> Self {
        Self {
            rank,
            alpha,
            layers: config.layers,
            hidden: config.hidden,
            query: config.query_width(),
            kv: config.kv_width(),
        }
    }

    /// Returns alpha / rank.
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }

    /// Returns how many parameters there are.
    pub fn parameters(&self) -> usize {
        self.layers * self.per_layer()
    }

    pub(crate) fn layers(&self) -> usize {
        self.layers
    }

    fn per_layer(&self) -> usize {
        // A: q, k, v from hidden, o from query; B: to query, kv, kv, hidden.
        self.rank * (4 * self.hidden + 2 * self.query + 2 * self.kv)
    }

    /// Rows of the weight that a projection's B adds to.
    fn out(&self, projection: Projection) -> usize {
        match projection {
            Projection::Query => self.query,
            Projection::Key | Projection::Value => self.kv,
            Projection::Output => self.hidden,
        }
    }

    /// A of query, key and value, `[3 · rank, hidden]`.
    pub(crate) fn stacked_a(&self, layer: usize) -> Slot {
        Slot { start: layer * self.per_layer(), rows: 3 * self.rank, columns: self.hidden }
    }

    /// A of one projection, `[rank, in]`.
    pub(crate) fn a(&self, layer: usize, projection: Projection) -> Slot {
        let start = layer * self.per_layer();
        let index = projection as usize;
        let (start, columns) = match projection {
            Projection::Output => (start + self.b_start(3), self.query),
            _ => (start + index * self.rank * self.hidden, self.hidden),
        };
        Slot { start, rows: self.rank, columns }
    }

    /// B of one projection, `[out, rank]`.
    pub(crate) fn b(&self, layer: usize, projection: Projection) -> Slot {
        let skip_a = match projection {
            Projection::Output => self.rank * self.query,
            _ => 0,
        };
        Slot {
            start: layer * self.per_layer() + self.b_start(projection as usize) + skip_a,
            rows: self.out(projection),
            columns: self.rank,
        }
    }

    /// Where the B of the `index`-th projection begins, counted from the layer's first parameter.
    fn b_start(&self, index: usize) -> usize {
        let before: usize = Projection::ALL[..index].iter().map(|&projection| self.out(projection)).sum();
        self.rank * (3 * self.hidden + before)
    }
}

/// The trained part of a version: the parameters of all layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    pub(crate) shape: AdapterShape,
    pub(crate) values: Vec<f32>,
}

impl Adapter {
    /// A fresh adapter that changes nothing: B is zero, A uniform in ±1/√in (Kaiming with a = √5, as in PEFT).
    pub fn fresh(shape: AdapterShape, seed: u64) -> Self {
        let mut adapter = Self::zero(shape);
        let mut random = Random::new(seed);
        for layer in 0..adapter.shape.layers {
            for projection in Projection::ALL {
                let slot = adapter.shape.a(layer, projection);
                let bound = 1.0 / (slot.columns as f32).sqrt();
                for value in &mut adapter.values[slot.range()] {
                    *value = random.uniform(-bound, bound);
                }
            }
        }
        adapter
    }

    /// All parameters zero.
    pub(crate) fn zero(shape: AdapterShape) -> Self {
        let values = vec![0.0; shape.parameters()];
        Self { shape, values }
    }

    /// Returns the adapter's shape.
    pub fn shape(&self) -> &AdapterShape {
        &self.shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> AdapterShape {
        AdapterShape { rank: 2, alpha: 4.0, layers: 3, hidden: 6, query: 8, kv: 4 }
    }

    #[test]
    fn the_slots_tile_the_vector() {
        let shape = shape();
        let mut ranges: Vec<_> = (0..3)
            .flat_map(|layer| {
                let shape = &shape;
                Projection::ALL.into_iter().flat_map(move |p| [shape.a(layer, p).range(), shape.b(layer, p).range()])
            })
            .collect();
        ranges.sort_by_key(|range| range.start);
        let mut end = 0;
        for range in ranges {
            assert_eq!(range.start, end);
            end = range.end;
        }
        assert_eq!(end, shape.parameters());
        let stacked = shape.stacked_a(1).range();
        assert_eq!(stacked.start, shape.a(1, Projection::Query).start);
        assert_eq!(stacked.end, shape.a(1, Projection::Value).range().end);
    }

    #[test]
    fn a_fresh_adapter_has_zero_b_and_bounded_a() {
        let adapter = Adapter::fresh(shape(), 1);
        for projection in Projection::ALL {
            let b = shape().b(2, projection).range();
            assert!(adapter.values[b].iter().all(|&value| value == 0.0));
            let a = shape().a(2, projection);
            let bound = 1.0 / (a.columns as f32).sqrt();
            let values = &adapter.values[a.range()];
            assert!(values.iter().all(|value| value.abs() <= bound));
            assert!(values.iter().any(|value| *value != 0.0));
        }
    }
}
