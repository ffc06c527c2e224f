use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use base::{
    Clock, Digest, Rights, Secret,
    config::ModelRef,
    file::{self, Lock},
    job::Progress,
};
use engine::ChatTokenizer;
use lake::{Access, VersionRow};
use tokio_util::sync::CancellationToken;

use crate::{
    Adapter, AdapterShape, BaseModel, Error, Network, Registry,
    checkpoint::Checkpoint,
    corpus,
    dataset::Dataset,
    fit::{self, Task},
    format::{Agreement, FORMAT, Outcome, VersionEntry, VersionFile},
    gate::{self, Scores, Tally, Verdict},
    peft, twin,
};

/// Rank and alpha of every adapter: what vLLM's default accepts, scale 2.
const RANK: usize = 16;
const ALPHA: f32 = 32.0;
/// Passages read per minute of budget: more than a fast machine can learn from in it.
const PASSAGES_PER_MINUTE: usize = 1_000;
const LEAST_PASSAGES: usize = 2_000;
const CHECKPOINT: &str = "checkpoint.safetensors";
const VERSION_FILE: &str = "version.json";
/// What the serving engine computed with the twin, for whoever wants to check it.
const ENGINE_FILE: &str = "engine_check.json";
const LARGEST_VERSION_FILE: u64 = 16 << 20;

/// One training run: what to train, on what, where the result goes, and for how long.
#[derive(Clone)]
pub struct TrainJob {
    pub base: ModelRef,
    pub lake: Access,
    /// What may be learnt from.
    pub rights: Rights,
    /// Where versions and `registry.json` live.
    pub loras_dir: PathBuf,
    /// Where the checkpoint lives.
    pub work_dir: PathBuf,
    /// The budget, from the first second to the promoted version.
    pub minutes: u32,
    pub seed: u64,
    /// Threads for the products; the engine's check uses as many.
    pub threads: usize,
    /// Instead of as many updates as the budget allows: then the same data, seed and thread count
    /// give the same adapter, bit by bit.
    pub steps: Option<u32>,
    pub clock: Clock,
}

impl TrainJob {
    /// Whether it learns from nothing but what everybody may read.
    fn is_public(&self) -> bool {
        matches!(&self.rights, Rights::Of(names) if names.is_empty())
    }
}

/// Takes a run's progress.
pub type Report = Arc<dyn Fn(Progress) + Send + Sync>;

/// Trains an adapter, checks it, and promotes it if it is better than what is served.
///
/// Every version starts from the base model, never from the version before: what left the lake
/// leaves the brain with the next training. A run that was killed or cancelled goes on from its
/// checkpoint when the same job (base, data, seed, budget) is run again.
///
/// # Errors
/// [`Error::TooLittleText`] when there is too little to learn from, [`Error::Cancelled`], and what
/// reading the model or the lake, or writing the version, can fail with. A version that is not
/// better is no error: its decision says so.
pub async fn run(job: TrainJob, report: Report, cancel: CancellationToken) -> Result<Outcome, Error> {
    let started = Instant::now();
    for dir in [&job.work_dir, &job.loras_dir] {
        file::private_dir(dir).map_err(|source| Error::Write { path: dir.clone(), source })?;
    }
    let _lock = Lock::try_acquire(&job.work_dir.join("train.lock"), "train").map_err(Error::Lock)?;
    note(&report, "reading the lake");
    let most = (job.minutes as usize).saturating_mul(PASSAGES_PER_MINUTE).max(LEAST_PASSAGES);
    let corpus = corpus::gather(&job.lake, &job.rights, most, job.seed).await?;
    let base_path = job.base.path.clone();
    let dataset = blocking(move || {
        let tokenizer = ChatTokenizer::open(&base_path)?;
        Dataset::build(&corpus, &tokenizer)
    })
    .await?;
    let identity = identity(&job, &dataset);
    let registry = Registry::open(&job.loras_dir)?;
    let fitting = {
        let (job, report, cancel, registry) = (job.clone(), Arc::clone(&report), cancel.clone(), registry.clone());
        blocking(move || train(&job, dataset, &registry, identity, started, &report, &cancel)).await?
    };
    let fitted = match fitting {
        Trained::Already(name) => return finished(&job, &registry, &name, started).await,
        Trained::Now(fitted) => *fitted,
    };
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    note(&report, "checking the adapter in the serving engine");
    publish(&job, registry, fitted, started).await
}

/// A trained adapter and everything its version file says.
struct Fitted {
    dataset: Dataset,
    network: Network,
    model: Arc<BaseModel>,
    checkpoint: Checkpoint,
    adapter: Adapter,
    best_step: u32,
    scores: Scores,
}

enum Trained {
    Now(Box<Fitted>),
    /// This run's version exists: only the checkpoint was left over.
    Already(String),
}

fn train(
    job: &TrainJob,
    dataset: Dataset,
    registry: &Registry,
    identity: Digest,
    started: Instant,
    report: &Report,
    cancel: &CancellationToken,
) -> Result<Trained, Error> {
    note(report, "opening the base model");
    let checkpoint_path = &job.work_dir.join(CHECKPOINT);
    let model = Arc::new(BaseModel::open(&job.base.path)?);
    let shape = AdapterShape::new(model.config(), RANK, ALPHA);
    if let Some(left) = Checkpoint::load(checkpoint_path, identity, shape.parameters())
        && let Some(version) = registry.versions().iter().find(|version| version.run == left.state.run)
    {
        return Ok(Trained::Already(version.name.clone()));
    }
    let mut network = Network::new(Arc::clone(&model), shape.clone(), job.threads)?;
    let run = Secret::generate().map_err(|source| Error::Write { path: checkpoint_path.to_owned(), source })?;
    let task = Task {
        dataset: &dataset,
        shape: &shape,
        job: identity,
        run: run.expose().chars().take(16).collect(),
        seed: job.seed,
        minutes: job.minutes,
        steps: job.steps,
        checkpoint: checkpoint_path,
        deadline: started + Duration::from_secs(u64::from(job.minutes) * 60),
        report: &**report,
        cancel,
    };
    let checkpoint = fit::fit(&mut network, &task)?;
    let (best_step, after) = checkpoint.state.best.ok_or(Error::Diverged { step: checkpoint.state.step })?;
    let adapter = Adapter { shape: shape.clone(), values: checkpoint.best.clone() };
    let served = match registry.served(&job.rights).and_then(|name| registry.dir(name)) {
        // A version of another base model, or one that is gone, is no measure.
        Some(dir) if version_file(&dir).is_ok_and(|version| version.base == job.base.digest) => {
            note(report, "measuring the version served now");
            let rows = dataset.measured(checkpoint.state.plan.measured_rows);
            Some(fit::measure(&mut network, Some(&peft::read(&shape, &dir)?), &rows)?)
        }
        _ => None,
    };
    let scores = Scores { before: checkpoint.state.before, after, served };
    Ok(Trained::Now(Box::new(Fitted { dataset, network, model, checkpoint, adapter, best_step, scores })))
}

/// Writes the version's folder, asks the gate, and enters it into the registry and the lake.
async fn publish(job: &TrainJob, mut registry: Registry, fitted: Fitted, started: Instant) -> Result<Outcome, Error> {
    let now = job.clock.now();
    let name = registry.next_name();
    let dir_name = format!("{name}_{}", now.date_compact());
    let temporary = job.loras_dir.join(format!(".new-{name}"));
    remove(&temporary)?;
    file::private_dir(&temporary).map_err(|source| Error::Write { path: temporary.clone(), source })?;
    peft::write(&fitted.adapter, &job.base.name, &temporary)?;
    twin::write(&fitted.adapter, fitted.model.config(), &name, &temporary)?;

    let (fitted, agreement) = check(job, fitted, &temporary).await?;
    let verdict = gate::decide(fitted.scores, agreement, registry.served(&job.rights));
    let version = describe(job, &fitted, &registry, agreement, &verdict, &name, now);
    write_json(&temporary.join(VERSION_FILE), &version)?;

    // A folder of this name that the registry does not know is what a crash left between the two.
    let target = job.loras_dir.join(&dir_name);
    remove(&target)?;
    fs::rename(&temporary, &target).map_err(|source| Error::Write { path: target.clone(), source })?;
    file::sync_dir(&job.loras_dir).map_err(|source| Error::Write { path: job.loras_dir.clone(), source })?;
    let entry = VersionEntry {
        name: name.clone(),
        dir: dir_name,
        created: now,
        decision: verdict.decision,
        reason: verdict.reason.clone(),
        perplexity_before: version.perplexity_before,
        perplexity_after: version.perplexity_after,
        servable: verdict.servable,
        is_public: version.is_public,
        run: version.run.clone(),
    };
    registry.add(entry, now)?;
    tracing::info!(train.version = name, train.decision = verdict.decision.as_str(), "{}", verdict.reason);
    finished(job, &registry, &name, started).await.map(|outcome| Outcome {
        seconds: started.elapsed().as_secs_f64(),
        tokens_per_second: fitted.checkpoint.state.tokens as f64 / fitted.checkpoint.state.seconds.max(1e-9),
        ..outcome
    })
}

/// Compares the serving engine, without and with the adapter of `dir`, with the trainer on held-out rows.
async fn check(job: &TrainJob, mut fitted: Fitted, dir: &Path) -> Result<(Fitted, Agreement), Error> {
    let engine = gate::open_engine(&job.base.path, dir, u32::try_from(job.threads).unwrap_or(1)).await?;
    let (mut without, mut with) = (Tally::default(), Tally::default());
    for (index, row) in fitted.dataset.measured(gate::ROWS).into_iter().enumerate() {
        let tokens = row.tokens;
        let plain = engine.evaluate(&tokens, None).await?;
        let adapted = engine.evaluate(&tokens, Some(gate::CANDIDATE.to_owned())).await?;
        if index == 0 {
            write_json(&dir.join(ENGINE_FILE), &gate::record(&tokens, &adapted))?;
        }
        (fitted, without, with) = blocking(move || {
            let mut compare = |tally: &mut Tally, adapter: Option<&Adapter>, theirs: &[Vec<f32>]| {
                let ours = fitted.network.logits(adapter, &tokens, 0..tokens.len());
                let rows: Vec<&[f32]> = ours.chunks_exact(fitted.model.config().vocabulary).collect();
                tally.add(&rows, theirs);
            };
            compare(&mut without, None, &plain);
            compare(&mut with, Some(&fitted.adapter), &adapted);
            Ok((fitted, without, with))
        })
        .await?;
    }
    let agreement = Agreement {
        positions: with.positions(),
        top1: with.top1(),
        mean_kl: with.mean_kl(),
        base_top1: without.top1(),
        base_mean_kl: without.mean_kl(),
    };
    Ok((fitted, agreement))
}

fn describe(
    job: &TrainJob,
    fitted: &Fitted,
    registry: &Registry,
    agreement: Agreement,
    verdict: &Verdict,
    name: &str,
    now: base::Timestamp,
) -> VersionFile {
    let state = &fitted.checkpoint.state;
    VersionFile {
        format: FORMAT,
        version: name.to_owned(),
        created: now,
        base_name: job.base.name.clone(),
        base: job.base.digest,
        data: fitted.dataset.digest,
        documents: fitted.dataset.documents,
        held_out_documents: fitted.dataset.held_out_documents.clone(),
        exchanges: fitted.dataset.exchanges,
        is_public: job.is_public(),
        seed: job.seed,
        minutes: job.minutes,
        rank: RANK,
        alpha: ALPHA,
        steps: state.step,
        best_step: fitted.best_step,
        tokens: state.tokens,
        perplexity_before: fitted.scores.before.exp(),
        perplexity_after: fitted.scores.after.exp(),
        perplexity_served: fitted.scores.served.map(f64::exp),
        agreement: Some(agreement),
        parent: registry.served(&job.rights).map(str::to_owned),
        decision: verdict.decision,
        reason: verdict.reason.clone(),
        run: state.run.clone(),
    }
}

/// Mirrors a registered version into the lake, drops the checkpoint, and says how the run ended.
///
/// Each part may be repeated, for a crash may have come before any of them.
async fn finished(job: &TrainJob, registry: &Registry, name: &str, started: Instant) -> Result<Outcome, Error> {
    let dir = registry.dir(name).ok_or_else(|| Error::UnknownVersion { name: name.to_owned() })?;
    let version = version_file(&dir)?;
    let directory = registry.version(name).map(|entry| entry.dir.clone());
    let details = serde_json::to_value(&version)
        .map_err(|source| Error::Malformed { path: dir.join(VERSION_FILE), source: source.into() })?;
    let row = VersionRow {
        version: name.to_owned(),
        created_ms: version.created.millis(),
        directory: directory.clone().unwrap_or_default(),
        parent: version.parent.clone(),
        decision: version.decision.as_str().to_owned(),
        perplexity_before: Some(version.perplexity_before),
        perplexity_after: Some(version.perplexity_after),
        details,
    };
    job.lake.put_version(row).await?;
    remove(&job.work_dir.join(CHECKPOINT))?;
    Ok(Outcome {
        format: FORMAT,
        version: Some(name.to_owned()),
        decision: version.decision.as_str().to_owned(),
        reason: version.reason,
        perplexity_before: Some(version.perplexity_before),
        perplexity_after: Some(version.perplexity_after),
        steps: version.steps,
        tokens: version.tokens,
        seconds: started.elapsed().as_secs_f64(),
        tokens_per_second: 0.0,
        agreement: version.agreement,
        dir: directory,
    })
}

/// Reads a version's `version.json`.
pub(crate) fn version_file(dir: &Path) -> Result<VersionFile, Error> {
    let path = dir.join(VERSION_FILE);
    let bytes = file::read_bounded(&path, LARGEST_VERSION_FILE)?;
    let version: VersionFile = serde_json::from_slice(&bytes)
        .map_err(|source| Error::Malformed { path: path.clone(), source: source.into() })?;
    if version.format != FORMAT {
        let source = format!("its format is {}, and {FORMAT} is the one known", version.format).into();
        return Err(Error::Malformed { path, source });
    }
    Ok(version)
}

/// What makes two runs the same one.
fn identity(job: &TrainJob, dataset: &Dataset) -> Digest {
    let steps = job.steps.map_or(String::new(), |steps| steps.to_string());
    let mut parts = vec![
        job.base.digest.to_string(),
        dataset.digest.to_string(),
        job.seed.to_string(),
        job.minutes.to_string(),
        steps,
        format!("r{RANK} a{ALPHA} f{FORMAT}"),
    ];
    // The same data, and another promise.
    parts.extend(job.is_public().then(|| "public".to_owned()));
    Digest::of(parts.join("\0").as_bytes())
}

fn note(report: &Report, note: &str) {
    report(Progress { unit: "steps".to_owned(), note: note.to_owned(), ..Progress::default() });
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::BrokeOff)?
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Error> {
    let bytes = serde_json::to_vec(value)
        .map_err(|source| Error::Malformed { path: path.to_owned(), source: source.into() })?;
    file::write_atomic(path, &bytes, 0o600).map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
