use std::{collections::HashSet, net::Ipv6Addr};

use crate::Error;

/// The `Host` values a web server answers to. A page elsewhere can point its own name at 127.0.0.1 (DNS rebinding); its
/// requests then carry that name, and are refused.
#[derive(Clone, Debug)]
pub struct HostAllowList {
    /// The port the server listens on.
    port: u16,
    allowed: HashSet<Authority>,
}

/// A host in lower case, without brackets and final dot, and the port if one is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Authority {
    host: String,
    port: Option<u16>,
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl HostAllowList {
    /// Allows the loopback names with the server's own port, and each of `hosts`.
    ///
    /// A host that is given with a port is allowed with that port only; one without is allowed with the server's port and
    /// without any, which is how it arrives through a proxy on the standard ports.
    pub fn new(port: u16, hosts: &[String]) -> Result<Self, Error> {
        let mut allowed: HashSet<Authority> =
            LOOPBACK.iter().map(|host| Authority { host: (*host).to_owned(), port: Some(port) }).collect();
        for host in hosts {
            // An IPv6 address in a configuration is as often written without brackets.
            let authority = match host.parse::<Ipv6Addr>() {
                Ok(address) => Some(Authority { host: address.to_string(), port: None }),
                Err(_) => Authority::parse(host),
            };
            let authority = authority.ok_or_else(|| Error::HostName(host.chars().take(100).collect()))?;
            if authority.port.is_none() {
                allowed.insert(Authority { port: Some(port), ..authority.clone() });
            }
            allowed.insert(authority);
        }
        Ok(Self { port, allowed })
    }

    /// Returns whether a request with this `Host` header is answered.
    pub fn allows(&self, host_header: &str) -> bool {
        Authority::parse(host_header).is_some_and(|authority| self.knows(authority))
    }

    /// Returns whether a request with this `Origin` header comes from a page of ours. `null` does not.
    pub fn allows_origin(&self, origin: &str) -> bool {
        let authority = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
        authority.is_some_and(|authority| self.allows(authority))
    }

    fn knows(&self, authority: Authority) -> bool {
        // Clients leave the port out where it is the scheme's own.
        let implied = matches!(self.port, 80 | 443) && authority.port.is_none();
        let full = Authority { port: Some(self.port), ..authority.clone() };
        self.allowed.contains(&authority) || (implied && self.allowed.contains(&full))
    }
}

impl Authority {
    /// Parses `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`. Anything else, as user info or a path, is refused.
    fn parse(text: &str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(bracketed) => {
                let (address, rest) = bracketed.split_once(']')?;
                (address.parse::<Ipv6Addr>().ok()?.to_string(), rest)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (name, rest) = text.split_at(end);
                let name = name.strip_suffix('.').unwrap_or(name);
                let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
                if name.is_empty() || name.len() > 253 || !name.chars().all(allowed) {
                    return None;
                }
                (name.to_ascii_lowercase(), rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        Some(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &HostAllowList, allowed: &[&str], refused: &[&str]) {
        for host in allowed {
            assert!(list.allows(host), "`{host}` must be allowed");
        }
        for host in refused {
            assert!(!list.allows(host), "`{host}` must be refused");
        }
    }

    #[test]
    fn loopback_is_known_with_its_own_port_only() {
        let list = HostAllowList::new(5110, &[]).unwrap();
        check(
            &list,
            &[
                "localhost:5110",
                "LOCALHOST:5110",
                "localhost.:5110",
                "127.0.0.1:5110",
                "[::1]:5110",
                "[0:0:0:0:0:0:0:1]:5110",
            ],
            &[
                "",
                "localhost",
                "localhost:80",
                "localhost:",
                "localhost:+5110",
                "localhost:5110:5110",
                "127.0.0.1",
                "127.0.0.2:5110",
                "127.1:5110",
                "[::1]",
                "[::1]5110",
                "::1:5110",
                "[::ffff:127.0.0.1]:5110",
                "evil.example:5110",
                "localhost.evil.example:5110",
                "user@localhost:5110",
                "localhost:5110/",
                " localhost:5110",
                "localhost:65536",
                "lоcalhost:5110",
            ],
        );
    }

    #[test]
    fn configured_hosts_are_known_as_they_were_written() {
        let hosts = ["Brain.Example.com", "10.0.0.5:8443", "fd00::5", "[fd00::6]:443"].map(str::to_owned);
        let list = HostAllowList::new(5110, &hosts).unwrap();
        check(
            &list,
            &[
                "brain.example.com",
                "brain.example.com:5110",
                "10.0.0.5:8443",
                "[fd00::5]:5110",
                "[fd00::5]",
                "[fd00::6]:443",
            ],
            &["brain.example.com:8443", "10.0.0.5", "10.0.0.5:5110", "[fd00::6]", "example.com", "x.brain.example.com"],
        );
    }

    #[test]
    fn a_standard_port_may_be_left_out() {
        let list = HostAllowList::new(443, &["a.example:443".to_owned()]).unwrap();
        check(&list, &["localhost", "a.example", "a.example:443"], &["a.example:80", "b.example"]);
    }

    #[test]
    fn an_origin_is_a_host_behind_a_web_scheme() {
        let list = HostAllowList::new(5110, &[]).unwrap();
        assert!(list.allows_origin("http://localhost:5110"));
        for origin in
            ["null", "", "http://evil.example", "file://localhost:5110", "localhost:5110", "http://localhost:5110/x"]
        {
            assert!(!list.allows_origin(origin), "{origin}");
        }
    }

    #[test]
    fn what_is_no_host_is_named() {
        for host in ["", "http://a", "a b", "a/b", "*"] {
            assert!(matches!(HostAllowList::new(1, &[host.to_owned()]), Err(Error::HostName(_))), "{host}");
        }
    }
}
