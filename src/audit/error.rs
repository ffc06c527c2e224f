use std::path::PathBuf;

use base::{Exit, Explain, Remedy, dsse, file};

/// What can go wrong with an audit log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process writes, and does not come to an end.
    #[error("cannot write the audit log: {holder} holds `{}`", path.display())]
    Busy { path: PathBuf, holder: String },
    #[error("cannot take the lock of the audit log")]
    Lock(#[source] file::LockError),
    #[error("cannot read the audit log")]
    Read(#[from] file::ReadError),
    #[error("cannot {act} `{}`", path.display())]
    File {
        act: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A newer program wrote it, and this one would not understand what it adds to.
    #[error("`{}` has format {found}; this program knows format {known}", path.display())]
    Format { path: PathBuf, found: u64, known: u32 },
    /// Cannot happen with texts of bounded length.
    #[error("a record of {bytes} bytes is longer than a line may be")]
    TooLong { bytes: usize },
    #[error("a record has no JSON form")]
    Json(#[source] serde_json::Error),
    #[error("cannot write the table")]
    Csv(#[source] csv::Error),
    #[error("cannot use the installation's key")]
    Key(#[source] base::SeedError),
    #[error("the evidence pack is not whole: {reason}")]
    Pack { reason: String },
    #[error("the evidence pack's signature does not hold")]
    Signature(#[source] dsse::Error),
}

impl Error {
    pub(crate) fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { act, path, source }
    }

    pub(crate) fn pack(reason: impl Into<String>) -> Self {
        Self::Pack { reason: reason.into() }
    }
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::Key(_) => "run this as the installation's owner; a damaged key may be removed, and is then made anew",
            Self::Busy { .. } => "wait until it is done, then try again",
            Self::File { .. } => "check that the disk is not full, and that the folder belongs to who runs this",
            Self::Format { .. } => "use the version of 0711 that wrote it, or a newer one",
            Self::Pack { .. } | Self::Signature(_) => {
                "get the file again from where it was made; if it is the same there, it was changed after signing"
            }
            _ => return None,
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Busy { .. } => Exit::Locked,
            Self::Pack { .. } => Exit::Tampered,
            Self::Signature(dsse::Error::UntrustedKey { .. }) => Exit::Untrusted,
            Self::Signature(_) => Exit::Tampered,
            _ => Exit::Failed,
        }
    }
}
