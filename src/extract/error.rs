use base::{Exit, Explain, Remedy};
use serde::{Deserialize, Serialize};

/// Why a file gave no text. Serialisable because it crosses the worker's pipe; every reason is a sentence fragment that goes
/// into a report as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// The bytes are damaged, or cannot be had.
    #[error("the file cannot be read: {reason}")]
    Unreadable { reason: String },
    /// A password is needed.
    #[error("the file is protected by a password")]
    Encrypted,
    /// The file, or what comes out of it, is larger than the limit.
    #[error("{what} is larger than the limit of {limit_bytes} bytes")]
    TooLarge { what: String, limit_bytes: u64 },
    /// No reader knows the format.
    #[error("no reader for this format: {format}")]
    Unsupported { format: String },
    /// Not a file with content: a directory, pipe, socket, device or symbolic link.
    #[error("not a regular file but {kind}")]
    NotRegular { kind: String },
    /// The worker was stopped because the file took too long.
    #[error("reading took longer than {seconds} s and was stopped")]
    TimedOut { seconds: u64 },
    /// The worker wanted more memory than it may have.
    #[error("reading needed more than {limit_bytes} bytes of memory and was stopped")]
    OutOfMemory { limit_bytes: u64 },
    /// The worker died of the file.
    #[error("the reader crashed on this file ({})", describe_end(.signal))]
    Crashed { signal: Option<i32> },
    /// No worker could be started: nothing is wrong with the file.
    #[error("the worker process cannot be started: {reason}")]
    NoWorker { reason: String },
}

impl Error {
    pub(crate) fn unreadable(reason: impl Into<String>) -> Self {
        Self::Unreadable { reason: reason.into() }
    }

    pub(crate) fn unsupported(format: impl Into<String>) -> Self {
        Self::Unsupported { format: format.into() }
    }

    /// Whether nobody knows what the file is: a handler may be written for it. A format that is known and not read is none of these.
    pub fn is_unknown_format(&self) -> bool {
        matches!(self, Self::Unsupported { format } if format.contains("of unknown kind"))
    }

    /// Returns the one-word kind of the failure, for counting in reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::Encrypted => "encrypted",
            Self::TooLarge { .. } => "too large",
            Self::Unsupported { .. } => "unsupported",
            Self::NotRegular { .. } => "not a file",
            Self::TimedOut { .. } => "timed out",
            Self::OutOfMemory { .. } => "out of memory",
            Self::Crashed { .. } => "crashed",
            Self::NoWorker { .. } => "no worker",
        }
    }
}

fn describe_end(signal: &Option<i32>) -> String {
    match signal {
        Some(6) => "signal 6, aborted".to_owned(),
        Some(9) => "signal 9, killed".to_owned(),
        Some(11) => "signal 11, invalid memory or stack overflow".to_owned(),
        Some(24) => "signal 24, processor time used up".to_owned(),
        Some(number) => format!("signal {number}"),
        None => "it ended without an answer".to_owned(),
    }
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::Encrypted => "save a copy without a password and read that",
            Self::TooLarge { .. } => "split the file, or unpack it into the folder",
            Self::Unsupported { .. } => "export it as PDF, CSV or text",
            Self::Unreadable { .. } => {
                "open it in the program that made it and save it again, or restore it from a backup"
            }
            _ => return None,
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::TooLarge { .. } | Self::TimedOut { .. } | Self::OutOfMemory { .. } => Exit::Failed,
            Self::NoWorker { .. } => Exit::Unavailable,
            _ => Exit::Failed,
        }
    }
}
