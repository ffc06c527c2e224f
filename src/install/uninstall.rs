use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use audit::{Act, Log, Outcome};
use base::file::{self, Lock, LockError};
use base::{CustomerLayout, Layout, Role, Slug, generated};
use plan::{Step, StepId};
use serde::Serialize;
use stack::docker::{Engine, Rules, Turn};

use crate::control::older_part;
use crate::record::{ended, entry, record};
use crate::step::{end_agent, release_slot, systemctl};
use crate::stop::stop_roles;
use crate::unit::UNIT_NAME;
use crate::{Error, LeftImage, images, installed};

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
    /// Images that stay on the engine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_on_engine: Vec<LeftImage>,
    /// Tables of the packet filter that were removed; they only counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed_tables: Vec<String>,
}

/// Stops a customer's services and removes what was made for them.
///
/// Tables, adapters, license, answers and the administrator's own changes to generated files stay, unless `purge` says
/// otherwise. Data folders are never touched. What other customers of the installation use stays. Doing it twice, or again after it was interrupted, is the same as once.
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
    let act = || entry(Act::Uninstall).object(slug.as_str()).detail(if purge { "with its data" } else { "data kept" });
    record(Log::customer(&customer), act().outcome(Outcome::Begun)).await;
    let removed = remove_all(layout, &customer, purge, &mut done).await;
    // A log that went with the data is not begun again.
    let logs = [Log::customer(&customer), Log::host(layout)];
    for log in logs.into_iter().filter(|log| log.exists()) {
        record(log, ended(act(), &removed)).await;
    }
    removed?;
    drop(lock);
    remove_empty(layout, &customer, &mut done);
    done.left = left(layout, &customer);
    Ok(done)
}

async fn remove_all(
    layout: &Layout,
    customer: &CustomerLayout,
    purge: bool,
    done: &mut Uninstalled,
) -> Result<(), Error> {
    let slug = customer.slug();
    stop_roles(layout, customer).await?;
    remove_from_engine(layout, customer, done).await?;
    let unfinished = file::unfinished(&customer.deployment());
    for path in generated(customer).into_iter().chain(unfinished) {
        remove(&path, done)?;
    }
    if purge {
        for path in kept(customer) {
            remove(&path, done)?;
        }
        release_slot(layout, slug).await?;
    }
    if !others(layout, slug)? {
        remove_shared(layout, done).await?;
        if purge {
            for path in [layout.release_seen(), layout.audit(), layout.audit_head()] {
                remove(&path, done)?;
            }
        }
    }
    remove(&customer.install_lock(), done)
}

/// Removes the customer's containers and networks, and the images that were loaded here and nobody else uses. What the plan on
/// disk does not name, or has not our label, is somebody else's.
async fn remove_from_engine(layout: &Layout, customer: &CustomerLayout, done: &mut Uninstalled) -> Result<(), Error> {
    // A damaged plan must not keep anybody from uninstalling: the configuration names the project too.
    let plan = crate::read_plan(customer).ok().flatten();
    let planned = plan.as_ref().and_then(|plan| match plan.step(StepId::Containers) {
        Some(Step::Containers { project, .. }) => Some(project.clone()),
        _ => None,
    });
    let configured = || Some(stack::service_config(customer).ok()?.containers?.project);
    let Some(project) = planned.or_else(configured) else { return Ok(()) };
    // What an install that was killed has left at work would make containers after we removed them.
    let _turn = Turn::take(customer).await.map_err(Error::Stack)?;
    let engine = Engine::connect().await.map_err(Error::Stack)?;
    let made = engine.made(&project, customer.slug().as_str()).await.map_err(Error::Stack)?;
    engine.remove(&made).await.map_err(Error::Stack)?;
    engine.remove_leftovers().await.map_err(Error::Stack)?;
    let rules = Rules::of(&project);
    if rules.remove().await.map_err(Error::Stack)? {
        done.removed_tables.push(rules.table());
    }
    done.removed_from_engine = made.containers.into_iter().chain(made.networks).collect();
    let planned = plan.as_ref().map(plan::Plan::images).unwrap_or_default();
    let (removed, left) = images::remove(layout, customer.slug(), planned, &engine).await?;
    done.removed_from_engine.extend(removed);
    done.left_on_engine = left;
    Ok(())
}

/// What all customers of the installation use; the link to the binary and the systemd unit are removed with care, and apart.
pub(crate) fn shared(layout: &Layout) -> Vec<PathBuf> {
    vec![
        layout.bin_dir().join("versions"),
        layout.models(),
        // Not their folder: the audit log beside them stays.
        layout.agent_log_dir(),
        layout.agent_events(),
        older_part(&layout.agent_events()),
        layout.agent_fingerprint(),
        layout.agent_socket(),
        layout.agent_record(),
        layout.agent_lock(),
        layout.slots_lock(),
        layout.update_settings(),
        layout.update_state(),
        layout.update_history(),
        layout.update_lock(),
        layout.update_staging(),
        layout.update_rehearsal(),
        layout.update_programs(),
        layout.loaded_images_lock(),
        // What is still in it is used by containers of others, who keep it.
        layout.loaded_images(),
    ]
}

/// What can be made again from license, answers and data.
pub(crate) fn generated(customer: &CustomerLayout) -> Vec<PathBuf> {
    vec![
        customer.run_dir(),
        customer.receipt(),
        customer.journal(),
        customer.plan(),
        customer.compose(),
        customer.applied(),
        customer.config(),
        customer.secrets(),
        customer.egress(),
        customer.train_dir(),
        // A finished ingestion must not pass for one of the next installation; a finished training may.
        customer.jobs_dir(Role::Ingest),
        customer.logs(),
        customer.probes(),
        older_part(&customer.probes()),
    ]
}

/// What was learned, what it takes to begin again, and what the administrator wrote beside our files.
pub(crate) fn kept(customer: &CustomerLayout) -> Vec<PathBuf> {
    let mut all = vec![
        customer.lakehouse(),
        customer.loras(),
        customer.ingest_state(),
        customer.jobs_dir(Role::Trainer),
        // What an update set aside is in nothing else.
        customer.update_snapshot(),
        customer.golden_questions(),
        customer.seen(),
        customer.audit(),
        customer.audit_head_dir(),
        // Nothing but who logged in is kept there.
        customer.console_state(),
        customer.former(),
        customer.backup_state(),
        customer.backup_keys(),
        customer.backup_schedule(),
        customer.handler_settings(),
        customer.handler_calls(),
        customer.license(),
        customer.answers(),
        customer.compose_override(),
        customer.compose_env(),
    ];
    all.extend(generated::kept_edits(&customer.deployment()));
    all
}

/// Another customer is installed as long as it has a configuration.
fn others(layout: &Layout, slug: &Slug) -> Result<bool, Error> {
    Ok(installed(layout)?.iter().any(|other| other != slug && layout.customer(other).config().exists()))
}

async fn remove_shared(layout: &Layout, done: &mut Uninstalled) -> Result<(), Error> {
    if let Some(unit) = layout.agent_unit().filter(|unit| unit.exists()) {
        systemctl(&["disable", "--now", UNIT_NAME]).await?;
        remove(&unit, done)?;
        if let Some(unit) = layout.update_unit() {
            remove(&unit, done)?;
        }
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
        customer.deployment(),
        customer.dir().to_owned(),
        customer.etc().to_owned(),
        agent,
        parent(customer.update_snapshot()),
        layout.update(),
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
    // The administrator's own files beside ours are named one by one.
    let deployment = customer.deployment();
    let mut left: Vec<PathBuf> = [customer.dir(), customer.etc(), &deployment]
        .into_iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| *path != deployment)
        .collect();
    left.extend(
        [
            layout.slots_file(),
            layout.models(),
            layout.bin_dir(),
            layout.release_seen(),
            layout.audit(),
            layout.audit_head(),
        ]
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
            if folder.extension().is_none() && ![customer.license(), customer.compose_env()].contains(folder) {
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
            customer.compose(),
            customer.config(),
            customer.compose_override(),
            customer.deployment().join(".new-a1b2c3"),
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
        let edited = "var/eaton/deployment/config.edited-01234567.yaml";
        let (layout, slug) = made(dir.path(), &[edited]);
        let customer = layout.customer(&slug);
        let were_there: Vec<_> = kept(&customer).into_iter().filter(|path| path.exists()).collect();
        assert!(were_there.contains(&customer.lakehouse()) && were_there.contains(&customer.compose_override()));
        let done = uninstall(&layout, &slug, false).await.unwrap();
        for path in were_there {
            assert!(path.exists(), "{path:?} is gone");
        }
        for path in generated(&customer) {
            assert!(!path.exists(), "{path:?} is still there");
        }
        for path in [customer.lakehouse(), layout.slots_file(), customer.compose_override(), dir.path().join(edited)] {
            assert!(done.left.contains(&path), "{path:?} is not in {:?}", done.left);
        }
        assert_eq!(walk(&customer.deployment()).len(), 2, "only what is the administrator's");
        let again = uninstall(&layout, &slug, false).await.unwrap();
        assert_eq!(again.left, done.left);
    }

    #[tokio::test]
    async fn purge_leaves_nothing_but_what_others_made() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, slug) = made(
            dir.path(),
            &["var/eaton/notes.txt", "bin/tool", "readme.txt", "var/eaton/deployment/config.edited-01234567.yaml"],
        );
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
