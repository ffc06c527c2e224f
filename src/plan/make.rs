use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use base::config::{self, Containers, ModelRef, ServiceConfig};
use base::{Digest, Layout, Role, Slug};
use host::{Facts, FolderState};
use serde::{Deserialize, Serialize};

use crate::containers::{containers, images};
use crate::forecast::{self, Forecast, Note};
use crate::grant::Grant;
use crate::{
    Answers, Fault, Faults, Image, ModelFile, Plan, Port, Receipt, Runtime, Service, Slot, SlotTable, Step, Supervision,
};

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelRole {
    /// Answers.
    Chat,
    /// Finds.
    Embed,
}

/// A model of the chosen profile, as the verified catalogue describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What it is for.
    pub role: ModelRole,
    /// Its name in the catalogue.
    pub name: String,
    /// Of the file, or of the folder's list of files.
    pub digest: Digest,
    /// Of the file, or of all of them.
    pub size_bytes: u64,
    /// Set for a model that is a folder of files.
    pub folder: Option<Folder>,
}

/// What a release says of a model that is a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// In the order of paths.
    pub files: Vec<ModelFile>,
    /// The most tokens it looks at.
    pub context_tokens: u32,
    /// Of its vectors, for a model that embeds.
    pub dimension: Option<u32>,
}

/// The binary that is to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The product's version.
    pub version: String,
    /// Of the file.
    pub digest: Digest,
    /// Of the file.
    pub size_bytes: u64,
}

/// Everything a plan depends on.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// What the license allows.
    pub grant: &'a Grant,
    /// Digest of the license's envelope.
    pub license: Digest,
    /// The models of the profile.
    pub models: &'a [Model],
    /// The binary that is to run.
    pub binary: &'a Binary,
    /// The images of the release; none without a bundle.
    pub images: &'a [Image],
    /// This machine, with the room at `layout.var()` and `layout.bin_dir()` and a survey of each folder.
    pub host: &'a Facts,
    /// Digests of models and binary that are already in place.
    pub present: &'a BTreeSet<Digest>,
    /// Ports our own running roles hold.
    pub own_ports: &'a BTreeSet<u16>,
    /// Who has which ports.
    pub slots: &'a SlotTable,
    /// What the administrator wants.
    pub answers: &'a Answers,
    /// What is installed now.
    pub receipt: Option<&'a Receipt>,
    /// What the installed services run as; nothing where none are installed.
    pub installed_runtime: Option<Runtime>,
    /// The profile of their models.
    pub installed_profile: Option<&'a str>,
    /// Where everything goes.
    pub layout: &'a Layout,
}

/// A plan, and what is worth knowing before it is executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// What is to be.
    pub plan: Plan,
    /// What it will probably need.
    pub forecast: Forecast,
    /// What the administrator should know.
    pub notes: Vec<Note>,
    /// Whether the receipt says that exactly this is installed.
    pub is_installed: bool,
}

/// What an installation would be and need, whether or not this machine has it: what a preflight judges by.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// What would be.
    pub plan: Plan,
    /// What it would probably need.
    pub forecast: Forecast,
}

/// Decides what the installation is to be.
///
/// # Errors
/// Every reason that stands in the way, together.
pub fn make(inputs: &Inputs<'_>) -> Result<Proposal, Faults> {
    let Draft { plan, forecast } = draft_unless(inputs, machine_faults(inputs))?;
    Faults::none_or(room_faults(inputs, &plan, &forecast))?;
    let mut notes = forecast::notes(inputs, &forecast, inputs.grant.max_documents);
    notes.extend(inputs.grant.note());
    let is_installed = inputs.receipt.is_some_and(|receipt| receipt.plan == plan.digest());
    Ok(Proposal { plan, forecast, notes, is_installed })
}

/// Says what the installation would be and need. What the machine lacks is no fault here.
///
/// # Errors
/// Every reason in the answers, the license and the folders, together.
pub fn draft(inputs: &Inputs<'_>) -> Result<Draft, Faults> {
    draft_unless(inputs, Vec::new())
}

fn draft_unless(inputs: &Inputs<'_>, of_machine: Vec<Fault>) -> Result<Draft, Faults> {
    let mut faults = inputs.answers.faults();
    faults.extend(inputs.grant.faults(inputs.answers.slug().ok().as_ref(), inputs.receipt.is_some()));
    faults.extend(folder_faults(inputs));
    if inputs.installed_runtime.is_some_and(|installed| installed != inputs.answers.runtime) {
        faults.push(Fault::RuntimeFixed);
    }
    if let Some(installed) = inputs.installed_profile.filter(|installed| *installed != inputs.answers.profile) {
        faults.push(Fault::ProfileFixed { installed: installed.to_owned() });
    }
    faults.extend(of_machine);
    let parts = parts(inputs).map_err(|fault| faults.extend(fault)).ok();
    let Some(parts) = parts.filter(|_| faults.is_empty()) else {
        Faults::none_or(faults)?;
        unreachable!("without faults there are parts");
    };
    let (plan, trains) = choose(inputs, &parts);
    let forecast = forecast::forecast(inputs, trains);
    Ok(Draft { plan, forecast })
}

/// The first training belongs to the first installation. A later plan leaves it out, unless it is the very plan that is
/// installed: the same intent must give the same bytes, before and after it was carried out.
fn choose(inputs: &Inputs<'_>, parts: &Parts) -> (Plan, bool) {
    let wants = inputs.answers.training_minutes > 0 && inputs.grant.allows_training() && !inputs.answers.is_gpu();
    let with_training = build(inputs, parts, wants);
    match inputs.receipt {
        Some(receipt) if receipt.adapter.is_some() && receipt.plan != with_training.digest() => {
            (build(inputs, parts, false), false)
        }
        _ => (with_training, wants),
    }
}

/// What must be known before a plan can be written down.
struct Parts {
    slug: Slug,
    slot: Slot,
    chat: ModelRef,
    embed: ModelRef,
    containers: Option<Containers>,
}

fn parts(inputs: &Inputs<'_>) -> Result<Parts, Vec<Fault>> {
    let model = |role, missing| {
        // vLLM loads folders, our own engine files.
        let found = inputs.models.iter().find(|model| model.role == role);
        let found = found.filter(|model| model.folder.is_some() == inputs.answers.is_gpu());
        let profile = || inputs.answers.profile.clone();
        found.map(|model| reference(model, inputs.layout)).ok_or_else(|| match inputs.answers.is_gpu() {
            true => Fault::FolderMissingInRelease { profile: profile(), missing },
            false => Fault::ModelMissing { profile: profile(), missing },
        })
    };
    let slug = inputs.answers.slug();
    let is_busy = |base: u16| {
        let offsets = std::iter::once(base::API_OFFSET).chain(Role::ALL.iter().map(|role| role.port_offset()));
        offsets.into_iter().any(|offset| taken_by(inputs, base + offset).is_some())
    };
    let slot = slug.clone().and_then(|slug| inputs.slots.allocate(&slug, inputs.answers.port_base, is_busy));
    let containers = slug.clone().map_err(|fault| vec![fault]).and_then(|slug| containers(inputs, &slug));
    match (slug, slot, model(ModelRole::Chat, "chat"), model(ModelRole::Embed, "embedding"), containers) {
        (Ok(slug), Ok(slot), Ok(chat), Ok(embed), Ok(containers)) => Ok(Parts { slug, slot, chat, embed, containers }),
        // A name without a short form is already among the faults of the answers.
        (slug, slot, chat, embed, containers) => {
            let (slot, containers) = if slug.is_ok() { (slot.err(), containers.err()) } else { (None, None) };
            let of_containers = containers.into_iter().flatten();
            Err(slot.into_iter().chain(chat.err()).chain(embed.err()).chain(of_containers).collect())
        }
    }
}

fn reference(model: &Model, layout: &Layout) -> ModelRef {
    let path = match model.folder {
        Some(_) => layout.model_folder(&model.digest),
        None => layout.model(&model.digest),
    };
    ModelRef { name: model.name.clone(), digest: model.digest, path }
}

fn build(inputs: &Inputs<'_>, parts: &Parts, trains: bool) -> Plan {
    let answers = inputs.answers;
    let config = ServiceConfig {
        format: config::FORMAT,
        customer_name: answers.customer.name.trim().to_owned(),
        slug: parts.slug.clone(),
        bind: answers.console.bind,
        port_base: parts.slot.port_base,
        folders: answers.folders.clone(),
        chat_model: parts.chat.clone(),
        embed_model: parts.embed.clone(),
        max_documents: inputs.grant.max_documents,
        training_minutes: answers.training_minutes,
        threads: inputs.host.cpu.cores,
        console_hosts: answers.console.hosts.clone(),
        permissions: answers.permissions,
        containers: parts.containers.clone(),
    };
    let services = Role::ALL.iter().map(|role| Service {
        role: *role,
        port: config.port(*role),
        memory_bytes: forecast::role_memory_bytes(*role, inputs),
    });
    Plan {
        format: Plan::FORMAT,
        customer_name: config.customer_name.clone(),
        slug: parts.slug.clone(),
        version: inputs.binary.version.clone(),
        root: inputs.layout.root().map(Path::to_owned),
        answers: answers.clone(),
        slot: parts.slot,
        ports: ports(&config),
        services: services.collect(),
        steps: steps(inputs, parts, config, trains),
    }
}

fn ports(config: &ServiceConfig) -> Vec<Port> {
    let purpose = |role| match role {
        Role::Embed => "embeddings",
        Role::Llm => "language model",
        Role::Lake => "tables and search",
        Role::Ingest => "reading of the folders",
        Role::Trainer => "training",
        Role::Console => "web console",
    };
    let mut ports: Vec<_> = Role::ALL
        .iter()
        .map(|role| Port { port: config.port(*role), role: *role, purpose: purpose(*role).to_owned() })
        .collect();
    ports.push(Port { port: config.api_port(), role: Role::Console, purpose: "OpenAI-compatible API".to_owned() });
    ports.sort_by_key(|port| port.port);
    ports
}

fn steps(inputs: &Inputs<'_>, parts: &Parts, config: ServiceConfig, trains: bool) -> Vec<Step> {
    let layout = inputs.layout;
    let customer = layout.customer(&parts.slug);
    let supervision =
        if inputs.host.systemd && layout.root().is_none() { Supervision::Systemd } else { Supervision::Detached };
    let model = |role, model: &ModelRef| {
        let known = inputs.models.iter().find(|known| known.digest == model.digest);
        Step::Model {
            role,
            size_bytes: known.map_or(0, |known| known.size_bytes),
            model: model.clone(),
            files: known.and_then(|known| known.folder.as_ref()).map(|of| of.files.clone()).unwrap_or_default(),
        }
    };
    let mut steps = vec![
        Step::Folders { paths: own_folders(layout, &parts.slug) },
        Step::Slot { slug: parts.slug.clone(), slot: parts.slot },
        Step::License { id: inputs.grant.license_id.clone(), digest: inputs.license, to: customer.license() },
        Step::Secrets { to: customer.secrets() },
        model(ModelRole::Embed, &parts.embed),
        model(ModelRole::Chat, &parts.chat),
    ];
    if parts.containers.is_some() {
        steps.push(Step::Images { images: images(inputs) });
    }
    steps.extend([
        Step::Binary {
            version: inputs.binary.version.clone(),
            digest: inputs.binary.digest,
            size_bytes: inputs.binary.size_bytes,
            to: layout.binary_version(&inputs.binary.version, &inputs.binary.digest),
            link: layout.binary(),
        },
        Step::Config { config: Box::new(config), to: customer.config() },
    ]);
    if let Some(containers) = &parts.containers {
        steps.push(Step::Containers { project: containers.project.clone(), to: customer.compose() });
    }
    steps.extend([
        Step::Agent { supervision },
        Step::Roles { roles: Role::ALL.to_vec() },
        Step::Ingest { folders: inputs.answers.folders.clone() },
    ]);
    if trains {
        steps.push(Step::Train { minutes: inputs.answers.training_minutes });
    }
    steps.push(Step::Check);
    steps
}

fn own_folders(layout: &Layout, slug: &Slug) -> Vec<PathBuf> {
    let customer = layout.customer(slug);
    vec![
        customer.etc().to_owned(),
        customer.dir().to_owned(),
        customer.run_dir(),
        customer.deployment(),
        customer.secrets(),
        customer.lakehouse(),
        customer.loras(),
        customer.ingest_state(),
        customer.train_dir(),
        customer.console_state(),
        customer.logs(),
    ]
}

fn folder_faults(inputs: &Inputs<'_>) -> Vec<Fault> {
    let layout = inputs.layout;
    let own =
        layout.root().map_or_else(|| vec![layout.var(), layout.etc(), layout.run()], |root| vec![root.to_owned()]);
    let mut faults = Vec::new();
    for path in &inputs.answers.folders {
        let state = inputs.host.folders.iter().find(|folder| folder.path == *path).map(|folder| folder.state);
        faults.extend(match state {
            Some(FolderState::Readable) => None,
            Some(FolderState::NotAFolder) => Some(Fault::NotAFolder { path: path.clone() }),
            Some(FolderState::Denied) => Some(Fault::FolderDenied { path: path.clone() }),
            Some(FolderState::Missing) | None => Some(Fault::FolderMissing { path: path.clone() }),
        });
        // Reading our own tables as documents would never end.
        let touches = own.iter().find(|own| own.starts_with(path) || path.starts_with(own));
        faults.extend(touches.map(|own| Fault::FolderHoldsInstallation { path: path.clone(), own: own.clone() }));
    }
    faults
}

fn machine_faults(inputs: &Inputs<'_>) -> Vec<Fault> {
    let missing = &inputs.host.cpu.missing_v3;
    let mut faults = Vec::new();
    if !missing.is_empty() {
        faults.push(Fault::ProcessorTooOld { missing: missing.clone() });
    }
    let needed_bytes = Role::ALL.iter().map(|role| forecast::role_memory_bytes(*role, inputs)).sum();
    let total_bytes = inputs.host.memory_total_bytes;
    if total_bytes < needed_bytes {
        faults.push(Fault::MemoryTooSmall { needed_bytes, total_bytes });
    }
    faults
}

fn taken_by<'a>(inputs: &Inputs<'a>, port: u16) -> Option<&'a host::Listener> {
    inputs.host.listeners.get(&port).filter(|_| !inputs.own_ports.contains(&port))
}

fn room_faults(inputs: &Inputs<'_>, plan: &Plan, forecast: &Forecast) -> Vec<Fault> {
    let mut faults: Vec<_> = plan
        .ports
        .iter()
        .filter_map(|port| {
            let role = (port.port != plan.slot.port_base + base::API_OFFSET).then_some(port.role);
            let holder = taken_by(inputs, port.port)?.holder.clone();
            Some(Fault::PortTaken { port: port.port, what: Fault::port_use(role), holder })
        })
        .collect();
    let disk = |path: PathBuf| inputs.host.disks.iter().find(move |disk| disk.path == path);
    let (var, bin) = (disk(inputs.layout.var()), disk(inputs.layout.bin_dir()));
    let binary = if inputs.present.contains(&inputs.binary.digest) { 0 } else { inputs.binary.size_bytes };
    let mut room = |disk: Option<&host::Disk>, needed_bytes: u64| {
        if let Some(disk) = disk.filter(|disk| disk.free_bytes < needed_bytes) {
            faults.push(Fault::DiskTooSmall { path: disk.path.clone(), needed_bytes, free_bytes: disk.free_bytes });
        }
    };
    match (var, bin) {
        (Some(var), Some(bin)) if var.device != bin.device => {
            room(Some(var), forecast.disk_needed_bytes.saturating_sub(binary));
            room(Some(bin), binary);
        }
        _ => room(var, forecast.disk_needed_bytes),
    }
    faults
}

#[cfg(test)]
mod gpu_tests;
#[cfg(test)]
mod tests;
