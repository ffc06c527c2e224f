//! Every call of a model, by its digests: what was sent is not kept, and can be proven to be what it was.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base::{CustomerLayout, Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Error, FORMAT};

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub format: u32,
    pub at: Timestamp,
    /// The kind a handler was asked for.
    pub kind: String,
    /// `claude`, or `local model`.
    pub author: String,
    pub model: String,
    /// Where it went.
    pub url: String,
    /// Which attempt at this handler, from 1.
    pub round: u32,
    /// Of the body that was sent.
    pub request: Digest,
    pub request_bytes: u64,
    /// Of the sample in it.
    pub sample: Digest,
    pub sample_bytes: u64,
    /// Of the body that came; absent before it came, and where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
}

/// The log of calls: a line before each, and a line after it.
#[derive(Clone, Debug)]
pub struct CallLog {
    path: PathBuf,
}

impl CallLog {
    /// Of this customer.
    pub fn new(customer: &CustomerLayout) -> Self {
        Self { path: customer.handler_calls() }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a call, and waits until it is on the disk.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn append(&self, call: &Call) -> Result<(), Error> {
        debug_assert_eq!(call.format, FORMAT);
        let failed = Error::file("write", &self.path);
        let line = serde_json::to_string(call)
            .map_err(|error| Error::Format { path: self.path.clone(), reason: error.to_string() })?;
        let append = || {
            if let Some(dir) = self.path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()
        };
        append().map_err(failed)
    }
}
