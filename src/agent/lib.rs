//! The resident loop: keeps the roles of every customer of an installation running, and says how they stand.
//!
//! One agent runs per installation and holds its lock. It starts roles in order, adopts those that already run, starts
//! again those that end (with back-off and a budget), and answers on a socket that admits root and its own user
//! ([`Client`]). When it is told to end, its roles go on; only `stop` ends them.
//!
//! Apart from that it asks each role for a small real job and starts one anew that answers and does not do it; listens to the container
//! engine; looks at disks, files, ports and containers for what is not as it was installed, and lets roles rest while a disk is full;
//! and takes note of the machine while all is well, to say what changed when something fails. [`doctor`] looks at all of that without an
//! agent too.
//! Once a day it starts `0711 backup create`, where the customer has a schedule: a process of its own, at low priority.
//!
//! It never opens a table, a model or a customer's file: what it reports about them it reads from small state files of ours
//! or asks the roles over HTTP; of models and licenses it compares digests.
//!
//! Invariants:
//! - one task owns all state; everybody else sends it an event, and a reconcile pass takes no input but what it sees, so
//!   being woken twice does no harm;
//! - nothing in that task waits for a role, a disk or the engine: probes, looks and stops run beside it and report back, one of a kind at
//!   a time;
//! - a role that is busy is not ill, and one that is ill and cannot be healed by a new start is left running for what it still does;
//! - nothing is sent anywhere unless `agent.yaml` says so;
//! - a role that ends five times in ten minutes stays down until a person starts it.

mod backup;
mod budget;
mod certificate;
mod console_door;
mod customer;
mod disk;
mod doctor;
mod drift;
mod error;
mod facts;
mod fingerprint;
mod ledger;
mod look;
mod machine;
mod metrics;
mod notify;
mod past;
mod peer;
mod probe;
mod routes;
mod run;
mod settings;
mod supervisor;
mod trim;
mod update;
mod watch;
mod webhook;

pub use doctor::{Diagnosis, Finding, Severity, doctor};
pub use error::Error;
pub use install::control::{
    AgentEvent, AgentStatus, Client, Command, CustomerStatus, EventKind, LicenseStatus, RoleStatus, Status,
};
pub use notify::Notify;
pub use run::run;
