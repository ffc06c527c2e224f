//! The types of a catalogue. They cross the worker's pipe and are what `0711 extract --as structured` prints; absent and
//! empty fields are left out there.

mod feature;
mod price;

use serde::{Deserialize, Serialize};

pub use feature::{ClassSystem, Feature, FeatureSet, Range, Variant};
pub use price::{OrderDetails, Packing, Price, Tax};

/// The format of a catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CatalogFormat {
    /// BMEcat 1.2, 2005 and 2005.1 (BME, Fraunhofer IAO).
    Bmecat,
    /// ETIM xChange V1 and V2 (ETIM International).
    EtimXchange,
}

impl CatalogFormat {
    /// The name a [`Document`](crate::Document) of it has as its format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bmecat => "bmecat",
            Self::EtimXchange => "etim-xchange",
        }
    }
}

/// What a catalogue consists of, in the order of the file. The header comes first and the end last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "item")]
pub enum CatalogItem {
    Header(Box<CatalogHeader>),
    /// A node of the catalogue's own tree or of a classification it brings along.
    Group(Box<CatalogGroup>),
    Product(Box<Product>),
    /// A product stands in a group.
    Member(GroupMember),
    End(CatalogEnd),
}

/// A text with its language, as written in the file (`deu`, `de-DE`); none where the file names none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Text {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    pub text: String,
}

/// A value with the kind its `type` attribute names (`gtin`, `ean`, `buyer_specific`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Coded {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub value: String,
}

/// A company: supplier, buyer, manufacturer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Party {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<Coded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vat_id: Option<String>,
}

impl Party {
    /// Its name, or its first id.
    pub fn label(&self) -> Option<&str> {
        self.name.as_deref().or_else(|| self.ids.first().map(|id| id.value.as_str()))
    }
}

/// What a catalogue says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CatalogHeader {
    /// The version of the format: `1.2`, `2005`, `2.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format_version: Option<String>,
    /// What the file does, as its element is named: `T_NEW_CATALOG`, `T_UPDATE_PRODUCTS`, `T_UPDATE_PRICES`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// The version an update builds on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_version: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Text>,
    /// The languages the header declares, the default one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Date, and time where given, as written: `2016-11-08`, `2000-10-24T20:38:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub territories: Vec<String>,
    /// What precedes the relative names of pictures and documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supplier: Option<Party>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buyer: Option<Party>,
    /// Every party named, the supplier and buyer included where the format lists them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parties: Vec<Party>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agreements: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

impl CatalogHeader {
    /// A line that names the catalogue to a person.
    pub fn title(&self) -> Option<String> {
        let name = self.names.first().map(|name| name.text.as_str());
        let supplier = self.supplier.as_ref().and_then(Party::label);
        let parts: Vec<&str> = [supplier, name.or(self.catalog_id.as_deref()), self.catalog_version.as_deref()]
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect();
        (!parts.is_empty()).then(|| parts.join(" – "))
    }
}

/// A node of a tree of product groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CatalogGroup {
    /// The system it belongs to; none for the catalogue's own tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub descriptions: Vec<Text>,
}

/// A product's place in a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupMember {
    pub product_id: String,
    pub group_id: String,
}

/// A product (BMEcat `PRODUCT` or `ARTICLE`, ETIM xChange `Product`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Product {
    /// Where it stands: an XPath of local names, or a JSON Pointer.
    pub xpath: String,
    /// What an update does with it: `new`, `update`, `delete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The supplier's article number (`SUPPLIER_PID`, `SUPPLIER_AID`); the manufacturer's where the format has only that.
    pub id: String,
    /// GTIN, EAN and other international numbers, the kind as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub international_ids: Vec<Coded>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternative_ids: Vec<Coded>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buyer_ids: Vec<Coded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<Party>,
    /// The manufacturer's type designation (`WDU 2.5`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub type_names: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_descriptions: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub long_descriptions: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<Coded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_time: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub special_treatment: Vec<Coded>,
    /// Further fields of its details, by the name of their element.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Extension>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub feature_sets: Vec<FeatureSet>,
    #[serde(skip_serializing_if = "OrderDetails::is_empty")]
    pub order: OrderDetails,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<Price>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mimes: Vec<Mime>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    #[serde(skip_serializing_if = "Logistics::is_empty")]
    pub logistics: Logistics,
    /// What is sold of it, where the format tells product and trade item apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trade_items: Vec<TradeItem>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

impl Product {
    /// All its features, over all systems.
    pub fn features(&self) -> impl Iterator<Item = &Feature> {
        self.feature_sets.iter().flat_map(|set| &set.features)
    }
}

/// A picture, a document, a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mime {
    /// A media type (`image/jpeg`), or `url`; an attachment code in ETIM xChange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub descriptions: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

/// Another product this one has to do with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reference {
    /// `accessories`, `sparepart`, `followup`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub product_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub descriptions: Vec<Text>,
}

/// What customs and transport want to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Logistics {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub customs_numbers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub countries_of_origin: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Extension>,
}

impl Logistics {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is sold of a product (ETIM xChange `TradeItem`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TradeItem {
    pub xpath: String,
    /// The supplier's item number.
    pub id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gtins: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub short_descriptions: Vec<Text>,
    #[serde(skip_serializing_if = "OrderDetails::is_empty")]
    pub order: OrderDetails,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<Price>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mimes: Vec<Mime>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// Further fields by the name they have in the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Extension>,
}

/// A field the model has no place of its own for, by its name in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extension {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    pub value: String,
}

/// What was seen, said at the end of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CatalogEnd {
    pub products: u64,
    pub features: u64,
    pub prices: u64,
    pub mimes: u64,
    /// The languages declared, then those that only occur, in the order they occur.
    pub languages: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
