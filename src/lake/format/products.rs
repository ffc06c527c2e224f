//! What catalogues say of products, as rows: shared by all documents, kept by document.

use serde::{Deserialize, Serialize};

/// Some rows of one catalogue. They are put aside in parts until the commit that writes their document names them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CataloguePart {
    pub document_id: String,
    /// From 0; the first forgets what was put aside for the document before.
    pub part: u32,
    #[serde(default)]
    pub products: Vec<ProductRow>,
    #[serde(default)]
    pub features: Vec<FeatureRow>,
    #[serde(default)]
    pub prices: Vec<PriceRow>,
}

/// Which parts a commit means: all that were put aside for a document of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    pub document_id: String,
    pub parts: u32,
}

/// A product in one language; one without descriptions has one row without a language.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProductRow {
    /// The product's number in its catalogue, from 0: an article number may stand there twice.
    pub ordinal: u64,
    /// What an update does with it: `new`, `update`, `delete`.
    pub mode: Option<String>,
    pub supplier: Option<String>,
    pub article_number: String,
    pub gtin: Option<String>,
    pub manufacturer: Option<String>,
    pub manufacturer_article_number: Option<String>,
    /// As the catalogue writes it: `deu`, `de-DE`.
    pub language: Option<String>,
    pub short: Option<String>,
    pub long: Option<String>,
    /// Where it stands: an XPath, or a JSON Pointer.
    pub place: Option<String>,
}

/// One value of a feature of a product; a feature without values has one row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeatureRow {
    /// As in [`ProductRow`].
    pub ordinal: u64,
    pub article_number: String,
    /// As written: `ETIM-8.0`, `ECLASS-9.0`.
    pub class_system: Option<String>,
    pub class: Option<String>,
    pub feature_id: Option<String>,
    pub name: Option<String>,
    pub language: Option<String>,
    /// As written; the value's id where the catalogue has nothing else.
    pub value: Option<String>,
    /// The value, where it is one number.
    pub value_number: Option<f64>,
    pub unit: Option<String>,
}

/// A price of a product.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PriceRow {
    /// As in [`ProductRow`].
    pub ordinal: u64,
    pub article_number: String,
    /// `net_list`, `net_customer`, …
    pub kind: Option<String>,
    /// As written, to the last digit.
    pub amount: Option<String>,
    pub amount_number: Option<f64>,
    pub currency: Option<String>,
    /// The least quantity it holds for.
    pub lower_bound: Option<f64>,
    /// How many of `unit` it buys.
    pub quantity: Option<f64>,
    pub unit: Option<String>,
    /// Where it holds, a comma between several.
    pub territory: Option<String>,
    pub valid_from: Option<String>,
    pub valid_to: Option<String>,
}
