use std::{io, path::PathBuf};

use base::{
    Exit, Explain, Remedy,
    file::{LockError, ReadError},
};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong while training, or while a version is kept, promoted or served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the model `{path}`", path = .path.display())]
    ReadModel {
        path: PathBuf,
        #[source]
        source: Cause,
    },
    #[error("cannot train the model `{path}`: {reason}", path = .path.display())]
    UnsupportedModel { path: PathBuf, reason: String },
    #[error("cannot start {count} training threads")]
    Threads {
        count: usize,
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    #[error("cannot read what the training needs")]
    ReadFile(#[from] ReadError),
    #[error("cannot write `{path}`", path = .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot understand `{path}`", path = .path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: Cause,
    },
    #[error("cannot take the lock of the trainer or its registry")]
    Lock(#[source] LockError),
    #[error("cannot use the lake for training")]
    Lake(#[from] lake::Error),
    #[error("cannot use the engine for training")]
    Engine(#[from] engine::Error),
    #[error(
        "too little text to learn from: {documents} documents, {tokens} tokens outside the held-out part, {needed} needed"
    )]
    TooLittleText { documents: usize, tokens: usize, needed: usize },
    #[error("the training diverged at step {step}: its loss is no number")]
    Diverged { step: u32 },
    #[error("the training was stopped; its checkpoint is kept")]
    Cancelled,
    #[error("the training broke off")]
    BrokeOff(#[source] tokio::task::JoinError),
    #[error("no version is named `{name}`")]
    UnknownVersion { name: String },
    #[error("the version `{name}` cannot be served: {reason}")]
    Unservable { name: String, reason: String },
    #[error("no version is promoted, so there is none to roll back")]
    NothingToRollBack,
    #[error("cannot serve the role `trainer`")]
    Serve(#[source] io::Error),
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::ReadModel { .. } => {
                "run `0711 models verify`, then `0711 models fetch` for what is missing or damaged"
            }
            Self::UnsupportedModel { .. } => {
                "choose a chat model of the Llama architecture, without experts or scaled rope"
            }
            Self::TooLittleText { .. } => "add documents to the data folders and run `0711 ingest`, then `0711 train`",
            Self::Cancelled => "run the same `0711 train` again: it goes on from the checkpoint",
            Self::Diverged { .. } => "run `0711 train` with another `--seed`",
            Self::UnknownVersion { .. } | Self::Unservable { .. } | Self::NothingToRollBack => {
                "run `0711 versions list` to see which versions there are"
            }
            Self::Lake(source) => return source.remedy(),
            Self::Engine(source) => return source.remedy(),
            _ => return None,
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::ReadModel { .. } | Self::UnsupportedModel { .. } => Exit::Model,
            Self::Lock(LockError::Held { .. }) => Exit::Locked,
            Self::UnknownVersion { .. } | Self::NothingToRollBack => Exit::Usage,
            Self::Cancelled => Exit::Interrupted,
            Self::Lake(source) => source.exit(),
            Self::Engine(source) => source.exit(),
            _ => Exit::Failed,
        }
    }
}
