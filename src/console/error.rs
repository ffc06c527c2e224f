use std::io;

use base::{Exit, Explain, Remedy};

/// Why the console cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the tokenizer of the embedding model")]
    Tokenizer(#[source] engine::Error),
    #[error("cannot reach the lake")]
    Lake(#[source] lake::Error),
    #[error("cannot use the configured host names")]
    Hosts(#[source] access::Error),
    #[error("cannot read the API token")]
    ReadToken(#[source] base::SecretError),
    #[error("cannot write the API token")]
    WriteToken(#[source] io::Error),
    #[error("cannot set up the client of the other roles")]
    Client(#[source] reqwest::Error),
    #[error("cannot serve {what}")]
    Serve { what: &'static str, source: io::Error },
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Tokenizer(source) => source.remedy(),
            Self::Lake(source) => source.remedy(),
            Self::Hosts(source) => source.remedy(),
            Self::ReadToken(_) => Some(Remedy::new(
                "give the file back to its owner alone (mode 0600), or remove it: a new token is made at the next start",
            )),
            Self::WriteToken(_) => {
                Some(Remedy::new("check that the disk is not full and the secrets folder is writable"))
            }
            Self::Client(_) | Self::Serve { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Tokenizer(source) => source.exit(),
            Self::Lake(source) => source.exit(),
            _ => Exit::Failed,
        }
    }
}
