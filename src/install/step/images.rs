//! Images: from the proven release into the engine.

use base::job::Progress;
use plan::Image;
use plan::journal::Evidence;
use stack::docker::Engine;

use super::World;
use crate::Error;
use crate::act::{Probe, Report};

pub(super) async fn probe(images: &[Image]) -> Result<Probe, Error> {
    let engine = Engine::connect().await.map_err(Error::Stack)?;
    for image in images {
        if !engine.knows(&image.id).await.map_err(Error::Stack)? {
            return Ok(Probe::Missing);
        }
    }
    Ok(Probe::Holds(Evidence::default()))
}

pub(super) async fn apply(world: &World<'_>, images: &[Image], report: Report<'_>) -> Result<Evidence, Error> {
    let engine = Engine::connect().await.map_err(Error::Stack)?;
    let (mut layers, mut bytes) = (0, 0);
    for image in images {
        if engine.knows(&image.id).await.map_err(Error::Stack)? {
            continue;
        }
        let missing = || Error::ImageMissing { name: image.name.clone() };
        let release = world.release.ok_or_else(missing)?;
        let named = release.release().images.iter().find(|named| named.name == image.name).ok_or_else(missing)?;
        let content = release.image(named).map_err(Error::Release)?;
        let found = engine.id(&content);
        if found != image.id {
            return Err(Error::DigestMismatch { what: format!("image {}", image.name), expected: image.id, found });
        }
        crate::images::remember(world.layout, image.name.clone(), image.tag.clone(), image.id).await?;
        let progress = |done, total| {
            report(Progress { done, total, unit: "bytes".to_owned(), note: image.name.clone(), eta_seconds: None });
        };
        let loaded = engine.load(&content, &progress).await.map_err(Error::Stack)?;
        layers += loaded.layers_sent;
        bytes += loaded.sent_bytes;
    }
    engine.remove_leftovers().await.map_err(Error::Stack)?;
    Ok(Evidence::default().with("layers_sent", layers).with("sent_bytes", bytes))
}
