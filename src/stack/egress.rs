//! What the kernel counted of attempts to leave a customer's networks, added up over the lives of tables, containers and boots.
//!
//! Two counts together tell: packets that came out of a network for somewhere else, which a table of rules counts without
//! touching them, and connections that ended before there was a packet because a container has no route for them. Both begin
//! at zero again and again; [`Ledger`] adds up what came on top since the last look.
//!
//! Nothing here looks at anything: the file's whole content follows from what it is told.

use std::collections::BTreeMap;

use base::{Role, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Identity;

/// A network of a customer's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Every role; no way out.
    Core,
    /// The gateway alone.
    Edge,
}

impl Network {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Core, Self::Edge];

    /// Returns the name used in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Edge => "edge",
        }
    }
}

/// Packets out of a network for anything but the network itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// First packets of TCP connections. One nobody answers is sent several times, and each counts.
    pub connections: u64,
    /// UDP.
    pub datagrams: u64,
    /// ICMP echo requests.
    pub pings: u64,
    /// Of any other protocol.
    pub others: u64,
}

impl Attempts {
    /// Returns all of them.
    pub fn total(&self) -> u64 {
        self.connections + self.datagrams + self.pings + self.others
    }

    fn add(&mut self, now: &Self, last: Option<&Self>) {
        let last = last.copied();
        self.connections += grown(last.map(|last| last.connections), now.connections);
        self.datagrams += grown(last.map(|last| last.datagrams), now.datagrams);
        self.pings += grown(last.map(|last| last.pings), now.pings);
        self.others += grown(last.map(|last| last.others), now.others);
    }
}

/// What ended inside a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unrouted {
    /// Connections and datagrams to where the container has no route.
    pub without_route: u64,
    /// Questions for names outside the stack: they are sent to a port of the container's own where nobody listens.
    pub names: u64,
}

impl Unrouted {
    /// Returns all of them.
    pub fn total(&self) -> u64 {
        self.without_route + self.names
    }
}

/// A time in which packets were not counted although a role ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When they were last known to be counted.
    #[serde(with = "base::rfc3339")]
    pub from: Timestamp,
    /// When they were counted again.
    #[serde(with = "base::rfc3339")]
    pub until: Timestamp,
}

/// What a look at the table of rules gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// `/proc/sys/kernel/random/boot_id`: a table does not outlive the boot.
    pub boot_id: String,
    /// The kernel's number of it; one that is made again has another.
    pub handle: u64,
    /// What it counted since it was made.
    pub networks: BTreeMap<Network, Attempts>,
}

/// What was seen since the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Version of this format: [`Ledger::FORMAT`].
    pub format: u32,
    /// When it was begun.
    pub since: Timestamp,
    /// When the rules were last read.
    pub looked: Option<Timestamp>,
    /// Why they could not be read the last time, when that is so.
    pub problem: Option<String>,
    /// By network.
    pub networks: BTreeMap<Network, Attempts>,
    /// By role.
    pub roles: BTreeMap<Role, Unrouted>,
    /// The first of them; a machine whose firewall is reloaded every minute shall not fill the disk.
    pub gaps: Vec<Gap>,
    /// How many more there were.
    pub further_gaps: u64,
    table: Option<Table>,
    namespaces: BTreeMap<Role, Namespace>,
}

/// A container's counters at the last look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Namespace {
    /// Its first process: a container that is started anew has another, and counters at zero.
    identity: Identity,
    unrouted: Unrouted,
}

/// What all of it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// None was seen.
    None,
    /// Something tried.
    Attempts,
    /// It could not be counted.
    Unknown,
}

const GAPS_MAX: usize = 50;

impl Ledger {
    /// The version of the format this program writes and reads.
    pub const FORMAT: u32 = 1;

    /// Begins at `since` with nothing.
    pub fn new(since: Timestamp) -> Self {
        Self {
            format: Self::FORMAT,
            since,
            looked: None,
            problem: None,
            networks: Network::ALL.map(|network| (network, Attempts::default())).into(),
            roles: Role::ALL.map(|role| (role, Unrouted::default())).into(),
            gaps: Vec::new(),
            further_gaps: 0,
            table: None,
            namespaces: BTreeMap::new(),
        }
    }

    /// Takes note of a look at the rules: what they say, that there are none, or why that is not known. `is_running` says
    /// whether a role ran meanwhile.
    pub fn table(&mut self, at: Timestamp, look: Result<Option<Table>, String>, is_running: bool) {
        let table = match look {
            Ok(table) => table,
            Err(problem) => {
                self.problem = Some(problem);
                return;
            }
        };
        let same_boot = |last: &Table| table.as_ref().is_none_or(|table| table.boot_id == last.boot_id);
        let is_same = |last: &&Table| table.as_ref().is_some_and(|table| (&table.boot_id, table.handle) == last.key());
        let last = self.table.as_ref().filter(is_same);
        // One that vanishes takes what it counted since the last look with it; a boot ends the containers too.
        let has_vanished = last.is_none() && self.table.as_ref().is_some_and(same_boot);
        if let Some(table) = &table {
            for (network, now) in &table.networks {
                let before = last.and_then(|last| last.networks.get(network));
                self.networks.entry(*network).or_default().add(now, before);
            }
        }
        if has_vanished || (last.is_none() && table.is_some() && is_running) {
            let gap = Gap { from: self.looked.unwrap_or(self.since), until: at };
            if self.gaps.len() < GAPS_MAX { self.gaps.push(gap) } else { self.further_gaps += 1 }
        }
        self.looked = Some(at);
        self.problem = None;
        self.table = table;
    }

    /// Takes note of a container's counters. Returns whether there is something new.
    pub fn namespace(&mut self, role: Role, identity: &Identity, now: Unrouted) -> bool {
        let last = self.namespaces.get(&role).filter(|last| last.identity == *identity).map(|last| last.unrouted);
        if last == Some(now) {
            return false;
        }
        let total = self.roles.entry(role).or_default();
        total.without_route += grown(last.map(|last| last.without_route), now.without_route);
        total.names += grown(last.map(|last| last.names), now.names);
        self.namespaces.insert(role, Namespace { identity: identity.clone(), unrouted: now });
        true
    }

    /// Returns what it comes to.
    pub fn verdict(&self) -> Verdict {
        let left: u64 = self.networks.values().map(Attempts::total).sum();
        let ended: u64 = self.roles.values().map(Unrouted::total).sum();
        if left + ended > 0 {
            return Verdict::Attempts;
        }
        if self.problem.is_some() || self.looked.is_none() { Verdict::Unknown } else { Verdict::None }
    }
}

impl Table {
    fn key(&self) -> (&String, u64) {
        (&self.boot_id, self.handle)
    }
}

/// What came on top since the last look. A counter that went back began anew.
fn grown(last: Option<u64>, now: u64) -> u64 {
    match last {
        Some(last) if last <= now => now - last,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000)
    }

    fn table(boot: &str, handle: u64, connections: u64) -> Result<Option<Table>, String> {
        let edge = Attempts { connections, ..Attempts::default() };
        let networks = [(Network::Core, Attempts::default()), (Network::Edge, edge)].into();
        Ok(Some(Table { boot_id: boot.into(), handle, networks }))
    }

    /// A ledger after looks at the rules, one a minute, while roles run from the second on.
    fn after(looks: impl IntoIterator<Item = Result<Option<Table>, String>>) -> Ledger {
        let mut ledger = Ledger::new(at(0));
        for (minute, look) in looks.into_iter().enumerate() {
            ledger.table(at(minute as i64 + 1), look, minute > 0);
        }
        ledger
    }

    #[test]
    fn counters_are_added_up_whenever_they_begin_anew() {
        let connections = |looks: Vec<Result<Option<Table>, String>>| after(looks).networks[&Network::Edge].connections;
        assert_eq!(connections(vec![table("a", 1, 0), table("a", 1, 2), table("a", 1, 2), table("a", 1, 5)]), 5);
        assert_eq!(connections(vec![table("a", 1, 3), table("b", 1, 4)]), 7, "a boot");
        assert_eq!(
            connections(vec![table("a", 1, 3), table("a", 9, 4)]),
            7,
            "another table, further than the last one"
        );
        assert_eq!(connections(vec![table("a", 1, 3), table("a", 1, 1)]), 4, "reset by hand");
        assert_eq!(connections(vec![table("a", 1, 3), Err("nft is gone".into()), table("a", 1, 5)]), 5);
        assert_eq!(connections(vec![table("a", 1, 3), Ok(None), table("a", 2, 1)]), 4);
    }

    #[test]
    fn what_was_not_watched_is_said() {
        let gaps = |looks: Vec<Result<Option<Table>, String>>| after(looks).gaps;
        assert_eq!(gaps(vec![table("a", 1, 0), table("a", 1, 0)]), []);
        assert_eq!(gaps(vec![table("a", 1, 0), table("a", 2, 0)]), [Gap { from: at(1), until: at(2) }], "flushed");
        assert_eq!(gaps(vec![table("a", 1, 0), Ok(None)]), [Gap { from: at(1), until: at(2) }]);
        let late = vec![Err("no nft".into()), Err("no nft".into()), table("a", 1, 0)];
        assert_eq!(gaps(late), [Gap { from: at(0), until: at(3) }], "since the beginning");
        let passing = vec![table("a", 1, 0), Err("busy".into()), table("a", 1, 0)];
        assert_eq!(gaps(passing), [], "the table counted on");
        let mut stopped = after([table("a", 1, 0)]);
        stopped.table(at(2), table("b", 1, 0), false);
        assert_eq!(stopped.gaps, [], "a boot ends the containers, and the rules are there before the next ones");
    }

    #[test]
    fn gaps_do_not_fill_the_disk() {
        let ledger = after((0..80).map(|handle| table("a", handle, 0)));
        assert_eq!((ledger.gaps.len(), ledger.further_gaps), (50, 29));
    }

    #[test]
    fn a_container_that_is_started_anew_counts_from_zero() {
        let of = |pid| Identity { pid, start_ticks: 7, boot_id: "a".into() };
        let counts = |without_route, names| Unrouted { without_route, names };
        let mut ledger = Ledger::new(at(0));
        assert!(ledger.namespace(Role::Lake, &of(1), counts(0, 0)));
        assert!(!ledger.namespace(Role::Lake, &of(1), counts(0, 0)), "nothing new");
        assert!(ledger.namespace(Role::Lake, &of(1), counts(2, 1)));
        assert!(ledger.namespace(Role::Lake, &of(2), counts(3, 0)));
        assert_eq!(ledger.roles[&Role::Lake], counts(5, 1));
        assert_eq!(ledger.roles[&Role::Llm], counts(0, 0));
    }

    #[test]
    fn what_cannot_be_counted_is_unknown_and_never_none() {
        let no_nft = || Err("no nft".to_owned());
        assert_eq!(Ledger::new(at(0)).verdict(), Verdict::Unknown);
        assert_eq!(after([no_nft()]).verdict(), Verdict::Unknown);
        assert_eq!(after([table("a", 1, 0)]).verdict(), Verdict::None);
        assert_eq!(after([table("a", 1, 0), no_nft()]).verdict(), Verdict::Unknown);
        assert_eq!(after([table("a", 1, 1), no_nft()]).verdict(), Verdict::Attempts);
        let mut ledger = after([no_nft()]);
        let identity = Identity { pid: 1, start_ticks: 1, boot_id: "a".into() };
        ledger.namespace(Role::Embed, &identity, Unrouted { without_route: 1, names: 0 });
        assert_eq!(ledger.verdict(), Verdict::Attempts);
    }

    #[test]
    fn survives_its_file() {
        let mut ledger = after([table("a", 1, 0), table("a", 2, 3)]);
        let identity = Identity { pid: 1, start_ticks: 1, boot_id: "a".into() };
        ledger.namespace(Role::Embed, &identity, Unrouted { without_route: 1, names: 0 });
        let text = serde_json::to_string(&ledger).unwrap();
        assert!(text.starts_with("{\"format\":1,"));
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }
}
