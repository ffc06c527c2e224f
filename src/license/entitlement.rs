use std::fmt;

use base::{Slug, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Error, MachineBinding, format::Payload};

/// What the customer bought, from the smallest to the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edition {
    Demo,
    Standard,
    Enterprise,
}

impl Edition {
    /// Returns the name as it stands in a license.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Standard => "standard",
            Self::Enterprise => "enterprise",
        }
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a customer may do. It exists only if a trusted signature over it was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlement {
    payload: Payload,
    key_id: String,
}

impl Entitlement {
    /// Only [`crate::authenticate`] calls this, after signature and content were checked.
    pub(crate) fn proven(payload: Payload, key_id: String) -> Self {
        Self { payload, key_id }
    }

    /// Returns the license's id, such as `ENTERPRISE-EATON-2025`.
    pub fn license_id(&self) -> &str {
        &self.payload.license_id
    }

    /// Returns the customer's name as people write it.
    pub fn customer_name(&self) -> &str {
        &self.payload.customer.name
    }

    /// Returns the customer's slug.
    pub fn customer_slug(&self) -> &Slug {
        &self.payload.customer.slug
    }

    /// Returns the edition.
    pub fn edition(&self) -> Edition {
        self.payload.edition
    }

    /// Returns when the license was issued.
    pub fn issued(&self) -> Timestamp {
        self.payload.issued
    }

    /// Returns the first moment of validity.
    pub fn not_before(&self) -> Timestamp {
        self.payload.not_before
    }

    /// Returns the moment validity ends and grace begins.
    pub fn expires(&self) -> Timestamp {
        self.payload.expires
    }

    /// Returns the days after [`Self::expires`] in which everything still works.
    pub fn grace_days(&self) -> u32 {
        self.payload.grace_days
    }

    /// Returns the moment grace ends.
    pub fn grace_ends(&self) -> Timestamp {
        self.expires().plus_days(i64::from(self.grace_days()))
    }

    /// Returns the number that grows with every renewal of the same license id.
    pub fn sequence(&self) -> u64 {
        self.payload.sequence
    }

    /// Returns the most documents the lake may hold.
    pub fn max_documents(&self) -> u64 {
        self.payload.entitlements.max_documents
    }

    /// Returns the MCP servers that may run, such as `etim`.
    pub fn mcps(&self) -> &[String] {
        &self.payload.entitlements.mcps
    }

    /// Returns whether the MCP server `name` may run.
    pub fn allows_mcp(&self, name: &str) -> bool {
        self.mcps().iter().any(|allowed| allowed == name)
    }

    /// Returns the most GPUs that may be used.
    pub fn gpus(&self) -> u32 {
        self.payload.entitlements.gpus
    }

    /// Returns the update channels that may be followed.
    pub fn channels(&self) -> &[String] {
        &self.payload.entitlements.channels
    }

    /// Returns whether updates may be installed without asking.
    pub fn auto_update(&self) -> bool {
        self.payload.entitlements.auto_update
    }

    /// Returns whether the vendor may run the stack for the customer.
    pub fn managed(&self) -> bool {
        self.payload.entitlements.managed
    }

    /// Returns the machines the license is bound to, if it is.
    pub fn machine(&self) -> Option<&MachineBinding> {
        self.payload.machine.as_ref()
    }

    /// Returns the id of the trusted key that signed it.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Refuses this license in place of `installed` when it is an older one of the same id: a renewal that took
    /// something away cannot be undone with the file from before.
    pub fn may_replace(&self, installed: &Self) -> Result<(), Error> {
        if self.license_id() == installed.license_id() && self.sequence() < installed.sequence() {
            return Err(Error::OlderSequence {
                license_id: self.license_id().to_owned(),
                offered: self.sequence(),
                installed: installed.sequence(),
            });
        }
        Ok(())
    }
}
