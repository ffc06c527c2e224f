//! The configuration every role reads: written by `install`, read-only afterwards.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{API_OFFSET, Digest, Rights, Role, Slug};

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
    /// Whether people find only what they may read.
    #[serde(default, skip_serializing_if = "Permissions::is_off")]
    pub permissions: Permissions,
    /// Set when the roles run as containers; without it they are processes of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Containers>,
}

/// Whether what people and programs are shown depends on who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permissions {
    /// Whoever may ask may read everything.
    #[default]
    Off,
    /// Each document has readers, and others do not find it.
    On,
}

impl Permissions {
    /// Returns whether nothing is hidden.
    pub const fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// Returns what anybody may read: for what is shown to all alike.
    pub const fn of_anybody(self) -> Rights {
        match self {
            Self::Off => Rights::All,
            Self::On => Rights::Of(Vec::new()),
        }
    }
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
    /// Set when `llm` and `embed` are vLLM on graphics cards; without it every role is the platform image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vllm: Option<Vllm>,
}

/// How vLLM stands in for the roles `llm` and `embed`, behind the same wire. Both models are folders then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vllm {
    /// The image's id on the engine.
    pub image: Digest,
    /// Graphics cards the chat model is spread over, counted from the first; the embedding model shares the first one.
    pub gpus: u32,
    /// The most tokens of prompt and answer.
    pub context_tokens: u32,
    /// The most tokens of a text that is embedded.
    pub embed_tokens: u32,
    /// Of the embedding model's vectors.
    pub dimension: u32,
}

impl Vllm {
    /// Of the cards' memory, what the chat model may fill: weights, and what it remembers of open answers.
    pub const CHAT_SHARE_PERCENT: u64 = 85;
    /// Of the first card's memory, what the embedding model may fill: a gigabyte of weights and its work space.
    pub const EMBED_SHARE_PERCENT: u64 = 10;
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

    /// Returns how vLLM does the work of a role, where it does.
    pub fn vllm(&self, role: Role) -> Option<&Vllm> {
        self.vllm.as_ref().filter(|_| matches!(role, Role::Llm | Role::Embed))
    }

    /// Returns the id of the image a role's container is made from.
    pub fn image_of(&self, role: Role) -> Digest {
        self.vllm(role).map_or(self.image, |vllm| vllm.image)
    }

    /// Returns the name of a role's container.
    pub fn name(&self, role: Role) -> String {
        format!("{}-{role}", self.project)
    }
}

/// A model file, or a folder of them, whose digest was checked when it was put in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    pub name: String,
    pub digest: Digest,
    pub path: PathBuf,
}

impl ServiceConfig {
    /// The width of the vectors of the catalogue's embedding model, multilingual-e5-small.
    pub const SMALL_DIMENSION: u32 = 384;

    /// Returns how vLLM stands in for `llm` and `embed`, where it does.
    pub fn vllm(&self) -> Option<&Vllm> {
        self.containers.as_ref()?.vllm.as_ref()
    }

    /// Returns the width of the embedding model's vectors.
    pub fn dimension(&self) -> usize {
        self.vllm().map_or(Self::SMALL_DIMENSION, |vllm| vllm.dimension) as usize
    }

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
