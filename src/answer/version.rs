//! Which adapter answers: read anew for each question, so that a promotion or a rollback takes effect without a restart.

use std::{path::PathBuf, sync::Arc};

use base::config::Permissions;
use serde::Deserialize;

/// The name of the model without an adapter.
pub const BASE: &str = "base";

/// Tells the version to answer with: `base` or `vN`.
pub type VersionReader = Arc<dyn Fn() -> String + Send + Sync>;

/// The part of `loras/registry.json` (format 1, written by the trainer) that answering needs.
#[derive(Deserialize)]
struct Registry {
    format: u32,
    promoted: Option<String>,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    /// Whether it learnt from nothing but what everybody may read.
    #[serde(default)]
    is_public: bool,
}

impl Registry {
    /// Returns what answers: the promoted version, unless it may know what who asks may not.
    fn served(self, permissions: Permissions) -> String {
        let public = |name: &String| self.versions.iter().any(|version| version.name == *name && version.is_public);
        self.promoted.filter(|name| permissions.is_off() || public(name)).unwrap_or_else(|| BASE.into())
    }
}

/// A registry has one line per version; one of this size is no registry.
const REGISTRY_BYTES: u64 = 4 << 20;

/// Returns a reader of the registry in a customer's folder of adapters. Without a readable registry, `base` answers, and with permissions
/// on also in place of a version that learnt from what not everybody may read: an adapter answers all alike.
pub fn promoted(loras: PathBuf, permissions: Permissions) -> VersionReader {
    Arc::new(move || {
        let path = loras.join("registry.json");
        let Ok(bytes) = base::file::read_bounded(&path, REGISTRY_BYTES) else {
            return BASE.into();
        };
        match serde_json::from_slice::<Registry>(&bytes) {
            Ok(registry @ Registry { format: 1, .. }) => registry.served(permissions),
            Ok(_) | Err(_) => {
                tracing::warn!(path = %path.display(), "the registry of adapters cannot be read; base answers");
                BASE.into()
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promoted_version_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let reader = promoted(dir.path().to_path_buf(), Permissions::Off);
        assert_eq!(reader(), "base");
        let write = |text: &str| std::fs::write(dir.path().join("registry.json"), text).unwrap();
        write(r#"{"format":1,"promoted":"v3","versions":[]}"#);
        assert_eq!(reader(), "v3");
        write(r#"{"format":1,"promoted":null}"#);
        assert_eq!(reader(), "base");
        write(r#"{"format":2,"promoted":"v9"}"#);
        assert_eq!(reader(), "base");
    }

    #[test]
    fn with_permissions_only_a_version_of_public_documents_answers() {
        let dir = tempfile::tempdir().unwrap();
        let (on, off) = (Permissions::On, Permissions::Off);
        let check = |versions: &str, permissions, expect: &str| {
            let text = format!(r#"{{"format":1,"promoted":"v3","versions":{versions}}}"#);
            std::fs::write(dir.path().join("registry.json"), text).unwrap();
            assert_eq!(promoted(dir.path().to_path_buf(), permissions)(), expect, "{versions} {permissions:?}");
        };
        check(r#"[{"name":"v3","is_public":true}]"#, on, "v3");
        check(r#"[{"name":"v3","is_public":false}]"#, on, "base");
        check(r#"[{"name":"v3","is_public":false}]"#, off, "v3");
        check(r#"[{"name":"v3"},{"name":"v2","is_public":true}]"#, on, "base");
        check("[]", on, "base");
    }
}
