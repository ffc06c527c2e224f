//! Private keys that sign licenses; [`base::Seed`] is their file format.

use std::path::Path;

use base::{Seed, dsse};

use crate::{Error, Limits, PAYLOAD_TYPE, Root};

/// A key licenses are signed with. It is wiped from memory when dropped, and shows only its id.
#[derive(Debug)]
pub struct PrivateKey(dsse::PrivateKey);

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
        Self(dsse::PrivateKey::of(seed))
    }

    /// Returns the id signatures name the key by.
    pub fn key_id(&self) -> String {
        self.0.public().id()
    }

    /// Returns the public half as a root that may sign up to `limits`.
    pub fn root(&self, name: &str, limits: Limits) -> Result<Root, Error> {
        Root::new(name, self.0.public().as_bytes(), limits)
    }

    /// Signs a license's payload and returns the bytes of its file.
    pub(crate) fn seal(&self, payload: &[u8]) -> serde_json::Result<Vec<u8>> {
        self.0.seal(PAYLOAD_TYPE, payload)
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
