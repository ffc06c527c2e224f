use std::{fmt, path::PathBuf};

use base::{Exit, Explain, Remedy};

/// Why there is no support bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What to look for could not be learned, and a bundle that was not searched is none.
    #[error("cannot read the secret `{}`, so nobody can say whether it is in the bundle", path.display())]
    SecretUnreadable {
        path: PathBuf,
        #[source]
        source: base::file::ReadError,
    },
    #[error("cannot list `{}`, where secrets are", path.display())]
    SecretsUnlisted {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot make the search for secrets")]
    Search(#[source] aho_corasick::BuildError),
    /// The bundle would have carried a secret.
    #[error("{} held a secret, so nothing was written{}", holders(.0.len()), list(.0))]
    Secret(Vec<Found>),
    #[error("cannot pack the bundle")]
    Pack(#[source] std::io::Error),
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// A secret that was found: where, and which; never what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file of the bundle.
    pub file: String,
    /// The secret's name.
    pub secret: String,
    /// How it was written there.
    pub form: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` holds the secret `{}` ({})", self.file, self.secret, self.form)
    }
}

fn holders(count: usize) -> String {
    if count == 1 { "a file".to_owned() } else { format!("{count} files") }
}

fn list(found: &[Found]) -> String {
    found.iter().map(|found| format!("\n- {found}")).collect()
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::SecretUnreadable { .. } | Self::SecretsUnlisted { .. } => {
                Some(Remedy::new("run it as the user the installation belongs to: root, unless it has a `--root`"))
            }
            Self::Secret(_) => Some(Remedy::new(
                "this should never happen: tell the maker which file it was; take the line out of that file, or make a new secret, then try again",
            )),
            Self::Write { .. } => Some(Remedy::new("name another file with `--out FILE`")),
            Self::Search(_) | Self::Pack(_) => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Secret(_) => Exit::Secret,
            _ => Exit::Failed,
        }
    }
}
