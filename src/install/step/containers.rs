//! The compose file, and the containers it describes.

use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use base::config::{Containers, ServiceConfig};
use base::{Digest, Role, file};
use plan::journal::Evidence;
use stack::docker::{Compose, Engine};
use walkdir::WalkDir;

use super::World;
use super::job::config;
use crate::Error;
use crate::act::Probe;
use crate::files::bytes_if_any;

/// `core` and `edge`.
const NETWORKS: usize = 2;
const COMPOSE_BYTES_MAX: u64 = 4 << 20;

pub(super) async fn probe(world: &World<'_>, to: &Path) -> Result<Probe, Error> {
    let Some((config, containers)) = wanted(world) else { return Ok(Probe::Missing) };
    let text = text(world, config)?;
    if bytes_if_any(to, COMPOSE_BYTES_MAX)?.as_deref() != Some(text.as_bytes()) {
        return Ok(Probe::Missing);
    }
    let owner = (containers.user, containers.group);
    if !owned(world, config).iter().all(|path| is_owned(path, owner)) {
        return Ok(Probe::Missing);
    }
    let engine = Engine::connect().await.map_err(Error::Stack)?;
    if !has_networks(&engine, config, containers).await? {
        return Ok(Probe::Missing);
    }
    for role in Role::ALL {
        if !engine.has_container(containers, role, config_digest(config)?).await.map_err(Error::Stack)? {
            return Ok(Probe::Missing);
        }
    }
    Ok(Probe::Holds(Evidence::default()))
}

pub(super) async fn apply(world: &World<'_>, project: &str, to: &Path) -> Result<Evidence, Error> {
    let Some((config, containers)) = wanted(world) else {
        return Err(Error::NotVerified { step: plan::StepId::Config });
    };
    for path in stack::docker::written(world.layout, config) {
        file::private_dir(&path).map_err(Error::file("make folder", &path))?;
    }
    let owner = (containers.user, containers.group);
    for path in owned(world, config) {
        give(&path, owner)?;
    }
    let kept = stack::docker::write_compose(to, &text(world, config)?).map_err(Error::Stack)?;
    let engine = Engine::connect().await.map_err(Error::Stack)?;
    if !has_networks(&engine, config, containers).await? {
        // Containers remember the network they were made for, also when another of its name has come.
        let made = engine.made(project, config.slug.as_str()).await.map_err(Error::Stack)?;
        engine.remove(&made).await.map_err(Error::Stack)?;
    }
    stack::docker::create(project, to).await.map_err(Error::Stack)?;
    let evidence = Evidence::default();
    Ok(match kept {
        Some(path) => evidence.with("edited_file_kept_as", path.display().to_string()),
        None => evidence,
    })
}

async fn has_networks(engine: &Engine, config: &ServiceConfig, containers: &Containers) -> Result<bool, Error> {
    let made = engine.made(&containers.project, config.slug.as_str()).await.map_err(Error::Stack)?;
    Ok(made.networks.len() == NETWORKS)
}

fn wanted<'a>(world: &World<'a>) -> Option<(&'a ServiceConfig, &'a Containers)> {
    let config = config(world)?;
    Some((config, config.containers.as_ref()?))
}

fn text(world: &World<'_>, config: &ServiceConfig) -> Result<String, Error> {
    let services: Vec<_> = world.plan.services().iter().map(|service| (service.role, service.memory_bytes)).collect();
    let config_digest = config_digest(config)?;
    let compose = Compose { config, config_digest, layout: world.layout, services: &services };
    compose.render().ok_or(Error::NotVerified { step: plan::StepId::Containers })
}

/// As the configuration's file will have it.
fn config_digest(config: &ServiceConfig) -> Result<Digest, Error> {
    let text = serde_yaml::to_string(config);
    let text = text.map_err(|error| Error::File {
        act: "write",
        path: PathBuf::from("config.yaml"),
        source: std::io::Error::other(error),
    })?;
    Ok(Digest::of(text.as_bytes()))
}

/// What the containers' user must own: what it writes, and what nobody else may read.
fn owned(world: &World<'_>, config: &ServiceConfig) -> Vec<PathBuf> {
    let customer = &world.customer;
    let mut all = stack::docker::written(world.layout, config);
    all.extend([customer.config(), customer.token(), customer.api_token(), customer.password_hash()]);
    all
}

fn is_owned(path: &Path, (user, group): (u32, u32)) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.uid() == user && metadata.gid() == group)
}

/// Gives a file, or a folder with all it holds, to the containers' user. Links are not followed.
fn give(path: &Path, owner: (u32, u32)) -> Result<(), Error> {
    for entry in WalkDir::new(path).follow_links(false) {
        let entry =
            entry.map_err(|error| Error::File { act: "look at", path: path.to_owned(), source: error.into() })?;
        if entry.file_type().is_symlink() || is_owned(entry.path(), owner) {
            continue;
        }
        // Never what a link points to, also when one takes the file's place just now.
        let given = lchown(entry.path(), Some(owner.0), Some(owner.1));
        given.map_err(Error::file("give to the containers' user", entry.path()))?;
    }
    Ok(())
}
