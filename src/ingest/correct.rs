//! A person says where a document belongs: it counts for this document for ever, and for those like it, from the next reading on.

use std::path::Path;

use base::Clock;
use engine::Embedding;
use lake::{Access, DocumentRow, DocumentStatus};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    classify::{Corrections, DOMAIN_KEY, Domain, mean},
};

/// Passages by which other documents are compared with one that was put right.
const PASSAGES: usize = 8;

/// What was put right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrected {
    /// The document's path below its folder.
    pub document: String,
    /// Where it was before, if anywhere.
    pub before: Option<Domain>,
    pub domain: Domain,
}

/// Returns a document's domain, if it was given one.
pub fn domain_of(row: &DocumentRow) -> Option<Domain> {
    row.metadata.get(DOMAIN_KEY).and_then(|word| Domain::parse(word))
}

/// Puts a document into a domain: the next run reads it again. `document` is its path below its folder, the end of one, or its id.
///
/// # Errors
/// [`Error::NoDocument`] when there is none, or several; [`Error::Lake`], [`Error::Embed`], [`Error::WriteReport`].
pub async fn correct(
    lake: &Access,
    embedding: &Embedding,
    state_dir: &Path,
    document: &str,
    domain: Domain,
    clock: Clock,
) -> Result<Corrected, Error> {
    let failed = |act| move |source| Error::Lake { act, source };
    let rows = lake.documents().await.map_err(failed("listing its documents"))?;
    let row = the(rows, document)?;
    let chunks = lake.chunks_of(&row.id).await.map_err(failed("looking up a document"))?;
    let texts = chunks.into_iter().take(PASSAGES).map(|chunk| chunk.text).collect();
    let vectors = embedding.embed_passages(texts).await.map_err(|source| Error::Embed { source })?;
    let vector = mean(vectors.iter()).unwrap_or_default();
    Corrections::read(state_dir)?.put(state_dir, &row.id, domain, vector, clock.now())?;
    Ok(Corrected { before: domain_of(&row), document: row.path, domain })
}

/// Finds the one document that is meant.
fn the(rows: Vec<DocumentRow>, document: &str) -> Result<DocumentRow, Error> {
    let none = |why: String| Error::NoDocument { document: document.to_owned(), why };
    let rows: Vec<_> = rows.into_iter().filter(|row| row.status == DocumentStatus::Searchable).collect();
    let exact = |row: &&DocumentRow| row.id == document || row.path == document;
    let end = |row: &&DocumentRow| row.path.ends_with(document) || row.name == document;
    let mut found: Vec<&DocumentRow> = rows.iter().filter(exact).collect();
    if found.is_empty() {
        found = rows.iter().filter(end).collect();
    }
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(none("no searchable document is called that".to_owned())),
        several => {
            let names: Vec<_> = several.iter().take(5).map(|row| row.path.as_str()).collect();
            Err(none(format!("{} documents are called that: {}", several.len(), names.join(", "))))
        }
    }
}
