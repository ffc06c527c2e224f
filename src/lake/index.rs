//! What search needs of every committed chunk, in memory: its words, its vector, and where its row is.
//!
//! Built at open from the Lance dataset, which stays the truth; changed by the writer after each commit, never before, so
//! that a search sees whole commits only. A chunk has a slot number; removed slots are dropped when they are many.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use lance::Dataset;

use crate::{
    DocumentRow, DocumentStatus, SearchMode,
    analysis::QueryTerm,
    fusion::{Fused, best, fuse},
    lexical::Lexical,
    matrix::Matrix,
};

pub(crate) struct Index {
    /// The dataset the rows' addresses belong to.
    pub dataset: Arc<Dataset>,
    pub documents: BTreeMap<String, Arc<DocumentRow>>,
    slots: Vec<Slot>,
    by_id: HashMap<Arc<str>, u32>,
    by_document: HashMap<String, Vec<u32>>,
    lexical: Lexical,
    matrix: Matrix,
    dead: usize,
}

struct Slot {
    id: Arc<str>,
    document: Arc<DocumentRow>,
    row: u64,
    live: bool,
}

/// One slot that was found.
pub(crate) struct Candidate {
    pub fused: Fused,
    pub document: Arc<DocumentRow>,
    pub chunk_id: Arc<str>,
    pub row: u64,
    pub similarity: Option<f32>,
    pub lexical_score: Option<f32>,
}

impl Index {
    pub fn new(dataset: Dataset, dimension: usize) -> Self {
        Self {
            dataset: Arc::new(dataset),
            documents: BTreeMap::new(),
            slots: Vec::new(),
            by_id: HashMap::new(),
            by_document: HashMap::new(),
            lexical: Lexical::default(),
            matrix: Matrix::new(dimension),
            dead: 0,
        }
    }

    pub fn insert_document(&mut self, row: DocumentRow) {
        self.documents.insert(row.id.clone(), Arc::new(row));
    }

    /// Adds a chunk of a known document. Returns false when the document is unknown.
    pub fn insert_chunk(&mut self, id: &str, document_id: &str, terms: &str, vector: &[f32], row: u64) -> bool {
        let Some(document) = self.documents.get(document_id) else {
            return false;
        };
        let slot = self.slots.len() as u32;
        let id: Arc<str> = id.into();
        self.slots.push(Slot { id: id.clone(), document: document.clone(), row, live: true });
        self.by_id.insert(id, slot);
        self.by_document.entry(document_id.to_owned()).or_default().push(slot);
        self.lexical.push(terms);
        self.matrix.push(vector);
        true
    }

    /// Removes a document and its chunks.
    pub fn remove_document(&mut self, id: &str) {
        self.documents.remove(id);
        for slot in self.by_document.remove(id).unwrap_or_default() {
            let entry = &mut self.slots[slot as usize];
            entry.live = false;
            self.by_id.remove(&entry.id);
            self.lexical.remove(slot);
            self.dead += 1;
        }
        if self.dead > 1000 && self.dead * 2 > self.slots.len() {
            self.drop_dead();
        }
    }

    fn drop_dead(&mut self) {
        let mut kept = Vec::with_capacity(self.slots.len());
        let mut matrix = Matrix::new(self.matrix.dimension());
        let mut next = 0;
        for (slot, entry) in self.slots.iter().enumerate() {
            kept.push(entry.live.then_some(next));
            if entry.live {
                matrix.push(self.matrix.row(slot));
                next += 1;
            }
        }
        self.lexical.renumber(&kept);
        self.matrix = matrix;
        self.slots.retain(|entry| entry.live);
        let renumbered = |slot: &mut u32| match kept[*slot as usize] {
            Some(new) => {
                *slot = new;
                true
            }
            None => false,
        };
        self.by_id.retain(|_, slot| renumbered(slot));
        for slots in self.by_document.values_mut() {
            slots.retain_mut(renumbered);
        }
        self.dead = 0;
    }

    /// Puts new addresses in after a compaction.
    pub fn readdress(&mut self, dataset: Dataset, addresses: Vec<(String, u64)>) {
        for (id, row) in addresses {
            if let Some(slot) = self.by_id.get(id.as_str()) {
                self.slots[*slot as usize].row = row;
            }
        }
        self.dataset = Arc::new(dataset);
    }

    pub fn chunks(&self) -> usize {
        self.slots.len() - self.dead
    }

    pub fn count(&self, status: DocumentStatus) -> u64 {
        self.documents.values().filter(|document| document.status == status).count() as u64
    }

    /// Returns the addresses of a document's chunks, in their order.
    pub fn rows_of(&self, document_id: &str) -> Vec<u64> {
        let slots = self.by_document.get(document_id).map_or(&[][..], Vec::as_slice);
        slots.iter().map(|slot| self.slots[*slot as usize].row).collect()
    }

    pub fn row_of(&self, chunk_id: &str) -> Option<u64> {
        self.by_id.get(chunk_id).map(|slot| self.slots[*slot as usize].row)
    }

    /// Returns the addresses of up to `limit` chunks in the order of their ids, after `after`.
    pub fn rows_after(&self, after: Option<&str>, limit: usize) -> Vec<u64> {
        let later = self.by_id.iter().filter(|(id, _)| after.is_none_or(|after| &***id > after));
        let first = best(later, limit, |(id, _)| (0.0, std::cmp::Reverse((*id).clone())));
        first.into_iter().map(|(_, slot)| self.slots[*slot as usize].row).collect()
    }

    /// Finds the best `k` chunks.
    pub fn search(
        &self,
        query: &[QueryTerm],
        vector: Option<&[f32]>,
        mode: SearchMode,
        k: usize,
        candidates: usize,
    ) -> Vec<Candidate> {
        let depth = candidates.max(k);
        let cosines = vector.map(|vector| self.matrix.dot(vector)).unwrap_or_default();
        let (words, scores) =
            if mode == SearchMode::Vector { (Vec::new(), Vec::new()) } else { self.lexical.search(query, depth) };
        let meaning: Vec<u32> = if mode == SearchMode::Lexical {
            Vec::new()
        } else {
            let live = (0..cosines.len() as u32).filter(|slot| self.slots[*slot as usize].live);
            best(live, depth, |slot| (cosines[*slot as usize], std::cmp::Reverse(*slot)))
        };
        let score = |fused: Fused| match mode {
            SearchMode::Hybrid => fused.score,
            SearchMode::Vector => cosines[fused.slot as usize],
            SearchMode::Lexical => scores[fused.slot as usize],
        };
        let fused = match mode {
            SearchMode::Hybrid => fuse(&meaning, &words, k),
            // One list alone keeps its own order, whatever the weights of the fusion are.
            SearchMode::Vector => alone(&meaning, k, |index| (Some(index), None)),
            SearchMode::Lexical => {
                let words: Vec<u32> = words.iter().map(|found| found.slot).collect();
                alone(&words, k, |index| (None, Some(index)))
            }
        };
        let candidate = |fused: Fused| {
            let slot = &self.slots[fused.slot as usize];
            let lexical_score = scores.get(fused.slot as usize).copied();
            Candidate {
                fused: Fused { score: score(fused), ..fused },
                document: slot.document.clone(),
                chunk_id: slot.id.clone(),
                row: slot.row,
                similarity: cosines.get(fused.slot as usize).copied(),
                lexical_score: lexical_score.filter(|score| *score > 0.0),
            }
        };
        fused.into_iter().map(candidate).collect()
    }
}

fn alone(slots: &[u32], k: usize, ranks: impl Fn(usize) -> (Option<usize>, Option<usize>)) -> Vec<Fused> {
    let one = |(index, slot): (usize, &u32)| {
        let (vector_rank, lexical_rank) = ranks(index + 1);
        Fused { slot: *slot, score: 0.0, vector_rank, lexical_rank }
    };
    slots.iter().take(k).enumerate().map(one).collect()
}
