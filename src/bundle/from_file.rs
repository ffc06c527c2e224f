//! A model's file from a folder: beside the installer, in the bundle, on a stick.

use std::{
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use base::file::{self, ReadError};

use crate::{
    Model,
    fetch::{Event, Miss, Watch, blocking},
    part::Part,
    store::Place,
};

/// One step of a copy: large enough to be fast, small enough to show progress.
const STEP_BYTES: usize = 8 << 20;

pub(crate) async fn bring(
    model: &Model,
    name: &str,
    place: &Place,
    folders: &[PathBuf],
    watch: Watch<'_>,
) -> Result<(), Miss> {
    let mut reasons = Vec::new();
    for folder in folders {
        match copy(model, &folder.join(name), place, watch).await {
            Ok(()) => return Ok(()),
            Err(Miss::Source(reason)) => reasons.push(reason),
            Err(local) => return Err(local),
        }
    }
    Err(Miss::Source(match reasons.is_empty() {
        true => "no folder was named to look in".to_owned(),
        false => reasons.join(", "),
    }))
}

async fn copy(model: &Model, path: &Path, place: &Place, watch: Watch<'_>) -> Result<(), Miss> {
    let mut from = file::open_regular(path).map_err(|error| {
        Miss::Source(match &error {
            ReadError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                format!("not in `{}`", path.parent().unwrap_or(path).display())
            }
            ReadError::Io { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        })
    })?;
    let unread = |error: std::io::Error| Miss::Source(format!("cannot read `{}`: {error}", path.display()));
    let size_bytes = from.metadata().map_err(unread)?.len();
    if size_bytes != model.size_bytes() {
        return Err(Miss::Source(format!("`{}` has {size_bytes} bytes, not {}", path.display(), model.size_bytes())));
    }
    let mut part = Part::resume(place, model.size_bytes())?;
    part.restart()?;
    loop {
        let (file, read, bytes) = blocking(move || {
            let mut bytes = vec![0; STEP_BYTES];
            let read = from.read(&mut bytes);
            Ok::<_, Miss>((from, read, bytes))
        })
        .await?;
        from = file;
        let count = read.map_err(unread)?;
        if count == 0 {
            return match part.is_whole() {
                true => Ok(()),
                false => Err(Miss::Source(format!("`{}` became shorter while it was read", path.display()))),
            };
        }
        if !part.append(&bytes[..count])? {
            return Err(Miss::Source(format!("`{}` became longer while it was read", path.display())));
        }
        watch(Event::Progress { done_bytes: part.written_bytes(), total_bytes: model.size_bytes() });
    }
}
