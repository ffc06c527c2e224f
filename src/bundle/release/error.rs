use std::{io, path::PathBuf};

use base::{Digest, Exit, Explain, Remedy};

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
    #[error("the bundle's metadata expired on {expired}")]
    Expired { expired: String },
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
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::Spec { .. } => "correct the specification; `bundles/platform.yaml` is an example",
            Self::Source { .. } => "check the path or the name, and build or fetch it again",
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
            Self::Expired { .. } => "get a newer bundle, or check this machine's clock with `date`",
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
            Self::NoRoot => {
                "put the vendor's `root.json`, obtained separately, into the folder `trust.d`, or name it with `--trust-root FILE`"
            }
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Spec { .. } | Self::Exists { .. } | Self::Key(_) => Exit::Usage,
            Self::Source { .. } | Self::Write { .. } | Self::Read { .. } | Self::Sign { .. } => Exit::Failed,
            Self::Metadata { .. } | Self::Release { .. } | Self::NoRoot => Exit::Untrusted,
            Self::Older { .. } | Self::Rollback { .. } => Exit::Older,
            Self::Expired { .. } => Exit::Expired,
            Self::Pull { .. } => Exit::Unavailable,
            Self::Missing { .. } | Self::Blob { .. } | Self::Image { .. } | Self::Part { .. } | Self::Pulled { .. } => {
                Exit::Damaged
            }
        }
    }
}
