//! What the agent reports and does not own: read from small files, or asked of the lake.

use std::time::Duration;

use base::{CustomerLayout, Role, Secret, Timestamp, file};
use install::control::LicenseStatus;
use license::Seen;
use serde::Deserialize;
use stack::Runtime;
use stack::http::{Ask, call_json};

/// Reads the license in place and says how it stands, taking note of the time: it is the agent that notices a clock set
/// back on a machine nobody logs in to.
pub(crate) fn license(layout: &CustomerLayout, now: Timestamp) -> LicenseStatus {
    let unreadable = |why: String| LicenseStatus { id: None, standing: why, allows_change: false };
    let roots = match license::embedded_roots() {
        Ok(roots) => roots,
        Err(error) => return unreadable(error.to_string()),
    };
    match license::load_installed(&layout.license(), &roots) {
        Ok(entitlement) => {
            // A damaged or unwritable note must not take the license away: the clock alone then governs.
            let seen = Seen::note(&layout.seen(), now).unwrap_or(Seen::nothing());
            let standing = entitlement.standing(now, &seen);
            LicenseStatus {
                id: Some(entitlement.license_id().to_owned()),
                standing: standing.to_string(),
                allows_change: standing.allows_change(),
            }
        }
        Err(error) => unreadable(error.to_string()),
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
