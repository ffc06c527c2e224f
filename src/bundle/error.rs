use std::{fmt, io, path::PathBuf};

use base::{Digest, Exit, Explain, Remedy, file};

/// Why a model is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the model catalogue")]
    CatalogueSyntax(#[source] serde_yaml::Error),
    #[error("the model catalogue cannot be used: {faults}")]
    Catalogue { faults: String },
    #[error("the catalogue has no model `{name}`")]
    UnknownModel { name: String, known: Vec<String> },
    #[error("the catalogue has no profile `{name}`")]
    UnknownProfile { name: String, known: Vec<String> },
    #[error("model `{name}` is not at `{path}`", path = .path.display())]
    Missing { name: String, path: PathBuf },
    #[error("model `{name}` at `{path}` is damaged: {reason}", path = .path.display())]
    Damaged { name: String, path: PathBuf, reason: String },
    #[error("cannot read model `{name}`")]
    Read {
        name: String,
        #[source]
        source: file::ReadError,
    },
    #[error("cannot write `{path}`", path = .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot take the lock on model `{name}`")]
    Lock {
        name: String,
        #[source]
        source: file::LockError,
    },
    #[error("no source has model `{name}`: {}", list(.failures))]
    NoSource {
        name: String,
        digest: Digest,
        failures: Vec<SourceFailure>,
        /// The name a file put by hand has to have.
        file_name: Option<String>,
    },
}

/// What became of one source.
#[derive(Clone, Debug)]
pub struct SourceFailure {
    pub source: String,
    pub reason: String,
}

impl fmt::Display for SourceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)
    }
}

fn list(failures: &[SourceFailure]) -> String {
    let texts: Vec<String> = failures.iter().map(SourceFailure::to_string).collect();
    texts.join("; ")
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::CatalogueSyntax(_) | Self::Catalogue { .. } => {
                "correct `bundles/models.yaml` and build again".to_owned()
            }
            Self::UnknownModel { known, .. } => {
                format!("choose one of {}; `0711 models list` shows them", known.join(", "))
            }
            Self::UnknownProfile { known, .. } => format!("choose one of {}", known.join(", ")),
            Self::Missing { name, .. } => format!("run `0711 models fetch {name}`"),
            Self::Damaged { name, .. } => {
                format!("run `0711 models fetch {name}`: it replaces the file by a sound one")
            }
            Self::Read { .. } => "check the rights of the file".to_owned(),
            Self::Write { source, .. } if is_full(source) => {
                "free some space there, then run the same command again: it goes on where it stopped".to_owned()
            }
            Self::Write { .. } => "check that you may write there".to_owned(),
            Self::Lock { .. } => "wait for the other command, then try again".to_owned(),
            Self::NoSource { name, file_name, digest, .. } => match file_name {
                Some(file_name) => format!(
                    "on a machine without network, copy `{file_name}` ({digest}) into a folder and run `0711 models fetch {name} --from FOLDER`"
                ),
                None => format!("check the network, then run `0711 models fetch {name}` again"),
            },
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::UnknownModel { .. } | Self::UnknownProfile { .. } => Exit::Usage,
            Self::Lock { .. } => Exit::Locked,
            _ => Exit::Model,
        }
    }
}

/// Whether a write failed for want of space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
