//! The rows of every Delta table, as Arrow columns and back.
//!
//! Delta knows no unsigned numbers: counts are `int`, sizes and times `long`. What has no fixed shape (`metadata`,
//! `place`, `citations`, …) is JSON text, so that any reader can show it.

use arrow::array::{Array, RecordBatch};

use crate::{
    ChunkRow, DocumentRow, DocumentStatus, Error, Feedback, Interaction, Verdict, VersionRow,
    columns::{
        Kind::{Bool, Double, Int, Long, Text, Texts},
        Layout,
        Nullable::{No, Yes},
        bools, ints, json_text, longs, optional, optional_doubles, optional_texts, text_lists, texts,
    },
    format::CommitRow,
};

pub(crate) const DOCUMENTS: Layout = Layout {
    name: "documents",
    columns: &[
        ("id", Text, No),
        ("source", Text, No),
        ("path", Text, No),
        ("name", Text, No),
        ("digest", Text, Yes),
        ("size_bytes", Long, No),
        ("modified_ms", Long, No),
        ("format", Text, No),
        ("language", Text, Yes),
        ("title", Text, Yes),
        ("status", Text, No),
        ("reason", Text, Yes),
        ("chunk_count", Int, No),
        ("ingested_ms", Long, No),
        ("metadata", Text, No),
        // Absent in rows of version 1.
        ("readers", Texts, Yes),
    ],
};

pub(crate) fn documents_batch(rows: &[DocumentRow]) -> Result<RecordBatch, Error> {
    let digests: Vec<_> = rows.iter().map(|row| row.digest.map(|digest| digest.to_string())).collect();
    let metadata: Vec<_> = rows.iter().map(|row| json_text(&row.metadata)).collect();
    DOCUMENTS.batch(vec![
        texts(rows.iter().map(|row| row.id.as_str())),
        texts(rows.iter().map(|row| row.source.as_str())),
        texts(rows.iter().map(|row| row.path.as_str())),
        texts(rows.iter().map(|row| row.name.as_str())),
        optional_texts(digests.iter().map(Option::as_deref)),
        longs(rows.iter().map(|row| long(row.size_bytes))),
        longs(rows.iter().map(|row| row.modified_ms)),
        texts(rows.iter().map(|row| row.format.as_str())),
        optional_texts(rows.iter().map(|row| row.language.as_deref())),
        optional_texts(rows.iter().map(|row| row.title.as_deref())),
        texts(rows.iter().map(|row| row.status.as_str())),
        optional_texts(rows.iter().map(|row| row.reason.as_deref())),
        ints(rows.iter().map(|row| int(row.chunk_count))),
        longs(rows.iter().map(|row| row.ingested_ms)),
        texts(metadata.iter().map(String::as_str)),
        text_lists(rows.iter().map(|row| row.readers.as_slice())),
    ])
}

pub(crate) fn documents_rows(batch: &RecordBatch) -> Result<Vec<DocumentRow>, Error> {
    let read = DOCUMENTS.read(batch);
    let (id, source) = (read.texts("id")?, read.texts("source")?);
    let (path, name) = (read.texts("path")?, read.texts("name")?);
    let (digest, format) = (read.texts("digest")?, read.texts("format")?);
    let (size, modified) = (read.longs("size_bytes")?, read.longs("modified_ms")?);
    let (language, title) = (read.texts("language")?, read.texts("title")?);
    let (status, reason) = (read.texts("status")?, read.texts("reason")?);
    let (chunks, ingested) = (read.ints("chunk_count")?, read.longs("ingested_ms")?);
    let row = |row| {
        let digest = match optional(digest, row) {
            Some(text) => Some(text.parse().map_err(|_| read.damaged(format!("`{text}` is no digest")))?),
            None => None,
        };
        let word = status.value(row);
        Ok(DocumentRow {
            id: id.value(row).to_owned(),
            source: source.value(row).to_owned(),
            path: path.value(row).to_owned(),
            name: name.value(row).to_owned(),
            digest,
            size_bytes: unsigned(size.value(row)),
            modified_ms: modified.value(row),
            format: format.value(row).to_owned(),
            language: optional(language, row),
            title: optional(title, row),
            status: DocumentStatus::parse(word).ok_or_else(|| read.damaged(format!("`{word}` is no status")))?,
            reason: optional(reason, row),
            chunk_count: count(chunks.value(row)),
            ingested_ms: ingested.value(row),
            readers: read.later_text_list("readers", row)?,
            metadata: read.json("metadata", row)?,
        })
    };
    (0..read.rows()).map(row).collect()
}

pub(crate) const CHUNKS: Layout = Layout {
    name: "chunks",
    columns: &[
        ("id", Text, No),
        ("document_id", Text, No),
        ("ordinal", Int, No),
        ("text", Text, No),
        ("heading_path", Texts, No),
        ("place", Text, No),
        ("language", Text, Yes),
        ("token_count", Int, No),
        // Absent in rows of version 1.
        ("readers", Texts, Yes),
    ],
};

pub(crate) fn chunks_batch(rows: &[ChunkRow]) -> Result<RecordBatch, Error> {
    let places: Vec<_> = rows.iter().map(|row| json_text(&row.place)).collect();
    CHUNKS.batch(vec![
        texts(rows.iter().map(|row| row.id.as_str())),
        texts(rows.iter().map(|row| row.document_id.as_str())),
        ints(rows.iter().map(|row| int(row.ordinal))),
        texts(rows.iter().map(|row| row.text.as_str())),
        text_lists(rows.iter().map(|row| row.heading_path.as_slice())),
        texts(places.iter().map(String::as_str)),
        optional_texts(rows.iter().map(|row| row.language.as_deref())),
        ints(rows.iter().map(|row| int(row.token_count))),
        text_lists(rows.iter().map(|row| row.readers.as_slice())),
    ])
}

/// Reads chunks without their vectors, from Delta or from Lance: the columns are the same.
pub(crate) fn chunks_rows(batch: &RecordBatch) -> Result<Vec<ChunkRow>, Error> {
    let read = CHUNKS.read(batch);
    let (id, document) = (read.texts("id")?, read.texts("document_id")?);
    let (ordinal, tokens) = (read.ints("ordinal")?, read.ints("token_count")?);
    let (text, language) = (read.texts("text")?, read.texts("language")?);
    let row = |row| {
        Ok(ChunkRow {
            id: id.value(row).to_owned(),
            document_id: document.value(row).to_owned(),
            ordinal: count(ordinal.value(row)),
            text: text.value(row).to_owned(),
            heading_path: read.text_list("heading_path", row)?,
            place: read.json("place", row)?,
            language: optional(language, row),
            token_count: count(tokens.value(row)),
            readers: read.later_text_list("readers", row)?,
            vector: Vec::new(),
        })
    };
    (0..read.rows()).map(row).collect()
}

pub(crate) const INTERACTIONS: Layout = Layout {
    name: "interactions",
    columns: &[
        ("id", Text, No),
        ("asked_ms", Long, No),
        ("question", Text, No),
        ("answer", Text, No),
        ("abstained", Bool, No),
        ("version", Text, No),
        ("citations", Text, No),
        ("timings", Text, No),
        ("asker", Text, No),
    ],
};

pub(crate) fn interactions_batch(rows: &[Interaction]) -> Result<RecordBatch, Error> {
    let citations: Vec<_> = rows.iter().map(|row| json_text(&row.citations)).collect();
    let timings: Vec<_> = rows.iter().map(|row| json_text(&row.timings)).collect();
    INTERACTIONS.batch(vec![
        texts(rows.iter().map(|row| row.id.as_str())),
        longs(rows.iter().map(|row| row.asked_ms)),
        texts(rows.iter().map(|row| row.question.as_str())),
        texts(rows.iter().map(|row| row.answer.as_str())),
        bools(rows.iter().map(|row| row.abstained)),
        texts(rows.iter().map(|row| row.version.as_str())),
        texts(citations.iter().map(String::as_str)),
        texts(timings.iter().map(String::as_str)),
        texts(rows.iter().map(|row| row.asker.as_str())),
    ])
}

pub(crate) fn interactions_rows(batch: &RecordBatch) -> Result<Vec<Interaction>, Error> {
    let read = INTERACTIONS.read(batch);
    let (id, asked) = (read.texts("id")?, read.longs("asked_ms")?);
    let (question, answer) = (read.texts("question")?, read.texts("answer")?);
    let (abstained, version) = (read.bools("abstained")?, read.texts("version")?);
    let asker = read.texts("asker")?;
    let row = |row| {
        Ok(Interaction {
            id: id.value(row).to_owned(),
            asked_ms: asked.value(row),
            question: question.value(row).to_owned(),
            answer: answer.value(row).to_owned(),
            abstained: abstained.value(row),
            version: version.value(row).to_owned(),
            citations: read.json("citations", row)?,
            timings: read.json("timings", row)?,
            asker: asker.value(row).to_owned(),
        })
    };
    (0..read.rows()).map(row).collect()
}

pub(crate) const FEEDBACK: Layout = Layout {
    name: "feedback",
    columns: &[("interaction_id", Text, No), ("at_ms", Long, No), ("verdict", Text, No), ("correction", Text, Yes)],
};

pub(crate) fn feedback_batch(rows: &[Feedback]) -> Result<RecordBatch, Error> {
    FEEDBACK.batch(vec![
        texts(rows.iter().map(|row| row.interaction_id.as_str())),
        longs(rows.iter().map(|row| row.at_ms)),
        texts(rows.iter().map(|row| row.verdict.as_str())),
        optional_texts(rows.iter().map(|row| row.correction.as_deref())),
    ])
}

pub(crate) fn feedback_rows(batch: &RecordBatch) -> Result<Vec<Feedback>, Error> {
    let read = FEEDBACK.read(batch);
    let (interaction, at) = (read.texts("interaction_id")?, read.longs("at_ms")?);
    let (verdict, correction) = (read.texts("verdict")?, read.texts("correction")?);
    let row = |row| {
        let word = verdict.value(row);
        Ok(Feedback {
            interaction_id: interaction.value(row).to_owned(),
            at_ms: at.value(row),
            verdict: Verdict::parse(word).ok_or_else(|| read.damaged(format!("`{word}` is no verdict")))?,
            correction: optional(correction, row),
        })
    };
    (0..read.rows()).map(row).collect()
}

pub(crate) const VERSIONS: Layout = Layout {
    name: "versions",
    columns: &[
        ("version", Text, No),
        ("created_ms", Long, No),
        ("directory", Text, No),
        ("parent", Text, Yes),
        ("decision", Text, No),
        ("perplexity_before", Double, Yes),
        ("perplexity_after", Double, Yes),
        ("details", Text, No),
    ],
};

pub(crate) fn versions_batch(rows: &[VersionRow]) -> Result<RecordBatch, Error> {
    let details: Vec<_> = rows.iter().map(|row| json_text(&row.details)).collect();
    VERSIONS.batch(vec![
        texts(rows.iter().map(|row| row.version.as_str())),
        longs(rows.iter().map(|row| row.created_ms)),
        texts(rows.iter().map(|row| row.directory.as_str())),
        optional_texts(rows.iter().map(|row| row.parent.as_deref())),
        texts(rows.iter().map(|row| row.decision.as_str())),
        optional_doubles(rows.iter().map(|row| row.perplexity_before)),
        optional_doubles(rows.iter().map(|row| row.perplexity_after)),
        texts(details.iter().map(String::as_str)),
    ])
}

pub(crate) fn versions_rows(batch: &RecordBatch) -> Result<Vec<VersionRow>, Error> {
    let read = VERSIONS.read(batch);
    let (version, created) = (read.texts("version")?, read.longs("created_ms")?);
    let (directory, parent) = (read.texts("directory")?, read.texts("parent")?);
    let decision = read.texts("decision")?;
    let (before, after) = (read.doubles("perplexity_before")?, read.doubles("perplexity_after")?);
    let row = |row| {
        Ok(VersionRow {
            version: version.value(row).to_owned(),
            created_ms: created.value(row),
            directory: directory.value(row).to_owned(),
            parent: optional(parent, row),
            decision: decision.value(row).to_owned(),
            perplexity_before: (!before.is_null(row)).then(|| before.value(row)),
            perplexity_after: (!after.is_null(row)).then(|| after.value(row)),
            details: read.json("details", row)?,
        })
    };
    (0..read.rows()).map(row).collect()
}

pub(crate) const COMMITS: Layout = Layout {
    name: "commits",
    columns: &[
        ("id", Long, No),
        ("format", Int, No),
        ("committed_ms", Long, No),
        ("kind", Text, No),
        ("lance_chunks", Long, No),
        ("documents", Long, No),
        ("chunks", Long, No),
        ("interactions", Long, No),
        ("feedback", Long, No),
        ("versions", Long, No),
        ("journal", Long, No),
        ("model", Text, No),
        // Absent in rows of version 1: those tables were empty.
        ("entities", Long, Yes),
        ("edges", Long, Yes),
        ("catalog", Long, Yes),
        ("products", Long, Yes),
        ("features", Long, Yes),
        ("prices", Long, Yes),
    ],
};

pub(crate) fn commits_batch(rows: &[CommitRow]) -> Result<RecordBatch, Error> {
    let models: Vec<_> = rows.iter().map(|row| row.model.to_string()).collect();
    COMMITS.batch(vec![
        longs(rows.iter().map(|row| long(row.id))),
        ints(rows.iter().map(|_| int(crate::format::FORMAT))),
        longs(rows.iter().map(|row| row.committed_ms)),
        texts(rows.iter().map(|row| row.kind.as_str())),
        longs(rows.iter().map(|row| long(row.lance_chunks))),
        longs(rows.iter().map(|row| long(row.documents))),
        longs(rows.iter().map(|row| long(row.chunks))),
        longs(rows.iter().map(|row| long(row.interactions))),
        longs(rows.iter().map(|row| long(row.feedback))),
        longs(rows.iter().map(|row| long(row.versions))),
        longs(rows.iter().map(|row| long(row.journal))),
        texts(models.iter().map(String::as_str)),
        longs(rows.iter().map(|row| long(row.entities))),
        longs(rows.iter().map(|row| long(row.edges))),
        longs(rows.iter().map(|row| long(row.catalog))),
        longs(rows.iter().map(|row| long(row.products))),
        longs(rows.iter().map(|row| long(row.features))),
        longs(rows.iter().map(|row| long(row.prices))),
    ])
}

pub(crate) fn commits_rows(batch: &RecordBatch) -> Result<Vec<CommitRow>, Error> {
    let read = COMMITS.read(batch);
    let (format, kind, model) = (read.ints("format")?, read.texts("kind")?, read.texts("model")?);
    let row = |row| {
        let found = count(format.value(row));
        if !(crate::format::OLDEST..=crate::format::FORMAT).contains(&found) {
            return Err(read.damaged(format!("format {found} is not known to this version of 0711")));
        }
        let number = |name| read.longs(name).map(|column| unsigned(column.value(row)));
        // A file of version 1 has no such column.
        let later = |name| match read.has(name) {
            true => read.longs(name).map(|column| if column.is_null(row) { 0 } else { unsigned(column.value(row)) }),
            false => Ok(0),
        };
        let model = model.value(row);
        Ok(CommitRow {
            id: number("id")?,
            committed_ms: read.longs("committed_ms")?.value(row),
            kind: kind.value(row).to_owned(),
            lance_chunks: number("lance_chunks")?,
            documents: number("documents")?,
            chunks: number("chunks")?,
            interactions: number("interactions")?,
            feedback: number("feedback")?,
            versions: number("versions")?,
            entities: later("entities")?,
            edges: later("edges")?,
            catalog: later("catalog")?,
            products: later("products")?,
            features: later("features")?,
            prices: later("prices")?,
            journal: number("journal")?,
            model: model.parse().map_err(|_| read.damaged(format!("`{model}` is no digest")))?,
        })
    };
    (0..read.rows()).map(row).collect()
}

// Counts and sizes beyond the signed range do not occur; if one did, the largest value says so better than a wrapped one.
pub(crate) fn long(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(crate) fn count(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
