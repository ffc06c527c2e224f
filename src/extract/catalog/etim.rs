//! ETIM xChange V1 and V2: `Supplier[].Product[]`, one product at a time.
//!
//! Field names are those of the schemas ETIM International publishes (V1.0 of 2024, V1.1, V2.0 of 2025). Where a version spells one
//! otherwise, both are read; what has no place in the model stays as a named field.

use std::collections::VecDeque;
use std::io::Read;

use super::etim_product::{product, texts};
use super::format::{CatalogEnd, CatalogHeader, CatalogItem, Coded, Extension, Party, Text};
use super::json::{Json, JsonStream};
use super::source::Utf8Source;
use crate::error::Error;

/// Where in the file the reader stands.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Start,
    /// In the object at the top; whether a key came before.
    Top(bool),
    /// In the list of suppliers.
    Suppliers(bool),
    /// In a supplier.
    Supplier(bool),
    /// In its list of products.
    Products(bool),
    Done,
}

/// The reader of ETIM xChange.
pub(super) struct Etim<R> {
    json: JsonStream<R>,
    state: State,
    header: CatalogHeader,
    supplier: Party,
    header_is_out: bool,
    header_changed: bool,
    suppliers: u64,
    products_here: u64,
    pending: VecDeque<CatalogItem>,
    end: CatalogEnd,
}

impl<R: Read> Etim<R> {
    pub(super) fn new(source: R) -> Result<Self, Error> {
        let source = Utf8Source::new(source).map_err(|error| Error::unreadable(error.to_string()))?;
        Ok(Self {
            json: JsonStream::new(source),
            state: State::Start,
            header: CatalogHeader::default(),
            supplier: Party::default(),
            header_is_out: false,
            header_changed: false,
            suppliers: 0,
            products_here: 0,
            pending: VecDeque::new(),
            end: CatalogEnd::default(),
        })
    }

    pub(super) fn next(&mut self) -> Option<Result<CatalogItem, Error>> {
        loop {
            if let Some(item) = self.pending.pop_front() {
                return Some(Ok(item));
            }
            if self.state == State::Done {
                return None;
            }
            if let Err(error) = self.step() {
                self.state = State::Done;
                return Some(Err(error));
            }
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        self.json.begin_value();
        match self.state {
            State::Start => {
                self.json.expect(b'{')?;
                self.state = State::Top(true);
            }
            State::Top(first) => match self.json.key(first)? {
                None => self.finish(),
                Some(key) if key == "Supplier" && self.json.peek()? == Some(b'[') => {
                    self.json.expect(b'[')?;
                    self.state = State::Suppliers(true);
                }
                Some(key) => {
                    let value = self.json.value(0)?;
                    self.header_changed = true;
                    header_field(&mut self.header, &key, &value);
                    self.state = State::Top(false);
                }
            },
            State::Suppliers(first) => {
                if self.json.more(first, b']')? {
                    self.json.expect(b'{')?;
                    self.suppliers += 1;
                    self.products_here = 0;
                    self.supplier = Party { role: Some("supplier".to_owned()), ..Party::default() };
                    self.state = State::Supplier(true);
                } else {
                    self.state = State::Top(false);
                }
            }
            State::Supplier(first) => match self.json.key(first)? {
                None => {
                    self.supplier_is_known();
                    self.state = State::Suppliers(false);
                }
                Some(key) if key == "Product" && self.json.peek()? == Some(b'[') => {
                    self.supplier_is_known();
                    self.send_header();
                    self.json.expect(b'[')?;
                    self.state = State::Products(true);
                }
                Some(key) => {
                    let value = self.json.value(0)?;
                    party_field(&mut self.supplier, &key, &value);
                    self.state = State::Supplier(false);
                }
            },
            State::Products(first) => {
                if self.json.more(first, b']')? {
                    self.product()?;
                    self.state = State::Products(false);
                } else {
                    self.state = State::Supplier(false);
                }
            }
            State::Done => {}
        }
        Ok(())
    }

    fn product(&mut self) -> Result<(), Error> {
        let value = self.json.value(0)?;
        let path = format!("/Supplier/{}/Product/{}", self.suppliers - 1, self.products_here);
        self.products_here += 1;
        let product = product(&value, path);
        let end = &mut self.end;
        end.products += 1;
        end.features += product.features().count() as u64;
        end.prices +=
            (product.prices.len() + product.trade_items.iter().map(|item| item.prices.len()).sum::<usize>()) as u64;
        end.mimes +=
            (product.mimes.len() + product.trade_items.iter().map(|item| item.mimes.len()).sum::<usize>()) as u64;
        let all = product.short_descriptions.iter().chain(&product.long_descriptions).chain(&product.keywords);
        for lang in all
            .chain(product.features().flat_map(|feature| &feature.value_details))
            .filter_map(|text| text.lang.as_ref())
        {
            see_language(&mut end.languages, lang);
        }
        self.pending.push_back(CatalogItem::Product(Box::new(product)));
        Ok(())
    }

    /// Notes the supplier once, whether its name stands before or after its products.
    fn supplier_is_known(&mut self) {
        let known = self.header.parties.len() as u64 >= self.suppliers;
        if known && let Some(last) = self.header.parties.last_mut() {
            if *last != self.supplier {
                last.clone_from(&self.supplier);
                self.header_changed = true;
            }
        } else if self.header.parties.len() < 10_000 {
            self.header.parties.push(self.supplier.clone());
            self.header_changed = true;
        }
        if self.suppliers == 1 {
            self.header.supplier = Some(self.supplier.clone());
        }
    }

    fn send_header(&mut self) {
        if !self.header_is_out {
            self.header_is_out = true;
            self.header_changed = false;
            for lang in &self.header.languages {
                see_language(&mut self.end.languages, lang);
            }
            self.pending.push_back(CatalogItem::Header(Box::new(self.header.clone())));
        }
    }

    fn finish(&mut self) {
        self.state = State::Done;
        // Fields of an object may stand in any order: what came after the products makes the header complete.
        if self.header_changed {
            self.header_is_out = false;
            self.send_header();
        }
        self.pending.push_back(CatalogItem::End(std::mem::take(&mut self.end)));
    }
}

fn see_language(languages: &mut Vec<String>, lang: &str) {
    if languages.len() < 200 && !languages.iter().any(|known| known == lang) {
        languages.push(lang.to_owned());
    }
}

fn header_field(header: &mut CatalogHeader, key: &str, value: &Json) {
    let slot = match key {
        "SchemaVersion" => &mut header.format_version,
        "CatalogueId" => &mut header.catalog_id,
        "CatalogueVersion" => &mut header.catalog_version,
        "CatalogueType" => &mut header.transaction,
        "ChangeReferenceCatalogueVersion" => &mut header.previous_version,
        "GenerationDate" => &mut header.generated,
        "CatalogueValidityStart" => &mut header.valid_from,
        "CatalogueValidityEnd" => &mut header.valid_to,
        "NameDataCreator" => &mut header.generator,
        "CurrencyCode" => &mut header.currency,
        "CatalogueName" => {
            header.names = match value {
                Json::List(_) => texts(value.items(), "Language", "CatalogueName"),
                other => other.text().map(|text| Text { lang: None, text }).into_iter().collect(),
            };
            return;
        }
        "Language" => {
            header.languages = value.items().iter().filter_map(Json::text).take(200).collect();
            return;
        }
        "Country" => {
            header.territories = value.items().iter().filter_map(Json::text).collect();
            return;
        }
        "ContractReferenceNumber" => {
            header.agreements.extend(value.text());
            return;
        }
        _ => {
            match key.strip_prefix("Buyer") {
                Some(rest) => party_field(header.buyer.get_or_insert_with(Party::default), rest, value),
                None => extend(&mut header.extensions, key, value),
            }
            return;
        }
    };
    *slot = value.text();
}

/// A field of a party: `SupplierIdGln`, `IdDuns`, `BuyerName`, …
fn party_field(party: &mut Party, key: &str, value: &Json) {
    let Some(text) = value.text() else { return };
    let name = ["Supplier", "Manufacturer"].iter().fold(key, |name, prefix| name.strip_prefix(prefix).unwrap_or(name));
    match name {
        "Name" => party.name = Some(text),
        "VatNo" | "VatId" | "VatNumber" => party.vat_id = Some(text),
        _ => {
            if let Some(kind) = name.strip_prefix("Id") {
                party.ids.push(Coded { kind: Some(kind.to_lowercase()), value: text });
            }
        }
    }
}

/// Keeps a field under its name, the scalars in it by their way.
pub(super) fn extend(out: &mut Vec<Extension>, name: &str, value: &Json) {
    let mut pending = vec![(name.to_owned(), value)];
    while let Some((name, value)) = pending.pop() {
        match value {
            Json::Object(fields) => {
                pending.extend(fields.iter().rev().map(|(key, value)| (format!("{name}/{key}"), value)));
            }
            Json::List(items) => pending.extend(items.iter().rev().map(|item| (name.clone(), item))),
            scalar => {
                if let Some(value) = scalar.text()
                    && out.len() < 100_000
                {
                    out.push(Extension { name, lang: None, value });
                }
            }
        }
    }
}
