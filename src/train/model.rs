use std::{
    fs::File,
    io::{BufReader, Seek},
    path::Path,
};

use candle_core::{
    Device,
    quantized::gguf_file::{Content, TensorInfo},
};

use crate::{Error, LlamaConfig};

/// The frozen weights of a Llama model, dequantised to `f32` once.
///
/// Every matrix is row-major `[out, in]`; rows of queries and keys are in Hugging Face order (the
/// halves of a head rotate), not in GGUF's interleaved one. `qkv` and `gate_up` are stacked so that
/// one product computes what shares an input.
pub struct BaseModel {
    pub(crate) config: LlamaConfig,
    /// `[vocabulary, hidden]`
    pub(crate) embedding: Vec<f32>,
    /// `[vocabulary, hidden]`; `None` when it is tied to the embedding.
    pub(crate) head: Option<Vec<f32>>,
    pub(crate) final_norm: Vec<f32>,
    pub(crate) layers: Vec<Layer>,
}

pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    /// `[query + 2 · kv, hidden]`
    pub(crate) qkv: Vec<f32>,
    /// `[hidden, query]`
    pub(crate) output: Vec<f32>,
    pub(crate) feed_forward_norm: Vec<f32>,
    /// `[2 · feed_forward, hidden]`: gate, then up.
    pub(crate) gate_up: Vec<f32>,
    /// `[hidden, feed_forward]`
    pub(crate) down: Vec<f32>,
}

impl BaseModel {
    /// Reads a GGUF file of the Llama architecture.
    ///
    /// # Errors
    /// When the file cannot be read, is no GGUF, has another architecture, or uses a variant
    /// (experts, scaled rope, biases) that would be computed wrongly.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file =
            File::open(path).map_err(|source| Error::ReadModel { path: path.to_owned(), source: Box::new(source) })?;
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let content = Content::read(&mut reader)
            .map_err(|source| Error::ReadModel { path: path.to_owned(), source: Box::new(source) })?;
        let config = LlamaConfig::from_metadata(path, &content)?;
        refuse_extra_tensors(path, &content)?;
        let mut tensors = Tensors { path, content: &content, reader };
        let embedding = tensors.read("token_embd.weight", config.vocabulary * config.hidden)?;
        let head = if content.tensor_infos.contains_key("output.weight") {
            Some(tensors.read("output.weight", config.vocabulary * config.hidden)?)
        } else {
            None
        };
        let final_norm = tensors.read("output_norm.weight", config.hidden)?;
        let layers =
            (0..config.layers).map(|index| tensors.layer(index, &config)).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self { config, embedding, head, final_norm, layers })
    }

    /// Reads the head of the file and returns the model's shape; weights are only checked to be there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn inspect(path: &Path) -> Result<LlamaConfig, Error> {
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::ReadModel { path: path.to_owned(), source };
        let file = File::open(path).map_err(|error| failed(error.into()))?;
        let length_bytes = file.metadata().map_err(|error| failed(error.into()))?.len();
        let content = Content::read(&mut BufReader::new(file)).map_err(|error| failed(error.into()))?;
        let config = LlamaConfig::from_metadata(path, &content)?;
        refuse_extra_tensors(path, &content)?;
        let end = |info: &TensorInfo| {
            let blocks = info.shape.elem_count() / info.ggml_dtype.block_size();
            content.tensor_data_offset + info.offset + (blocks * info.ggml_dtype.type_size()) as u64
        };
        let needed_bytes = content.tensor_infos.values().map(end).max().unwrap_or(0);
        if needed_bytes > length_bytes {
            return Err(failed(format!("it has {length_bytes} bytes where {needed_bytes} are needed").into()));
        }
        Ok(config)
    }

    /// Returns the model's shape.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The matrix that turns the last hidden state into logits, `[vocabulary, hidden]`.
    pub(crate) fn head(&self) -> &[f32] {
        self.head.as_deref().unwrap_or(&self.embedding)
    }
}

/// A bias or a table of rope factors changes what the model computes; leaving it out would train
/// another model than the one that is served.
fn refuse_extra_tensors(path: &Path, content: &Content) -> Result<(), Error> {
    let extra =
        content.tensor_infos.keys().filter(|name| name.ends_with(".bias") || name.starts_with("rope_freqs")).min();
    match extra {
        Some(name) => {
            Err(Error::UnsupportedModel { path: path.to_owned(), reason: format!("it has a tensor `{name}`") })
        }
        None => Ok(()),
    }
}

struct Tensors<'a> {
    path: &'a Path,
    content: &'a Content,
    reader: BufReader<File>,
}

impl Tensors<'_> {
    fn read(&mut self, name: &str, elements: usize) -> Result<Vec<f32>, Error> {
        let failed =
            |source: candle_core::Error| Error::ReadModel { path: self.path.to_owned(), source: Box::new(source) };
        let shape = self.content.tensor_infos.get(name).map(|info| info.shape.elem_count());
        if shape != Some(elements) {
            return Err(Error::UnsupportedModel {
                path: self.path.to_owned(),
                reason: match shape {
                    Some(found) => {
                        format!("tensor `{name}` has {found} values where {elements} are expected")
                    }
                    None => format!("it has no tensor `{name}`"),
                },
            });
        }
        // A position left by the last tensor is useless to the next one.
        self.reader
            .rewind()
            .map_err(|source| Error::ReadModel { path: self.path.to_owned(), source: Box::new(source) })?;
        self.content
            .tensor(&mut self.reader, name, &Device::Cpu)
            .and_then(|tensor| tensor.dequantize(&Device::Cpu))
            .and_then(|tensor| tensor.flatten_all())
            .and_then(|tensor| tensor.to_vec1::<f32>())
            .map_err(failed)
    }

    fn layer(&mut self, index: usize, config: &LlamaConfig) -> Result<Layer, Error> {
        let hidden = config.hidden;
        let (query, kv) = (config.query_width(), config.kv_width());
        let mut part = |suffix: &str, elements: usize| self.read(&format!("blk.{index}.{suffix}.weight"), elements);
        let mut qkv = halves_from_interleaved(&part("attn_q", query * hidden)?, config.head_size, hidden);
        qkv.extend(halves_from_interleaved(&part("attn_k", kv * hidden)?, config.head_size, hidden));
        qkv.extend(part("attn_v", kv * hidden)?);
        let mut gate_up = part("ffn_gate", config.feed_forward * hidden)?;
        gate_up.extend(part("ffn_up", config.feed_forward * hidden)?);
        Ok(Layer {
            attention_norm: part("attn_norm", hidden)?,
            qkv,
            output: part("attn_output", hidden * query)?,
            feed_forward_norm: part("ffn_norm", hidden)?,
            gate_up,
            down: part("ffn_down", hidden * config.feed_forward)?,
        })
    }
}

/// Reorders rows from GGUF's interleaved rope, `(head, half, 2)`, to Hugging Face's, `(head, 2, half)`.
pub(crate) fn halves_from_interleaved(rows: &[f32], head_size: usize, width: usize) -> Vec<f32> {
    reorder(rows, head_size, width, |row, half| (row % half) * 2 + row / half)
}

/// The inverse of [`halves_from_interleaved`], for the GGUF twin of an adapter.
pub(crate) fn interleaved_from_halves(rows: &[f32], head_size: usize, width: usize) -> Vec<f32> {
    reorder(rows, head_size, width, |row, half| (row % 2) * half + row / 2)
}

fn reorder(rows: &[f32], head_size: usize, width: usize, source: impl Fn(usize, usize) -> usize) -> Vec<f32> {
    let mut reordered = Vec::with_capacity(rows.len());
    for head in rows.chunks_exact(head_size * width) {
        for row in 0..head_size {
            let from = source(row, head_size / 2) * width;
            reordered.extend_from_slice(&head[from..from + width]);
        }
    }
    reordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rope_orders_convert_both_ways() {
        // Two heads of four rows of one value: pairs (0,1), (2,3) interleaved.
        let interleaved = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0];
        let halves = halves_from_interleaved(&interleaved, 4, 1);
        assert_eq!(halves, [0.0, 2.0, 1.0, 3.0, 10.0, 12.0, 11.0, 13.0]);
        assert_eq!(interleaved_from_halves(&halves, 4, 1), interleaved);
    }

    #[test]
    fn a_file_that_is_no_model_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        std::fs::write(&path, b"GGUFnot really").unwrap();
        assert!(matches!(BaseModel::open(&path), Err(Error::ReadModel { .. })));
    }
}
