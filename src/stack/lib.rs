//! Runs the roles of a customer, as processes of this binary ([`Native`]) or as containers ([`docker`]).
//!
//! Without containers, a role is started in a session of its own, with an empty environment, and outlives whoever started it. What was
//! started is recorded (pid, start time, command line, port, binary, configuration); whoever comes next adopts a process
//! only if all of that still fits, so that a reused pid is never signalled.
//!
//! It refuses to signal a process it cannot prove to be its own, and never puts a secret into an argument or the
//! environment.
//!
//! Invariants:
//! - what is counted of attempts to leave the containers' networks is never taken for zero where it cannot be read
//!   ([`egress`]), and counting changes the way of no packet;
//! - liveness (`/proc`, pid record) and readiness (`GET /health`) are asked separately, each with a deadline;
//! - a record is written atomically after the process runs; a process without a record is found again by its port;
//! - logs are capped, also when nobody but the role is there to cap them ([`RotatingWriter`]).

mod config;
pub mod docker;
pub mod egress;
mod error;
pub mod http;
mod identity;
mod logfile;
mod native;
mod process;
mod progress;
mod record;
mod runtime;
mod state;
mod unix;

pub use config::service_config;
pub use error::Error;
pub use identity::Identity;
pub(crate) use identity::boot_id;
pub use logfile::RotatingWriter;
pub use native::{Native, own_ports};
pub use process::{Ended, resident_bytes, spawn, stop};
pub use progress::{Movement, Sample, start_patience};
pub use record::RoleRecord;
pub use runtime::{Runtime, endpoint, probe};
pub use state::{Observation, Readiness, RoleState};
pub use unix::{bind_private, connect, shared_door};
