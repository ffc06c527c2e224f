//! A client of The Update Framework, specification 1.0, for a channel of releases.
//!
//! It is our own, and small, because trust is what the product is for, and because the crate that signs releases (`tough`), read
//! line by line, reads them less strictly than is wanted here: it takes another timestamp of a version it has, lets a signed length
//! replace its own limit, counts a key by its name and not by its value, reads every delegation before one is needed, goes by a
//! clock that cannot be given, and keeps what it trusts re-written, in place, file by file, where a damaged file counts as none.
//! A test has both read the same sound and spoilt repositories, and `scripts/soak.sh tuf` lets python-tuf judge.
//!
//! Refused: what is not signed by enough of the right keys; what is older than anything that was trusted; what lists another file
//! than it gets; more bytes than the limit of its kind; on a machine with network, what has expired.
//!
//! Invariants:
//! - what is parsed is the very value whose canonical form was verified;
//! - what is trusted is kept byte for byte, each file replaced whole, and a damaged one is an error, never a fresh start;
//! - time goes by the later of the clock and the latest time seen;
//! - a key counts once, whatever it is called and however often it signed; Ed25519 is verified strictly.

mod canonical;
mod client;
mod error;
mod files;
mod format;
mod key;
mod metadata;
mod store;
mod targets;

#[cfg(test)]
mod tests;

pub use client::{Client, Limits, OnExpiry, Standing, check_root};
pub use error::Error;
pub(crate) use files::Kept;
pub use files::{FileError, Files, Tree, quoted};
pub use format::TargetFile;
pub use store::Store;
