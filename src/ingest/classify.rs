//! Which domain a document belongs to: what the servers for classification (`etim`), products (`product`) and customs and taxes (`ctax`) work
//! on. Rules first: formats and words that only one domain uses. Where they are silent, the mean of the passages' vectors goes to the nearest
//! of a few described examples, and of the documents people put right.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use base::{Timestamp, file};
use lake::{ChunkRow, DocumentRow, DocumentStatus};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::{Error, decide::EXTRACTOR_KEY};

/// Where a document belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// Catalogues and their classification: ETIM, ECLASS, BMEcat.
    Etim,
    /// What is made: datasheets, manuals, certificates, prices.
    Product,
    /// Customs and taxes: tariff numbers, origin, invoices.
    Ctax,
    /// None of them.
    None,
}

impl Domain {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Etim, Self::Product, Self::Ctax, Self::None];

    /// Returns its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etim => "etim",
            Self::Product => "product",
            Self::Ctax => "ctax",
            Self::None => "none",
        }
    }

    /// Returns the domain of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|domain| domain.name() == word)
    }
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Rules,
    Meaning,
    Person,
}

/// A document's domain, how sure that is (0 to 1), and by what it was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Class {
    pub domain: Domain,
    pub confidence: f32,
    pub by: By,
}

/// The metadata keys of a document's row.
pub(crate) const DOMAIN_KEY: &str = "domain";
const CONFIDENCE_KEY: &str = "domain_confidence";
const BY_KEY: &str = "domain_by";

impl Class {
    /// Whether rules that say so need nothing beside them.
    fn is_sure(self) -> bool {
        self.confidence >= RULES_ENOUGH
    }

    /// Writes it into a document's metadata.
    pub fn put(self, metadata: &mut BTreeMap<String, String>) {
        let by = match self.by {
            By::Rules => "rules",
            By::Meaning => "meaning",
            By::Person => "person",
        };
        metadata.insert(DOMAIN_KEY.to_owned(), self.domain.name().to_owned());
        metadata.insert(CONFIDENCE_KEY.to_owned(), format!("{:.2}", self.confidence));
        metadata.insert(BY_KEY.to_owned(), by.to_owned());
    }
}

/// Rules that are less sure than this leave the word to the meaning.
const RULES_ENOUGH: f32 = 0.6;
/// A meaning less sure than this says nothing.
const MEANING_ENOUGH: f32 = 0.4;
/// Characters of a document the rules look at: what a document is, it says at its beginning.
const SAMPLE_CHARS: usize = 20_000;

/// Words of one domain, with how much one of them says. Each counts once, in lower case.
type Words = &'static [(&'static str, f32)];

const ETIM: Words = &[
    ("etim", 1.2),
    ("eclass", 1.0),
    ("bmecat", 1.5),
    ("merkmalleiste", 1.0),
    ("klassifikation", 0.5),
    ("warengruppe", 0.3),
    ("feature_system", 1.0),
    ("datanorm", 1.2),
];
const PRODUCT: Words = &[
    ("datenblatt", 0.9),
    ("datasheet", 0.9),
    ("technische daten", 0.8),
    ("technical data", 0.8),
    ("bemessungsstrom", 0.8),
    ("bemessungsspannung", 0.8),
    ("rated current", 0.8),
    ("rated voltage", 0.8),
    ("artikelnummer", 0.4),
    ("article number", 0.4),
    ("schutzart", 0.6),
    ("degree of protection", 0.6),
    ("querschnitt", 0.4),
    ("cross-section", 0.4),
    ("anzugsdrehmoment", 0.6),
    ("tightening torque", 0.6),
    ("montage", 0.3),
    ("konformitätserklärung", 0.6),
    ("declaration of conformity", 0.6),
    ("prüfbericht", 0.6),
    ("test report", 0.6),
    ("zertifikat", 0.5),
    ("certificate", 0.5),
    ("preisliste", 0.6),
    ("price list", 0.6),
    ("reihenklemme", 0.5),
    ("terminal block", 0.5),
    ("netzteil", 0.4),
    ("power supply", 0.4),
];
const CTAX: Words = &[
    ("zolltarifnummer", 1.2),
    ("warentarifnummer", 1.2),
    ("statistische warennummer", 1.2),
    ("hs code", 1.0),
    ("hs-code", 1.0),
    ("customs tariff", 1.2),
    ("commodity code", 1.0),
    ("taric", 1.0),
    ("ursprungserklärung", 1.0),
    ("lieferantenerklärung", 1.0),
    ("supplier's declaration", 0.8),
    ("präferenz", 0.6),
    ("intrastat", 1.0),
    ("eori", 0.9),
    ("einfuhrumsatzsteuer", 1.2),
    ("umsatzsteuer", 0.5),
    ("ust-id", 0.5),
    ("vat id", 0.5),
    ("rechnungsnummer", 0.6),
    ("invoice number", 0.6),
    ("rechnung", 0.3),
    ("ausfuhrgenehmigung", 0.8),
    ("export control", 0.6),
    ("incoterms", 0.5),
];

/// Returns what the rules say of a document: its format as it was read, its file's name and its text.
pub(crate) fn by_rules(format: &str, file_name: &str, text: &str) -> Option<Class> {
    let of = |domain, confidence| Some(Class { domain, confidence, by: By::Rules });
    match format {
        "bmecat" | "etim-xchange" => return of(Domain::Etim, 0.98),
        "invoice" => return of(Domain::Ctax, 0.95),
        _ => {}
    }
    let sample: String = file_name.chars().chain(['\n']).chain(text.chars().take(SAMPLE_CHARS)).collect();
    let sample = sample.to_lowercase().replace(['_', '\u{a0}'], " ");
    let weight = |words: Words| -> f32 { words.iter().filter(|(word, _)| sample.contains(word)).map(|(_, w)| w).sum() };
    let codes = class_codes(&sample) as f32;
    let mut weights =
        [(Domain::Etim, weight(ETIM) + codes * 0.8), (Domain::Product, weight(PRODUCT)), (Domain::Ctax, weight(CTAX))];
    weights.sort_by(|a, b| b.1.total_cmp(&a.1));
    let [(domain, most), (_, second), _] = weights;
    // Saturating: three good words are nearly certain. A second domain with as many words takes the certainty away.
    let confidence = (1.0 - (-most).exp()) * (most / (most + second).max(f32::EPSILON));
    if most > 0.0 { of(domain, confidence) } else { None }
}

/// Counts codes of ETIM (`EC000897`, `EF007793`, `EV000154`), three at most.
fn class_codes(sample: &str) -> usize {
    let words = sample.split(|c: char| !c.is_ascii_alphanumeric());
    let is_code = |word: &&str| {
        word.len() == 8
            && ["ec", "ef", "ev", "eu"].iter().any(|prefix| word.starts_with(prefix))
            && word[2..].bytes().all(|byte| byte.is_ascii_digit())
    };
    words.filter(is_code).take(3).count()
}

/// What a domain's documents are about: embedded at most once per run, as passages.
const EXAMPLES: [(Domain, &[&str]); 4] = [
    (
        Domain::Etim,
        &[
            "Produktkatalog mit Klassen und Merkmalen nach ETIM und ECLASS: Artikel, Merkmal, Wert, Einheit",
            "Catalogue with classification: article, class, feature, value and unit of each product",
        ],
    ),
    (
        Domain::Product,
        &[
            "Technisches Datenblatt einer Reihenklemme: Bemessungsstrom, Spannung, Querschnitt, Maße, Zulassungen",
            "Installation manual and technical data of an electrical device: mounting, wiring, ratings, approvals",
            "Prüfbericht und Zertifikat eines Produkts, Reklamation zu einem gelieferten Artikel",
        ],
    ),
    (
        Domain::Ctax,
        &[
            "Rechnung mit Umsatzsteuer, Zolltarifnummer, Ursprungsland und Lieferantenerklärung",
            "Customs declaration, tariff code, country of origin, import duty and value added tax of a shipment",
        ],
    ),
    (
        Domain::None,
        &[
            "Protokoll einer Besprechung mit Teilnehmern, Terminen und Aufgaben",
            "Company party, holiday rules, parking, canteen menu and a message to all colleagues",
            "Arbeitsvertrag, Betriebsvereinbarung, Datenschutz und allgemeine Geschäftsbedingungen",
        ],
    ),
];

/// E5 puts all texts close together: differences of a few hundredths are what there is.
const TEMPERATURE: f32 = 0.02;
/// What a person put right weighs as much as an example.
const CORRECTIONS_MAX: usize = 2_000;

/// The domains in the space of the vectors.
#[derive(Clone, Debug)]
pub(crate) struct Centroids(Vec<(Domain, Vec<f32>)>);

impl Centroids {
    /// Embeds the examples, and joins them with what people put right.
    ///
    /// # Errors
    /// [`Error::Embed`].
    pub async fn make(embedding: &engine::Embedding, corrections: &Corrections) -> Result<Self, Error> {
        let texts = EXAMPLES.iter().flat_map(|(_, texts)| texts.iter().map(|text| (*text).to_owned())).collect();
        let vectors = embedding.embed_passages(texts).await.map_err(|source| Error::Embed { source })?;
        let domains = EXAMPLES.iter().flat_map(|(domain, texts)| std::iter::repeat_n(*domain, texts.len()));
        let examples = domains.zip(vectors);
        let corrected = corrections.0.values().map(|one| (one.domain, one.vector.clone()));
        Ok(Self::of(examples.chain(corrected)))
    }

    fn of(examples: impl Iterator<Item = (Domain, Vec<f32>)>) -> Self {
        let mut sums: BTreeMap<Domain, Vec<f32>> = BTreeMap::new();
        for (domain, vector) in examples {
            let sum = sums.entry(domain).or_insert_with(|| vec![0.0; vector.len()]);
            if sum.len() == vector.len() {
                sum.iter_mut().zip(&vector).for_each(|(sum, number)| *sum += number);
            }
        }
        Self(sums.into_iter().filter_map(|(domain, sum)| Some((domain, normalised(sum)?))).collect())
    }

    /// Returns the nearest domain to a document's vector, and how much nearer it is than the others.
    pub fn nearest(&self, vector: &[f32]) -> Option<Class> {
        let cosine = |of: &[f32]| -> f32 { of.iter().zip(vector).map(|(a, b)| a * b).sum() };
        let all: Vec<(Domain, f32)> = self.0.iter().map(|(domain, of)| (*domain, cosine(of))).collect();
        let (domain, most) = all.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let sum: f32 = all.iter().map(|(_, cosine)| ((cosine - most) / TEMPERATURE).exp()).sum();
        Some(Class { domain, confidence: 1.0 / sum, by: By::Meaning })
    }
}

/// Returns the mean direction of a document's passages.
pub(crate) fn mean<'a>(vectors: impl Iterator<Item = &'a Vec<f32>>) -> Option<Vec<f32>> {
    let mut sum: Vec<f32> = Vec::new();
    for vector in vectors {
        if sum.is_empty() {
            sum.resize(vector.len(), 0.0);
        }
        if sum.len() == vector.len() {
            sum.iter_mut().zip(vector).for_each(|(sum, number)| *sum += number);
        }
    }
    normalised(sum)
}

fn normalised(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length.is_nan() || length <= f32::EPSILON {
        return None;
    }
    vector.iter_mut().for_each(|number| *number /= length);
    Some(vector)
}

/// Decides: a person's word, then sure rules, then the meaning, then what the rules guessed.
pub(crate) fn decide(person: Option<Domain>, rules: Option<Class>, meaning: Option<Class>) -> Class {
    if let Some(domain) = person {
        return Class { domain, confidence: 1.0, by: By::Person };
    }
    let sure = rules.filter(|class| class.is_sure());
    let meant = meaning.filter(|class| class.confidence >= MEANING_ENOUGH);
    let none = Class { domain: Domain::None, confidence: MEANING_ENOUGH, by: By::Meaning };
    sure.or(meant).or(rules).unwrap_or(none)
}

/// Gives documents their domain.
pub(crate) struct Classifier {
    embedding: engine::Embedding,
    /// Made for the first document whose words do not tell: while others are embedded, not before.
    centroids: OnceCell<Centroids>,
    corrections: Corrections,
}

impl Classifier {
    pub fn new(embedding: engine::Embedding, corrections: Corrections) -> Self {
        Self { embedding, centroids: OnceCell::new(), corrections }
    }

    /// Writes its domain into a document's row, if it can be found.
    ///
    /// # Errors
    /// [`Error::Embed`].
    pub async fn classify(&self, row: &mut DocumentRow, chunks: &[ChunkRow]) -> Result<(), Error> {
        if row.status != DocumentStatus::Searchable {
            return Ok(());
        }
        let mut text = String::new();
        for chunk in chunks {
            chunk.heading_path.iter().chain([&chunk.text]).for_each(|part| text.extend([part.as_str(), "\n"]));
            if text.len() > SAMPLE_CHARS * 4 {
                break;
            }
        }
        let person = self.corrections.of(&row.id);
        let rules = by_rules(&row.format, &row.name, &text);
        let meaning = match person.is_none() && !rules.is_some_and(Class::is_sure) {
            true => self.meaning(chunks).await?,
            false => None,
        };
        decide(person, rules, meaning).put(&mut row.metadata);
        Ok(())
    }

    async fn meaning(&self, chunks: &[ChunkRow]) -> Result<Option<Class>, Error> {
        let Some(vector) = mean(chunks.iter().map(|chunk| &chunk.vector)) else { return Ok(None) };
        let centroids = self.centroids.get_or_try_init(|| Centroids::make(&self.embedding, &self.corrections)).await?;
        Ok(centroids.nearest(&vector))
    }
}

/// What a person put right.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Correction {
    /// Version of this format: 1.
    format: u32,
    /// The document's id.
    document: String,
    domain: Domain,
    at: Timestamp,
    /// The document's mean vector, by which others like it are judged.
    vector: Vec<f32>,
}

/// All corrections, the last of each document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Corrections(BTreeMap<String, Correction>);

const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 64 << 20;

impl Corrections {
    /// Reads them; none where there are none. A line that is damaged is passed over.
    ///
    /// # Errors
    /// [`Error::ReadReport`] when the file cannot be read.
    pub fn read(state_dir: &Path) -> Result<Self, Error> {
        let path = path(state_dir);
        let bytes = match file::read_bounded(&path, BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(file::ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Error::ReadReport { path, source: error.into() }),
        };
        let lines =
            bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Correction>(line).ok());
        let known = lines.filter(|one| one.format == FORMAT).map(|one| (one.document.clone(), one));
        Ok(Self(known.collect()))
    }

    /// Keeps what a person says of a document, and forgets the oldest beyond two thousand.
    ///
    /// # Errors
    /// [`Error::WriteReport`].
    pub fn put(
        &mut self,
        state_dir: &Path,
        document: &str,
        domain: Domain,
        vector: Vec<f32>,
        at: Timestamp,
    ) -> Result<(), Error> {
        let document = document.to_owned();
        self.0.insert(document.clone(), Correction { format: FORMAT, document, domain, at, vector });
        while self.0.len() > CORRECTIONS_MAX {
            let oldest = self.0.values().min_by_key(|one| one.at).map(|one| one.document.clone());
            oldest.and_then(|document| self.0.remove(&document));
        }
        let path = path(state_dir);
        let failed = |source| Error::WriteReport { path: path.clone(), source };
        let mut bytes = Vec::new();
        for one in self.0.values() {
            serde_json::to_writer(&mut bytes, one).map_err(|error| failed(error.into()))?;
            bytes.push(b'\n');
        }
        fs::create_dir_all(state_dir).map_err(failed)?;
        file::write_atomic(&path, &bytes, 0o600).map_err(failed)
    }

    /// Makes documents that do not have the domain a person gave them be read again.
    pub fn ask_again(&self, rows: &mut [DocumentRow]) {
        for row in rows.iter_mut().filter(|row| row.status == DocumentStatus::Searchable) {
            let is_wrong = |domain: Domain| row.metadata.get(DOMAIN_KEY).is_none_or(|word| word != domain.name());
            if self.of(&row.id).is_some_and(is_wrong) {
                row.metadata.remove(EXTRACTOR_KEY);
            }
        }
    }

    /// Returns what a person said of a document.
    pub fn of(&self, document: &str) -> Option<Domain> {
        self.0.get(document).map(|one| one.domain)
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("domains.jsonl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_know_what_only_one_domain_says() {
        let check = |format: &str, name: &str, text: &str, expect: Domain| {
            let class = by_rules(format, name, text).unwrap();
            assert_eq!(class.domain, expect, "{name}: {class:?}");
            assert!(class.confidence >= RULES_ENOUGH, "{name}: {class:?}");
        };
        check("bmecat", "x.xml", "", Domain::Etim);
        check("invoice", "x.pdf", "", Domain::Ctax);
        check("csv", "export.csv", "EC000897;EF007793;EV000154", Domain::Etim);
        check("pdf", "Datenblatt_KX-4.pdf", "Technische Daten\nBemessungsstrom 32 A", Domain::Product);
        check("pdf", "datasheet.pdf", "Rated current 24 A, rated voltage 800 V", Domain::Product);
        check("xlsx", "Zoll.xlsx", "Zolltarifnummer 85369010, Ursprungserklärung", Domain::Ctax);
        check("txt", "RE-1.txt", "Rechnungsnummer 4711, Umsatzsteuer 19 %, USt-IdNr. DE123456789", Domain::Ctax);
    }

    #[test]
    fn rules_are_silent_or_unsure_where_there_is_little_to_go_by() {
        assert_eq!(by_rules("txt", "notes.txt", "Kuchen ist in der Küche."), None);
        let torn = by_rules("txt", "x.txt", "Datenblatt zur Zolltarifnummer").unwrap();
        assert!(torn.confidence < RULES_ENOUGH, "{torn:?}");
        assert!(by_rules("txt", "x.txt", "EC00089 and EX000897").is_none());
    }

    fn class(domain: Domain, confidence: f32, by: By) -> Class {
        Class { domain, confidence, by }
    }

    #[test]
    fn a_person_counts_most_and_the_meaning_fills_in() {
        let (sure, guess) = (class(Domain::Product, 0.9, By::Rules), class(Domain::Product, 0.3, By::Rules));
        let (meant, faint) = (class(Domain::Ctax, 0.7, By::Meaning), class(Domain::Ctax, 0.3, By::Meaning));
        let said = |person, rules, meaning| decide(person, rules, meaning).domain;
        assert_eq!(said(Some(Domain::None), Some(sure), Some(meant)), Domain::None);
        assert_eq!(said(None, Some(sure), Some(meant)), Domain::Product);
        assert_eq!(said(None, Some(guess), Some(meant)), Domain::Ctax);
        assert_eq!(said(None, Some(guess), Some(faint)), Domain::Product);
        assert_eq!(said(None, None, Some(faint)), Domain::None);
    }

    #[test]
    fn what_was_put_right_draws_its_like() {
        let dir = tempfile::tempdir().unwrap();
        let axis = |at: usize| (0..4).map(|n| f32::from(u8::from(n == at))).collect::<Vec<f32>>();
        let examples = || [(Domain::Product, axis(0)), (Domain::None, axis(1))].into_iter();
        let odd = normalised(vec![0.6, 0.5, 0.6, 0.0]).unwrap();
        assert_eq!(Centroids::of(examples()).nearest(&odd).unwrap().domain, Domain::Product);
        let mut corrections = Corrections::read(dir.path()).unwrap();
        let now = Timestamp::from_millis(1);
        corrections.put(dir.path(), "d1", Domain::None, axis(2), now).unwrap();
        corrections.put(dir.path(), "d1", Domain::Ctax, axis(2), now).unwrap();
        let kept = Corrections::read(dir.path()).unwrap();
        assert_eq!((kept.of("d1"), kept.of("d2")), (Some(Domain::Ctax), None));
        let corrected = kept.0.values().map(|one| (one.domain, one.vector.clone()));
        let all = Centroids::of(examples().chain(corrected));
        assert_eq!(all.nearest(&normalised(vec![0.5, 0.3, 0.7, 0.0]).unwrap()).unwrap().domain, Domain::Ctax);
        assert_eq!(mean([axis(0), axis(1)].iter()).unwrap().len(), 4);
        assert_eq!(mean([].iter()), None);
    }
}
