use std::{fmt, io, os::unix::fs::MetadataExt, path::Path};

use subtle::ConstantTimeEq;

use crate::file;

/// A text that must not be shown: no `Display`, and `Debug` hides it.
#[derive(Clone)]
pub struct Secret(String);

/// A secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret")]
    Read(#[from] file::ReadError),
    #[error("`{path}` may be read by others (mode {mode:o})", path = .path.display())]
    Open { path: std::path::PathBuf, mode: u32 },
    #[error("`{path}` holds no secret", path = .0.display())]
    Empty(std::path::PathBuf),
}

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Makes a secret of 32 random bytes from the kernel, as 64 hexadecimal digits.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// Reads the first line of a file that only its owner may read.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let bytes = file::read_bounded(path, 4096)?;
        let mode = std::fs::metadata(path).map(|found| found.mode() & 0o7777).unwrap_or(0);
        if mode & 0o077 != 0 {
            return Err(SecretError::Open { path: path.to_owned(), mode });
        }
        let text = String::from_utf8_lossy(&bytes).lines().next().unwrap_or("").trim().to_owned();
        if text.is_empty() {
            return Err(SecretError::Empty(path.to_owned()));
        }
        Ok(Self(text))
    }

    /// Writes the secret atomically with mode 0600.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        file::write_atomic(path, format!("{}\n", self.0).as_bytes(), 0o600)
    }

    /// Returns the text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in a time that does not depend on where the texts differ.
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_survives_its_file_and_shows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let secret = Secret::generate().unwrap();
        secret.write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let read = Secret::read(&path).unwrap();
        assert!(read.matches(secret.expose()));
        assert!(!read.matches("") && !read.matches(&secret.expose()[1..]));
        assert!(!format!("{read:?}").contains(secret.expose()));
    }

    #[test]
    fn a_secret_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        Secret::new("abc").write(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Secret::read(&path), Err(SecretError::Open { mode: 0o644, .. })));
    }
}
