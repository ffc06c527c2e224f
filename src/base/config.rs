//! The configuration every role reads: written by `install`, read-only afterwards.

use std::{net::IpAddr, path::PathBuf};

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

    /// Returns the base URL under which the roles reach each other: `http://127.0.0.1:PORT`.
    pub fn url(&self, role: Role) -> String {
        format!("http://127.0.0.1:{}", self.port(role))
    }
}
