//! The types that cross the pipe between a worker and its parent.

use std::collections::BTreeMap;

use base::Place;
use serde::{Deserialize, Serialize};

use crate::invoice::InvoiceReport;

/// What a file says: its blocks in reading order, and what is known about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The format the content was read as (`pdf`, `xlsx`, …), whatever the name ends with.
    pub format: String,
    /// The title the document gives itself, or its first heading.
    pub title: Option<String>,
    /// The main language as ISO 639-1 (`de`), where there is enough text to tell.
    pub language: Option<String>,
    /// What the format says about itself: author, sender, encoding, delimiter, …
    pub metadata: BTreeMap<String, String>,
    pub blocks: Vec<Block>,
    /// What was left out or repaired, each a sentence a person understands.
    pub warnings: Vec<String>,
    /// The invoices the document is, or holds, each with the verdict on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invoices: Vec<InvoiceReport>,
}

/// A paragraph, a heading, a table: the smallest piece with a place of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    pub kind: BlockKind,
    /// The text. Empty for tables, whose text is their cells.
    pub text: String,
    pub place: Place,
}

/// The kind of a [`Block`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// A heading of level 1 (outermost) and up.
    Heading(u8),
    Paragraph,
    ListItem,
    /// A table. `header` is empty when the table has none. The place's `row_last`, where there is one, is the number of the
    /// last row, and the rows before it count down from there without gaps.
    Table {
        header: Vec<String>,
        rows: Vec<Vec<String>>,
    },
    /// Text whose line breaks and spaces carry meaning.
    Code,
}

impl Block {
    /// A block of text at a place.
    pub(crate) fn new(kind: BlockKind, text: impl Into<String>, place: Place) -> Self {
        Self { kind, text: text.into(), place }
    }

    /// A table at a place.
    pub(crate) fn table(header: Vec<String>, rows: Vec<Vec<String>>, place: Place) -> Self {
        Self { kind: BlockKind::Table { header, rows }, text: String::new(), place }
    }

    /// Returns the number of bytes of text in the block.
    pub(crate) fn text_bytes(&self) -> usize {
        match &self.kind {
            BlockKind::Table { header, rows } => header.iter().chain(rows.iter().flatten()).map(String::len).sum(),
            _ => self.text.len(),
        }
    }

    /// Whether the block has anything but white space to say.
    pub(crate) fn is_blank(&self) -> bool {
        match &self.kind {
            BlockKind::Table { header, rows } => {
                header.iter().chain(rows.iter().flatten()).all(|cell| cell.trim().is_empty())
            }
            _ => self.text.trim().is_empty(),
        }
    }
}

/// What came of reading a file that could be opened and understood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// There is text.
    Text(Document),
    /// The file is whole and holds no text; `reason` says what it holds instead.
    Empty { format: String, reason: String },
}

/// What one file may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// The largest file that is read.
    pub max_file_bytes: u64,
    /// The largest catalogue that is read: those are read product by product, so that their size costs time only.
    pub max_catalog_bytes: u64,
    /// How long a worker may take for one file.
    pub timeout_ms: u64,
    /// The address space of a worker.
    pub memory_bytes: u64,
    /// How much text is kept; what goes beyond is left out with a warning.
    pub max_text_bytes: u64,
    /// How deep documents may lie inside documents (archives, mails).
    pub max_depth: u32,
    /// How many parts of one file are read, over all depths.
    pub max_parts: u32,
    /// How many bytes may come out of archives, over all parts.
    pub max_unpacked_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_file_bytes: 256 << 20,
            max_catalog_bytes: 16 << 30,
            timeout_ms: 60_000,
            memory_bytes: 2 << 30,
            max_text_bytes: 128 << 20,
            max_depth: 8,
            max_parts: 2_000,
            max_unpacked_bytes: 256 << 20,
        }
    }
}
