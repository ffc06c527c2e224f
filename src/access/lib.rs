//! Who may ask, and in which groups they are: passwords, logins that slow an attacker down, sessions, and the host names the console answers to.
//!
//! This room knows nothing of HTTP; the console hands it the values of headers and cookies. Time is always handed in.
//!
//! Refused: a password guessed faster than the back-off allows, a session that idled, is too old or was begun with another password than
//! the account has now, a form without its session's CSRF token, a `Host` or `Origin` nobody configured (that is how a web page elsewhere reaches a service on
//! loopback).
//!
//! Invariants:
//! - a password is kept only as argon2id, a session id and a program's token only as their sha256;
//! - whatever strangers send, memory is bounded;
//! - an attempt to log in counts before the password is looked at, so that parallel guesses gain nothing.

mod error;
mod hosts;
mod password;
mod people;
mod sessions;
mod throttle;

pub use error::Error;
pub use hosts::HostAllowList;
pub use password::{PasswordHash, generate_password};
pub use people::{ADMINISTRATOR, Asker, People};
pub use sessions::{NewSession, Session, Sessions};
pub use throttle::{LoginThrottle, RetryAfter};
