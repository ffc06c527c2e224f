//! The DSSE envelope: `{payloadType, payload, signatures}` (github.com/secure-systems-lab/dsse, protocol.md), with Ed25519.
//!
//! Licenses and reports are signed in it. The payload type is part of what is signed, so that a signature over one kind of
//! statement is never one over another.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::strict::{self, shown};
use crate::{Digest, Seed};

const MAX_SIGNATURES: usize = 16;

/// The envelope on the wire.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    /// Standard base64 with padding; only the canonical form is read, so that no bit of it is without meaning.
    payload: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignature {
    keyid: String,
    sig: String,
}

/// Why an envelope was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("it has {size_bytes} bytes, more than the {max_bytes} allowed")]
    TooLarge { size_bytes: u64, max_bytes: u64 },
    #[error("the envelope is not the JSON it should be")]
    Json(#[source] serde_json::Error),
    #[error("the {part} is not base64")]
    Base64 {
        part: &'static str,
        #[source]
        source: base64::DecodeError,
    },
    #[error("the payload type is `{found}`, not `{expected}`")]
    PayloadType { found: String, expected: String },
    #[error("it carries no signature")]
    Unsigned,
    #[error("it carries {count} signatures, more than {max}")]
    TooManySignatures { count: usize, max: usize },
    #[error("it is signed by {key_ids}, which is not trusted here")]
    UntrustedKey { key_ids: String },
    #[error("the signature by `{key_id}` does not fit: it was changed after signing")]
    BadSignature { key_id: String },
}

/// A key cannot be used to check signatures.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    #[error("its public key is not 64 hexadecimal digits")]
    NotHexadecimal,
    #[error("its public key is not a point of the curve")]
    NoPoint,
    /// It would "sign" anything.
    #[error("its public key is weak (of small order)")]
    Weak,
}

/// A key that signs. It is wiped from memory when dropped, and shows only its id.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Makes the key of a seed.
    pub fn of(seed: &Seed) -> Self {
        Self(SigningKey::from_bytes(seed.expose()))
    }

    /// Returns the half that may be shown.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `payload` and returns the bytes of the envelope's file.
    ///
    /// # Errors
    /// None in practice: an envelope always has a JSON form.
    pub fn seal(&self, payload_type: &str, payload: &[u8]) -> serde_json::Result<Vec<u8>> {
        let signature = self.0.sign(&pae(payload_type, payload)).to_bytes();
        let envelope = Envelope {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![EnvelopeSignature { keyid: self.public().id(), sig: STANDARD.encode(signature) }],
        };
        let mut bytes = serde_json::to_vec_pretty(&envelope)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.public().id())
    }
}

/// A key that checks signatures; never a weak one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Makes a key of its 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::NoPoint`], [`KeyError::Weak`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NoPoint)?;
        if key.is_weak() { Err(KeyError::Weak) } else { Ok(Self(key)) }
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyError::NotHexadecimal)?;
        Self::from_bytes(&bytes)
    }

    /// Returns the 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Returns the 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        hex::encode(self.0.as_bytes())
    }

    /// Returns the id signatures name the key by: the first 16 hexadecimal digits of its sha256.
    pub fn id(&self) -> String {
        Digest::of(self.0.as_bytes()).hex()[..16].to_owned()
    }
}

/// A payload whose signature was checked, and the keys that signed it: at least one.
#[derive(Debug)]
pub struct Opened<K> {
    pub payload: Vec<u8>,
    pub signers: Vec<K>,
}

/// Checks an envelope of at most `max_bytes` and its signatures. `trusted` finds, by its id, a key that counts here, and what
/// the caller knows it by.
///
/// Signatures by keys nobody here trusts are passed over, as DSSE asks, so that something can be signed for two
/// generations of the program.
///
/// # Errors
/// [`Error`].
pub fn open<'a, K>(
    bytes: &[u8],
    payload_type: &str,
    max_bytes: u64,
    trusted: impl Fn(&str) -> Option<(&'a PublicKey, K)>,
) -> Result<Opened<K>, Error> {
    if bytes.len() as u64 > max_bytes {
        return Err(Error::TooLarge { size_bytes: bytes.len() as u64, max_bytes });
    }
    let envelope: Envelope = strict::parse(bytes).map_err(Error::Json)?;
    if envelope.payload_type != payload_type {
        let found = shown(&envelope.payload_type);
        return Err(Error::PayloadType { found, expected: payload_type.to_owned() });
    }
    match envelope.signatures.len() {
        0 => return Err(Error::Unsigned),
        count if count > MAX_SIGNATURES => return Err(Error::TooManySignatures { count, max: MAX_SIGNATURES }),
        _ => {}
    }
    let payload = decode("payload", &envelope.payload)?;
    let message = pae(payload_type, &payload);
    let mut signers = Vec::new();
    let mut broken = None;
    for signature in &envelope.signatures {
        let bytes = decode("signature", &signature.sig)?;
        let Some((key, known)) = trusted(&signature.keyid) else {
            continue;
        };
        // `verify_strict` also refuses small-order points and signatures that are not in their one canonical form.
        let holds =
            Signature::from_slice(&bytes).and_then(|signature| key.0.verify_strict(&message, &signature)).is_ok();
        if holds {
            signers.push(known);
        } else {
            broken.get_or_insert_with(|| key.id());
        }
    }
    match (signers.is_empty(), broken) {
        (false, _) => Ok(Opened { payload, signers }),
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
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
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

    #[test]
    fn what_was_sealed_opens_as_it_was_and_as_nothing_else() {
        let key = PrivateKey::of(&Seed::generate().unwrap());
        let other = PrivateKey::of(&Seed::generate().unwrap()).public();
        let public = PublicKey::from_hex(&key.public().hex()).unwrap();
        let sealed = key.seal("a/b", b"{}").unwrap();
        let open = |bytes: &[u8], kind: &str, known: &PublicKey| {
            super::open(bytes, kind, 1000, |id| (id == known.id()).then_some((known, ()))).map(|opened| opened.payload)
        };
        assert_eq!(open(&sealed, "a/b", &public).unwrap(), b"{}");
        assert!(matches!(open(&sealed, "a/c", &public), Err(Error::PayloadType { .. })));
        assert!(matches!(open(&sealed, "a/b", &other), Err(Error::UntrustedKey { .. })));
        assert!(matches!(open(&[b' '; 1001], "a/b", &public), Err(Error::TooLarge { .. })));
        // The same statement as another type, with the type in the envelope changed too.
        let relabelled = String::from_utf8(sealed).unwrap().replace("a/b", "a/c");
        assert!(matches!(open(relabelled.as_bytes(), "a/c", &public), Err(Error::BadSignature { .. })));
    }

    #[test]
    fn a_key_that_signs_anything_is_none() {
        assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(KeyError::Weak));
        assert_eq!(PublicKey::from_hex("00"), Err(KeyError::NotHexadecimal));
    }
}
