//! The agent's control socket: what can be asked, and what is answered.
//!
//! HTTP over a unix socket that admits root and the agent's own user. `GET /v1/status`, `GET /v1/events?after=SEQ`,
//! `GET /v1/egress?customer=SLUG`, `GET /v1/metrics`, `POST /v1/start | /v1/stop | /v1/restart` with a [`Command`]. Written by `agent`, read by
//! `install` and `cli`.

mod event;
mod health;

use std::path::PathBuf;
use std::time::Duration;

use base::{Layout, Role, Slug, Timestamp};
use serde::{Deserialize, Serialize};
use stack::egress::Ledger;
use stack::http::{Ask, CallError, Endpoint, call_json};
use stack::{Identity, RoleState};

pub use event::{AgentEvent, EventKind, ProbeLine, WorkVerdict, older_part, past_events, past_probes, read_lines};
pub use health::{DiskRoom, DiskStage, DiskStatus, Drift, HostStatus, WorkStatus};

/// The version of the wire this program speaks.
pub const FORMAT: u32 = 1;

/// Everything the agent knows, in one answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this wire: 1.
    pub format: u32,
    /// The agent itself.
    pub agent: AgentStatus,
    /// Every customer of this installation.
    pub customers: Vec<CustomerStatus>,
    /// The machine.
    #[serde(default)]
    pub host: HostStatus,
}

/// The agent itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its process.
    pub identity: Identity,
    /// The product's version it is.
    pub version: String,
    /// The binary it runs, links resolved.
    pub binary: PathBuf,
    /// When it started.
    pub started: Timestamp,
    /// Its resident memory.
    pub resident_bytes: u64,
}

/// One customer's stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomerStatus {
    /// In short.
    pub slug: Slug,
    /// As people write it; empty before the configuration is written.
    pub name: String,
    /// The installed version; absent while an installation is not finished.
    pub version: Option<String>,
    /// Whether the administrator wants it to run.
    pub is_wanted: bool,
    /// How the license stands.
    pub license: LicenseStatus,
    /// The roles in start order.
    pub roles: Vec<RoleStatus>,
    /// The adapter that answers, for instance `v1`.
    pub adapter: Option<String>,
    /// Documents in the lake; absent while it does not answer.
    pub documents: Option<u64>,
    /// Room where the data lies.
    pub disk_free_bytes: Option<u64>,
    /// How full the disks are; absent until they were looked at.
    #[serde(default)]
    pub disk: Option<DiskStatus>,
    /// What is not as it was installed.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// Where the console is.
    pub console_url: String,
    /// Where programs ask.
    pub api_url: String,
    /// Why the customer cannot be run at all, when that is so.
    pub problem: Option<String>,
    /// The administrator's changes to the compose file, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<PathBuf>,
}

/// How a license stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseStatus {
    /// Its id; absent when it cannot be read.
    pub id: Option<String>,
    /// For people.
    pub standing: String,
    /// Whether updates and training are allowed.
    pub allows_change: bool,
}

/// One role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// Which.
    pub role: Role,
    /// How it stands.
    #[serde(flatten)]
    pub state: RoleState,
    /// Its process, when it runs.
    pub pid: Option<u32>,
    /// Where it listens.
    pub port: u16,
    /// Its resident memory, when it runs.
    pub resident_bytes: Option<u64>,
    /// Since when it runs.
    pub started: Option<Timestamp>,
    /// Starts after an end nobody asked for, since the agent began.
    pub restarts: u32,
    /// While it starts: for how long it has shown no progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_seconds: Option<u64>,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// Whether it runs the binary and the configuration that are in place.
    pub is_current: bool,
    /// How it does its work; absent until it was asked.
    #[serde(default)]
    pub work: Option<WorkStatus>,
    /// Why the agent keeps it down, when it does.
    #[serde(default)]
    pub held: Option<String>,
}

/// What a command is about; without a role it is every role, without a customer every customer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Whose.
    #[serde(default)]
    pub customer: Option<Slug>,
    /// Which.
    #[serde(default)]
    pub role: Option<Role>,
}

/// What tried to leave a customer's networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Egress {
    /// Version of this wire: 1.
    pub format: u32,
    /// Everything since the installation; absent where the roles have no networks of their own.
    pub ledger: Option<Ledger>,
}

/// Asks the agent.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
}

const STATUS_PATIENCE: Duration = Duration::from_secs(10);
/// The packet filter is asked twice at most, and gets ten seconds each time.
const EGRESS_PATIENCE: Duration = Duration::from_secs(45);
/// Every role may take its whole patience to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(120);

impl Client {
    /// Returns a client of the installation's agent; nothing is asked yet.
    pub fn new(layout: &Layout) -> Self {
        Self { endpoint: Endpoint::Unix(layout.agent_socket()) }
    }

    /// Returns how everything stands.
    ///
    /// # Errors
    /// [`CallError`]; with [`CallError::Connect`] there is no agent.
    pub async fn status(&self) -> Result<Status, CallError> {
        call_json(&self.endpoint, Ask { deadline: STATUS_PATIENCE, ..Ask::new("GET", "/v1/status") }).await
    }

    /// Returns what happened after event `after` (0 for everything the agent remembers).
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn events(&self, after: u64) -> Result<Vec<AgentEvent>, CallError> {
        call_json(&self.endpoint, Ask::new("GET", &format!("/v1/events?after={after}"))).await
    }

    /// Returns what tried to leave a customer's networks, after a look.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn egress(&self, slug: &Slug) -> Result<Egress, CallError> {
        let path = format!("/v1/egress?customer={slug}");
        call_json(&self.endpoint, Ask { deadline: EGRESS_PATIENCE, ..Ask::new("GET", &path) }).await
    }

    /// Lets roles run again, also those that needed a person; returns as soon as the agent knows.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn start(&self, command: &Command) -> Result<Status, CallError> {
        self.command("/v1/start", command, STATUS_PATIENCE).await
    }

    /// Stops roles, and returns when they are stopped.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn stop(&self, command: &Command) -> Result<Status, CallError> {
        self.command("/v1/stop", command, STOP_PATIENCE).await
    }

    /// Stops roles and lets them start again; returns when they are stopped.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn restart(&self, command: &Command) -> Result<Status, CallError> {
        self.command("/v1/restart", command, STOP_PATIENCE).await
    }

    async fn command(&self, path: &str, command: &Command, deadline: Duration) -> Result<Status, CallError> {
        let body = serde_json::to_value(command);
        let body =
            body.map_err(|source| CallError::Broken { endpoint: self.endpoint.clone(), source: source.into() })?;
        call_json(&self.endpoint, Ask { body: Some(body), deadline, ..Ask::new("POST", path) }).await
    }
}
