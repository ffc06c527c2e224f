use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use base::{Clock, Layout, Role, Slug, Timestamp};
use install::control::{AgentEvent, AgentStatus, Command, FORMAT, Status};
use stack::{Identity, Readiness, RoleRecord};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::customer::Customer;

/// Everything that can happen to the agent.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody asks how things stand.
    Status { reply: oneshot::Sender<Status> },
    /// Somebody asks what happened.
    Past { after: u64, reply: oneshot::Sender<Vec<AgentEvent>> },
    /// Somebody orders. The answer is `None` for a customer that does not exist.
    Command { order: Order, command: Command, reply: oneshot::Sender<Option<Status>> },
    /// A probe came back.
    Probed { slug: Slug, role: Role, pid: u32, readiness: Readiness },
    /// The lake was asked.
    Counted { slug: Slug, documents: Option<u64> },
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
    /// Orders that are answered when the customers they stop have stopped.
    waiting: Vec<Waiting>,
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

impl Supervisor {
    pub(crate) fn new(layout: Layout, identity: Identity, clock: Clock) -> (Self, mpsc::Sender<Event>) {
        let (send, receive) = mpsc::channel(QUEUE);
        let binary = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        let supervisor = Self {
            started: clock.now(),
            layout,
            identity,
            binary,
            clock,
            customers: BTreeMap::new(),
            past: Past::default(),
            waiting: Vec::new(),
            send: send.clone(),
            receive,
        };
        (supervisor, send)
    }

    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut next = Instant::now();
        loop {
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
                () = shutdown.cancelled() => return,
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
                    self.customers.entry(slug.clone()).or_insert_with(|| Customer::new(&self.layout, slug, self.clock));
                }
            }
            Err(error) => tracing::warn!(error = %chain(&error), "cannot read which customers there are"),
        }
        for customer in self.customers.values_mut() {
            customer.reconcile(&self.layout, &self.send, &mut self.past);
        }
    }

    /// Returns whether it is worth reconciling at once.
    fn handle(&mut self, event: Event) -> bool {
        match event {
            Event::Status { reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(self.status());
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
            Event::Counted { slug, documents } => {
                if let Some(customer) = self.customers.get_mut(&slug) {
                    customer.counted(documents);
                }
                false
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
        }
    }
}

/// What happened, as far back as is remembered.
#[derive(Debug, Default)]
pub(crate) struct Past {
    seq: u64,
    events: VecDeque<AgentEvent>,
}

const PAST_MAX: usize = 500;

impl Past {
    pub(crate) fn tell(&mut self, at: Timestamp, customer: &Slug, role: Role, message: impl Into<String>) {
        let message = message.into();
        tracing::info!(customer = %customer, role = %role, "{message}");
        self.seq += 1;
        if self.events.len() == PAST_MAX {
            self.events.pop_front();
        }
        self.events.push_back(AgentEvent { seq: self.seq, at, customer: customer.clone(), role, message });
    }

    fn after(&self, seq: u64) -> Vec<AgentEvent> {
        self.events.iter().filter(|event| event.seq > seq).cloned().collect()
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
