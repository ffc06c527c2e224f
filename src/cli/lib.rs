//! The command line: arguments, one file per verb, the wizard, the printer and the progress display.
//!
//! The only room that touches the terminal, reads the environment and wires rooms together. It decides nothing that a
//! library should decide: a verb turns flags into values, calls a room, and prints what comes back.

mod args;
mod context;
mod failure;
mod job;
mod local;
mod printer;
mod progress;
mod start;
mod updates;
mod verb;
mod wizard;

pub use start::main;
