use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A service of the stack: one process (or container) of the same binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Embed,
    Llm,
    Lake,
    Ingest,
    Trainer,
    Console,
}

/// The gateway's OpenAI-compatible API stands at the base of a customer's block of ports.
pub const API_OFFSET: u16 = 0;

/// A text names no role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no role; the roles are embed, llm, lake, ingest, trainer and console")]
pub struct UnknownRole(String);

impl Role {
    /// Every role in start order: none needs a later one to become ready. They stop in reverse.
    pub const ALL: [Self; 6] = [Self::Embed, Self::Llm, Self::Lake, Self::Ingest, Self::Trainer, Self::Console];

    /// Returns the name used on the command line, in files and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Llm => "llm",
            Self::Lake => "lake",
            Self::Ingest => "ingest",
            Self::Trainer => "trainer",
            Self::Console => "console",
        }
    }

    /// Returns the role's place in a customer's block of 100 ports.
    pub const fn port_offset(self) -> u16 {
        match self {
            Self::Embed => 1,
            Self::Console => 10,
            Self::Trainer => 30,
            Self::Lake => 40,
            Self::Ingest => 41,
            Self::Llm => 60,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| UnknownRole(text.chars().take(40).collect()))
    }
}
