//! The adapter as one GGUF file, as llama.cpp loads it (its `src/llama-adapter.cpp` is the definition).
//!
//! `A` keeps its shape, `[rank, in]`; `B` is `[out, rank]`, and the rows of queries and keys go back
//! into the interleaved order of rope in which GGUF keeps the base weights.

use std::{io::Cursor, path::Path};

use base::file;
use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor, gguf_file, gguf_file::Value},
};

use crate::{Adapter, Error, LlamaConfig, Projection, model::interleaved_from_halves};

/// The twin's file name beside the PEFT files.
pub(crate) const FILE: &str = "adapter.gguf";

/// Writes the twin into an existing folder.
pub(crate) fn write(adapter: &Adapter, config: &LlamaConfig, version: &str, dir: &Path) -> Result<(), Error> {
    let path = dir.join(FILE);
    let bytes = encode(adapter, config, version)
        .map_err(|source| Error::Malformed { path: path.clone(), source: source.into() })?;
    file::write_atomic(&path, &bytes, 0o600).map_err(|source| Error::Write { path, source })
}

fn encode(adapter: &Adapter, config: &LlamaConfig, version: &str) -> candle_core::Result<Vec<u8>> {
    let shape = adapter.shape();
    let mut tensors = Vec::new();
    for layer in 0..shape.layers() {
        for projection in Projection::ALL {
            let (a, b) = (shape.a(layer, projection), shape.b(layer, projection));
            let b_values = &adapter.values[b.range()];
            let b_values = match projection {
                Projection::Query | Projection::Key => interleaved_from_halves(b_values, config.head_size, b.columns),
                Projection::Value | Projection::Output => b_values.to_vec(),
            };
            let name = format!("blk.{layer}.{}.weight", projection.gguf());
            let a_values = adapter.values[a.range()].to_vec();
            for (suffix, values, rows, columns) in
                [("lora_a", a_values, a.rows, a.columns), ("lora_b", b_values, b.rows, b.columns)]
            {
                let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?;
                tensors.push((format!("{name}.{suffix}"), QTensor::quantize(&tensor, GgmlDType::F32)?));
            }
        }
    }
    let text = |text: &str| Value::String(text.to_owned());
    let metadata = [
        ("general.architecture", text("llama")),
        ("general.type", text("adapter")),
        ("general.name", text(version)),
        ("adapter.type", text("lora")),
        ("adapter.lora.alpha", Value::F32(shape.alpha)),
    ];
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut bytes = Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &metadata, &tensors)?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::testing;

    #[test]
    fn the_twin_holds_the_keys_names_and_row_order_llama_cpp_wants() {
        let (adapter, config) = (testing::adapter(3), testing::config());
        let bytes = encode(&adapter, &config, "v7").unwrap();
        let mut reader = Cursor::new(bytes);
        let content = gguf_file::Content::read(&mut reader).unwrap();
        assert_eq!(content.metadata["general.type"].to_string().unwrap(), "adapter");
        assert_eq!(content.metadata["adapter.type"].to_string().unwrap(), "lora");
        assert_eq!(content.metadata["adapter.lora.alpha"].to_f32().unwrap(), adapter.shape().alpha);
        assert_eq!(content.tensor_infos.len(), config.layers * 8);
        let mut read = |name: &str| {
            let tensor = content.tensor(&mut reader, name, &Device::Cpu).unwrap();
            tensor.dequantize(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap()
        };
        let b = adapter.shape().b(1, Projection::Key);
        let rows: Vec<Vec<f32>> = adapter.values[b.range()].chunks(b.columns).map(<[f32]>::to_vec).collect();
        let twin = read("blk.1.attn_k.weight.lora_b");
        // Head size 4: rows 0, 2, 1, 3 of each head.
        assert_eq!(twin[..4], [&rows[0], &rows[2], &rows[1], &rows[3]].map(Clone::clone));
        let b = adapter.shape().b(1, Projection::Value);
        assert_eq!(read("blk.1.attn_v.weight.lora_b").concat(), adapter.values[b.range()]);
        let a = adapter.shape().a(0, Projection::Output);
        assert_eq!(read("blk.0.attn_output.weight.lora_a").concat(), adapter.values[a.range()]);
    }
}
