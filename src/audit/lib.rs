//! Who did what to an installation, and when: append-only logs whose records hold on to each other.
//!
//! There is one [`Log`] per customer, one of the whole host, and one that the console writes alone, because a console in a
//! container reaches nothing else. A log is a folder of numbered files of JSON lines; the first line of a file goes on from the
//! last of the file before. Each record carries the digest of the one before it and its own, is on the disk before
//! [`Log::append`] returns, and is written under a lock, so that any process of the product may append.
//!
//! Where a log ends stands in a second place, the head file: a log that was cut off at its end is told from one that is
//! short. A customer's log also notes how far the console's had come, and every 64 records it is signed with the installation's
//! key, once there is one. What a crash tore is cut off by the next record, which says so; what somebody cut off is never mended
//! over: the numbers leave the gap.
//!
//! What this cannot do: whoever is root here can stop the program from writing, or write a whole new history, head, key and all.
//! Only what was carried away earlier shows that: a head that was noted elsewhere (`0711 audit verify --anchor`), an export,
//! an evidence pack.
//!
//! It refuses to hold secrets: a record has no field for one, and texts from outside are cut short and written without
//! anything a terminal would obey.
//!
//! Invariants:
//! - a record is never changed or removed; nothing here deletes, and only a torn last line is ever cut;
//! - the bytes a digest was taken of are the bytes that are parsed;
//! - readers change nothing, and follow no link.

mod append;
mod error;
mod evidence;
mod export;
mod format;
mod key;
mod log;
mod read;
mod tail;
mod text;
mod verify;
mod who;

#[cfg(test)]
mod tests;

pub use error::Error;
pub use evidence::{Pack, Packed, PackedFile, read_pack};
pub use export::{to_csv, to_json_lines};
pub use format::{Act, Entry, FORMAT, Head, Outcome, Record, Seen};
pub use key::installation_key;
pub use log::Log;
pub use read::{Kept, Reading, merged, read};
pub use verify::{Break, Verdict, verify, verify_customer};
pub use who::{Login, Who};
