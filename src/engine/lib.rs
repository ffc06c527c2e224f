//! Local inference: a chat model and an embedding model on this machine's CPU, the OpenAI wire in front of them, and clients of
//! that wire.
//!
//! - [`Embedder`] is our own encoder for multilingual-e5-small; [`EmbedTokenizer`] is its tokenizer alone.
//! - [`ChatModel`] is llama.cpp on a thread of its own, with LoRA adapters by name; [`ChatTokenizer`] is its tokenizer alone.
//! - [`serve_embed`] and [`serve_llm`] are the roles `embed` and `llm`; [`client`] is the other end, [`wire`] what goes between.
//! - [`Embedding`] and [`Chat`] are either, for rooms that do not care where the model is.
//!
//! It refuses to fetch: a model is a file that someone else has put there and checked. It opens no connection but those a
//! [`client`] is made for, and adapters only from the customer's own folder.
//!
//! Invariants:
//! - a vector has length 1, and carries the meaning of the file whose [`Embedder::digest`] goes with it;
//! - a stream of pieces yields whole characters, and ends with a piece that has a reason, or with an error;
//! - a file of whatever bytes is refused with an error: no size in it is believed before it is checked;
//! - every path but `/health` asks for the role's token.

mod chat;
pub mod client;
mod e5;
mod embedder;
mod error;
mod place;
mod serve;
#[cfg(test)]
mod testing;
pub mod wire;

pub use chat::{
    ChatMessage, ChatModel, ChatOptions, ChatTokenizer, FinishReason, GenerateRequest, Piece, PieceStream, Prompt,
    Usage,
};
pub use embedder::{EmbedTokenizer, Embedder, Kind, MAX_TOKENS};
pub use error::Error;
pub use place::{Chat, Embedding};
pub use serve::{serve_embed, serve_llm};
