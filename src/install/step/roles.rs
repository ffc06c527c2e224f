//! Waits until the agent has every role ready.

use std::time::{Duration, Instant};

use base::Role;
use base::job::Progress;
use plan::journal::Evidence;
use stack::RoleState;

use super::World;
use super::job::config;
use crate::Error;
use crate::act::{Probe, Report};
use crate::control::{Client, Command, RoleStatus};

/// Beyond what a role may be silent while it starts: the agent tries it again by then, or says that a person is needed.
const MARGIN: Duration = Duration::from_secs(120);
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

/// When a role that starts last showed progress, by what the agent sees: one that loads a large model may take its time.
fn last_moved(found: &[RoleStatus], now: Instant) -> Option<Instant> {
    let silent = found.iter().filter_map(|status| status.silent_seconds).min()?;
    now.checked_sub(Duration::from_secs(silent))
}

pub(super) async fn apply(world: &World<'_>, roles: &[Role], report: Report<'_>) -> Result<Evidence, Error> {
    let client = Client::new(world.layout);
    let slug = world.plan.slug();
    let command = Command { customer: Some(slug.clone()), role: None };
    let agent = |source: stack::http::CallError| Error::Agent { source: source.into() };
    let mut status = client.start(&command).await.map_err(agent)?;
    let (mut most, mut since) = (0, Instant::now());
    let config = config(world);
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
        since = since.max(last_moved(found, Instant::now()).unwrap_or(since));
        let role = waiting.map_or(Role::Console, |status| status.role);
        let patience = MARGIN + config.map_or(Duration::ZERO, |config| stack::start_patience(role, config));
        if since.elapsed() > patience {
            let last = waiting.and_then(|status| status.last_error.clone());
            let problem = customer.and_then(|customer| customer.problem.clone());
            let reason = problem.or(last).unwrap_or_else(|| format!("nothing changed for {} s", patience.as_secs()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_that_still_moves_is_waited_for() {
        let status = |silent_seconds| RoleStatus {
            role: Role::Llm,
            state: RoleState::Starting,
            pid: Some(1),
            port: 5160,
            resident_bytes: None,
            started: None,
            restarts: 0,
            silent_seconds,
            last_error: None,
            is_current: true,
            work: None,
            held: None,
        };
        let now = Instant::now();
        let ago = |found: &[RoleStatus]| last_moved(found, now).map(|moved| now.duration_since(moved).as_secs());
        assert_eq!(ago(&[status(Some(40)), status(Some(7)), status(None)]), Some(7));
        assert_eq!(ago(&[status(None)]), None, "what does not start says nothing");
    }
}
