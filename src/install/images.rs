//! Which images this installation brought into the engine: only those does it ever remove.
//!
//! Format 1 of `images.json`, written and read by this room, oldest first. An image is written down before it is loaded, so that
//! one that was loaded by a run that was killed is known; one that the engine had before is not ours and never in it.

use base::{Digest, Layout, Slug, file};
use bundle::release::VerifiedRelease;
use plan::Image;
use serde::{Deserialize, Serialize};
use stack::docker::{Engine, Removal};

use crate::files::{brief_lock, bytes_if_any};
use crate::{Error, installed, read_plan};

const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 1 << 20;

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadedImages {
    format: u32,
    pub(crate) images: Vec<LoadedImage>,
}

/// An image that was loaded here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadedImage {
    pub(crate) name: String,
    pub(crate) tag: String,
    /// What the engine calls it.
    pub(crate) id: Digest,
}

/// An image of the plan that an uninstallation leaves on the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftImage {
    /// `name:tag`.
    pub image: String,
    /// Why it stays, for people.
    pub why: String,
}

/// Reads which images were loaded here.
pub(crate) fn loaded(layout: &Layout) -> Result<LoadedImages, Error> {
    let path = layout.loaded_images();
    let Some(bytes) = bytes_if_any(&path, BYTES_MAX)? else {
        return Ok(LoadedImages { format: FORMAT, images: Vec::new() });
    };
    let unusable = |why: String| Error::Read { path: path.clone(), source: why.into() };
    match plan::other_format(&bytes, FORMAT) {
        Some(other) => Err(unusable(format!("it has format {other}; this program knows format {FORMAT}"))),
        None => serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string())),
    }
}

/// Takes note of an image the engine lacks and is about to get.
pub(crate) async fn remember(layout: &Layout, name: String, tag: String, id: Digest) -> Result<(), Error> {
    change(layout, |images| {
        images.retain(|known| known.id != id);
        images.push(LoadedImage { name, tag, id });
    })
    .await
}

/// Takes note of the images of a release that the engine lacks: what loads them next does it for this installation, and they go
/// with it.
///
/// # Errors
/// [`Error::Stack`] when no engine answers, [`Error::Release`], [`Error::File`].
pub async fn expect_images(layout: &Layout, release: &VerifiedRelease) -> Result<(), Error> {
    let used = used(layout, None)?;
    // The way back is the newest of those that are not used any more, whatever failed in between.
    change(layout, |images| images.sort_by_key(|image| used.iter().any(|(_, ids)| uses(ids.as_deref(), image.id))))
        .await?;
    let engine = Engine::connect().await.map_err(Error::Stack)?;
    for named in &release.release().images {
        let id = engine.id(&release.image(named).map_err(Error::Release)?);
        if !engine.knows(&id).await.map_err(Error::Stack)? {
            remember(layout, named.name.clone(), named.tag.clone(), id).await?;
        }
    }
    Ok(())
}

async fn forget(layout: &Layout, id: Digest) -> Result<(), Error> {
    change(layout, |images| images.retain(|known| known.id != id)).await
}

async fn change(layout: &Layout, edit: impl FnOnce(&mut Vec<LoadedImage>)) -> Result<(), Error> {
    let _held = brief_lock(&layout.loaded_images_lock(), "take note of an image").await?;
    let path = layout.loaded_images();
    let before = loaded(layout)?;
    let mut after = before.clone();
    edit(&mut after.images);
    if after == before {
        return Ok(());
    }
    if after.images.is_empty() {
        return std::fs::remove_file(&path).map_err(Error::file("remove", &path));
    }
    let bytes = serde_json::to_vec_pretty(&after).map_err(|error| Error::File {
        act: "write",
        path: path.clone(),
        source: std::io::Error::other(error),
    })?;
    file::write_atomic(&path, &bytes, 0o600).map_err(Error::file("write", &path))
}

/// Removes the images that were loaded here and that only `leaving` uses, or nobody. Returns which went, and which of the leaving
/// customer's stay and why.
pub(crate) async fn remove(
    layout: &Layout,
    leaving: &Slug,
    planned: &[Image],
    engine: &Engine,
) -> Result<(Vec<String>, Vec<LeftImage>), Error> {
    let used = used(layout, Some(leaving))?;
    let ours = loaded(layout)?.images;
    let (mut removed, mut left) = (Vec::new(), Vec::new());
    for image in &ours {
        let name = format!("{}:{}", image.name, image.tag);
        if let Some((user, _)) = used.iter().find(|(_, images)| uses(images.as_deref(), image.id)) {
            left.push(LeftImage { image: name, why: format!("`{user}` uses it") });
            continue;
        }
        match engine.remove_image(&image.id.to_string()).await.map_err(Error::Stack)? {
            Removal::Used => {
                left.push(LeftImage { image: name, why: "something else on the engine uses it".to_owned() })
            }
            gone => {
                forget(layout, image.id).await?;
                removed.extend((gone == Removal::Done).then_some(name));
            }
        }
    }
    for image in planned.iter().filter(|image| ours.iter().all(|known| known.id != image.id)) {
        if engine.knows(&image.id).await.map_err(Error::Stack)? {
            let why = "it was on the engine before".to_owned();
            left.push(LeftImage { image: format!("{}:{}", image.name, image.tag), why });
        }
    }
    Ok((removed, left))
}

/// Removes the images before the previous one: that one is the way back, as with the binary's versions. Only such as were loaded
/// here and no customer's plan names.
pub(crate) async fn prune(layout: &Layout, engine: &Engine) -> Result<(), Error> {
    let used = used(layout, None)?;
    for id in outdated(&loaded(layout)?.images, |id| used.iter().any(|(_, images)| uses(images.as_deref(), id))) {
        if engine.remove_image(&id.to_string()).await.map_err(Error::Stack)? != Removal::Used {
            forget(layout, id).await?;
        }
    }
    Ok(())
}

/// Of each name, everything unused but the newest.
fn outdated(images: &[LoadedImage], is_used: impl Fn(Digest) -> bool) -> Vec<Digest> {
    let unused: Vec<_> = images.iter().filter(|image| !is_used(image.id)).collect();
    let is_newest = |at: usize| unused[at + 1..].iter().all(|later| later.name != unused[at].name);
    (0..unused.len()).filter(|at| !is_newest(*at)).map(|at| unused[at].id).collect()
}

/// A customer and the images its plan names; nothing for a plan that cannot be read.
type Use = (Slug, Option<Vec<Digest>>);

/// The images each customer's plan names, without those of `without`.
fn used(layout: &Layout, without: Option<&Slug>) -> Result<Vec<Use>, Error> {
    let others = installed(layout)?.into_iter().filter(|slug| Some(slug) != without);
    let images = |slug: &Slug| match read_plan(&layout.customer(slug)) {
        Ok(plan) => Some(plan.iter().flat_map(|plan| plan.images()).map(|image| image.id).collect()),
        Err(_) => None,
    };
    Ok(others.map(|slug| (slug.clone(), images(&slug))).collect())
}

/// A plan that cannot be read may need any image.
fn uses(images: Option<&[Digest]>, id: Digest) -> bool {
    images.is_none_or(|images| images.contains(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, content: &str) -> Image {
        let id = Digest::of(content.as_bytes());
        Image { name: name.into(), tag: "1".into(), id, size_bytes: 1, unpacked_bytes: 1 }
    }

    #[tokio::test]
    async fn what_was_loaded_is_remembered_once_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        std::fs::create_dir_all(layout.var()).unwrap();
        let (a, b) = (image("0711/platform", "a"), image("0711/platform", "b"));
        for image in [&a, &b, &a] {
            remember(&layout, image.name.clone(), image.tag.clone(), image.id).await.unwrap();
        }
        let ids = |layout| loaded(layout).unwrap().images.iter().map(|image| image.id).collect::<Vec<_>>();
        assert_eq!(ids(&layout), [b.id, a.id], "the newest is the last");
        forget(&layout, a.id).await.unwrap();
        forget(&layout, b.id).await.unwrap();
        assert!(ids(&layout).is_empty() && !layout.loaded_images().exists());
    }

    #[test]
    fn the_one_before_stays_and_older_ones_go() {
        let all: Vec<_> = ["a", "b", "c", "d"]
            .map(|content| image("0711/platform", content))
            .into_iter()
            .chain([image("vllm", "v")])
            .map(|image| LoadedImage { name: image.name, tag: image.tag, id: image.id })
            .collect();
        let now = Digest::of(b"d");
        assert_eq!(outdated(&all, |id| id == now), [Digest::of(b"a"), Digest::of(b"b")]);
        assert_eq!(outdated(&all[..1], |_| false), []);
    }

    #[test]
    fn a_plan_that_cannot_be_read_may_need_anything() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        std::fs::create_dir_all(layout.etc()).unwrap();
        let slots = "{\"format\":1,\"slots\":{\"a\":{\"port_base\":5100},\"b\":{\"port_base\":5200},\"c\":{\"port_base\":5300}}}";
        std::fs::write(layout.slots_file(), slots).unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|slug| Slug::parse(slug).unwrap());
        let damaged = layout.customer(&b).plan();
        std::fs::create_dir_all(damaged.parent().unwrap()).unwrap();
        std::fs::write(damaged, "{").unwrap();
        let id = Digest::of(b"image");
        let found = used(&layout, Some(&a)).unwrap();
        let users: Vec<_> =
            found.iter().filter(|(_, images)| uses(images.as_deref(), id)).map(|(slug, _)| slug).collect();
        assert_eq!(users, [&b], "{c} has no plan");
    }
}
