use std::{io, path::PathBuf};

use base::{SeenError, Timestamp};

/// Why a repository's metadata, or a file of it, was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read `{file}` of the channel: {reason}")]
    Unavailable { file: String, reason: String },
    #[error("`{file}` was refused: {reason}")]
    Refused { file: String, reason: String },
    #[error("`{file}` has version {offered}, and version {trusted} was seen before")]
    Older { file: String, offered: u64, trusted: u64 },
    #[error("`{file}` expired on {expired}, and it is {now}")]
    Expired { file: String, expired: Timestamp, now: Timestamp },
    #[error("the trusted root cannot be used: {reason}")]
    TrustedRoot { reason: String },
    #[error("the trusted metadata `{path}` is damaged: {reason}", path = .path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("another process uses the trusted metadata in `{path}`", path = .path.display())]
    Locked { path: PathBuf },
    #[error("cannot write `{path}`", path = .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Seen(#[from] SeenError),
}
