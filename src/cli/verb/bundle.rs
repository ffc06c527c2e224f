use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ::bundle::{
    VerifiedBundle,
    release::{
        self, Build, Check, Expiry, ImageSource, Logins, Needs, Pulls, Spec, Verdict, VerifiedRelease, VerifyOptions,
    },
};
use base::{Clock, Exit, Layout, file};
use serde_json::json;
use stack::docker::Engine;
use tokio_util::sync::CancellationToken;

use crate::{
    args::{BundleArgs, BundleVerb, RepairVerb},
    context::{Context, docker_config, own_binary},
    failure::{During, Failure, Outcome},
    printer::bytes,
    progress::Progress,
    verb::{fetch, models},
};

/// The largest `root.json` read from `trust.d`.
const MAX_ROOT_BYTES: u64 = 1 << 20;

/// Makes and proves release bundles.
pub async fn run(context: &Context, args: &BundleArgs, interrupt: CancellationToken) -> Outcome {
    match &args.verb {
        BundleVerb::Build { spec, out, binary, from } => {
            let build = build(context, spec, out, binary.as_deref(), from);
            tokio::select! {
                built = build => built,
                // Cancel-safe: what was pulled stays in the bundle's folder, and every blob appears whole.
                () = interrupt.cancelled() => Err(Failure::new(Exit::Interrupted, "stopped; what was pulled is kept")
                    .remedy("the same command goes on from there")),
            }
        }
        BundleVerb::Verify { bundle, roots, earlier, online } => verify(context, bundle, roots, earlier, *online).await,
        BundleVerb::Fetch(args) => fetch::run(context, args, interrupt).await,
        BundleVerb::Load { bundle, roots, earlier } => load(context, bundle, roots, earlier, interrupt).await,
        BundleVerb::Split { bundle, out, part_mb } => {
            let (from, into, part_bytes) = (bundle.clone(), out.clone(), part_mb * 1_000_000);
            let work = tokio::task::spawn_blocking(move || release::split(&from, &into, part_bytes));
            let parts = work.await.during("the cutting broke off")??;
            let text = format!("{}: {} parts", out.display(), parts.parts.len());
            said(context, &json!({"parts": parts.parts.len(), "folder": out}), text)
        }
        BundleVerb::Join { folders, out } => {
            let (from, into) = (folders.clone(), out.clone());
            let work = tokio::task::spawn_blocking(move || release::join(&from, &into));
            let files = work.await.during("the joining broke off")??;
            let text = format!("{}: {files} files; prove them with `0711 bundle verify {0}`", out.display());
            said(context, &json!({"files": files, "bundle": out}), text)
        }
        BundleVerb::Repair { verb } => repair(context, verb).await,
    }
}

/// Versions of the formats this program writes. A release whose formats differ changes what is on the disk.
pub fn schemas() -> BTreeMap<String, u32> {
    BTreeMap::from([
        ("config".to_owned(), base::config::FORMAT),
        ("adapters".to_owned(), ::train::FORMAT),
        ("answers".to_owned(), ::plan::Answers::FORMAT),
        ("journal".to_owned(), ::plan::journal::FORMAT),
        ("lake".to_owned(), ::lake::FORMAT),
        ("plan".to_owned(), ::plan::Plan::FORMAT),
        ("receipt".to_owned(), ::plan::Receipt::FORMAT),
    ])
}

fn said(context: &Context, value: &serde_json::Value, text: String) -> Outcome {
    if context.printer.json {
        return context.printer.value(value);
    }
    context.printer.line(text);
    Ok(())
}

async fn repair(context: &Context, verb: &RepairVerb) -> Outcome {
    match verb {
        RepairVerb::Needs { bundle, out, roots } => {
            let needs = release::needs(bundle, &options(context, roots, None)?).await?;
            file::write_output(out, &needs.to_bytes()?).during(format!("cannot write `{}`", out.display()))?;
            let count = needs.blobs.len();
            let text = match count {
                0 => "the bundle is whole".to_owned(),
                _ => format!("{}: {count} blobs are missing or damaged; send this file to the maker", out.display()),
            };
            said(context, &json!({"blobs": count, "list": out}), text)
        }
        RepairVerb::Make { needs, from, out } => {
            let size = release::make(from, &Needs::read(needs)?, out)?;
            said(context, &json!({"size_bytes": size, "bundle": out}), format!("{}: {}", out.display(), bytes(size)))
        }
        RepairVerb::Apply { bundle, from } => {
            let mended = release::apply(from, bundle)?;
            let text = format!("{}: {mended} blobs mended; prove it with `0711 bundle verify {0}`", bundle.display());
            said(context, &json!({"mended": mended, "bundle": bundle}), text)
        }
    }
}

/// How a bundle that is to be installed is judged on this machine.
pub fn options(context: &Context, roots: &[PathBuf], installed: Option<semver::Version>) -> Outcome<VerifyOptions> {
    Ok(VerifyOptions {
        roots: trusted_roots(&context.layout, roots)?,
        seen: Some(context.layout.release_seen()),
        installed,
        // A bundle in a folder was brought by hand.
        expiry: Expiry::Warn,
        now: Clock::system().now(),
        earlier: Vec::new(),
        held: BTreeSet::new(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    })
}

/// Proves the bundle in the folder `from`. Returns it with its folder.
pub async fn obtain(
    context: &Context,
    from: &str,
    roots: &[PathBuf],
    installed: Option<semver::Version>,
) -> Outcome<(VerifiedRelease, PathBuf)> {
    let bundle = Path::new(from);
    let bundle = std::path::absolute(bundle).during(format!("cannot use `{from}`"))?;
    let proven = release::verify(&bundle, &options(context, roots, installed)?, &|_| ()).await;
    let proven =
        proven.map_err(|error| Failure::from(error).during(format!("cannot use the bundle `{}`", bundle.display())))?;
    Ok((proven, bundle))
}

async fn build(context: &Context, spec: &Path, out: &Path, binary: Option<&Path>, from: &[PathBuf]) -> Outcome {
    let spec = Spec::read(spec)?;
    bring_images(context, &spec, out).await?;
    let version = match spec.version.clone() {
        Some(version) => version,
        None => env!("CARGO_PKG_VERSION").parse().during("this program's version is none")?,
    };
    let catalogue = VerifiedBundle::embedded()?;
    let mut files = Vec::new();
    for name in spec.catalogue_models() {
        files.push(models::fetch(context, &catalogue, name, from).await?);
    }
    let schemas = schemas();
    let binary = binary.map_or_else(own_binary, |path| Ok(path.to_owned()))?;
    let build = Build { spec, version, binary, models: files, schemas, out: out.to_owned() };
    let printer = context.printer;
    let built = tokio::task::spawn_blocking(move || {
        build.run(&|what| match printer.json {
            true => printer.note(json!({"event": "started", "what": what}).to_string()),
            false => printer.note(format!("· {what}")),
        })
    });
    let built = built.await.during("the build broke off")??;
    let release = &built.release;
    if context.printer.json {
        let size_bytes = release.size_bytes();
        return context.printer.value(&json!({"bundle": out, "release": built.digest, "version": release.version,
            "blobs": release.blobs.len(), "size_bytes": size_bytes}));
    }
    let size = bytes(release.size_bytes());
    context.printer.line(format!(
        "{}: release {} with {} blobs, {size}",
        out.display(),
        release.version,
        release.blobs.len()
    ));
    context.printer.line("It is not signed yet: `0711 release sign --trust DIR --key FILE BUNDLE`");
    Ok(())
}

/// Brings what the images need of registries and of this machine's engine into the bundle's folder, where the build looks for it.
async fn bring_images(context: &Context, spec: &Spec, out: &Path) -> Outcome {
    let is_elsewhere = |from: &ImageSource| matches!(from, ImageSource::Registry(_) | ImageSource::Engine(_));
    if !spec.images.iter().any(|image| is_elsewhere(&image.from)) {
        return Ok(());
    }
    let pulls = Pulls::open(out)?;
    let logins = docker_config().map_or_else(|| Ok(Logins::default()), |path| Logins::read(&path))?;
    for image in &spec.images {
        let start = |from: String| Mutex::new(Progress::start(context.printer, format!("image {} {from}", image.name)));
        match &image.from {
            ImageSource::Registry(name) => {
                let progress = start(format!("from {}, asked {}", name.host(), logins.describe(name.host())));
                let watch = |done_bytes, total_bytes| shown(&progress, done_bytes, total_bytes);
                let pulled = pulls.pull(name, &logins, &watch).await;
                let said = |size: &release::Pulled| format!("{} layers, {}", size.layers, bytes(size.size_bytes));
                ended(progress, pulled, said)?;
            }
            ImageSource::Engine(name) => {
                let progress = start("from the engine".to_owned());
                let exported = match Engine::connect().await {
                    Ok(engine) => engine.export(name, &pulls.archive(name), &|done| shown(&progress, done, 0)).await,
                    Err(error) => Err(error),
                };
                ended(progress, exported, |size| bytes(*size))?;
            }
            ImageSource::Binary | ImageSource::DockerArchive(_) => {}
        }
    }
    Ok(())
}

fn shown(progress: &Mutex<Progress>, done_bytes: u64, total_bytes: u64) {
    let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
    progress.update(&models::megabytes(done_bytes, total_bytes));
}

/// Ends the display with what came of the work.
fn ended<T, E: Into<Failure>>(
    progress: Mutex<Progress>,
    outcome: Result<T, E>,
    said: impl FnOnce(&T) -> String,
) -> Outcome<T> {
    let progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
    match outcome {
        Ok(done) => {
            progress.finish(&said(&done));
            Ok(done)
        }
        Err(error) => {
            progress.abandon();
            Err(error.into())
        }
    }
}

async fn verify(context: &Context, bundle: &Path, roots: &[PathBuf], earlier: &[PathBuf], online: bool) -> Outcome {
    let expiry = if online { Expiry::Refuse } else { Expiry::Warn };
    let options = VerifyOptions { earlier: earlier.to_vec(), expiry, ..options(context, roots, None)? };
    let checks = Mutex::new(Vec::new());
    let printer = context.printer;
    let report = |check: Check| {
        if !printer.json {
            let verdict = match check.verdict {
                Verdict::Ok => printer.good("ok     "),
                Verdict::Warning => printer.warn("warning"),
            };
            printer.line(format!("{verdict}  {:<9}  {}", check.id, check.seen));
        }
        checks.lock().unwrap_or_else(PoisonError::into_inner).push(check);
    };
    let proven = release::verify(bundle, &options, &report).await?;
    let proven = proven.release();
    if printer.json {
        let checks = checks.into_inner().unwrap_or_else(PoisonError::into_inner);
        return printer.value(&json!({"verified": true, "release": proven, "checks": checks}));
    }
    printer.line(format!(
        "release {}: every signature and every blob holds ({})",
        proven.version,
        bytes(proven.size_bytes())
    ));
    Ok(())
}

/// Brings every image into the engine. What an interrupted run sent stays.
async fn load(
    context: &Context,
    bundle: &Path,
    roots: &[PathBuf],
    earlier: &[PathBuf],
    interrupt: CancellationToken,
) -> Outcome {
    let options = VerifyOptions { earlier: earlier.to_vec(), ..options(context, roots, None)? };
    let engine = Engine::connect().await?;
    let printer = context.printer;
    let proving = Progress::start(printer, "proving the bundle");
    let proven = match release::verify(bundle, &options, &|_| ()).await {
        Ok(proven) => proven,
        Err(error) => {
            proving.abandon();
            return Err(error.into());
        }
    };
    proving.finish(&format!("release {}", proven.release().version));
    let mut done = Vec::new();
    for image in &proven.release().images {
        let content = proven.image(image)?;
        let progress = Mutex::new(Progress::start(printer, format!("image {}", content.reference)));
        let watch = |done_bytes: u64, total_bytes: u64| shown(&progress, done_bytes, total_bytes);
        let loaded = tokio::select! {
            loaded = engine.load(&content, &watch) => loaded,
            // Cancel-safe: the engine keeps the batches it has taken, and the next run begins after them.
            () = interrupt.cancelled() => {
                progress.into_inner().unwrap_or_else(PoisonError::into_inner).abandon();
                return Err(Failure::new(Exit::Interrupted, "stopped; what was loaded is kept")
                    .remedy("the same command goes on from there"));
            }
        };
        let loaded = ended(progress, loaded, |loaded| match loaded.layers_sent {
            0 => "already there".to_owned(),
            count => format!("{count} of {} layers sent, {}", content.layers.len(), bytes(loaded.sent_bytes)),
        })?;
        let (id, sent, sent_bytes) = (engine.id(&content), loaded.layers_sent, loaded.sent_bytes);
        done.push(json!({"image": content.reference, "id": id, "layers_sent": sent, "sent_bytes": sent_bytes}));
    }
    if printer.json {
        printer.value(&json!({"loaded": done}))?;
    }
    Ok(())
}

/// The roots named, else those of `trust.d`. No release root is compiled into this version.
pub fn trusted_roots(layout: &Layout, named: &[PathBuf]) -> Outcome<Vec<Vec<u8>>> {
    let mut paths = named.to_vec();
    if paths.is_empty() {
        let dir = layout.trust_dir();
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
        paths = entries.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
        paths.sort();
        if let Some(path) = paths.iter().find(|path| !is_guarded(path)) {
            let text = format!("`{}` may be changed by others than root", path.display());
            return Err(Failure::new(Exit::Untrusted, text)
                .remedy(format!("run `chown root: {0} && chmod 644 {0}`", path.display())));
        }
    }
    let read = |path: &PathBuf| {
        file::read_bounded(path, MAX_ROOT_BYTES).during(format!("cannot use the root `{}`", path.display()))
    };
    paths.iter().map(read).collect()
}

/// Owned by root or by whom this runs as, and writable by the owner alone.
fn is_guarded(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata("/proc/self").map(|found| found.uid());
    std::fs::metadata(path)
        .is_ok_and(|found| found.mode() & 0o022 == 0 && (found.uid() == 0 || own.is_ok_and(|own| own == found.uid())))
}
