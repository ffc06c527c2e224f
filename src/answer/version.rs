//! Which adapter answers: read anew for each question, so that a promotion or a rollback takes effect without a restart.

use std::{path::PathBuf, sync::Arc};

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
}

/// A registry has one line per version; one of this size is no registry.
const REGISTRY_BYTES: u64 = 4 << 20;

/// Returns a reader of the registry in a customer's folder of adapters. Without a readable registry, `base` answers.
pub fn promoted(loras: PathBuf) -> VersionReader {
    Arc::new(move || {
        let path = loras.join("registry.json");
        let Ok(bytes) = base::file::read_bounded(&path, REGISTRY_BYTES) else {
            return BASE.into();
        };
        match serde_json::from_slice::<Registry>(&bytes) {
            Ok(Registry { format: 1, promoted: Some(version) }) => version,
            Ok(Registry { format: 1, promoted: None }) => BASE.into(),
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
        let reader = promoted(dir.path().to_path_buf());
        assert_eq!(reader(), "base");
        let write = |text: &str| std::fs::write(dir.path().join("registry.json"), text).unwrap();
        write(r#"{"format":1,"promoted":"v3","versions":[]}"#);
        assert_eq!(reader(), "v3");
        write(r#"{"format":1,"promoted":null}"#);
        assert_eq!(reader(), "base");
        write(r#"{"format":2,"promoted":"v9"}"#);
        assert_eq!(reader(), "base");
    }
}
