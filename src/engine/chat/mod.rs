//! The local chat model: llama.cpp on a thread of its own, behind a bounded queue.

mod backend;
mod format;
mod gate;
mod model;
mod owner;
mod session;
#[cfg(test)]
mod tests;
mod tokenizer;

pub use format::{ChatMessage, ChatOptions, FinishReason, GenerateRequest, Piece, PieceStream, Prompt, Usage};
pub use model::ChatModel;
pub use tokenizer::ChatTokenizer;
