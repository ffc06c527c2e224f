//! What a container's own network counted of attempts that came to nothing inside it.

use crate::egress::Unrouted;

/// Reads the counters of the network that process `pid` lives in; nothing when it is gone.
pub(crate) fn unrouted(pid: u32) -> Option<Unrouted> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/net/{name}")).ok();
    parse(&read("snmp")?, read("snmp6").as_deref())
}

/// `snmp` has pairs of lines, names and values; `snmp6`, absent without IPv6, a name and a value in each line.
///
/// `OutNoRoutes` counts connections and datagrams that found no route (RFC 4293), `NoPorts` datagrams to a port nobody listens on
/// (RFC 4113): nothing in a container speaks UDP but the engine's resolver, which sends there what it does not know itself.
fn parse(snmp: &str, snmp6: Option<&str>) -> Option<Unrouted> {
    let of = |group: &str, name: &str| -> Option<u64> {
        let mut lines = snmp.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(':'));
        let (names, values) = (lines.next()?, lines.next()?);
        let place = names.split_ascii_whitespace().position(|found| found == name)?;
        values.split_ascii_whitespace().nth(place)?.parse().ok()
    };
    let of6 = |name: &str| -> u64 {
        let mut pairs = snmp6.unwrap_or_default().lines().filter_map(|line| line.split_once(char::is_whitespace));
        pairs.find(|(found, _)| *found == name).and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
    };
    Some(Unrouted {
        without_route: of("Ip", "OutNoRoutes")? + of6("Ip6OutNoRoutes"),
        names: of("Udp", "NoPorts")? + of6("Udp6NoPorts"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout
Ip: 1 64 9120 0 0 0 0 0 9120 8871 0 3 0
Icmp: InMsgs InErrors
Icmp: 2 0
Udp: InDatagrams NoPorts InErrors OutDatagrams
Udp: 12 2 0 14
UdpLite: InDatagrams NoPorts InErrors OutDatagrams
UdpLite: 0 9 0 0
";

    #[test]
    fn both_versions_of_the_protocol_count() {
        let snmp6 = "Ip6InReceives                   \t0\nIp6OutNoRoutes                  \t4\nUdp6NoPorts                     \t1\n";
        assert_eq!(parse(SNMP, Some(snmp6)), Some(Unrouted { without_route: 7, names: 3 }));
        assert_eq!(parse(SNMP, None), Some(Unrouted { without_route: 3, names: 2 }));
    }

    #[test]
    fn what_is_not_there_is_not_zero() {
        assert_eq!(parse("", None), None);
        assert_eq!(parse("Ip: Forwarding\nIp: 1\nUdp: NoPorts\nUdp: 0\n", None), None);
    }

    #[test]
    fn reads_the_own_network() {
        assert!(unrouted(std::process::id()).is_some());
    }
}
