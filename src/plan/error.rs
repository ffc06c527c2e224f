use base::{Exit, Explain, Remedy};

use crate::Faults;

/// What can go wrong while deciding, or while reading what was decided.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not YAML of this shape.
    #[error("cannot read the answers")]
    AnswersUnreadable {
        /// Says where.
        #[source]
        source: serde_yaml::Error,
    },
    /// The file is not JSON of this shape.
    #[error("cannot read the {what}")]
    Unreadable {
        /// Which file.
        what: &'static str,
        /// Says where.
        #[source]
        source: serde_json::Error,
    },
    /// Another version of 0711 wrote it.
    #[error("the {what} has format {found}; this program knows format {known}")]
    FormatUnknown {
        /// Which file.
        what: &'static str,
        /// What it says.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// A value has no written form, for instance a path that is not UTF-8.
    #[error("cannot write the {what}")]
    Unwritable {
        /// Which file.
        what: &'static str,
        /// Says what.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A line before the last one does not belong where it stands.
    #[error("the journal is damaged at line {line}")]
    JournalDamaged {
        /// Counted from 1.
        line: usize,
    },
    /// The answers or the machine do not allow it.
    #[error(transparent)]
    Refused(#[from] Faults),
}

impl Explain for Error {
    fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::AnswersUnreadable { .. } => {
                Some(Remedy::new("correct the file, or leave out `--answers` and let the wizard write one"))
            }
            Self::FormatUnknown { .. } => Some(Remedy::new("use the version of 0711 that wrote it, or a newer one")),
            Self::JournalDamaged { .. } => Some(Remedy::new(
                "move the journal aside and run `0711 install` again: every step is then checked, and nothing that holds is repeated",
            )),
            Self::Refused(faults) => faults.remedy(),
            Self::Unreadable { .. } | Self::Unwritable { .. } => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::AnswersUnreadable { .. } => Exit::Usage,
            Self::Refused(faults) => faults.exit(),
            _ => Exit::Failed,
        }
    }
}
