//! What a document names: products, makers, certificates, standards, complaints and customers, and how they belong together.
//!
//! Rules, no model: each recogniser looks at one line (a table's row is one line) in German and English, and says nothing rather
//! than guess. A thing is known by a kind and a key; spellings of one thing have one key (`WDU 2.5`, `WDU2,5`, `wdu-2.5`).
//! [`knowledge`] puts the findings of all passages together and draws the relations a document's kind allows.

mod certificate;
mod company;
mod date;
mod issue;
mod key;
mod product;
mod relate;
mod standard;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, HashMap};

pub use key::{key_of, keys_of};

/// The kinds of things documents name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityKind {
    /// An article number, a type code or a GTIN.
    Product,
    /// Who makes products.
    Manufacturer,
    /// A certificate, declaration or approval, by its number.
    Certificate,
    /// A standard or directive, by its number.
    Standard,
    /// A complaint or defect report.
    Issue,
    /// Who buys, or complains.
    Customer,
}

impl EntityKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Product, Self::Manufacturer, Self::Certificate, Self::Standard, Self::Issue, Self::Customer];

    /// Returns the word in tables and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Manufacturer => "manufacturer",
            Self::Certificate => "certificate",
            Self::Standard => "standard",
            Self::Issue => "issue",
            Self::Customer => "customer",
        }
    }
}

/// How two things belong together; read from the first to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelationKind {
    /// An article number has a type code.
    HasType,
    /// An article number or type code has a GTIN.
    HasGtin,
    /// A product is made by a manufacturer.
    MadeBy,
    /// A product is covered by a certificate.
    CertifiedBy,
    /// A product or certificate conforms to a standard.
    ConformsTo,
    /// A certificate was issued to a manufacturer.
    IssuedTo,
    /// An issue concerns a product or a certificate.
    Concerns,
    /// An issue was reported by a customer.
    ReportedBy,
}

impl RelationKind {
    /// Returns the word in tables and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HasType => "has_type",
            Self::HasGtin => "has_gtin",
            Self::MadeBy => "made_by",
            Self::CertifiedBy => "certified_by",
            Self::ConformsTo => "conforms_to",
            Self::IssuedTo => "issued_to",
            Self::Concerns => "concerns",
            Self::ReportedBy => "reported_by",
        }
    }
}

/// One thing a document names.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    pub kind: EntityKind,
    /// What all spellings have in common.
    pub key: String,
    /// The first spelling in the document.
    pub name: String,
    /// What is said about it: `form` of a product (`article`, `type`, `gtin`), `issued` and `expires` of a certificate as ISO 8601,
    /// `edition` of a standard.
    pub attributes: BTreeMap<String, String>,
    /// How often the document names it.
    pub mentions: u32,
    /// The index of the first passage that names it.
    pub passage: usize,
}

/// A relation between two entities of one document, by their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub from: usize,
    pub kind: RelationKind,
    pub to: usize,
    /// The index of the passage it was read from.
    pub passage: usize,
}

/// What a document names, and how it belongs together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Knowledge {
    pub entities: Vec<Entity>,
    pub relations: Vec<Relation>,
}

/// What is known about a document besides its passages.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The way to the file, `/` between names: folders are called `Reklamationen` for a reason.
    pub path: &'a str,
    pub title: Option<&'a str>,
    /// The format it was read as.
    pub format: &'a str,
}

/// More of one document adds noise, not knowledge.
const MAX_ENTITIES: usize = 5_000;
/// See [`MAX_ENTITIES`].
const MAX_RELATIONS: usize = 20_000;
/// A line beyond this is data without structure.
const MAX_LINE_BYTES: usize = 4_000;

/// One finding in one line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub kind: EntityKind,
    pub key: String,
    pub name: String,
    /// Where it stands in the line, in bytes.
    pub start: usize,
    pub end: usize,
    pub attributes: BTreeMap<String, String>,
}

impl Found {
    fn new(kind: EntityKind, key: String, line: &str, start: usize, end: usize) -> Self {
        Self { kind, key, name: line[start..end].to_owned(), start, end, attributes: BTreeMap::new() }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// The findings of one line, as indices into the document's entities with their place in the line.
pub(crate) struct Line {
    pub passage: usize,
    pub found: Vec<(usize, usize, usize)>,
}

/// Returns what a document names. `passages` are its chunks in order; the work is linear in their text.
pub fn knowledge(about: &About<'_>, passages: &[&str]) -> Knowledge {
    let nature = issue::Nature::of(about, passages.first().copied().unwrap_or_default());
    let mut all = Collected::default();
    for (index, passage) in passages.iter().enumerate() {
        let mut dates = date::Carry::default();
        for line in passage.lines().filter(|line| !line.trim().is_empty() && line.len() <= MAX_LINE_BYTES) {
            let mut found = recognise(line, &nature);
            dates.note(line, &mut found);
            all.take(index, found);
        }
        all.give(dates);
    }
    relate::relate(about, &nature, all)
}

/// Returns what one line names, in order, each byte claimed once: what is certain comes first.
fn recognise(line: &str, nature: &issue::Nature) -> Vec<Found> {
    let words = words::words(line);
    let mut found: Vec<Found> = Vec::new();
    let mut claim = |more: Vec<Found>| {
        for one in more {
            if !found.iter().any(|other| other.overlaps(&one)) {
                found.push(one);
            }
        }
    };
    claim(certificate::explosion(line, &words));
    claim(standard::find(line, &words));
    claim(certificate::numbered(line, &words, nature.is_certificate));
    claim(issue::find(line, &words));
    claim(company::find(line, &words, nature));
    claim(product::find(line, &words));
    found.sort_by_key(|one| one.start);
    found
}

/// The document's entities while its lines are read.
#[derive(Default)]
pub(crate) struct Collected {
    pub entities: Vec<Entity>,
    pub lines: Vec<Line>,
    index: HashMap<(EntityKind, String), usize>,
}

impl Collected {
    fn take(&mut self, passage: usize, found: Vec<Found>) {
        let mut line = Line { passage, found: Vec::with_capacity(found.len()) };
        for one in found {
            let (start, end) = (one.start, one.end);
            if let Some(entity) = self.add(passage, one) {
                line.found.push((entity, start, end));
            }
        }
        if !line.found.is_empty() {
            self.lines.push(line);
        }
    }

    /// Adds a finding and returns its entity's index; `None` when the document names too many things.
    pub fn add(&mut self, passage: usize, one: Found) -> Option<usize> {
        let key = (one.kind, one.key);
        if let Some(index) = self.index.get(&key) {
            let entity = &mut self.entities[*index];
            entity.mentions = entity.mentions.saturating_add(1);
            for (name, value) in one.attributes {
                entity.attributes.entry(name).or_insert(value);
            }
            return Some(*index);
        }
        if self.entities.len() >= MAX_ENTITIES {
            return None;
        }
        let index = self.entities.len();
        self.entities.push(Entity {
            kind: one.kind,
            key: key.1.clone(),
            name: one.name,
            attributes: one.attributes,
            mentions: 1,
            passage,
        });
        self.index.insert(key, index);
        Some(index)
    }

    /// Gives the dates of a passage to the one certificate it names, where no line said it more closely.
    fn give(&mut self, dates: date::Carry) {
        let Some((certificate, dates)) = dates.loose() else { return };
        if let Some(index) = self.index.get(&(EntityKind::Certificate, certificate)) {
            for (name, value) in dates {
                self.entities[*index].attributes.entry(name).or_insert(value);
            }
        }
    }
}
