//! What a license is in: a DSSE envelope ([`base::dsse`]).

use base::dsse::{self, Opened};

use crate::{Error, Root, TrustRoots};

/// The payload type of a license. It is part of what is signed, so that a signature over anything else is never one over
/// a license.
pub const PAYLOAD_TYPE: &str = "application/vnd.0711.license.v1+json";

pub(crate) const MAX_LICENSE_BYTES: u64 = 64 * 1024;

/// Checks the envelope and its signatures. At least one trusted root signed what this returns.
pub(crate) fn open<'roots>(bytes: &[u8], roots: &'roots TrustRoots) -> Result<Opened<&'roots Root>, Error> {
    let trusted = |key_id: &str| roots.by_key_id(key_id).map(|root| (root.key(), root));
    Ok(dsse::open(bytes, PAYLOAD_TYPE, MAX_LICENSE_BYTES, trusted)?)
}
