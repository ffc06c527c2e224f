//! The encoder: BERT with post-norm, exact GELU and positions from 0, over rows packed without padding.
//!
//! Token-wise products see all texts of a batch as one matrix, in whole numbers ([`super::linear`]); attention runs text by text, in f32.
//! The word embeddings, three quarters of the file, stay in blocks and only the rows a batch needs are dequantised.

use gemm::Parallelism;

use super::{
    file::{BLOCK, BLOCK_BYTES, ModelFile, Shape, dequantise},
    linear::{Linear, Rounded},
    math::{Norm, gelu_rows, normalise, softmax},
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
    /// The products are spread over the threads of the pool this runs in when `parallel`.
    pub fn encode(&self, batch: &Packed, parallel: bool) -> Vec<Vec<f32>> {
        let tokens = batch.ids.len();
        let (hidden, wide) = (self.shape.hidden, self.shape.feed_forward);
        let mut rows = self.embed(batch);
        let mut qkv = vec![0.0; tokens * 3 * hidden];
        let mut context = vec![0.0; tokens * hidden];
        let mut added = vec![0.0; tokens * hidden];
        let mut middle = vec![0.0; tokens * wide];
        let mut rounded = Rounded::default();
        let mut product = |linear: &Linear, x: &[f32], y: &mut [f32]| {
            rounded.round(x, x.len() / tokens.max(1));
            linear.multiply(&rounded, y, parallel);
        };
        for layer in &self.layers {
            product(&layer.qkv, &rows, &mut qkv);
            self.attend(batch, &qkv, &mut context);
            product(&layer.attended, &context, &mut added);
            layer.attended_norm.apply_residual(&mut rows, &added);
            product(&layer.widen, &rows, &mut middle);
            gelu_rows(&mut middle);
            product(&layer.narrow, &middle, &mut added);
            layer.output_norm.apply_residual(&mut rows, &added);
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

    /// Scaled dot-product attention of every text over its own tokens, head by head.
    fn attend(&self, batch: &Packed, qkv: &[f32], context: &mut [f32]) {
        let hidden = self.shape.hidden;
        let size = hidden / self.shape.heads;
        let scale = 1.0 / (size as f32).sqrt();
        let longest = batch.starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        let mut scores = vec![0.0; longest * longest];
        for pair in batch.starts.windows(2) {
            let length = pair[1] - pair[0];
            let scores = &mut scores[..length * length];
            let text = &qkv[pair[0] * 3 * hidden..pair[1] * 3 * hidden];
            let output = &mut context[pair[0] * hidden..pair[1] * hidden];
            for head in 0..self.shape.heads {
                let query = Matrix { values: &text[head * size..], rows: length, columns: size, stride: 3 * hidden };
                let key = Matrix { values: &text[hidden + head * size..], ..query };
                let value = Matrix { values: &text[2 * hidden + head * size..], ..query };
                product(query, key, true, scores, length);
                scores.chunks_exact_mut(length).for_each(|row| softmax(row, scale));
                let weights = Matrix { values: scores, rows: length, columns: length, stride: length };
                product(weights, value, false, &mut output[head * size..], hidden);
            }
        }
    }
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

/// A view of a matrix whose rows lie `stride` values apart.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl Matrix<'_> {
    fn reach(&self) -> usize {
        (self.rows.max(1) - 1) * self.stride + self.columns
    }
}

/// Writes `a b`, or `a bᵀ` when `transposed`, to `output`, whose rows lie `output_stride` values apart.
fn product(a: Matrix<'_>, b: Matrix<'_>, transposed: bool, output: &mut [f32], output_stride: usize) {
    let (inner, columns) = if transposed { (b.columns, b.rows) } else { (b.rows, b.columns) };
    let (b_column, b_row) = if transposed { (b.stride, 1) } else { (1, b.stride) };
    assert_eq!(a.columns, inner, "a product's inner sizes must agree");
    assert!(a.values.len() >= a.reach() && b.values.len() >= b.reach(), "a product must read inside its factors");
    let written = (a.rows.max(1) - 1) * output_stride + columns;
    assert!(output.len() >= written && output_stride >= columns, "a product must write inside its output");
    // SAFETY: the assertions above keep every address gemm forms from these sizes and strides inside the three slices;
    // `output` is borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            a.rows,
            columns,
            inner,
            output.as_mut_ptr(),
            1,
            output_stride as isize,
            false,
            a.values.as_ptr(),
            1,
            a.stride as isize,
            b.values.as_ptr(),
            b_column as isize,
            b_row as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
