//! Prices, and in what amounts a product is ordered.

use serde::{Deserialize, Serialize};

use super::Extension;

/// A price. Amounts are the text of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Price {
    /// `net_customer`, `nrp`, `net_list`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The tax as a factor, as written (`0.19`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tax: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taxes: Vec<Tax>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    /// The least quantity it holds for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower_bound: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub territories: Vec<String>,
    /// The unit and the number of them it buys, where it differs from the order unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_factor: Option<String>,
    /// The quantity it buys (ETIM xChange `PriceQuantity`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discount_group: Option<String>,
}

/// A tax on a price.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tax {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
}

/// In what amounts a product is ordered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_unit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_unit: Option<String>,
    /// How many content units an order unit holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_quantity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_quantity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity_min: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity_max: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packings: Vec<Packing>,
}

impl OrderDetails {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A way of packing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Packing {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantity: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gtins: Vec<String>,
    /// Weight, length, width, … by the name of their element, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Extension>,
}
