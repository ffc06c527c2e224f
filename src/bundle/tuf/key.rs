//! Public keys of the kinds the specification names, and the one signature algorithm of each.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};

use super::format::KeyFile;

/// A public key. Its kind is in its metadata, never chosen by a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Ed25519(VerifyingKey),
    /// NIST P-256, RSA of 2048 to 8192 bits: `SubjectPublicKeyInfo` in DER.
    Other(Scheme, Vec<u8>),
    /// A kind we do not know, or a key that is none: it proves nothing, and does not make the rest unusable.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    EcdsaP256Sha256,
    RsaPssSha256,
    RsaPkcs1Sha256,
}

impl Key {
    pub fn of(file: &KeyFile) -> Self {
        let key = match (file.keytype.as_str(), file.scheme.as_str()) {
            ("ed25519", "ed25519") => hex::decode(&file.keyval.public)
                .ok()
                .and_then(|bytes| VerifyingKey::from_bytes(&bytes.try_into().ok()?).ok())
                // A key of small order would accept signatures nobody made.
                .filter(|key| !key.is_weak())
                .map(Self::Ed25519),
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => other(Scheme::EcdsaP256Sha256, file),
            ("rsa", "rsassa-pss-sha256") => other(Scheme::RsaPssSha256, file),
            ("rsa", "rsa-pkcs1v15-sha256") => other(Scheme::RsaPkcs1Sha256, file),
            _ => None,
        };
        key.unwrap_or(Self::Unknown)
    }

    /// Returns what makes two keys one: a key listed under two names counts once. `None` for an unknown key.
    pub fn identity(&self) -> Option<&[u8]> {
        match self {
            Self::Ed25519(key) => Some(key.as_bytes()),
            Self::Other(_, der) => Some(der),
            Self::Unknown => None,
        }
    }

    /// Whether `signature` is this key's over exactly these bytes.
    pub fn has_signed(&self, message: &[u8], signature: &str) -> bool {
        let Ok(signature) = hex::decode(signature) else { return false };
        match self {
            Self::Ed25519(key) => {
                Signature::from_slice(&signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
            }
            Self::Other(scheme, der) => {
                let algorithm: &'static dyn VerificationAlgorithm = match scheme {
                    Scheme::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1,
                    Scheme::RsaPssSha256 => &RSA_PSS_2048_8192_SHA256,
                    Scheme::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
                };
                UnparsedPublicKey::new(algorithm, der).verify(message, &signature).is_ok()
            }
            Self::Unknown => false,
        }
    }
}

fn other(scheme: Scheme, file: &KeyFile) -> Option<Key> {
    const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
    const END: &str = "-----END PUBLIC KEY-----";
    let body = file.keyval.public.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let digits: String = body.split_ascii_whitespace().collect();
    Some(Key::Other(scheme, STANDARD.decode(digits).ok()?))
}
