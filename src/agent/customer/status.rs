use std::time::{Duration, Instant, SystemTime};

use base::{Board, BoardService, BoardState, Layout, Notice, Role, Timestamp};
use install::control::{CustomerStatus, DiskStage, Drift, EventKind, LicenseStatus, RoleStatus, WorkVerdict};
use stack::{RoleState, Runtime};
use tokio::sync::mpsc;

use super::Customer;
use crate::console_door::ConsoleDoor;
use crate::facts::{self, Urgency};
use crate::metrics::Beside;
use crate::past::Past;
use crate::supervisor::Event;

/// How often the clock is taken note of, and the standing computed anew.
const LICENSE_EVERY: Duration = Duration::from_secs(600);

/// A license's standing, and what it was computed from.
pub(super) struct KnownLicense {
    at: Instant,
    modified: Option<SystemTime>,
    status: LicenseStatus,
    urgency: Urgency,
    expires: Option<Timestamp>,
}

impl Customer {
    /// Looks at the license when it is another file than before, or enough time has passed, and tells when it became more urgent.
    pub(super) fn refresh_license(&mut self, past: &mut Past) {
        let modified = std::fs::metadata(self.layout.license()).and_then(|metadata| metadata.modified()).ok();
        let is_known = |known: &KnownLicense| known.modified == modified && known.at.elapsed() < LICENSE_EVERY;
        if self.license.as_ref().is_some_and(is_known) {
            return;
        }
        let facts::Known { status, urgency, expires } = facts::license(&self.layout, self.clock.now());
        let before = self.license.as_ref().map_or(Urgency::None, |known| known.urgency);
        if urgency > before && self.runtime.is_some() {
            let text = format!("the license: {}", status.standing);
            past.say(self.clock.now(), EventKind::License, Some(&self.slug), None, text);
        }
        self.license = Some(KnownLicense { at: Instant::now(), modified, status, urgency, expires });
    }

    /// Returns what people at the console may know.
    pub(crate) fn board(&mut self, layout: &Layout) -> Board {
        let status = self.status(layout);
        let state = |role: &RoleStatus| match &role.state {
            RoleState::Ready if role.work.as_ref().is_some_and(|work| work.verdict == WorkVerdict::Busy) => {
                BoardState::Busy
            }
            RoleState::Ready => BoardState::Ok,
            RoleState::Starting => BoardState::Starting,
            RoleState::Stopped if !self.intends(role.role) => BoardState::Resting,
            _ => BoardState::Down,
        };
        let services = status.roles.iter().map(|role| BoardService { role: role.role, state: state(role) }).collect();
        let disk = match status.disk.map(|disk| disk.stage).unwrap_or_default() {
            DiskStage::Room => None,
            DiskStage::Warn => Some(Notice::DiskShort),
            DiskStage::Hold => Some(Notice::Resting),
            DiskStage::Protect => Some(Notice::Protected),
        };
        let is_ending = self.license.as_ref().is_some_and(|known| known.urgency > Urgency::None);
        let notices = disk.into_iter().chain(is_ending.then_some(Notice::License)).collect();
        Board { format: Board::FORMAT, services, notices, release: None }
    }

    pub(crate) fn judged(&mut self, is_good: bool) {
        let count = if is_good { &mut self.judgements.0 } else { &mut self.judgements.1 };
        *count += 1;
    }

    /// Adds what Prometheus is told beside the status.
    pub(crate) fn measure(&self, beside: &mut Beside) {
        let of = |(role, known): (&Role, &super::Supervised)| (self.slug.clone(), *role, known.work.latency.clone());
        beside.latencies.extend(self.roles.iter().map(of));
        beside.judgements.insert(self.slug.clone(), self.judgements);
        if let Some(expires) = self.license.as_ref().and_then(|known| known.expires) {
            let seconds = (expires.millis() - self.clock.now().millis()) / 1000;
            beside.license_seconds.insert(self.slug.clone(), seconds);
        }
    }

    /// Makes sure that the console has its socket.
    pub(super) fn open_door(&mut self, layout: &Layout, runtime: &Runtime, send: &mpsc::Sender<Event>) {
        let user = runtime.config().containers.as_ref().map(|containers| containers.user);
        if self.door.as_ref().is_some_and(|door| door.is_for(&self.layout, user)) {
            return;
        }
        // The former one lets go of the socket's name first.
        self.door = None;
        match ConsoleDoor::open(layout, &self.layout, user, send.clone()) {
            Ok(door) => self.door = Some(door),
            Err(error) if self.door_error.as_ref() != Some(&error.to_string()) => {
                tracing::warn!(customer = %self.slug, %error, "the console has no socket; it says less about the services");
                self.door_error = Some(error.to_string());
            }
            Err(_) => {}
        }
    }

    fn all_drift(&self) -> Vec<Drift> {
        let license = self.license.as_ref().filter(|known| known.urgency > Urgency::None).map(|known| Drift {
            what: "license".to_owned(),
            role: None,
            cause: format!("the license: {}", known.status.standing),
            remedy: "ask for a new one, and run `0711 install --license FILE`".to_owned(),
        });
        let files = self.drift.text().map(|text| Drift {
            what: "compose".to_owned(),
            role: None,
            cause: text.to_owned(),
            remedy: "`0711 install` applies it".to_owned(),
        });
        license.into_iter().chain(files).chain(self.condition.drift()).collect()
    }

    pub(crate) fn status(&mut self, layout: &Layout) -> CustomerStatus {
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
            disk: self.condition.disk(),
            drift: self.all_drift(),
            console_url: runtime.map(|runtime| url(runtime.config().port(Role::Console))).unwrap_or_default(),
            api_url: runtime.map(|runtime| url(runtime.config().api_port()) + "/v1").unwrap_or_default(),
            problem: self
                .problem
                .clone()
                .or_else(|| self.listening.lost().map(|why| format!("the engine does not answer: {why}"))),
            changes: has_compose_file.then(|| stack::docker::changes(&self.layout)).flatten(),
        }
    }

    fn roles(&self, runtime: &Runtime) -> Vec<RoleStatus> {
        let status = |role: &Role| {
            let known = self.roles.get(role)?;
            let pid = known.record.as_ref().map(|record| record.identity.pid);
            Some(RoleStatus {
                role: *role,
                state: match known.work.fault() {
                    Some(reason) if known.state == RoleState::Ready => RoleState::Unhealthy { reason },
                    _ => known.state.clone(),
                },
                pid,
                port: runtime.config().port(*role),
                resident_bytes: pid.and_then(stack::resident_bytes),
                started: known.record.as_ref().map(|record| record.started),
                restarts: known.restarts,
                last_error: known.last_error.clone(),
                silent_seconds: known.silent_for().map(|silent| silent.as_secs()),
                is_current: known.record.as_ref().is_some_and(|record| runtime.is_current(record)),
                work: known.work.status().filter(|_| pid.is_some()),
                held: self.condition.held(*role),
            })
        };
        Role::ALL.iter().filter_map(status).collect()
    }
}
