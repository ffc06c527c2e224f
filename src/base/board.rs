//! What the agent tells the console, over a socket of the console's own: no path, no process, no command.

use serde::{Deserialize, Serialize};

use crate::Role;

/// What `GET /v1/status` answers there. The agent writes it, the console reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// Version of this format: 1.
    pub format: u32,
    /// The roles in start order.
    pub services: Vec<BoardService>,
    /// What people should know, each in one sentence.
    pub notices: Vec<Notice>,
    /// A release that waits for somebody to say yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<BoardRelease>,
}

/// A release newer than the one that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardRelease {
    pub version: String,
    /// Somebody said yes: it is installed when its time comes.
    pub is_approved: bool,
}

/// One role, for people who cannot do anything about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardService {
    pub role: Role,
    pub state: BoardState,
}

/// How a role is, as far as people who ask need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoardState {
    Ok,
    /// It works on something large; answers may take longer.
    Busy,
    Starting,
    /// It is kept down on purpose: stopped, or for want of room.
    Resting,
    Down,
}

/// What people should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Notice {
    /// A disk fills up.
    DiskShort,
    /// New documents are not read, and nothing is learned, until there is room.
    Resting,
    /// Also nothing is written but what is asked.
    Protected,
    /// The license ends soon, or has ended.
    License,
}

impl Board {
    /// The version of the format this program writes and reads.
    pub const FORMAT: u32 = 1;
}
