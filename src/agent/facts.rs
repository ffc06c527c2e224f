//! What the agent reports and does not own: read from small files, or asked of the lake.

use std::path::Path;
use std::time::Duration;

use base::{CustomerLayout, Role, Secret, Timestamp, file};
use install::control::LicenseStatus;
use license::{Seen, Standing};
use serde::Deserialize;
use stack::Runtime;
use stack::http::{Ask, call_json};

/// Reads the license in place and says how it stands, taking note of the time: it is the agent that notices a clock set
/// back on a machine nobody logs in to.
pub(crate) fn license(layout: &CustomerLayout, now: Timestamp) -> Known {
    // A damaged or unwritable note must not take the license away: the clock alone then governs.
    standing(layout, now, |path| Seen::note(path, now).unwrap_or(Seen::nothing()))
}

/// As [`license`], without taking note of anything.
pub(crate) fn license_seen(layout: &CustomerLayout, now: Timestamp) -> Known {
    standing(layout, now, |path| Seen::load(path).unwrap_or(Seen::nothing()))
}

fn standing(layout: &CustomerLayout, now: Timestamp, seen: impl FnOnce(&Path) -> Seen) -> Known {
    let unreadable = |why: String| {
        let status = LicenseStatus { id: None, standing: why, allows_change: false };
        Known { status, urgency: Urgency::Over, expires: None }
    };
    let roots = match license::embedded_roots() {
        Ok(roots) => roots,
        Err(error) => return unreadable(error.to_string()),
    };
    match license::load_installed(&layout.license(), &roots) {
        Ok(entitlement) => {
            let standing = entitlement.standing(now, &seen(&layout.seen()));
            let status = LicenseStatus {
                id: Some(entitlement.license_id().to_owned()),
                standing: standing.to_string(),
                allows_change: standing.allows_change(),
            };
            Known { status, urgency: Urgency::of(standing), expires: Some(entitlement.expires()) }
        }
        Err(error) => unreadable(error.to_string()),
    }
}

/// What is known of a license.
pub(crate) struct Known {
    pub(crate) status: LicenseStatus,
    pub(crate) urgency: Urgency,
    pub(crate) expires: Option<Timestamp>,
}

/// How urgent it is to have another license. Each step is told once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    #[default]
    None,
    Month,
    Week,
    Day,
    Grace,
    Over,
}

impl Urgency {
    fn of(standing: Standing) -> Self {
        match standing {
            Standing::Valid => Self::None,
            Standing::Warning { days: ..=1 } => Self::Day,
            Standing::Warning { days: ..=7 } => Self::Week,
            Standing::Warning { .. } => Self::Month,
            Standing::Grace { .. } => Self::Grace,
            Standing::NotYet | Standing::Expired => Self::Over,
        }
    }
}

/// The part of the trainer's `registry.json` that is reported.
#[derive(Deserialize)]
struct Registry {
    promoted: Option<String>,
}

const REGISTRY_BYTES_MAX: u64 = 1 << 20;

/// Returns the adapter that answers; none where nothing is promoted, or nothing can be read.
pub(crate) fn adapter(layout: &CustomerLayout) -> Option<String> {
    let bytes = file::read_bounded(&layout.loras().join("registry.json"), REGISTRY_BYTES_MAX).ok()?;
    serde_json::from_slice::<Registry>(&bytes).ok()?.promoted
}

#[derive(Deserialize)]
struct LakeReply {
    value: LakeStats,
}

#[derive(Deserialize)]
struct LakeStats {
    documents: u64,
}

/// Asks the lake how many documents it has.
pub(crate) async fn documents(layout: CustomerLayout, runtime: &Runtime) -> Option<u64> {
    let token = Secret::read(&layout.token()).ok()?;
    let ask = Ask { token: Some(&token), deadline: Duration::from_secs(5), ..Ask::new("GET", "/v1/stats") };
    let reply: LakeReply = call_json(&runtime.endpoint(Role::Lake).await.ok()?, ask).await.ok()?;
    Some(reply.value.documents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_license_becomes_more_urgent_step_by_step() {
        let warnings = [30, 8, 7, 2, 1].map(|days| Urgency::of(Standing::Warning { days }));
        assert_eq!(warnings, [Urgency::Month, Urgency::Month, Urgency::Week, Urgency::Week, Urgency::Day]);
        let steps = [Standing::Valid, Standing::Warning { days: 1 }, Standing::Grace { days: 9 }, Standing::Expired];
        assert!(steps.map(Urgency::of).is_sorted());
    }
}
