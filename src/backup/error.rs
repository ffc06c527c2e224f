use std::{
    io,
    path::{Path, PathBuf},
};

use base::{Exit, Explain, Remedy, SecretError, Slug, file::LockError};
use rustix::io::Errno;

/// Why a backup could not be made, proven, restored or pruned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {act} `{name}` in the backup")]
    Target {
        act: &'static str,
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("the place of the backup, `{place}`, is full")]
    TargetFull {
        place: String,
        #[source]
        source: io::Error,
    },
    #[error("`{place}` went away while it was worked on")]
    TargetGone { place: String },
    #[error("`{place}` cannot hold a backup: {reason}")]
    Place { place: String, reason: String },
    #[error("there is no backup at `{place}`")]
    NoRepository { place: String },
    #[error("`{what}` of the backup was written by a newer 0711 (format {found}, this one knows {known})")]
    Newer { what: String, found: u32, known: u32 },
    #[error("this key does not open the backup")]
    WrongKey,
    #[error("no key of this backup is kept here, and none was given")]
    NoKey,
    #[error("the backup has no passphrase")]
    NoPassphrase,
    #[error("the recovery key cannot be used: {reason}")]
    KeyText { reason: String },
    #[error("the key file cannot be used")]
    KeyFile {
        #[source]
        source: SecretError,
    },
    #[error("the passphrase cannot be used: {reason}")]
    Passphrase { reason: String },
    #[error("`{what}` of the backup is damaged: {why}")]
    Damaged { what: String, why: String },
    #[error("`{what}` is missing in the backup")]
    Missing { what: String },
    #[error("the backup holds generation {found}, and this machine has seen {seen}: it was put back to an older state")]
    RolledBack { seen: u64, found: u64 },
    #[error("the backup is in use by {holder}")]
    InUse { holder: String },
    #[error("somebody else changed the backup meanwhile")]
    Changed,
    #[error("a backup of this customer is being made")]
    Busy(#[source] LockError),
    #[error("this customer is being restored")]
    Restoring(#[source] LockError),
    #[error("cannot read `{path}`", path = .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write `{path}`", path = .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write down `{name}`")]
    Encode {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` is not as this program writes it: {reason}", path = .path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("there is nothing of `{0}` to back up")]
    Nothing(Slug),
    #[error("there is no backup {which} here")]
    NoSnapshot { which: String },
    #[error("`{which}` stands for several backups")]
    Ambiguous { which: String },
    #[error("the backup has several customers: {customers}")]
    WhichCustomer { customers: String },
    #[error("`{path}` is in place already", path = .path.display())]
    Occupied { path: PathBuf },
    #[error("the services of this installation run")]
    Running(#[source] LockError),
    #[error("`{path}` has {free_bytes} bytes free, and {needed_bytes} are needed", path = .path.display())]
    Space { path: PathBuf, needed_bytes: u64, free_bytes: u64 },
    #[error("no backup would be kept by this rule")]
    NoRule,
    #[error("stopped")]
    Interrupted,
}

impl Error {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }

    pub(crate) fn damaged(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged { what: what.into(), why: why.into() }
    }

    /// Whether it says that a part of the repository is not what was written. A network that is down, and rights that are
    /// lacking, say nothing about it.
    pub(crate) fn is_of_content(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Missing { .. } | Self::Newer { .. } => true,
            Self::Target { source, .. } => {
                let is_of_medium = source.raw_os_error().is_some_and(|code| {
                    [Errno::IO, Errno::BADMSG, Errno::UCLEAN].map(Errno::raw_os_error).contains(&code)
                });
                is_of_medium
                    || matches!(
                        source.kind(),
                        io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
                    )
            }
            _ => false,
        }
    }
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::Target { .. } => "check that the medium is in place, and its rights; then run the same command again",
            Self::TargetFull { .. } => {
                "run `0711 backup prune --keep-daily 7 --keep-weekly 4`, or use a larger medium; what was written is used by the next run"
            }
            Self::TargetGone { .. } => "put the medium back and run the same command again; it goes on from there",
            Self::Place { .. } => "name a new or an empty folder with `--to DIR`",
            Self::NoRepository { .. } => {
                "check the path and that the medium is mounted; `0711 backup create --to DIR` makes a backup"
            }
            Self::Newer { .. } => "use the version of 0711 that wrote it, or a later one",
            Self::WrongKey | Self::NoKey => {
                "give the recovery key or the passphrase: `--key-file FILE` or `--passphrase-file FILE`, both mode 0600"
            }
            Self::NoPassphrase => "give the recovery key with `--key-file FILE`",
            Self::KeyText { .. } => "type it as it was shown: 14 groups of four letters and digits",
            Self::KeyFile { .. } => "name a file with one line, mode 0600",
            Self::Passphrase { .. } => "choose a longer one, or check the one you typed",
            Self::Damaged { .. } | Self::Missing { .. } => {
                "run `0711 backup verify` to see all of it, and `0711 backup verify --mend` so that the next backup makes good what is still there"
            }
            Self::RolledBack { .. } => {
                "use the newest copy of the backup; `--accept-older` goes on with this one all the same"
            }
            Self::InUse { .. } => "wait for it, or add `--wait`",
            Self::Changed => "run the same command again; what was written is used by it",
            Self::Busy(_) => "wait for it; `0711 backup list` shows the last one",
            Self::Restoring(_) => "wait for it; what it put in place is then found there",
            Self::Read { .. } => "check its rights; as root everything of the installation can be read",
            Self::Write { .. } | Self::Space { .. } => "check that there is space and that you may write there",
            Self::Malformed { .. } => "remove it, and give the flags again that made it",
            Self::Nothing(_) => "check `--root DIR` and `--slug SLUG`",
            Self::NoSnapshot { .. } | Self::Ambiguous { .. } => "`0711 backup list` shows the backups",
            Self::WhichCustomer { .. } => "name one with `--slug SLUG`",
            Self::Occupied { .. } => {
                "name an empty folder with `--root DIR`, or add `--replace`: what is there is moved aside, not deleted"
            }
            Self::Running(_) => "run `0711 stop` first",
            Self::NoRule => "add `--keep-last N`, `--keep-daily N` or `--keep-weekly N`",
            Self::Interrupted => "the same command goes on from there",
            Self::Encode { .. } => return None,
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Damaged { .. } | Self::Missing { .. } => Exit::Damaged,
            Self::RolledBack { .. } => Exit::Older,
            Self::InUse { .. } | Self::Changed | Self::Busy(_) | Self::Restoring(_) | Self::Running(_) => Exit::Locked,
            Self::NoRepository { .. } | Self::TargetGone { .. } => Exit::Unavailable,
            Self::Interrupted => Exit::Interrupted,
            Self::Place { .. }
            | Self::NoKey
            | Self::Nothing(_)
            | Self::NoSnapshot { .. }
            | Self::Ambiguous { .. }
            | Self::WhichCustomer { .. }
            | Self::Occupied { .. }
            | Self::NoRule => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}
