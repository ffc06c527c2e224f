//! What is wrong with one customer's stack.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{Clock, CustomerLayout, Layout, Role, Slug};
use install::control::{CustomerStatus, DiskStage, Drift, Status, WorkVerdict};
use stack::{RoleRecord, RoleState, Runtime};

use super::machine::mode;
use super::{Notes, Severity, last_line};
use crate::drift::Memory;
use crate::facts::{self, Urgency};
use crate::look::{self, DATA, Wish};
use crate::probe::{self, Known};
use crate::supervisor::chain;
use crate::{disk, look::Seen};

/// Looking digests every model file.
const LOOK_PATIENCE: Duration = Duration::from_secs(1800);

pub(super) async fn look(layout: &Layout, slug: &Slug, status: Option<&Status>, notes: &mut Notes, clock: Clock) {
    let customer = layout.customer(slug);
    notes.look_at(format!("the configuration of `{slug}`"));
    let runtime = match Runtime::open(layout, slug, clock) {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            notes.add(
                Severity::Broken,
                None,
                "its configuration cannot be read",
                chain(&error),
                "run `0711 install` again: it writes the configuration anew",
            );
            return;
        }
    };
    let known = status.and_then(|status| status.customers.iter().find(|known| known.slug == *slug));
    match known {
        Some(known) => roles_told(&customer, known, notes),
        None => roles_seen(&customer, &runtime, notes).await,
    }
    license(&customer, notes, clock);
    secrets(&customer, notes);
    notes.look_at(format!("disks, files, ports and containers of `{slug}`"));
    if let Some(text) = stack::docker::drift(&customer) {
        notes.add(Severity::Warning, None, text, "", "`0711 install` applies it");
    }
    let down = down(&customer, &runtime, known);
    let wish = Wish {
        layout: layout.clone(),
        customer: customer.clone(),
        is_thorough: true,
        down,
        // A memory that expects nothing to be right reads every file whole.
        memory: Arc::new(Mutex::new(Memory::doubtful())),
        engine_root: None,
    };
    let is_docker = matches!(runtime.as_ref(), Runtime::Docker(_));
    match tokio::time::timeout(LOOK_PATIENCE, look::look(wish, Arc::clone(&runtime))).await {
        Ok(seen) => condition(&seen, is_docker, notes),
        Err(_) => notes.add(
            Severity::Broken,
            None,
            "a file system does not answer",
            format!("looking at the files took longer than {} s", LOOK_PATIENCE.as_secs()),
            "see `mount` and `dmesg` for a network share or a disk that went away",
        ),
    }
}

fn down(customer: &CustomerLayout, runtime: &Runtime, known: Option<&CustomerStatus>) -> Vec<(Role, u16)> {
    let is_down = |role: &Role| match known {
        Some(known) => known.roles.iter().any(|found| found.role == *role && found.pid.is_none()),
        None => !RoleRecord::read(&customer.role_record(*role)).is_some_and(|record| record.is_alive()),
    };
    Role::ALL.into_iter().filter(is_down).map(|role| (role, runtime.config().port(role))).collect()
}

fn logs(role: Role) -> String {
    format!("see `0711 logs {role}`, then run `0711 start {role}`")
}

/// By the word of the agent.
fn roles_told(customer: &CustomerLayout, known: &CustomerStatus, notes: &mut Notes) {
    notes.look_at(format!("the roles of `{}`, by the agent", known.slug));
    if let Some(problem) = &known.problem {
        notes.add(Severity::Broken, None, "it cannot be run", problem, "see `0711 logs`");
    }
    if !known.is_wanted {
        notes.add(Severity::Note, None, "it was stopped on purpose", "", "run `0711 start`");
        return;
    }
    for role in &known.roles {
        let mut add = |severity, what: &str, seen: String| {
            let log = last_line(&customer.log(role.role)).map(|line| format!("; last words: {line}"));
            notes.add(severity, Some(role.role), what, seen + &log.unwrap_or_default(), logs(role.role));
        };
        match &role.state {
            RoleState::NeedsAPerson { reason } => {
                add(Severity::Broken, "it ended too often and stays down", reason.clone())
            }
            RoleState::Unhealthy { reason } => add(Severity::Broken, "it does not work", reason.clone()),
            RoleState::BackingOff { .. } => {
                add(Severity::Broken, "it ended and is started again", role.last_error.clone().unwrap_or_default());
            }
            RoleState::Stopped => match &role.held {
                Some(why) => notes.add(
                    Severity::Warning,
                    Some(role.role),
                    "it rests",
                    why,
                    "make room on that disk; it then starts by itself",
                ),
                None => notes.add(
                    Severity::Note,
                    Some(role.role),
                    "it was stopped on purpose",
                    "",
                    format!("run `0711 start {}`", role.role),
                ),
            },
            RoleState::Ready | RoleState::Starting if !role.is_current => {
                notes.add(
                    Severity::Warning,
                    Some(role.role),
                    "it runs another version or configuration",
                    "",
                    "run `0711 restart`",
                );
            }
            RoleState::Starting | RoleState::Ready => {}
        }
    }
}

/// Without an agent: by what runs, and by asking it.
async fn roles_seen(customer: &CustomerLayout, runtime: &Runtime, notes: &mut Notes) {
    notes.look_at(format!("the roles of `{}`, without the agent", customer.slug()));
    if customer.stopped_mark().exists() {
        notes.add(Severity::Note, None, "it was stopped on purpose", "", "run `0711 start`");
        return;
    }
    let alive: Vec<_> = Role::ALL
        .into_iter()
        .filter(|role| RoleRecord::read(&customer.role_record(*role)).is_some_and(|record| record.is_alive()))
        .collect();
    let known = Known { ready: alive.iter().copied().collect(), ..Known::default() };
    for role in Role::ALL {
        if !alive.contains(&role) {
            let log = last_line(&customer.log(role)).map(|line| format!("last words: {line}")).unwrap_or_default();
            notes.add(Severity::Broken, Some(role), "it does not run", log, "run `0711 start`");
            continue;
        }
        let probed = probe::probe(runtime, customer, role, &known).await;
        if probed.verdict == WorkVerdict::Failing {
            notes.add(Severity::Broken, Some(role), "it runs and does not do its work", probed.note, logs(role));
        }
    }
}

fn license(customer: &CustomerLayout, notes: &mut Notes, clock: Clock) {
    notes.look_at(format!("the license of `{}`", customer.slug()));
    let known = facts::license_seen(customer, clock.now());
    let severity = match known.urgency {
        Urgency::None => return,
        Urgency::Month => Severity::Note,
        Urgency::Week | Urgency::Day | Urgency::Grace => Severity::Warning,
        Urgency::Over => Severity::Broken,
    };
    let remedy = "ask for a new one, and run `0711 install --license FILE`";
    notes.add(severity, None, "its license needs to be renewed", known.status.standing, remedy);
}

fn secrets(customer: &CustomerLayout, notes: &mut Notes) {
    notes.look_at(format!("the secrets of `{}`", customer.slug()));
    let files = [customer.token(), customer.api_token(), customer.password_hash()];
    let check = |path: PathBuf, expect: u32, notes: &mut Notes| {
        let shown = path.display().to_string();
        match mode(&path) {
            None => notes.add(
                Severity::Broken,
                None,
                "a secret is missing",
                format!("there is no `{shown}`"),
                "run `0711 install` again: it makes what is missing",
            ),
            Some(found) if found & !expect != 0 => {
                let seen = format!("`{shown}` has the mode {found:o}");
                notes.add(
                    Severity::Broken,
                    None,
                    "a secret may be read by others",
                    seen,
                    format!("run `chmod {expect:o} {shown}`"),
                );
            }
            Some(_) => {}
        }
    };
    check(customer.secrets(), 0o700, notes);
    for path in files {
        check(path, 0o600, notes);
    }
}

fn condition(seen: &Seen, is_docker: bool, notes: &mut Notes) {
    if is_docker && seen.engine.is_none() {
        notes.add(
            Severity::Broken,
            None,
            "the Docker engine does not answer",
            "",
            "run `systemctl start docker`; `0711 preflight --docker` says what it lacks",
        );
    }
    for room in &seen.rooms {
        let (stage, why) = disk::stage(room, DiskStage::Room);
        let is_ours = room.purpose == DATA;
        let severity = match stage {
            DiskStage::Room => continue,
            DiskStage::Warn => Severity::Warning,
            DiskStage::Hold | DiskStage::Protect if is_ours => Severity::Broken,
            DiskStage::Hold | DiskStage::Protect => Severity::Warning,
        };
        let remedy = match is_ours {
            true => "make room there, or move the data to a larger disk; `0711 footprint` says what is whose",
            false => "make room there; `docker system df` says what the engine holds",
        };
        notes.add(severity, None, "a disk is nearly full", why, remedy);
    }
    for Drift { what, role, cause, remedy } in seen.drift.iter().flatten() {
        let severity = match what.as_str() {
            "config" | "compose" | "folder" => Severity::Warning,
            _ => Severity::Broken,
        };
        notes.add(severity, *role, cause, "", remedy);
    }
}
