//! The resident loop: keeps the roles of every customer of an installation running, and says how they stand.
//!
//! One agent runs per installation and holds its lock. It starts roles in order, adopts those that already run, starts
//! again those that end (with back-off and a budget), and answers on a socket that admits root and its own user
//! ([`Client`]). When it is told to end, its roles go on; only `stop` ends them.
//!
//! Once a day it starts `0711 backup create`, where the customer has a schedule: a process of its own, at low priority.
//!
//! It never opens a table, a model or a customer's file: what it reports about them it reads from small state files of ours
//! or asks the roles over HTTP.
//!
//! Invariants:
//! - one task owns all state; everybody else sends it an event, and a reconcile pass takes no input but what it sees, so
//!   being woken twice does no harm;
//! - nothing in that task waits for a role: probes and stops run beside it, with deadlines, and report back;
//! - a role that ends five times in ten minutes stays down until a person starts it.

mod backup;
mod budget;
mod customer;
mod error;
mod facts;
mod peer;
mod routes;
mod run;
mod supervisor;

pub use error::Error;
pub use install::control::{
    AgentEvent, AgentStatus, Client, Command, CustomerStatus, LicenseStatus, RoleStatus, Status,
};
pub use run::run;
