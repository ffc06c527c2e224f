//! Backups of a customer: made while everything runs, encrypted, and proven before anything is put back.
//!
//! A repository ([`Repository`]) is a folder or a bucket with the backups of one or several customers. Files are cut by their
//! content into chunks, each is kept once, compressed and sealed; a backup is a list of files and their chunks. What it is
//! made of stands at the top of `format.rs`.
//!
//! It opens no table and asks no role: whoever calls it has the lake hold a commit first (`Lake::pin`), and [`Source`] reads
//! that.
//!
//! Invariants:
//! - whatever is interrupted leaves every backup as it was: what counts is named by a catalog that is written last;
//! - nothing is restored that was not authenticated before the first byte was written, and nothing in place is overwritten;
//! - a key is never written into a repository but sealed under a passphrase, and every file is sealed by a key of its own;
//! - nothing is removed before what replaces it is durable.

mod bucket;
mod create;
mod cut;
mod error;
mod event;
mod folder;
mod format;
mod key;
mod lock;
mod pack;
mod prune;
mod repository;
mod restore;
mod retention;
mod schedule;
mod seal;
mod source;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod verify;

pub use bucket::{Access, Bucket};
pub use create::{Create, Created, Turn};
pub use error::Error;
pub use event::{Event, Sink};
pub use folder::Folder;
pub use format::{
    FORMAT, FileEntry, FolderEntry, LakeCut, Needed, RepositoryId, Skipped, Snapshot, SnapshotEntry, SnapshotId, Stamp,
};
pub use key::RepositoryKey;
pub use prune::{Prune, Pruned};
pub use repository::{Problem, Repository};
pub use restore::{Restore, Restored, Rewrite, choose, name_in_backup};
pub use retention::Keep;
pub use schedule::Schedule;
pub use source::Source;
pub use state::{Failure, Memory, Success};
pub use store::Store;
pub use verify::{Depth, Verified, mend, verify};
