use std::path::PathBuf;

use base::file::LockError;
use base::{Exit, Explain, Remedy};

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another agent looks after this installation.
    #[error("cannot start the agent: {holder} already looks after this installation")]
    AlreadyRuns {
        /// Who.
        holder: String,
    },
    /// The lock file itself is unusable.
    #[error("cannot take the agent's lock")]
    Lock(#[source] LockError),
    /// A folder or file of the agent cannot be made.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Says why.
        #[source]
        source: std::io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen on `{}`", path.display())]
    Listen {
        /// Which.
        path: PathBuf,
        /// Says why.
        #[source]
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::AlreadyRuns { .. } => Some(Remedy::new("see `0711 status`; it is enough to have one")),
            _ => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::AlreadyRuns { .. } => Exit::Locked,
            _ => Exit::Failed,
        }
    }
}
