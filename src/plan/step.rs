use std::fmt;
use std::path::PathBuf;

use base::config::{ModelRef, ServiceConfig};
use base::{Digest, Role, Slug};
use serde::{Deserialize, Serialize};

use crate::{ModelRole, Slot};

/// The name of a step, unique in a plan: what the journal speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // each is explained at the `Step` it names
pub enum StepId {
    Folders,
    Slot,
    License,
    Secrets,
    EmbedModel,
    ChatModel,
    Images,
    Binary,
    Config,
    Containers,
    Agent,
    Roles,
    Ingest,
    Train,
    Check,
}

impl StepId {
    /// Returns the name used in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Folders => "folders",
            Self::Slot => "slot",
            Self::License => "license",
            Self::Secrets => "secrets",
            Self::EmbedModel => "embed-model",
            Self::ChatModel => "chat-model",
            Self::Images => "images",
            Self::Binary => "binary",
            Self::Config => "config",
            Self::Containers => "containers",
            Self::Agent => "agent",
            Self::Roles => "roles",
            Self::Ingest => "ingest",
            Self::Train => "train",
            Self::Check => "check",
        }
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// One effect with everything it needs to know. Applying a step twice does no harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Makes the customer's own folders, private to their owner.
    Folders {
        /// In the order they are made.
        paths: Vec<PathBuf>,
    },
    /// Records the block of ports for this customer.
    Slot {
        /// Whose.
        slug: Slug,
        /// Which.
        slot: Slot,
    },
    /// Puts the license in place.
    License {
        /// Its id.
        id: String,
        /// Of the envelope, byte for byte.
        digest: Digest,
        /// Where.
        to: PathBuf,
    },
    /// Makes the roles' token, the API token and the console's first password.
    Secrets {
        /// The folder, 0700.
        to: PathBuf,
    },
    /// Puts a model file, or a folder of them, in place.
    Model {
        /// What it is for.
        role: ModelRole,
        /// Name, digest, and where it belongs.
        model: ModelRef,
        /// Its exact size; of a folder, that of all its files.
        size_bytes: u64,
        /// Of a model that is a folder, in the order of paths; none for a file.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<ModelFile>,
    },
    /// Brings the images of the release into the engine.
    Images {
        /// In the order they are loaded.
        images: Vec<Image>,
    },
    /// Puts this version of the binary beside the others and switches to it.
    Binary {
        /// Its version.
        version: String,
        /// Its digest.
        digest: Digest,
        /// Its exact size.
        size_bytes: u64,
        /// Where this version is kept.
        to: PathBuf,
        /// The link that is switched.
        link: PathBuf,
    },
    /// Writes the configuration every role reads, and the answers it came from.
    Config {
        /// The configuration.
        config: Box<ServiceConfig>,
        /// Where.
        to: PathBuf,
    },
    /// Writes the compose file and makes the containers it describes, without starting them.
    Containers {
        /// Name of the compose project.
        project: String,
        /// The compose file.
        to: PathBuf,
    },
    /// Starts the resident agent.
    Agent {
        /// How it is kept running.
        supervision: Supervision,
    },
    /// Waits until the agent has every role ready.
    Roles {
        /// In start order.
        roles: Vec<Role>,
    },
    /// Reads the folders.
    Ingest {
        /// Which.
        folders: Vec<PathBuf>,
    },
    /// Trains the first adapter.
    Train {
        /// The budget.
        minutes: u32,
    },
    /// Searches once and generates one token, as a user would.
    Check,
}

/// A file of a model that is a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Below the folder, with `/`; a release with any other than a plain path was refused.
    pub path: String,
    /// Of its bytes.
    pub digest: Digest,
    /// Its exact size.
    pub size_bytes: u64,
}

/// An image, as the release names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// For instance `0711/platform`.
    pub name: String,
    /// Its version.
    pub tag: String,
    /// What the engine calls it; containers are made from exactly this.
    pub id: Digest,
    /// Of its layers in the bundle, compressed.
    pub size_bytes: u64,
    /// Of its layers on the engine.
    pub unpacked_bytes: u64,
}

/// How the agent is kept running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Supervision {
    /// As a unit of systemd.
    Systemd,
    /// As a process of its own session.
    Detached,
}

impl Step {
    /// Returns the step's name.
    pub fn id(&self) -> StepId {
        match self {
            Self::Folders { .. } => StepId::Folders,
            Self::Slot { .. } => StepId::Slot,
            Self::License { .. } => StepId::License,
            Self::Secrets { .. } => StepId::Secrets,
            Self::Model { role: ModelRole::Embed, .. } => StepId::EmbedModel,
            Self::Model { role: ModelRole::Chat, .. } => StepId::ChatModel,
            Self::Images { .. } => StepId::Images,
            Self::Binary { .. } => StepId::Binary,
            Self::Config { .. } => StepId::Config,
            Self::Containers { .. } => StepId::Containers,
            Self::Agent { .. } => StepId::Agent,
            Self::Roles { .. } => StepId::Roles,
            Self::Ingest { .. } => StepId::Ingest,
            Self::Train { .. } => StepId::Train,
            Self::Check => StepId::Check,
        }
    }
}
