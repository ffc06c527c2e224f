//! The compose file of a customer: a pure function of the configuration and the plan's services.
//!
//! Format: the Compose Specification, as `docker compose` 2.x reads it. Paths are the same inside a container and outside.

use std::path::{Path, PathBuf};

use base::config::{Containers, ServiceConfig};
use base::{CustomerLayout, Digest, Layout, Role, generated};
use serde_json::{Map, Value, json};

use super::rules::Rules;
use crate::egress::Network;

/// Says which customer a container or network belongs to; nothing without it is ever removed.
pub const CUSTOMER_LABEL: &str = "com.0711.customer";
/// Says which configuration a container was made for.
pub(crate) const CONFIG_LABEL: &str = "com.0711.config";
/// What an engine calls the bridge of a network.
pub(crate) const BRIDGE_OPTION: &str = "com.docker.network.bridge.name";
/// Where the program lies in the platform image.
const BINARY: &str = "/bin/0711";

const MIB: u64 = 1 << 20;
/// A role may grow to this many times what the plan expects of it at rest, and at least to [`LEAST_MEMORY_BYTES`].
const MEMORY_FACTOR: u64 = 3;
const LEAST_MEMORY_BYTES: u64 = 768 * MIB;
/// What a training run may take; the plan's forecast has the same figure.
const TRAINING_MEMORY_BYTES: u64 = 6144 * MIB;
/// Threads and processes together; a role has some dozens.
const PIDS_MAX: u64 = 1024;
const TMP_BYTES: u64 = 512 * MIB;
/// As long as the agent waits.
const STOP_SECONDS: u64 = 20;

/// What a compose file is made from.
#[derive(Clone, Copy, Debug)]
pub struct Compose<'a> {
    /// The configuration; [`ServiceConfig::containers`] is set.
    pub config: &'a ServiceConfig,
    /// Of `config.yaml`, byte for byte.
    pub config_digest: Digest,
    /// Where everything lies.
    pub layout: &'a Layout,
    /// The roles in start order, each with its memory at rest in bytes.
    pub services: &'a [(Role, u64)],
}

impl Compose<'_> {
    /// Returns the text of `docker-compose.yml`, or nothing when the roles are no containers.
    pub fn render(&self) -> Option<String> {
        let containers = self.config.containers.as_ref()?;
        let customer = self.layout.customer(&self.config.slug);
        let services: Map<String, Value> = self
            .services
            .iter()
            .map(|(role, memory_bytes)| {
                (role.name().to_owned(), self.service(containers, &customer, *role, *memory_bytes))
            })
            .collect();
        let rules = Rules::of(&containers.project);
        let label = json!({ CUSTOMER_LABEL: self.config.slug });
        let secret = |path: PathBuf| json!({ "file": text(&path) });
        let file = json!({
            "name": containers.project,
            "services": services,
            "networks": {
                // Every role; no way out.
                "core": {
                    "name": format!("{}-core", containers.project),
                    "internal": true,
                    "driver_opts": { BRIDGE_OPTION: rules.bridge(Network::Core) },
                    "labels": label,
                },
                // The gateway alone: a port published on an internal network would be dead.
                "edge": {
                    "name": format!("{}-edge", containers.project),
                    "driver_opts": {
                        BRIDGE_OPTION: rules.bridge(Network::Edge),
                        "com.docker.network.bridge.enable_ip_masquerade": "false",
                    },
                    "labels": label,
                },
            },
            "secrets": {
                "token": secret(customer.token()),
                "api_token": secret(customer.api_token()),
                "password_hash": secret(customer.password_hash()),
            },
        });
        let body = serde_yaml::to_string(&file).ok()?;
        Some(generated::text(ADVICE, &body))
    }

    fn service(&self, containers: &Containers, customer: &CustomerLayout, role: Role, memory_bytes: u64) -> Value {
        let config = self.config;
        let mounts = mounts(self.layout, customer, config, role);
        let mut volumes: Vec<Value> = mounts.read.iter().map(|path| bind(path, true)).collect();
        volumes.extend(mounts.write.iter().map(|path| bind(path, false)));
        let mut of_role = vec!["--customer".to_owned(), config.slug.to_string()];
        if let Some(root) = self.layout.root() {
            of_role.extend(["--root".to_owned(), text(root)]);
        }
        let command = |verb: &str| {
            let words = [verb.to_owned(), role.name().to_owned()];
            words.into_iter().chain(of_role.clone()).collect::<Vec<_>>()
        };
        let probe: Vec<String> = ["CMD".to_owned(), BINARY.to_owned()].into_iter().chain(command("probe")).collect();
        let mut service = json!({
            "image": containers.image.to_string(),
            "pull_policy": "never",
            "container_name": containers.name(role),
            "hostname": role.name(),
            "command": command("serve"),
            "user": format!("{}:{}", containers.user, containers.group),
            "read_only": true,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "mem_limit": limit(role, memory_bytes).to_string(),
            "pids_limit": PIDS_MAX,
            "tmpfs": [format!("/tmp:size={TMP_BYTES},mode=1777,noexec,nosuid,nodev")],
            "stop_grace_period": format!("{STOP_SECONDS}s"),
            // The agent starts it again, with a budget; two who do so would not know of each other.
            "restart": "no",
            "logging": { "driver": "json-file", "options": { "max-size": "10m", "max-file": "3" } },
            "healthcheck": {
                "test": probe, "interval": "15s", "timeout": "10s", "retries": 4, "start_period": "300s",
            },
            "labels": { CUSTOMER_LABEL: config.slug, CONFIG_LABEL: self.config_digest },
            // The engine answers for the names of the stack. What it does not know itself it would ask outside, on some engines
            // from the machine's own network, past every rule: it shall ask the container itself, where nobody listens. A name
            // without a dot is never asked further, so that a role that is down is no question for the world.
            "dns": ["127.0.0.1"],
            "dns_opt": ["ndots:1"],
            "dns_search": ["."],
            "networks": if role == Role::Console { json!(["core", "edge"]) } else { json!(["core"]) },
            "volumes": volumes,
            "secrets": secrets(customer, role),
        });
        if let Some(vllm) = containers.vllm(role) {
            super::vllm::stand_in(&mut service, (config, containers, vllm), customer, role);
        }
        let earlier: Map<String, Value> = needs(role)
            .iter()
            .map(|needed| (needed.name().to_owned(), json!({ "condition": "service_healthy" })))
            .collect();
        if !earlier.is_empty() {
            service["depends_on"] = Value::Object(earlier);
        }
        if role == Role::Console {
            let publish = |port: u16| {
                json!({
                    "target": port, "published": port.to_string(), "host_ip": config.bind, "protocol": "tcp", "mode": "host",
                })
            };
            service["ports"] = json!([publish(config.api_port()), publish(config.port(role))]);
        }
        service
    }
}

/// Stands in the file's first line.
const ADVICE: &str = "Put changes into docker-compose.override.yml beside it.";

/// Folders a role may write, and what it may read.
struct Mounts {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

fn mounts(layout: &Layout, customer: &CustomerLayout, config: &ServiceConfig, role: Role) -> Mounts {
    let (chat, embed) = (config.chat_model.path.clone(), config.embed_model.path.clone());
    // Who only counts tokens needs no more than that of a model that is a folder; nobody trains one.
    let (tokenizer, to_train) = match config.vllm() {
        Some(_) => (embed.join("tokenizer.json"), None),
        None => (embed.clone(), Some(chat.clone())),
    };
    let jobs = layout.jobs_dir(&config.slug, role);
    let (read, write) = match role {
        Role::Embed => (vec![embed], vec![]),
        Role::Llm => (vec![chat, customer.loras()], vec![]),
        Role::Lake => (vec![], vec![customer.lakehouse()]),
        Role::Ingest => {
            let own = vec![customer.ingest_state(), jobs];
            (config.folders.iter().cloned().chain([tokenizer]).collect(), own)
        }
        Role::Trainer => (to_train.into_iter().collect(), vec![customer.loras(), customer.train_dir(), jobs]),
        // Its own way to the agent is a socket: to connect, it need not be written.
        Role::Console => (vec![tokenizer, customer.loras(), customer.console_door()], vec![customer.console_state()]),
    };
    let of_all = vec![customer.config()];
    Mounts {
        read: of_all.into_iter().chain(read).collect(),
        write: write.into_iter().chain([customer.logs()]).collect(),
    }
}

/// Returns every folder a container writes: they must be there, and belong to its user, before it starts.
pub fn written(layout: &Layout, config: &ServiceConfig) -> Vec<PathBuf> {
    let customer = layout.customer(&config.slug);
    let mut all: Vec<_> =
        Role::ALL.into_iter().flat_map(|role| mounts(layout, &customer, config, role).write).collect();
    all.sort();
    all.dedup();
    all
}

/// Every role shows the token; the gateway also checks passwords and the token of its API.
fn secrets(customer: &CustomerLayout, role: Role) -> Value {
    let given = |name: &str, path: PathBuf| json!({ "source": name, "target": text(&path) });
    let mut list = vec![given("token", customer.token())];
    if role == Role::Console {
        list.push(given("api_token", customer.api_token()));
        list.push(given("password_hash", customer.password_hash()));
    }
    Value::Array(list)
}

/// Whom a role calls while it starts.
fn needs(role: Role) -> &'static [Role] {
    match role {
        Role::Embed | Role::Llm | Role::Lake => &[],
        Role::Ingest => &[Role::Embed, Role::Lake],
        Role::Trainer => &[Role::Llm, Role::Lake],
        Role::Console => &[Role::Embed, Role::Llm, Role::Lake],
    }
}

fn limit(role: Role, memory_bytes: u64) -> u64 {
    let at_rest = (memory_bytes * MEMORY_FACTOR).max(LEAST_MEMORY_BYTES);
    if role == Role::Trainer { at_rest.max(TRAINING_MEMORY_BYTES) } else { at_rest }
}

pub(super) fn bind(path: &Path, is_read_only: bool) -> Value {
    json!({
        "type": "bind", "source": text(path), "target": text(path), "read_only": is_read_only,
        "bind": { "create_host_path": false },
    })
}

/// A path as compose takes it: `$` begins a variable there, two are one. `plan` admits paths in UTF-8 only.
pub(super) fn text(path: &Path) -> String {
    path.display().to_string().replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use base::Slug;
    use base::config::{FORMAT, ModelRef};

    use super::*;

    fn rendered(folder: &str) -> String {
        let slug = Slug::parse("eaton").unwrap();
        let layout = Layout::rooted("/srv/brain");
        let model = |name: &str| ModelRef {
            name: name.into(),
            digest: Digest::of(name.as_bytes()),
            path: format!("/models/{name}").into(),
        };
        let config = ServiceConfig {
            format: FORMAT,
            customer_name: "Eaton".into(),
            slug: slug.clone(),
            bind: [127, 0, 0, 1].into(),
            port_base: 5100,
            folders: vec![folder.into()],
            chat_model: model("chat"),
            embed_model: model("embed"),
            max_documents: 1,
            training_minutes: 0,
            threads: 1,
            console_hosts: vec![],
            permissions: Default::default(),
            containers: Some(Containers {
                project: "0711-eaton".into(),
                image: Digest::of(b"image"),
                user: 7110,
                group: 7110,
                vllm: None,
            }),
        };
        let services = Role::ALL.map(|role| (role, 64 * MIB));
        let config_digest = Digest::of(b"config");
        Compose { config: &config, config_digest, layout: &layout, services: &services }.render().unwrap()
    }

    fn parsed(folder: &str) -> Value {
        serde_yaml::from_str(&rendered(folder)).unwrap()
    }

    #[test]
    fn every_service_has_no_rights_to_spare() {
        let file = parsed("/data");
        for role in Role::ALL {
            let service = &file["services"][role.name()];
            assert_eq!(service["read_only"], true);
            assert_eq!(service["cap_drop"], json!(["ALL"]));
            assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]));
            assert_eq!(service["pull_policy"], "never");
            assert_eq!(service["user"], "7110:7110");
            assert!(service["image"].as_str().unwrap().starts_with("sha256:"));
            assert!(service["mem_limit"].as_str().unwrap().parse::<u64>().unwrap() >= LEAST_MEMORY_BYTES);
        }
    }

    #[test]
    fn the_gateway_alone_is_published_and_on_both_networks() {
        let file = parsed("/data");
        for role in Role::ALL {
            let service = &file["services"][role.name()];
            let is_gateway = role == Role::Console;
            assert_eq!(service.get("ports").is_some(), is_gateway);
            assert_eq!(service["networks"].as_array().unwrap().len(), if is_gateway { 2 } else { 1 });
        }
        assert_eq!(file["services"]["console"]["ports"][0]["host_ip"], "127.0.0.1");
        assert_eq!(file["networks"]["core"]["internal"], true);
    }

    #[test]
    fn no_name_is_asked_outside_and_bridges_have_the_names_that_are_counted() {
        let file = parsed("/data");
        for role in Role::ALL {
            let service = &file["services"][role.name()];
            assert_eq!(service["dns"], json!(["127.0.0.1"]));
            assert_eq!((&service["dns_opt"], &service["dns_search"]), (&json!(["ndots:1"]), &json!(["."])));
        }
        let rules = Rules::of("0711-eaton");
        for network in Network::ALL {
            assert_eq!(file["networks"][network.name()]["driver_opts"][BRIDGE_OPTION], rules.bridge(network));
        }
    }

    #[test]
    fn customers_files_are_mounted_read_only_and_for_the_reader_alone() {
        let file = parsed("/data");
        let has = |role: Role| {
            let volumes = file["services"][role.name()]["volumes"].as_array().unwrap();
            volumes.iter().find(|volume| volume["source"] == "/data").cloned()
        };
        assert_eq!(has(Role::Ingest).unwrap()["read_only"], true);
        assert!(Role::ALL.into_iter().filter(|role| *role != Role::Ingest).all(|role| has(role).is_none()));
    }

    #[test]
    fn a_dollar_in_a_path_is_no_variable() {
        assert!(rendered("/data/$HOME/x").contains("/data/$$HOME/x"));
    }

    #[test]
    fn an_edit_is_noticed() {
        let text = rendered("/data");
        assert!(generated::is_as_written(&text));
        assert!(!generated::is_as_written(&text.replace("pids_limit: 1024", "pids_limit: 9999")));
    }
}
