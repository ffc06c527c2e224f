use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
};

use base::{CustomerLayout, Exit, Layout, config::ModelRef, job};
use bundle::release::{BlobKind, ReleaseModel, VerifiedRelease};
use bundle::{Catalogue, Event, FetchOptions, Listed, ModelRole, State, VerifiedBundle, VerifiedModel};
use install::ModelSource;
use serde_json::json;

use crate::{
    args::{ModelsArgs, ModelsVerb},
    context::Context,
    failure::{Failure, Outcome},
    local,
    printer::bytes,
    progress::Progress,
};

/// Lists, fetches and verifies models.
pub async fn run(context: &Context, args: &ModelsArgs) -> Outcome {
    let bundle = VerifiedBundle::embedded()?;
    let models = models_dir(&context.layout);
    match &args.verb {
        ModelsVerb::List => show(context, &bundle.list(&models).await?, &[]),
        ModelsVerb::Verify { names } => {
            check_names(bundle.catalogue(), names)?;
            let listed = bundle.verify(&models).await?;
            show(context, &listed, names)?;
            let wanted = |line: &&Listed| names.is_empty() || names.contains(&line.name);
            match listed.iter().filter(wanted).find(|line| line.state != State::Present) {
                None => Ok(()),
                Some(line) => {
                    let failure = Failure::new(Exit::Model, format!("the model `{}` is not whole", line.name));
                    Err(failure.remedy(format!("run `0711 models fetch {}`", line.name)))
                }
            }
        }
        ModelsVerb::Fetch { names, from } => {
            check_names(bundle.catalogue(), names)?;
            let names = match names.is_empty() {
                true => default_names(bundle.catalogue())?,
                false => names.clone(),
            };
            for name in &names {
                let model = fetch(context, &bundle, name, from).await?;
                if context.printer.json {
                    context.printer.value(&json!({"name": name, "path": model.path(), "digest": model.digest()}))?;
                }
            }
            Ok(())
        }
    }
}

/// Brings the file of a model into the models folder, with its progress shown.
pub async fn fetch(context: &Context, bundle: &VerifiedBundle, name: &str, from: &[PathBuf]) -> Outcome<VerifiedModel> {
    let progress = std::sync::Mutex::new(Progress::start(context.printer, format!("model {name}")));
    let printer = context.printer;
    let watch = |event: Event| match event {
        Event::Progress { done_bytes, total_bytes } => {
            let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            progress.update(&megabytes(done_bytes, total_bytes));
        }
        Event::Passed { source, reason } if !printer.json => printer.note(format!("  {source}: {reason}")),
        Event::Waiting { holder } if !printer.json => printer.note(format!("  waiting for {holder}")),
        Event::Replacing { reason } if !printer.json => printer.note(format!("  replacing the file: {reason}")),
        _ => {}
    };
    let options = FetchOptions { folders: places(from), offline: false };
    let fetched = bundle.fetch(name, &models_dir(&context.layout), &options, &watch).await;
    let progress = progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    match fetched {
        Ok(model) => {
            progress.finish(&format!("{}, digest checked", bytes(model.size_bytes())));
            Ok(model)
        }
        Err(error) => {
            progress.abandon();
            Err(error.into())
        }
    }
}

/// Progress of a file in megabytes, as people count them.
pub fn megabytes(done_bytes: u64, total_bytes: u64) -> job::Progress {
    const MEGABYTE: u64 = 1_000_000;
    let unit = "MB".to_owned();
    job::Progress {
        done: done_bytes / MEGABYTE,
        total: total_bytes.div_ceil(MEGABYTE),
        unit,
        ..job::Progress::default()
    }
}

/// Folders that may hold model files: the ones named, and `models` beside the program and here.
fn places(named: &[PathBuf]) -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|binary| binary.parent().map(Path::to_owned));
    let here = std::env::current_dir().ok();
    let usual = beside.into_iter().chain(here).map(|dir| dir.join("models"));
    named.iter().cloned().chain(usual).collect()
}

/// An installation's own folder where there is one, this user's cache otherwise.
fn models_dir(layout: &Layout) -> PathBuf {
    let own = layout.models();
    if own.is_dir() { own } else { Layout::model_cache() }
}

fn check_names(catalogue: &Catalogue, names: &[String]) -> Outcome {
    for name in names {
        catalogue.model(name)?;
    }
    Ok(())
}

fn default_names(catalogue: &Catalogue) -> Outcome<Vec<String>> {
    let profile = catalogue.profile(::plan::Answers::DEFAULT_PROFILE)?;
    Ok(vec![profile.chat.clone(), profile.embed.clone()])
}

/// Returns the models of a profile of the catalogue as a plan wants them.
pub fn of_profile(profile: &str) -> Outcome<Vec<::plan::Model>> {
    let catalogue = Catalogue::embedded()?;
    let profile = catalogue.profile(profile)?;
    let wanted = [(&profile.chat, ::plan::ModelRole::Chat), (&profile.embed, ::plan::ModelRole::Embed)];
    wanted
        .into_iter()
        .map(|(name, role)| {
            let model = catalogue.model(name)?;
            let (digest, size_bytes) = (model.digest(), model.size_bytes());
            Ok(::plan::Model { role, name: name.clone(), digest, size_bytes, folder: None })
        })
        .collect()
}

/// Returns the models of a release that are folders, as a plan wants them; without a bundle, those the last plan named.
pub fn folders(release: Option<&VerifiedRelease>, customer: &CustomerLayout) -> Outcome<Vec<::plan::Model>> {
    match release {
        Some(release) => Ok(release.release().models.iter().filter_map(|model| of_release(release, model)).collect()),
        None => Ok(install::read_plan(customer)?.map(|plan| plan.folders()).unwrap_or_default()),
    }
}

fn of_release(release: &VerifiedRelease, model: &ReleaseModel) -> Option<::plan::Model> {
    let folder = model.folder.as_ref()?;
    let size = |digest| release.release().blob(digest).map_or(0, |blob| blob.size_bytes);
    let files: Vec<_> = folder
        .files
        .iter()
        .map(|file| ::plan::ModelFile { path: file.path.clone(), digest: file.digest, size_bytes: size(&file.digest) })
        .collect();
    Some(::plan::Model {
        role: match folder.role {
            ModelRole::Chat => ::plan::ModelRole::Chat,
            ModelRole::Embed => ::plan::ModelRole::Embed,
        },
        name: model.name.clone(),
        digest: model.digest,
        size_bytes: files.iter().map(|file| file.size_bytes).sum(),
        folder: Some(::plan::Folder { files, context_tokens: folder.context_tokens, dimension: folder.dimension }),
    })
}

/// Returns where the models of the default profile lie: in the installation, else in this user's cache.
pub fn default_models(context: &Context) -> Outcome<local::Models> {
    let catalogue = Catalogue::embedded()?;
    let reference = |role: ModelRole| -> Outcome<ModelRef> {
        let profile = catalogue.profile(::plan::Answers::DEFAULT_PROFILE)?;
        let name = match role {
            ModelRole::Chat => &profile.chat,
            ModelRole::Embed => &profile.embed,
        };
        let model = catalogue.model(name)?;
        let installed = context.layout.model(&model.digest());
        let path = if installed.is_file() { installed } else { Layout::cached_model(&model.digest()) };
        Ok(ModelRef { name: name.clone(), digest: model.digest(), path })
    };
    Ok(local::Models { chat: reference(ModelRole::Chat)?, embed: reference(ModelRole::Embed)? })
}

fn show(context: &Context, listed: &[Listed], names: &[String]) -> Outcome {
    let wanted: Vec<_> = listed.iter().filter(|line| names.is_empty() || names.contains(&line.name)).collect();
    if context.printer.json {
        return context.printer.value(&json!({"models": wanted}));
    }
    for line in wanted {
        let state = match &line.state {
            State::Present => context.printer.good("here"),
            State::Missing => context.printer.warn("missing"),
            State::Damaged { reason } => context.printer.warn(&format!("damaged: {reason}")),
        };
        let size = bytes(line.size_bytes);
        context.printer.line(format!("{:<32} {:<6} {size:>9}  {:<12} {state}", line.name, line.role, line.licence));
    }
    Ok(())
}

/// Gives `install` the models: from the release bundle that was named, else fetched into the user's cache.
pub struct Models<'a> {
    pub release: Option<&'a VerifiedRelease>,
}

impl ModelSource for Models<'_> {
    fn obtain<'a>(
        &'a self,
        model: &'a ModelRef,
        progress: &'a (dyn Fn(u64, u64) + Send + Sync),
    ) -> Pin<Box<dyn Future<Output = Result<PathBuf, install::Cause>> + Send + 'a>> {
        Box::pin(async move {
            // A model of one file, or one file of a model that is a folder.
            let named = |release: &&VerifiedRelease| {
                release.release().blob(&model.digest).is_some_and(|blob| blob.kind == BlobKind::Model)
            };
            if let Some(path) = self.release.filter(named).and_then(|release| release.blob_path(&model.digest)) {
                return Ok(path);
            }
            let watch = |event: Event| {
                if let Event::Progress { done_bytes, total_bytes } = event {
                    progress(done_bytes, total_bytes);
                }
            };
            let options = FetchOptions { folders: places(&[]), offline: false };
            let bundle = VerifiedBundle::embedded()?;
            let model = bundle.fetch(&model.name, &Layout::model_cache(), &options, &watch).await?;
            Ok(model.path().to_owned())
        })
    }
}
