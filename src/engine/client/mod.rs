//! The same engines behind HTTP: what a role or the CLI uses when `llm` and `embed` run.

mod chat;
mod embed;
mod http;

pub use chat::ChatClient;
pub use embed::EmbedClient;
