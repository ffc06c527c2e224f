//! The configuration every role reads: written by `install`, read-only afterwards.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{API_OFFSET, Digest, Role, Slug};

/// The version of `config.yaml` this program writes and reads.
pub const FORMAT: u32 = 1;

/// One customer's services: who they are for, where they listen, what they serve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// The file's format version, [`FORMAT`].
    pub format: u32,
    pub customer_name: String,
    pub slug: Slug,
    /// Where the console and the API listen. Every other role listens on 127.0.0.1 always.
    pub bind: IpAddr,
    /// The first port of the customer's block of 100.
    pub port_base: u16,
    /// The folders that are read.
    pub folders: Vec<PathBuf>,
    pub chat_model: ModelRef,
    pub embed_model: ModelRef,
    /// The most documents the license allows.
    pub max_documents: u64,
    /// The budget of one training run, in minutes.
    pub training_minutes: u32,
    /// Threads a computing role may use.
    pub threads: u32,
    /// Host names, besides the loopback ones, under which the console may be called.
    pub console_hosts: Vec<String>,
    /// Set when the roles run as containers; without it they are processes of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Containers>,
}

/// How the roles run as containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Containers {
    /// Name of the compose project; containers and networks begin with it.
    pub project: String,
    /// The image's id on the engine, `sha256:…`: a tag could be moved.
    pub image: Digest,
    /// Numeric user every container runs as; it owns the customer's tables, adapters and logs.
    pub user: u32,
    /// Its group.
    pub group: u32,
}

impl Containers {
    /// The user of an installation made by root; the platform image has it in its `passwd`.
    pub const USER: u32 = 7110;

    /// Returns user and group for the containers of an installation made by `(user, group)`: root's get one without rights.
    pub const fn user_for(own: (u32, u32)) -> (u32, u32) {
        match own {
            (0, _) => (Self::USER, Self::USER),
            own => own,
        }
    }

    /// Returns the name of a role's container.
    pub fn name(&self, role: Role) -> String {
        format!("{}-{role}", self.project)
    }
}

/// A model file whose digest was checked when it was put in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    pub name: String,
    pub digest: Digest,
    pub path: PathBuf,
}

impl ServiceConfig {
    /// Returns the port a role listens on; for the console, the web page's.
    pub const fn port(&self, role: Role) -> u16 {
        self.port_base + role.port_offset()
    }

    /// Returns the port of the gateway's OpenAI-compatible API.
    pub const fn api_port(&self) -> u16 {
        self.port_base + API_OFFSET
    }

    /// Returns the base URL under which the roles reach each other: `http://127.0.0.1:PORT`, or by the container's name.
    pub fn url(&self, role: Role) -> String {
        match &self.containers {
            None => format!("http://127.0.0.1:{}", self.port(role)),
            Some(_) => format!("http://{role}:{}", self.port(role)),
        }
    }

    /// Returns the address a role listens on. In a container it is the container's own network that keeps others out.
    pub fn listen_address(&self, role: Role) -> IpAddr {
        match (&self.containers, role) {
            (Some(_), _) => Ipv4Addr::UNSPECIFIED.into(),
            (None, Role::Console) => self.bind,
            (None, _) => Ipv4Addr::LOCALHOST.into(),
        }
    }
}
