use std::path::{Path, PathBuf};

use base::{Layout, Slug};
use plan::{Step, StepId};
use serde::Serialize;
use stack::docker::{Engine, Made, Rules};
use walkdir::WalkDir;

use crate::uninstall::{generated, kept, shared};
use crate::{Error, images, read_plan};

/// Everything an installation has on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Version of this format: 1.
    pub format: u32,
    /// What there is, in the order of paths.
    pub files: Vec<Trace>,
    /// On the engine, where the services are containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<OnEngine>,
}

/// A file, or a folder with all it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// Where.
    pub path: PathBuf,
    /// On the disk, holes not counted.
    pub bytes: u64,
    /// When it goes.
    pub goes: Goes,
}

/// When something is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goes {
    /// With `0711 uninstall`.
    WithUninstall,
    /// With the last customer that is uninstalled.
    WithLastCustomer,
    /// With `0711 uninstall --purge`.
    WithPurge,
}

/// What the engine holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OnEngine {
    /// Containers and networks that have our label.
    #[serde(flatten)]
    pub made: Made,
    /// `name:tag` of the images that were loaded for this installation; they go with the last customer that uses them.
    pub images: Vec<String>,
    /// Tables of the packet filter, of family `inet`; they only count.
    pub tables: Vec<String>,
}

/// Finds everything that was made for a customer.
///
/// # Errors
/// [`Error::Read`] for a damaged plan, [`Error::Stack`] when an engine that should be asked does not answer.
pub async fn footprint(layout: &Layout, slug: &Slug) -> Result<Footprint, Error> {
    let customer = layout.customer(slug);
    let groups = [
        (Goes::WithUninstall, generated(&customer)),
        (Goes::WithPurge, kept(&customer)),
        (Goes::WithLastCustomer, shared(layout)),
        (Goes::WithPurge, vec![layout.audit(), layout.audit_head()]),
    ];
    let all = groups.into_iter().flat_map(|(goes, paths)| paths.into_iter().map(move |path| (goes, path)));
    let there = all.filter(|(_, path)| std::fs::symlink_metadata(path).is_ok());
    let mut files: Vec<_> = there.map(|(goes, path)| Trace { bytes: bytes(&path), path, goes }).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let plan = read_plan(&customer)?;
    let engine = match plan.as_ref().and_then(|plan| plan.step(StepId::Containers)) {
        Some(Step::Containers { project, .. }) => {
            let engine = Engine::connect().await.map_err(Error::Stack)?;
            let made = engine.made(project, slug.as_str()).await.map_err(Error::Stack)?;
            let mut images = Vec::new();
            for image in images::loaded(layout)?.images {
                if engine.knows(&image.id).await.map_err(Error::Stack)? {
                    images.push(format!("{}:{}", image.name, image.tag));
                }
            }
            let rules = Rules::of(project);
            let tables = if rules.is_there().await { vec![rules.table()] } else { Vec::new() };
            Some(OnEngine { made, images, tables })
        }
        _ => None,
    };
    Ok(Footprint { format: 1, files, engine })
}

fn bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    // What goes while we look, or may not be seen, counts nothing.
    let entries = WalkDir::new(path).follow_links(false).into_iter().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_what_is_there_and_when_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::rooted(dir.path());
        let slug = Slug::parse("eaton").unwrap();
        let customer = layout.customer(&slug);
        std::fs::create_dir_all(customer.lakehouse()).unwrap();
        std::fs::write(customer.lakehouse().join("table"), vec![1; 10_000]).unwrap();
        std::fs::create_dir_all(customer.logs()).unwrap();
        std::fs::create_dir_all(layout.models()).unwrap();
        let found = footprint(&layout, &slug).await.unwrap();
        let goes = |path: PathBuf| found.files.iter().find(|trace| trace.path == path).map(|trace| trace.goes);
        assert_eq!(goes(customer.lakehouse()), Some(Goes::WithPurge));
        assert_eq!(goes(customer.logs()), Some(Goes::WithUninstall));
        assert_eq!(goes(layout.models()), Some(Goes::WithLastCustomer));
        assert_eq!(found.files.len(), 3);
        assert!(found.files.iter().map(|trace| trace.bytes).sum::<u64>() >= 10_000);
        assert_eq!(found.engine, None);
    }
}
