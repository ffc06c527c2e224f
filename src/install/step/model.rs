//! Model files: content-addressed, checked, put in place by one rename.

use std::path::{Path, PathBuf};

use base::config::ModelRef;
use base::job::Progress;
use base::{Digest, Layout};
use plan::journal::Evidence;

use crate::act::{Depth, Probe, Report};
use crate::error::Cause;
use crate::step::binary::{copy_checked, place, workplace};
use crate::{Error, ModelSource};

pub(super) async fn probe(model: &ModelRef, size_bytes: u64, depth: Depth) -> Result<Probe, Error> {
    let holds = is_file_of(&model.path, size_bytes, model.digest, depth).await?;
    Ok(if holds { Probe::Holds(Evidence::default()) } else { Probe::Missing })
}

/// At a glance the size is enough: the name says the digest, and only whole files get that name.
pub(super) async fn is_file_of(path: &Path, size_bytes: u64, digest: Digest, depth: Depth) -> Result<bool, Error> {
    let has_size =
        std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size_bytes);
    if !has_size || depth == Depth::Glance {
        return Ok(has_size);
    }
    Ok(digest_of(path).await? == digest)
}

async fn digest_of(path: &Path) -> Result<Digest, Error> {
    let owned = path.to_owned();
    let work = tokio::task::spawn_blocking(move || Digest::of_file(&owned));
    let digest = work.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    digest.map_err(Error::file("read", path))
}

pub(super) async fn apply(
    source: &dyn ModelSource,
    model: &ModelRef,
    size_bytes: u64,
    report: Report<'_>,
) -> Result<Evidence, Error> {
    let from = obtain(source, model, size_bytes, report).await?;
    let (to, digest, name) = (model.path.clone(), model.digest, model.name.clone());
    let work = tokio::task::spawn_blocking(move || put(&from, &to, digest, &name));
    work.await.map_err(|error| Error::Model { name: model.name.clone(), source: error.into() })??;
    Ok(Evidence::default().with("bytes", size_bytes))
}

/// Prefers what `models fetch` left in this user's cache.
async fn obtain(
    source: &dyn ModelSource,
    model: &ModelRef,
    size_bytes: u64,
    report: Report<'_>,
) -> Result<PathBuf, Error> {
    let cached = Layout::cached_model(&model.digest);
    if is_file_of(&cached, size_bytes, model.digest, Depth::Glance).await? {
        return Ok(cached);
    }
    let progress = |done, total| {
        report(Progress { done, total, unit: "bytes".to_owned(), note: model.name.clone(), eta_seconds: None });
    };
    let obtained = source.obtain(model, &progress).await;
    obtained.map_err(|source: Cause| Error::Model { name: model.name.clone(), source })
}

/// A hard link costs no disk. It is checked like a copy: the cache is the user's, and this file is what roles will map.
fn put(from: &Path, to: &Path, digest: Digest, name: &str) -> Result<(), Error> {
    let dir = to.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir).map_err(Error::file("make folder", dir))?;
    let temporary = workplace(dir)?;
    let fresh = temporary.path().join("model");
    let is_linked = std::fs::hard_link(from, &fresh).is_ok();
    let found = if is_linked {
        Digest::of_file(&fresh).map_err(Error::file("read", from))?
    } else {
        copy_checked(from, &fresh, 0o644, &|_| ())?
    };
    if found != digest {
        return Err(Error::DigestMismatch { what: format!("model {name}"), expected: digest, found });
    }
    // Whatever the umask, and the rights in the cache: a container's user reads it too, and it is no secret.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&fresh, mode).map_err(Error::file("open for reading", &fresh))?;
    place(&fresh, to)
}
