//! What a document names, as rows of the lake: made from its passages, whoever they were read by.

use extract::About;
use lake::{ChunkRow, DocumentRow, EdgeRow, EntityRow, entity_id};

/// The longest name kept of a thing.
const MAX_NAME_CHARS: usize = 200;

/// Returns what a document names, and how it belongs together.
pub(crate) fn rows(document: &DocumentRow, chunks: &[ChunkRow]) -> (Vec<EntityRow>, Vec<EdgeRow>) {
    let about = About { path: &document.path, title: document.title.as_deref(), format: &document.format };
    let passages: Vec<&str> = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
    let known = extract::knowledge(&about, &passages);
    let chunk = |passage: usize| chunks.get(passage);
    let entity = |one: &extract::Entity| {
        let kind = one.kind.as_str();
        EntityRow {
            id: entity_id(kind, &one.key),
            document_id: document.id.clone(),
            kind: kind.to_owned(),
            key: one.key.clone(),
            name: one.name.chars().take(MAX_NAME_CHARS).collect(),
            attributes: one.attributes.clone(),
            mentions: one.mentions,
            chunk_id: chunk(one.passage).map(|chunk| chunk.id.clone()),
            place: chunk(one.passage).map(|chunk| chunk.place.clone()).unwrap_or_default(),
        }
    };
    let entities: Vec<EntityRow> = known.entities.iter().map(entity).collect();
    let edge = |one: &extract::Relation| {
        let (from, to) = (&entities[one.from], &entities[one.to]);
        EdgeRow {
            document_id: document.id.clone(),
            kind: one.kind.as_str().to_owned(),
            from_id: from.id.clone(),
            from_kind: from.kind.clone(),
            from_key: from.key.clone(),
            to_id: to.id.clone(),
            to_kind: to.kind.clone(),
            to_key: to.key.clone(),
            chunk_id: chunk(one.passage).map(|chunk| chunk.id.clone()),
            place: chunk(one.passage).map(|chunk| chunk.place.clone()).unwrap_or_default(),
        }
    };
    let edges = known.relations.iter().map(edge).collect();
    (entities, edges)
}
