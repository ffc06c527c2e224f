//! Features of products.

use serde::{Deserialize, Serialize};

use super::super::features::system;
use super::{Coded, Text};

/// The features a classification (or none) gives a product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeatureSet {
    pub xpath: String,
    /// As written: `ETIM-8.0`, `ECLASS-9.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The class, in every notation given (`EC000897`, `27141141`, an IRDI).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_ids: Vec<Coded>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<Text>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Feature>,
}

impl FeatureSet {
    /// Which well-known classification this is, and in which version.
    pub fn class_system(&self) -> Option<ClassSystem> {
        self.system.as_deref().and_then(system)
    }
}

/// A well-known classification with its version as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name", content = "version")]
pub enum ClassSystem {
    Etim(Option<String>),
    Eclass(Option<String>),
    Unspsc(Option<String>),
}

/// A feature with its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Feature {
    /// The feature's id in its system (`FT_ID`, `FT_IDREF`: `EF000227`, an IRDI).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Text>,
    /// Its values as written, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Text>,
    /// The values' ids in the system (`VALUE_IDREF`, `EV000154`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub value_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<Range>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub value_details: Vec<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub descriptions: Vec<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Its number within the product, and that of the feature it is a part of (`-1` for none in the files of some).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_fid: Option<String>,
    /// The group of features it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
}

impl Feature {
    /// The feature's code in its system: its id, or its name where that is one (`EF000227`, as the guidelines for BMEcat of ETIM have
    /// it).
    pub fn code(&self) -> Option<&str> {
        let is_code = |name: &&str| {
            name.strip_prefix("EF")
                .is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit()))
        };
        self.id.as_deref().or_else(|| self.names.first().map(|name| name.text.as_str()).filter(is_code))
    }
}

/// Two bounds as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Range {
    pub lower: String,
    pub upper: String,
}

/// A value that makes an article of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variant {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Text>,
    /// What it adds to the article number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_supplement: Option<String>,
}
