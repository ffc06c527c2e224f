use std::{io, path::PathBuf};

use base::{Exit, Explain, Remedy};

/// Why local inference, or a call to a role that does it, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read the model `{path}`", path = .path.display())]
    ReadModel { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot use the model `{path}`: {reason}", path = .path.display())]
    ModelFormat { path: PathBuf, reason: String },
    #[error("cannot start the inference engine: {reason}")]
    Backend { reason: String },
    #[error("cannot open a context of {context_tokens} tokens")]
    Context { context_tokens: u32, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot lay out the messages with the model's chat template")]
    Template { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot compute the next token")]
    Decode { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("cannot load the adapter `{name}` from `{path}`: {reason}", path = .path.display())]
    LoadAdapter { name: String, path: PathBuf, reason: String },
    #[error("cannot load an adapter from `{path}`: it is not below `{allowed}`", path = .path.display(), allowed = .allowed.display())]
    OutsideAdapters { path: PathBuf, allowed: PathBuf },
    #[error("no adapter named `{name}` is loaded")]
    UnknownAdapter { name: String },
    #[error("the prompt of {prompt_tokens} tokens does not fit the context of {context_tokens} tokens")]
    PromptTooLong { prompt_tokens: usize, context_tokens: usize },
    #[error("the prompt is empty")]
    EmptyPrompt,
    #[error("token {token} is outside the vocabulary of {vocabulary} tokens")]
    ForeignToken { token: u32, vocabulary: usize },
    #[error("{waiting} requests already wait for the model")]
    Busy { waiting: usize },
    #[error("the model's thread has ended")]
    Stopped,
    #[error("cannot reach `{url}`")]
    Reach { url: String, source: reqwest::Error },
    #[error("`{url}` refused with status {status}: {message}")]
    Refused { url: String, status: u16, message: String },
    #[error("`{url}` answered what is not the protocol: {reason}")]
    Protocol { url: String, reason: String },
    #[error("cannot serve the role `{role}`")]
    Serve { role: &'static str, source: io::Error },
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::ReadModel { .. } | Self::ModelFormat { .. } => {
                "run `0711 models verify`, then `0711 models fetch` for what is missing or damaged"
            }
            Self::LoadAdapter { .. } => {
                "run `0711 versions list`, then `0711 versions rollback` to serve an earlier version"
            }
            Self::UnknownAdapter { .. } => "run `0711 versions list` to see which versions exist",
            Self::PromptTooLong { .. } => "ask a shorter question, or give fewer or shorter messages",
            Self::Busy { .. } => "ask again in a moment",
            Self::Reach { .. } | Self::Stopped => "run `0711 status`, then `0711 start` if the service is down",
            _ => return None,
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::ReadModel { .. } | Self::ModelFormat { .. } => Exit::Model,
            Self::Busy { .. } | Self::Stopped | Self::Reach { .. } => Exit::Unavailable,
            Self::Refused { status: 503, .. } => Exit::Unavailable,
            _ => Exit::Failed,
        }
    }
}

/// Returns an error with its causes in one line, for a log or a wire that has no place for a chain.
pub(crate) fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        line.push_str(": ");
        line.push_str(&next.to_string());
        cause = next.source();
    }
    line
}
