//! What a catalogue says of products, as rows of the lake: read in a worker, product by product, and sent in parts, so that memory
//! does not grow with the file.

use std::path::Path;

use extract::{CatalogFormat, CatalogItem, Feature, FeatureSet, Party, Price, Product, Text, worker::Pool};
use lake::{Access, Catalogue, CataloguePart, FeatureRow, PriceRow, ProductRow};
use tokio::sync::mpsc;

use crate::Error;

/// The metadata key of documents whose products were looked for: `rows`, or why there are not all of them. Without it they are looked for
/// at the next run, as they are where the worker ended and not the file.
pub(crate) const CATALOGUE_KEY: &str = "catalogue";

/// The metadata key of documents that counts at how many runs, one after the other, the worker ended before the products did.
pub(crate) const BROKEN_KEY: &str = "catalogue_broken";

/// So many, and it is the file that workers die of.
pub(crate) const BROKEN_MOST: u32 = 3;

/// A part is sent when it has so many rows.
const PART_ROWS: usize = 20_000;

/// Whether a document's format is one of catalogues.
pub(crate) fn is_catalogue(format: &str) -> bool {
    [CatalogFormat::Bmecat, CatalogFormat::EtimXchange].iter().any(|known| known.name() == format)
}

/// What came of reading the rows of a catalogue.
#[derive(Debug)]
pub(crate) enum Found {
    /// All the file gives, for the commit to name; `fault` says why they end before the file does.
    Rows { named: Catalogue, fault: Option<String> },
    /// The worker ended, and not the file: what was put aside before is not what the file says, and no commit may name it.
    Broken { reason: String },
}

/// Reads the catalogue in a file and puts its rows aside for the document.
///
/// # Errors
/// [`Error::Lake`], and [`Error::Worker`] when no worker starts. A file's own trouble is in the answer.
pub(crate) async fn put_aside(pool: &Pool, lake: &Access, document_id: &str, path: &Path) -> Result<Found, Error> {
    let (out, mut inbox) = mpsc::channel::<Vec<CatalogItem>>(1);
    let reading = pool.catalog_batches(path, out);
    // The queue is this block's: when it fails, the reading ends too.
    let sending = async move {
        let mut sender = Sender { lake, rows: Rows::default(), sent: 0, document_id };
        while let Some(items) = inbox.recv().await {
            for item in items {
                sender.rows.take(item);
                if sender.rows.count() >= PART_ROWS {
                    sender.send().await?;
                }
            }
        }
        if sender.sent == 0 || sender.rows.count() > 0 {
            sender.send().await?;
        }
        Ok::<u32, Error>(sender.sent)
    };
    let (read, parts) = futures::join!(reading, sending);
    let named = Catalogue { document_id: document_id.to_owned(), parts: parts? };
    match read {
        Ok(()) => Ok(Found::Rows { named, fault: None }),
        Err(source @ extract::Error::NoWorker { .. }) => Err(Error::Worker { source }),
        Err(
            error @ (extract::Error::Crashed { .. }
            | extract::Error::OutOfMemory { .. }
            | extract::Error::TimedOut { .. }),
        ) => Ok(Found::Broken { reason: error.to_string() }),
        Err(error) => Ok(Found::Rows { named, fault: Some(error.to_string()) }),
    }
}

struct Sender<'a> {
    lake: &'a Access,
    rows: Rows,
    sent: u32,
    document_id: &'a str,
}

impl Sender<'_> {
    async fn send(&mut self) -> Result<(), Error> {
        let (products, features, prices) = self.rows.drain();
        let part =
            CataloguePart { document_id: self.document_id.to_owned(), part: self.sent, products, features, prices };
        let sent = self.lake.put_aside(part).await;
        sent.map_err(|source| Error::Lake { act: "putting down the products of a catalogue", source })?;
        self.sent += 1;
        Ok(())
    }
}

/// Rows that wait to be sent, and what the header says for all of them.
#[derive(Default)]
struct Rows {
    supplier: Option<String>,
    language: Option<String>,
    currency: Option<String>,
    next: u64,
    products: Vec<ProductRow>,
    features: Vec<FeatureRow>,
    prices: Vec<PriceRow>,
}

impl Rows {
    fn count(&self) -> usize {
        self.products.len() + self.features.len() + self.prices.len()
    }

    fn drain(&mut self) -> (Vec<ProductRow>, Vec<FeatureRow>, Vec<PriceRow>) {
        let features = std::mem::take(&mut self.features);
        (std::mem::take(&mut self.products), features, std::mem::take(&mut self.prices))
    }

    fn take(&mut self, item: CatalogItem) {
        match item {
            CatalogItem::Header(header) => {
                self.supplier = header.supplier.as_ref().and_then(Party::label).map(str::to_owned);
                self.language = header.languages.first().cloned();
                self.currency = header.currency.clone();
            }
            CatalogItem::Product(product) => self.product(&product),
            CatalogItem::Group(_) | CatalogItem::Member(_) | CatalogItem::End(_) => {}
        }
    }

    fn product(&mut self, product: &Product) {
        let ordinal = self.next;
        self.next += 1;
        self.descriptions(ordinal, product);
        for set in &product.feature_sets {
            for feature in &set.features {
                self.feature((ordinal, &product.id), set, feature);
            }
        }
        for price in &product.prices {
            self.price((ordinal, &product.id), price, product.order.price_quantity.as_deref());
        }
        for item in &product.trade_items {
            let number = if item.id.is_empty() { &product.id } else { &item.id };
            for price in &item.prices {
                self.price((ordinal, number), price, item.order.price_quantity.as_deref());
            }
        }
    }

    /// A row per language with a description.
    fn descriptions(&mut self, ordinal: u64, product: &Product) {
        let of_items = |of: fn(&extract::TradeItem) -> &[Text]| {
            product.trade_items.iter().map(of).find(|texts| !texts.is_empty()).unwrap_or_default()
        };
        let short = match product.short_descriptions.as_slice() {
            [] => of_items(|item| &item.short_descriptions),
            own => own,
        };
        let long = product.long_descriptions.as_slice();
        let mut languages: Vec<Option<&str>> = Vec::new();
        for text in short.iter().chain(long) {
            let language = text.lang.as_deref().or(self.language.as_deref());
            if !languages.contains(&language) {
                languages.push(language);
            }
        }
        if languages.is_empty() {
            languages.push(None);
        }
        let in_language = |texts: &[Text], language: Option<&str>| {
            let texts = texts.iter().filter(|text| text.lang.as_deref().or(self.language.as_deref()) == language);
            joined(texts.map(|text| text.text.as_str()), "\n")
        };
        let rows: Vec<ProductRow> = languages
            .into_iter()
            .map(|language| ProductRow {
                ordinal,
                mode: product.mode.clone(),
                supplier: self.supplier.clone(),
                article_number: product.id.clone(),
                gtin: gtin(product),
                manufacturer: product.manufacturer.as_ref().and_then(Party::label).map(str::to_owned),
                manufacturer_article_number: product.manufacturer_id.clone(),
                language: language.map(str::to_owned),
                short: in_language(short, language),
                long: in_language(long, language),
                place: Some(product.xpath.clone()).filter(|place| !place.is_empty()),
            })
            .collect();
        self.products.extend(rows);
    }

    fn feature(&mut self, (ordinal, number): (u64, &str), set: &FeatureSet, feature: &Feature) {
        let name_in = |language: Option<&str>| {
            let named = feature.names.iter().find(|name| name.lang.as_deref() == language);
            named.or(feature.names.first()).map(|name| name.text.clone())
        };
        let row = |language: Option<&str>, value: Option<String>| FeatureRow {
            ordinal,
            article_number: number.to_owned(),
            class_system: set.system.clone(),
            class: set.class_ids.first().map(|class| class.value.clone()),
            feature_id: feature.code().map(str::to_owned),
            name: name_in(language),
            language: language.map(str::to_owned),
            value_number: value.as_deref().and_then(decimal),
            value,
            unit: feature.unit.clone(),
        };
        if !feature.values.is_empty() {
            let values = feature.values.iter().map(|value| row(value.lang.as_deref(), Some(value.text.clone())));
            self.features.extend(values);
        } else if let Some(range) = &feature.range {
            self.features.push(row(None, Some(format!("{} – {}", range.lower, range.upper))));
        } else if !feature.value_ids.is_empty() {
            self.features.extend(feature.value_ids.iter().map(|id| row(None, Some(id.clone()))));
        } else {
            self.features.push(row(None, None));
        }
    }

    fn price(&mut self, (ordinal, number): (u64, &str), price: &Price, order_quantity: Option<&str>) {
        let quantity = price.quantity.as_deref().or(price.unit_factor.as_deref()).or(order_quantity);
        self.prices.push(PriceRow {
            ordinal,
            article_number: number.to_owned(),
            kind: price.kind.clone(),
            amount: price.amount.clone(),
            amount_number: price.amount.as_deref().and_then(decimal),
            currency: price.currency.clone().or_else(|| self.currency.clone()),
            lower_bound: price.lower_bound.as_deref().and_then(decimal),
            quantity: quantity.and_then(decimal),
            unit: price.unit.clone(),
            territory: joined(price.territories.iter().map(String::as_str), ", "),
            valid_from: price.valid_from.clone(),
            valid_to: price.valid_to.clone(),
        });
    }
}

/// The first international number that is a GTIN by its kind, else the first of all.
fn gtin(product: &Product) -> Option<String> {
    let is_gtin = |kind: &str| matches!(kind.to_lowercase().as_str(), "gtin" | "ean" | "ean13" | "ean14" | "upc");
    let own = &product.international_ids;
    let named = own.iter().find(|id| id.kind.as_deref().is_some_and(is_gtin)).or(own.first()).map(|id| &id.value);
    named.or_else(|| product.trade_items.iter().find_map(|item| item.gtins.first())).cloned()
}

/// Joins texts; `None` when there is none.
fn joined<'a>(texts: impl Iterator<Item = &'a str>, between: &str) -> Option<String> {
    let texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
    (!texts.is_empty()).then(|| texts.join(between))
}

/// Reads a number with at most one decimal point or comma. The text beside it stays exact: a double keeps some 15 digits.
fn decimal(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut points = 0;
    let is_plain = digits.chars().all(|c| match c {
        '.' | ',' => {
            points += 1;
            points == 1
        }
        c => c.is_ascii_digit(),
    });
    if !is_plain || !digits.starts_with(|c: char| c.is_ascii_digit()) || digits.ends_with(['.', ',']) {
        return None;
    }
    text.replace(',', ".").parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_catalogues_write_them() {
        for (text, expect) in [
            ("1,05", Some(1.05)),
            ("2.50", Some(2.5)),
            ("-3", Some(-3.0)),
            ("12345678901234567890.120", Some(12345678901234567890.12)),
            ("1.234,50", None),
            ("1e3", None),
            ("inf", None),
            ("4-polig", None),
            ("", None),
            ("5.", None),
        ] {
            assert_eq!(decimal(text), expect, "{text}");
        }
    }
}
