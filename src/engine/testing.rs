//! What the tests of this room share: the real models, and an adapter file made on the spot.

use std::path::{Path, PathBuf};

use base::{Digest, Layout};

const EMBED_MODEL: &str = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f";
const CHAT_MODEL: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// Returns the embedding model's file.
pub(crate) fn embed_model() -> PathBuf {
    cached(EMBED_MODEL, "multilingual-e5-small")
}

/// Returns the chat model's file.
pub(crate) fn chat_model() -> PathBuf {
    cached(CHAT_MODEL, "smollm2-135m-instruct")
}

fn cached(digest: &str, name: &str) -> PathBuf {
    let path = Layout::cached_model(&digest.parse::<Digest>().unwrap());
    assert!(
        path.is_file(),
        "the model {name} is not in the cache: run `0711 models fetch {name}`, then the tests again"
    );
    path
}

/// Writes an adapter for SmolLM2-135M, of rank 1 on one layer's output projection, that changes what the model says.
pub(crate) fn write_adapter(path: &Path) {
    const HIDDEN: usize = 576;
    fn text(out: &mut Vec<u8>, value: &str) {
        out.extend((value.len() as u64).to_le_bytes());
        out.extend(value.as_bytes());
    }
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend(2_u64.to_le_bytes());
    out.extend(4_u64.to_le_bytes());
    for (key, value) in [("general.type", "adapter"), ("general.architecture", "llama"), ("adapter.type", "lora")] {
        text(&mut out, key);
        out.extend(8_u32.to_le_bytes());
        text(&mut out, value);
    }
    text(&mut out, "adapter.lora.alpha");
    out.extend(6_u32.to_le_bytes());
    out.extend(1_f32.to_le_bytes());
    let tensors = [("blk.5.attn_output.weight.lora_a", [HIDDEN, 1]), ("blk.5.attn_output.weight.lora_b", [1, HIDDEN])];
    for (index, (name, sizes)) in tensors.iter().enumerate() {
        text(&mut out, name);
        out.extend(2_u32.to_le_bytes());
        sizes.iter().for_each(|size| out.extend((*size as u64).to_le_bytes()));
        out.extend(0_u32.to_le_bytes());
        out.extend(((index * HIDDEN * 4) as u64).to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32), 0);
    for index in 0..2 * HIDDEN {
        out.extend(((index as f32 * 0.7).sin() * 0.8).to_le_bytes());
    }
    std::fs::write(path, out).unwrap();
}
