use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::port::socket_inode;

/// A socket of a process that is connected, or on its way, to another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Whose.
    pub pid: u32,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Our end.
    pub local: SocketAddr,
    /// The other end; never loopback.
    pub remote: SocketAddr,
}

/// State `LISTEN` (include/net/tcp_states.h); a datagram socket has `07`, connected or not.
const LISTEN: &str = "0A";

/// Returns the sockets of these processes that have another machine at their other end, as they are at this moment.
///
/// A socket of a process whose descriptors this user may not see is not found.
pub fn connections(pids: &BTreeSet<u32>) -> Vec<Connection> {
    let owners = owners(pids);
    let mut found = Vec::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let Ok(text) = std::fs::read_to_string(format!("/proc/net/{protocol}")) else { continue };
        for (local, remote, inode) in text.lines().skip(1).filter_map(parse) {
            if let Some(pid) = owners.get(&inode) {
                let protocol = protocol.trim_end_matches('6').to_owned();
                found.push(Connection { pid: *pid, protocol, local, remote });
            }
        }
    }
    found
}

fn owners(pids: &BTreeSet<u32>) -> BTreeMap<u64, u32> {
    let of = |pid: &u32| {
        let pid = *pid;
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        descriptors.filter_map(move |descriptor| Some((socket_inode(&descriptor.path())?, pid)))
    };
    pids.iter().flat_map(of).collect()
}

/// Parses a row `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`; nothing for a socket that is not
/// connected beyond this machine.
fn parse(row: &str) -> Option<(SocketAddr, SocketAddr, u64)> {
    let mut fields = row.split_ascii_whitespace().skip(1);
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    if fields.next()? == LISTEN || remote.ip().is_unspecified() || remote.ip().is_loopback() {
        return None;
    }
    Some((local, remote, fields.nth(5)?.parse().ok()?))
}

/// `0100007F:13F6`: words of the address as the processor reads them, in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn reads_what_leads_to_another_machine() {
        let row = |local: &str, remote: &str, state: &str| {
            format!("   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  0  0 4242 1 0")
        };
        let of =
            |remote: &str, state: &str| parse(&row("0501A8C0:C350", remote, state)).map(|found| found.1.to_string());
        assert_eq!(of("010200C0:0050", "02").as_deref(), Some("192.0.2.1:80"), "on its way");
        assert_eq!(of("010200C0:0050", "01").as_deref(), Some("192.0.2.1:80"));
        assert_eq!(of("0100007F:0050", "01"), None, "loopback");
        assert_eq!(of("00000000:0000", "0A"), None, "listening");
        assert_eq!(of("00000000:0000", "07"), None, "datagrams from anybody");
        assert_eq!(of("0000000000000000FFFF0000010200C0:0050", "01").as_deref(), Some("192.0.2.1:80"));
        assert_eq!(of("0000000000000000FFFF00000100007F:0050", "01"), None);
        assert_eq!(of("B80D0120000000000000000001000000:0050", "01").as_deref(), Some("[2001:db8::1]:80"));
    }

    #[test]
    fn finds_the_own_socket_and_nobody_elses() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Connecting a datagram socket sends nothing; without any route it cannot be done.
        if socket.connect("192.0.2.1:9").is_err() {
            return;
        }
        let local = socket.local_addr().unwrap();
        let own = connections(&[std::process::id()].into());
        assert!(own.iter().any(|found| found.local == local && found.remote.to_string() == "192.0.2.1:9"), "{own:?}");
        assert_eq!(connections(&[1].into()).iter().filter(|found| found.local == local).count(), 0);
    }
}
