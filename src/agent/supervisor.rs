use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use base::{Board, Clock, Layout, Role, Slug, Timestamp};
use install::control::{AgentEvent, AgentStatus, Command, Egress, EventKind, FORMAT, Status};
use stack::egress::Table;
use stack::{Identity, Readiness, RoleRecord};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::customer::{Customer, Heard};
use crate::fingerprint::{Fingerprint, Places};
use crate::look::Seen;
use crate::machine::{Machine, Purpose};
use crate::metrics::{self, Beside};
use crate::notify::Notify;
use crate::past::Past;
use crate::probe::Probed;
use crate::settings::{Settings, SettingsError};
use crate::{trim, webhook};

/// Everything that can happen to the agent.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody asks how things stand.
    Status { reply: oneshot::Sender<Status> },
    /// Prometheus asks.
    Metrics { reply: oneshot::Sender<String> },
    /// A console asks how things stand.
    Board { slug: Slug, reply: oneshot::Sender<Board> },
    /// Somebody judged an answer.
    Judged { slug: Slug, is_good: bool },
    /// Somebody asks what happened.
    Past { after: u64, reply: oneshot::Sender<Vec<AgentEvent>> },
    /// Somebody orders. The answer is `None` for a customer that does not exist.
    Command { order: Order, command: Command, reply: oneshot::Sender<Option<Status>> },
    /// A probe came back.
    Probed { slug: Slug, role: Role, pid: u32, readiness: Readiness },
    /// A role was asked for a small job.
    Worked { slug: Slug, role: Role, pid: u32, probed: Box<Probed> },
    /// Something ended, or changed: a look is worth while.
    Woken,
    /// Disks, files and containers were looked at.
    Surveyed { slug: Slug, seen: Box<Seen> },
    /// The lake was told whether to protect its tables.
    Protected { slug: Slug, pid: u32, holds: bool, outcome: Result<(), String> },
    /// The container engine told something.
    Engine { slug: Slug, heard: Heard },
    /// The machine was looked at.
    Fingerprint { print: Box<Fingerprint>, purpose: Purpose },
    /// The lake was asked.
    Counted { slug: Slug, documents: Option<u64> },
    /// Somebody asks what tried to leave a customer's networks. The answer is `None` for a customer that does not exist, and has
    /// none in it where nothing is counted.
    Egress { slug: Slug, reply: oneshot::Sender<Option<Egress>> },
    /// The rules that count were looked at.
    Looked { slug: Slug, look: Result<Option<Table>, String> },
    /// A role was started, or could not be.
    Started { slug: Slug, role: Role, outcome: Result<RoleRecord, StartFailure> },
    /// A backup ended; how, it kept note of itself.
    BackedUp { slug: Slug },
    /// Roles were stopped, or could not be.
    Stopped { slug: Slug, outcomes: Vec<(Role, Result<(), String>)> },
}

/// Why a role could not be started.
#[derive(Debug)]
pub(crate) struct StartFailure {
    pub(crate) reason: String,
    /// The engine did not answer, or refused: no fault of the role.
    pub(crate) is_of_engine: bool,
}

/// What somebody may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Start,
    Stop,
    Restart,
}

/// The one owner of all state.
pub(crate) struct Supervisor {
    layout: Layout,
    identity: Identity,
    binary: PathBuf,
    started: Timestamp,
    clock: Clock,
    customers: BTreeMap<Slug, Customer>,
    past: Past,
    machine: Machine,
    settings: Settings,
    notify: Notify,
    /// Orders that are answered when the customers they stop have stopped.
    waiting: Vec<Waiting>,
    /// When memory was last given back.
    trimmed: Option<Instant>,
    send: mpsc::Sender<Event>,
    receive: mpsc::Receiver<Event>,
}

struct Waiting {
    slugs: Vec<Slug>,
    reply: oneshot::Sender<Option<Status>>,
}

const QUEUE: usize = 256;
/// Looking at `/proc` is cheap: a dead role is noticed within this time.
const LOOK_EVERY: Duration = Duration::from_millis(1000);
/// While something starts, ends or is probed for the first time, looks come faster.
const LOOK_EVERY_BUSY: Duration = Duration::from_millis(150);

const TRIM_EVERY: Duration = Duration::from_secs(600);

impl Supervisor {
    pub(crate) fn new(
        layout: Layout,
        identity: Identity,
        clock: Clock,
        settings: Result<Settings, SettingsError>,
        notify: Notify,
    ) -> (Self, mpsc::Sender<Event>) {
        let (send, receive) = mpsc::channel(QUEUE);
        let mut past = Past::open(&layout);
        past.say(clock.now(), EventKind::Agent, None, None, format!("the agent began (pid {})", identity.pid));
        let settings = settings.unwrap_or_else(|error| {
            // Roles are more important than settings: they run, and everything else has its default.
            past.say(clock.now(), EventKind::Agent, None, None, format!("{}; defaults are used", chain(&error)));
            Settings::default()
        });
        if let Some(webhook) = settings.webhook.clone() {
            let (tell, events) = mpsc::channel(webhook::QUEUE);
            past.listen(tell);
            tokio::spawn(webhook::run(webhook, events));
        }
        let machine = Machine::new(layout.agent_fingerprint());
        let binary = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        let supervisor = Self {
            started: clock.now(),
            layout,
            identity,
            binary,
            clock,
            customers: BTreeMap::new(),
            past,
            machine,
            settings,
            notify,
            waiting: Vec::new(),
            trimmed: None,
            send: send.clone(),
            receive,
        };
        (supervisor, send)
    }

    /// Returns where Prometheus may ask, beside the control socket.
    pub(crate) fn metrics_listen(&self) -> Option<SocketAddr> {
        self.settings.metrics_listen
    }

    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut next = Instant::now();
        self.notify.ready();
        loop {
            self.notify.alive();
            tokio::select! {
                // Cancel-safe: a received event is handled to its end before the loop comes back here.
                Some(event) = self.receive.recv() => {
                    if self.handle(event) {
                        next = Instant::now();
                    }
                }
                // Cancel-safe: `next` stays, and the next turn waits for the rest of it.
                () = tokio::time::sleep_until(next) => {}
                // Roles are left running: only an order ends them.
                () = shutdown.cancelled() => {
                    self.notify.stopping();
                    self.past.say(self.clock.now(), EventKind::Agent, None, None, "the agent ends; its roles go on");
                    return;
                }
            }
            if Instant::now() >= next {
                self.reconcile();
                let is_busy = self.customers.values().any(Customer::is_unsettled);
                next = Instant::now() + if is_busy { LOOK_EVERY_BUSY } else { LOOK_EVERY };
            }
        }
    }

    /// Reads what is intended and what is, and closes the difference as far as can be done without waiting.
    fn reconcile(&mut self) {
        match install::installed(&self.layout) {
            Ok(slugs) => {
                self.customers.retain(|slug, customer| slugs.contains(slug) || customer.is_busy());
                for slug in slugs {
                    let every = self.settings.probe_every();
                    let new = || Customer::new(&self.layout, slug.clone(), self.clock, every);
                    self.customers.entry(slug.clone()).or_insert_with(new);
                }
            }
            Err(error) => tracing::warn!(error = %chain(&error), "cannot read which customers there are"),
        }
        for customer in self.customers.values_mut() {
            customer.reconcile(&self.layout, &self.send, &mut self.past);
        }
        self.take_note();
        self.trim();
    }

    /// Gives memory back when everything is settled, and now and then afterwards.
    fn trim(&mut self) {
        let is_due = self.trimmed.is_none_or(|at| at.elapsed() > TRIM_EVERY);
        if is_due && self.customers.values().all(Customer::is_well) {
            self.trimmed = Some(Instant::now());
            trim::trim();
        }
    }

    /// Takes note of the machine while all is well, and compares when something failed.
    fn take_note(&mut self) {
        let is_well = !self.customers.is_empty() && self.customers.values().all(Customer::is_well);
        let has_failed = self.customers.values_mut().fold(false, |any, customer| customer.take_failure() | any);
        let Some(purpose) = self.machine.turn(is_well, has_failed, std::time::Instant::now()) else { return };
        let own = [("the configuration", self.layout.etc()), ("the running state", self.layout.run())];
        let own = own.into_iter().map(|(purpose, path)| (purpose.to_owned(), path));
        let engine = self.customers.values().find_map(Customer::engine_facts).map(|facts| {
            let version = ("the engine's version".to_owned(), facts.version.clone());
            vec![version, ("the engine's image store".to_owned(), facts.store.clone())]
        });
        let places = Places {
            paths: own.chain(self.customers.values().flat_map(Customer::places)).collect(),
            binary: self.layout.binary(),
            engine: engine.unwrap_or_default(),
        };
        let (now, send) = (self.clock.now(), self.send.clone());
        tokio::task::spawn_blocking(move || {
            let print = Box::new(Fingerprint::take(&places, now));
            // The supervisor is gone when the agent ends.
            let _ = send.blocking_send(Event::Fingerprint { print, purpose });
        });
    }

    /// Returns whether it is worth reconciling at once.
    fn handle(&mut self, event: Event) -> bool {
        match event {
            Event::Status { reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(self.status());
                false
            }
            Event::Metrics { reply } => {
                let _ = reply.send(self.metrics());
                false
            }
            Event::Board { slug, reply } => {
                let board = self.customers.get_mut(&slug).map(|customer| customer.board(&self.layout));
                let _ = reply.send(board.unwrap_or_default());
                false
            }
            Event::Judged { slug, is_good } => {
                if let Some(customer) = self.customers.get_mut(&slug) {
                    customer.judged(is_good);
                }
                false
            }
            Event::Past { after, reply } => {
                let _ = reply.send(self.past.after(after));
                false
            }
            Event::Command { order, command, reply } => {
                self.command(order, command, reply);
                true
            }
            Event::Probed { slug, role, pid, readiness } => self
                .customers
                .get_mut(&slug)
                .is_some_and(|customer| customer.probed(role, pid, readiness, &mut self.past)),
            Event::Worked { slug, role, pid, probed } => {
                if let Some(customer) = self.customers.get_mut(&slug) {
                    customer.worked(role, pid, *probed, &self.send, &mut self.past);
                }
                false
            }
            Event::Woken => true,
            Event::Surveyed { slug, seen } => {
                self.customers.get_mut(&slug).is_some_and(|customer| customer.surveyed(*seen, &mut self.past))
            }
            Event::Protected { slug, pid, holds, outcome } => {
                if let Some(customer) = self.customers.get_mut(&slug) {
                    customer.protected(pid, holds, outcome, &mut self.past);
                }
                false
            }
            Event::Engine { slug, heard } => {
                self.customers.get_mut(&slug).is_some_and(|customer| customer.heard(heard, &mut self.past))
            }
            Event::Fingerprint { print, purpose } => {
                if let Some(text) = self.machine.taken(*print, purpose) {
                    self.past.say(self.clock.now(), EventKind::Host, None, None, text);
                }
                false
            }
            Event::Counted { slug, documents } => {
                if let Some(customer) = self.customers.get_mut(&slug) {
                    customer.counted(documents);
                }
                false
            }
            Event::Egress { slug, reply } => {
                self.egress(slug, reply);
                true
            }
            Event::Looked { slug, look } => {
                if let Some(customer) = self.customers.get_mut(&slug) {
                    customer.looked(look);
                }
                // Containers wait for the first look.
                true
            }
            Event::BackedUp { slug } => {
                if let Some(customer) = self.customers.get_mut(&slug) {
                    customer.backed_up();
                }
                false
            }
            Event::Started { slug, role, outcome } => {
                if let Some(customer) = self.customers.get_mut(&slug) {
                    customer.started(role, outcome, &mut self.past);
                }
                // One that was ordered to stop meanwhile is stopped before the order is answered.
                self.reconcile();
                self.answer_waiting();
                false
            }
            Event::Stopped { slug, outcomes } => {
                if let Some(customer) = self.customers.get_mut(&slug) {
                    customer.stopped(outcomes, &mut self.past);
                }
                self.answer_waiting();
                true
            }
        }
    }

    fn egress(&mut self, slug: Slug, reply: oneshot::Sender<Option<Egress>>) {
        // A customer that was installed a moment ago is seen at once, not at the next look.
        self.reconcile();
        let Some(customer) = self.customers.get_mut(&slug) else {
            // Whoever asked may have gone.
            let _ = reply.send(None);
            return;
        };
        let (asker, answer) = oneshot::channel();
        customer.ask_for_egress(asker);
        tokio::spawn(async move {
            // A customer that is uninstalled meanwhile answers no more.
            let egress = answer.await.ok().map(|ledger| Egress { format: FORMAT, ledger });
            let _ = reply.send(egress);
        });
    }

    fn command(&mut self, order: Order, command: Command, reply: oneshot::Sender<Option<Status>>) {
        // A customer that was installed a moment ago is seen at once, not at the next look.
        self.reconcile();
        let slugs: Vec<Slug> = match &command.customer {
            Some(slug) => self.customers.keys().filter(|known| *known == slug).cloned().collect(),
            None => self.customers.keys().cloned().collect(),
        };
        if slugs.is_empty() && command.customer.is_some() {
            let _ = reply.send(None);
            return;
        }
        for slug in &slugs {
            if let Some(customer) = self.customers.get_mut(slug) {
                customer.order(order, command.role, &self.send, &mut self.past);
            }
        }
        self.waiting.push(Waiting { slugs, reply });
        self.answer_waiting();
    }

    fn answer_waiting(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            let is_busy = waiting.slugs.iter().filter_map(|slug| self.customers.get(slug)).any(Customer::is_busy);
            if is_busy {
                self.waiting.push(waiting);
            } else {
                let _ = waiting.reply.send(Some(self.status()));
            }
        }
    }

    fn metrics(&mut self) -> String {
        let mut beside = Beside { events: self.past.counts().clone(), ..Beside::default() };
        for customer in self.customers.values() {
            customer.measure(&mut beside);
        }
        metrics::render(&self.status(), &beside)
    }

    fn status(&mut self) -> Status {
        Status {
            format: FORMAT,
            agent: AgentStatus {
                identity: self.identity.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                binary: self.binary.clone(),
                started: self.started,
                resident_bytes: stack::resident_bytes(self.identity.pid).unwrap_or(0),
            },
            customers: self.customers.values_mut().map(|customer| customer.status(&self.layout)).collect(),
            host: self.machine.status(),
        }
    }
}

/// Returns an error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}
