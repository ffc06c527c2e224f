//! Names: one question to the machine's own name servers, asked only when somebody wanted the network tried.
//!
//! The C library's resolver is of no use in a static binary: it loads modules of the very libc it was built with.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::check::Check;

/// What the machine says about names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// From `/etc/resolv.conf`.
    pub(super) servers: Vec<IpAddr>,
    /// Text of `/etc/hosts`.
    pub(super) hosts: String,
}

/// What a name server made of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It knows the name; the IPv4 addresses, none for the root.
    Known(Vec<Ipv4Addr>),
    /// It says there is no such name.
    NoSuchName,
    /// It would not, or could not: the code of RFC 1035, 4.1.1.
    Refused(u8),
    /// No server said anything that belongs to the question.
    Silence,
}

/// Reads the machine's own set-up; asks nobody. `None` without `/etc/resolv.conf`.
pub(super) fn names() -> Option<Names> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    Some(Names { servers: servers(&text), hosts })
}

/// The resolver of every libc stops after three (resolv.conf(5)).
const SERVERS_MAX: usize = 3;

fn servers(text: &str) -> Vec<IpAddr> {
    let values = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.split_whitespace().next());
    // A scope (`fe80::1%eth0`) has no place in an address.
    values.filter_map(|value| value.split('%').next()?.parse().ok()).take(SERVERS_MAX).collect()
}

impl Names {
    /// Returns what `/etc/hosts` says about `name`.
    fn local(&self, name: &str) -> Option<IpAddr> {
        let rows = self.hosts.lines().filter_map(|line| line.split('#').next());
        rows.map(str::split_whitespace).find_map(|mut words| {
            let address = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
        })
    }

    /// Returns an address of `name`: itself, the one in `/etc/hosts`, or one a name server knows.
    pub(super) fn resolve(&self, name: &str, deadline: Instant) -> Result<IpAddr, Answer> {
        if let Ok(address) = name.parse() {
            return Ok(address);
        }
        if let Some(address) = self.local(name) {
            return Ok(address);
        }
        match self.ask(name, deadline) {
            Answer::Known(addresses) => addresses.first().copied().map(IpAddr::V4).ok_or(Answer::NoSuchName),
            other => Err(other),
        }
    }

    /// Asks the servers in their order for `name`, or for the root when it is empty; each gets its share of the time.
    pub(super) fn ask(&self, name: &str, deadline: Instant) -> Answer {
        let Some(question) = Question::new(name) else { return Answer::NoSuchName };
        let mut last = Answer::Silence;
        for (index, server) in self.servers.iter().enumerate() {
            let left = u32::try_from(self.servers.len() - index).unwrap_or(1);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            match question.put(SocketAddr::new(*server, 53), share) {
                Ok(Answer::Silence) | Err(_) => {}
                Ok(answer @ Answer::Refused(_)) => last = answer,
                Ok(answer) => return answer,
            }
        }
        last
    }
}

/// A question on the wire (RFC 1035, 4.1): for an address, or for the name servers of the root.
struct Question {
    id: [u8; 2],
    bytes: Vec<u8>,
}

const TYPE_A: u16 = 1;
const TYPE_NS: u16 = 2;
const HEADER_BYTES: usize = 12;

impl Question {
    /// `None` when `name` cannot be a name.
    fn new(name: &str) -> Option<Self> {
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        // Not secret: the socket takes answers of this server's address only, and nothing is done with them but shown.
        let [.., high, low] = (nanoseconds ^ std::process::id()).to_be_bytes();
        let id = [high, low];
        // Recursion desired, one question.
        let mut bytes = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.trim_end_matches('.').split('.').filter(|_| !name.is_empty()) {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
            bytes.push(length);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        let kind = if name.is_empty() { TYPE_NS } else { TYPE_A };
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&1_u16.to_be_bytes());
        (bytes.len() <= 512).then_some(Self { id, bytes })
    }

    fn put(&self, server: SocketAddr, patience: Duration) -> io::Result<Answer> {
        let ends = Instant::now() + patience;
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.send(&self.bytes)?;
        let mut answer = [0; 1500];
        loop {
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Answer::Silence);
            }
            socket.set_read_timeout(Some(left))?;
            let count = socket.recv(&mut answer)?;
            if let Some(answer) = self.read(&answer[..count]) {
                return Ok(answer);
            }
        }
    }

    /// Reads an answer; `None` when it belongs to another question or is cut short.
    fn read(&self, bytes: &[u8]) -> Option<Answer> {
        let header = bytes.get(..HEADER_BYTES)?;
        let is_response = header[2] & 0x80 != 0;
        if header[..2] != self.id
            || !is_response
            || bytes.get(HEADER_BYTES..self.bytes.len())? != &self.bytes[HEADER_BYTES..]
        {
            return None;
        }
        match header[3] & 0x0f {
            0 => Some(Answer::Known(addresses(bytes, self.bytes.len(), u16::from_be_bytes([header[6], header[7]])))),
            3 => Some(Answer::NoSuchName),
            code => Some(Answer::Refused(code)),
        }
    }
}

/// Collects the addresses of `count` records from `at` on; records that are cut end the list.
fn addresses(bytes: &[u8], mut at: usize, count: u16) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    for _ in 0..count {
        let Some(fixed) = skip_name(bytes, at) else { break };
        let Some(&[kind_high, kind_low, _, _, _, _, _, _, high, low]) = bytes.get(fixed..fixed + 10) else { break };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(data) = bytes.get(fixed + 10..fixed + 10 + length) else { break };
        if let (TYPE_A, &[a, b, c, d]) = (u16::from_be_bytes([kind_high, kind_low]), data) {
            found.push(Ipv4Addr::new(a, b, c, d));
        }
        at = fixed + 10 + length;
    }
    found
}

/// Returns where the name at `at` ends: at a zero, or behind a pointer.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// `dns`, from what was asked; an empty name stands for the root.
pub(super) fn dns(names: Option<&Names>, answers: &[(String, Answer)]) -> Check {
    let id = "dns";
    let remedy = "correct `nameserver` in `/etc/resolv.conf`, or do without: nothing here needs names when models and \
                  updates come from files";
    let Some(names) = names else {
        return Check::unknown(id, "`/etc/resolv.conf` cannot be read", remedy);
    };
    if names.servers.is_empty() {
        return Check::warning(id, "`/etc/resolv.conf` names no name server", remedy);
    }
    let servers = names.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let fault = answers.iter().find_map(|(name, answer)| match answer {
        Answer::Silence => Some("nobody answers".to_owned()),
        // Many a company's server knows nothing of the root. That it says so is what was asked.
        _ if name.is_empty() => None,
        Answer::Known(addresses) if !addresses.is_empty() => None,
        Answer::Known(_) => Some(format!("`{name}` has no IPv4 address")),
        Answer::NoSuchName => Some(format!("there is no name `{name}`")),
        Answer::Refused(code) => Some(format!("the question for `{name}` was refused with code {code}")),
    });
    match fault {
        Some(fault) => Check::warning(id, format!("{servers}: {fault}"), remedy),
        None if answers.is_empty() => Check::unknown(id, format!("{servers}: nothing was asked in time"), remedy),
        None => {
            let names: Vec<_> = answers.iter().map(|(name, _)| name.as_str()).filter(|name| !name.is_empty()).collect();
            let known = if names.is_empty() { String::new() } else { format!(" and knows {}", names.join(", ")) };
            Check::ok(id, format!("{servers} answers{known}"))
        }
    }
}

#[cfg(test)]
mod tests;
