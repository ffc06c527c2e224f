//! The header of a BMEcat file.

use super::bmecat::Frame;
use super::format::{CatalogHeader, Coded, Extension, Party};

/// A hostile header cannot make these lists long.
const MAX_LIST: usize = 10_000;

/// Gathers the header from the elements that close in it.
#[derive(Default)]
pub(super) struct HeaderBuilder {
    pub(super) header: CatalogHeader,
    date: DateParts,
    party: Party,
    supplier_ref: Option<String>,
    buyer_ref: Option<String>,
    is_default_language: bool,
}

/// `DATE`, `TIME` and `TIMEZONE` of a `DATETIME`.
#[derive(Default)]
pub(super) struct DateParts {
    date: String,
    time: String,
    zone: String,
}

impl DateParts {
    /// Takes a part; whether it was one.
    pub(super) fn take(&mut self, frame: &Frame) -> bool {
        let slot = match frame.name.as_str() {
            "DATE" => &mut self.date,
            "TIME" => &mut self.time,
            "TIMEZONE" => &mut self.zone,
            _ => return false,
        };
        *slot = frame.value();
        true
    }

    /// The parts as one text (`2000-10-24T20:38:00Z`), none of them changed.
    pub(super) fn join(&mut self) -> Option<String> {
        let Self { date, time, zone } = std::mem::take(self);
        if time.is_empty() {
            return (!date.is_empty()).then_some(date);
        }
        Some(format!("{date}T{time}{zone}"))
    }
}

impl HeaderBuilder {
    pub(super) fn open(&mut self, _above: &[Frame], frame: &Frame, attribute: Option<String>) {
        match frame.name.as_str() {
            "LANGUAGE" => self.is_default_language = attribute.as_deref() == Some("true"),
            "SUPPLIER" | "BUYER" | "PARTY" => self.party = Party::default(),
            _ => {}
        }
    }

    pub(super) fn close(&mut self, above: &[Frame], frame: &Frame) {
        let parent = above.last().map_or("", |frame| frame.name.as_str());
        if above.iter().any(|frame| frame.name == "USER_DEFINED_EXTENSIONS") {
            if let Some(extension) = extension(above, frame)
                && self.header.extensions.len() < MAX_LIST
            {
                self.header.extensions.push(extension);
            }
            return;
        }
        match frame.name.as_str() {
            "SUPPLIER" if parent == "HEADER" => self.header.supplier = Some(std::mem::take(&mut self.party)),
            "BUYER" if parent == "HEADER" => self.header.buyer = Some(std::mem::take(&mut self.party)),
            "PARTY" if self.header.parties.len() < MAX_LIST => {
                self.header.parties.push(std::mem::take(&mut self.party));
            }
            _ if frame.has_children && frame.name != "DATETIME" => {}
            name => self.leaf(parent, name, frame),
        }
    }

    fn leaf(&mut self, parent: &str, name: &str, frame: &Frame) {
        let header = &mut self.header;
        match (parent, name) {
            ("HEADER", "GENERATOR_INFO") => header.generator = Some(frame.value()),
            ("HEADER", "SUPPLIER_IDREF") => self.supplier_ref = Some(frame.value()),
            ("HEADER", "BUYER_IDREF") => self.buyer_ref = Some(frame.value()),
            ("CATALOG", "LANGUAGE") => {
                let language = frame.value();
                if !language.is_empty() && !header.languages.contains(&language) && header.languages.len() < 200 {
                    let at = if self.is_default_language { 0 } else { header.languages.len() };
                    header.languages.insert(at, language);
                }
            }
            ("CATALOG", "CATALOG_ID") => header.catalog_id = Some(frame.value()),
            ("CATALOG", "CATALOG_VERSION") => header.catalog_version = Some(frame.value()),
            ("CATALOG", "CATALOG_NAME") if header.names.len() < MAX_LIST => header.names.push(frame.as_text()),
            ("CATALOG", "GENERATION_DATE") => header.generated = Some(frame.value()),
            ("CATALOG", "VALID_START_DATE") => header.valid_from = Some(frame.value()),
            ("CATALOG", "VALID_END_DATE") => header.valid_to = Some(frame.value()),
            ("CATALOG", "CURRENCY") => header.currency = Some(frame.value()),
            ("CATALOG", "TERRITORY") if header.territories.len() < MAX_LIST => header.territories.push(frame.value()),
            ("CATALOG", "MIME_ROOT") => header.mime_root = Some(frame.value()),
            ("AGREEMENT", "AGREEMENT_ID") if header.agreements.len() < MAX_LIST => {
                header.agreements.push(frame.value())
            }
            ("DATETIME", _) => {
                self.date.take(frame);
            }
            ("CATALOG", "DATETIME") => {
                let date = self.date.join();
                match frame.kind.as_deref() {
                    Some("valid_start_date") => header.valid_from = date,
                    Some("valid_end_date") => header.valid_to = date,
                    _ => header.generated = date,
                }
            }
            (_, "DATETIME") => self.date = DateParts::default(),
            ("SUPPLIER", "SUPPLIER_ID") | ("BUYER", "BUYER_ID") | ("PARTY", "PARTY_ID")
                if self.party.ids.len() < 100 =>
            {
                self.party.ids.push(Coded { kind: frame.kind.clone(), value: frame.value() });
            }
            ("SUPPLIER", "SUPPLIER_NAME") | ("BUYER", "BUYER_NAME") => self.party.name = Some(frame.value()),
            ("PARTY", "PARTY_ROLE") => self.party.role = Some(frame.value()),
            ("ADDRESS", "NAME") if self.party.name.is_none() => self.party.name = Some(frame.value()),
            ("ADDRESS", "VAT_ID") => self.party.vat_id = Some(frame.value()),
            _ => {}
        }
    }

    /// The header; supplier and buyer are looked up among the parties where the header only points at them.
    pub(super) fn finish(self) -> CatalogHeader {
        let mut header = self.header;
        let find = |id: Option<String>, role: &str| {
            header
                .parties
                .iter()
                .find(|party| id.as_ref().is_some_and(|id| party.ids.iter().any(|known| known.value == *id)))
                .or_else(|| header.parties.iter().find(|party| party.role.as_deref() == Some(role)))
                .cloned()
        };
        let supplier = find(self.supplier_ref, "supplier");
        let buyer = find(self.buyer_ref, "buyer");
        header.supplier = header.supplier.or(supplier);
        header.buyer = header.buyer.or(buyer);
        header
    }
}

/// A field below `USER_DEFINED_EXTENSIONS`, named by the elements on the way to it. Some writers repeat the whole way in every
/// name; it is told once then.
pub(super) fn extension(above: &[Frame], frame: &Frame) -> Option<Extension> {
    let value = frame.value();
    if frame.has_children || value.is_empty() {
        return None;
    }
    let inside = above.iter().rposition(|frame| frame.name == "USER_DEFINED_EXTENSIONS").map_or(0, |at| at + 1);
    let mut name = String::new();
    for step in &above[inside..] {
        if !frame.name.starts_with(&step.name) && name.len() < 400 {
            name.push_str(&step.name);
            name.push('/');
        }
    }
    name.push_str(&frame.name);
    Some(Extension { name, lang: frame.lang.clone(), value })
}
