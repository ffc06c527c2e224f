//! What documents name, as rows, and what is asked of it on the wire.

use std::collections::BTreeMap;

use base::Place;
use serde::{Deserialize, Serialize};

/// What one document says of one thing. The same thing has the same id in every document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntityRow {
    /// See [`entity_id`].
    pub id: String,
    pub document_id: String,
    /// `product`, `manufacturer`, `certificate`, `standard`, `issue`, `customer`.
    pub kind: String,
    /// What all spellings have in common.
    pub key: String,
    /// The spelling in this document.
    pub name: String,
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// How often the document names it.
    pub mentions: u32,
    /// The first passage that names it.
    #[serde(default)]
    pub chunk_id: Option<String>,
    pub place: Place,
}

/// One document's word that two things belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgeRow {
    pub document_id: String,
    /// `has_type`, `has_gtin`, `made_by`, `certified_by`, `conforms_to`, `issued_to`, `concerns`, `reported_by`.
    pub kind: String,
    pub from_id: String,
    pub from_kind: String,
    pub from_key: String,
    pub to_id: String,
    pub to_kind: String,
    pub to_key: String,
    /// The passage it was read from.
    #[serde(default)]
    pub chunk_id: Option<String>,
    pub place: Place,
}

/// Returns a thing's id: the first 32 hexadecimal digits of sha256(kind, NUL, key).
pub fn entity_id(kind: &str, key: &str) -> String {
    super::short_digest(&[kind.as_bytes(), key.as_bytes()])
}

/// A thing as it is asked for. The kind `document` means a document by its id or path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub kind: String,
    pub key: String,
}

/// What stands around a thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighborsRequest {
    /// What the thing may be; whatever is there counts.
    pub of: Vec<Named>,
    /// Kinds wanted; all when empty.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// How many steps away, 1 to 4.
    pub depth: u32,
    /// The most neighbours returned.
    pub limit: usize,
}

/// How two things are connected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathRequest {
    pub from: Vec<Named>,
    pub to: Vec<Named>,
}

/// One thing of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphNode {
    pub id: String,
    pub kind: String,
    pub key: String,
    /// The spelling of the document that was read first.
    pub name: String,
    /// What documents say about it; where they differ, the first counts.
    pub attributes: BTreeMap<String, String>,
    /// How many documents name it.
    pub documents: usize,
}

/// Where an edge was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub document_id: String,
    /// The document's path below its source.
    pub document: String,
    pub chunk_id: Option<String>,
    /// The place as people read it.
    pub place: String,
}

/// One step from a thing to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphStep {
    pub from: String,
    /// The edge's kind; `mentions` leads from a document to what it names.
    pub kind: String,
    pub to: String,
    /// Whether the edge is read from `from` to `to`; otherwise it points the other way.
    pub forward: bool,
    /// Where it was read, at most eight places.
    pub evidence: Vec<Evidence>,
    /// How many documents say so.
    pub documents: usize,
}

/// A thing near another, and the last step to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbor {
    pub node: GraphNode,
    pub distance: u32,
    pub step: GraphStep,
}

/// What stands around a thing, nearest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbors {
    /// The things that were asked for and are there.
    pub of: Vec<GraphNode>,
    pub neighbors: Vec<Neighbor>,
    /// Whether there are more than were asked for.
    pub has_more: bool,
}

/// How two things are connected: the fewest steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphPath {
    /// The things that were asked for and are there.
    pub from: Vec<GraphNode>,
    pub to: Vec<GraphNode>,
    /// The things on the way, both ends included; empty when there is none.
    pub nodes: Vec<GraphNode>,
    pub steps: Vec<GraphStep>,
}
