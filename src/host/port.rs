use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A TCP port somebody listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// The process, when this user may see it.
    pub pid: Option<u32>,
    /// For people: `nginx (pid 811)`, or `another user's process`.
    pub holder: String,
}

/// State `LISTEN` in `/proc/net/tcp` (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// Returns who listens on `port` of loopback or of all addresses, or `None` when nobody does.
pub fn port_holder(port: u16) -> Option<Listener> {
    let inode = *sockets().get(&port)?;
    Some(listener(port, owners([inode].into()).get(&inode).copied()))
}

/// Returns every port somebody listens on, on loopback or on all addresses.
///
/// A socket bound to another address of the machine does not keep us from 127.0.0.1 and is left out.
pub fn listeners() -> BTreeMap<u16, Listener> {
    let sockets = sockets();
    let owners = owners(sockets.values().copied().collect());
    sockets.into_iter().map(|(port, inode)| (port, listener(port, owners.get(&inode).copied()))).collect()
}

fn listener(port: u16, pid: Option<u32>) -> Listener {
    let holder = match pid {
        Some(pid) => match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => format!("{} (pid {pid})", name.trim()),
            Err(_) => format!("pid {pid}"),
        },
        None => "another user's process".to_owned(),
    };
    Listener { port, pid, holder }
}

fn sockets() -> BTreeMap<u16, u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(parse).collect::<Vec<_>>())
        .collect()
}

/// Parses one row: `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`.
fn parse(row: &str) -> Option<(u16, u64)> {
    let mut fields = row.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != LISTEN || !concerns_loopback(address) {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some((u16::from_str_radix(port, 16).ok()?, inode))
}

/// Addresses are printed as little-endian words in hexadecimal.
fn concerns_loopback(address: &str) -> bool {
    match address.len() {
        8 => address == "00000000" || address.ends_with("7F"),
        32 => {
            address.bytes().all(|digit| digit == b'0')
                || address == "00000000000000000000000001000000"
                || address.strip_prefix("0000000000000000FFFF0000").is_some_and(concerns_loopback)
        }
        _ => false,
    }
}

/// Finds which process holds each of the socket `inodes`, by the links in `/proc/PID/fd`.
fn owners(mut inodes: std::collections::BTreeSet<u64>) -> HashMap<u64, u32> {
    let mut found = HashMap::new();
    let Ok(processes) = std::fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if inodes.is_empty() {
            break;
        }
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for inode in descriptors.flatten().filter_map(|descriptor| socket_inode(&descriptor.path())) {
            if inodes.remove(&inode) {
                found.insert(inode, pid);
            }
        }
    }
    found
}

/// Returns the socket a descriptor in `/proc/PID/fd` stands for.
pub(crate) fn socket_inode(descriptor: &Path) -> Option<u64> {
    let target = std::fs::read_link(descriptor).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_process_that_listens() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let holder = port_holder(port).unwrap();
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(holder.holder.ends_with(&format!("(pid {})", std::process::id())), "{}", holder.holder);
        assert_eq!(listeners()[&port], holder);
        drop(socket);
        assert_eq!(port_holder(port), None);
    }

    #[test]
    fn takes_only_what_would_collide_with_loopback() {
        let row = |address: &str, state: &str| {
            format!(
                "   0: {address}:13F6 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4242 1 0"
            )
        };
        assert_eq!(parse(&row("0100007F", "0A")), Some((5110, 4242)));
        assert_eq!(parse(&row("00000000", "0A")), Some((5110, 4242)));
        assert_eq!(parse(&row("0100007F", "01")), None, "connected, not listening");
        assert_eq!(parse(&row("0501A8C0", "0A")), None, "192.168.1.5");
        assert_eq!(parse(&row("00000000000000000000000000000000", "0A")), Some((5110, 4242)));
        assert_eq!(parse(&row("00000000000000000000000001000000", "0A")), Some((5110, 4242)));
        assert_eq!(parse("garbage"), None);
    }
}
