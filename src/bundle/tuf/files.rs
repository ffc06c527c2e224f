//! Where a repository's files are read: on the web, in a folder, or in memory.

use std::{collections::BTreeMap, future::Future};

/// One of the two trees of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    Metadata,
    Targets,
}

/// Why a file could not be read.
#[derive(Debug, PartialEq, Eq)]
pub enum FileError {
    /// It, or the way to it, is not there now: asking again later may help.
    Unavailable(String),
    /// What is there cannot be what was meant: it is endless, a link, a device.
    Refused(String),
}

/// Reads the files of a repository.
pub trait Files: Send + Sync {
    /// Reads a file whole, `None` when the repository has none of that name. More than `max_bytes` are never read: they are refused.
    ///
    /// `name` is made of percent-encoded segments between slashes.
    fn read(
        &self,
        tree: Tree,
        name: &str,
        max_bytes: u64,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, FileError>> + Send;
}

/// Files that were read before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept(pub BTreeMap<String, Vec<u8>>);

impl Files for Kept {
    async fn read(&self, tree: Tree, name: &str, _: u64) -> Result<Option<Vec<u8>>, FileError> {
        Ok(self.0.get(name).filter(|_| tree == Tree::Metadata).cloned())
    }
}

/// Returns a name as one segment of an address and as the name of a file: RFC 3986's unreserved characters stay, all others are encoded.
pub fn quoted(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
