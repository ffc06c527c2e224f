//! Reading in child processes: a file that crashes, hangs or swells takes its worker with it and nothing else.
//!
//! The parent opens the file and sends its bytes down the worker's standard input; the answer comes back on its standard
//! output. The worker itself has no file to open, no network and no program to start ([`crate::sandbox`]).

mod child;
mod open;
mod pool;
mod wire;

pub use child::main;
pub(crate) use child::{end_with_parent, message, send};
pub(crate) use open::open;
pub use pool::Pool;
pub(crate) use wire::{MAX_MESSAGE_BYTES, encode};
