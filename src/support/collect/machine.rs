//! The machine: facts, versions, room.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base::config::ServiceConfig;
use base::{Digest, Layout, Slug};
use serde_json::{Value, json};

use crate::gather::{Piece, Said};

const SURVEY_BUDGET: Duration = Duration::from_secs(3);

pub(super) fn facts(layout: &Layout, folders: &[PathBuf]) -> Said {
    let facts = host::facts(&[layout.var(), layout.bin_dir()], folders, SURVEY_BUDGET);
    Ok(vec![Piece::json("host/facts.json", &facts)?])
}

/// The program that runs, the one that is installed, and the models, by their digests.
pub(super) fn versions(layout: &Layout, running: &Path, config: Option<&ServiceConfig>) -> Said {
    let of = |path: &Path| {
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let sha256 =
            Digest::of_file(&target).map(|digest| digest.to_string()).unwrap_or_else(|error| error.to_string());
        json!({"path": path, "is": target, "sha256": sha256})
    };
    let installed = layout.binary();
    let is_same = running.canonicalize().ok() == installed.canonicalize().ok();
    let model = |model: &base::config::ModelRef| {
        let size_bytes = std::fs::metadata(&model.path).map(|found| found.len()).ok();
        json!({"name": model.name, "digest": model.digest, "path": model.path, "size_bytes": size_bytes})
    };
    let value = json!({
        "program": env!("CARGO_PKG_VERSION"),
        "running": of(running),
        "installed": if is_same { Value::from("the one that runs") } else { of(&installed) },
        "models": config.map(|config| [model(&config.chat_model), model(&config.embed_model)]),
        "image": config.and_then(|config| config.containers.as_ref()).map(|containers| containers.image),
    });
    Ok(vec![Piece::json("versions.json", &value)?])
}

/// What the installation takes, and what is left where it lies.
pub(super) async fn disk(layout: &Layout, slug: &Slug) -> Said {
    let places = [layout.var(), layout.etc(), layout.run(), layout.bin_dir()];
    let disks: Vec<_> = places.iter().filter_map(|path| host::disk(path).ok()).collect();
    let footprint = install::footprint(layout, slug).await;
    let footprint = match footprint {
        Ok(footprint) => serde_json::to_value(footprint).map_err(|error| error.to_string())?,
        Err(error) => json!({"error": error.to_string()}),
    };
    Ok(vec![Piece::json("disk.json", &json!({"file_systems": disks, "footprint": footprint}))?])
}
