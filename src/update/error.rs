use std::path::PathBuf;

use base::{Exit, Explain, Remedy, Slug};

/// What can go wrong while a release is replaced.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process carries out an update.
    #[error("cannot begin: {holder} is at work on an update")]
    Locked {
        /// Who.
        holder: String,
    },
    /// The lock file is unusable.
    #[error("cannot take the lock of updates")]
    Lock(#[source] base::file::LockError),
    /// A file of ours is damaged, or of another version.
    #[error("cannot use `{}`: {reason}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file could not be read, written, copied or removed.
    #[error("cannot {act} `{}`", path.display())]
    File {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Says why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing is installed, so nothing can be updated.
    #[error("nothing is installed here")]
    NothingInstalled,
    /// The bundle's program cannot be taken out.
    #[error("cannot use the bundle")]
    Release(#[source] bundle::release::ReleaseError),
    /// A version's program ended with an error.
    #[error("`0711 {verb}` of {version} failed: {said}")]
    Program {
        /// What it was to do.
        verb: String,
        /// Whose program.
        version: String,
        /// The last it said.
        said: String,
    },
    /// The engine did not take the images. They are proven, so that is no fault of the release.
    #[error("the images of {version} could not be loaded")]
    Images {
        /// Whose images.
        version: String,
        /// Says why.
        #[source]
        source: Box<Error>,
    },
    /// The way back is not there, so nothing is stopped.
    #[error("{version} could not be put back: {lack}")]
    NoWayBack {
        /// What runs.
        version: String,
        /// What is missing for going back to it.
        lack: String,
    },
    /// What is to be installed is not there any more.
    #[error("`{}` is not there any more", path.display())]
    Gone {
        /// The bundle, or the program that was taken out of it.
        path: PathBuf,
    },
    /// There is too little room.
    #[error("`{}` has {free_bytes} bytes free, {needed_bytes} are needed for {what}", path.display())]
    NoRoom {
        /// On which file system.
        path: PathBuf,
        /// For what.
        what: &'static str,
        /// In bytes.
        free_bytes: u64,
        /// In bytes.
        needed_bytes: u64,
    },
    /// The new release is not as good as the old one.
    #[error("{slug}: {reason}")]
    Worse {
        /// Whose stack.
        slug: Slug,
        /// In which way.
        reason: String,
    },
    /// A customer's stack does not run as it should.
    #[error("{slug}: {reason}")]
    NotServing {
        /// Whose.
        slug: Slug,
        /// What the agent says.
        reason: String,
    },
    /// An order to the agent failed.
    #[error("the agent does not answer")]
    Agent(#[source] stack::http::CallError),
    /// The installation's own records.
    #[error(transparent)]
    Install(install::Error),
    /// There is no update that could be taken back.
    #[error("there is no installed update to take back")]
    NothingToTakeBack,
    /// Ctrl-C, before anything was touched.
    #[error("stopped; nothing was changed")]
    Interrupted,
}

impl Error {
    pub(crate) fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { act, path, source }
    }
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::Locked { .. } => "wait for it; `0711 update status` says how far it is",
            Self::NothingInstalled => "run `0711 install`",
            Self::Release(error) => return error.remedy(),
            Self::Install(error) => return error.remedy(),
            Self::NoWayBack { .. } => {
                "run `0711 install` of the release that is installed once more, then update again"
            }
            Self::Gone { .. } => "bring it back, or give the update up with `0711 update hold VERSION`",
            Self::NoRoom { .. } => "free space there, then run `0711 update` again",
            Self::Program { .. } | Self::NotServing { .. } | Self::Worse { .. } => {
                "`0711 update status` says what was done; ask the maker with `0711 logs` at hand"
            }
            Self::Images { .. } => "see that the engine runs (`docker info`), then run `0711 update` again",
            Self::Agent(_) => "run `0711 start`",
            Self::Interrupted => "the same command begins again where it stopped",
            _ => return None,
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Locked { .. } => Exit::Locked,
            Self::NothingInstalled | Self::NothingToTakeBack => Exit::Usage,
            Self::Release(error) => error.exit(),
            Self::Install(error) => error.exit(),
            Self::NoRoom { .. } => Exit::Preflight,
            Self::Agent(_) | Self::Images { .. } => Exit::Unavailable,
            Self::Interrupted => Exit::Interrupted,
            _ => Exit::Failed,
        }
    }
}
