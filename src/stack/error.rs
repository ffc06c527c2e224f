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
    /// The engine does not answer, or refuses.
    #[error("cannot {act}")]
    Engine {
        /// What was asked.
        act: &'static str,
        /// Says why.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// The engine could not make an image of what it got.
    #[error("the engine could not load `{image}`: {reason}")]
    Load {
        /// Which.
        image: String,
        /// In its words.
        reason: String,
    },
    /// It said that it did, and does not have it.
    #[error("the engine does not have `{image}`, although it took it")]
    NotLoaded {
        /// Which.
        image: String,
    },
    /// It was never there.
    #[error("the engine does not have `{image}`")]
    NoImage {
        /// Which.
        image: String,
    },
    /// An image could not be written to a file.
    #[error("cannot write `{image}` to `{}`", path.display())]
    Export {
        /// Which.
        image: String,
        /// Where.
        path: PathBuf,
        /// Says why.
        #[source]
        source: std::io::Error,
    },
    /// A layer could not be read, or is not what was proven.
    #[error("cannot read a layer of `{image}`")]
    Blob {
        /// Of which image.
        image: String,
        /// Says why.
        #[source]
        source: std::io::Error,
    },
    /// The containers were removed by somebody else.
    #[error("there is no container `{name}` for role `{role}`")]
    ContainerAbsent {
        /// Which.
        role: Role,
        /// Its name.
        name: String,
    },
    /// Compose does not take the files.
    #[error("`docker compose` does not accept `{}`: {output}", file.display())]
    ComposeRefused {
        /// Which file: the changes, where there are some.
        file: PathBuf,
        /// The end of what it said.
        output: String,
    },
    /// The changes touch what containers are found by.
    #[error("`{}` changes {what}, which the installation relies on", path.display())]
    ChangesRefused {
        /// The changes.
        path: PathBuf,
        /// What they change.
        what: String,
    },
    /// Another run's compose does not end.
    #[error("`docker compose` still works for {holder}")]
    ComposeBusy {
        /// Who started it.
        holder: String,
    },
    /// The file that is locked cannot be used.
    #[error("cannot take the lock of `docker compose`")]
    Lock(#[source] base::file::LockError),
    /// Compose failed.
    #[error("`docker compose` could not apply `{}`: {output}", file.display())]
    Compose {
        /// Which file.
        file: PathBuf,
        /// The end of what it said.
        output: String,
    },
    /// The packet filter refused.
    #[error("cannot remove the table `{table}` of the packet filter: {output}")]
    Rules {
        /// Of family `inet`.
        table: String,
        /// What it said.
        output: String,
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

impl Error {
    pub(crate) fn engine(act: &'static str) -> impl FnOnce(bollard::errors::Error) -> Self {
        move |source| Self::Engine { act, source: Box::new(source) }
    }
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Config { .. } | Self::ConfigFormat { .. } => {
                Some(Remedy::new("run `0711 install` again: it writes the configuration anew"))
            }
            Self::PortHeld { holder, .. } => Some(Remedy::new(format!("stop {holder}, then run `0711 start`"))),
            Self::Start { role, .. } => Some(Remedy::new(format!("see `0711 logs {role}`"))),
            Self::Engine { .. } => Some(Remedy::new(
                "see whether Docker runs (`docker info`); `0711 preflight --docker` says what it lacks",
            )),
            Self::ContainerAbsent { .. } | Self::Blob { .. } => {
                Some(Remedy::new("run `0711 install` again: it makes what is missing"))
            }
            Self::Load { .. } | Self::NotLoaded { .. } => {
                Some(Remedy::new("see the engine's log (`journalctl -u docker`), then run the same command again"))
            }
            Self::NoImage { image } => Some(Remedy::new(format!(
                "see `docker image ls`; `docker pull {image}` or `docker build` brings it there"
            ))),
            Self::Export { .. } => Some(Remedy::new("check that there is space and that you may write there")),
            Self::Compose { .. } => Some(Remedy::new(
                "see whether `docker compose version` says 2 or newer, and what stands in docker-compose.override.yml",
            )),
            Self::ComposeRefused { .. } => Some(Remedy::new(
                "correct that file, or move your own changes away, then run the same command again; what runs was left as it is",
            )),
            Self::ChangesRefused { .. } => Some(Remedy::new(
                "take that out of the file, then run the same command again; what runs was left as it is",
            )),
            Self::ComposeBusy { .. } => Some(Remedy::new(
                "see whether Docker answers (`docker info`) and whether a `docker compose` hangs, then run the same command again",
            )),
            Self::Rules { table, .. } => Some(Remedy::new(format!("as root, run `nft delete table inet {table}`"))),
            Self::Lock(_) | Self::Record { .. } | Self::Stop { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::PortHeld { .. } | Self::Start { .. } | Self::Engine { .. } | Self::ContainerAbsent { .. } => {
                Exit::Unavailable
            }
            Self::Blob { .. } => Exit::Damaged,
            _ => Exit::Failed,
        }
    }
}
