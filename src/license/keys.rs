//! Private keys that sign licenses; [`base::Seed`] is their file format.

use std::{fmt, path::Path};

use base::Seed;
use ed25519_dalek::{Signer, SigningKey};

use crate::{Error, Limits, Root, envelope};

/// A key licenses are signed with. It is wiped from memory when dropped, and shows only its id.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Reads a key file. One that others may read is refused.
    ///
    /// # Errors
    /// [`Error::PrivateKey`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        Ok(Self::of(&Seed::read(path)?))
    }

    /// Makes the key of a seed.
    pub fn of(seed: &Seed) -> Self {
        Self(SigningKey::from_bytes(seed.expose()))
    }

    /// Returns the id signatures name the key by.
    pub fn key_id(&self) -> String {
        envelope::key_id(&self.0.verifying_key())
    }

    /// Returns the public half as a root that may sign up to `limits`.
    pub fn root(&self, name: &str, limits: Limits) -> Result<Root, Error> {
        Root::new(name, self.0.verifying_key().as_bytes(), limits)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.key_id())
    }
}

/// Makes a private key in a new file and returns the root that names its public half: its text
/// ([`Root::to_yaml`]) goes to `licenses/trust/` of the programs that shall trust it.
pub fn keygen(path: &Path, name: &str, limits: Limits) -> Result<Root, Error> {
    let seed = Seed::generate()?;
    let root = PrivateKey::of(&seed).root(name, limits)?;
    seed.write_new(path)?;
    Ok(root)
}
