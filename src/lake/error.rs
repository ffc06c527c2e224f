use std::path::PathBuf;

use base::{Digest, Exit, Explain, Remedy, file::LockError};

/// What can go wrong in the lake.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot take the lake of this customer")]
    Lock(#[from] LockError),
    #[error("cannot {act} the table `{table}`")]
    Table {
        act: &'static str,
        table: &'static str,
        #[source]
        source: Box<deltalake::DeltaTableError>,
    },
    #[error("cannot {act} the vector dataset `chunks`")]
    Vectors {
        act: &'static str,
        #[source]
        source: Box<lance::Error>,
    },
    #[error("cannot {act} `{path}`", path = .path.display())]
    Io {
        act: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot put rows into columns for `{table}`")]
    Columns {
        table: &'static str,
        #[source]
        source: arrow::error::ArrowError,
    },
    #[error("`{table}` is not as this program writes it: {what}")]
    Damaged { table: &'static str, what: String },
    #[error(
        "the lake holds vectors of {dimension} numbers made by the model {found}, not of {wanted_dimension} by {wanted}"
    )]
    OtherModel { found: String, dimension: usize, wanted: Digest, wanted_dimension: usize },
    #[error("refused: {0}")]
    Refused(String),
    #[error("the tables are protected, because the disk is nearly full")]
    Protected,
    #[error("stopped on purpose after {0}")]
    Stopped(&'static str),
    #[error("a task of the lake ended early")]
    Task(#[from] tokio::task::JoinError),
    #[error("cannot serve the lake")]
    Serve(#[source] std::io::Error),
    #[error("cannot reach the lake at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: Box<reqwest::Error>,
    },
    #[error("the lake at {url} answered {status}: {message}")]
    Answered { url: String, status: u16, message: String },
    #[error("the lake at {url} speaks format {found}, not {wanted}")]
    OtherFormat { url: String, found: u32, wanted: u32 },
}

impl Error {
    pub(crate) fn table(act: &'static str, table: &'static str) -> impl FnOnce(deltalake::DeltaTableError) -> Self {
        move |source| Self::Table { act, table, source: Box::new(source) }
    }

    pub(crate) fn vectors(act: &'static str) -> impl FnOnce(lance::Error) -> Self {
        move |source| Self::Vectors { act, source: Box::new(source) }
    }

    pub(crate) fn io(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { act, path, source }
    }
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::Lock(LockError::Held { .. }) => {
                "wait for that process, or ask the running lake: `0711 status` shows it"
            }
            Self::OtherModel { .. } => {
                "put the former embedding model back, or move the folder `lakehouse` aside and run `0711 ingest` to read everything again"
            }
            Self::Damaged { .. } => {
                "restore the folder `lakehouse` from a backup, or move it aside and run `0711 ingest`"
            }
            Self::Unreachable { .. } => "run `0711 start`, and `0711 logs lake` if that does not help",
            Self::Protected => "make room on the disk of the tables; `0711 status` says how much is missing",
            Self::OtherFormat { .. } => "run `0711 stop` and `0711 start`, so that all roles run the same version",
            _ => return None,
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Lock(LockError::Held { .. }) => Exit::Locked,
            Self::OtherModel { .. } => Exit::Model,
            Self::Unreachable { .. } | Self::Protected => Exit::Unavailable,
            _ => Exit::Failed,
        }
    }
}
