use base::{Exit, Explain, Remedy};
use serde::{Deserialize, Serialize};

/// Why a handler's run was ended, or gave nothing. Serialisable because it crosses the worker's pipe and goes back to the model
/// that wrote the handler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Refusal {
    /// The source cannot be compiled.
    #[error("line {line}: {message}")]
    Syntax { message: String, line: u32 },
    /// An exception nobody caught.
    #[error("line {line}: {exception}: {message}")]
    Raised { exception: String, message: String, line: u32 },
    /// It asked for something of the machine.
    #[error("it asked for `{what}`, which no handler gets")]
    Forbidden { what: String },
    /// It took too long.
    #[error("it ran longer than {limit_ms} ms and was stopped")]
    Time { limit_ms: u64 },
    /// It wanted too much memory.
    #[error("it wanted more than {limit_bytes} bytes of memory and was stopped")]
    Memory { limit_bytes: u64 },
    /// Its functions called each other too deep.
    #[error("its functions call each other deeper than {limit}")]
    Recursion { limit: u32 },
    /// It emitted, or unpacked, too much.
    #[error("it gave more than {limit} {what} and was stopped")]
    Output { what: String, limit: u64 },
    /// It called host functions too often.
    #[error("it called host functions more than {limit} times and was stopped")]
    Calls { limit: u64 },
    /// There is nothing to call.
    #[error("it defines no function `handle(name, size)`")]
    NoHandle,
    /// The source, or the file, is larger than a handler may be or get.
    #[error("{what} is larger than the limit of {limit_bytes} bytes")]
    TooLarge { what: String, limit_bytes: u64 },
    /// The interpreter failed, which is a defect of it.
    #[error("the interpreter failed: {reason}")]
    Interpreter { reason: String },
    /// The process died of it.
    #[error("its process died ({})", .signal.map_or_else(|| "without a word".to_owned(), |signal| format!("signal {signal}")))]
    Crashed { signal: Option<i32> },
    /// The file cannot be had.
    #[error("the file cannot be read: {reason}")]
    Unreadable { reason: String },
    /// No process could be started: nothing is wrong with the handler.
    #[error("the process of the handler cannot be started: {reason}")]
    NoWorker { reason: String },
}

impl Refusal {
    /// Returns the refusal's name, for reports and counts.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "syntax",
            Self::Raised { .. } => "raised",
            Self::Forbidden { .. } => "forbidden",
            Self::Time { .. } => "time",
            Self::Memory { .. } => "memory",
            Self::Recursion { .. } => "recursion",
            Self::Output { .. } => "output",
            Self::Calls { .. } => "calls",
            Self::NoHandle => "no handle",
            Self::TooLarge { .. } => "too large",
            Self::Interpreter { .. } => "interpreter",
            Self::Crashed { .. } => "crashed",
            Self::Unreadable { .. } => "unreadable",
            Self::NoWorker { .. } => "no worker",
        }
    }
}

impl Explain for Refusal {
    fn remedy(&self) -> Option<Remedy> {
        let text = match self {
            Self::NoWorker { .. } => "free memory or processes of this machine, then try again",
            Self::Unreadable { .. } => "check the path and the rights of the file",
            Self::TooLarge { .. } => "split the file, or export it in another format",
            _ => "mend the handler and add it again with `0711 handlers add FILE.py`",
        };
        Some(Remedy::new(text))
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoWorker { .. } => Exit::Unavailable,
            _ => Exit::Failed,
        }
    }
}
