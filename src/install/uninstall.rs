use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base::file::{Lock, LockError};
use base::{CustomerLayout, Layout, Role, Slug};
use plan::{Step, StepId};
use serde::Serialize;
use stack::docker::Engine;

use crate::step::{end_agent, release_slot, systemctl};
use crate::stop::stop_roles;
use crate::unit::UNIT_NAME;
use crate::{Error, installed};

/// What an uninstallation did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Uninstalled {
    /// Removed files and folders; a folder stands for all it held.
    pub removed: Vec<PathBuf>,
    /// What is still there: kept data, and files 0711 did not make.
    pub left: Vec<PathBuf>,
    /// Containers, networks and images that were removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed_from_engine: Vec<String>,
}

/// Stops a customer's services and removes what was made for them.
///
/// Tables, adapters, license and answers stay, unless `purge` says otherwise. Data folders are never touched. What other
/// customers of the installation use stays. Doing it twice, or again after it was interrupted, is the same as once.
///
/// # Errors
/// [`Error::Locked`] while an install runs, [`Error::Stop`], [`Error::File`].
pub async fn uninstall(layout: &Layout, slug: &Slug, purge: bool) -> Result<Uninstalled, Error> {
    let customer = layout.customer(slug);
    let mut done = Uninstalled::default();
    if !customer.dir().is_dir() && !customer.etc().is_dir() {
        return Ok(done);
    }
    let lock = Lock::try_acquire(&customer.install_lock(), "uninstall").map_err(|error| match error {
        LockError::Held { path, holder } => Error::Locked { path, holder },
        error => Error::Lock(error),
    })?;
    stop_roles(layout, &customer).await?;
    remove_containers(&customer, &mut done).await?;
    for path in generated(&customer) {
        remove(&path, &mut done)?;
    }
    if purge {
        for path in kept(&customer) {
            remove(&path, &mut done)?;
        }
        release_slot(layout, slug).await?;
    }
    if !others(layout, slug)? {
        remove_shared(layout, &mut done).await?;
        if purge {
            remove(&layout.release_seen(), &mut done)?;
        }
    }
    remove(&customer.install_lock(), &mut done)?;
    drop(lock);
    remove_empty(layout, &customer, &mut done);
    done.left = left(layout, &customer);
    Ok(done)
}

/// Removes the customer's containers and networks, and images nobody else uses. What the plan on disk does not name, or has not
/// our label, is somebody else's.
async fn remove_containers(customer: &CustomerLayout, done: &mut Uninstalled) -> Result<(), Error> {
    // A damaged plan must not keep anybody from uninstalling: the configuration names the project too.
    let plan = crate::read_plan(customer).ok().flatten();
    let planned = plan.as_ref().and_then(|plan| match plan.step(StepId::Containers) {
        Some(Step::Containers { project, .. }) => Some(project.clone()),
        _ => None,
    });
    let configured = || Some(stack::service_config(customer).ok()?.containers?.project);
    let Some(project) = planned.or_else(configured) else { return Ok(()) };
    let engine = Engine::connect().await.map_err(Error::Stack)?;
    let made = engine.made(&project, customer.slug().as_str()).await.map_err(Error::Stack)?;
    engine.remove(&made).await.map_err(Error::Stack)?;
    engine.remove_leftovers().await.map_err(Error::Stack)?;
    done.removed_from_engine = made.containers.into_iter().chain(made.networks).collect();
    for image in plan.iter().flat_map(plan::Plan::images) {
        if engine.remove_image(&image.id.to_string()).await.map_err(Error::Stack)? {
            done.removed_from_engine.push(format!("{}:{}", image.name, image.tag));
        }
    }
    Ok(())
}

/// What all customers of the installation use; the link to the binary and the systemd unit are removed with care, and apart.
pub(crate) fn shared(layout: &Layout) -> Vec<PathBuf> {
    vec![
        layout.bin_dir().join("versions"),
        layout.models(),
        layout.agent_log_dir(),
        layout.agent_socket(),
        layout.agent_record(),
        layout.agent_lock(),
        layout.slots_lock(),
    ]
}

/// What can be made again from license, answers and data.
pub(crate) fn generated(customer: &CustomerLayout) -> Vec<PathBuf> {
    vec![
        customer.run_dir(),
        customer.receipt(),
        customer.journal(),
        customer.plan(),
        customer.deployment(),
        customer.console_state(),
        customer.train_dir(),
        // A finished ingestion must not pass for one of the next installation; a finished training may.
        customer.jobs_dir(Role::Ingest),
        customer.logs(),
    ]
}

/// What was learned, and what it takes to begin again.
pub(crate) fn kept(customer: &CustomerLayout) -> Vec<PathBuf> {
    vec![
        customer.lakehouse(),
        customer.loras(),
        customer.ingest_state(),
        customer.jobs_dir(Role::Trainer),
        customer.seen(),
        customer.former(),
        customer.backup_state(),
        customer.backup_keys(),
        customer.backup_schedule(),
        customer.license(),
        customer.answers(),
    ]
}

/// Another customer is installed as long as it has a configuration.
fn others(layout: &Layout, slug: &Slug) -> Result<bool, Error> {
    Ok(installed(layout)?.iter().any(|other| other != slug && layout.customer(other).config().exists()))
}

async fn remove_shared(layout: &Layout, done: &mut Uninstalled) -> Result<(), Error> {
    if let Some(unit) = layout.agent_unit().filter(|unit| unit.exists()) {
        systemctl(&["disable", "--now", UNIT_NAME]).await?;
        remove(&unit, done)?;
        systemctl(&["daemon-reload"]).await?;
    }
    end_agent(layout).await?;
    let is_link = std::fs::symlink_metadata(layout.binary()).is_ok_and(|metadata| metadata.file_type().is_symlink());
    if is_link {
        remove(&layout.binary(), done)?;
    }
    for path in shared(layout) {
        remove(&path, done)?;
    }
    if installed(layout)?.is_empty() {
        remove(&layout.slots_file(), done)?;
    }
    Ok(())
}

/// Removes a file, a link (never what it points to) or a folder with all it holds.
fn remove(path: &Path, done: &mut Uninstalled) -> Result<(), Error> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => {
            done.removed.push(path.to_owned());
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::File { act: "remove", path: path.to_owned(), source }),
    }
}

/// Folders that may hold something of somebody else go only when they are empty, inner ones first.
fn remove_empty(layout: &Layout, customer: &CustomerLayout, done: &mut Uninstalled) {
    let parent = |path: PathBuf| path.parent().map(Path::to_owned).unwrap_or_default();
    let jobs = parent(customer.jobs_dir(Role::Ingest));
    let agent = parent(layout.agent_log_dir());
    let folders = [
        jobs,
        customer.dir().to_owned(),
        customer.etc().to_owned(),
        agent,
        layout.bin_dir(),
        layout.run(),
        layout.etc(),
        layout.var(),
    ];
    for folder in folders {
        if std::fs::remove_dir(&folder).is_ok() {
            done.removed.push(folder);
        }
    }
}

fn left(layout: &Layout, customer: &CustomerLayout) -> Vec<PathBuf> {
    let mut left: Vec<PathBuf> = [customer.dir(), customer.etc()]
        .into_iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .collect();
    left.extend(
        [layout.slots_file(), layout.models(), layout.bin_dir(), layout.release_seen()]
            .into_iter()
            .filter(|path| path.exists()),
    );
    left.sort();
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(root: &Path, foreign: &[&str]) -> (Layout, Slug) {
        let layout = Layout::rooted(root);
        let slug = Slug::parse("eaton").unwrap();
        let customer = layout.customer(&slug);
        for folder in generated(&customer).iter().chain(&kept(&customer)) {
            if folder.extension().is_none() && *folder != customer.license() {
                std::fs::create_dir_all(folder).unwrap();
                std::fs::write(folder.join("x"), "x").unwrap();
            }
        }
        std::fs::create_dir_all(customer.etc()).unwrap();
        for file in [
            customer.license(),
            customer.answers(),
            customer.plan(),
            customer.journal(),
            customer.receipt(),
            layout.slots_file(),
        ] {
            std::fs::write(file, "{\"format\":1,\"slots\":{\"eaton\":{\"number\":0,\"port_base\":5100}}}").unwrap();
        }
        for name in foreign {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "mine").unwrap();
        }
        (layout, slug)
    }

    #[tokio::test]
    async fn data_stays_and_what_was_made_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, slug) = made(dir.path(), &[]);
        let done = uninstall(&layout, &slug, false).await.unwrap();
        let customer = layout.customer(&slug);
        for path in kept(&customer) {
            assert!(path.exists() || path == customer.seen(), "{path:?} is gone");
        }
        for path in generated(&customer) {
            assert!(!path.exists(), "{path:?} is still there");
        }
        assert!(
            done.left.contains(&customer.lakehouse()) && done.left.contains(&layout.slots_file()),
            "{:?}",
            done.left
        );
        let again = uninstall(&layout, &slug, false).await.unwrap();
        assert_eq!(again.left, done.left);
    }

    #[tokio::test]
    async fn purge_leaves_nothing_but_what_others_made() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, slug) = made(dir.path(), &["var/eaton/notes.txt", "bin/tool", "readme.txt"]);
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("data"), "customer's").unwrap();
        std::os::unix::fs::symlink(outside.path(), layout.customer(&slug).lakehouse().join("link")).unwrap();
        uninstall(&layout, &slug, true).await.unwrap();
        let mut found: Vec<_> = walk(dir.path());
        found.sort();
        assert_eq!(found, ["bin/tool", "readme.txt", "var/eaton/notes.txt"]);
        assert!(outside.path().join("data").exists(), "a link was followed");
        std::fs::remove_file(dir.path().join("var/eaton/notes.txt")).unwrap();
        uninstall(&layout, &slug, true).await.unwrap();
        assert!(!layout.var().exists());
    }

    #[tokio::test]
    async fn what_was_never_installed_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let done = uninstall(&Layout::rooted(dir.path()), &Slug::parse("nobody").unwrap(), true).await.unwrap();
        assert_eq!(done, Uninstalled::default());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    fn walk(root: &Path) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    files.push(entry.path().strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        files
    }
}
