//! The compose file, and the containers it describes.

use std::path::{Path, PathBuf};

use base::config::{Containers, ServiceConfig};
use base::{Digest, Role, generated};
use plan::journal::Evidence;
use stack::docker::{Applied, Compose, Engine, Project, Turn};

use super::World;
use super::give::Giver;
use super::job::config;
use super::place::{config_text, kept_edit, make_folders};
use crate::Error;
use crate::act::Probe;
use crate::files::bytes_if_any;

const COMPOSE_BYTES_MAX: u64 = 4 << 20;

pub(super) async fn probe(world: &World<'_>, to: &Path) -> Result<Probe, Error> {
    let Some((config, containers)) = wanted(world) else { return Ok(Probe::Missing) };
    let text = text(world, config)?;
    if bytes_if_any(to, COMPOSE_BYTES_MAX)?.as_deref() != Some(text.as_bytes()) {
        return Ok(Probe::Missing);
    }
    if Applied::read(&world.customer).as_ref() != Some(&Applied::now(&world.customer)) {
        return Ok(Probe::Missing);
    }
    let giver = Giver::new((containers.user, containers.group), &config.folders);
    if !owned(world, config).iter().all(|path| giver.owns(path)) {
        return Ok(Probe::Missing);
    }
    let engine = Engine::connect().await.map_err(Error::Stack)?;
    if !has_networks(&engine, config, containers).await? {
        return Ok(Probe::Missing);
    }
    let config_digest = config_digest(world, config)?;
    for role in Role::ALL {
        if !engine.has_container(containers, role, config_digest).await.map_err(Error::Stack)? {
            return Ok(Probe::Missing);
        }
    }
    Ok(Probe::Holds(Evidence::default()))
}

pub(super) async fn apply(world: &World<'_>, project: &str, to: &Path) -> Result<Evidence, Error> {
    let Some((config, containers)) = wanted(world) else {
        return Err(Error::NotVerified { step: plan::StepId::Config });
    };
    let turn = Turn::take(&world.customer).await.map_err(Error::Stack)?;
    make_folders(&stack::docker::written(world.layout, config))?;
    let giver = Giver::new((containers.user, containers.group), &config.folders);
    // Mounted into the console's container, so it is there before that is made.
    let door = world.customer.console_door();
    stack::shared_door(&door).map_err(Error::file("make folder", &door))?;
    for path in owned(world, config) {
        giver.give(&path)?;
    }
    let kept = generated::write(to, &text(world, config)?).map_err(Error::file("write", to))?;
    let compose = Project::open(project, &world.customer).await;
    compose.check(config).await.map_err(Error::Stack)?;
    let engine = Engine::connect().await.map_err(Error::Stack)?;
    if !has_networks(&engine, config, containers).await? {
        // Containers remember the network they were made for, also when another of its name has come.
        let made = engine.made(project, config.slug.as_str()).await.map_err(Error::Stack)?;
        engine.remove(&made).await.map_err(Error::Stack)?;
    }
    // As they are before compose reads them: a change in between is one that was not applied.
    let from = Applied::now(&world.customer);
    compose.create(turn).await.map_err(Error::Stack)?;
    from.write(&world.customer).map_err(Error::file("write", world.customer.applied()))?;
    let evidence = kept_edit(kept);
    Ok(match stack::docker::changes(&world.customer) {
        Some(path) => evidence.with("changes", path.display().to_string()),
        None => evidence,
    })
}

async fn has_networks(engine: &Engine, config: &ServiceConfig, containers: &Containers) -> Result<bool, Error> {
    engine.has_networks(&containers.project, config.slug.as_str()).await.map_err(Error::Stack)
}

fn wanted<'a>(world: &World<'a>) -> Option<(&'a ServiceConfig, &'a Containers)> {
    let config = config(world)?;
    Some((config, config.containers.as_ref()?))
}

fn text(world: &World<'_>, config: &ServiceConfig) -> Result<String, Error> {
    let services: Vec<_> = world.plan.services().iter().map(|service| (service.role, service.memory_bytes)).collect();
    let config_digest = config_digest(world, config)?;
    let compose = Compose { config, config_digest, layout: world.layout, services: &services };
    compose.render().ok_or(Error::NotVerified { step: plan::StepId::Containers })
}

/// Of the configuration's file.
fn config_digest(world: &World<'_>, config: &ServiceConfig) -> Result<Digest, Error> {
    Ok(Digest::of(config_text(&world.customer.config(), config)?.as_bytes()))
}

/// What the containers' user must own: what it writes, and what nobody else may read.
fn owned(world: &World<'_>, config: &ServiceConfig) -> Vec<PathBuf> {
    let customer = &world.customer;
    let mut all = stack::docker::written(world.layout, config);
    all.extend([customer.config(), customer.token(), customer.api_token(), customer.password_hash()]);
    all
}
