use std::time::{Duration, Instant, SystemTime};

use base::{Layout, Role};
use install::control::{CustomerStatus, LicenseStatus, RoleStatus};
use stack::{RoleState, Runtime};

use super::Customer;
use crate::facts;

/// How often the clock is taken note of, and the standing computed anew.
const LICENSE_EVERY: Duration = Duration::from_secs(600);

/// A license's standing, and what it was computed from.
pub(super) struct KnownLicense {
    at: Instant,
    modified: Option<SystemTime>,
    status: LicenseStatus,
}

impl Customer {
    /// Looks at the license when it is another file than before, or enough time has passed.
    pub(super) fn refresh_license(&mut self) {
        let modified = std::fs::metadata(self.layout.license()).and_then(|metadata| metadata.modified()).ok();
        let is_known = |known: &KnownLicense| known.modified == modified && known.at.elapsed() < LICENSE_EVERY;
        if !self.license.as_ref().is_some_and(is_known) {
            let status = facts::license(&self.layout, self.clock.now());
            self.license = Some(KnownLicense { at: Instant::now(), modified, status });
        }
    }

    pub(crate) fn status(&mut self, layout: &Layout) -> CustomerStatus {
        self.refresh_license();
        self.drift.refresh(&self.layout);
        let license = self.license.as_ref().map(|known| known.status.clone());
        let lake_is_ready = self.roles.get(&Role::Lake).is_some_and(|lake| lake.state == RoleState::Ready);
        let runtime = self.runtime.as_ref();
        let has_compose_file = runtime.is_some_and(|runtime| runtime.config().containers.is_some());
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        CustomerStatus {
            slug: self.slug.clone(),
            name: runtime.map(|runtime| runtime.config().customer_name.clone()).unwrap_or_default(),
            version: install::read_receipt(&self.layout).ok().flatten().map(|receipt| receipt.version),
            is_wanted: self.is_wanted,
            license: license.unwrap_or(LicenseStatus {
                id: None,
                standing: "unknown".to_owned(),
                allows_change: false,
            }),
            roles: runtime.map(|runtime| self.roles(runtime)).unwrap_or_default(),
            adapter: facts::adapter(&self.layout),
            documents: self.documents.filter(|_| lake_is_ready),
            disk_free_bytes: host::disk(&layout.var()).ok().map(|disk| disk.free_bytes),
            console_url: runtime.map(|runtime| url(runtime.config().port(Role::Console))).unwrap_or_default(),
            api_url: runtime.map(|runtime| url(runtime.config().api_port()) + "/v1").unwrap_or_default(),
            problem: self.problem.clone(),
            changes: has_compose_file.then(|| stack::docker::changes(&self.layout)).flatten(),
            drift: self.drift.text().map(str::to_owned),
        }
    }

    fn roles(&self, runtime: &Runtime) -> Vec<RoleStatus> {
        let status = |role: &Role| {
            let known = self.roles.get(role)?;
            let pid = known.record.as_ref().map(|record| record.identity.pid);
            Some(RoleStatus {
                role: *role,
                state: known.state.clone(),
                pid,
                port: runtime.config().port(*role),
                resident_bytes: pid.and_then(stack::resident_bytes),
                started: known.record.as_ref().map(|record| record.started),
                restarts: known.restarts,
                last_error: known.last_error.clone(),
                silent_seconds: known.silent_for().map(|silent| silent.as_secs()),
                is_current: known.record.as_ref().is_some_and(|record| runtime.is_current(record)),
            })
        };
        Role::ALL.iter().filter_map(status).collect()
    }
}
