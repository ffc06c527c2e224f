//! A customer's folders → searchable passages in the lake: walk, decide, read, chunk, embed, commit.
//!
//! [`run`] brings the lake up to date with the folders and returns a [`Report`]; [`serve`] is the role `ingest`, which does the same when
//! asked over HTTP, confined to the folders it reads.
//!
//! Invariants:
//! - the lake's `documents` rows are the only memory of what was read; a file is read again when its size or time differs and its digest
//!   too, or when the readers changed;
//! - every entry of the folders is searchable, or in the report with a reason; none stops the others;
//! - a crash or a stop at any instant loses only files in flight, and the next run ends as if nothing had happened;
//! - documents are forgotten only when their folder was listed whole and their file was not there: a folder that is missing, unreadable or
//!   suddenly empty costs nothing;
//! - while the role keeps the folders in step, a run is made when they changed and have come to rest, and no other time;
//! - links are not followed, and pipes, sockets and devices are never opened;
//! - customers' bytes are parsed in the worker processes of `extract`, never here, but for the small ACL files of administrators (`acl`);
//! - a document's readers are those of its file when it was last walked over; what cannot be told is for administrators only.
//!
//! It refuses to read more documents than the license allows, and says which ones it left out.

mod acl;
mod admission;
mod classify;
mod commit;
mod correct;
mod decide;
mod embed;
mod error;
mod format;
mod handled;
mod item;
mod knowledge;
mod ledger;
mod meter;
mod name;
mod products;
mod read;
mod report;
mod rights;
mod run;
mod serve;
mod skip;
mod step;
mod tables;
mod twins;
mod walk;

#[cfg(test)]
mod tests;

pub use classify::Domain;
pub use correct::{Corrected, correct, domain_of};
pub use decide::Options;
pub use error::Error;
pub use format::{Event, FORMAT, FileReport, FileStatus, FolderReport, FolderState, Progress, Report, Stages};
pub use report::read_report;
pub use run::{Job, limits, run};
pub use serve::serve;
pub use step::Sight;
