//! The roles `llm` and `embed`: the OpenAI wire over HTTP, on a listener the caller has bound.

mod door;
mod embed;
mod llm;
mod promoted;
mod refusal;
mod stream;
#[cfg(test)]
mod tests;

pub use embed::serve_embed;
pub use llm::serve_llm;
