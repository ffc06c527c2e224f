//! Everything of this room that is written: into a repository, and beside the customer's data.
//!
//! # The repository, format 1
//!
//! A folder (or the objects below a prefix of a bucket) with these names. Only `repository` and `locks/` can be read without
//! the key; names and sizes of the others tell how much there is, and when it grew.
//!
//! ```text
//! repository, repository.copy   who it is and how a passphrase opens it: JSON, authenticated
//! catalog/NNNNNNNNNN            what counts: generation, snapshots, indexes; the newest two are kept
//! snapshots/<id>                one backup: files, folders, and the chunks they are made of
//! index/<id>                    which pack holds which chunk
//! packs/<2>/<id>                chunks: compressed, encrypted, some 32 MB together
//! locks/<id>.lock               who works here
//! ```
//!
//! Numbers are little-endian. Every file but the locks begins with 16 bytes: `0711bkup`, u32 the format, u32 the kind of
//! file. Then:
//!
//! - `repository` (kind 1): u32 the length of the JSON of [`Header`], the JSON, HMAC-SHA-256 of all before it.
//! - catalog (2), snapshot (3), index (4): a salt of 32 bytes, then one sealed piece: JSON compressed by zstd. The
//!   associated data are the 16 bytes and the file's name, so that no file stands for another.
//! - pack (5): its id, 32 random bytes, which are the salt; the sealed chunks one after the other; the sealed list of them
//!   ([`PackEntry`]); u32 the length of that sealed list.
//!
//! A piece is sealed with AES-256-GCM: ciphertext and tag of 16 bytes. The key is HKDF-SHA-256 of the repository's key with
//! the file's salt, so that each file has a key of its own, and the nonce is a counter in that file. No nonce can come
//! twice under one key, whatever a crash or a copied machine does to counters: there is none that outlives a file.
//!
//! A chunk's id is HMAC-SHA-256 of its content under a key of the repository's own: who has not the key cannot ask
//! whether some file is in here. Where a file is cut depends on the key as well.
//!
//! This program reads format 1 and writes format 1. A later one reads every earlier format.

use std::collections::BTreeMap;

use base::{Digest, Slug, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The format of repositories this program reads and writes.
pub const FORMAT: u32 = 1;

pub(crate) const MAGIC: &[u8; 8] = b"0711bkup";

/// What a file of a repository is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Kind {
    Repository = 1,
    Catalog = 2,
    Snapshot = 3,
    Index = 4,
    Pack = 5,
}

impl Kind {
    /// Returns the 16 bytes such a file begins with.
    pub(crate) fn head(self) -> [u8; 16] {
        let mut head = [0; 16];
        head[..8].copy_from_slice(MAGIC);
        head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        head[12..].copy_from_slice(&(self as u32).to_le_bytes());
        head
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) [u8; 32]);

        impl $name {
            /// Returns the 64 hexadecimal digits.
            pub fn hex(&self) -> String {
                hex::encode(self.0)
            }

            /// Reads 64 hexadecimal digits.
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.hex())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.hex())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom("an id has 64 hexadecimal digits"))
            }
        }
    )*};
}

ids! {
    /// Names a repository; it follows from its key.
    RepositoryId;
    /// Names a chunk by its content.
    ChunkId;
    /// Names a pack: random.
    PackId;
    /// Names a backup: random.
    SnapshotId;
    /// Names an index: random.
    IndexId;
}

impl SnapshotId {
    /// Returns the first eight digits, for people.
    pub fn short(&self) -> String {
        self.hex()[..8].to_owned()
    }
}

/// Who a repository is. Readable without a key, and authenticated by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub id: RepositoryId,
    pub created: Timestamp,
    /// The repository's key, sealed under a passphrase.
    pub passphrase: Option<PassphraseSlot>,
}

/// A key sealed under argon2id of a passphrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PassphraseSlot {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
    /// 32 bytes, hexadecimal.
    pub salt: String,
    /// The key and the tag, 48 bytes, hexadecimal.
    pub sealed: String,
}

/// What counts in a repository. Whatever it does not name was left behind by a run that did not come to its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    /// One more with every change; the catalog's name.
    pub generation: u64,
    pub indexes: Vec<IndexEntry>,
    pub snapshots: Vec<SnapshotEntry>,
}

/// An index that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexEntry {
    pub id: IndexId,
    pub size_bytes: u64,
}

/// A backup in short: what a list shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotEntry {
    pub id: SnapshotId,
    /// The size of the file that describes it.
    pub size_bytes: u64,
    /// The catalog's generation that first named it: an order that needs no clock.
    pub sequence: u64,
    pub customer: Slug,
    pub host: String,
    /// The version of the program that made it.
    pub program: String,
    pub started: Timestamp,
    pub finished: Timestamp,
    pub files: u64,
    /// What the files have together.
    pub content_bytes: u64,
    /// What this backup added to the repository.
    pub added_bytes: u64,
    /// Files that could not be read.
    pub skipped: u64,
    /// The lake's commit, where there is a lake.
    pub commit: Option<u64>,
}

/// Which chunks stand in which packs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub packs: Vec<PackEntry>,
}

/// One pack, and its chunks in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackEntry {
    pub id: PackId,
    pub size_bytes: u64,
    pub chunks: Vec<ChunkEntry>,
}

/// One chunk in a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChunkEntry {
    pub id: ChunkId,
    /// In the pack, tag included.
    #[serde(rename = "s")]
    pub sealed_bytes: u32,
    /// The content's length.
    #[serde(rename = "r")]
    pub raw_bytes: u32,
    /// Whether the content is compressed.
    #[serde(rename = "z")]
    pub is_zstd: bool,
}

/// One backup of one customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: SnapshotId,
    pub sequence: u64,
    pub customer: Slug,
    pub host: String,
    /// The installation's root folder; none for the machine's own.
    pub root: Option<String>,
    pub program: String,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// The lake's commit, and when it was made.
    pub lake: Option<LakeCut>,
    /// Files that come with the program or a bundle and are not in here, by their digests.
    pub needs: Vec<Needed>,
    /// Versions of the formats of what is in here.
    pub formats: BTreeMap<String, u32>,
    pub folders: Vec<FolderEntry>,
    pub files: Vec<FileEntry>,
    pub skipped: Vec<Skipped>,
}

/// Which commit of the lake a backup has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeCut {
    pub commit: u64,
    pub committed: Timestamp,
}

/// A model the backed-up data belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// Its name in the catalogue.
    pub name: String,
    pub digest: Digest,
}

/// A folder of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderEntry {
    /// `etc/…` or `var/…`: below the customer's folder of that name.
    pub path: String,
    pub mode: u32,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// As of [`FolderEntry::path`].
    pub path: String,
    pub mode: u32,
    pub size_bytes: u64,
    pub digest: Digest,
    /// How the next backup recognises it unread.
    pub stamp: Stamp,
    pub chunks: Vec<ChunkId>,
}

/// What changes when a file's content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub inode: u64,
    /// Nanoseconds since 1970.
    pub modified_ns: i64,
    /// The same for what is known of the file; none for files of the lake, which change by getting a new name.
    pub changed_ns: Option<i64>,
}

/// A file that should be in a backup and is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub path: String,
    pub reason: String,
}
