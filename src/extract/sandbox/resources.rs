//! Resource limits, and giving up root.

use std::io;

use rustix::process::{Gid, Resource, Rlimit, Uid, geteuid, getrlimit, setrlimit};
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use super::Resources;

/// The user `nobody` and the group of the same number, on every Linux distribution.
const NOBODY: u32 = 65_534;

/// Lowers the limits, soft and hard, and forbids core dumps: one would hold the customer's document.
pub(super) fn limit(resources: &Resources) -> io::Result<()> {
    set(Resource::Core, Some(0))?;
    set(Resource::As, resources.address_space_bytes)?;
    set(Resource::Cpu, resources.processor_seconds)?;
    set(Resource::Nofile, resources.open_files)?;
    set(Resource::Fsize, resources.file_bytes)
}

fn set(resource: Resource, wanted: Option<u64>) -> io::Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    // A limit already lower stays: raising a hard limit is refused.
    let value = getrlimit(resource).maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let limit = Rlimit { current: Some(value), maximum: Some(value) };
    Ok(setrlimit(resource, limit)?)
}

/// Becomes `nobody` when this is root. These calls change the calling thread alone: threads must not run yet.
pub(super) fn become_nobody() -> io::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    set_thread_groups(&[])?;
    set_thread_gid(Gid::from_raw(NOBODY))?;
    set_thread_uid(Uid::from_raw(NOBODY))?;
    Ok(())
}
