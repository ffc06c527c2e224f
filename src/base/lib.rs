//! The words every room shares: digests, slugs, places, roles, times, secrets, signed envelopes, paths, atomic files and
//! long-running jobs.
//!
//! Invariants:
//! - only this room builds paths ([`Layout`]); nobody else joins a file name to a product folder;
//! - a [`Secret`] has no `Display` and its `Debug` shows nothing;
//! - a file written through [`file::write_atomic`] is whole or absent after a crash, never half there.
//!
//! It reads no environment but the two variables that say where a user's cache is ([`Layout::model_cache`]).

mod board;
pub mod config;
mod digest;
pub mod dsse;
mod explain;
pub mod file;
pub mod generated;
pub mod job;
mod layout;
mod place;
mod pulse;
mod rights;
mod role;
mod secret;
mod seed;
mod seen;
mod slug;
pub mod strict;
mod time;

pub use board::{Board, BoardRelease, BoardService, BoardState, Notice};
pub use digest::{Digest, DigestParseError, DigestWriter};
pub use explain::{Exit, Explain, Remedy};
pub use layout::{CustomerLayout, Layout};
pub use place::Place;
pub use pulse::{Beat, Canary, Pulse, Running};
pub use rights::Rights;
pub use role::{API_OFFSET, Role, UnknownRole};
pub use secret::{Secret, SecretError};
pub use seed::{Seed, SeedError};
pub use seen::{Seen, SeenError};
pub use slug::{Slug, SlugError};
pub use time::{Clock, TimeParseError, Timestamp, rfc3339};
