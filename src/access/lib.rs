//! Who may ask: passwords, logins that slow an attacker down, sessions, and the host names the console answers to.
//!
//! This room knows nothing of HTTP; the console hands it the values of headers and cookies. Time is always handed in.
//!
//! Refused: a password guessed faster than the back-off allows, a session that idled or is too old, a form without its
//! session's CSRF token, a `Host` or `Origin` nobody configured (that is how a web page elsewhere reaches a service on
//! loopback).
//!
//! Invariants:
//! - a password is kept only as argon2id, a session id only as its sha256;
//! - whatever strangers send, memory is bounded;
//! - an attempt to log in counts before the password is looked at, so that parallel guesses gain nothing.

mod error;
mod hosts;
mod password;
mod sessions;
mod throttle;

pub use error::Error;
pub use hosts::HostAllowList;
pub use password::{PasswordHash, generate_password};
pub use sessions::{NewSession, Session, Sessions};
pub use throttle::{LoginThrottle, RetryAfter};
