//! The condition of what the roles stand on: disks, files, containers. Looked at beside the supervisor's task; what follows is done here.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base::{Role, Secret};
use install::control::{DiskRoom, DiskStage, DiskStatus, Drift, EventKind};
use stack::docker::EngineFacts;
use stack::http::{Ask, call};
use stack::{RoleState, Runtime};
use tokio::sync::mpsc;

use super::Customer;
use crate::disk;
use crate::drift::Memory;
use crate::look::{self, DATA, Seen, Wish};
use crate::past::Past;
use crate::supervisor::{Event, chain};

/// What was seen last, and what follows from it.
#[derive(Debug, Default)]
pub(super) struct Condition {
    stage: DiskStage,
    why: String,
    rooms: Vec<DiskRoom>,
    drift: Vec<Drift>,
    engine: Option<EngineFacts>,
    memory: Arc<Mutex<Memory>>,
    looking_since: Option<Instant>,
    looked_at: Option<Instant>,
    looked_well_at: Option<Instant>,
    /// The lake's process that was told whether to protect its tables, and what it was told.
    told: Option<(u32, bool)>,
    is_telling: bool,
    tried_at: Option<Instant>,
}

/// A disk can fill up at some hundred megabytes a second: the reserve of the last stage lasts longer than this.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const LOOK_WELL_EVERY: Duration = Duration::from_secs(60);
/// A look takes milliseconds, unless a large file is digested or a file system does not answer.
const LOOK_PATIENCE: Duration = Duration::from_secs(600);
const PROTECT_PATIENCE: Duration = Duration::from_secs(30);
const PROTECT_EVERY: Duration = Duration::from_secs(10);
/// Roles that do nothing but fill the disk.
const RESTING: [Role; 2] = [Role::Ingest, Role::Trainer];

impl Condition {
    /// Returns whether the role rests because a disk is short of room.
    pub(super) fn rests(&self, role: Role) -> bool {
        self.stage >= DiskStage::Hold && RESTING.contains(&role)
    }

    pub(super) fn held(&self, role: Role) -> Option<String> {
        self.rests(role).then(|| format!("rests until there is room: {}", self.why))
    }

    pub(super) fn disk(&self) -> Option<DiskStatus> {
        if self.rooms.is_empty() {
            return None;
        }
        Some(DiskStatus { stage: self.stage, why: self.why.clone(), disks: self.rooms.clone() })
    }

    pub(super) fn drift(&self) -> Vec<Drift> {
        let mut all = self.drift.clone();
        if self.looking_since.is_some_and(|since| since.elapsed() > LOOK_PATIENCE) {
            all.push(Drift {
                what: "folder".to_owned(),
                role: None,
                cause: "a file system does not answer: looking at it has not ended for ten minutes".to_owned(),
                remedy: "see `mount` and `dmesg` for a network share or a disk that went away".to_owned(),
            });
        }
        all
    }

    pub(super) fn engine(&self) -> Option<&EngineFacts> {
        self.engine.as_ref()
    }

    fn judge(&self, rooms: &[DiskRoom]) -> (DiskStage, String) {
        disk::worst(rooms.iter().map(|room| {
            let (stage, why) = disk::stage(room, self.stage);
            // Stopping work frees nothing where we write nothing: there people are told, no more.
            if room.purpose == DATA { (stage, why) } else { (stage.min(DiskStage::Warn), why) }
        }))
    }
}

impl Customer {
    /// Looks at disks often and at everything else now and then. Nothing is looked at twice at once.
    pub(super) fn survey(&mut self, runtime: &Arc<Runtime>, layout: &base::Layout, send: &mpsc::Sender<Event>) {
        let is_due = |at: Option<Instant>, every| at.is_none_or(|at: Instant| at.elapsed() >= every);
        let every = LOOK_EVERY.min(self.work_every);
        if self.condition.looking_since.is_some() || !is_due(self.condition.looked_at, every) {
            return;
        }
        let is_thorough = is_due(self.condition.looked_well_at, LOOK_WELL_EVERY);
        let is_down = |role: &Role| {
            let state = self.roles.get(role).map(|known| &known.state);
            matches!(state, Some(RoleState::BackingOff { .. } | RoleState::NeedsAPerson { .. }))
        };
        let down = Role::ALL.into_iter().filter(is_down).map(|role| (role, runtime.config().port(role)));
        let wish = Wish {
            layout: layout.clone(),
            customer: self.layout.clone(),
            is_thorough,
            down: down.collect(),
            memory: Arc::clone(&self.condition.memory),
            engine_root: self.condition.engine.as_ref().map(|facts| facts.root_dir.clone()),
        };
        self.condition.looking_since = Some(Instant::now());
        let (slug, runtime, send) = (self.slug.clone(), Arc::clone(runtime), send.clone());
        tokio::spawn(async move {
            let seen = look::look(wish, runtime).await;
            // The supervisor is gone when the agent ends.
            let _ = send.send(Event::Surveyed { slug, seen: Box::new(seen) }).await;
        });
    }

    /// Looks at everything anew at the next turn, because something happened.
    pub(super) fn look_soon(&mut self) {
        (self.condition.looked_at, self.condition.looked_well_at) = (None, None);
    }

    /// Takes what was seen. Returns whether roles are to rest, or may work again.
    pub(crate) fn surveyed(&mut self, seen: Seen, past: &mut Past) -> bool {
        let now = self.clock.now();
        let slug = self.slug.clone();
        let condition = &mut self.condition;
        condition.looking_since = None;
        condition.looked_at = Some(Instant::now());
        if seen.engine.is_some() {
            condition.engine = seen.engine;
        }
        if let Some(drift) = seen.drift {
            condition.looked_well_at = Some(Instant::now());
            let known: BTreeSet<&Drift> = condition.drift.iter().collect();
            for new in drift.iter().filter(|drift| !known.contains(drift)) {
                let text = format!("{}; {}", new.cause, new.remedy);
                past.say(now, EventKind::Drift, Some(&slug), new.role, text);
            }
            for gone in condition.drift.iter().filter(|known| !drift.contains(known)) {
                past.say(now, EventKind::Drift, Some(&slug), gone.role, format!("mended: {}", gone.cause));
            }
            condition.drift = drift;
        }
        if seen.rooms.is_empty() {
            return false;
        }
        let before = condition.stage;
        (condition.stage, condition.why) = condition.judge(&seen.rooms);
        condition.rooms = seen.rooms;
        if condition.stage != before {
            past.say(now, EventKind::Disk, Some(&slug), None, stage_text(before, condition.stage, &condition.why));
        }
        (before >= DiskStage::Hold) != (condition.stage >= DiskStage::Hold)
    }

    /// Tells the lake whether its tables are to be protected, when it does not know. A new process begins without protection.
    pub(super) fn protect(&mut self, runtime: &Arc<Runtime>, send: &mpsc::Sender<Event>) {
        let holds = self.condition.stage >= DiskStage::Protect;
        let lake = self.roles.get(&Role::Lake).filter(|lake| lake.state == RoleState::Ready);
        let Some(pid) = lake.and_then(|lake| lake.record.as_ref()).map(|record| record.identity.pid) else { return };
        let knows = self.condition.told.filter(|(told, _)| *told == pid).is_some_and(|(_, told)| told);
        let is_soon = self.condition.tried_at.is_some_and(|at| at.elapsed() < PROTECT_EVERY);
        if knows == holds || self.condition.is_telling || is_soon {
            return;
        }
        (self.condition.is_telling, self.condition.tried_at) = (true, Some(Instant::now()));
        let (slug, layout, runtime, send) = (self.slug.clone(), self.layout.clone(), Arc::clone(runtime), send.clone());
        tokio::spawn(async move {
            let tell = async {
                let token = Secret::read(&layout.token()).map_err(|error| chain(&error))?;
                let endpoint = runtime.endpoint(Role::Lake).await.map_err(|error| chain(&error))?;
                let body = Some(serde_json::json!({ "holds": holds }));
                let ask =
                    Ask { token: Some(&token), body, deadline: PROTECT_PATIENCE, ..Ask::new("POST", "/v1/protect") };
                let reply = call(&endpoint, ask).await.map_err(|error| chain(&error))?;
                if reply.status == 200 {
                    Ok(())
                } else {
                    Err(format!("it answers {}: {}", reply.status, reply.message()))
                }
            };
            let outcome = tell.await;
            let _ = send.send(Event::Protected { slug, pid, holds, outcome }).await;
        });
    }

    pub(crate) fn protected(&mut self, pid: u32, holds: bool, outcome: Result<(), String>, past: &mut Past) {
        self.condition.is_telling = false;
        let text = match (&outcome, holds) {
            (Ok(()), true) => "its tables are protected: questions are answered and kept in its journal".to_owned(),
            (Ok(()), false) => "its tables may grow again".to_owned(),
            (Err(why), _) => {
                tracing::warn!(customer = %self.slug, why, "the lake could not be told whether to protect its tables; it is told again");
                return;
            }
        };
        (self.condition.told, self.condition.tried_at) = (Some((pid, holds)), None);
        past.say(self.clock.now(), EventKind::Disk, Some(&self.slug), Some(Role::Lake), text);
    }

    /// Returns what a fingerprint of the machine is to name for this customer.
    pub(crate) fn places(&self) -> Vec<(String, PathBuf)> {
        let folders = self.runtime.iter().flat_map(|runtime| runtime.config().folders.clone());
        let data = (DATA.to_owned(), self.layout.dir().to_owned());
        [data].into_iter().chain(folders.map(|folder| ("a folder that is read".to_owned(), folder))).collect()
    }

    pub(crate) fn engine_facts(&self) -> Option<&EngineFacts> {
        self.condition.engine()
    }
}

fn stage_text(before: DiskStage, stage: DiskStage, why: &str) -> String {
    match stage {
        DiskStage::Room => "there is room on the disks again".to_owned(),
        DiskStage::Warn if before > stage => format!("training and ingestion go on; {why}"),
        DiskStage::Warn => why.to_owned(),
        DiskStage::Hold if before > stage => {
            format!("the tables may grow again, training and ingestion still rest: {why}")
        }
        DiskStage::Hold => format!("training and ingestion rest until there is room: {why}"),
        DiskStage::Protect => format!("the tables are protected, training and ingestion rest: {why}"),
    }
}
