//! The encoder: BERT with post-norm, exact GELU and positions from 0, over rows packed without padding.
//!
//! What is done token by token sees all texts of a batch as one matrix, some hundred rows at a time, so that what lies between two products
//! stays in a core's cache; its products are of whole numbers ([`super::linear`]). Attention runs text by text, in f32 ([`super::attention`]).
//! The word embeddings, three quarters of the file, stay in blocks and only the rows a batch needs are dequantised.

use rayon::prelude::*;

use super::{
    attention::Attention,
    file::{BLOCK, BLOCK_BYTES, ModelFile, Shape, dequantise},
    linear::{self, Linear, Rounded},
    math::{Norm, gelu_rows, normalise},
};
use crate::Error;

pub(crate) struct Encoder {
    shape: Shape,
    words: Vec<u8>,
    /// Position embeddings with the first token type's embedding already added.
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    qkv: Linear,
    attended: Linear,
    attended_norm: Norm,
    widen: Linear,
    narrow: Linear,
    output_norm: Norm,
}

/// Token ids of several texts, one after the other; text `i` is `starts[i]..starts[i + 1]`.
pub(crate) struct Packed {
    ids: Vec<u32>,
    starts: Vec<usize>,
}

impl Packed {
    /// Packs the texts' ids, each with its marks.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut packed = Self { ids: Vec::new(), starts: vec![0] };
        for text in texts {
            packed.ids.extend_from_slice(text);
            packed.starts.push(packed.ids.len());
        }
        packed
    }
}

impl Encoder {
    pub fn read(file: &mut ModelFile) -> Result<Self, Error> {
        let shape = file.shape;
        let hidden = shape.hidden;
        let words = file.blocks("emb.word", shape.vocabulary * hidden)?;
        let mut positions = file.floats("emb.pos", shape.positions * hidden)?;
        let types = file.floats("emb.type", shape.token_types * hidden)?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(value, kind)| *value += kind);
        }
        let norm = read_norm(file, "emb.ln")?;
        let layers = (0..shape.layers).map(|index| Layer::read(file, index)).collect::<Result<_, _>>()?;
        Ok(Self { shape, words, positions, norm, layers })
    }

    /// Returns the width of a vector.
    pub fn dimension(&self) -> usize {
        self.shape.hidden
    }

    /// Returns the most tokens a text may have, marks included.
    pub fn positions(&self) -> usize {
        self.shape.positions
    }

    /// Returns one vector of length 1 per text: the mean of its last hidden states, normalised.
    ///
    /// Every text must have 1 to [`Self::positions`] ids below the vocabulary; [`super::Tokenizer::encode`] makes such.
    /// The work is spread over the threads of the pool this runs in when `parallel`.
    pub fn encode(&self, batch: &Packed, parallel: bool) -> Vec<Vec<f32>> {
        let tokens = batch.ids.len();
        let hidden = self.shape.hidden;
        let mut rows = self.embed(batch);
        let mut qkv = vec![0.0; tokens * 3 * hidden];
        let mut context = vec![0.0; tokens * hidden];
        let group = match parallel {
            true => tokens.div_ceil(rayon::current_num_threads()).next_multiple_of(linear::ROWS).min(GROUP),
            false => GROUP,
        };
        let mut scratch = Scratch::default();
        let mut attention = Attention::new(hidden / self.shape.heads);
        for layer in &self.layers {
            let parts = rows.par_chunks(group * hidden).zip(qkv.par_chunks_mut(group * 3 * hidden));
            match parallel {
                true => parts.for_each_init(Scratch::default, |scratch, (rows, qkv)| layer.project(rows, qkv, scratch)),
                false => (rows.chunks(group * hidden).zip(qkv.chunks_mut(group * 3 * hidden)))
                    .for_each(|(rows, qkv)| layer.project(rows, qkv, &mut scratch)),
            }
            for pair in batch.starts.windows(2) {
                let qkv = &qkv[pair[0] * 3 * hidden..pair[1] * 3 * hidden];
                attention.attend(qkv, &mut context[pair[0] * hidden..pair[1] * hidden], hidden);
            }
            let parts = rows.par_chunks_mut(group * hidden).zip(context.par_chunks(group * hidden));
            match parallel {
                true => {
                    parts.for_each_init(Scratch::default, |scratch, (rows, context)| layer.feed(rows, context, scratch))
                }
                false => (rows.chunks_mut(group * hidden).zip(context.chunks(group * hidden)))
                    .for_each(|(rows, context)| layer.feed(rows, context, &mut scratch)),
            }
        }
        batch.starts.windows(2).map(|pair| mean(&rows[pair[0] * hidden..pair[1] * hidden], hidden)).collect()
    }

    fn embed(&self, batch: &Packed) -> Vec<f32> {
        let hidden = self.shape.hidden;
        let row_bytes = hidden / BLOCK * BLOCK_BYTES;
        let mut rows = vec![0.0; batch.ids.len() * hidden];
        for pair in batch.starts.windows(2) {
            for (position, token) in (pair[0]..pair[1]).enumerate() {
                let row = &mut rows[token * hidden..(token + 1) * hidden];
                let word = batch.ids[token] as usize * row_bytes;
                dequantise(&self.words[word..word + row_bytes], row);
                let place = &self.positions[position * hidden..(position + 1) * hidden];
                row.iter_mut().zip(place).for_each(|(value, place)| *value += place);
            }
        }
        self.norm.apply(&mut rows);
        rows
    }
}

/// Rows that go through what is done token by token together: the widest there is of them stays in a core's own cache.
const GROUP: usize = 128;

/// Memory that is used again from group to group and layer to layer.
#[derive(Default)]
struct Scratch {
    rounded: Rounded,
    added: Vec<f32>,
    middle: Vec<f32>,
}

impl Layer {
    fn read(file: &mut ModelFile, index: usize) -> Result<Self, Error> {
        let (hidden, wide) = (file.shape.hidden, file.shape.feed_forward);
        let name = |part: &str| format!("l{index}.{part}");
        let mut read = |parts: &[&str], outputs, inputs| {
            Linear::read(file, &parts.iter().map(|part| name(part)).collect::<Vec<_>>(), outputs, inputs)
        };
        let qkv = read(&["q", "k", "v"], hidden, hidden)?;
        let attended = read(&["ao"], hidden, hidden)?;
        let widen = read(&["fi"], wide, hidden)?;
        let narrow = read(&["fo"], hidden, wide)?;
        Ok(Self {
            qkv,
            attended,
            widen,
            narrow,
            attended_norm: read_norm(file, &name("aln"))?,
            output_norm: read_norm(file, &name("oln"))?,
        })
    }

    /// Writes queries, keys and values of some rows.
    fn project(&self, rows: &[f32], qkv: &mut [f32], scratch: &mut Scratch) {
        scratch.rounded.round(rows, self.attended_norm.width());
        self.qkv.multiply(&scratch.rounded, qkv);
    }

    /// Brings what some rows attended to into them, and takes them through the feed-forward part.
    fn feed(&self, rows: &mut [f32], context: &[f32], scratch: &mut Scratch) {
        match super::kernel::has_wide_registers() {
            // SAFETY: the processor has the instructions.
            true => unsafe { self.feed_wide(rows, context, scratch) },
            false => self.feed_plain(rows, context, scratch),
        }
    }

    /// As [`Self::feed_plain`], compiled for registers of 16 values.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn feed_wide(&self, rows: &mut [f32], context: &[f32], scratch: &mut Scratch) {
        self.feed_plain(rows, context, scratch);
    }

    #[inline(always)]
    fn feed_plain(&self, rows: &mut [f32], context: &[f32], scratch: &mut Scratch) {
        let Scratch { rounded, added, middle } = scratch;
        let hidden = self.attended_norm.width();
        let wide = self.widen.outputs();
        added.resize(rows.len(), 0.0);
        middle.resize(rows.len() / hidden * wide, 0.0);
        rounded.round(context, hidden);
        self.attended.multiply(rounded, added);
        self.attended_norm.apply_residual(rows, added);
        rounded.round(rows, hidden);
        self.widen.multiply(rounded, middle);
        gelu_rows(middle);
        rounded.round(middle, wide);
        self.narrow.multiply(rounded, added);
        self.output_norm.apply_residual(rows, added);
    }
}

fn read_norm(file: &mut ModelFile, name: &str) -> Result<Norm, Error> {
    let (hidden, epsilon) = (file.shape.hidden, file.shape.epsilon);
    let weight = file.floats(&format!("{name}.w"), hidden)?;
    let bias = file.floats(&format!("{name}.b"), hidden)?;
    Ok(Norm { weight, bias, epsilon })
}

fn mean(rows: &[f32], width: usize) -> Vec<f32> {
    let mut vector = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    normalise(&mut vector);
    vector
}
