//! What going back takes: proven before anything is stopped, used when the new release is worse.

use std::time::Duration;

use base::{Digest, Layout, Slug};
use install::control::{Client, Command};
use stack::docker::Engine;

use crate::program::Program;
use crate::snapshot::Snapshot;
use crate::{Attempt, Error};

const CHILD_PATIENCE: Duration = Duration::from_secs(20);

/// Proves that what runs could be put back: its program, byte for byte, and its images.
///
/// # Errors
/// [`Error::NoWayBack`] with what is missing.
pub(crate) async fn prove(layout: &Layout, attempt: &Attempt) -> Result<(), Error> {
    let lacks = |lack: String| Error::NoWayBack { version: attempt.from.to_string(), lack };
    for customer in &attempt.customers {
        let paths = layout.customer(&customer.slug);
        let receipt = install::read_receipt(&paths).map_err(Error::Install)?;
        let receipt = receipt.ok_or_else(|| lacks(format!("{} is not installed to its end", customer.slug)))?;
        let digest = Digest::of_file(&attempt.old_program)
            .map_err(|error| lacks(format!("its program `{}`: {error}", attempt.old_program.display())))?;
        if digest != receipt.binary {
            return Err(lacks(format!("`{}` is not its program any more", attempt.old_program.display())));
        }
        let plan = install::read_plan(&paths).map_err(Error::Install)?.ok_or(Error::NothingInstalled)?;
        if plan.digest() != receipt.plan {
            return Err(lacks(format!("the plan of {} is another one than what was installed", customer.slug)));
        }
        if plan.images().is_empty() {
            continue;
        }
        let engine = Engine::connect().await.map_err(|error| lacks(error.to_string()))?;
        for image in plan.images() {
            if !engine.knows(&image.id).await.map_err(|error| lacks(error.to_string()))? {
                return Err(lacks(format!("the engine does not have its image {}:{} any more", image.name, image.tag)));
            }
        }
    }
    Ok(())
}

/// Puts the old release back for every customer. Interrupted and done again, it ends the same.
pub(crate) async fn go(layout: &Layout, attempt: &Attempt) -> Result<(), Error> {
    // A program that still works for the new release would undo what is done here.
    if let Some(child) = &attempt.child {
        stack::stop(child, CHILD_PATIENCE).await.map_err(Error::file("end", "the program at work"))?;
    }
    for customer in &attempt.customers {
        stop(layout, &customer.slug).await?;
        let snapshot = Snapshot::of(layout.customer(&customer.slug));
        // Without one the switch had not begun for this customer: nothing was changed.
        if snapshot.is_whole() {
            snapshot.restore(attempt.changes_data)?;
        }
    }
    let program = Program { path: &attempt.old_program, version: &attempt.from, layout };
    for customer in &attempt.customers {
        program.run(&["--slug", customer.slug.as_str(), "install", "--resume", "--yes", "--json", "--wait"]).await?;
    }
    Ok(())
}

/// Stops a customer's services, with or without an agent to do it.
pub(crate) async fn stop(layout: &Layout, slug: &Slug) -> Result<(), Error> {
    let command = Command { customer: Some(slug.clone()), role: None };
    if Client::new(layout).stop(&command).await.is_ok() {
        return Ok(());
    }
    install::stop_all(layout, slug).await.map_err(Error::Install)
}
