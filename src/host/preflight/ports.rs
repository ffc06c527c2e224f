//! Ports: who listens where the services will.

use std::collections::BTreeMap;
use std::path::Path;

use super::check::Check;
use super::wanted::PortUse;
use crate::Listener;

/// Returns who listens where, or `None` when the kernel's tables cannot be read: an empty table and none are two things.
pub(super) fn look() -> Option<BTreeMap<u16, Listener>> {
    Path::new("/proc/net/tcp").exists().then(crate::listeners)
}

/// `port.<number>` of each.
pub(super) fn ports(wanted: &[PortUse], listeners: Option<&BTreeMap<u16, Listener>>) -> Vec<Check> {
    wanted.iter().map(|port| check(port, listeners)).collect()
}

fn check(wanted: &PortUse, listeners: Option<&BTreeMap<u16, Listener>>) -> Check {
    let PortUse { port, purpose, is_ours } = wanted;
    let id = format!("port.{port}");
    let Some(listeners) = listeners else {
        return Check::unknown(id, format!("`/proc/net/tcp` cannot be read; {purpose}"), "see `ss -ltn`");
    };
    match listeners.get(port) {
        None => Check::ok(id, format!("free; {purpose}")),
        Some(listener) if *is_ours => Check::ok(id, format!("held by our own service, {}; {purpose}", listener.holder)),
        Some(listener) => Check::failed(
            id,
            format!("held by {}; {purpose}", listener.holder),
            "stop that program, or choose another block with `--port-base N`",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Failed, Ok, Unknown};
    use super::*;

    #[test]
    fn a_held_port_names_its_holder_unless_it_is_ours() {
        let wanted = |is_ours| PortUse { port: 5110, purpose: "web console".into(), is_ours };
        let nginx = Listener { port: 5110, pid: Some(811), holder: "nginx (pid 811)".into() };
        let held: BTreeMap<_, _> = [(5110, nginx)].into();
        let taken = &ports(&[wanted(false)], Some(&held))[0];
        assert_eq!((taken.id.as_str(), taken.verdict), ("port.5110", Failed));
        assert_eq!(taken.seen, "held by nginx (pid 811); web console");
        assert_eq!(ports(&[wanted(true)], Some(&held))[0].verdict, Ok);
        assert_eq!(ports(&[wanted(false)], Some(&BTreeMap::new()))[0].verdict, Ok);
        assert_eq!(ports(&[wanted(false)], None)[0].verdict, Unknown, "what cannot be read is not free");
    }
}
