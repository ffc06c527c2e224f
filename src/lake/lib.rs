//! The lake keeps what a customer's documents say, finds it, and keeps what people asked.
//!
//! Below the customer's `lakehouse` folder stand Delta tables (`documents`, `chunks`, `entities`, `edges`, `products`, `features`,
//! `prices`, `catalog`, `interactions`, `feedback`, `versions`, `commits`, and in `sheets` one for each table of a spreadsheet)
//! and one Lance dataset (`chunks`, with vectors and a BM25 index). Any reader of these formats can open them; what belongs together is named by the
//! newest row of `commits`.
//!
//! Invariants:
//! - one process writes, under the lock; others use its HTTP API ([`serve`], [`Client`]) or read the tables;
//! - for whoever may not read a document it does not exist: not in their hits, nor in what those are weighed by;
//! - a commit is seen whole or not at all, by searches, by outside readers, and after `kill -9` at any instant;
//! - an accepted interaction is on the disk before the call returns;
//! - vectors of two models never meet: a lake made with another model does not open.
//!
//! A backup gets its files from [`Lake::pin`]: one commit, whole, however much is written meanwhile.
//!
//! It makes no embeddings and reads no customer files: both come to it as rows.

mod access;
mod analysis;
mod canary;
mod catalog;
mod cells;
mod client;
mod columns;
mod durable;
mod error;
mod export;
mod filter;
mod format;
mod fusion;
mod graph;
mod index;
mod journal;
mod knowledge;
mod lake;
mod lexical;
mod pin;
mod products;
mod questions;
mod readers;
mod regrant;
mod rows;
mod serve;
mod show;
mod sql;
mod stop_words;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod tongue;
mod twin;
mod upkeep;
mod vectors;
mod vocabulary;

pub use access::Access;
pub use client::Client;
pub use error::Error;
pub use format::{
    AskedVector, CatalogRow, Catalogue, CataloguePart, Checked, ChunkRow, Column, ColumnKind, Commit, CommitId,
    DocumentRow, DocumentStatus, EdgeRow, EntityRow, Evidence, Exported, FORMAT, FeatureRow, Feedback, Filter,
    GraphNode, GraphPath, GraphStep, Hit, Interaction, Named, Nearest, Neighbor, Neighbors, NeighborsRequest, Numbers,
    PathRequest, Pin, PriceRow, ProductRow, Readers, SearchMode, SearchRequest, SheetTable, Snapshot, SqlAnswer,
    SqlColumn, SqlRequest, SqlTable, Stats, Vacuumed, Verdict, VersionRow, chunk_id, document_id, entity_id,
};
pub use lake::{EmbedSpec, Lake};
pub use serve::serve;
pub use sql::searches_of;
