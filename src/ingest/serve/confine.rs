//! The walls around the role: what it may still do, and what of that the kernel granted.

use std::path::Path;

use base::{CustomerLayout, Role, config::ServiceConfig};
use extract::sandbox::{self, Applied, Policy, RANDOM_SOURCES, Resources};
use serde_json::{Value, json};

/// Files the role may have open: folders are listed a few at a time and files read a few at a time.
const OPEN_FILES: u64 = 1_024;

/// What holds for the role's own process. Its workers give up more, by themselves.
pub(super) struct Walls(Applied);

impl Walls {
    /// Returns what holds, with what holds for the worker started last (`null` before the first).
    pub fn to_json(&self, worker: Option<Applied>) -> Value {
        json!({ "role": self.0, "worker": worker })
    }
}

/// Confines the calling thread and all that it starts: it reads the data folders, the names of users and groups, and its own program (which it starts as workers),
/// writes its state and its log, and connects to the lake and to the embedder. A folder mounted later is not among what it may read
/// until the role is started again.
pub(super) fn confine(config: &ServiceConfig, customer: &CustomerLayout, jobs_dir: &Path, exe: &Path) -> Walls {
    let mut read = config.folders.clone();
    read.push(exe.to_owned());
    read.extend(RANDOM_SOURCES.map(Into::into));
    // Names of owners and groups.
    read.extend(["/etc/passwd", "/etc/group"].map(Into::into));
    if config.containers.is_some() {
        // There, lake and embedder are names.
        read.extend(["/etc/resolv.conf", "/etc/hosts"].map(Into::into));
    }
    let policy = Policy {
        read,
        write: vec![customer.ingest_state(), jobs_dir.to_owned(), customer.logs()],
        connect_ports: vec![config.port(Role::Lake), config.port(Role::Embed)],
        bind_ports: Vec::new(),
        sockets: true,
        programs: true,
        become_nobody: false,
        resources: Resources { open_files: Some(OPEN_FILES), ..Resources::default() },
    };
    let applied = sandbox::apply(&policy);
    tracing::info!(walls = %applied, "confined");
    Walls(applied)
}
