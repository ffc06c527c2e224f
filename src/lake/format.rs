//! Everything of this room that crosses disk or wire; only these types derive `Serialize`.
//!
//! The tables are written by [`Lake`](crate::Lake) alone and may be read by anyone. The wire types are written by
//! [`Client`](crate::Client) and read by [`serve`](crate::serve), and the other way round; both come from the same binary.

mod knowledge;
mod products;
mod tables;
mod upkeep;

use std::collections::BTreeMap;

use base::{Digest, Place, Rights};
use serde::{Deserialize, Serialize};

pub use knowledge::{
    EdgeRow, EntityRow, Evidence, GraphNode, GraphPath, GraphStep, Named, Neighbor, Neighbors, NeighborsRequest,
    PathRequest, entity_id,
};
pub use products::{Catalogue, CataloguePart, FeatureRow, PriceRow, ProductRow};
pub use tables::{
    AskedVector, CatalogRow, Column, ColumnKind, Numbers, SheetTable, SqlAnswer, SqlColumn, SqlRequest, SqlTable,
};
pub use upkeep::{Checked, Exported, Nearest, Snapshot, Vacuumed};

/// The version of the wire: questions, commits and their answers. What was added since has defaults.
pub(crate) const WIRE: u32 = 1;

/// The version of a question on behalf of somebody with limited rights, or about an older commit. A lake that knows of neither refuses it,
/// where it would answer another question if they were just more fields.
pub(crate) const WIRE_LIMITED: u32 = 2;

/// The version of the tables this program writes.
///
/// Version 2 added the tables `entities`, `edges`, `catalog`, `products`, `features` and `prices`, their columns in `commits`, and the column `readers`. A program of version 1 refuses the
/// rows of version 2: it would leave edges of documents it removes. This program reads both, and its first commit makes a lake of
/// version 1 one of version 2.
pub const FORMAT: u32 = 2;

/// The oldest version of the tables this program reads.
pub(crate) const OLDEST: u32 = 1;

/// The version of the journal files this program writes and reads.
pub(crate) const JOURNAL: u32 = 1;

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentStatus {
    /// It has chunks and can be found.
    Searchable,
    /// It was read and holds no text.
    Empty,
    /// It could not be read; the reason says why.
    Failed,
}

impl DocumentStatus {
    /// Returns the word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Searchable => "searchable",
            Self::Empty => "empty",
            Self::Failed => "failed",
        }
    }

    /// Returns the status a word in the table stands for.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Searchable, Self::Empty, Self::Failed].into_iter().find(|status| status.as_str() == word)
    }
}

/// One file that was seen, read or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DocumentRow {
    /// See [`document_id`].
    pub id: String,
    /// The ingested folder, absolute.
    pub source: String,
    /// The way below `source`, `/` between names; bytes that are not UTF-8 are percent-escaped.
    pub path: String,
    /// The file's name without its folder.
    pub name: String,
    /// The digest of the bytes; absent when they could not be read.
    #[serde(default)]
    pub digest: Option<Digest>,
    pub size_bytes: u64,
    pub modified_ms: i64,
    /// What the bytes are: `pdf`, `xlsx`, …
    pub format: String,
    #[serde(default)]
    pub language: Option<String>,
    #[serde(default)]
    pub title: Option<String>,
    pub status: DocumentStatus,
    /// Why the document is empty or failed.
    #[serde(default)]
    pub reason: Option<String>,
    pub chunk_count: u32,
    pub ingested_ms: i64,
    /// Who may read it, sorted: see [`Rights`]. Nobody but administrators when it is empty, as in rows of version 1.
    #[serde(default)]
    pub readers: Vec<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// One passage of a document with its embedding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkRow {
    /// See [`chunk_id`].
    pub id: String,
    pub document_id: String,
    /// The passage's place in the order of its document, from 0.
    pub ordinal: u32,
    pub text: String,
    /// The headings above the passage, outermost first.
    #[serde(default)]
    pub heading_path: Vec<String>,
    pub place: Place,
    #[serde(default)]
    pub language: Option<String>,
    pub token_count: u32,
    /// Those of its document.
    #[serde(default)]
    pub readers: Vec<String>,
    /// The L2-normalised embedding. Empty where rows are listed without vectors.
    #[serde(default, with = "packed", skip_serializing_if = "Vec::is_empty")]
    pub vector: Vec<f32>,
}

/// Returns a document's id: the first 32 hexadecimal digits of sha256(source, NUL, path).
pub fn document_id(source: &str, path: &str) -> String {
    short_digest(&[source.as_bytes(), path.as_bytes()])
}

/// Returns a chunk's id: the first 32 hexadecimal digits of sha256(document id, NUL, ordinal, NUL, text).
pub fn chunk_id(document_id: &str, ordinal: u32, text: &str) -> String {
    let ordinal = ordinal.to_string();
    short_digest(&[document_id.as_bytes(), ordinal.as_bytes(), text.as_bytes()])
}

fn short_digest(parts: &[&[u8]]) -> String {
    let mut hex = Digest::of(&parts.join(&0)).hex();
    hex.truncate(32);
    hex
}

/// One step of an ingestion: all of it becomes visible, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// Documents to write; a row with the same id is replaced, and its old chunks vanish.
    #[serde(default)]
    pub upsert: Vec<DocumentRow>,
    /// The chunks of the documents in `upsert`, and of no other.
    #[serde(default)]
    pub chunks: Vec<ChunkRow>,
    /// Ids of documents to forget, with their chunks. Unknown ids do no harm.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Documents whose readers change and nothing else: passages, vectors and what they name stay. Unknown ids do no harm.
    #[serde(default)]
    pub readers: Vec<Readers>,
    /// What the documents in `upsert` name.
    #[serde(default)]
    pub entities: Vec<EntityRow>,
    /// How what they name belongs together; both ends of an edge are among the entities of its document.
    #[serde(default)]
    pub edges: Vec<EdgeRow>,
    /// The spreadsheet tables of the documents in `upsert`.
    #[serde(default)]
    pub tables: Vec<SheetTable>,
    /// The rows that were put aside for documents in `upsert`: see [`Lake::put_aside`](crate::Lake::put_aside).
    #[serde(default)]
    pub catalogues: Vec<Catalogue>,
}

/// Who may read a document from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readers {
    pub document_id: String,
    /// As in [`DocumentRow::readers`].
    pub readers: Vec<String>,
}

/// The number of a commit: 1 for the first, then one more each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub u64);

/// A commit that is held in the lakehouse's folder `pin` until it is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    pub commit: CommitId,
    /// When it was made; 0 when there is none yet.
    pub committed_ms: i64,
}

/// How search finds passages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchMode {
    /// Both lists, fused.
    #[default]
    Hybrid,
    /// By the cosine of the embeddings.
    Vector,
    /// By BM25 over analysed words.
    Lexical,
}

/// What to look for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchRequest {
    pub text: String,
    /// The L2-normalised embedding of the text. Without it, hybrid search is lexical search.
    #[serde(default, with = "packed_option")]
    pub vector: Option<Vec<f32>>,
    /// The most hits wanted.
    pub k: usize,
    #[serde(default)]
    pub mode: SearchMode,
    /// How long each list is before they are fused; at least `k`.
    pub candidates: usize,
    /// What a passage must be to be ranked at all.
    #[serde(default, skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// On whose behalf: for whoever may not read a document, it does not exist.
    #[serde(default, skip_serializing_if = "Rights::is_all")]
    pub rights: Rights,
    /// The lake as it was after this commit; the newest when absent. An older one is read for the question, which takes seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<CommitId>,
}

/// What passages must be, decided before anything is ranked, so that `k` hits are `k` fitting ones. An empty list asks for
/// nothing; of a list, one entry must fit; of several lists, each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// ISO 639-1 codes: of the passage, or of its document where the passage has none.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Formats as in [`DocumentRow::format`].
    #[serde(default)]
    pub formats: Vec<String>,
    /// Folders: a way below a source (`Zertifikate/2024`), or an absolute one.
    #[serde(default)]
    pub folders: Vec<String>,
    /// Documents: the way below the source, the file's name, or the id.
    #[serde(default)]
    pub documents: Vec<String>,
}

impl SearchRequest {
    /// A hybrid search for `k` hits with lists of 100, or of `k` when that is more.
    pub fn hybrid(text: impl Into<String>, vector: Option<Vec<f32>>, k: usize) -> Self {
        Self {
            text: text.into(),
            vector,
            k,
            mode: SearchMode::Hybrid,
            candidates: k.max(100),
            filter: Filter::default(),
            rights: Rights::All,
            at: None,
        }
    }
}

/// One passage that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// From 1.
    pub rank: usize,
    /// What hits are ordered by: the fused score, the cosine or the BM25 score, by mode.
    pub score: f32,
    pub document_id: String,
    pub chunk_id: String,
    /// The document's path below its source.
    pub document: String,
    pub source: String,
    pub place: Place,
    pub heading_path: Vec<String>,
    pub text: String,
    pub language: Option<String>,
    /// The cosine with the question, when the request carried a vector.
    pub similarity: Option<f32>,
    /// The BM25 score, when a word of the question stands in the passage.
    pub lexical_score: Option<f32>,
    /// The rank in the list by cosine, from 1.
    pub vector_rank: Option<usize>,
    /// The rank in the list by BM25, from 1.
    pub lexical_rank: Option<usize>,
    /// Other documents that say the same in nearly the same words, the better ranked first; they have no hit of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
}

/// One question and what was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interaction {
    pub id: String,
    pub asked_ms: i64,
    pub question: String,
    pub answer: String,
    pub abstained: bool,
    /// The adapter that answered: `base` or `vN`.
    pub version: String,
    pub citations: serde_json::Value,
    pub timings: serde_json::Value,
    pub asker: String,
}

/// A person's word on an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Up,
    Down,
}

impl Verdict {
    /// Returns the word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// Returns the verdict a word in the table stands for.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Up, Self::Down].into_iter().find(|verdict| verdict.as_str() == word)
    }
}

/// Feedback on one interaction. Several may stand for one; the newest counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    pub interaction_id: String,
    pub at_ms: i64,
    pub verdict: Verdict,
    #[serde(default)]
    pub correction: Option<String>,
}

/// One trained adapter: what is known about it, promoted or not. A row with the same name is replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRow {
    /// `v1`, `v2`, …
    pub version: String,
    pub created_ms: i64,
    /// The folder below `loras/`.
    pub directory: String,
    pub parent: Option<String>,
    /// What the gate said: `promoted`, `refused`, `rolled-back`, …
    pub decision: String,
    pub perplexity_before: Option<f64>,
    pub perplexity_after: Option<f64>,
    /// The rest of `version.json`.
    pub details: serde_json::Value,
}

/// How much there is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    pub documents: u64,
    pub searchable: u64,
    pub empty: u64,
    pub failed: u64,
    pub chunks: u64,
    /// The number of the newest commit; 0 when there is none.
    pub commits: u64,
    /// What the lakehouse folder holds.
    pub bytes: u64,
    /// The length of every vector.
    pub dimension: usize,
    /// The digest of the model that made the vectors.
    pub model: Digest,
}

/// What the newest row of `commits` pins: one version per table. Readers open these and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitRow {
    pub id: u64,
    pub committed_ms: i64,
    /// `ingest`, `interactions`, `version`, `upkeep` or `rollback`.
    pub kind: String,
    pub lance_chunks: u64,
    pub documents: u64,
    pub chunks: u64,
    pub interactions: u64,
    pub feedback: u64,
    pub versions: u64,
    pub entities: u64,
    pub edges: u64,
    pub catalog: u64,
    pub products: u64,
    pub features: u64,
    pub prices: u64,
    /// The newest journal file whose lines are in the tables.
    pub journal: u64,
    pub model: Digest,
}

/// A commit on the wire: names the model, so that vectors of two models never meet.
#[derive(Serialize, Deserialize)]
pub(crate) struct CommitWire {
    pub format: u32,
    pub model: Digest,
    #[serde(flatten)]
    pub commit: Commit,
}

/// A search on the wire.
#[derive(Serialize, Deserialize)]
pub(crate) struct SearchWire {
    pub format: u32,
    pub model: Digest,
    #[serde(flatten)]
    pub request: SearchRequest,
}

/// Any answer of the role: a version and one value.
#[derive(Serialize, Deserialize)]
pub(crate) struct Reply<T> {
    pub format: u32,
    pub value: T,
}

/// Any refusal of the role.
#[derive(Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub error: String,
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JournalLine {
    Format(u32),
    Interaction(Box<Interaction>),
    Feedback(Feedback),
}

/// Vectors as base64 of little-endian f32: a third of the size of decimal numbers, and exact.
pub(crate) mod packed {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(vector: &[f32], to: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        let bytes = STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)?;
        if !bytes.len().is_multiple_of(4) {
            return Err(D::Error::custom("a vector's bytes are no multiple of four"));
        }
        let number = |chunk: &[u8]| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        Ok(bytes.chunks_exact(4).map(number).collect())
    }
}

mod packed_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Packed(#[serde(with = "super::packed")] Vec<f32>);

    pub fn serialize<S: Serializer>(vector: &Option<Vec<f32>>, to: S) -> Result<S::Ok, S::Error> {
        match vector {
            Some(vector) => super::packed::serialize(vector, to),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<f32>>, D::Error> {
        Ok(Option::<Packed>::deserialize(from)?.map(|packed| packed.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_cross_the_wire_bit_by_bit() {
        let request = SearchRequest::hybrid("a", Some(vec![0.1, -2.5e-30, f32::MAX]), 3);
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<SearchRequest>(&text).unwrap(), request);
        let without = SearchRequest::hybrid("a", None, 3);
        let text = serde_json::to_string(&without).unwrap();
        assert_eq!(serde_json::from_str::<SearchRequest>(&text).unwrap(), without);
        assert!(serde_json::from_str::<SearchRequest>(&text.replace("null", "\"AAA=\"")).is_err());
    }

    #[test]
    fn ids_depend_on_every_part() {
        let id = document_id("/data", "a/b.txt");
        assert_eq!(id.len(), 32);
        assert_ne!(id, document_id("/data/a", "b.txt"));
        assert_ne!(chunk_id(&id, 1, "x"), chunk_id(&id, 2, "x"));
    }
}
