//! One file on its way from the disk into the lake.

use std::collections::BTreeMap;

use base::Digest;
use lake::{ChunkRow, DocumentRow, DocumentStatus, EdgeRow, EntityRow, SheetTable, chunk_id, document_id};

use crate::{
    decide::{EXTRACTOR, EXTRACTOR_KEY, FAILURE_KEY, Todo},
    knowledge, name,
    twins::{Follower, Key},
    walk::Stamp,
};

/// A file that was read, with what came of it.
pub(crate) struct Item {
    pub todo: Todo,
    /// As the file was when its digest was made: had it changed since, the next run sees another stamp.
    pub stamp: Stamp,
    pub digest: Option<Digest>,
    pub body: Body,
    /// Present when other files may wait for this content.
    pub key: Option<Key>,
    pub origin: Origin,
}

/// Where the content of an item was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The file itself.
    File,
    /// A document of the lake with the same bytes.
    Copy,
    /// A document of the lake with the same bytes whose file is gone.
    Moved,
    /// The document itself: only the file's time changed.
    Touched,
}

/// What a file says, without its name: the same for every file with the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub format: String,
    pub language: Option<String>,
    pub title: Option<String>,
    pub status: DocumentStatus,
    pub reason: Option<String>,
    pub metadata: BTreeMap<String, String>,
    /// Without ids. A vector is empty until it is computed.
    pub chunks: Vec<ChunkRow>,
    /// Without the document's id.
    pub tables: Vec<SheetTable>,
}

/// What the lake keeps of one file.
pub(crate) struct Rows {
    pub document: DocumentRow,
    pub chunks: Vec<ChunkRow>,
    pub entities: Vec<EntityRow>,
    pub edges: Vec<EdgeRow>,
    pub tables: Vec<SheetTable>,
}

impl Body {
    /// A file that could not be read. `kind` counts it in the report; `reason` is shown.
    pub fn failed(file_name: &str, kind: &str, reason: String) -> Self {
        Self {
            format: format_of(file_name),
            language: None,
            title: None,
            status: DocumentStatus::Failed,
            reason: Some(reason),
            metadata: BTreeMap::from([(FAILURE_KEY.to_owned(), kind.to_owned())]),
            chunks: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// A file that holds no text.
    pub fn empty(format: String, reason: String) -> Self {
        Self {
            format,
            language: None,
            title: None,
            status: DocumentStatus::Empty,
            reason: Some(reason),
            metadata: BTreeMap::new(),
            chunks: Vec::new(),
            tables: Vec::new(),
        }
    }
}

/// Returns what a file seems to be when nothing but its name is known.
fn format_of(file_name: &str) -> String {
    match name::ending(file_name) {
        ending if ending.is_empty() => "unknown".to_owned(),
        ending => ending,
    }
}

impl Item {
    /// Returns the rows of a file with this item's content: the item's own, or those of a file that waited for it.
    pub fn rows(&self, file: &Follower, now_ms: i64) -> Rows {
        let (todo, stamp, body) = (&file.todo, file.stamp, &self.body);
        let id = document_id(&todo.source, &todo.relative);
        let chunks: Vec<ChunkRow> = body
            .chunks
            .iter()
            .map(|chunk| ChunkRow {
                id: chunk_id(&id, chunk.ordinal, &chunk.text),
                document_id: id.clone(),
                ..chunk.clone()
            })
            .collect();
        let mut metadata = body.metadata.clone();
        metadata.insert(EXTRACTOR_KEY.to_owned(), EXTRACTOR.to_owned());
        let row = DocumentRow {
            id,
            source: todo.source.to_string(),
            path: todo.relative.clone(),
            name: todo.name().to_owned(),
            digest: self.digest,
            size_bytes: stamp.size_bytes,
            modified_ms: stamp.modified_ms,
            format: body.format.clone(),
            language: body.language.clone(),
            title: body.title.clone(),
            status: body.status,
            reason: body.reason.clone(),
            chunk_count: u32::try_from(chunks.len()).unwrap_or(u32::MAX),
            ingested_ms: now_ms,
            readers: todo.readers.to_vec(),
            metadata,
        };
        let (entities, edges) = knowledge::rows(&row, &chunks);
        let table = |table: &SheetTable| SheetTable { document_id: row.id.clone(), ..table.clone() };
        let tables = body.tables.iter().map(table).collect();
        Rows { document: row, chunks, entities, edges, tables }
    }

    /// Returns the text a chunk is embedded as: the passage under what it stands below, for a passage alone often does not say
    /// what it is about.
    pub fn embedded_text(&self, chunk: &ChunkRow) -> String {
        let title = match &self.body.title {
            Some(title) => title.clone(),
            None => readable(self.todo.name()),
        };
        let mut context: Vec<&str> = Vec::new();
        for part in std::iter::once(&title).chain(&chunk.heading_path) {
            let part = part.trim();
            if !part.is_empty() && !chunk.text.contains(part) && !context.contains(&part) {
                context.push(part);
            }
        }
        let context: String = context.join(" > ").chars().take(MAX_CONTEXT_CHARS).collect();
        match context.as_str() {
            "" => chunk.text.clone(),
            context => format!("{context}\n{}", chunk.text),
        }
    }
}

/// Headings must not push the passage out of the model's window.
const MAX_CONTEXT_CHARS: usize = 160;

/// Returns a file name as words: `Preisliste_2026_Händler.csv` is "Preisliste 2026 Händler". A name that is only a number
/// (`00048213.txt`, as archives give them) says nothing, and would only draw the passage away from its meaning.
fn readable(file_name: &str) -> String {
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
    if stem.chars().filter(|char| char.is_alphabetic()).count() < 2 {
        return String::new();
    }
    stem.replace(['_', '-', '+'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_words_and_numbers_are_not() {
        assert_eq!(readable("Preisliste_2026_Händler.csv"), "Preisliste 2026 Händler");
        assert_eq!(readable("KX-4.pdf"), "KX 4");
        for name in ["00048213.txt", "p12.txt", "2024-06-18.eml", "7"] {
            assert_eq!(readable(name), "", "{name}");
        }
    }
}
