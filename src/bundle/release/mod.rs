//! Release bundles: made and signed by the vendor, proven by the customer.
//!
//! A bundle is a folder:
//!
//! ```text
//! metadata/            TUF: every root, the timestamp, snapshot and targets (consistent snapshots)
//! targets/HEX.release.json   the one TUF target
//! blobs/sha256/HEX     image layers (zstd), image configurations and manifests, models, bills of materials
//! oci-layout, index.json     for other programs that read OCI layouts; nothing here trusts them
//! ```
//!
//! TUF signs `release.json`; `release.json` names every blob by digest and size. What is in a bundle and not named by it is
//! not used, and reported.
//!
//! The vendor: [`Build`], [`sign()`], [`publish`]. The customer: [`verify()`] for a bundle that was brought, [`Channel`] for one that
//! is to be fetched. A step that updates an installation goes
//!
//! 1. [`Channel::refresh`] → [`Offer`]: trust metadata brought up to date and kept, `release.json` proven;
//! 2. [`Offer::facts`]: version, oldest agent, schemas, expiry, and what would have to be fetched: decide;
//! 3. [`Offer::images`] brings the small documents, so that an engine can be asked which layers it holds;
//! 4. [`Offer::ledger`]: what it takes of each file system, with claims of the caller's own (the engine's folder, models);
//! 5. [`Offer::fetch`] → a bundle's folder, proven by the same [`verify()`] as one on a stick.
//!
//! Invariants:
//! - two builds of the same binary, specification and models are equal byte for byte;
//! - a [`VerifiedRelease`] exists only if the signatures and the digest of every blob held;
//! - no path of this room is made from a name of the bundle: files are found by digest. Whoever puts a model's folder in place makes paths
//!   of its files' names, which `release.json` is refused for unless they are plain.

mod archive;
mod blobs;
mod build;
mod channel;
mod error;
mod fetch;
mod folder;
mod foreign;
mod format;
mod image;
mod layer;
mod ledger;
mod logins;
mod meter;
mod model;
mod oci;
mod offer;
mod packages;
mod parts;
mod platform;
mod program;
mod pulls;
mod reference;
mod registry;
mod repair;
mod sbom;
mod sign;
mod spec;
mod trust;
mod verify;

#[cfg(test)]
mod tests;

pub use build::{Build, Built};
pub use channel::{Published, publish};
pub use error::Error as ReleaseError;
pub use fetch::{Fetched, Fetching};
pub use format::{Blob, BlobKind, Image, ModelFile, ModelFolder, Release, ReleaseModel};
pub use image::{ImageContent, LayerContent};
pub use ledger::{Account, Claim, Ledger, Shortage};
pub use logins::Logins;
pub use meter::Progress;
pub use model::{FolderSpec, ModelSource, ModelSpec};
pub use offer::{Channel, ChannelOptions, Facts, Offer, Present};
pub use parts::{LEAST_PART_BYTES, Part, Parts, join, split};
pub use pulls::{Pulled, Pulls};
pub use reference::{EngineImage, RegistryImage};
pub use repair::{Needs, apply, make, needs};
pub use sbom::of_binary as sbom_of_binary;
pub use sign::{Lifetimes, RootKeys, init, rotate, sign};
pub use spec::{ImageSource, ImageSpec, Spec};
pub use trust::check_root;
pub use verify::{Check, Expiry, Verdict, VerifiedRelease, VerifyOptions, verify};
