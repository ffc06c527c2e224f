use std::{io, path::PathBuf};

use base::{Exit, Explain, Remedy, file::LockError};

/// Why a run could not be made, or the role could not be served. A file that cannot be read is no error: it is in the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("there is no folder `{path}`", path = .path.display())]
    NoFolder { path: PathBuf },
    #[error("there is no folder to read")]
    NoFolders,
    #[error("another ingestion is under way")]
    Locked {
        #[source]
        source: LockError,
    },
    #[error("cannot use the lake while {act}")]
    Lake {
        act: &'static str,
        #[source]
        source: lake::Error,
    },
    #[error("cannot embed passages")]
    Embed {
        #[source]
        source: engine::Error,
    },
    #[error("cannot start a process that reads files")]
    Worker {
        #[source]
        source: extract::Error,
    },
    #[error("cannot use the handlers of unknown formats")]
    Handlers {
        #[source]
        source: handlers::Error,
    },
    #[error("cannot write the report `{path}`", path = .path.display())]
    WriteReport {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the report `{path}`", path = .path.display())]
    ReadReport {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("there is no report `{path}`: nothing was ingested yet", path = .path.display())]
    NoReport { path: PathBuf },
    #[error("cannot find the document `{document}`: {why}")]
    NoDocument { document: String, why: String },
    #[error("cannot serve the role `ingest`")]
    Serve {
        #[source]
        source: io::Error,
    },
    #[error("the ingestion broke off inside the program: {reason}")]
    Broken { reason: String },
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::NoFolder { .. } => "check the spelling, or mount the share and run `0711 ingest` again",
            Self::NoFolders => "name a folder: `0711 ingest FOLDER`",
            Self::Locked { .. } => "wait for it to end, or stop it with Ctrl-C, then run `0711 ingest` again",
            Self::NoReport { .. } => "run `0711 ingest FOLDER` first",
            Self::NoDocument { .. } => "`0711 domains` lists them; give the path as it stands there",
            Self::ReadReport { .. } => "run `0711 ingest` again: it writes a new report",
            Self::WriteReport { .. } => "make room on the disk and run `0711 ingest` again",
            Self::Lake { source, .. } => return source.remedy(),
            Self::Embed { source } => return source.remedy(),
            Self::Worker { source } => return source.remedy(),
            Self::Handlers { source } => return source.remedy(),
            Self::Serve { .. } | Self::Broken { .. } => return None,
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoFolder { .. } | Self::NoFolders | Self::NoDocument { .. } => Exit::Usage,
            Self::Locked { .. } => Exit::Locked,
            Self::Lake { source, .. } => source.exit(),
            Self::Embed { source } => source.exit(),
            Self::Worker { source } => source.exit(),
            Self::Handlers { source } => source.exit(),
            _ => Exit::Failed,
        }
    }
}
