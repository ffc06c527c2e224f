//! The role `console`: the web page people ask on, and the OpenAI-compatible gateway programs ask through, in one process with two listeners.
//!
//! It holds no data of its own: answers come from the room `answer`, which reaches `lake`, `embed` and `llm` over HTTP.
//!
//! Invariants:
//! - nothing is served without a password session (page) or a token (gateway), except `/health`, the login form and its style;
//! - the page loads nothing from elsewhere and runs no inline script or style; its content policy says so to the browser;
//! - what somebody may not read is not in their answers, passages or counts, where permissions are on (`rights`);
//! - what changes state needs the session's CSRF token, and a `Host` that is a loopback name or listed in the configuration;
//! - the API token never reaches another role: requests are passed on with the role token.
//!
//! Who logs in, fails to, and logs out is in the console's audit log; what is asked is not.
//!
//! It refuses uploads. Sessions live in memory: after a restart everybody logs in again; what was asked is kept in the lake.

mod error;
mod gateway;
mod health;
mod rights;
mod serve;
mod state;
mod web;

pub use error::Error;
pub use serve::serve;
