//! What can be told about attempts to leave, and the report an installation signs over it.
//!
//! The key is made here when it is first needed and goes with the installation. Whoever relies on a report takes note of the key's
//! public half while it is at hand: a report is only worth as much as the machine was when it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base::config::ServiceConfig;
use base::dsse::{self, PrivateKey, PublicKey};
use base::file;
use base::{CustomerLayout, Digest, Role, Slug, Timestamp, strict};
use host::Connection;
use serde::{Deserialize, Serialize};
use stack::docker::Rules;
use stack::egress::{Attempts, Gap, Ledger, Network, Unrouted, Verdict};

use crate::Error;

/// The payload type of a report.
pub const PAYLOAD_TYPE: &str = "application/vnd.0711.egress.v1+json";
/// The version of the statement this program writes and reads.
const FORMAT: u32 = 1;
const REPORT_BYTES_MAX: u64 = 1 << 20;
const LEDGER_BYTES_MAX: u64 = 1 << 20;

/// What was seen of attempts to leave, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Version of this format: 1.
    pub format: u32,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why it is unknown, or what is not counted.
    pub remarks: Vec<String>,
    /// Whose installation.
    pub customer: Customer,
    /// A hash of the machine's id, as licenses have it; absent where it has none.
    pub machine: Option<Digest>,
    /// When this was put together.
    #[serde(with = "base::rfc3339")]
    pub made: Timestamp,
    /// What the roles run as.
    pub runtime: Runtime,
    /// The time that is covered; absent where nothing was ever counted.
    pub counted: Option<Counted>,
    /// The image of the containers.
    pub image: Option<Digest>,
    /// What left each network for somewhere else.
    pub networks: BTreeMap<Network, OfNetwork>,
    /// What ended inside each container.
    pub roles: BTreeMap<Role, Unrouted>,
    /// Times in which packets were not counted although roles ran; the first fifty.
    pub gaps: Vec<Gap>,
    /// How many more there were.
    pub further_gaps: u64,
    /// Without containers: what the roles are connected to at this moment.
    pub connections: Vec<OfRole>,
}

/// Whose installation it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// In short.
    pub slug: Slug,
    /// As people write it.
    pub name: String,
}

/// What the roles run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Processes that share the machine's network.
    Native,
    /// Containers with networks of their own.
    Docker,
}

/// From when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// The first look.
    #[serde(with = "base::rfc3339")]
    pub since: Timestamp,
    /// The last look.
    #[serde(with = "base::rfc3339")]
    pub until: Timestamp,
}

/// What left a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfNetwork {
    /// Its bridge on the machine.
    pub bridge: String,
    /// Packets.
    #[serde(flatten)]
    pub attempts: Attempts,
}

/// A connection of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfRole {
    /// Which.
    pub role: Role,
    /// What it is connected to.
    #[serde(flatten)]
    pub connection: Connection,
}

impl Statement {
    /// Puts together what was counted for a customer whose roles are containers. `ledger` is absent where nothing was kept yet.
    pub fn of_containers(config: &ServiceConfig, project: &str, ledger: Option<&Ledger>, made: Timestamp) -> Self {
        let rules = Rules::of(project);
        let mut remarks = Vec::new();
        match ledger {
            None => remarks.push("nothing was counted yet".to_owned()),
            Some(Ledger { problem: Some(problem), .. }) => {
                remarks.push(format!("what leaves the networks cannot be counted: {problem}"));
            }
            Some(_) => {}
        }
        let of_network = |network: Network| {
            let attempts = ledger.and_then(|ledger| ledger.networks.get(&network)).copied().unwrap_or_default();
            (network, OfNetwork { bridge: rules.bridge(network), attempts })
        };
        Self {
            verdict: ledger.map_or(Verdict::Unknown, Ledger::verdict),
            remarks,
            runtime: Runtime::Docker,
            counted: ledger.and_then(|ledger| Some(Counted { since: ledger.since, until: ledger.looked? })),
            image: config.containers.as_ref().map(|containers| containers.image),
            networks: Network::ALL.map(of_network).into(),
            roles: ledger.map(|ledger| ledger.roles.clone()).unwrap_or_default(),
            gaps: ledger.map(|ledger| ledger.gaps.clone()).unwrap_or_default(),
            further_gaps: ledger.map_or(0, |ledger| ledger.further_gaps),
            ..Self::nothing(config, made)
        }
    }

    /// Puts together what can be told of roles that share the machine's network: what they are connected to at this moment. That
    /// is no proof of anything, and the verdict says so. `pids` are the processes of the roles that run.
    pub fn of_processes(config: &ServiceConfig, pids: &BTreeMap<u32, Role>, made: Timestamp) -> Self {
        // Who came to the gateway from outside is no attempt of ours.
        let served = [config.port(Role::Console), config.api_port()];
        let found = host::connections(&pids.keys().copied().collect::<BTreeSet<_>>());
        let outwards = found.into_iter().filter(|found| !served.contains(&found.local.port()));
        let of_role = |connection: Connection| Some(OfRole { role: *pids.get(&connection.pid)?, connection });
        Self { connections: outwards.filter_map(of_role).collect(), ..Self::nothing(config, made) }
    }

    fn nothing(config: &ServiceConfig, made: Timestamp) -> Self {
        let machine = host::machine_identity().machine_id;
        Self {
            format: FORMAT,
            verdict: Verdict::Unknown,
            remarks: vec![
                "the services are processes and share the machine's network, where nobody can tell whose packet it was"
                    .to_owned(),
            ],
            customer: Customer { slug: config.slug.clone(), name: config.customer_name.clone() },
            machine: machine.map(|id| license::machine_hash(license::MachineFact::MachineId, &id)),
            made,
            runtime: Runtime::Native,
            counted: None,
            image: None,
            networks: BTreeMap::new(),
            roles: BTreeMap::new(),
            gaps: Vec::new(),
            further_gaps: 0,
            connections: Vec::new(),
        }
    }

    /// Signs the statement and returns the bytes of the report.
    ///
    /// # Errors
    /// None in practice: a statement always has a JSON form.
    pub fn sign(&self, key: &PrivateKey) -> Result<Vec<u8>, Error> {
        let sealed = serde_json::to_vec(self).and_then(|payload| key.seal(PAYLOAD_TYPE, &payload));
        sealed.map_err(|source| Error::ReportFormat { source })
    }
}

/// Reads a report that `key` signed.
///
/// # Errors
/// [`Error::Read`], [`Error::Report`] for one that is signed by another key or was changed, [`Error::ReportFormat`] for one of another
/// version.
pub fn check_report(path: &Path, key: &PublicKey) -> Result<Statement, Error> {
    let read = |source: file::ReadError| Error::Read { path: path.to_owned(), source: source.into() };
    let bytes = file::read_bounded(path, REPORT_BYTES_MAX).map_err(read)?;
    let trusted = |id: &str| (id == key.id()).then_some((key, ()));
    let opened = dsse::open(&bytes, PAYLOAD_TYPE, REPORT_BYTES_MAX, trusted)
        .map_err(|source| Error::Report { path: path.to_owned(), source })?;
    strict::parse(&opened.payload).map_err(|source| Error::ReportFormat { source })
}

/// Returns the key an installation signs its reports with; it is made when there is none, and that is recorded.
///
/// # Errors
/// [`Error::ReportKey`].
pub fn report_key(customer: &CustomerLayout) -> Result<PrivateKey, Error> {
    audit::installation_key(customer, base::Clock::system()).map_err(Error::ReportKey)
}

/// Reads what an agent that does not run any more has left; nothing where there is nothing.
///
/// # Errors
/// [`Error::Read`].
pub fn last_ledger(customer: &CustomerLayout) -> Result<Option<Ledger>, Error> {
    let path = customer.egress();
    let Some(bytes) = crate::files::bytes_if_any(&path, LEDGER_BYTES_MAX)? else { return Ok(None) };
    let read = |source: serde_json::Error| Error::Read { path: path.clone(), source: source.into() };
    Ok(Some(serde_json::from_slice(&bytes).map_err(read)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use base::Layout;
    use base::Seed;
    use base::config::{Containers, FORMAT as CONFIG_FORMAT, ModelRef};

    use super::*;

    fn config() -> ServiceConfig {
        let model = ModelRef { name: "m".into(), digest: Digest::of(b"m"), path: "/m".into() };
        ServiceConfig {
            format: CONFIG_FORMAT,
            customer_name: "Müller & Söhne".into(),
            slug: Slug::parse("mueller").unwrap(),
            bind: [127, 0, 0, 1].into(),
            port_base: 5100,
            folders: vec![],
            chat_model: model.clone(),
            embed_model: model,
            max_documents: 1,
            training_minutes: 0,
            threads: 1,
            console_hosts: vec![],
            permissions: Default::default(),
            containers: Some(Containers {
                project: "0711-mueller".into(),
                image: Digest::of(b"image"),
                user: 7110,
                group: 7110,
                vllm: None,
            }),
        }
    }

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-25T10:00:00Z").unwrap()
    }

    #[test]
    fn a_report_is_read_with_the_key_that_signed_it_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let [own, foreign] = [(); 2].map(|()| PrivateKey::of(&Seed::generate().unwrap()));
        let statement = Statement::of_containers(&config(), "0711-mueller", Some(&Ledger::new(now())), now());
        let report = statement.sign(&own).unwrap();
        std::fs::write(&path, &report).unwrap();
        assert_eq!(check_report(&path, &own.public()).unwrap(), statement);
        assert!(matches!(
            check_report(&path, &foreign.public()),
            Err(Error::Report { source: dsse::Error::UntrustedKey { .. }, .. })
        ));
        let text = String::from_utf8(report).unwrap();
        let at = text.find("\"payload\": \"").unwrap() + 40;
        let mut flipped = text.into_bytes();
        flipped[at] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        assert!(matches!(
            check_report(&path, &own.public()),
            Err(Error::Report { source: dsse::Error::BadSignature { .. }, .. })
        ));
    }

    #[test]
    fn the_key_is_made_once_and_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let customer = Layout::rooted(dir.path()).customer(&Slug::parse("mueller").unwrap());
        std::fs::create_dir_all(customer.secrets()).unwrap();
        let keys: BTreeSet<String> = std::thread::scope(|scope| {
            let makers: Vec<_> =
                (0..4).map(|_| scope.spawn(|| report_key(&customer).unwrap().public().hex())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert_eq!(keys.len(), 1);
        let files: Vec<_> = std::fs::read_dir(customer.secrets()).unwrap().flatten().collect();
        assert_eq!(files.len(), 1, "nothing is left beside it: {files:?}");
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_nobody_counted_is_never_none() {
        let pids = [(std::process::id(), Role::Lake)].into();
        assert_eq!(Statement::of_processes(&config(), &pids, now()).verdict, Verdict::Unknown);
        let nothing = Statement::of_containers(&config(), "0711-mueller", None, now());
        assert_eq!((nothing.verdict, nothing.counted), (Verdict::Unknown, None));
        assert!(!nothing.remarks.is_empty());
        let mut ledger = Ledger::new(now());
        ledger.table(now(), Err("no nft".into()), false);
        let without = Statement::of_containers(&config(), "0711-mueller", Some(&ledger), now());
        assert_eq!(without.verdict, Verdict::Unknown);
        assert!(without.remarks[0].contains("no nft"), "{:?}", without.remarks);
    }
}
