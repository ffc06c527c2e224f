use std::path::PathBuf;

use base::config::ModelRef;
use base::{Digest, Slug, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Error;

/// What is: written last, atomically, when every step of a plan holds.
///
/// It has no trace of how the way there went. Interrupted and resumed or not, the same plan ends in the same receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Version of this format: 1.
    pub format: u32,
    /// The plan that was executed.
    pub plan: Digest,
    /// Whose brain it is.
    pub customer_name: String,
    /// In short.
    pub slug: Slug,
    /// Version of the program.
    pub version: String,
    /// The binary in use.
    pub binary: Digest,
    /// The license's id.
    pub license_id: String,
    /// The license's envelope.
    pub license: Digest,
    /// First port of the block.
    pub port_base: u16,
    /// The root folder, when this is not the machine's own installation.
    pub root: Option<PathBuf>,
    /// The models in use.
    pub models: Vec<ModelRef>,
    /// The folders that were read.
    pub folders: Vec<PathBuf>,
    /// Documents in the lake when the installation ended.
    pub documents: u64,
    /// What became of the first training; kept by later plans that do not train.
    pub adapter: Option<AdapterOutcome>,
    /// When the journal of this plan was opened.
    pub installed_at: Timestamp,
}

/// What became of a training run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterOutcome {
    /// The version's name, for instance `v1`; absent when there was nothing to train on.
    pub version: Option<String>,
    /// What the gate decided, in the trainer's word.
    pub decision: String,
}

impl Receipt {
    /// The version of the format this program writes and reads.
    pub const FORMAT: u32 = 1;

    /// Returns the digest of everything but the time: two installations of the same plan have the same one.
    pub fn digest(&self) -> Digest {
        let timeless = Self { installed_at: Timestamp::from_millis(0), ..self.clone() };
        // A receipt is made from a plan, whose paths have a JSON form.
        Digest::of(&serde_json::to_vec(&timeless).unwrap_or_default())
    }

    /// Returns the bytes of the receipt's file.
    ///
    /// # Errors
    /// None in practice; the signature is that of every writer.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        crate::plan::pretty("receipt", self)
    }

    /// Parses the receipt's file.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::FormatUnknown`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        crate::plan::parse("receipt", bytes, Self::FORMAT)
    }
}
