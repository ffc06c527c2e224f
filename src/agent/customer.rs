mod condition;
mod drift;
mod egress;
mod engine;
mod patience;
mod role;
mod status;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base::{Clock, CustomerLayout, Layout, Role, Slug, file};
use stack::{Observation, Readiness, RoleRecord, RoleState, Runtime};
use tokio::sync::mpsc;

use self::condition::Condition;
use self::drift::Drift;
use self::egress::Watch;
pub(crate) use self::engine::Heard;
use self::engine::Listening;
use self::role::Supervised;
use self::status::KnownLicense;
pub(crate) use self::work::Histogram;
use crate::backup::Backups;
use crate::budget::Verdict;
use crate::console_door::ConsoleDoor;
use crate::facts;
use crate::past::Past;
use crate::supervisor::{Event, Order, StartFailure, chain};
use crate::watch;

/// One customer's roles, as they should be and as they are.
pub(crate) struct Customer {
    slug: Slug,
    layout: CustomerLayout,
    clock: Clock,
    runtime: Option<Arc<Runtime>>,
    seen: Option<Seen>,
    problem: Option<String>,
    is_wanted: bool,
    /// Stopped one by one by a person; forgotten with the agent.
    held: BTreeSet<Role>,
    /// Being stopped just now, beside the supervisor's task.
    stopping: BTreeSet<Role>,
    /// Being started just now, beside the supervisor's task.
    starting: BTreeSet<Role>,
    roles: BTreeMap<Role, Supervised>,
    drift: Drift,
    license: Option<KnownLicense>,
    documents: Option<u64>,
    counted_at: Option<Instant>,
    watch: Watch,
    condition: Condition,
    listening: Listening,
    /// Something failed since that was last asked.
    has_failed: bool,
    /// Between two small jobs of a role.
    work_every: Duration,
    door: Option<ConsoleDoor>,
    /// Why the console has no socket, when that was told.
    door_error: Option<String>,
    /// Judgements of answers since the agent began: good ones, and others.
    judgements: (u64, u64),
    backups: Backups,
}

/// What tells that configuration or binary have changed, without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    length: u64,
    binary: PathBuf,
}

const STOP_PATIENCE: Duration = Duration::from_secs(20);
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBE_EVERY_STARTING: Duration = Duration::from_millis(250);
/// A later role does not wait longer than this for an earlier one.
const TURN_PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts at an engine that does not answer.
const ENGINE_WAIT: Duration = Duration::from_secs(5);
const COUNT_EVERY: Duration = Duration::from_secs(10);

impl Customer {
    pub(crate) fn new(layout: &Layout, slug: Slug, clock: Clock, work_every: Duration) -> Self {
        Self {
            layout: layout.customer(&slug),
            watch: Watch::new(&layout.customer(&slug)),
            slug,
            clock,
            runtime: None,
            seen: None,
            problem: None,
            is_wanted: true,
            held: BTreeSet::new(),
            stopping: BTreeSet::new(),
            starting: BTreeSet::new(),
            roles: Role::ALL.iter().map(|role| (*role, Supervised::default())).collect(),
            drift: Drift::default(),
            license: None,
            documents: None,
            counted_at: None,
            condition: Condition::default(),
            listening: Listening::default(),
            has_failed: false,
            work_every,
            door: None,
            door_error: None,
            judgements: (0, 0),
            backups: Backups::default(),
        }
    }

    /// Returns whether something is being started or stopped just now: an order is carried out when that has ended.
    pub(crate) fn is_busy(&self) -> bool {
        !self.stopping.is_empty() || !self.starting.is_empty()
    }

    /// Returns whether something is under way that deserves a closer look.
    pub(crate) fn is_unsettled(&self) -> bool {
        let is_settled = |role: &Role, state: &RoleState| match state {
            RoleState::Ready | RoleState::NeedsAPerson { .. } => true,
            RoleState::Stopped => !self.intends(*role),
            _ => false,
        };
        self.runtime.is_some() && self.roles.iter().any(|(role, known)| !is_settled(role, &known.state))
    }

    /// Closes the difference between what should run and what runs, as far as that takes no waiting.
    pub(crate) fn reconcile(&mut self, layout: &Layout, send: &mpsc::Sender<Event>, past: &mut Past) {
        self.refresh(layout);
        self.refresh_license(past);
        self.drift.refresh(&self.layout);
        self.is_wanted = !self.layout.stopped_mark().exists();
        self.watch_networks(send);
        let Some(runtime) = self.runtime.clone() else { return };
        self.listen(&runtime, send);
        self.open_door(layout, &runtime, send);
        self.survey(&runtime, layout, send);
        let mut to_stop = BTreeSet::new();
        for role in Role::ALL {
            if self.stopping.contains(&role) || self.starting.contains(&role) {
                continue;
            }
            let is_intended = self.intends(role);
            match runtime.observe(role) {
                Observation::Running(record) => {
                    self.running(role, &record, past);
                    self.watch.namespace(self.clock.now(), &runtime, role, &record);
                    if !is_intended {
                        to_stop.insert(role);
                    } else if runtime.renews_by_restart() && !runtime.is_current(&record) {
                        past.tell(
                            self.clock.now(),
                            &self.slug,
                            role,
                            "runs another version or configuration; it is started anew",
                        );
                        to_stop.insert(role);
                    } else if self.stands_still(role, &runtime) {
                        self.stood_still(role, past);
                        to_stop.insert(role);
                    } else if self.is_silent(role) {
                        self.ended(role, "did not answer for too long", past);
                        to_stop.insert(role);
                    } else {
                        let pid = record.identity.pid;
                        self.probe(role, pid, &runtime, send);
                        self.ask_for_work(role, pid, &runtime, send);
                    }
                    // Also one that is about to be stopped: its end is what the next start waits for.
                    self.at(role).wait_for_end(&record.identity, |identity| watch::end_of(identity, send.clone()));
                }
                Observation::Ended { how } if is_intended => {
                    let how = self.how(role, how);
                    self.ended(role, &how, past);
                }
                Observation::Ended { .. } | Observation::Absent if !is_intended => self.at(role).rest(),
                Observation::Ended { .. } | Observation::Absent => self.start(role, &runtime, send, past),
            }
        }
        self.stop(to_stop, send);
        self.protect(&runtime, send);
        self.count(send);
        // Who stopped the roles may be about to change what they work on.
        if self.is_wanted {
            self.backups.look(layout, &self.layout, self.clock, send);
        }
    }

    pub(crate) fn backed_up(&mut self) {
        self.backups.ended();
    }

    fn intends(&self, role: Role) -> bool {
        self.is_wanted && !self.held.contains(&role) && !self.condition.rests(role)
    }

    /// Returns whether every role that should be ready is, and does its work.
    pub(crate) fn is_well(&self) -> bool {
        let is_well = |role: &Role| {
            let is_fit = |known: &Supervised| known.state == RoleState::Ready && known.work.fault().is_none();
            !self.intends(*role) || self.roles.get(role).is_some_and(is_fit)
        };
        self.runtime.is_some() && self.is_wanted && self.problem.is_none() && Role::ALL.iter().all(is_well)
    }

    /// Returns whether something failed since this was last asked.
    pub(crate) fn take_failure(&mut self) -> bool {
        std::mem::take(&mut self.has_failed)
    }

    /// Opens the configuration when it, or the binary, is another one than before.
    fn refresh(&mut self, layout: &Layout) {
        // A child that is being made belongs to the runtime that makes it.
        if !self.starting.is_empty() {
            return;
        }
        let path = self.layout.config();
        let Ok(metadata) = std::fs::metadata(&path) else {
            (self.runtime, self.seen) = (None, None);
            self.problem = Some("it is not installed, or not to its end".to_owned());
            return;
        };
        let link = layout.binary();
        let seen = Seen {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            binary: link.canonicalize().unwrap_or(link),
        };
        if self.seen.as_ref() == Some(&seen) {
            return;
        }
        match Runtime::open(layout, &self.slug, self.clock) {
            Ok(runtime) => {
                if let Some(older) = &self.runtime {
                    runtime.inherit(older);
                }
                (self.runtime, self.problem) = (Some(Arc::new(runtime)), None);
            }
            Err(error) => {
                tracing::error!(customer = %self.slug, error = %chain(&error), "cannot read the configuration");
                self.problem = Some(chain(&error));
            }
        }
        // Also after an error: it is told once, and tried again when the file changes.
        self.seen = Some(seen);
    }

    fn at(&mut self, role: Role) -> &mut Supervised {
        self.roles.entry(role).or_default()
    }

    fn running(&mut self, role: Role, record: &RoleRecord, past: &mut Past) {
        let (now, slug) = (self.clock.now(), self.slug.clone());
        let known = self.at(role);
        if known.record.as_ref() == Some(record) {
            return;
        }
        if known.record.is_none() {
            past.tell(now, &slug, role, format!("adopted (pid {})", record.identity.pid));
        }
        known.began(record.clone());
    }

    fn start(&mut self, role: Role, runtime: &Arc<Runtime>, send: &mpsc::Sender<Event>, past: &mut Past) {
        if runtime.has_networks() && !self.watch.has_looked {
            return;
        }
        let known = self.at(role);
        match &known.state {
            RoleState::NeedsAPerson { .. } => return,
            RoleState::BackingOff { .. } if known.backs_off() => return,
            _ => {}
        }
        let is_on_its_way = |earlier: &Role| {
            self.starting.contains(earlier)
                || self
                    .roles
                    .get(earlier)
                    .is_some_and(|known| known.state == RoleState::Starting && known.since.elapsed() < TURN_PATIENCE)
        };
        if Role::ALL.iter().take_while(|earlier| **earlier != role).any(is_on_its_way) {
            return;
        }
        // `/run` is emptied when the machine starts.
        // The socket's folder is made with the door, which is opened at the beginning of each look.
        if let Err(error) = file::private_dir(&self.layout.run_dir()) {
            self.ended(role, &format!("cannot make its folder: {error}"), past);
            return;
        }
        let has_cards = matches!(&**runtime, Runtime::Docker(docker) if docker.has_cards(role));
        let makes_anew = self.at(role).makes_anew(has_cards, Instant::now());
        if makes_anew {
            past.tell(
                self.clock.now(),
                &self.slug,
                role,
                "its container is made anew: it may have lost its graphics card",
            );
        }
        self.starting.insert(role);
        let (slug, runtime, send) = (self.slug.clone(), Arc::clone(runtime), send.clone());
        tokio::spawn(async move {
            let outcome = start(&runtime, role, makes_anew).await.map_err(|error| StartFailure {
                reason: chain(&error),
                is_of_engine: matches!(error, stack::Error::Engine { .. }),
            });
            // The supervisor is gone when the agent ends; the next one adopts what was started.
            let _ = send.send(Event::Started { slug, role, outcome }).await;
        });
    }

    /// Takes note of what became of a start.
    pub(crate) fn started(&mut self, role: Role, outcome: Result<RoleRecord, StartFailure>, past: &mut Past) {
        self.starting.remove(&role);
        let now = self.clock.now();
        match outcome {
            Ok(record) => {
                past.tell(now, &self.slug, role, format!("started (pid {})", record.identity.pid));
                self.at(role).began(record);
            }
            // The role did not fail: an engine that is being updated comes back, and no restart of the role is spent on it.
            Err(failure) if failure.is_of_engine => {
                let slug = self.slug.clone();
                let known = self.at(role);
                if known.last_error.as_ref() != Some(&failure.reason) {
                    past.tell(now, &slug, role, format!("waits for the engine ({})", failure.reason));
                }
                known.last_error = Some(failure.reason);
                known.back_off(now, ENGINE_WAIT);
            }
            Err(failure) => self.ended(role, &failure.reason, past),
        }
    }

    /// Takes note that a role is down although nobody asked for it.
    fn ended(&mut self, role: Role, how: &str, past: &mut Past) {
        let (now, slug) = (self.clock.now(), self.slug.clone());
        self.has_failed = true;
        let known = self.at(role);
        known.record = None;
        known.restarts += 1;
        known.last_error = Some(how.to_owned());
        match known.budget.ended(Instant::now()) {
            Verdict::RetryAfter(delay) => {
                known.back_off(now, delay);
                past.tell(now, &slug, role, format!("ended ({how}); it is started again"));
            }
            Verdict::GiveUp => {
                known.state = RoleState::NeedsAPerson { reason: how.to_owned() };
                past.tell(now, &slug, role, format!("ended too often ({how}); it stays down until `0711 start`"));
            }
        }
    }

    fn probe(&mut self, role: Role, pid: u32, runtime: &Arc<Runtime>, send: &mpsc::Sender<Event>) {
        let slug = self.slug.clone();
        let known = self.at(role);
        let every = if known.state == RoleState::Ready { PROBE_EVERY } else { PROBE_EVERY_STARTING };
        if known.is_probing || known.probed_at.is_some_and(|at| at.elapsed() < every) {
            return;
        }
        known.is_probing = true;
        known.probed_at = Some(Instant::now());
        let (runtime, send) = (Arc::clone(runtime), send.clone());
        tokio::spawn(async move {
            let readiness = runtime.probe(role, PROBE_PATIENCE).await;
            // The supervisor is gone when the agent ends.
            let _ = send.send(Event::Probed { slug, role, pid, readiness }).await;
        });
    }

    /// Takes a probe's answer. Returns whether the role's state is another one now.
    pub(crate) fn probed(&mut self, role: Role, pid: u32, readiness: Readiness, past: &mut Past) -> bool {
        let (now, slug) = (self.clock.now(), self.slug.clone());
        let known = self.at(role);
        known.is_probing = false;
        if known.record.as_ref().is_none_or(|record| record.identity.pid != pid) {
            return false;
        }
        let state = match readiness {
            // Nobody could ask: what was known of the role stands.
            Readiness::Unknown(_) => return false,
            Readiness::Ready => RoleState::Ready,
            Readiness::Starting => RoleState::Starting,
            Readiness::Failing(reason) if known.was_ready => RoleState::Unhealthy { reason },
            Readiness::Failing(_) => RoleState::Starting,
        };
        if state == RoleState::Ready {
            known.was_ready = true;
            known.standstills = 0;
        }
        let is_new = std::mem::discriminant(&state) != std::mem::discriminant(&known.state);
        if is_new {
            match &state {
                RoleState::Ready => {
                    past.tell(now, &slug, role, format!("ready after {} ms", known.since.elapsed().as_millis()))
                }
                RoleState::Unhealthy { reason } => {
                    known.last_error = Some(reason.clone());
                    past.tell(now, &slug, role, format!("does not answer ({reason})"));
                }
                _ => {}
            }
            known.since = Instant::now();
        }
        known.state = state;
        is_new
    }

    /// Does what a person orders.
    pub(crate) fn order(&mut self, order: Order, role: Option<Role>, send: &mpsc::Sender<Event>, past: &mut Past) {
        let roles: BTreeSet<Role> = role.map_or_else(|| Role::ALL.into(), |role| [role].into());
        let word = match order {
            Order::Start => "start ordered",
            Order::Stop => "stop ordered",
            Order::Restart => "restart ordered",
        };
        for role in &roles {
            past.tell(self.clock.now(), &self.slug, *role, word);
        }
        match (order, role) {
            (Order::Stop, None) => {
                if let Err(error) = install::mark_stopped(&self.layout, self.clock) {
                    tracing::warn!(customer = %self.slug, %error, "cannot keep note of the stop; the next agent would start the roles");
                }
                self.held.extend(&roles);
            }
            (Order::Stop, Some(role)) => _ = self.held.insert(role),
            (Order::Start | Order::Restart, _) => {
                // Without the mark the roles are wanted; one that cannot be removed shows in the status.
                let _ = std::fs::remove_file(self.layout.stopped_mark());
                if role.is_none() {
                    self.held.clear();
                }
                for role in &roles {
                    self.held.remove(role);
                    self.at(*role).forgive();
                }
            }
        }
        if order != Order::Start {
            self.stop(roles, send);
        }
    }

    /// Stops roles in reverse start order, beside the supervisor's task.
    fn stop(&mut self, roles: BTreeSet<Role>, send: &mpsc::Sender<Event>) {
        // What is being started is stopped when it has a process: the next look finds one that nobody wants.
        let is_idle = |role: &Role| !self.stopping.contains(role) && !self.starting.contains(role);
        let roles: Vec<Role> = roles.into_iter().filter(is_idle).collect();
        let Some(runtime) = self.runtime.clone().filter(|_| !roles.is_empty()) else { return };
        self.stopping.extend(&roles);
        let (slug, send) = (self.slug.clone(), send.clone());
        tokio::spawn(async move {
            let mut outcomes = Vec::new();
            for role in Role::ALL.into_iter().rev().filter(|role| roles.contains(role)) {
                let stopped = runtime.stop(role, STOP_PATIENCE).await;
                outcomes.push((role, stopped.map(drop).map_err(|error| chain(&error))));
            }
            let _ = send.send(Event::Stopped { slug, outcomes }).await;
        });
    }

    pub(crate) fn stopped(&mut self, outcomes: Vec<(Role, Result<(), String>)>, past: &mut Past) {
        for (role, outcome) in outcomes {
            self.stopping.remove(&role);
            match outcome {
                Ok(()) => {
                    past.tell(self.clock.now(), &self.slug, role, "stopped");
                    if let Some(runtime) = &self.runtime {
                        // The configuration may have changed meanwhile: then its successor has the child, and would
                        // take this end for one nobody asked for.
                        runtime.observe(role);
                    }
                    // One that was stopped for being stuck keeps saying so until it is started again.
                    if !matches!(self.at(role).state, RoleState::BackingOff { .. } | RoleState::NeedsAPerson { .. }) {
                        self.at(role).rest();
                    }
                }
                Err(error) => {
                    past.tell(self.clock.now(), &self.slug, role, format!("cannot be stopped ({error})"));
                    self.at(role).last_error = Some(error);
                }
            }
        }
    }

    fn count(&mut self, send: &mpsc::Sender<Event>) {
        let is_ready = self.roles.get(&Role::Lake).is_some_and(|lake| lake.state == RoleState::Ready);
        let is_due = self.counted_at.is_none_or(|at| at.elapsed() > COUNT_EVERY);
        let Some(runtime) = self.runtime.as_ref().filter(|_| is_ready && is_due) else { return };
        self.counted_at = Some(Instant::now());
        let (slug, layout, runtime, send) = (self.slug.clone(), self.layout.clone(), Arc::clone(runtime), send.clone());
        tokio::spawn(async move {
            let documents = facts::documents(layout, &runtime).await;
            let _ = send.send(Event::Counted { slug, documents }).await;
        });
    }

    pub(crate) fn counted(&mut self, documents: Option<u64>) {
        self.documents = documents;
    }
}

/// Starts a role; a container that somebody removed, or that is to be another one, is made anew first, from the file it was made from.
async fn start(runtime: &Runtime, role: Role, makes_anew: bool) -> Result<RoleRecord, stack::Error> {
    if let (true, Runtime::Docker(docker)) = (makes_anew, runtime) {
        docker.make_anew(role).await?;
    }
    match (runtime.start(role).await, runtime) {
        (Err(stack::Error::ContainerAbsent { .. }), Runtime::Docker(docker)) => {
            docker.make_missing().await?;
            runtime.start(role).await
        }
        (outcome, _) => outcome,
    }
}
