//! A table of the kernel's packet filter that counts what comes out of a customer's networks for somewhere else.
//!
//! A table of our own: no chain of Docker's or of the administrator's is touched, it outlives restarts of the engine, and one
//! command removes it. Its rules have no verdict; packets go the way they would go without it. It names the networks by
//! their bridges, whose names follow from the project, so that it can be there before they are.
//!
//! It looks before routing (`prerouting`), and before anything that could drop a packet: on a machine without a way out a packet
//! never reaches the `forward` hook. There the packets between two containers of one network pass too, where the kernel
//! shows bridged ones to the packet filter; `fib` tells them by where they would go.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::Stdio;
use std::time::Duration;

use base::Digest;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::egress::{Attempts, Network, Table};
use crate::{Error, boot_id};

/// The counters of one project's networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    project: String,
}

/// What the rules of a network are told apart by, in the order of [`Attempts`].
const KINDS: [&str; 4] = ["connections", "datagrams", "pings", "others"];
/// One for each network that leads to its chain, and five in each of those.
const RULES: usize = 12;
/// Before the defragmented packet meets any table that may drop it (`raw` is -300).
const PRIORITY: i32 = -350;
const PATIENCE: Duration = Duration::from_secs(10);
const OUTPUT_CHARACTERS_MAX: usize = 300;

/// Why the packet filter could not be asked.
enum Refusal {
    /// There is no such table.
    NoTable,
    /// For people.
    Other(String),
}

impl Rules {
    /// Returns the rules of a compose project.
    pub fn of(project: &str) -> Self {
        Self { project: project.to_owned() }
    }

    /// Returns the name of a network's bridge: 15 characters are the most an interface may have.
    pub fn bridge(&self, network: Network) -> String {
        let end = match network {
            Network::Core => 'c',
            Network::Edge => 'e',
        };
        format!("br711-{}{end}", self.mark())
    }

    /// Returns the table's name, of family `inet`.
    pub fn table(&self) -> String {
        format!("egress711_{}", self.mark())
    }

    fn mark(&self) -> String {
        Digest::of(self.project.as_bytes()).short()
    }

    /// Looks at the counters; nothing when there is no such table. With `makes`, one that is missing or was changed is made anew.
    ///
    /// # Errors
    /// For people: no `nft`, no right to use it, or a kernel that cannot do it.
    pub async fn look(&self, makes: bool) -> Result<Option<Table>, String> {
        match self.read().await {
            Ok(Some(found)) => Ok(Some(found)),
            Ok(None) | Err(Refusal::NoTable) if makes => {
                nft(&["--file", "-"], &self.text()).await.map_err(Refusal::text)?;
                match self.read().await {
                    Ok(Some(found)) => Ok(Some(found)),
                    Ok(None) | Err(Refusal::NoTable) => Err("the table of rules does not stay".to_owned()),
                    Err(refusal) => Err(refusal.text()),
                }
            }
            Ok(None) | Err(Refusal::NoTable) => Ok(None),
            Err(refusal) => Err(refusal.text()),
        }
    }

    /// Returns whether there is such a table; not where that cannot be told.
    pub async fn is_there(&self) -> bool {
        self.read().await.is_ok()
    }

    /// Removes the table. Returns whether there was one.
    ///
    /// # Errors
    /// [`Error::Rules`].
    pub async fn remove(&self) -> Result<bool, Error> {
        // Who may not look could not have made one either.
        if self.read().await.is_err() {
            return Ok(false);
        }
        match nft(&["delete", "table", "inet", &self.table()], "").await {
            Ok(_) => Ok(true),
            Err(Refusal::NoTable) => Ok(false),
            Err(Refusal::Other(output)) => Err(Error::Rules { table: self.table(), output }),
        }
    }

    /// Returns nothing for a table that is not as it was made.
    async fn read(&self) -> Result<Option<Table>, Refusal> {
        let listed = nft(&["--json", "list", "table", "inet", &self.table()], "").await?;
        let boot_id =
            boot_id().ok_or_else(|| Refusal::Other("the kernel does not say which boot this is".to_owned()))?;
        Ok(parse(&listed, boot_id))
    }

    /// The whole table, made anew in one transaction.
    fn text(&self) -> String {
        let table = self.table();
        // Deleting what is not there is an error: it is there then.
        let mut text = format!("add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n");
        for network in Network::ALL.map(Network::name) {
            for kind in KINDS {
                text += &format!("  counter {network}_{kind} {{ }}\n");
            }
            text += &format!(
                "  chain {network} {{\n\
                 \x20   tcp flags & (fin | syn | rst | ack) == syn counter name {network}_connections\n\
                 \x20   meta l4proto udp counter name {network}_datagrams\n\
                 \x20   icmp type echo-request counter name {network}_pings\n\
                 \x20   icmpv6 type echo-request counter name {network}_pings\n\
                 \x20   meta l4proto != {{ tcp, udp, icmp, ipv6-icmp }} counter name {network}_others\n\
                 \x20 }}\n"
            );
        }
        text += &format!("  chain outwards {{\n    type filter hook prerouting priority {PRIORITY}; policy accept;\n");
        for network in Network::ALL {
            let (bridge, name) = (self.bridge(network), network.name());
            text += &format!("    iifname \"{bridge}\" fib daddr oifname != \"{bridge}\" jump {name}\n");
        }
        text + "  }\n}\n"
    }
}

impl Refusal {
    fn text(self) -> String {
        match self {
            Self::NoTable => "there is no table of rules".to_owned(),
            Self::Other(text) => text,
        }
    }
}

/// Runs `nft`, and returns what it said.
async fn nft(arguments: &[&str], input: &str) -> Result<String, Refusal> {
    let failed = |text: String| Refusal::Other(text);
    // A user's search path has no `sbin` on some systems.
    for program in ["nft", "/usr/sbin/nft"] {
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(format!("`nft` cannot be run: {error}"))),
        };
        let work = async {
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes()).await?;
            }
            child.wait_with_output().await
        };
        let output = tokio::time::timeout(PATIENCE, work).await;
        let output = output.map_err(|_| failed("`nft` does not end".to_owned()))?;
        let output = output.map_err(|error| failed(format!("`nft` broke off: {error}")))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(match said.contains("No such file or directory") && arguments.contains(&"table") {
            true => Refusal::NoTable,
            false => failed(format!("`nft` says: {}", short(&said))),
        });
    }
    Err(failed("there is no `nft` on this machine (package `nftables`)".to_owned()))
}

fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|character| !character.is_control()).take(OUTPUT_CHARACTERS_MAX).collect()
}

/// Reads what `nft --json list table` prints (libnftables-json(5)); nothing when counters or rules are missing.
fn parse(listed: &str, boot_id: String) -> Option<Table> {
    let listed: Value = serde_json::from_str(listed).ok()?;
    let items = || listed["nftables"].as_array().into_iter().flatten();
    let handle = items().find_map(|item| item["table"]["handle"].as_u64())?;
    if items().filter(|item| item.get("rule").is_some()).count() != RULES {
        return None;
    }
    let packets = |network: Network, kind: usize| {
        let name = format!("{}_{}", network.name(), KINDS[kind]);
        items().map(|item| &item["counter"]).find(|counter| counter["name"] == name.as_str())?["packets"].as_u64()
    };
    let mut networks = BTreeMap::new();
    for network in Network::ALL {
        let attempts = Attempts {
            connections: packets(network, 0)?,
            datagrams: packets(network, 1)?,
            pings: packets(network, 2)?,
            others: packets(network, 3)?,
        };
        networks.insert(network, attempts);
    }
    Some(Table { boot_id, handle, networks })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nft 1.0.6 lists of such a table, after a connection, a datagram and two echo requests out of `edge`.
    const LISTED: &str = include_str!("listed.json");

    #[test]
    fn reads_what_was_counted() {
        let found = parse(LISTED, "boot".to_owned()).unwrap();
        let edge = Attempts { connections: 1, datagrams: 1, pings: 2, others: 0 };
        let networks = [(Network::Core, Attempts::default()), (Network::Edge, edge)].into();
        assert_eq!(found, Table { boot_id: "boot".into(), handle: 2, networks });
    }

    #[test]
    fn a_table_somebody_changed_is_none() {
        for (whole, part) in [("edge_pings", "edge_pongs"), ("\"rule\"", "\"ruin\""), ("\"packets\"", "\"pockets\"")] {
            assert_eq!(parse(&LISTED.replacen(whole, part, 1), String::new()), None, "{part}");
        }
        assert_eq!(parse("{}", String::new()), None);
        assert_eq!(parse("", String::new()), None);
    }

    #[test]
    fn names_fit_an_interface_and_differ_between_projects() {
        let [a, b] = ["0711-eaton", "0711-eaton-1a2b3c4d"].map(Rules::of);
        for rules in [&a, &b] {
            assert!(Network::ALL.iter().all(|network| rules.bridge(*network).len() == 15));
        }
        assert_ne!(a.bridge(Network::Core), a.bridge(Network::Edge));
        assert_ne!(a.bridge(Network::Core), b.bridge(Network::Core));
        assert_ne!(a.table(), b.table());
    }

    #[test]
    fn rules_only_count() {
        let text = Rules::of("0711-eaton").text();
        for verdict in ["drop", "reject", "accept;\n    accept", "queue", "dnat", "snat", "masquerade"] {
            assert!(!text.contains(verdict), "{verdict}");
        }
        assert_eq!(text.matches("counter name").count() + text.matches("jump").count(), RULES);
    }
}
