use std::time::Duration;

use audit::{Act, Log};
use base::{Clock, CustomerLayout, Layout, Role, Slug, file};
use stack::{RoleRecord, Runtime};

use crate::control::{Client, Command};
use crate::record::{entry, record};
use crate::step::{end_agent, start_agent, systemctl};
use crate::unit::UNIT_NAME;
use crate::{Error, installed};

const ROLE_PATIENCE: Duration = Duration::from_secs(20);

/// Stops every role of a customer, in reverse start order, with or without an agent to do it, and then the agent, unless
/// it looks after another customer. They stay stopped until somebody starts them.
///
/// # Errors
/// [`Error::Stop`], [`Error::Agent`].
pub async fn stop_all(layout: &Layout, slug: &Slug) -> Result<(), Error> {
    let customer = layout.customer(slug);
    let run_dir = customer.run_dir();
    mark_stopped(&customer, Clock::system()).map_err(Error::file("write in", run_dir))?;
    if !stop_roles(layout, &customer).await? {
        // The agent writes down what it is ordered; here there was none.
        record(Log::customer(&customer), entry(Act::Stop).object("all roles")).await;
    }
    let others = installed(layout)?.into_iter().filter(|other| other != slug);
    if others.into_iter().any(|other| !stack::own_ports(layout, &other).is_empty()) {
        return Ok(());
    }
    if layout.agent_unit().is_some_and(|unit| unit.exists()) {
        systemctl(&["stop", UNIT_NAME]).await?;
    }
    end_agent(layout).await
}

/// Starts the agent when it does not answer; the roles that are wanted follow.
///
/// # Errors
/// [`Error::Agent`], [`Error::Command`].
pub async fn ensure_agent(layout: &Layout) -> Result<(), Error> {
    if Client::new(layout).status().await.is_ok() {
        return Ok(());
    }
    let supervision = match layout.agent_unit() {
        Some(unit) if unit.exists() => plan::Supervision::Systemd,
        _ => plan::Supervision::Detached,
    };
    start_agent(layout, supervision).await
}

/// Takes note that the roles are to stay stopped, for this agent and the next.
///
/// # Errors
/// When the note cannot be written.
pub fn mark_stopped(customer: &CustomerLayout, clock: Clock) -> std::io::Result<()> {
    file::private_dir(&customer.run_dir())?;
    let mark = serde_json::json!({ "format": 1, "at": clock.now() });
    file::write_atomic(&customer.stopped_mark(), mark.to_string().as_bytes(), 0o600)
}

/// The agent is asked first, so that it does not start again what is stopped. Returns whether there was one.
pub(crate) async fn stop_roles(layout: &Layout, customer: &CustomerLayout) -> Result<bool, Error> {
    let slug = customer.slug().clone();
    let asked = Client::new(layout).stop(&Command { customer: Some(slug.clone()), role: None }).await;
    if let Err(error) = &asked {
        tracing::debug!(%error, "no agent to ask; stopping the roles without it");
    }
    if let Ok(runtime) = Runtime::open(layout, &slug, Clock::system()) {
        runtime.stop_all(ROLE_PATIENCE).await.map_err(Error::Stop)?;
    }
    // Without a configuration the records still say what runs.
    for role in Role::ALL.into_iter().rev() {
        if let Some(record) = RoleRecord::read(&customer.role_record(role)).filter(RoleRecord::is_alive) {
            let pid = record.identity.pid;
            let stopped = stack::stop(&record.identity, ROLE_PATIENCE).await;
            stopped.map_err(|source| Error::Stop(stack::Error::Stop { role, pid, source }))?;
        }
    }
    Ok(asked.is_ok())
}
