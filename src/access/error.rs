use std::path::PathBuf;

use base::{Explain, Remedy, SecretError};

/// Why access could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot get random bytes from the kernel")]
    Random(#[source] std::io::Error),
    #[error("cannot hash the password: {reason}")]
    Hash { reason: String },
    #[error("the stored password hash cannot be used: {reason}")]
    StoredHash { reason: String },
    #[error("the password is too short: {length} characters, at least {least} are needed")]
    TooShort { length: usize, least: usize },
    #[error("the password is too long: {length} bytes, at most {most} are read")]
    TooLong { length: usize, most: usize },
    #[error("cannot read the password hash")]
    Read(#[source] SecretError),
    #[error("cannot write the password hash `{path}`", path = .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot use the list of people `{path}`: {reason}", path = .path.display())]
    People { path: PathBuf, reason: String },
    #[error("`{0}` cannot be the name of a person, a program or a group")]
    Name(String),
    #[error("`{0}` is not the name of a host")]
    HostName(String),
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::Random(_) | Self::Hash { .. } => return None,
            Self::StoredHash { .. } | Self::Read(_) => {
                "run `0711 install` again; it makes a new password where none can be read"
            }
            Self::People { .. } => "`0711 access list` reads it; remove it to begin with nobody but the administrator",
            Self::Name(_) => "use letters, digits, `-`, `_`, `.` and `@`; `admin` is the administrator",
            Self::TooShort { .. } | Self::TooLong { .. } => "choose another password",
            Self::Write { .. } => "check that the folder exists and that you may write there",
            Self::HostName(_) => {
                "write a name or address as it stands in the browser, such as `brain.example.com` or `192.168.1.5:5110`"
            }
        };
        Some(Remedy::new(text))
    }
}
