//! Waits until the agent has every role ready.

use std::time::{Duration, Instant};

use base::Role;
use base::job::Progress;
use plan::journal::Evidence;
use stack::RoleState;

use super::World;
use crate::Error;
use crate::act::{Probe, Report};
use crate::control::{Client, Command, RoleStatus};

/// How long nothing may change before waiting is given up: loading a model from a cold disk takes long, but something
/// becomes ready meanwhile.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) async fn probe(world: &World<'_>, roles: &[Role]) -> Result<Probe, Error> {
    let Ok(status) = Client::new(world.layout).status().await else { return Ok(Probe::Missing) };
    let slug = world.plan.slug();
    let found = status.customers.into_iter().find(|customer| customer.slug == *slug).map(|customer| customer.roles);
    let ready = ready(&found.unwrap_or_default(), roles);
    Ok(if ready == roles.len() { Probe::Holds(Evidence::default()) } else { Probe::Missing })
}

fn ready(found: &[RoleStatus], wanted: &[Role]) -> usize {
    found
        .iter()
        .filter(|status| wanted.contains(&status.role) && status.is_current && status.state == RoleState::Ready)
        .count()
}

pub(super) async fn apply(world: &World<'_>, roles: &[Role], report: Report<'_>) -> Result<Evidence, Error> {
    let client = Client::new(world.layout);
    let slug = world.plan.slug();
    let command = Command { customer: Some(slug.clone()), role: None };
    let agent = |source: stack::http::CallError| Error::Agent { source: source.into() };
    let mut status = client.start(&command).await.map_err(agent)?;
    let (mut most, mut since) = (0, Instant::now());
    loop {
        let customer = status.customers.iter().find(|customer| customer.slug == *slug);
        let found = customer.map(|customer| customer.roles.as_slice()).unwrap_or_default();
        let ready = ready(found, roles);
        if ready == roles.len() {
            return Ok(Evidence::default());
        }
        let waiting = found.iter().find(|status| status.state != RoleState::Ready || !status.is_current);
        if let Some(RoleStatus { role, state: RoleState::NeedsAPerson { reason }, .. }) = waiting {
            return Err(Error::RoleNotReady { role: *role, reason: reason.clone() });
        }
        if ready > most {
            (most, since) = (ready, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            let role = waiting.map_or(Role::Console, |status| status.role);
            let last = waiting.and_then(|status| status.last_error.clone());
            let problem = customer.and_then(|customer| customer.problem.clone());
            let reason = problem.or(last).unwrap_or_else(|| format!("nothing changed for {} s", PATIENCE.as_secs()));
            return Err(Error::RoleNotReady { role, reason });
        }
        report(Progress {
            done: ready as u64,
            total: roles.len() as u64,
            unit: "services".to_owned(),
            note: waiting.map(|status| status.role.to_string()).unwrap_or_default(),
            eta_seconds: None,
        });
        tokio::time::sleep(LOOK_EVERY).await;
        status = client.status().await.map_err(agent)?;
    }
}
