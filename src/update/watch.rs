//! Whether a release serves: asked of the agent again and again, and how long the console was away meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base::{Layout, Role, Slug};
use install::control::{Client, CustomerStatus};
use stack::http::Endpoint;
use stack::{Readiness, RoleState};

use crate::Error;

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A service may be away this long (a restart the agent mends); longer is worse than before.
const AWAY_PATIENCE: Duration = Duration::from_secs(45);
/// Ends that nobody asked for, of one service, while it is watched.
const RESTARTS_MAX: u32 = 1;

/// Watches a customer's services for `minutes`.
///
/// # Errors
/// [`Error::NotServing`] as soon as one does not come back, or ends again and again.
pub(crate) async fn watch(layout: &Layout, slug: &Slug, minutes: u32) -> Result<(), Error> {
    let until = Instant::now() + Duration::from_secs(60) * minutes;
    let client = Client::new(layout);
    let mut at_first: Option<Vec<(Role, u32)>> = None;
    let mut away: Option<(Instant, String)> = None;
    loop {
        let status = client.status().await;
        let customer = status.ok().and_then(|status| status.customers.into_iter().find(|found| found.slug == *slug));
        let lack = match &customer {
            None => Some("the agent does not answer".to_owned()),
            Some(customer) => {
                let first = at_first.get_or_insert_with(|| restarts(customer));
                if let Some((role, _)) = restarts(customer).into_iter().find(|(role, count)| {
                    let before = first.iter().find(|(known, _)| known == role).map_or(0, |(_, count)| *count);
                    *count > before + RESTARTS_MAX
                }) {
                    let reason = format!("`{role}` ended again and again ({})", last_error(customer, role));
                    return Err(Error::NotServing { slug: slug.clone(), reason });
                }
                not_ready(customer)
            }
        };
        match lack {
            None => away = None,
            Some(lack) => {
                let (since, first) = away.get_or_insert_with(|| (Instant::now(), lack.clone()));
                if since.elapsed() > AWAY_PATIENCE {
                    let reason = format!("{lack}; for {} s: {first}", since.elapsed().as_secs());
                    return Err(Error::NotServing { slug: slug.clone(), reason });
                }
            }
        }
        // A watch does not end while something is away.
        if Instant::now() >= until && away.is_none() {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn restarts(customer: &CustomerStatus) -> Vec<(Role, u32)> {
    customer.roles.iter().map(|status| (status.role, status.restarts)).collect()
}

fn last_error(customer: &CustomerStatus, role: Role) -> String {
    let found = customer.roles.iter().find(|status| status.role == role);
    found.and_then(|status| status.last_error.clone()).unwrap_or_default()
}

fn not_ready(customer: &CustomerStatus) -> Option<String> {
    if customer.roles.len() < Role::ALL.len() {
        return Some(customer.problem.clone().unwrap_or_else(|| "not every service is there".to_owned()));
    }
    let status = customer.roles.iter().find(|status| status.state != RoleState::Ready)?;
    Some(format!("`{}` is not ready {}", status.role, status.last_error.clone().unwrap_or_default()))
}

/// Measures how long a console does not answer.
pub(crate) struct Downtime {
    away_ms: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

const ASK_EVERY: Duration = Duration::from_millis(100);
const ASK_PATIENCE: Duration = Duration::from_secs(2);

impl Downtime {
    /// Begins to ask the console at `port` of this machine ten times a second.
    pub(crate) fn begin(port: u16) -> Self {
        let meter = Self { away_ms: Arc::default(), ends: Arc::default() };
        let (away_ms, ends) = (Arc::clone(&meter.away_ms), Arc::clone(&meter.ends));
        tokio::spawn(async move {
            let endpoint = Endpoint::loopback(port);
            let mut since: Option<Instant> = None;
            while !ends.load(Ordering::Relaxed) {
                let is_there = stack::probe(&endpoint, ASK_PATIENCE).await == Readiness::Ready;
                match (is_there, since) {
                    (false, None) => since = Some(Instant::now()),
                    (true, Some(begun)) => {
                        away_ms.fetch_add(
                            u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
                            Ordering::Relaxed,
                        );
                        since = None;
                    }
                    _ => {}
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
        });
        meter
    }

    /// Returns how long it did not answer, in milliseconds, of every time it came back.
    pub(crate) fn away_ms(&self) -> u64 {
        self.away_ms.load(Ordering::Relaxed)
    }
}

impl Drop for Downtime {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}
