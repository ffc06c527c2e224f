//! The graph in memory: things, the documents that name them, and the edges those documents say.
//!
//! Made from the tables when it is first asked, changed by the writer after each commit from then on. A document's rows come and
//! go together, as in the tables: one that is gone is marked, and passed over from then on. Ids are 128 bits of a digest and kept
//! as such; words that stand often are kept once.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::{
    EdgeRow, EntityRow,
    format::{
        Evidence, GraphNode, GraphPath, GraphStep, Named, Neighbor, Neighbors, NeighborsRequest, PathRequest, entity_id,
    },
};

/// The kind of a document among the things.
const DOCUMENT: &str = "document";
/// The step from a document to what it names.
const MENTIONS: &str = "mentions";
/// A document that names more is a list: it connects everything, which says nothing.
const A_LIST: usize = 400;
/// A thing with more edges (the own company, the one standard of a trade) stands around everything; what is beyond it is not near.
const A_HUB: usize = 2_000;
/// A search that saw so many things has left what anybody meant.
const MAX_SEEN: usize = 500_000;
/// Documents asked for what they say of a thing.
const MANY_SAID: usize = 1_000;
/// Places shown for one edge.
const MAX_EVIDENCE: usize = 8;
/// The most neighbours one answer has.
const MAX_NEIGHBORS: usize = 10_000;
const MAX_DEPTH: u32 = 4;
/// So many documents gone, and more than are there: it is time to make the graph anew.
const MANY_GONE: usize = 10_000;

#[derive(Default)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    by_id: HashMap<u128, u32>,
    documents: Vec<Document>,
    document_by_id: HashMap<u128, u32>,
    edges: Vec<Edge>,
    words: Words,
    gone: usize,
}

struct Node {
    id: u128,
    kind: u32,
    key: Box<str>,
    name: Box<str>,
    /// What each document says, the first to be read first.
    said: Vec<Said>,
    /// Indices of edges from it and to it.
    links: Vec<u32>,
    /// How many documents that are there name it.
    live: u32,
}

struct Document {
    id: u128,
    is_live: bool,
    names: Vec<u32>,
}

struct Said {
    document: u32,
    place: u32,
    /// 0 for none.
    chunk: u128,
    attributes: BTreeMap<String, String>,
}

struct Edge {
    from: u32,
    to: u32,
    kind: u32,
    document: u32,
    place: u32,
    chunk: u128,
}

/// Words and places, each kept once.
#[derive(Default)]
struct Words {
    all: Vec<Arc<str>>,
    known: HashMap<Arc<str>, u32>,
}

impl Words {
    fn index(&mut self, text: &str) -> u32 {
        if let Some(index) = self.known.get(text) {
            return *index;
        }
        let (word, index): (Arc<str>, u32) = (text.into(), self.all.len() as u32);
        self.all.push(word.clone());
        self.known.insert(word, index);
        index
    }

    fn text(&self, index: u32) -> &str {
        self.all.get(index as usize).map_or("", |word| word)
    }
}

/// Where a walk stands: at a thing or at a document.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    Thing(u32),
    Document(u32),
}

/// Which steps a walk may take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Edges,
    EdgesAndDocuments,
}

/// What the graph needs to know of documents, which it does not keep.
pub(crate) trait Documents {
    /// Returns the path of a document.
    fn path(&self, id: &str) -> Option<String>;
    /// Returns the ids of the documents with this id, path or file name.
    fn find(&self, text: &str) -> Vec<String>;
}

/// An id as a number; `None` for one this program did not make.
fn number(id: &str) -> Option<u128> {
    (id.len() == 32).then(|| u128::from_str_radix(id, 16).ok())?
}

fn chunk_number(id: Option<&str>) -> u128 {
    id.and_then(number).unwrap_or(0)
}

fn text(id: u128) -> String {
    format!("{id:032x}")
}

impl Graph {
    /// Adds what one commit's documents say.
    pub fn insert(&mut self, entities: &[EntityRow], edges: &[EdgeRow]) {
        for row in entities {
            let (Some(id), Some(document)) = (number(&row.id), number(&row.document_id)) else { continue };
            let index = self.node(id, row);
            let document = self.document(document, index);
            let said = Said {
                document,
                place: self.words.index(&row.place.to_string()),
                chunk: chunk_number(row.chunk_id.as_deref()),
                attributes: row.attributes.clone(),
            };
            let node = &mut self.nodes[index as usize];
            if node.live == 0 {
                node.name = row.name.as_str().into();
            }
            node.live += 1;
            node.said.push(said);
        }
        for row in edges {
            let end = |id: &str| number(id).and_then(|id| self.by_id.get(&id)).copied();
            let document = number(&row.document_id).and_then(|id| self.document_by_id.get(&id)).copied();
            let (Some(from), Some(to), Some(document)) = (end(&row.from_id), end(&row.to_id), document) else {
                continue;
            };
            let edge = Edge {
                from,
                to,
                kind: self.words.index(&row.kind),
                document,
                place: self.words.index(&row.place.to_string()),
                chunk: chunk_number(row.chunk_id.as_deref()),
            };
            let index = self.edges.len() as u32;
            self.edges.push(edge);
            self.nodes[from as usize].links.push(index);
            self.nodes[to as usize].links.push(index);
        }
    }

    /// Forgets what a document says.
    pub fn remove(&mut self, document: &str) {
        let Some(index) = number(document).and_then(|id| self.document_by_id.remove(&id)) else { return };
        let document = &mut self.documents[index as usize];
        document.is_live = false;
        for node in std::mem::take(&mut document.names) {
            self.nodes[node as usize].live -= 1;
        }
        self.gone += 1;
    }

    /// Whether more is passed over than is there: making it anew takes less room.
    pub fn is_worn(&self) -> bool {
        self.gone > MANY_GONE && self.gone > self.document_by_id.len()
    }

    fn node(&mut self, id: u128, row: &EntityRow) -> u32 {
        if let Some(index) = self.by_id.get(&id) {
            return *index;
        }
        let index = self.nodes.len() as u32;
        let (kind, key, name) = (self.words.index(&row.kind), row.key.as_str().into(), row.name.as_str().into());
        self.by_id.insert(id, index);
        self.nodes.push(Node { id, kind, key, name, said: Vec::new(), links: Vec::new(), live: 0 });
        index
    }

    fn document(&mut self, id: u128, names: u32) -> u32 {
        let index = *self.document_by_id.entry(id).or_insert_with(|| {
            self.documents.push(Document { id, is_live: true, names: Vec::new() });
            self.documents.len() as u32 - 1
        });
        self.documents[index as usize].names.push(names);
        index
    }

    fn is_live(&self, document: u32) -> bool {
        self.documents[document as usize].is_live
    }

    /// Returns the edges of a thing that count, with the other end of each.
    fn links(&self, index: u32) -> impl Iterator<Item = (&Edge, u32)> {
        let edges = self.nodes[index as usize].links.iter().map(|edge| &self.edges[*edge as usize]);
        let live = edges.filter(|edge| self.is_live(edge.document));
        live.map(move |edge| (edge, if edge.from == index { edge.to } else { edge.from }))
    }

    /// Returns the things that are there of those somebody may mean.
    fn resolve(&self, named: &[Named], documents: &dyn Documents) -> Vec<At> {
        let mut found: Vec<At> = Vec::new();
        for one in named {
            if one.kind == DOCUMENT {
                let ids = documents.find(&one.key);
                let indices = ids.iter().filter_map(|id| self.document_by_id.get(&number(id)?));
                found.extend(indices.map(|index| At::Document(*index)));
                continue;
            }
            let index = number(&entity_id(&one.kind, &one.key)).and_then(|id| self.by_id.get(&id)).copied();
            found.extend(index.filter(|index| self.nodes[*index as usize].live > 0).map(At::Thing));
        }
        let mut seen = HashSet::new();
        found.retain(|at| seen.insert(*at));
        found
    }

    /// Calls `each` with every step from a place.
    fn steps(&self, at: At, over: Over, each: &mut dyn FnMut(At)) {
        match at {
            At::Thing(index) => {
                self.links(index).for_each(|(_, other)| each(At::Thing(other)));
                if over == Over::EdgesAndDocuments {
                    let said = self.nodes[index as usize].said.iter().map(|said| said.document);
                    let is_telling = |index: &u32| {
                        let document = &self.documents[*index as usize];
                        document.is_live && document.names.len() <= A_LIST
                    };
                    said.filter(is_telling).for_each(|document| each(At::Document(document)));
                }
            }
            At::Document(index) => {
                self.documents[index as usize].names.iter().for_each(|thing| each(At::Thing(*thing)));
            }
        }
    }

    fn degree(&self, at: At) -> usize {
        match at {
            At::Thing(index) => self.nodes[index as usize].links.len(),
            At::Document(index) => self.documents[index as usize].names.len(),
        }
    }

    /// Returns what stands around a thing.
    pub fn neighbors(&self, request: &NeighborsRequest, documents: &dyn Documents) -> Neighbors {
        let of = self.resolve(&request.of, documents);
        let wants_documents = request.kinds.iter().any(|kind| kind == DOCUMENT);
        let starts_at_document = of.iter().any(|at| matches!(at, At::Document(_)));
        let over = if wants_documents || starts_at_document { Over::EdgesAndDocuments } else { Over::Edges };
        let (depth, limit) = (request.depth.clamp(1, MAX_DEPTH), request.limit.min(MAX_NEIGHBORS));
        let is_wanted = |at: At| request.kinds.is_empty() || request.kinds.iter().any(|kind| kind == self.kind(at));
        let mut seen: HashSet<At> = of.iter().copied().collect();
        let mut queue: VecDeque<(At, u32)> = of.iter().map(|at| (*at, 0)).collect();
        let (mut found, mut has_more): (Vec<(At, At, u32)>, bool) = (Vec::new(), false);
        while let Some((at, distance)) = queue.pop_front() {
            let is_end = distance >= depth || distance > 0 && self.degree(at) > A_HUB;
            if is_end || has_more || seen.len() >= MAX_SEEN {
                continue;
            }
            self.steps(at, over, &mut |next| {
                if !seen.insert(next) {
                    return;
                }
                queue.push_back((next, distance + 1));
                match is_wanted(next) {
                    true if found.len() < limit => found.push((at, next, distance + 1)),
                    true => has_more = true,
                    false => {}
                }
            });
        }
        let neighbor = |(before, at, distance): (At, At, u32)| Neighbor {
            node: self.shown(at, documents),
            distance,
            step: self.step(before, at, documents),
        };
        let mut neighbors: Vec<Neighbor> = found.into_iter().map(neighbor).collect();
        // However the edges came in, over commits or from the tables, the answer reads the same.
        neighbors.sort_by(|a, b| {
            (a.distance, &a.node.kind, &a.node.key, &a.node.id).cmp(&(
                b.distance,
                &b.node.kind,
                &b.node.key,
                &b.node.id,
            ))
        });
        Neighbors { of: of.iter().map(|at| self.shown(*at, documents)).collect(), neighbors, has_more }
    }

    /// Returns the shortest way between two things: over edges, and where there is none, over documents that name both.
    pub fn path(&self, request: &PathRequest, documents: &dyn Documents) -> GraphPath {
        let (from, to) = (self.resolve(&request.from, documents), self.resolve(&request.to, documents));
        let way = [Over::Edges, Over::EdgesAndDocuments].into_iter().find_map(|over| self.way(&from, &to, over));
        let way = way.unwrap_or_default();
        let steps = way.windows(2).map(|pair| self.step(pair[0], pair[1], documents)).collect();
        let shown = |all: &[At]| all.iter().map(|at| self.shown(*at, documents)).collect();
        GraphPath { from: shown(&from), to: shown(&to), nodes: shown(&way), steps }
    }

    /// Walks from both ends, a level at a time from whichever has fewer edges before it: a hub between them is then met, not crossed.
    fn way(&self, from: &[At], to: &[At], over: Over) -> Option<Vec<At>> {
        if let Some(both) = from.iter().find(|at| to.contains(at)) {
            return Some(vec![*both]);
        }
        let (mut left, mut right) = (Side::new(from), Side::new(to));
        loop {
            if left.frontier.is_empty() || right.frontier.is_empty() || left.seen.len() + right.seen.len() > MAX_SEEN {
                return None;
            }
            let cost = |side: &Side| side.frontier.iter().map(|at| self.degree(*at)).sum::<usize>();
            let goes_left = cost(&left) <= cost(&right);
            let (side, other) = if goes_left { (&mut left, &right) } else { (&mut right, &left) };
            let mut met = None;
            for at in std::mem::take(&mut side.frontier) {
                self.steps(at, over, &mut |next| {
                    if met.is_none() && !side.seen.contains_key(&next) {
                        side.seen.insert(next, Some(at));
                        side.frontier.push(next);
                        met = other.seen.contains_key(&next).then_some(next);
                    }
                });
                if let Some(met) = met {
                    let mut way = left.back(met);
                    way.reverse();
                    way.extend(right.back(met).into_iter().skip(1));
                    return Some(way);
                }
            }
        }
    }

    fn kind(&self, at: At) -> &str {
        match at {
            At::Thing(index) => self.words.text(self.nodes[index as usize].kind),
            At::Document(_) => DOCUMENT,
        }
    }

    fn id(&self, at: At) -> String {
        match at {
            At::Thing(index) => text(self.nodes[index as usize].id),
            At::Document(index) => text(self.documents[index as usize].id),
        }
    }

    fn shown(&self, at: At, documents: &dyn Documents) -> GraphNode {
        let (id, kind) = (self.id(at), self.kind(at).to_owned());
        match at {
            At::Thing(index) => {
                let node = &self.nodes[index as usize];
                let mut attributes = BTreeMap::new();
                for said in node.said.iter().filter(|said| self.is_live(said.document)).take(MANY_SAID) {
                    for (name, value) in &said.attributes {
                        attributes.entry(name.clone()).or_insert_with(|| value.clone());
                    }
                }
                let (key, name) = (node.key.to_string(), node.name.to_string());
                GraphNode { id, kind, key, name, attributes, documents: node.live as usize }
            }
            At::Document(_) => {
                let name = documents.path(&id).unwrap_or_else(|| id.clone());
                GraphNode { key: id.clone(), id, kind, name, attributes: BTreeMap::new(), documents: 1 }
            }
        }
    }

    /// Describes a step that was taken: all edges of the first kind between the two, with where they were read.
    fn step(&self, from: At, to: At, documents: &dyn Documents) -> GraphStep {
        let mut step = GraphStep {
            from: self.id(from),
            kind: MENTIONS.to_owned(),
            to: self.id(to),
            forward: matches!(from, At::Document(_)),
            evidence: Vec::new(),
            documents: 1,
        };
        match (from, to) {
            (At::Thing(from), At::Thing(to)) => {
                // The one with fewer edges has all those between them too.
                let (few, other) =
                    if self.degree(At::Thing(from)) <= self.degree(At::Thing(to)) { (from, to) } else { (to, from) };
                let mut between = self.links(few).filter(|(_, end)| *end == other).map(|(edge, _)| edge);
                let Some(first) = between.next() else { return step };
                let same = |edge: &&Edge| edge.kind == first.kind && edge.from == first.from;
                let all: Vec<&Edge> = std::iter::once(first).chain(between.filter(same)).collect();
                step.kind = self.words.text(first.kind).to_owned();
                step.forward = first.from == from;
                step.documents = all.len();
                let shown = all.iter().take(MAX_EVIDENCE);
                step.evidence =
                    shown.map(|edge| self.evidence(edge.document, edge.chunk, edge.place, documents)).collect();
            }
            (At::Thing(thing), At::Document(document)) | (At::Document(document), At::Thing(thing)) => {
                let said = self.nodes[thing as usize].said.iter().find(|said| said.document == document);
                step.evidence.extend(said.map(|said| self.evidence(document, said.chunk, said.place, documents)));
            }
            (At::Document(_), At::Document(_)) => {}
        }
        step
    }

    fn evidence(&self, document: u32, chunk: u128, place: u32, documents: &dyn Documents) -> Evidence {
        let document_id = text(self.documents[document as usize].id);
        Evidence {
            document: documents.path(&document_id).unwrap_or_default(),
            document_id,
            chunk_id: (chunk != 0).then(|| text(chunk)),
            place: self.words.text(place).to_owned(),
        }
    }
}

/// One end of a way that is looked for: what was seen from it, each with where it was come from.
struct Side {
    seen: HashMap<At, Option<At>>,
    frontier: Vec<At>,
}

impl Side {
    fn new(start: &[At]) -> Self {
        Self { seen: start.iter().map(|at| (*at, None)).collect(), frontier: start.to_vec() }
    }

    /// Returns the way from a place back to the start.
    fn back(&self, from: At) -> Vec<At> {
        let mut way = vec![from];
        while let Some(Some(before)) = way.last().and_then(|at| self.seen.get(at)) {
            way.push(*before);
        }
        way
    }
}
