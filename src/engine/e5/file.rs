//! Reading the `E5S1` file: little-endian header, tokenizer tables, tensor directory, tensors of f32 or of ggml's Q4_0 blocks.
//!
//! The file is untrusted until read: every count is checked against what is left of the file before memory is taken for it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use crate::Error;

/// Weights per Q4_0 block, and the bytes of one: an f16 scale and 32 nibbles.
pub(crate) const BLOCK: usize = 32;
pub(crate) const BLOCK_BYTES: usize = 18;

const MAX_WIDTH: usize = 4096;
const MAX_LAYERS: usize = 64;
const MAX_PIECES: usize = 4_000_000;
const MAX_TENSORS: usize = 4096;

/// The sizes of the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    pub positions: usize,
    pub token_types: usize,
    pub epsilon: f32,
}

/// The tokenizer's tables as the file holds them.
pub(crate) struct PieceTables {
    pub bos: u32,
    pub eos: u32,
    pub pad: u32,
    pub unknown: u32,
    /// `offsets[i]..offsets[i + 1]` is piece `i` in `blob`; ascending and inside it.
    pub offsets: Vec<u32>,
    pub scores: Vec<f32>,
    pub blob: Vec<u8>,
    /// What a code point becomes, where it does not stay itself.
    pub replacements: HashMap<char, Vec<char>>,
}

struct Tensor {
    quantised: bool,
    elements: usize,
    offset: u64,
}

/// An open file whose header, tokenizer and directory are read and checked.
pub(crate) struct ModelFile {
    path: PathBuf,
    reader: BufReader<File>,
    length: u64,
    position: u64,
    pub shape: Shape,
    tensors: HashMap<String, Tensor>,
}

impl ModelFile {
    /// Opens the file and reads everything before the tensors.
    pub fn open(path: &Path) -> Result<(Self, PieceTables), Error> {
        let file = base::file::open_regular(path)
            .map_err(|error| Error::ReadModel { path: path.to_owned(), source: Box::new(error) })?;
        let length =
            file.metadata().map_err(|error| Error::ReadModel { path: path.to_owned(), source: Box::new(error) })?.len();
        let shape = Shape {
            hidden: 0,
            layers: 0,
            heads: 0,
            feed_forward: 0,
            vocabulary: 0,
            positions: 0,
            token_types: 0,
            epsilon: 0.0,
        };
        let reader = BufReader::with_capacity(1 << 16, file);
        let mut open = Self { path: path.to_owned(), reader, length, position: 0, shape, tensors: HashMap::new() };
        open.shape = open.read_shape()?;
        let pieces = open.read_pieces()?;
        open.tensors = open.read_directory()?;
        Ok((open, pieces))
    }

    /// Reads an f32 tensor of exactly `elements` values, dequantising it where it is stored in blocks.
    pub fn floats(&mut self, name: &str, elements: usize) -> Result<Vec<f32>, Error> {
        let quantised = self.tensor(name, elements)?.quantised;
        let bytes = self.tensor_bytes(name, elements)?;
        let values: Vec<f32> = if quantised {
            let mut values = vec![0.0; elements];
            dequantise(&bytes, &mut values);
            values
        } else {
            bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
        };
        if values.iter().any(|value| !value.is_finite()) {
            return Err(self.bad(format!("tensor `{name}` holds a value that is not finite")));
        }
        Ok(values)
    }

    /// Reads a Q4_0 tensor of exactly `elements` weights as its raw blocks.
    pub fn blocks(&mut self, name: &str, elements: usize) -> Result<Vec<u8>, Error> {
        if !self.tensor(name, elements)?.quantised {
            return Err(self.bad(format!("tensor `{name}` is not stored in blocks")));
        }
        self.tensor_bytes(name, elements)
    }

    /// Returns an error that says what is wrong with this file.
    pub fn bad(&self, reason: impl Into<String>) -> Error {
        Error::ModelFormat { path: self.path.clone(), reason: reason.into() }
    }

    fn tensor(&self, name: &str, elements: usize) -> Result<&Tensor, Error> {
        let tensor = self.tensors.get(name).ok_or_else(|| self.bad(format!("tensor `{name}` is missing")))?;
        if tensor.elements != elements {
            return Err(self.bad(format!("tensor `{name}` has {} elements instead of {elements}", tensor.elements)));
        }
        Ok(tensor)
    }

    fn tensor_bytes(&mut self, name: &str, elements: usize) -> Result<Vec<u8>, Error> {
        let tensor = self.tensor(name, elements)?;
        let offset = tensor.offset;
        let size = tensor_size(tensor.quantised, elements);
        self.reader.seek(SeekFrom::Start(offset)).map_err(|source| self.unreadable(source))?;
        self.position = offset;
        self.take(size)
    }

    fn read_shape(&mut self) -> Result<Shape, Error> {
        if self.array::<4>()? != *b"E5S1" {
            return Err(self.bad("it does not start with the mark `E5S1`"));
        }
        let version = self.count("version", u32::MAX as usize)?;
        if version != 1 {
            return Err(self.bad(format!("its format version is {version}, and 1 is the one known")));
        }
        let shape = Shape {
            hidden: self.count("hidden width", MAX_WIDTH)?,
            layers: self.count("number of layers", MAX_LAYERS)?,
            heads: self.count("number of heads", MAX_WIDTH)?,
            feed_forward: self.count("feed-forward width", 4 * MAX_WIDTH)?,
            vocabulary: self.count("vocabulary", MAX_PIECES)?,
            positions: self.count("number of positions", 1 << 16)?,
            token_types: self.count("number of token types", 16)?,
            epsilon: f32::from_le_bytes(self.array()?),
        };
        let block = self.count("block size", u32::MAX as usize)?;
        let positive =
            [shape.hidden, shape.layers, shape.heads, shape.feed_forward, shape.vocabulary, shape.token_types];
        let divides = block == BLOCK
            && positive.iter().all(|count| *count > 0)
            && shape.positions > 2
            && shape.hidden.is_multiple_of(BLOCK)
            && shape.feed_forward.is_multiple_of(BLOCK)
            && shape.hidden.is_multiple_of(shape.heads)
            && shape.epsilon >= 0.0
            && shape.epsilon < 1.0;
        if !divides {
            return Err(self.bad("its sizes do not fit together"));
        }
        Ok(shape)
    }

    fn read_pieces(&mut self) -> Result<PieceTables, Error> {
        let pieces = self.count("number of pieces", self.shape.vocabulary)?;
        let mut special = [0_u32; 4];
        for id in &mut special {
            *id = self.count("special token", pieces.saturating_sub(1))? as u32;
        }
        let [bos, eos, pad, unknown] = special;
        let blob_bytes = u64::from_le_bytes(self.array()?);
        let offsets: Vec<u32> =
            self.take((pieces + 1) * 4)?.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect();
        let scores: Vec<f32> =
            self.take(pieces * 4)?.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        let blob = self.take(usize::try_from(blob_bytes).unwrap_or(usize::MAX))?;
        let ascending = offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        if !ascending || offsets.last().is_none_or(|last| *last as usize != blob.len()) {
            return Err(self.bad("its piece offsets leave the pieces"));
        }
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(self.bad("a piece's score is not finite"));
        }
        let replacements = self.read_replacements()?;
        Ok(PieceTables { bos, eos, pad, unknown, offsets, scores, blob, replacements })
    }

    fn read_replacements(&mut self) -> Result<HashMap<char, Vec<char>>, Error> {
        let count = self.count("number of replacements", 0x11_0000)?;
        let size = self.count("size of the replacements", u32::MAX as usize)?;
        let bytes = self.take(size)?;
        let mut rest = bytes.as_slice();
        let mut replacements = HashMap::new();
        for _ in 0..count {
            let entry = rest.split_first_chunk::<4>().and_then(|(from, tail)| {
                let (length, tail) = tail.split_first()?;
                let (to, tail) = tail.split_at_checked(usize::from(*length) * 4)?;
                rest = tail;
                let to: Option<Vec<char>> =
                    to.as_chunks::<4>().0.iter().map(|four| char::from_u32(u32::from_le_bytes(*four))).collect();
                Some((char::from_u32(u32::from_le_bytes(*from))?, to?))
            });
            let Some((from, to)) = entry else {
                return Err(self.bad("its replacements of code points are damaged"));
            };
            replacements.insert(from, to);
        }
        Ok(replacements)
    }

    fn read_directory(&mut self) -> Result<HashMap<String, Tensor>, Error> {
        let count = self.count("number of tensors", MAX_TENSORS)?;
        let mut tensors = HashMap::with_capacity(count);
        for _ in 0..count {
            let length = u16::from_le_bytes(self.array()?);
            let name = String::from_utf8(self.take(usize::from(length))?)
                .map_err(|_| self.bad("a tensor's name is not UTF-8"))?;
            let [kind] = self.array()?;
            let elements = u32::from_le_bytes(self.array()?) as usize;
            let offset = u64::from_le_bytes(self.array()?);
            let bytes = u64::from_le_bytes(self.array()?);
            let known = kind <= 1 && (kind == 0 || elements.is_multiple_of(BLOCK));
            let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.length);
            if !known || !inside || tensor_size(kind == 1, elements) as u64 != bytes {
                return Err(self.bad(format!("tensor `{name}` is not described rightly")));
            }
            tensors.insert(name, Tensor { quantised: kind == 1, elements, offset });
        }
        Ok(tensors)
    }

    /// Reads an i32 or u32 that counts something and may be at most `limit`.
    fn count(&mut self, what: &str, limit: usize) -> Result<usize, Error> {
        let value = u32::from_le_bytes(self.array()?) as usize;
        if value > limit {
            return Err(self.bad(format!("its {what} is {value}, more than {limit}")));
        }
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads `size` bytes; memory is taken only when the file still has that many.
    fn take(&mut self, size: usize) -> Result<Vec<u8>, Error> {
        if size as u64 > self.length.saturating_sub(self.position) {
            return Err(self.bad("it is cut short"));
        }
        let mut bytes = vec![0; size];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        match self.reader.read_exact(bytes) {
            Ok(()) => {
                self.position += bytes.len() as u64;
                Ok(())
            }
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => Err(self.bad("it is cut short")),
            Err(source) => Err(self.unreadable(source)),
        }
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::ReadModel { path: self.path.clone(), source: Box::new(source) }
    }
}

fn tensor_size(quantised: bool, elements: usize) -> usize {
    if quantised { elements / BLOCK * BLOCK_BYTES } else { elements * 4 }
}

/// Writes the weights of Q4_0 blocks: byte `j` of a block holds weight `j` in its low and `j + 16` in its high nibble, each `(q - 8) × scale`.
pub(crate) fn dequantise(blocks: &[u8], weights: &mut [f32]) {
    let (blocks, _) = blocks.as_chunks::<BLOCK_BYTES>();
    let (outputs, _) = weights.as_chunks_mut::<BLOCK>();
    for (block, output) in blocks.iter().zip(outputs) {
        let scale = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
        for (index, byte) in block[2..].iter().enumerate() {
            output[index] = (f32::from(byte & 0x0f) - 8.0) * scale;
            output[index + BLOCK / 2] = (f32::from(byte >> 4) - 8.0) * scale;
        }
    }
}
