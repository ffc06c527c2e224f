//! Takes rights away from the running process: as many as the kernel lets it give up, and says which.
//!
//! Every measure is best effort, because a customer's kernel may be old or a container may forbid it; [`Applied`] tells what
//! held, so that `status` can show it. Call [`apply`] before threads start: file and network rules bind the calling thread
//! and those it starts later.

mod calls;
mod files;
mod resources;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a process may still do.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Directories and files it may read and run programs from. Everything else becomes invisible.
    pub read: Vec<PathBuf>,
    /// Directories it may also write, create and delete in.
    pub write: Vec<PathBuf>,
    /// TCP ports it may connect to.
    pub connect_ports: Vec<u16>,
    /// TCP ports it may listen on.
    pub bind_ports: Vec<u16>,
    /// Whether it may open sockets at all.
    pub sockets: bool,
    /// Whether it may start programs.
    pub programs: bool,
    /// Whether it gives up root for the user `nobody`.
    pub become_nobody: bool,
    pub resources: Resources,
}

/// Hard limits on what a process may use; absent ones stay as they are.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    pub address_space_bytes: Option<u64>,
    pub processor_seconds: Option<u64>,
    pub open_files: Option<u64>,
    /// The largest file it may write; 0 for none.
    pub file_bytes: Option<u64>,
}

/// A statically linked program has no other source of random numbers, and hash tables want some: whoever confines itself or
/// starts confined workers keeps these readable.
pub const RANDOM_SOURCES: [&str; 2] = ["/dev/urandom", "/dev/random"];

impl Policy {
    /// The worker that reads untrusted bytes: no files but the source of random numbers, no network, no programs, bounded
    /// memory.
    pub fn worker(memory_bytes: u64, processor_seconds: u64) -> Self {
        Self {
            read: RANDOM_SOURCES.map(PathBuf::from).to_vec(),
            become_nobody: true,
            resources: Resources {
                address_space_bytes: Some(memory_bytes),
                processor_seconds: Some(processor_seconds),
                open_files: Some(64),
                file_bytes: Some(0),
            },
            ..Self::default()
        }
    }
}

/// How far a measure holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    Full,
    /// The kernel knows only a part of it.
    Partial,
    /// It does not hold; the text says why.
    Absent(String),
}

impl Hold {
    fn from_result(result: Result<(), impl fmt::Display>) -> Self {
        match result {
            Ok(()) => Self::Full,
            Err(error) => Self::Absent(error.to_string()),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("yes"),
            Self::Partial => f.write_str("partly"),
            Self::Absent(reason) => write!(f, "no ({reason})"),
        }
    }
}

/// What held, measure by measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Not root, or root given up.
    pub unprivileged: Hold,
    /// No program started from here gains rights.
    pub no_new_privileges: Hold,
    /// Files and TCP ports (Landlock).
    pub files_and_ports: Hold,
    /// System calls (seccomp).
    pub calls: Hold,
    /// Memory, processor time, open files, core dumps.
    pub resources: Hold,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unprivileged {}, no new privileges {}, files and ports {}, system calls {}, resources {}",
            self.unprivileged, self.no_new_privileges, self.files_and_ports, self.calls, self.resources
        )
    }
}

/// Applies a policy to the calling thread and all it starts. Rights once given up do not come back.
pub fn apply(policy: &Policy) -> Applied {
    // Root first: afterwards the right to change the user is gone. System calls last: the other measures need some of them.
    let unprivileged = if policy.become_nobody {
        Hold::from_result(resources::become_nobody())
    } else if rustix::process::geteuid().is_root() {
        Hold::Absent("runs as root".to_owned())
    } else {
        Hold::Full
    };
    let no_new_privileges = Hold::from_result(rustix::thread::set_no_new_privs(true));
    let resources = Hold::from_result(resources::limit(&policy.resources));
    let files_and_ports = files::restrict(policy);
    let calls = Hold::from_result(calls::restrict(policy));
    Applied { unprivileged, no_new_privileges, files_and_ports, calls, resources }
}
