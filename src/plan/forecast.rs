use base::Role;
use host::Facts;

use crate::make::{Inputs, ModelRole};

/// What an installation will probably need. Estimates from facts that change by the hour, and so no part of the plan.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Forecast {
    /// Files in the folders, a lower bound when `is_complete` is false.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Whether the folders were seen whole.
    pub is_complete: bool,
    /// Disk the installation will hold when it is done.
    pub disk_bytes: u64,
    /// Disk it will hold at most on the way.
    pub disk_peak_bytes: u64,
    /// Disk that is still missing now: the peak without what is already there.
    pub disk_needed_bytes: u64,
    /// Memory of all services at rest.
    pub memory_bytes: u64,
    /// Memory while it trains.
    pub memory_peak_bytes: u64,
}

/// Something the administrator should know that stands in nobody's way.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// More files than the license allows documents: ingestion stops at the limit and lists the rest.
    MoreFilesThanDocuments {
        /// Seen.
        files: u64,
        /// Allowed.
        max_documents: u64,
    },
    /// The license ends soon, or has ended and runs in its grace.
    LicenseEnds {
        /// Whole days that are left.
        days: i64,
        /// Whether these are days of grace.
        is_grace: bool,
    },
    /// The models run on graphics cards, and this version trains adapters only for those of its own engine.
    NoTrainingOnGpu,
    /// Training will swap, or fail, on this machine.
    LittleMemoryForTraining {
        /// Wanted while it trains.
        needed_bytes: u64,
        /// What the machine has.
        total_bytes: u64,
    },
    /// A folder holds no file.
    EmptyFolder {
        /// Which.
        path: std::path::PathBuf,
    },
}

const MIB: u64 = 1 << 20;
/// An empty lake, logs, state files.
const BASE_DISK_BYTES: u64 = 64 * MIB;
/// Datasets, checkpoints and the adapter of a training run.
const TRAINING_DISK_BYTES: u64 = 512 * MIB;
/// Beside the training process itself (measured for the small profile with micro-batches).
const TRAINING_MEMORY_BYTES: u64 = 2048 * MIB;

/// Returns a role's memory at rest: its own, and the model it keeps (in memory and in working buffers).
pub(crate) fn role_memory_bytes(role: Role, inputs: &Inputs<'_>) -> u64 {
    let model = |wanted| inputs.models.iter().find(|model| model.role == wanted).map_or(0, |model| model.size_bytes);
    match role {
        // The weights are on the cards; here are a process per card with its libraries, and what passes through.
        Role::Llm if inputs.answers.is_gpu() => 4096 * MIB + u64::from(crate::containers::cards(inputs)) * 4096 * MIB,
        Role::Embed if inputs.answers.is_gpu() => 4096 * MIB,
        Role::Llm => 256 * MIB + model(ModelRole::Chat) * 3 / 2,
        Role::Embed => 128 * MIB + model(ModelRole::Embed) * 3 / 2,
        Role::Lake => 384 * MIB,
        Role::Ingest => 256 * MIB,
        Role::Trainer => 64 * MIB,
        Role::Console => 128 * MIB,
    }
}

pub(crate) fn forecast(inputs: &Inputs<'_>, trains: bool) -> Forecast {
    let surveys: Vec<_> = surveys(inputs.host).collect();
    let file_bytes = surveys.iter().map(|survey| survey.bytes).sum::<u64>();
    let fixed = inputs.binary.size_bytes + inputs.models.iter().map(|model| model.size_bytes).sum::<u64>();
    // Text is a fraction of most files, a vector adds as much as its text: half of the files' bytes is on the safe side.
    let lake = BASE_DISK_BYTES + file_bytes / 2;
    let training = if trains { TRAINING_DISK_BYTES } else { 0 };
    let disk_bytes = fixed + lake + training / 8;
    // While versions of the tables are merged, both stand side by side.
    let disk_peak_bytes = fixed + 2 * lake + training;
    let is_there = |digest| inputs.present.contains(digest);
    let there: u64 =
        inputs.models.iter().filter(|model| is_there(&model.digest)).map(|model| model.size_bytes).sum::<u64>()
            + if is_there(&inputs.binary.digest) { inputs.binary.size_bytes } else { 0 };
    let memory_bytes = Role::ALL.iter().map(|role| role_memory_bytes(*role, inputs)).sum::<u64>();
    Forecast {
        files: surveys.iter().map(|survey| survey.files).sum(),
        file_bytes,
        is_complete: surveys.iter().all(|survey| survey.complete),
        disk_bytes,
        disk_peak_bytes,
        // What is already there is not written again. An installed lake has its disk already.
        disk_needed_bytes: if inputs.receipt.is_some() { fixed - there } else { disk_peak_bytes - there },
        memory_bytes,
        memory_peak_bytes: memory_bytes + if trains { TRAINING_MEMORY_BYTES } else { 0 },
    }
}

pub(crate) fn notes(inputs: &Inputs<'_>, forecast: &Forecast, max_documents: u64) -> Vec<Note> {
    let mut notes = Vec::new();
    if forecast.files > max_documents {
        notes.push(Note::MoreFilesThanDocuments { files: forecast.files, max_documents });
    }
    if inputs.answers.is_gpu() && inputs.answers.training_minutes > 0 {
        notes.push(Note::NoTrainingOnGpu);
    }
    if forecast.memory_peak_bytes > inputs.host.memory_total_bytes {
        notes.push(Note::LittleMemoryForTraining {
            needed_bytes: forecast.memory_peak_bytes,
            total_bytes: inputs.host.memory_total_bytes,
        });
    }
    let empty = inputs
        .host
        .folders
        .iter()
        .filter(|folder| folder.survey.as_ref().is_some_and(|survey| survey.complete && survey.files == 0));
    notes.extend(empty.map(|folder| Note::EmptyFolder { path: folder.path.clone() }));
    notes
}

fn surveys(host: &Facts) -> impl Iterator<Item = &host::Survey> {
    host.folders.iter().filter_map(|folder| folder.survey.as_ref())
}
