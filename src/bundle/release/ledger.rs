//! What an undertaking takes of each file system, weighed before anything is fetched.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{ReleaseError as Error, error::megabytes};

/// So much stays free on every file system: a full one stops other programs.
const RESERVE_BYTES: u64 = 64 << 20;

/// Something that will need space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where; the folder itself need not exist yet.
    pub path: PathBuf,
    /// What for: `the bundle`, `layers in the engine`, ….
    pub what: String,
    /// At most, while it goes on, beyond what is used now.
    pub peak_bytes: u64,
    /// When it is done, beyond what is used now.
    pub final_bytes: u64,
}

/// One file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The first folder that is claimed on it.
    pub path: PathBuf,
    pub free_bytes: u64,
    /// All claims at once: nothing is known of their order.
    pub peak_bytes: u64,
    pub final_bytes: u64,
    pub what: Vec<String>,
}

/// The file systems an undertaking writes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ledger(pub Vec<Account>);

/// A file system that is too small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    pub path: PathBuf,
    pub what: String,
    pub free_bytes: u64,
    pub peak_bytes: u64,
    pub final_bytes: u64,
}

impl Shortage {
    /// Returns how much has to be freed.
    pub fn missing_bytes(&self) -> u64 {
        self.peak_bytes.saturating_add(RESERVE_BYTES).saturating_sub(self.free_bytes)
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` has {} MB free, and {} needs {} MB at most, of which {} MB stay ({} MB are kept free)",
            self.path.display(),
            self.free_bytes / 1_000_000,
            self.what,
            megabytes(self.peak_bytes),
            megabytes(self.final_bytes),
            megabytes(RESERVE_BYTES)
        )
    }
}

impl Ledger {
    /// Adds up the claims of each file system.
    ///
    /// # Errors
    /// [`Error::Read`] when a folder's file system cannot be asked.
    pub fn of(claims: &[Claim]) -> Result<Self, Error> {
        let mut accounts: BTreeMap<u64, Account> = BTreeMap::new();
        for claim in claims {
            let failed = |error: io::Error| Error::Read { path: claim.path.clone(), reason: error.to_string() };
            let (device, free_bytes) = file_system(&claim.path).map_err(failed)?;
            let account = accounts.entry(device).or_insert_with(|| Account {
                path: claim.path.clone(),
                free_bytes,
                peak_bytes: 0,
                final_bytes: 0,
                what: Vec::new(),
            });
            account.peak_bytes = account.peak_bytes.saturating_add(claim.peak_bytes);
            account.final_bytes = account.final_bytes.saturating_add(claim.final_bytes);
            account.what.push(claim.what.clone());
        }
        Ok(Self(accounts.into_values().collect()))
    }

    /// Returns the ledger if everything fits.
    ///
    /// # Errors
    /// [`Error::Space`] with the figures of the first file system that is too small.
    pub fn fits(self) -> Result<Self, Error> {
        let short = |account: &&Account| {
            account.peak_bytes > 0 && account.peak_bytes.saturating_add(RESERVE_BYTES) > account.free_bytes
        };
        match self.0.iter().find(short) {
            None => Ok(self),
            Some(account) => Err(Error::Space {
                shortage: Shortage {
                    path: account.path.clone(),
                    what: account.what.join(" and "),
                    free_bytes: account.free_bytes,
                    peak_bytes: account.peak_bytes,
                    final_bytes: account.final_bytes,
                },
            }),
        }
    }
}

/// Returns which file system a path is or would be on, and what is free there for this user.
fn file_system(path: &Path) -> io::Result<(u64, u64)> {
    let mut folder = std::path::absolute(path)?;
    let found = loop {
        match fs::metadata(&folder) {
            Ok(found) => break found,
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.pop() => {}
            Err(error) => return Err(error),
        }
    };
    let space = rustix::fs::statvfs(&folder)?;
    Ok((found.dev(), space.f_bavail.saturating_mul(space.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(path: &Path, what: &str, peak_bytes: u64, final_bytes: u64) -> Claim {
        Claim { path: path.to_owned(), what: what.to_owned(), peak_bytes, final_bytes }
    }

    #[test]
    fn claims_on_one_file_system_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let claims = [claim(&dir.path().join("a/b"), "the bundle", 10, 5), claim(dir.path(), "models", 20, 20)];
        let ledger = Ledger::of(&claims).unwrap().fits().unwrap();
        assert_eq!(ledger.0.len(), 1);
        assert_eq!((ledger.0[0].peak_bytes, ledger.0[0].final_bytes), (30, 25));
        assert!(ledger.0[0].free_bytes > 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_figures() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::of(&[claim(dir.path(), "the bundle", 1 << 60, 1 << 59)]).unwrap();
        let refused = ledger.fits().unwrap_err();
        let text = refused.to_string();
        assert!(text.contains("the bundle needs 1152921504607 MB at most, of which 576460752304 MB stay"), "{text}");
        assert!(base::Explain::remedy(&refused).unwrap().0.starts_with("free 11529"));
        // Nothing to write fits everywhere.
        Ledger::of(&[claim(Path::new("/proc"), "nothing", 0, 0)]).unwrap().fits().unwrap();
    }
}
