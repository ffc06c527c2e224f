//! The rows of `entities` and `edges`: what documents name, and how it belongs together.
//!
//! Both are kept by document, as chunks are: a document written again or removed takes its rows with it, in the same commit.

use arrow::array::RecordBatch;

use crate::{
    EdgeRow, EntityRow, Error,
    columns::{
        Kind::{Int, Text},
        Layout,
        Nullable::{No, Yes},
        ints, json_text, optional, optional_texts, texts,
    },
    rows::{count, int},
};

pub(crate) const ENTITIES: Layout = Layout {
    name: "entities",
    columns: &[
        ("id", Text, No),
        ("document_id", Text, No),
        ("kind", Text, No),
        ("key", Text, No),
        ("name", Text, No),
        ("attributes", Text, No),
        ("mentions", Int, No),
        ("chunk_id", Text, Yes),
        ("place", Text, No),
    ],
};

pub(crate) fn entities_batch(rows: &[EntityRow]) -> Result<RecordBatch, Error> {
    let attributes: Vec<_> = rows.iter().map(|row| json_text(&row.attributes)).collect();
    let places: Vec<_> = rows.iter().map(|row| json_text(&row.place)).collect();
    ENTITIES.batch(vec![
        texts(rows.iter().map(|row| row.id.as_str())),
        texts(rows.iter().map(|row| row.document_id.as_str())),
        texts(rows.iter().map(|row| row.kind.as_str())),
        texts(rows.iter().map(|row| row.key.as_str())),
        texts(rows.iter().map(|row| row.name.as_str())),
        texts(attributes.iter().map(String::as_str)),
        ints(rows.iter().map(|row| int(row.mentions))),
        optional_texts(rows.iter().map(|row| row.chunk_id.as_deref())),
        texts(places.iter().map(String::as_str)),
    ])
}

pub(crate) fn entities_rows(batch: &RecordBatch) -> Result<Vec<EntityRow>, Error> {
    let read = ENTITIES.read(batch);
    let (id, document) = (read.texts("id")?, read.texts("document_id")?);
    let (kind, key, name) = (read.texts("kind")?, read.texts("key")?, read.texts("name")?);
    let (mentions, chunk) = (read.ints("mentions")?, read.texts("chunk_id")?);
    let row = |row| {
        Ok(EntityRow {
            id: id.value(row).to_owned(),
            document_id: document.value(row).to_owned(),
            kind: kind.value(row).to_owned(),
            key: key.value(row).to_owned(),
            name: name.value(row).to_owned(),
            attributes: read.json("attributes", row)?,
            mentions: count(mentions.value(row)),
            chunk_id: optional(chunk, row),
            place: read.json("place", row)?,
        })
    };
    (0..read.rows()).map(row).collect()
}

pub(crate) const EDGES: Layout = Layout {
    name: "edges",
    columns: &[
        ("document_id", Text, No),
        ("kind", Text, No),
        ("from_id", Text, No),
        ("from_kind", Text, No),
        ("from_key", Text, No),
        ("to_id", Text, No),
        ("to_kind", Text, No),
        ("to_key", Text, No),
        ("chunk_id", Text, Yes),
        ("place", Text, No),
    ],
};

pub(crate) fn edges_batch(rows: &[EdgeRow]) -> Result<RecordBatch, Error> {
    let places: Vec<_> = rows.iter().map(|row| json_text(&row.place)).collect();
    EDGES.batch(vec![
        texts(rows.iter().map(|row| row.document_id.as_str())),
        texts(rows.iter().map(|row| row.kind.as_str())),
        texts(rows.iter().map(|row| row.from_id.as_str())),
        texts(rows.iter().map(|row| row.from_kind.as_str())),
        texts(rows.iter().map(|row| row.from_key.as_str())),
        texts(rows.iter().map(|row| row.to_id.as_str())),
        texts(rows.iter().map(|row| row.to_kind.as_str())),
        texts(rows.iter().map(|row| row.to_key.as_str())),
        optional_texts(rows.iter().map(|row| row.chunk_id.as_deref())),
        texts(places.iter().map(String::as_str)),
    ])
}

pub(crate) fn edges_rows(batch: &RecordBatch) -> Result<Vec<EdgeRow>, Error> {
    let read = EDGES.read(batch);
    let (document, kind, chunk) = (read.texts("document_id")?, read.texts("kind")?, read.texts("chunk_id")?);
    let (from_id, from_kind, from_key) = (read.texts("from_id")?, read.texts("from_kind")?, read.texts("from_key")?);
    let (to_id, to_kind, to_key) = (read.texts("to_id")?, read.texts("to_kind")?, read.texts("to_key")?);
    let row = |row| {
        Ok(EdgeRow {
            document_id: document.value(row).to_owned(),
            kind: kind.value(row).to_owned(),
            from_id: from_id.value(row).to_owned(),
            from_kind: from_kind.value(row).to_owned(),
            from_key: from_key.value(row).to_owned(),
            to_id: to_id.value(row).to_owned(),
            to_kind: to_kind.value(row).to_owned(),
            to_key: to_key.value(row).to_owned(),
            chunk_id: optional(chunk, row),
            place: read.json("place", row)?,
        })
    };
    (0..read.rows()).map(row).collect()
}
