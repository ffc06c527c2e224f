use std::path::PathBuf;

use base::{Exit, Explain, Remedy, Role};

/// What can go wrong while running roles.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is absent or damaged.
    #[error("cannot read the configuration `{}`", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// Says why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another version of 0711 wrote the configuration.
    #[error("configuration `{}` has format {found}; this program knows format {known}", path.display())]
    ConfigFormat {
        /// Which file.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// The process could not be made.
    #[error("cannot start role `{role}`")]
    Start {
        /// Which.
        role: Role,
        /// Says why.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else listens there.
    #[error("cannot start role `{role}`: port {port} is held by {holder}")]
    PortHeld {
        /// Which.
        role: Role,
        /// Where it was to listen.
        port: u16,
        /// Who does.
        holder: String,
    },
    /// The role runs, and its record could not be written.
    #[error("cannot record role `{role}` in `{}`", path.display())]
    Record {
        /// Which.
        role: Role,
        /// Where.
        path: PathBuf,
        /// Says why.
        #[source]
        source: std::io::Error,
    },
    /// The process could not be signalled or waited for.
    #[error("cannot stop role `{role}` (pid {pid})")]
    Stop {
        /// Which.
        role: Role,
        /// Its process.
        pid: u32,
        /// Says why.
        #[source]
        source: std::io::Error,
    },
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Config { .. } | Self::ConfigFormat { .. } => {
                Some(Remedy::new("run `0711 install` again: it writes the configuration anew"))
            }
            Self::PortHeld { holder, .. } => Some(Remedy::new(format!("stop {holder}, then run `0711 start`"))),
            Self::Start { role, .. } => Some(Remedy::new(format!("see `0711 logs {role}`"))),
            Self::Record { .. } | Self::Stop { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::PortHeld { .. } | Self::Start { .. } => Exit::Unavailable,
            _ => Exit::Failed,
        }
    }
}
