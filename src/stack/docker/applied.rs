//! What the containers were made from, beside what lies there now.

use std::path::{Path, PathBuf};

use base::file::{self, ReadError};
use base::{CustomerLayout, Digest};
use serde::{Deserialize, Serialize};

const BYTES_MAX: u64 = 4 << 20;

/// The files the containers of a customer were made from. Written by `install` when compose has made them, read by `install` and
/// `agent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// Version of this format: 1.
    format: u32,
    /// Of the generated compose file.
    compose: Option<Digest>,
    /// Of the administrator's changes, when there were any.
    changes: Option<Digest>,
}

impl Applied {
    const FORMAT: u32 = 1;

    /// Looks at the files as they are now. One that cannot be read counts as another content, not as absent.
    pub fn now(customer: &CustomerLayout) -> Self {
        let changes = changes(customer).map(|path| {
            // Variables have a say only where there are changes that use them: the generated file has none.
            let parts = [Some(path), Some(customer.compose_env()).filter(|path| path.exists())];
            let digests: Vec<_> = parts.into_iter().flatten().map(|path| digest(&path)).collect();
            Digest::of(format!("{digests:?}").as_bytes())
        });
        Self { format: Self::FORMAT, compose: digest(&customer.compose()), changes }
    }

    /// Reads what the containers were made from; nothing when none were made, or the note is damaged.
    pub fn read(customer: &CustomerLayout) -> Option<Self> {
        let bytes = file::read_bounded(&customer.applied(), BYTES_MAX).ok()?;
        let found: Self = serde_json::from_slice(&bytes).ok()?;
        (found.format == Self::FORMAT).then_some(found)
    }

    /// Takes note that the containers were made from these files.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn write(&self, customer: &CustomerLayout) -> std::io::Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
        file::write_atomic(&customer.applied(), &bytes, 0o600)
    }
}

fn digest(path: &Path) -> Option<Digest> {
    match file::read_bounded(path, BYTES_MAX) {
        Ok(bytes) => Some(Digest::of(&bytes)),
        Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        // Another error would be another digest: what was made from a readable file is out of date.
        Err(error) => Some(Digest::of(error.to_string().as_bytes())),
    }
}

/// Returns the administrator's changes to the compose file, where there are some.
pub fn changes(customer: &CustomerLayout) -> Option<PathBuf> {
    Some(customer.compose_override()).filter(|path| std::fs::symlink_metadata(path).is_ok())
}

/// Says in what the files differ from those the containers were made from; nothing when they do not, or nothing was made.
pub fn drift(customer: &CustomerLayout) -> Option<String> {
    let (made, now) = (Applied::read(customer)?, Applied::now(customer));
    let name = |path: PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let compose = (made.compose != now.compose).then(|| match now.compose {
        Some(_) => format!("`{}` was edited or written anew", name(customer.compose())),
        None => format!("`{}` is gone", name(customer.compose())),
    });
    let of_changes = name(customer.compose_override());
    let changes = match (made.changes, now.changes) {
        (Some(made), Some(now)) if made != now => Some(format!("`{of_changes}` was changed")),
        (None, Some(_)) => Some(format!("`{of_changes}` was added")),
        (Some(_), None) => Some(format!("`{of_changes}` was removed")),
        _ => None,
    };
    let all: Vec<_> = [compose, changes].into_iter().flatten().collect();
    (!all.is_empty()).then(|| format!("{} after the containers were made", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use base::{Layout, Slug};

    use super::*;

    #[test]
    fn what_differs_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let customer = Layout::rooted(dir.path()).customer(&Slug::parse("eaton").unwrap());
        std::fs::create_dir_all(customer.deployment()).unwrap();
        std::fs::write(customer.compose(), "services: {}").unwrap();
        assert_eq!(drift(&customer), None, "nothing was made yet");
        let check = |expect: Option<&str>| {
            let found = drift(&customer);
            match expect {
                Some(part) => assert!(found.as_ref().is_some_and(|found| found.contains(part)), "{found:?}"),
                None => assert_eq!(found, None),
            }
            Applied::now(&customer).write(&customer).unwrap();
            assert_eq!(drift(&customer), None);
        };
        check(None);
        std::fs::write(customer.compose_env(), "LIMIT=1").unwrap();
        check(None);
        std::fs::write(customer.compose_override(), "services: {llm: {mem_limit: 2g}}").unwrap();
        check(Some("`docker-compose.override.yml` was added"));
        std::fs::write(customer.compose_override(), "services: {llm: {mem_limit: 3g}}").unwrap();
        check(Some("`docker-compose.override.yml` was changed"));
        std::fs::write(customer.compose_env(), "LIMIT=2").unwrap();
        check(Some("`docker-compose.override.yml` was changed"));
        std::fs::remove_file(customer.compose_override()).unwrap();
        std::fs::write(customer.compose(), "services: {a: {}}").unwrap();
        check(Some("`docker-compose.yml` was edited or written anew, `docker-compose.override.yml` was removed"));
    }
}
