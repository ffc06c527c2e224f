//! What search needs of every committed chunk, in memory: its words, its vector, and where its row is.
//!
//! Built at open from the Lance dataset, which stays the truth; changed by the writer after each commit, never before, so
//! that a search sees whole commits only. A chunk has a slot number; removed slots are dropped when they are many.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use base::Rights;
use lance::Dataset;
use nearest::{Groups, Matrix, Reach, SAMPLED, Scan, best, scattered};

use crate::{
    DocumentRow, DocumentStatus, Filter, Nearest, SearchMode,
    analysis::QueryTerm,
    fusion::{Fused, fuse},
    lexical::{Lexical, Words},
    readers::ReaderLists,
    tongue::{Evened, Tongues},
    twin::Mark,
};

pub(crate) struct Index {
    /// The dataset the rows' addresses belong to.
    pub dataset: Arc<Dataset>,
    pub documents: BTreeMap<String, Arc<DocumentRow>>,
    slots: Vec<Slot>,
    /// By slot, as the next: what every search reads of every slot stands close together.
    languages: Vec<u8>,
    live: Vec<bool>,
    readers: ReaderLists,
    by_id: HashMap<Arc<str>, u32>,
    by_document: HashMap<String, Vec<u32>>,
    lexical: Lexical,
    matrix: Matrix,
    tongues: Tongues,
    dead: usize,
}

struct Slot {
    id: Arc<str>,
    document: Arc<DocumentRow>,
    row: u64,
    mark: Mark,
}

/// One chunk to be found.
pub(crate) struct Entry<'a> {
    pub id: &'a str,
    pub document_id: &'a str,
    pub terms: &'a str,
    pub language: Option<&'a str>,
    pub vector: &'a [f32],
    /// Its row's address in the dataset.
    pub row: u64,
}

/// What is looked for.
pub(crate) struct Wanted<'a> {
    pub words: &'a [QueryTerm],
    /// The question's language, if it can be told.
    pub language: Option<&'a str>,
    pub vector: Option<&'a [f32]>,
    pub mode: SearchMode,
    pub k: usize,
    /// How long each list is; at least `k`.
    pub candidates: usize,
    pub filter: &'a Filter,
    pub rights: &'a Rights,
}

/// One slot that was found.
pub(crate) struct Candidate {
    pub fused: Fused,
    /// Other documents that say the same.
    pub copies: Vec<Arc<DocumentRow>>,
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
            languages: Vec::new(),
            live: Vec::new(),
            readers: ReaderLists::default(),
            by_id: HashMap::new(),
            by_document: HashMap::new(),
            lexical: Lexical::default(),
            matrix: Matrix::new(dimension),
            tongues: Tongues::default(),
            dead: 0,
        }
    }

    pub fn insert_document(&mut self, row: DocumentRow) {
        self.documents.insert(row.id.clone(), Arc::new(row));
    }

    /// Adds a chunk of a known document. Returns false when the document is unknown.
    pub fn insert_chunk(&mut self, entry: Entry<'_>) -> bool {
        let Some(document) = self.documents.get(entry.document_id) else {
            return false;
        };
        let slot = self.slots.len() as u32;
        let id: Arc<str> = entry.id.into();
        let language = self.tongues.number(entry.language.or(document.language.as_deref()));
        let mark = Mark::of(entry.terms);
        self.slots.push(Slot { id: id.clone(), document: document.clone(), row: entry.row, mark });
        self.languages.push(language);
        self.live.push(true);
        self.readers.push(&document.readers);
        self.by_id.insert(id, slot);
        self.by_document.entry(entry.document_id.to_owned()).or_default().push(slot);
        self.lexical.push(entry.terms);
        self.matrix.push(entry.vector);
        true
    }

    /// Removes a document and its chunks.
    pub fn remove_document(&mut self, id: &str) {
        self.documents.remove(id);
        for slot in self.by_document.remove(id).unwrap_or_default() {
            self.live[slot as usize] = false;
            self.by_id.remove(&self.slots[slot as usize].id);
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
        for (slot, live) in self.live.iter().enumerate() {
            kept.push(live.then_some(next));
            if *live {
                matrix.push(self.matrix.row(slot));
                next += 1;
            }
        }
        self.lexical.renumber(&kept);
        self.matrix = matrix;
        let mut live = self.live.iter();
        self.slots.retain(|_| live.next() == Some(&true));
        let mut live = self.live.iter();
        self.languages.retain(|_| live.next() == Some(&true));
        self.readers.retain(&self.live);
        self.live = vec![true; self.slots.len()];
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
    pub fn search(&self, wanted: &Wanted<'_>) -> Vec<Candidate> {
        let (k, mode) = (wanted.k, wanted.mode);
        // A passage's twins take places in the lists and none among the hits.
        let depth = wanted.candidates.max(k).saturating_add(k.min(TWINS));
        let allowed = self.allowed(wanted.filter);
        let readable = self.readers.readable(wanted.rights);
        // What somebody may not read does not exist for the search: not in its lists, and not in what words and cosines are weighed by.
        let exists = |slot: u32| self.live[slot as usize] && self.readers.may_read(&readable, slot);
        let may = |slot: u32| exists(slot) && allowed.as_ref().is_none_or(|all| all[slot as usize]);
        let scanned = wanted.vector.filter(|_| mode != SearchMode::Lexical);
        let words = match mode {
            SearchMode::Vector => Words::default(),
            _ => self.lexical.search(wanted.words, depth, (!readable.is_all()).then_some(&exists), may),
        };
        // What a filter or rights let through may lie far from the question; and groups are made of all, whoever asks.
        let reach = if allowed.is_some() || !readable.is_all() { Reach::All } else { Reach::Near };
        let also: Vec<u32> = words.best.iter().map(|found| found.slot).collect();
        let Meaning { nearest: meaning, cosines, evened } = match scanned {
            Some(vector) => self.meaning(vector, wanted.language, depth, reach, (exists, may), &also),
            None => Meaning {
                nearest: Vec::new(),
                cosines: Vec::new(),
                evened: self.evened(&[], 1, wanted.language, exists),
            },
        };
        let lift = |slot: u32| evened.lift(self.languages[slot as usize]);
        let near = |slot: u32| cosines.get(slot as usize).copied().unwrap_or(0.0) + lift(slot);
        let fused = match mode {
            SearchMode::Hybrid => {
                let is_foreign = |slot: u32| evened.is_foreign(self.languages[slot as usize]);
                fuse(&meaning, |slot| near(slot) / evened.deviation, &words, is_foreign, depth)
            }
            // One list alone keeps its own order, whatever the weights of the fusion are.
            SearchMode::Vector => alone(&meaning, |slot, rank| (near(slot), Some(rank), None)),
            SearchMode::Lexical => {
                let found: Vec<u32> = words.best.iter().map(|found| found.slot).collect();
                alone(&found, |slot, rank| (words.score(slot), None, Some(rank)))
            }
        };
        self.apart(fused, k)
            .into_iter()
            .map(|(fused, copies)| {
                let slot = &self.slots[fused.slot as usize];
                Candidate {
                    fused,
                    copies,
                    document: slot.document.clone(),
                    chunk_id: slot.id.clone(),
                    row: slot.row,
                    similarity: wanted.vector.map(|vector| self.matrix.cosine(fused.slot as usize, vector)),
                    lexical_score: Some(words.score(fused.slot)).filter(|score| *score > 0.0),
                }
            })
            .collect()
    }

    /// Returns which slots a filter lets through; `None` is all.
    fn allowed(&self, filter: &Filter) -> Option<Vec<bool>> {
        if filter.is_empty() {
            return None;
        }
        let mut allowed = vec![false; self.slots.len()];
        for (id, slots) in &self.by_document {
            if self.documents.get(id).is_some_and(|row| filter.fits_document(row)) {
                for slot in slots {
                    let language = self.tongues.language(self.languages[*slot as usize]);
                    allowed[*slot as usize] = filter.fits_language(language);
                }
            }
        }
        Some(allowed)
    }

    /// Returns the slots nearest to a vector, nearest first, and the cosine of every slot that was looked at: exact for those that are
    /// returned and for those in `also`.
    fn meaning(
        &self,
        vector: &[f32],
        language: Option<&str>,
        depth: usize,
        reach: Reach,
        (exists, may): (impl Fn(u32) -> bool, impl Fn(u32) -> bool),
        also: &[u32],
    ) -> Meaning {
        let (mut cosines, scan) = self.matrix.cosines(vector, reach);
        let evened = self.evened(&cosines, if scan == Scan::Groups { SAMPLED } else { 1 }, language, exists);
        let lift = |slot: u32| evened.lift(self.languages[slot as usize]);
        let rough = if scan == Scan::Exact { depth } else { depth.saturating_mul(ROUGH_DEPTH) };
        let all = (0..cosines.len() as u32).filter(|slot| may(*slot) && cosines[*slot as usize].is_finite());
        let mut nearest = best(all, rough, |slot| (cosines[*slot as usize] + lift(*slot), std::cmp::Reverse(*slot)));
        if scan != Scan::Exact {
            for slot in nearest.iter().chain(also) {
                cosines[*slot as usize] = self.matrix.cosine(*slot as usize, vector);
            }
            nearest = best(nearest, depth, |slot| (cosines[*slot as usize] + lift(*slot), std::cmp::Reverse(*slot)));
        }
        Meaning { nearest, cosines, evened }
    }

    /// Asks with some of its own passages and returns how the nearest are found, and the share of the ten nearest of an exact scan that
    /// is found so.
    pub fn recall(&self) -> Option<Nearest> {
        let asked = scattered(self.slots.len(), ASKED.min(self.slots.len())).filter(|slot| self.live[*slot]);
        let (mut wanted, mut found, mut how) = (0, 0, Scan::Exact);
        for slot in asked {
            let vector = self.matrix.row(slot);
            how = self.matrix.cosines(vector, Reach::Near).1;
            let live = |slot: u32| self.live[slot as usize];
            let near = self.meaning(vector, None, NEAREST, Reach::Near, (live, live), &[]).nearest;
            let all = (0..self.slots.len() as u32).filter(|slot| live(*slot));
            let exact = self.matrix.dot(vector);
            let exact = best(all, NEAREST, |slot| (exact[*slot as usize], std::cmp::Reverse(*slot)));
            wanted += exact.len();
            found += exact.iter().filter(|slot| near.contains(slot)).count();
        }
        let scan = match how {
            Scan::Exact => "exact",
            Scan::Bytes => "bytes",
            Scan::Groups => "groups",
        };
        (wanted > 0).then(|| Nearest { scan: scan.to_owned(), recall: found as f64 / wanted as f64 })
    }

    /// Makes groups of the vectors, where there are so many that it pays and that was not done yet.
    pub fn groups(&self) -> Option<Option<Groups>> {
        self.matrix.wants_groups().then(|| Groups::of(&self.matrix))
    }

    pub fn set_groups(&mut self, groups: Option<Groups>) {
        self.matrix.set_groups(groups);
    }

    /// Evens out the languages by the cosines of every `step`-th slot, as far as it exists for who asks.
    fn evened(&self, cosines: &[f32], step: usize, language: Option<&str>, exists: impl Fn(u32) -> bool) -> Evened {
        let all = (0_u32..).zip(self.languages.iter().zip(cosines)).step_by(step).filter(|(slot, _)| exists(*slot));
        Evened::of(all.map(|(_, (language, cosine))| (*language, *cosine)), self.tongues.known(language))
    }

    /// Returns the first `k` that say different things, each with the other documents that say the same.
    fn apart(&self, fused: Vec<Fused>, k: usize) -> Vec<(Fused, Vec<Arc<DocumentRow>>)> {
        let mut kept: Vec<(Fused, Vec<Arc<DocumentRow>>)> = Vec::with_capacity(k.min(fused.len()));
        for one in fused {
            let slot = &self.slots[one.slot as usize];
            let is_twin = |(other, _): &(Fused, Vec<_>)| {
                let mark = self.slots[other.slot as usize].mark;
                let row = |slot: u32| self.matrix.row(slot as usize);
                mark.is_twin(&slot.mark, || row(one.slot).iter().zip(row(other.slot)).map(|(a, b)| a * b).sum())
            };
            match kept.iter().position(is_twin) {
                Some(at) => {
                    let (first, copies) = &mut kept[at];
                    let is_new = self.slots[first.slot as usize].document.id != slot.document.id
                        && copies.iter().all(|copy| copy.id != slot.document.id);
                    if is_new {
                        copies.push(slot.document.clone());
                    }
                }
                None if kept.len() < k => kept.push((one, Vec::new())),
                None => {}
            }
        }
        kept
    }
}

/// What a question's vector says.
struct Meaning {
    nearest: Vec<u32>,
    cosines: Vec<f32>,
    evened: Evened,
}

/// How many passages are asked to measure what is found of the nearest, and how many of those.
const ASKED: usize = 50;
const NEAREST: usize = 10;

/// How many times as many passages a rough scan hands on as are wanted: what rounding pushed back is among them.
const ROUGH_DEPTH: usize = 4;
/// How much longer lists are at most, so that what falls to twins is made up for.
const TWINS: usize = 50;

fn alone(slots: &[u32], known: impl Fn(u32, usize) -> (f32, Option<usize>, Option<usize>)) -> Vec<Fused> {
    let one = |(index, slot): (usize, &u32)| {
        let (score, vector_rank, lexical_rank) = known(*slot, index + 1);
        Fused { slot: *slot, score, vector_rank, lexical_rank }
    };
    slots.iter().enumerate().map(one).collect()
}
