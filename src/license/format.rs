//! What a license's payload looks like on the wire. The vendor writes it ([`crate::issue`]), every later version reads it.

use std::collections::HashSet;

use base::{Timestamp, strict::shown};
use serde::{Deserialize, Serialize};

use crate::{Edition, Error, MachineBinding};

/// The format this program reads and writes.
pub(crate) const FORMAT: u32 = 1;

/// The payload of a license. An unknown field is refused: it may be a limit this program would fail to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payload {
    pub format: u32,
    pub license_id: String,
    pub customer: Customer,
    pub edition: Edition,
    #[serde(with = "base::rfc3339")]
    pub issued: Timestamp,
    #[serde(with = "base::rfc3339")]
    pub not_before: Timestamp,
    #[serde(with = "base::rfc3339")]
    pub expires: Timestamp,
    pub grace_days: u32,
    pub sequence: u64,
    pub entitlements: Entitlements,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<MachineBinding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Customer {
    pub name: String,
    pub slug: base::Slug,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entitlements {
    pub mcps: Vec<String>,
    pub max_documents: u64,
    pub gpus: u32,
    pub channels: Vec<String>,
    pub auto_update: bool,
    pub managed: bool,
}

/// Only the format of a payload, read before the rest so that a newer license is named as such.
#[derive(Deserialize)]
pub(crate) struct FormatOnly {
    pub format: u32,
}

const MAX_GRACE_DAYS: u32 = 366;
const MAX_NAMES: usize = 64;

impl Payload {
    /// Checks what the types do not say.
    pub fn check(&self) -> Result<(), Error> {
        if self.format != FORMAT {
            return Err(Error::Format { found: self.format, known: FORMAT });
        }
        if !is_license_id(&self.license_id) {
            return field("license_id", format!("is `{}`, not 1 to 64 of A-Z, 0-9 and `-`", shown(&self.license_id)));
        }
        let name = &self.customer.name;
        if name.trim().is_empty() || name.chars().count() > 200 || name.chars().any(char::is_control) {
            return field("customer.name", "is empty, too long, or holds control characters".to_owned());
        }
        if self.not_before >= self.expires {
            return field("expires", format!("is {}, not after {}", self.expires, self.not_before));
        }
        if self.issued > self.expires {
            return field("issued", format!("is {}, after the end", self.issued));
        }
        if self.grace_days > MAX_GRACE_DAYS {
            return field("grace_days", format!("is {}, more than {MAX_GRACE_DAYS}", self.grace_days));
        }
        if self.entitlements.max_documents == 0 {
            return field("max_documents", "is 0".to_owned());
        }
        check_names("mcps", &self.entitlements.mcps)?;
        check_names("channels", &self.entitlements.channels)?;
        match &self.machine {
            Some(binding) => binding.check(),
            None => Ok(()),
        }
    }
}

fn field(field: &'static str, reason: String) -> Result<(), Error> {
    Err(Error::Field { field, reason })
}

/// Returns whether `text` can be the id of a license: `[A-Z0-9-]{1,64}`.
pub(crate) fn is_license_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
    (1..=64).contains(&text.len()) && text.chars().all(allowed)
}

/// Checks a list of short lower-case names.
pub(crate) fn check_names(name: &'static str, names: &[String]) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let mut met = HashSet::new();
    for text in names {
        if text.is_empty() || text.len() > 32 || !text.chars().all(allowed) {
            return field(name, format!("holds `{}`, not 1 to 32 of a-z, 0-9 and `-`", shown(text)));
        }
        if !met.insert(text) {
            return field(name, format!("names `{text}` twice"));
        }
    }
    if names.len() > MAX_NAMES {
        return field(name, format!("has {} entries, more than {MAX_NAMES}", names.len()));
    }
    Ok(())
}
