use std::{io, path::PathBuf};

use base::{Digest, Exit, Explain, Remedy, Timestamp};

use super::Shortage;

/// Why a release could not be made, signed or proven.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the specification `{path}`: {reason}", path = .path.display())]
    Spec { path: PathBuf, reason: String },
    #[error("cannot use `{path}` for the release: {reason}", path = .path.display())]
    Source { path: PathBuf, reason: String },
    #[error("cannot write `{path}`", path = .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read `{path}`: {reason}", path = .path.display())]
    Read { path: PathBuf, reason: String },
    #[error("a private key cannot be used")]
    Key(#[from] base::SeedError),
    #[error("cannot sign: {reason}")]
    Sign { reason: String },
    #[error("`{path}` is already there", path = .path.display())]
    Exists { path: PathBuf },
    #[error("the bundle's metadata was refused: {reason}")]
    Metadata { reason: String },
    #[error("the bundle's metadata is older than what this machine has seen: {reason}")]
    Older { reason: String },
    #[error("the bundle's metadata expired on {expired}, and it is {now}")]
    Expired { expired: Timestamp, now: Timestamp },
    #[error("`release.json` was refused: {reason}")]
    Release { reason: String },
    #[error("the release {offered} is older than the installed {installed}")]
    Rollback { offered: semver::Version, installed: semver::Version },
    #[error("the blob {digest} is missing")]
    Missing { digest: Digest },
    #[error("the blob {digest} was refused: {reason}")]
    Blob { digest: Digest, reason: String },
    #[error("the part `{part}` was refused: {reason}")]
    Part { part: String, reason: String },
    #[error("image `{name}` was refused: {reason}")]
    Image { name: String, reason: String },
    #[error("cannot pull `{image}`: {reason}")]
    Pull { image: String, reason: String },
    #[error("what the registry gave as {digest} of `{image}` was refused: {reason}")]
    Pulled { image: String, digest: Digest, reason: String },
    #[error("no release root is trusted here")]
    NoRoot,
    #[error("cannot use the channel `{address}`: {reason}")]
    Channel { address: String, reason: String },
    #[error("the channel does not answer: {reason}")]
    Unreachable { reason: String },
    #[error("the trusted metadata `{path}` is damaged: {reason}", path = .path.display())]
    Trusted { path: PathBuf, reason: String },
    #[error("another 0711 process works in `{path}`", path = .path.display())]
    Locked { path: PathBuf },
    #[error("there is too little space: {shortage}")]
    Space { shortage: Shortage },
    #[error(transparent)]
    Seen(#[from] base::SeenError),
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::Spec { .. } => "correct the specification; `bundles/platform.yaml` is an example",
            Self::Source { .. } => "check the path or the name, and build or fetch it again",
            Self::Write { source, .. } if crate::error::is_full(source) => {
                "free some space there, then run the same command again: it goes on where it stopped"
            }
            Self::Write { .. } => "check that there is space and that you may write there",
            Self::Read { .. } => "check the path and its rights",
            Self::Key(_) => "name a key made by `0711 release keygen`, mode 0600",
            Self::Sign { .. } => "name every key the root asks for with `--key FILE`",
            Self::Exists { .. } => "name another folder; nothing is overwritten",
            Self::Metadata { .. } | Self::Release { .. } => {
                "get the bundle again from its maker; if it stays so, do not install it and tell them"
            }
            Self::Older { .. } | Self::Rollback { .. } => {
                "get the newest bundle from its maker: an older one is never installed over a newer"
            }
            Self::Expired { .. } => {
                "get a newer bundle from its maker; if this one should still hold, check this machine's clock with `date`"
            }
            Self::Missing { .. } | Self::Blob { .. } | Self::Image { .. } => {
                "copy the bundle again: it is damaged or incomplete; `0711 bundle repair needs` lists just what is"
            }
            Self::Part { .. } => "copy that part again, and name every folder that holds parts",
            Self::Pull { .. } => {
                "check the name and the network, and for an image that is not public `docker login`; the same command goes on where it stopped"
            }
            Self::Pulled { .. } => {
                "run the same command again; if it stays so, do not use this registry, or what stands between, for this image"
            }
            Self::Channel { .. } => "correct the address or the option",
            Self::Unreachable { .. } => {
                "check the network, `--proxy` and `--ca`; the same command goes on where it stopped"
            }
            Self::Trusted { path, .. } => {
                let dir = path.parent().unwrap_or(path).display();
                return Some(Remedy::new(format!(
                    "find out what damaged it; if nobody attacked this machine, remove `{dir}`: trust then begins at the root again"
                )));
            }
            Self::Locked { .. } => "wait for the other command, then try again",
            Self::Space { shortage } => {
                return Some(Remedy::new(format!(
                    "free {} MB on the file system of `{}`, or name a folder elsewhere",
                    megabytes(shortage.missing_bytes()),
                    shortage.path.display()
                )));
            }
            Self::Seen(error) => return error.remedy(),
            Self::NoRoot => {
                "put the vendor's `root.json`, obtained separately, into the folder `trust.d`, or name it with `--trust-root FILE`"
            }
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Spec { .. } | Self::Exists { .. } | Self::Key(_) | Self::Channel { .. } => Exit::Usage,
            Self::Unreachable { .. } => Exit::Unavailable,
            Self::Locked { .. } => Exit::Locked,
            Self::Seen(error) => error.exit(),
            Self::Source { .. } | Self::Write { .. } | Self::Read { .. } | Self::Sign { .. } | Self::Space { .. } => {
                Exit::Failed
            }
            Self::Trusted { .. } | Self::Metadata { .. } | Self::Release { .. } | Self::NoRoot => Exit::Untrusted,
            Self::Older { .. } | Self::Rollback { .. } => Exit::Older,
            Self::Expired { .. } => Exit::Expired,
            Self::Pull { .. } => Exit::Unavailable,
            Self::Missing { .. } | Self::Blob { .. } | Self::Image { .. } | Self::Part { .. } | Self::Pulled { .. } => {
                Exit::Damaged
            }
        }
    }
}

/// Rounds up, so that nobody frees too little.
pub(super) fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}
