use std::path::{Path, PathBuf};

use base::{Digest, Role, Slug};
use serde::{Deserialize, Serialize};

use crate::{Answers, Error, Image, Slot, Step, StepId};

/// What is to be, decided once. Only [`crate::make`] makes one, and only [`Plan::from_json`] reads one back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub(crate) format: u32,
    pub(crate) customer_name: String,
    pub(crate) slug: Slug,
    /// Of the program.
    pub(crate) version: String,
    pub(crate) root: Option<PathBuf>,
    pub(crate) answers: Answers,
    pub(crate) slot: Slot,
    pub(crate) ports: Vec<Port>,
    pub(crate) services: Vec<Service>,
    pub(crate) steps: Vec<Step>,
}

/// A port the installation uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The port, on 127.0.0.1.
    pub port: u16,
    /// The role that listens; the gateway's API belongs to the console.
    pub role: Role,
    /// For people.
    pub purpose: String,
}

/// A role as it will run. The order in the plan is the start order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Which.
    pub role: Role,
    /// Where it listens.
    pub port: u16,
    /// What it will hold in memory at rest; an estimate.
    pub memory_bytes: u64,
}

impl Plan {
    /// The version of the format this program writes and reads.
    pub const FORMAT: u32 = 1;

    /// Returns the customer's name as people write it.
    pub fn customer_name(&self) -> &str {
        &self.customer_name
    }

    /// Returns the customer's short name.
    pub fn slug(&self) -> &Slug {
        &self.slug
    }

    /// Returns the version of the program that made it.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the root folder, when this is not the machine's own installation.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Returns the answers it came from.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Returns the block of ports.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Returns every port, in ascending order.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Returns the services in start order.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Returns the steps in the order they are done.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the images the services run from; none when they are processes.
    pub fn images(&self) -> &[Image] {
        match self.step(StepId::Images) {
            Some(Step::Images { images }) => images,
            _ => &[],
        }
    }

    /// Returns the step of that name, if the plan has one.
    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id() == id)
    }

    /// Returns the plan's digest: that of its canonical bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical())
    }

    /// Returns the canonical bytes: JSON without white space, fields in the order of the type.
    ///
    /// # Panics
    /// Never: `make` refuses paths that are not UTF-8, the only values here without a JSON form.
    pub fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a plan has a JSON form, because `make` checked its paths")
    }

    /// Returns the bytes of the plan's file.
    ///
    /// # Errors
    /// None in practice; the signature is that of every writer.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        pretty("plan", self)
    }

    /// Parses the plan's file.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::FormatUnknown`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        parse("plan", bytes, Self::FORMAT)
    }
}

/// Reads a file of ours: its format first.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(what: &'static str, bytes: &[u8], known: u32) -> Result<T, Error> {
    match crate::other_format(bytes, known) {
        Some(found) => Err(Error::FormatUnknown { what, found, known }),
        None => serde_json::from_slice(bytes).map_err(|source| Error::Unreadable { what, source }),
    }
}

/// Files of ours are indented, with a newline at the end: people look into them.
pub(crate) fn pretty(what: &'static str, value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|source| Error::Unwritable { what, source: source.into() })?;
    bytes.push(b'\n');
    Ok(bytes)
}
