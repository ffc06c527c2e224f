//! Signed bytes become an [`Entitlement`], or a refusal a person understands.
//!
//! A license is a DSSE envelope (the signing envelope of in-toto and Sigstore) over JSON of payload type
//! [`PAYLOAD_TYPE`], signed with Ed25519. [`verify`] is for a license that is about to be accepted, [`authenticate`] for
//! one that is installed already: its age is then a matter of its [`Standing`], because expiry never stops answering.
//!
//! Refused: a signature by a key that is not compiled in, or by one that may not sign this content; another payload type;
//! keys that appear twice, at any depth; unknown fields; weak keys; files that are no regular file or larger than 64 KiB.
//!
//! Invariants:
//! - the bytes whose signature was checked are the bytes that are parsed, and nothing of a payload is parsed before that;
//! - only [`verify`] and [`authenticate`] make an [`Entitlement`];
//! - license roots come from the binary ([`TrustRoots::embedded`]): no code here reads a root from the disk, so a file
//!   in `trust.d` can never add one;
//! - private key bytes are wiped from memory when they are dropped, and written only by [`keygen`], mode 0600.

mod describe;
mod embedded;
mod entitlement;
mod envelope;
mod error;
mod find;
mod format;
mod issue;
mod keys;
mod machine;
mod standing;
mod trust;
mod verify;

#[cfg(test)]
mod tests;

pub use base::Seen;
pub use describe::Description;
pub use embedded::{embedded_demo, embedded_roots};
pub use entitlement::{Edition, Entitlement};
pub use envelope::PAYLOAD_TYPE;
pub use error::Error;
pub use find::{Found, Origin, find};
pub use issue::{Request, issue};
pub use keys::{PrivateKey, keygen};
pub use machine::{MachineBinding, MachineFact, machine_hash};
pub use standing::{Standing, WARNING_DAYS};
pub use trust::{Limits, Root, TrustRoots};
pub use verify::{authenticate, load, load_installed, verify};
