use base::{Slug, Timestamp};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    Edition, Error, MachineBinding, PrivateKey,
    envelope::MAX_LICENSE_BYTES,
    format::{Customer, Entitlements, FORMAT, Payload},
};

/// What the vendor asks `0711 license issue` for: YAML or JSON.
///
/// ```yaml
/// format: 1
/// license_id: STANDARD-MUSTER-2027
/// customer: Muster GmbH
/// edition: standard
/// valid_days: 365
/// max_documents: 250000
/// mcps: [etim, product]
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    format: u32,
    license_id: String,
    customer: String,
    /// Derived from the name where it is not given.
    slug: Option<Slug>,
    edition: Edition,
    /// The moment of issue where it is not given.
    #[serde(default, deserialize_with = "optional_time")]
    not_before: Option<Timestamp>,
    /// Counted from the first moment of validity.
    #[serde(deserialize_with = "days")]
    valid_days: u32,
    #[serde(default = "default_grace_days")]
    grace_days: u32,
    #[serde(default = "default_sequence")]
    sequence: u64,
    max_documents: u64,
    #[serde(default)]
    mcps: Vec<String>,
    #[serde(default)]
    gpus: u32,
    #[serde(default = "default_channels")]
    channels: Vec<String>,
    #[serde(default)]
    auto_update: bool,
    #[serde(default)]
    managed: bool,
    machine: Option<MachineBinding>,
}

/// A hundred years: later dates have no form every reader knows.
const MOST_DAYS: u32 = 36_525;

fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let days = u32::deserialize(deserializer)?;
    match days {
        0..=MOST_DAYS => Ok(days),
        _ => Err(D::Error::custom(format!("{days} days of validity are more than {MOST_DAYS}"))),
    }
}

fn default_grace_days() -> u32 {
    30
}

fn default_sequence() -> u64 {
    1
}

fn default_channels() -> Vec<String> {
    vec!["stable".to_owned()]
}

fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| Timestamp::parse(&text).map_err(D::Error::custom)).transpose()
}

impl Request {
    /// Reads the text of a request.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let request: Self = serde_yaml::from_str(text).map_err(Error::Request)?;
        match request.format {
            FORMAT => Ok(request),
            found => Err(Error::Format { found, known: FORMAT }),
        }
    }

    fn payload(&self, now: Timestamp) -> Result<Payload, Error> {
        let slug = match &self.slug {
            Some(slug) => slug.clone(),
            None => Slug::from_name(&self.customer)
                .map_err(|error| Error::Field { field: "slug", reason: format!("is needed: {error}") })?,
        };
        let not_before = self.not_before.unwrap_or(now);
        let payload = Payload {
            format: FORMAT,
            license_id: self.license_id.clone(),
            customer: Customer { name: self.customer.clone(), slug },
            edition: self.edition,
            issued: now,
            not_before,
            expires: not_before.plus_days(i64::from(self.valid_days)),
            grace_days: self.grace_days,
            sequence: self.sequence,
            entitlements: Entitlements {
                mcps: self.mcps.clone(),
                max_documents: self.max_documents,
                gpus: self.gpus,
                channels: self.channels.clone(),
                auto_update: self.auto_update,
                managed: self.managed,
            },
            machine: self.machine.clone(),
        };
        payload.check()?;
        Ok(payload)
    }
}

/// Signs a license and returns the bytes of its file. What a reader would refuse is not signed.
///
/// Whether a program trusts the key with this content is not asked here: [`crate::verify`] the result against its roots.
pub fn issue(request: &Request, key: &PrivateKey, now: Timestamp) -> Result<Vec<u8>, Error> {
    let json = |source| Error::Json { part: "payload", source };
    let payload = serde_json::to_vec(&request.payload(now)?).map_err(json)?;
    let bytes = key.seal(&payload).map_err(json)?;
    if bytes.len() as u64 > MAX_LICENSE_BYTES {
        return Err(Error::TooLarge { size_bytes: bytes.len() as u64, max_bytes: MAX_LICENSE_BYTES });
    }
    Ok(bytes)
}
