//! What several tests share: the real model's place, and small made-up shapes.

use std::{path::PathBuf, sync::Arc};

use base::{Digest, Layout};
use engine::ChatTokenizer;

use crate::{Adapter, AdapterShape, BaseModel, LlamaConfig, model::Layer, tests::gradcheck};

/// SmolLM2-135M-Instruct.Q4_1.gguf.
pub(crate) const MODEL: &str = "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// The chat model in this user's cache, or a failure that says how to get it.
pub(crate) fn model_file() -> PathBuf {
    let path = Layout::cached_model(&MODEL.parse::<Digest>().unwrap());
    assert!(path.is_file(), "the chat model is missing: run `0711 models fetch smollm2-135m-instruct`");
    path
}

pub(crate) fn tokenizer() -> ChatTokenizer {
    ChatTokenizer::open(&model_file()).unwrap()
}

pub(crate) fn config() -> LlamaConfig {
    LlamaConfig {
        layers: 2,
        hidden: 8,
        heads: 4,
        kv_heads: 2,
        head_size: 4,
        feed_forward: 12,
        vocabulary: 20,
        context: 64,
        rms_epsilon: 1e-5,
        rope_theta: 1000.0,
    }
}

/// An adapter without a zero in it.
pub(crate) fn adapter(seed: u64) -> Adapter {
    let shape = AdapterShape::new(&config(), 2, 4.0);
    let mut adapter = Adapter::zero(shape);
    adapter.values = gradcheck::values(adapter.values.len(), seed);
    adapter
}

/// A model of [`config`]'s shape with made-up weights.
pub(crate) fn model() -> Arc<BaseModel> {
    let config = config();
    let mut seed = 100;
    let mut matrix = |rows: usize, columns: usize| {
        seed += 1;
        let scale = 1.0 / (columns as f32).sqrt();
        gradcheck::values(rows * columns, seed).into_iter().map(|value| value * scale).collect::<Vec<f32>>()
    };
    let (hidden, feed) = (config.hidden, config.feed_forward);
    let layers = (0..config.layers)
        .map(|_| Layer {
            attention_norm: vec![1.0; hidden],
            qkv: matrix(config.query_width() + 2 * config.kv_width(), hidden),
            output: matrix(hidden, config.query_width()),
            feed_forward_norm: vec![1.0; hidden],
            gate_up: matrix(2 * feed, hidden),
            down: matrix(hidden, feed),
        })
        .collect();
    let embedding = matrix(config.vocabulary, hidden).into_iter().map(|value| value * 3.0).collect();
    Arc::new(BaseModel { embedding, head: None, final_norm: vec![1.0; hidden], layers, config })
}
