use base::{Seen, Slug, Timestamp};
use serde::Serialize;

use crate::{Edition, Entitlement, Standing};

/// A checked license as `0711 license show` and `verify` print it, as lines or as JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    format: u32,
    license_id: String,
    customer: String,
    slug: Slug,
    edition: Edition,
    #[serde(with = "base::rfc3339")]
    issued: Timestamp,
    #[serde(with = "base::rfc3339")]
    not_before: Timestamp,
    #[serde(with = "base::rfc3339")]
    expires: Timestamp,
    grace_days: u32,
    sequence: u64,
    max_documents: u64,
    mcps: Vec<String>,
    gpus: u32,
    channels: Vec<String>,
    auto_update: bool,
    managed: bool,
    bound_to_machine: bool,
    key_id: String,
    standing: Standing,
}

impl Description {
    /// Describes a license as it stands at `now`.
    pub fn of(entitlement: &Entitlement, now: Timestamp, seen: &Seen) -> Self {
        Self {
            format: 1,
            license_id: entitlement.license_id().to_owned(),
            customer: entitlement.customer_name().to_owned(),
            slug: entitlement.customer_slug().clone(),
            edition: entitlement.edition(),
            issued: entitlement.issued(),
            not_before: entitlement.not_before(),
            expires: entitlement.expires(),
            grace_days: entitlement.grace_days(),
            sequence: entitlement.sequence(),
            max_documents: entitlement.max_documents(),
            mcps: entitlement.mcps().to_vec(),
            gpus: entitlement.gpus(),
            channels: entitlement.channels().to_vec(),
            auto_update: entitlement.auto_update(),
            managed: entitlement.managed(),
            bound_to_machine: entitlement.machine().is_some(),
            key_id: entitlement.key_id().to_owned(),
            standing: entitlement.standing(now, seen),
        }
    }

    /// Returns label and value, line by line.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let list = |names: &[String]| match names {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let yes = |holds: bool| if holds { "yes" } else { "no" }.to_owned();
        vec![
            ("license", self.license_id.clone()),
            ("customer", format!("{} ({})", self.customer, self.slug)),
            ("edition", self.edition.to_string()),
            ("standing", self.standing.to_string()),
            ("valid", format!("{} to {}", self.not_before, self.expires)),
            ("grace", format!("{} days", self.grace_days)),
            ("documents", format!("at most {}", self.max_documents)),
            ("MCP servers", list(&self.mcps)),
            ("GPUs", self.gpus.to_string()),
            ("channels", list(&self.channels)),
            ("automatic updates", yes(self.auto_update)),
            ("managed", yes(self.managed)),
            ("bound to a machine", yes(self.bound_to_machine)),
            ("sequence", self.sequence.to_string()),
            ("signed by", self.key_id.clone()),
        ]
    }
}
