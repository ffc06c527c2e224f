use std::{
    collections::BTreeSet,
    env, fs,
    io::IsTerminal,
    path::{Path, PathBuf},
    time::Duration,
};

use ::bundle::release::{self, VerifiedRelease};
use ::license::{Found, Seen, Standing, embedded_roots};
use ::plan::{Answers, Binary, Grant, Image, Inputs, Proposal, Runtime, StepId, UpdateAnswers, make};
use base::{Clock, CustomerLayout, Digest, Exit, Layout, Slug, file};
use serde_json::json;
use stack::docker::Engine;

use crate::{
    args::{AnswerArgs, RuntimeArg},
    context::{Context, license_dirs, own_binary},
    failure::{During, Failure, Outcome},
    progress::Progress,
    updates,
    verb::{bundle, models},
    wizard,
};

const MAX_ANSWERS_BYTES: u64 = 1 << 20;
/// How long the folders may be counted before the plan says "at least".
const SURVEY_BUDGET: Duration = Duration::from_secs(20);
/// The demo: its folder below the checkout, its name, its folder for everything.
const DEMO_SHARE: &str = "tests/fixtures/share";
const DEMO_NAME: &str = "Kessler Klemmtechnik GmbH (demo)";
const DEMO_ROOT: &str = "demo";
const DEMO_LICENSE: &str = "DEMO";

/// A proposal with what its execution needs beside it.
pub struct Prepared {
    pub layout: Layout,
    pub license: Found,
    pub proposal: Proposal,
    pub asked: bool,
    /// Where images and models come from, when a bundle was named.
    pub release: Option<VerifiedRelease>,
}

/// Shows what `install` would do.
pub async fn run(context: &Context, args: &AnswerArgs) -> Outcome {
    let layout = layout(context, args);
    let Some((answers, _)) = gather(context, &layout, args, false)? else { return Ok(()) };
    let release = proven(context, &layout, args).await?;
    let prepared = examine(&layout, answers, release).await?.decide(false)?;
    if context.printer.json {
        let proposal = &prepared.proposal;
        return context.printer.value(&json!({
            "format": 1,
            "digest": proposal.plan.digest(),
            "installed": proposal.is_installed,
            "plan": proposal.plan,
            "forecast": proposal.forecast,
            "notes": proposal.notes,
            "changes": prepared.changes(),
        }));
    }
    context.printer.line(prepared.proposal.render().trim_end());
    if let Some(path) = prepared.changes() {
        context.printer.line(format!("\nYour changes in `{}` are taken with the compose file", path.display()));
    }
    Ok(())
}

impl Prepared {
    /// Returns the administrator's changes to the compose file, where the services are containers and there are some.
    pub fn changes(&self) -> Option<PathBuf> {
        let plan = &self.proposal.plan;
        plan.step(StepId::Containers).and_then(|_| stack::docker::changes(&self.layout.customer(plan.slug())))
    }
}

/// Returns where the installation goes: `--root`, for the demo `./demo`, else the machine.
pub fn layout(context: &Context, args: &AnswerArgs) -> Layout {
    match (context.layout.root(), args.demo) {
        (None, true) => Layout::rooted(DEMO_ROOT),
        _ => context.layout.clone(),
    }
}

/// Puts the answers together: the demo's, or the file's, or those of the last installation; flags win; a terminal is asked
/// for the rest when `may_ask`. Returns the answers and whether a person was asked, or nothing when that person stopped.
pub fn gather(
    context: &Context,
    layout: &Layout,
    args: &AnswerArgs,
    may_ask: bool,
) -> Outcome<Option<(Answers, bool)>> {
    let mut answers = match (&args.answers, args.demo) {
        (Some(path), _) => {
            let act = || format!("cannot use the answers `{}`", path.display());
            let bytes = file::read_bounded(path, MAX_ANSWERS_BYTES).during(act())?;
            let text = String::from_utf8(bytes).during(act())?;
            Answers::from_yaml(&text).map_err(|error| Failure::from(error).during(act()))?
        }
        (None, true) => demo_answers()?,
        (None, false) => installed_answers(context, layout, args)?.unwrap_or_else(|| Answers::new("", "", Vec::new())),
    };
    apply_flags(context, &mut answers, args)?;
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if args.demo || args.answers.is_some() || !may_ask || !is_terminal {
        return match missing(&answers) {
            missing if missing.is_empty() => Ok(Some((answers, false))),
            missing => {
                let text = format!("these answers are missing: {}", missing.join(", "));
                let failure = Failure::new(Exit::Usage, text);
                Err(failure.remedy(
                    "give them as flags or in `--answers FILE`, or run `0711 install` in a terminal for the wizard",
                ))
            }
        };
    }
    let home = env::var_os("HOME").map(PathBuf::from);
    Ok(wizard::ask(context.printer, answers, home.as_deref(), layout)?.map(|answers| (answers, true)))
}

fn demo_answers() -> Outcome<Answers> {
    let here = env::current_dir().during("cannot find the current folder")?;
    let beside = own_binary()?;
    let candidates = std::iter::once(here.as_path()).chain(beside.ancestors());
    let share = candidates.map(|dir| dir.join(DEMO_SHARE)).find(|share| share.is_dir());
    match share {
        Some(share) => Ok(Answers::new(DEMO_NAME, DEMO_LICENSE, vec![share])),
        None => {
            let failure = Failure::new(Exit::Usage, format!("the demo folder `{DEMO_SHARE}` is not here"));
            Err(failure.remedy("run this in a checkout of 0711, or name a folder of your own with `--folder DIR`"))
        }
    }
}

/// The installation these arguments are about. Who names a customer means that one, and not the only one that is here: another
/// customer must not begin with the folders of the first.
fn meant(context: &Context, layout: &Layout, args: &AnswerArgs) -> Context {
    let named = args.customer.as_deref().and_then(|name| Slug::from_name(name).ok());
    match context.slug().cloned().or(named) {
        Some(slug) => context.with_customer(slug, layout.clone()),
        None => context.with_layout(layout.clone()),
    }
}

fn installed_answers(context: &Context, layout: &Layout, args: &AnswerArgs) -> Outcome<Option<Answers>> {
    let Ok((customer, _)) = meant(context, layout, args).installed() else { return Ok(None) };
    let path = customer.answers();
    let Ok(bytes) = file::read_bounded(&path, MAX_ANSWERS_BYTES) else { return Ok(None) };
    let text = String::from_utf8(bytes).during(format!("cannot use the answers `{}`", path.display()))?;
    Ok(Some(Answers::from_yaml(&text)?))
}

fn apply_flags(context: &Context, answers: &mut Answers, args: &AnswerArgs) -> Outcome {
    if let Some(name) = &args.customer {
        answers.customer.name.clone_from(name);
        answers.customer.slug = None;
    }
    if let Some(slug) = context.slug() {
        answers.customer.slug = Some(slug.clone());
    }
    if let Some(license) = &args.license {
        // The answers are repeated from other folders: a file is named so that it is found again.
        answers.license = match fs::canonicalize(license) {
            // A word without dot or slash is an id, whatever lies here.
            Ok(path) if license.contains(['.', '/']) && path.is_file() => path.display().to_string(),
            _ => license.clone(),
        };
    }
    if !args.folders.is_empty() {
        answers.folders = args.folders.iter().map(|folder| plain(folder)).collect();
    }
    if let Some(bind) = args.bind {
        answers.console.bind = bind;
    }
    if !args.hosts.is_empty() {
        answers.console.hosts.clone_from(&args.hosts);
    }
    if let Some(minutes) = args.training_minutes {
        answers.training_minutes = minutes;
    }
    if args.port_base.is_some() {
        answers.port_base = args.port_base;
    }
    if let Some(permissions) = args.permissions {
        answers.permissions = permissions.into();
    }
    if let Some(profile) = &args.profile {
        answers.profile.clone_from(profile);
    }
    if let Some(channel) = &args.update_channel {
        let policy = args.update_policy.map(Into::into).unwrap_or_default();
        let window = args.update_window.clone();
        answers.updates = Some(UpdateAnswers { channel: updates::address(channel)?, policy, window });
    }
    answers.runtime = match (args.runtime, &args.bundle) {
        (Some(RuntimeArg::Native), _) => Runtime::Native,
        (Some(RuntimeArg::Docker), _) | (None, Some(_)) => Runtime::Docker,
        (None, None) => answers.runtime,
    };
    Ok(())
}

/// The folder's real path where it exists: the plan wants one spelling.
fn plain(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    fs::canonicalize(&absolute).unwrap_or(absolute)
}

fn missing(answers: &Answers) -> Vec<&'static str> {
    let empty = [
        (answers.customer.name.trim().is_empty(), "--customer NAME"),
        (answers.license.trim().is_empty(), "--license ID_OR_FILE"),
        (answers.folders.is_empty(), "--folder DIR"),
    ];
    empty.into_iter().filter_map(|(is_missing, flag)| is_missing.then_some(flag)).collect()
}

/// Everything a decision is made from, learned once: a preflight and a plan are judged by the same facts.
pub struct Examined {
    pub layout: Layout,
    pub own_ports: BTreeSet<u16>,
    pub present: BTreeSet<Digest>,
    pub binary: Binary,
    pub models: Vec<::plan::Model>,
    pub seen: Seen,
    pub host: host::Facts,
    pub answers: Answers,
    release: Option<VerifiedRelease>,
    images: Vec<Image>,
    license: Found,
    grant: Grant,
    slots: ::plan::SlotTable,
    receipt: Option<::plan::Receipt>,
    installed: Option<Answers>,
}

/// Proves the bundle that was named, if one was: nothing older than what was seen, or than what is installed.
pub async fn proven(context: &Context, layout: &Layout, args: &AnswerArgs) -> Outcome<Option<VerifiedRelease>> {
    let Some(path) = &args.bundle else { return Ok(None) };
    let here = meant(context, layout, args);
    let receipt = here.installed().ok().and_then(|(customer, _)| ::install::read_receipt(&customer).ok().flatten());
    let installed = receipt.and_then(|receipt| receipt.version.parse().ok());
    let options = bundle::options(&here, &args.trust_roots, installed)?;
    let progress = Progress::start(context.printer, "proving the bundle");
    match release::verify(path, &options, &|_| ()).await {
        Ok(release) => {
            progress.finish(&format!("release {}", release.release().version));
            Ok(Some(release))
        }
        Err(error) => {
            progress.abandon();
            Err(Failure::from(error).during(format!("cannot use the bundle `{}`", path.display())))
        }
    }
}

/// The images of the services: those of the bundle, else those the last plan named.
async fn images(release: Option<&VerifiedRelease>, customer: &CustomerLayout) -> Outcome<Vec<Image>> {
    let Some(release) = release else {
        let plan = ::install::read_plan(customer)?;
        return Ok(plan.map(|plan| plan.images().to_vec()).unwrap_or_default());
    };
    let engine = Engine::connect().await?;
    let mut images = Vec::new();
    for image in &release.release().images {
        let content = release.image(image)?;
        images.push(Image {
            name: image.name.clone(),
            tag: image.tag.clone(),
            id: engine.id(&content),
            size_bytes: content.layers.iter().map(|layer| layer.size_bytes).sum(),
            unpacked_bytes: content.layers.iter().map(|layer| layer.unpacked_bytes).sum(),
        });
    }
    Ok(images)
}

/// Checks the license and looks at the machine.
pub async fn examine(layout: &Layout, answers: Answers, release: Option<VerifiedRelease>) -> Outcome<Examined> {
    let license = ::license::find(&answers.license, &license_dirs(layout))?;
    let entitlement = license.authenticate(&embedded_roots()?)?;
    entitlement.check_machine(&::plan::machine_hashes(&host::machine_identity()))?;
    updates::check(&answers, &entitlement)?;
    let slug = answers.slug()?;
    let customer = layout.customer(&slug);
    let seen = Seen::load(&customer.seen())?;
    let standing: Standing = entitlement.standing(Clock::system().now(), &seen);
    let binary_path = own_binary()?;
    let act = "cannot read the program's own file";
    let digest = Digest::of_file(&binary_path).during(act)?;
    let receipt = ::install::read_receipt(&customer)?;
    // A release may be made anew from the same program, with other images: its own version counts, also the next time.
    let released = release.as_ref().map(|release| release.release().version.to_string());
    let installed = receipt.as_ref().filter(|receipt| receipt.binary == digest).map(|receipt| receipt.version.clone());
    let binary = Binary {
        version: released.or(installed).unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
        digest,
        size_bytes: fs::metadata(&binary_path).during(act)?.len(),
    };
    let models = match answers.is_gpu() {
        true => models::folders(release.as_ref(), &customer)?,
        false => models::of_profile(&answers.profile)?,
    };
    let mut host = host::facts(&[layout.var(), layout.bin_dir()], &answers.folders, SURVEY_BUDGET);
    if answers.is_gpu() {
        host.gpus = Some(host::gpus());
    }
    let wanted: Vec<Digest> = models.iter().map(|model| model.digest).collect();
    let images = match answers.runtime {
        Runtime::Native => Vec::new(),
        Runtime::Docker => images(release.as_ref(), &customer).await?,
    };
    Ok(Examined {
        release,
        images,
        layout: layout.clone(),
        own_ports: stack::own_ports(layout, &slug),
        present: ::install::present(layout, &wanted, &binary),
        grant: Grant::new(&entitlement, standing),
        slots: ::install::read_slots(layout)?,
        receipt,
        installed: ::install::read_plan(&customer)?.map(|plan| plan.answers().clone()),
        host,
        binary,
        models,
        seen,
        answers,
        license,
    })
}

impl Examined {
    /// What a plan is made of.
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            grant: &self.grant,
            license: Digest::of(self.license.bytes()),
            models: &self.models,
            binary: &self.binary,
            images: &self.images,
            host: &self.host,
            present: &self.present,
            own_ports: &self.own_ports,
            slots: &self.slots,
            answers: &self.answers,
            receipt: self.receipt.as_ref(),
            installed_runtime: self.installed.as_ref().map(|answers| answers.runtime),
            installed_profile: self.installed.as_ref().map(|answers| answers.profile.as_str()),
            layout: &self.layout,
        }
    }

    /// Decides.
    pub fn decide(self, asked: bool) -> Outcome<Prepared> {
        let proposal = make(&self.inputs())?;
        Ok(Prepared { layout: self.layout, license: self.license, proposal, asked, release: self.release })
    }
}
