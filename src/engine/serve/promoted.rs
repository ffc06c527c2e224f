//! Which adapter the customer's registry names as promoted, and which folders adapters may come from.

use std::path::{Path, PathBuf};

use base::CustomerLayout;
use serde::Deserialize;

use crate::Error;

/// Versions are few; a registry larger than this is not one.
const MAX_REGISTRY_BYTES: u64 = 1 << 20;

/// The part of the trainer's `registry.json` this role reads. The trainer alone writes it.
#[derive(Deserialize)]
struct Registry {
    format: u32,
    promoted: Option<String>,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    dir: PathBuf,
}

/// Returns name and folder of the promoted adapter, or why they cannot be known; none where nothing is promoted.
pub(super) fn promoted(layout: &CustomerLayout) -> Result<Option<(String, PathBuf)>, String> {
    let path = layout.loras().join("registry.json");
    if !path.exists() {
        return Ok(None);
    }
    let bytes =
        base::file::read_bounded(&path, MAX_REGISTRY_BYTES).map_err(|error| crate::error::in_one_line(&error))?;
    let registry: Registry = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if registry.format != 1 {
        return Err(format!("its format is {}, and 1 is the one known", registry.format));
    }
    let Some(name) = registry.promoted else { return Ok(None) };
    let version = registry.versions.into_iter().find(|version| version.name == name);
    let dir = version.map(|version| version.dir).ok_or_else(|| format!("it has no version `{name}`"))?;
    Ok(Some((name, layout.loras().join(dir))))
}

/// Returns the real path of an adapter that lies below the customer's adapters, links resolved.
///
/// # Errors
/// [`Error::OutsideAdapters`], also for a path that does not exist: what lies elsewhere is nobody's business.
pub(super) fn adapter_path(layout: &CustomerLayout, asked: &Path) -> Result<PathBuf, Error> {
    let allowed = layout.loras();
    let outside = || Error::OutsideAdapters { path: asked.to_owned(), allowed: allowed.clone() };
    let real = asked.canonicalize().map_err(|_| outside())?;
    let root = allowed.canonicalize().map_err(|_| outside())?;
    if real == root || !real.starts_with(&root) {
        return Err(outside());
    }
    // The engine opens this file next, and must not be led elsewhere by it.
    let twin = real.join("adapter.gguf");
    if real.is_dir() && !twin.canonicalize().is_ok_and(|file| file.starts_with(&root)) {
        return Err(outside());
    }
    Ok(real)
}
