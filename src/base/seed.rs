//! Private Ed25519 keys of the vendor. On disk: one line, `0711-ed25519-seed-1:` and the seed as 64 hexadecimal digits.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::file;

const HEADER: &[u8] = b"0711-ed25519-seed-1:";
const HEX_BYTES: usize = 64;
const FILE_BYTES: usize = HEADER.len() + HEX_BYTES + 1;

/// The 32 bytes an Ed25519 key is made from. They are wiped from memory when dropped, and never shown.
pub struct Seed(Zeroizing<[u8; 32]>);

/// A key file could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error("`{path}` cannot be used as a private key: {reason}", path = .path.display())]
    Read { path: PathBuf, reason: String },
    #[error("cannot write `{path}`", path = .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the kernel gave no random bytes")]
    Random(#[source] io::Error),
}

impl Seed {
    /// Makes a seed of 32 random bytes from the kernel.
    ///
    /// # Errors
    /// [`SeedError::Random`].
    pub fn generate() -> Result<Self, SeedError> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *bytes).map_err(|error| SeedError::Random(io::Error::other(error)))?;
        Ok(Self(bytes))
    }

    /// Reads a key file. One that others may read is refused.
    ///
    /// # Errors
    /// [`SeedError::Read`].
    pub fn read(path: &Path) -> Result<Self, SeedError> {
        let refused = |reason: &str| SeedError::Read { path: path.to_owned(), reason: reason.to_owned() };
        let mut file = file::open_regular(path).map_err(|error| refused(&error.to_string()))?;
        let mode = file.metadata().map_err(|error| refused(&error.to_string()))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(refused(&format!("others may read it (mode {mode:o})")));
        }
        let mut bytes = Zeroizing::new([0_u8; FILE_BYTES]);
        file.read_exact(&mut *bytes).map_err(|_| refused("it is too short"))?;
        let digits = bytes
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_suffix(b"\n"))
            .ok_or_else(|| refused("it does not begin with the header of one"))?;
        let mut seed = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(digits, &mut *seed).map_err(|_| refused("its seed is not hexadecimal"))?;
        Ok(Self(seed))
    }

    /// Writes the seed to a new file of mode 0600. An existing file is never overwritten.
    ///
    /// # Errors
    /// [`SeedError::Write`].
    pub fn write_new(&self, path: &Path) -> Result<(), SeedError> {
        let failed = |source| SeedError::Write { path: path.to_owned(), source };
        let mut bytes = Zeroizing::new([b'\n'; FILE_BYTES]);
        bytes[..HEADER.len()].copy_from_slice(HEADER);
        let digits = &mut bytes[HEADER.len()..FILE_BYTES - 1];
        hex::encode_to_slice(*self.0, digits).map_err(|error| failed(io::Error::other(error)))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(&*bytes).and_then(|()| file.sync_all()).map_err(failed)
    }

    /// Returns the bytes, for the one place that makes a key of them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_seed_survives_its_file_which_only_its_owner_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let seed = Seed::generate().unwrap();
        seed.write_new(&path).unwrap();
        assert_eq!(Seed::read(&path).unwrap().expose(), seed.expose());
        assert!(matches!(seed.write_new(&path), Err(SeedError::Write { .. })));
        assert!(!format!("{seed:?}").contains(&hex::encode(seed.expose())));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Seed::read(&path).unwrap_err().to_string().contains("others may read it"));
    }
}
