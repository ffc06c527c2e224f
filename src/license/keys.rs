//! Private keys of the vendor. On disk: one line, `0711-ed25519-seed-1:` and the seed as 64 hexadecimal digits.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use base::file;
use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

use crate::{Error, Limits, Root, envelope};

const HEADER: &[u8] = b"0711-ed25519-seed-1:";
const SEED_HEX_BYTES: usize = 64;
const FILE_BYTES: usize = HEADER.len() + SEED_HEX_BYTES + 1;

/// A key licenses are signed with. It is wiped from memory when dropped, and shows only its id.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Makes a key of 32 random bytes from the kernel.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *seed).map_err(|error| Error::Random(io::Error::other(error)))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a key file. One that others may read is refused.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let refused = |reason: &str| Error::PrivateKey { path: path.to_owned(), reason: reason.to_owned() };
        let mut file = file::open_regular(path).map_err(|error| refused(&error.to_string()))?;
        let mode = file.metadata().map_err(|error| refused(&error.to_string()))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(refused(&format!("others may read it (mode {mode:o})")));
        }
        let mut bytes = Zeroizing::new([0_u8; FILE_BYTES]);
        file.read_exact(&mut *bytes).map_err(|_| refused("it is too short"))?;
        let seed_hex = bytes
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_suffix(b"\n"))
            .ok_or_else(|| refused("it does not begin with the header of one"))?;
        let mut seed = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(seed_hex, &mut *seed).map_err(|_| refused("its seed is not hexadecimal"))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Writes the key to a new file of mode 0600. An existing file is never overwritten.
    pub fn write_new(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Write { path: path.to_owned(), source };
        let mut bytes = Zeroizing::new([b'\n'; FILE_BYTES]);
        bytes[..HEADER.len()].copy_from_slice(HEADER);
        let seed_hex = &mut bytes[HEADER.len()..FILE_BYTES - 1];
        hex::encode_to_slice(self.0.as_bytes(), seed_hex).map_err(|error| failed(io::Error::other(error)))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(&*bytes).and_then(|()| file.sync_all()).map_err(failed)
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
    let key = PrivateKey::generate()?;
    let root = key.root(name, limits)?;
    key.write_new(path)?;
    Ok(root)
}
