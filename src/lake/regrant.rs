//! Documents whose readers change and nothing else: their rows are written again as they are, with other readers. Nothing is
//! read, embedded or recognised anew.

use std::collections::BTreeSet;

use crate::{Commit, Error, Lake, vectors::take_whole};

/// A commit with the rows of the documents whose readers change among those it writes.
pub(crate) struct Regranted {
    pub commit: Commit,
    /// By chunk.
    pub terms: Vec<String>,
    /// Documents whose entities, edges and tables stay as they are.
    pub kept: BTreeSet<String>,
}

impl Lake {
    /// Puts the rows of documents whose readers change into the commit. Whoever calls it holds the store: nobody else writes.
    pub(crate) async fn regrant(&self, mut commit: Commit, mut terms: Vec<String>) -> Result<Regranted, Error> {
        let mut kept = BTreeSet::new();
        for change in std::mem::take(&mut commit.readers) {
            let (row, dataset, addresses) = {
                let index = self.index();
                let Some(row) = index.documents.get(&change.document_id) else { continue };
                (row.as_ref().clone(), index.dataset.clone(), index.rows_of(&change.document_id))
            };
            if row.readers == change.readers {
                continue;
            }
            let found = take_whole(&dataset, &addresses).await?;
            if found.len() != row.chunk_count as usize {
                let what = format!("the document {} has {} passages, not {}", row.id, found.len(), row.chunk_count);
                return Err(Error::Damaged { table: "chunks", what });
            }
            for (mut chunk, words) in found {
                chunk.readers.clone_from(&change.readers);
                commit.chunks.push(chunk);
                terms.push(words);
            }
            kept.insert(change.document_id);
            commit.upsert.push(crate::DocumentRow { readers: change.readers, ..row });
        }
        Ok(Regranted { commit, terms, kept })
    }
}
