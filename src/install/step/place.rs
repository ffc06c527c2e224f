//! Folders and small files.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base::config::ServiceConfig;
use base::{Digest, file, generated};
use plan::journal::Evidence;

use super::World;
use crate::Error;
use crate::act::Probe;
use crate::files::bytes_if_any;

const SMALL_FILE_BYTES_MAX: u64 = 1 << 20;

pub(super) fn probe_folders(paths: &[PathBuf]) -> Probe {
    let is_private = |path: &PathBuf| {
        std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir() && metadata.mode() & 0o077 == 0)
    };
    if paths.iter().all(is_private) { Probe::Holds(Evidence::default()) } else { Probe::Missing }
}

pub(super) fn make_folders(paths: &[PathBuf]) -> Result<Evidence, Error> {
    for path in paths {
        // `private_dir` would narrow whatever a link points to.
        if std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(Error::NotOurs { path: path.clone() });
        }
        file::private_dir(path).map_err(Error::file("make folder", path))?;
    }
    Ok(Evidence::default())
}

pub(super) fn probe_bytes(path: &Path, digest: Digest) -> Result<Probe, Error> {
    let found = bytes_if_any(path, SMALL_FILE_BYTES_MAX)?;
    Ok(if found.is_some_and(|bytes| Digest::of(&bytes) == digest) {
        Probe::Holds(Evidence::default())
    } else {
        Probe::Missing
    })
}

pub(super) fn write_license(license: &[u8], expected: Digest, to: &Path) -> Result<Evidence, Error> {
    let found = Digest::of(license);
    if found != expected {
        return Err(Error::DigestMismatch { what: "license".to_owned(), expected, found });
    }
    refuse_older(license, to)?;
    file::write_atomic(to, license, 0o600).map_err(Error::file("write", to))?;
    Ok(Evidence::default())
}

/// Returns the id of the license in place, if there is one that can be authenticated.
pub(super) fn license_id(path: &Path) -> Option<String> {
    let installed = license::load_installed(path, &license::embedded_roots().ok()?).ok()?;
    Some(installed.license_id().to_owned())
}

/// A renewal that took something away is not undone with the file from before. What is in place and cannot be
/// authenticated has no say.
fn refuse_older(license: &[u8], to: &Path) -> Result<(), Error> {
    let Ok(roots) = license::embedded_roots() else { return Ok(()) };
    match (license::authenticate(license, &roots), license::load_installed(to, &roots)) {
        (Ok(offered), Ok(installed)) => offered.may_replace(&installed).map_err(Error::License),
        _ => Ok(()),
    }
}

pub(super) fn probe_config(world: &World<'_>, config: &ServiceConfig, to: &Path) -> Result<Probe, Error> {
    let (config, answers) = texts(world, config)?;
    let holds = |path: &Path, text: &str| {
        Ok::<_, Error>(bytes_if_any(path, SMALL_FILE_BYTES_MAX)?.as_deref() == Some(text.as_bytes()))
    };
    let is_so = holds(to, &config)? && holds(&world.customer.answers(), &answers)?;
    Ok(if is_so { Probe::Holds(Evidence::default()) } else { Probe::Missing })
}

pub(super) fn write_config(world: &World<'_>, config: &ServiceConfig, to: &Path) -> Result<Evidence, Error> {
    let (config, answers) = texts(world, config)?;
    let answers_path = world.customer.answers();
    file::write_atomic(&answers_path, answers.as_bytes(), 0o600).map_err(Error::file("write", &answers_path))?;
    Ok(kept_edit(generated::write(to, &config).map_err(Error::file("write", to))?))
}

/// Returns the evidence of a step that wrote a file people may have edited.
pub(super) fn kept_edit(kept: Option<PathBuf>) -> Evidence {
    match kept {
        Some(path) => Evidence::default().with("edited_file_kept_as", path.display().to_string()),
        None => Evidence::default(),
    }
}

/// Returns the text of the configuration's file.
pub(super) fn config_text(path: &Path, config: &ServiceConfig) -> Result<String, Error> {
    let body = serde_yaml::to_string(config);
    let body = body.map_err(|error| Error::File {
        act: "write",
        path: path.to_owned(),
        source: std::io::Error::other(error),
    })?;
    Ok(generated::text("Change the answers beside the license and run `0711 install` again.", &body))
}

fn texts(world: &World<'_>, config: &ServiceConfig) -> Result<(String, String), Error> {
    let config = config_text(&world.customer.config(), config)?;
    let path = world.customer.answers();
    let answers = world.plan.answers().to_yaml().map_err(|source| Error::Format { path, source })?;
    Ok((config, answers))
}
