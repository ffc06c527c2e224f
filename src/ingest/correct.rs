//! A person says where a document belongs: it counts at once, for this document for ever, and for those like it from the next reading on.

use std::path::Path;

use base::Clock;
use lake::{Access, Commit, DocumentRow, DocumentStatus};
use serde::{Deserialize, Serialize};

use crate::{
    Error,
    classify::{By, Class, Corrections, DOMAIN_KEY, Domain, mean},
    decide::TABLES_KEY,
    knowledge,
};

/// What was put right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrected {
    /// The document's path below its folder.
    pub document: String,
    /// Where it was before, if anywhere.
    pub before: Option<Domain>,
    pub domain: Domain,
    /// Whether it counts already. A document with tables is read again for it, by the next reading.
    pub is_applied: bool,
}

/// Returns a document's domain, if it was given one.
pub fn domain_of(row: &DocumentRow) -> Option<Domain> {
    row.metadata.get(DOMAIN_KEY).and_then(|word| Domain::parse(word))
}

/// Puts a document into a domain. `document` is its path below its folder, the end of one, or its id.
///
/// # Errors
/// [`Error::NoDocument`] when there is none, or several; [`Error::Lake`], [`Error::WriteReport`].
pub async fn correct(
    lake: &Access,
    state_dir: &Path,
    document: &str,
    domain: Domain,
    clock: Clock,
) -> Result<Corrected, Error> {
    let failed = |act| move |source| Error::Lake { act, source };
    let rows = lake.documents().await.map_err(failed("listing its documents"))?;
    let mut row = the(rows, document)?;
    let chunks = lake.chunks_of(&row.id).await.map_err(failed("looking up a document"))?;
    let before = domain_of(&row);
    let vector = mean(chunks.iter().map(|chunk| &chunk.vector)).unwrap_or_default();
    Corrections::read(state_dir)?.put(state_dir, &row.id, domain, vector, clock.now())?;
    Class { domain, confidence: 1.0, by: By::Person }.put(&mut row.metadata);
    // Its tables are not here to be written again with it.
    let is_applied = !row.metadata.contains_key(TABLES_KEY);
    let corrected = Corrected { document: row.path.clone(), before, domain, is_applied };
    if is_applied {
        let (entities, edges) = knowledge::rows(&row, &chunks);
        let commit = Commit { upsert: vec![row], chunks, entities, edges, ..Commit::default() };
        lake.commit(commit).await.map_err(failed("putting a document right"))?;
    }
    Ok(corrected)
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
