//! What comes of running a handler over a file.

use base::{Digest, Place};
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::format::{Block, BlockKind, Document};

/// One run of a handler over one file. A refusal leaves what was emitted before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub refusal: Option<Refusal>,
    /// The records, a table for each name they were emitted under, in the order of the names' first use.
    pub tables: Vec<Records>,
    /// The texts, in order.
    pub texts: Vec<String>,
    /// What the handler printed, cut short: for the one who writes it.
    pub printed: String,
    pub figures: Figures,
}

/// The records of one name. Every row has as many cells as there are columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Records {
    pub name: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// What was counted of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The size of the file, as far as it was given.
    pub size_bytes: u64,
    /// Bytes of the file that were decoded to text, numbers or events.
    pub explained_bytes: u64,
    /// Bytes the handler declared to be padding.
    pub skipped_bytes: u64,
    /// Bytes of the file it looked at undecoded.
    pub peeked_bytes: u64,
    pub calls: u64,
    pub records: u64,
    /// Bytes of records and texts.
    pub output_bytes: u64,
    pub elapsed_ms: u64,
}

impl Figures {
    /// Returns the share of the file's bytes the handler accounts for, 0 to 1.
    pub fn coverage(&self) -> f64 {
        share(self.explained_bytes + self.skipped_bytes, self.size_bytes)
    }

    /// Returns the share of the file's bytes it declared to be padding, 0 to 1.
    pub fn skipped(&self) -> f64 {
        share(self.skipped_bytes, self.size_bytes)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Run {
    /// A run that gave nothing.
    pub fn refused(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }

    /// Returns the digest of what was emitted: two runs that say the same have the same.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        let mut put = |text: &str| {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        for table in &self.tables {
            put("table");
            put(&table.name);
            table.columns.iter().for_each(|column| put(column));
            for row in &table.rows {
                put("row");
                row.iter().for_each(|cell| put(cell));
            }
        }
        put("texts");
        self.texts.iter().for_each(|text| put(text));
        Digest::of(&bytes)
    }

    /// Returns what was emitted as a document of this format: texts as paragraphs, each name's records as a table.
    pub fn into_document(self, format: &str) -> Document {
        let mut document = Document { format: format.to_owned(), ..Document::default() };
        for text in &self.texts {
            document.blocks.extend(crate::text::paragraphs(text, 1));
        }
        let has_several = self.tables.len() > 1;
        for table in self.tables {
            let count = u32::try_from(table.rows.len()).unwrap_or(u32::MAX);
            let place = Place::rows(has_several.then_some(table.name.as_str()), 1, count);
            if has_several {
                document.blocks.push(Block::new(BlockKind::Heading(2), table.name.as_str(), place.clone()));
            }
            document.blocks.push(Block::table(table.columns, table.rows, place));
        }
        document
    }
}
