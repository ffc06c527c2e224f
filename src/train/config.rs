use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};

use crate::Error;

/// The shape of a Llama model, as its GGUF metadata gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    /// The longest sequence the model was made for, in tokens.
    pub context: usize,
    pub rms_epsilon: f32,
    pub rope_theta: f32,
}

impl LlamaConfig {
    /// Width of the queries of one token, all heads.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_size
    }

    /// Width of the keys (or the values) of one token, all heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_size
    }

    /// Width of queries, keys and values beside each other.
    pub(crate) fn qkv_width(&self) -> usize {
        self.query_width() + 2 * self.kv_width()
    }

    /// Reads the shape, refusing everything this trainer would silently compute wrongly.
    pub(crate) fn from_metadata(path: &Path, content: &Content) -> Result<Self, Error> {
        let read = Metadata { path, content };
        let architecture = read.text("general.architecture")?;
        if architecture != "llama" {
            return Err(read.unsupported(format!("its architecture is `{architecture}`; only `llama` can be trained")));
        }
        if read.optional_number("llama.expert_count")?.unwrap_or(0) > 0 {
            return Err(read.unsupported("it is a mixture of experts".to_owned()));
        }
        if let Some(Value::String(scaling)) = content.metadata.get("llama.rope.scaling.type")
            && scaling != "none"
        {
            return Err(read.unsupported(format!("its rope is scaled (`{scaling}`)")));
        }
        let hidden = read.number("llama.embedding_length")?;
        let heads = read.number("llama.attention.head_count")?;
        let kv_heads = read.optional_number("llama.attention.head_count_kv")?.unwrap_or(heads);
        if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(read.unsupported(format!("{heads} query heads cannot share {kv_heads} key heads")));
        }
        let head_size = match read.optional_number("llama.attention.key_length")? {
            Some(size) => size,
            None => hidden / heads,
        };
        let rotated = read.optional_number("llama.rope.dimension_count")?.unwrap_or(head_size);
        if rotated != head_size || head_size == 0 || !head_size.is_multiple_of(2) {
            return Err(read.unsupported(format!("rope turns {rotated} of {head_size} values of a head")));
        }
        let embedding = content
            .tensor_infos
            .get("token_embd.weight")
            .ok_or_else(|| read.unsupported("it has no token embedding".to_owned()))?;
        let vocabulary = embedding.shape.dims().first().copied().unwrap_or(0);
        let config = Self {
            layers: read.number("llama.block_count")?,
            hidden,
            heads,
            kv_heads,
            head_size,
            feed_forward: read.number("llama.feed_forward_length")?,
            vocabulary,
            context: read.number("llama.context_length")?,
            rms_epsilon: read.float("llama.attention.layer_norm_rms_epsilon")?,
            rope_theta: read.optional_float("llama.rope.freq_base")?.unwrap_or(10_000.0),
        };
        if config.layers == 0 || config.vocabulary == 0 || config.context < 2 {
            return Err(read.unsupported("its metadata describes an empty model".to_owned()));
        }
        Ok(config)
    }
}

struct Metadata<'a> {
    path: &'a Path,
    content: &'a Content,
}

impl Metadata<'_> {
    fn unsupported(&self, reason: String) -> Error {
        Error::UnsupportedModel { path: self.path.to_owned(), reason }
    }

    fn missing(&self, key: &str) -> Error {
        self.unsupported(format!("its metadata lacks a usable `{key}`"))
    }

    fn text(&self, key: &str) -> Result<&str, Error> {
        match self.content.metadata.get(key) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(self.missing(key)),
        }
    }

    fn optional_number(&self, key: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.content.metadata.get(key) else {
            return Ok(None);
        };
        let number = match value {
            Value::I32(number) => u64::try_from(*number).ok(),
            other => other.to_u64().ok(),
        };
        // A bound far above any real model keeps products of these numbers from overflowing.
        match number {
            Some(number) if number <= 1 << 24 => Ok(usize::try_from(number).ok()),
            _ => Err(self.missing(key)),
        }
    }

    fn number(&self, key: &str) -> Result<usize, Error> {
        self.optional_number(key)?.ok_or_else(|| self.missing(key))
    }

    fn optional_float(&self, key: &str) -> Result<Option<f32>, Error> {
        match self.content.metadata.get(key) {
            None => Ok(None),
            Some(Value::F32(number)) if number.is_finite() && *number > 0.0 => Ok(Some(*number)),
            Some(_) => Err(self.missing(key)),
        }
    }

    fn float(&self, key: &str) -> Result<f32, Error> {
        self.optional_float(key)?.ok_or_else(|| self.missing(key))
    }
}
