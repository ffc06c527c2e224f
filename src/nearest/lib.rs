//! Vectors in memory, and which of them lie nearest to a question's.
//!
//! A [`Matrix`] holds vectors of one length and knows the cosine of each with a question's: of few exactly, of many from bytes, of very many in
//! the nearest [`Groups`] only. A crate of its own because these are the loops over every number of every vector: they are optimised in
//! every build, and compile in seconds; the lake around them does not.
//!
//! Invariants:
//! - rows keep their numbers, in the order they were pushed;
//! - what is not exact can be made exact for any row ([`Matrix::cosine`]);
//! - nothing here reads a file, or knows what a passage is.

mod best;
mod codes;
mod groups;
mod matrix;

pub use best::best;
pub use groups::{Groups, RECALL, scattered};
pub use matrix::{Matrix, Reach, SAMPLED, Scan};
