//! The adapter as a PEFT directory: `adapter_config.json` and `adapter_model.safetensors`, in `f32`.

use std::{collections::HashMap, path::Path};

use base::file;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::json;

use crate::{Adapter, AdapterShape, Error, Projection, adapter::Slot};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Rank 64 on the largest Llama that fits a CPU stays below this.
const LARGEST: u64 = 1 << 30;

/// Writes both files into an existing folder.
pub(crate) fn write(adapter: &Adapter, base_name: &str, dir: &Path) -> Result<(), Error> {
    let shape = adapter.shape();
    let modules: Vec<&str> = Projection::ALL.iter().map(|projection| projection.module()).collect();
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "lora_dropout": 0.0,
        "target_modules": modules,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "modules_to_save": null,
        "use_dora": false,
        "use_rslora": false,
    });
    let named: Vec<(String, Slot, Vec<u8>)> = slots(shape)
        .into_iter()
        .map(|(name, slot)| {
            let bytes = adapter.values[slot.range()].iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, slot, bytes)
        })
        .collect();
    let path = dir.join(WEIGHTS);
    let mut views = Vec::with_capacity(named.len());
    for (name, slot, bytes) in &named {
        let view = TensorView::new(Dtype::F32, vec![slot.rows, slot.columns], bytes);
        views.push((
            name.as_str(),
            view.map_err(|source| Error::Malformed { path: path.clone(), source: source.into() })?,
        ));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let weights = safetensors::serialize(views.iter().map(|(name, view)| (*name, view)), Some(metadata))
        .map_err(|source| Error::Malformed { path: path.clone(), source: source.into() })?;
    file::write_atomic(&path, &weights, 0o600).map_err(|source| Error::Write { path, source })?;
    let path = dir.join(CONFIG);
    let text = format!("{config:#}\n");
    file::write_atomic(&path, text.as_bytes(), 0o600).map_err(|source| Error::Write { path, source })
}

/// Reads the weights back, for an adapter of exactly this shape.
pub(crate) fn read(shape: &AdapterShape, dir: &Path) -> Result<Adapter, Error> {
    let path = dir.join(WEIGHTS);
    let bytes = file::read_bounded(&path, LARGEST)?;
    let malformed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Malformed { path: path.clone(), source };
    let tensors = SafeTensors::deserialize(&bytes).map_err(|source| malformed(source.into()))?;
    let mut adapter = Adapter::zero(shape.clone());
    for (name, slot) in slots(shape) {
        let view = tensors.tensor(&name).map_err(|source| malformed(source.into()))?;
        if view.dtype() != Dtype::F32 || view.shape() != [slot.rows, slot.columns] {
            return Err(malformed(format!("tensor `{name}` is not f32 of {} × {}", slot.rows, slot.columns).into()));
        }
        for (value, bytes) in adapter.values[slot.range()].iter_mut().zip(view.data().as_chunks::<4>().0) {
            *value = f32::from_le_bytes(*bytes);
        }
    }
    Ok(adapter)
}

/// Every matrix by its name in PEFT.
fn slots(shape: &AdapterShape) -> Vec<(String, Slot)> {
    let mut slots = Vec::new();
    for layer in 0..shape.layers() {
        for projection in Projection::ALL {
            let module = format!("base_model.model.model.layers.{layer}.self_attn.{}", projection.module());
            slots.push((format!("{module}.lora_A.weight"), shape.a(layer, projection)));
            slots.push((format!("{module}.lora_B.weight"), shape.b(layer, projection)));
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::testing;

    #[test]
    fn a_written_adapter_reads_back_bit_by_bit() {
        let dir = tempfile::tempdir().unwrap();
        let adapter = testing::adapter(3);
        write(&adapter, "base", dir.path()).unwrap();
        assert_eq!(read(adapter.shape(), dir.path()).unwrap(), adapter);
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.path().join(CONFIG)).unwrap()).unwrap();
        assert_eq!(config["r"], 2);
        assert_eq!(config["target_modules"][3], "o_proj");
        let other = AdapterShape::new(&testing::config(), 1, 4.0);
        assert!(matches!(read(&other, dir.path()), Err(Error::Malformed { .. })));
    }
}
