//! What parent and worker say to each other: a length, then JSON; a request is followed by the file's bytes.
//!
//! Both ends are the same program, so `format` only guards against a binary replaced while workers run.

use serde::{Deserialize, Serialize};

use crate::catalog::CatalogItem;
use crate::error::Error;
use crate::format::{Limits, Outcome};
use crate::sandbox::Applied;

pub(super) const FORMAT: u32 = 1;

/// A message longer than this is no message.
pub(crate) const MAX_MESSAGE_BYTES: u64 = 2 << 30;

/// The first message to a worker.
#[derive(Serialize, Deserialize)]
pub(super) struct Setup {
    pub format: u32,
    pub limits: Limits,
    /// Files it will serve at most; bounds its processor time.
    pub files: u32,
}

/// Its answer: what the sandbox holds.
#[derive(Serialize, Deserialize)]
pub(super) struct Hello {
    pub format: u32,
    pub sandbox: Applied,
}

/// A file to read; `size` bytes follow.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub name: String,
    pub size: u64,
    pub want: Want,
}

/// What is wanted of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Want {
    /// A [`Response`] with the document.
    Document,
    /// The items of a catalogue, in [`Batch`]es.
    Catalog,
}

/// Some items of a catalogue; the last batch says how it ended.
#[derive(Serialize, Deserialize)]
pub(super) struct Batch {
    pub items: Vec<CatalogItem>,
    pub end: Option<Result<(), Error>>,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
pub(super) struct Response {
    pub result: Result<Outcome, Error>,
    /// A reader panicked: what it left behind could decide about the next file, so this worker gets none.
    pub worn: bool,
}

/// A message with its length (8 bytes, little endian) before it.
pub(crate) fn encode(message: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 8];
    serde_json::to_writer(&mut bytes, message)?;
    let length = (bytes.len() - 8) as u64;
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}
