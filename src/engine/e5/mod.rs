//! multilingual-e5-small on the CPU: its file, its tokenizer, its encoder.

mod attention;
mod encoder;
mod file;
pub(crate) mod json;
mod kernel;
mod linear;
mod math;
#[cfg(test)]
mod tests;
mod tokenizer;

pub(crate) use encoder::{Encoder, Packed};
pub(crate) use file::ModelFile;
pub(crate) use tokenizer::Tokenizer;
