use std::{io, path::PathBuf};

use base::{Digest, Exit, Explain, Remedy};

/// Why something about handlers could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of ours is damaged, or of another version.
    #[error("cannot use `{}`: {reason}", path.display())]
    Format { path: PathBuf, reason: String },
    #[error("cannot {act} `{}`", path.display())]
    File {
        act: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is no handler `{name}`")]
    NoHandler { name: String },
    #[error("`{name}` is no name for a handler: letters, digits, `-` and `_`, at most 60")]
    BadName { name: String },
    /// The source is not the one that was registered.
    #[error("the source of the handler `{name}` was changed after it was registered")]
    Changed { name: String },
    /// What is to be decided about is not what was looked at.
    #[error("the handler `{name}` has another source by now: {digest}")]
    AnotherSource { name: String, digest: Digest },
    #[error("no file waits under `{kind}`")]
    NotWaiting { kind: String },
    #[error("none of the files of `{kind}` is there any more")]
    NoSamples { kind: String },
    /// The handler did not pass; the faults are lines.
    #[error("the handler does not do: {faults}")]
    Faulty { faults: String },
    #[error("no model may write a handler")]
    NoAuthor,
    #[error("the model's answer has no Python source with a function `handle`")]
    NoSource,
    #[error("cannot use the key of the model")]
    Key(#[from] base::SecretError),
    #[error("`{url}` is no address of a model: {reason}")]
    Address { url: String, reason: String },
    #[error("cannot reach `{url}`")]
    Reach {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("`{url}` refused with status {status}: {message}")]
    Refused { url: String, status: u16, message: String },
    #[error("the answer of `{url}` is not what was expected: {reason}")]
    Protocol { url: String, reason: String },
}

impl Error {
    pub(crate) fn file<'a>(act: &'static str, path: &'a std::path::Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::File { act, path: path.to_owned(), source }
    }
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::AnotherSource { name, .. } => {
                return Some(Remedy::new(format!(
                    "look at it with `0711 handlers show {name}`, and decide about the digest it names"
                )));
            }
            Self::NoHandler { .. } => "`0711 handlers list` shows those there are",
            Self::Changed { .. } => "add it again with `0711 handlers add FILE.py`, and approve it",
            Self::NotWaiting { .. } => "`0711 handlers pending` shows what waits",
            Self::NoSamples { .. } => "put a file of the kind back and run `0711 ingest` again",
            Self::Faulty { .. } => "mend it; `0711 handlers test FILE.py SAMPLE` shows what it does",
            Self::NoAuthor => {
                "run `0711 handlers configure --local-url URL` or `0711 handlers enable-claude`, or write one: `0711 handlers add FILE.py`"
            }
            Self::NoSource => "run it again, or take another model",
            Self::Key(_) => "write the key into a file of its own and run `chmod 600` on it",
            Self::Address { .. } => "check the address with `0711 handlers configure`",
            Self::Reach { .. } => "check the address, the proxy and the network",
            Self::Refused { status: 401 | 403, .. } => "check the key",
            _ => return None,
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoHandler { .. }
            | Self::BadName { .. }
            | Self::AnotherSource { .. }
            | Self::NotWaiting { .. }
            | Self::NoAuthor
            | Self::Address { .. } => Exit::Usage,
            Self::Changed { .. } => Exit::Tampered,
            Self::Reach { .. } | Self::Refused { .. } | Self::Protocol { .. } => Exit::Unavailable,
            _ => Exit::Failed,
        }
    }
}
