//! The DSSE envelope: `{payloadType, payload, signatures}` (github.com/secure-systems-lab/dsse, protocol.md).

use base::Digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Root, TrustRoots,
    strict::{self, shown},
};

/// The payload type of a license. It is part of what is signed, so that a signature over anything else is never one over
/// a license.
pub const PAYLOAD_TYPE: &str = "application/vnd.0711.license.v1+json";

pub(crate) const MAX_LICENSE_BYTES: u64 = 64 * 1024;
const MAX_SIGNATURES: usize = 16;

/// The envelope on the wire.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Envelope {
    pub payload_type: String,
    /// Standard base64 with padding; only the canonical form is read, so that no bit of it is without meaning.
    pub payload: String,
    pub signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnvelopeSignature {
    pub keyid: String,
    pub sig: String,
}

/// A payload whose signature was checked, and the roots that signed it.
pub(crate) struct Signed<'roots> {
    pub payload: Vec<u8>,
    pub signers: Vec<&'roots Root>,
}

/// Checks the envelope and its signatures. At least one trusted root signed what this returns.
///
/// Signatures by keys nobody here trusts are passed over, as DSSE asks, so that a license can be signed for two
/// generations of the program.
pub(crate) fn open<'roots>(bytes: &[u8], roots: &'roots TrustRoots) -> Result<Signed<'roots>, Error> {
    if bytes.len() as u64 > MAX_LICENSE_BYTES {
        return Err(Error::TooLarge { size_bytes: bytes.len() as u64, max_bytes: MAX_LICENSE_BYTES });
    }
    let envelope: Envelope = strict::parse(bytes, "envelope")?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(Error::PayloadType { found: shown(&envelope.payload_type) });
    }
    match envelope.signatures.len() {
        0 => return Err(Error::Unsigned),
        count if count > MAX_SIGNATURES => {
            return Err(Error::TooManySignatures { count, max: MAX_SIGNATURES });
        }
        _ => {}
    }
    let payload = decode("payload", &envelope.payload)?;
    let message = pae(PAYLOAD_TYPE, &payload);
    let mut signers = Vec::new();
    let mut broken = None;
    for signature in &envelope.signatures {
        let bytes = decode("signature", &signature.sig)?;
        let Some(root) = roots.by_key_id(&signature.keyid) else {
            continue;
        };
        // `verify_strict` also refuses small-order points and signatures that are not in their one canonical form.
        let holds =
            Signature::from_slice(&bytes).and_then(|signature| root.key().verify_strict(&message, &signature)).is_ok();
        if holds {
            signers.push(root);
        } else {
            broken.get_or_insert_with(|| root.key_id().to_owned());
        }
    }
    match (signers.is_empty(), broken) {
        (false, _) => Ok(Signed { payload, signers }),
        (true, Some(key_id)) => Err(Error::BadSignature { key_id }),
        (true, None) => {
            let ids = envelope.signatures.iter().map(|signature| format!("`{}`", shown(&signature.keyid)));
            Err(Error::UntrustedKey { key_ids: ids.collect::<Vec<_>>().join(", ") })
        }
    }
}

fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|source| Error::Base64 { part, source })
}

/// Returns the bytes a DSSE signature covers: the pre-authentication encoding of the DSSE protocol.
pub(crate) fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Returns the id of a public key: the first 16 hexadecimal digits of its sha256.
pub(crate) fn key_id(key: &VerifyingKey) -> String {
    Digest::of(key.as_bytes()).hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_bytes_are_those_of_the_protocol() {
        // The example of the DSSE protocol text.
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }
}
