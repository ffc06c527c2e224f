use std::fmt;

/// The command, or the act, that mends an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy(pub String);

impl Remedy {
    /// Wraps the text of a remedy: an imperative, with the command in backquotes.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a room's error can say beyond its text: the cure, and the exit code the program ends with.
pub trait Explain: std::error::Error {
    /// Returns the command that mends it, where there is one.
    fn remedy(&self) -> Option<Remedy> {
        None
    }

    /// Returns the exit code the program ends with when this error reaches the user.
    fn exit(&self) -> Exit {
        Exit::Failed
    }
}

/// The program's exit codes. `0711 help exit-codes` prints this list; the numbers never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    License = 3,
    Preflight = 4,
    Locked = 5,
    Model = 6,
    Unavailable = 7,
    Limit = 8,
    Untrusted = 9,
    Older = 10,
    Expired = 11,
    Damaged = 12,
    Egress = 13,
    Unknown = 14,
    Tampered = 15,
    Secret = 16,
    /// `0711 doctor` found something wrong.
    Ill = 17,
    /// A backup was made, and lacks files that could not be read.
    Incomplete = 18,
    Interrupted = 130,
}

impl Exit {
    /// Every code, in the order of its number.
    pub const ALL: [Self; 20] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::License,
        Self::Preflight,
        Self::Locked,
        Self::Model,
        Self::Unavailable,
        Self::Limit,
        Self::Untrusted,
        Self::Older,
        Self::Expired,
        Self::Damaged,
        Self::Egress,
        Self::Unknown,
        Self::Tampered,
        Self::Secret,
        Self::Ill,
        Self::Incomplete,
        Self::Interrupted,
    ];

    /// Returns the number the process ends with.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns one line that says when the code is used.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Ok => "the command did what it was asked",
            Self::Failed => "the command failed; the message names the act and the cause",
            Self::Usage => "the command line or the answers are wrong or incomplete",
            Self::License => "the license was refused, or does not allow this",
            Self::Preflight => "this machine or these answers do not meet the plan's needs",
            Self::Locked => "another 0711 process holds the lock",
            Self::Model => "a model file is missing, damaged or cannot be fetched",
            Self::Unavailable => "a service this command needs does not answer",
            Self::Limit => "a limit of the license was reached; what fitted was done",
            Self::Untrusted => "a bundle or report is not signed by a trusted key, or is not what was signed",
            Self::Older => "a bundle or a backup is older than what this machine has seen or installed",
            Self::Expired => "a bundle's metadata has expired",
            Self::Damaged => "a bundle, a backup or the lake lacks a part, or one is not what was written",
            Self::Egress => "the services tried to reach something outside their own networks",
            Self::Unknown => "what was asked cannot be told here; the output says why",
            Self::Tampered => "the audit log, or an evidence pack, is not whole: something was changed or is missing",
            Self::Secret => "a support bundle would have carried a secret; nothing was written",
            Self::Ill => "`0711 doctor` found something wrong; each finding names the act that mends it",
            Self::Incomplete => "a backup was made, without the files that could not be read; they are listed",
            Self::Interrupted => "stopped by Ctrl-C or a signal; the same command goes on from there",
        }
    }
}
