use std::path::Path;

use base::{Timestamp, file, strict};

use crate::{
    Entitlement, Error, TrustRoots,
    envelope::{self, MAX_LICENSE_BYTES},
    format::{FORMAT, FormatOnly, Payload},
};

/// Checks signature, content and validity of a license that is about to be accepted.
///
/// `now` is the later of the clock and the latest time seen ([`base::Seen`]), so that a clock set back gains nothing. A
/// license in its grace is accepted; its [`crate::Standing`] says so.
pub fn verify(envelope: &[u8], roots: &TrustRoots, now: Timestamp) -> Result<Entitlement, Error> {
    let entitlement = authenticate(envelope, roots)?;
    if now < entitlement.not_before() {
        return Err(Error::NotYetValid { not_before: entitlement.not_before() });
    }
    if now >= entitlement.grace_ends() {
        return Err(Error::Expired { expires: entitlement.expires(), grace_ended: entitlement.grace_ends() });
    }
    Ok(entitlement)
}

/// Checks everything but the time: for a license that is installed, or to be shown. What an old one still allows is its
/// [`crate::Standing`].
pub fn authenticate(envelope: &[u8], roots: &TrustRoots) -> Result<Entitlement, Error> {
    let signed = envelope::open(envelope, roots)?;
    let json = |source| Error::Json { part: "payload", source };
    let FormatOnly { format } = strict::parse(&signed.payload).map_err(json)?;
    if format != FORMAT {
        return Err(Error::Format { found: format, known: FORMAT });
    }
    let payload: Payload = strict::parse(&signed.payload).map_err(json)?;
    payload.check()?;
    let mut refused = None;
    for root in signed.signers {
        match root.excess(&payload) {
            None => return Ok(Entitlement::proven(payload, root.key_id().to_owned())),
            Some(excess) => {
                refused.get_or_insert(Error::BeyondRoot {
                    key_id: root.key_id().to_owned(),
                    root: root.name().to_owned(),
                    excess,
                });
            }
        }
    }
    Err(refused.unwrap_or(Error::Unsigned))
}

/// Reads and [`verify`]s a license file. Anything but a regular file of at most 64 KiB is refused unread.
pub fn load(path: &Path, roots: &TrustRoots, now: Timestamp) -> Result<Entitlement, Error> {
    verify(&read(path)?, roots, now)
}

/// Reads and [`authenticate`]s the license that is installed.
pub fn load_installed(path: &Path, roots: &TrustRoots) -> Result<Entitlement, Error> {
    authenticate(&read(path)?, roots)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    file::read_bounded(path, MAX_LICENSE_BYTES).map_err(Error::Read)
}
