use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
};

use ::bundle::{
    WebOptions,
    release::{self, Channel, Present, VerifiedRelease},
};
use ::license::{Seen, embedded_roots};
use ::update::{Attempt, Decision, Event, Offer, Policy, Record, Run, Settings, Stage, State, decide};
use audit::{Act, Entry, Log, Outcome as Ending, Who};
use base::{Clock, Exit, file};
use jiff::Zoned;
use semver::Version;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    args::{ConfigureArgs, UpdateArgs, UpdateVerb},
    context::{Context, own_binary},
    failure::{During, Failure, Outcome},
    progress::Progress,
    updates,
    verb::{bundle, fetch},
    wizard,
};

/// Updates, and everything that is said about updates. What changes something is on record, before and after.
pub async fn run(context: &Context, args: &UpdateArgs, interrupt: CancellationToken) -> Outcome {
    let Some(entry) = entry(args) else { return act(context, args, interrupt).await };
    // Before: the program of another release may go on in place of this one.
    context.record(Log::host(&context.layout), entry.clone().outcome(Ending::Begun));
    let outcome = act(context, args, interrupt).await;
    let entry = match &outcome {
        Ok(()) => entry,
        Err(failure) => entry.outcome(Ending::Failed).detail(failure.to_string()),
    };
    context.record(Log::host(&context.layout), entry);
    outcome
}

/// What goes on record; nothing of what only looks.
fn entry(args: &UpdateArgs) -> Option<Entry> {
    let (act, object) = match &args.verb {
        // The agent looks every hour; what comes of it is an install, which is on record.
        None if args.unattended => return None,
        None => (Act::Update, "the release that is offered".to_owned()),
        Some(UpdateVerb::Configure(args)) => {
            let is_asked = *args == ConfigureArgs::default();
            return (!is_asked).then(|| Entry::new(Who::this_process(), Act::ConfigChange).object("updates"));
        }
        Some(UpdateVerb::Approve { version }) => (Act::Approve, version.to_string()),
        Some(UpdateVerb::Hold { version, .. }) => (Act::ConfigChange, format!("release {version} held")),
        Some(UpdateVerb::Release { version }) => (Act::ConfigChange, format!("release {version} no longer held")),
        Some(UpdateVerb::Rollback { .. }) => (Act::Rollback, "the release before the last update".to_owned()),
        Some(UpdateVerb::Check | UpdateVerb::Status | UpdateVerb::History) => return None,
    };
    Some(Entry::new(Who::this_process(), act).object(object))
}

async fn act(context: &Context, args: &UpdateArgs, interrupt: CancellationToken) -> Outcome {
    let record = Record::new(&context.layout);
    match &args.verb {
        None => now(context, args, &interrupt).await,
        Some(UpdateVerb::Configure(args)) => configure(context, &record, args),
        Some(UpdateVerb::Check) => check(context, args).await,
        Some(UpdateVerb::Status) => status(context, &record),
        Some(UpdateVerb::Approve { version }) => change(context, &format!("{version} is approved"), |run| {
            run.note(|state| {
                state.approved = Some(version.clone());
                state.held.remove(version);
            })
        }),
        Some(UpdateVerb::Hold { version, reason }) => {
            change(context, &format!("{version} is held"), |run| run.hold(version, reason))
        }
        Some(UpdateVerb::Release { version }) => change(context, &format!("{version} may be installed"), |run| {
            run.note(|state| _ = state.held.remove(version))
        }),
        Some(UpdateVerb::Rollback { yes }) => rollback(context, *yes, &interrupt).await,
        Some(UpdateVerb::History) => history(context, &record),
    }
}

fn change(context: &Context, said: &str, change: impl FnOnce(&mut Run<'_>) -> Result<(), ::update::Error>) -> Outcome {
    let mut run = Run::open(&context.layout, Clock::system())?;
    change(&mut run)?;
    if context.printer.json {
        return context.printer.value(&json!({ "state": run.state() }));
    }
    context.printer.line(said);
    Ok(())
}

fn configure(context: &Context, record: &Record, args: &ConfigureArgs) -> Outcome {
    let mut settings = record.settings()?;
    let before = settings.clone();
    if args.off {
        settings = Settings { format: Settings::FORMAT, ..Settings::default() };
    }
    if let Some(channel) = &args.channel {
        settings.channel = Some(updates::address(channel)?);
    }
    if let Some(policy) = args.policy {
        settings.policy = policy.into();
    }
    match args.window.as_deref() {
        Some("always") => settings.window = None,
        Some(window) => {
            settings.window = Some(
                window.parse().map_err(|error: ::update::WindowError| Failure::new(Exit::Usage, error.to_string()))?,
            );
        }
        None => {}
    }
    settings.wait_days = args.wait_days.unwrap_or(settings.wait_days);
    settings.watch_minutes = args.watch_minutes.unwrap_or(settings.watch_minutes);
    if let Some(limit) = args.rate_limit {
        settings.rate_limit_bytes = (limit > 0).then_some(limit);
    }
    settings.proxy = args.proxy.clone().or(settings.proxy);
    if let Some(ca) = &args.ca {
        settings.certificate_authority = Some(ca.canonicalize().during("cannot use the certificate authority")?);
    }
    if let Some(root) = &args.root_file {
        trust(context, root)?;
    }
    if settings != before {
        record.set(&settings)?;
    }
    if context.printer.json {
        return context.printer.value(&json!({ "settings": settings }));
    }
    let printer = context.printer;
    let Some(channel) = &settings.channel else {
        printer.line("updates are off: no channel is set up (`0711 update --from DIR` always works)");
        return Ok(());
    };
    printer.line(format!("channel   {channel}"));
    printer.line(format!("policy    {}", policy_line(settings.policy)));
    let window = settings.window.as_ref().map_or_else(|| "always".to_owned(), ToString::to_string);
    printer.line(format!("window    {window}"));
    printer.line(format!("waiting   {} days after a release was first seen", settings.wait_days));
    printer.line(format!("watching  {} min before a new release stays", settings.watch_minutes));
    Ok(())
}

fn policy_line(policy: Policy) -> &'static str {
    match policy {
        Policy::Manual => "manual: nobody looks; `0711 update` does it",
        Policy::Approve => "approve: the agent looks; `0711 update approve VERSION` says yes",
        Policy::Automatic => "automatic: the agent installs, in the window",
    }
}

const MAX_ROOT_BYTES: u64 = 1 << 20;

/// Puts a root where the agent finds it. Whoever may write there decides what this machine runs.
fn trust(context: &Context, root: &Path) -> Outcome {
    let bytes = file::read_bounded(root, MAX_ROOT_BYTES).during("cannot use the root")?;
    release::check_root(&bytes)?;
    let dir = context.layout.trust_dir();
    let name = format!("{}.json", base::Digest::of(&bytes).short());
    let written = file::private_dir(&dir).and_then(|()| file::write_atomic(&dir.join(name), &bytes, 0o644));
    written.during(format!("cannot write to `{}`", dir.display()))
}

/// A release that is offered.
enum Found<'a> {
    /// In a folder, and proven to the last byte.
    Here { release: Box<VerifiedRelease>, bundle: PathBuf },
    /// On the web, with its signatures proven: what is large is fetched only when it is to be installed.
    Offered(Box<release::Offer<'a>>),
}

impl Found<'_> {
    fn release(&self) -> &release::Release {
        match self {
            Self::Here { release, .. } => release.release(),
            Self::Offered(offer) => offer.release(),
        }
    }

    /// Returns it proven, with its folder, and nothing older is taken from here on.
    async fn bring(
        self,
        context: &Context,
        present: &Present,
        interrupt: &CancellationToken,
    ) -> Outcome<(VerifiedRelease, PathBuf)> {
        match self {
            Self::Here { release, bundle } => {
                release::Ledger::of(&::update::claims(&context.layout, release.release())?)?.fits()?;
                release.remember(&context.layout.release_seen()).await?;
                Ok((*release, bundle))
            }
            Self::Offered(offer) => {
                let out = context.layout.update_staging();
                ::update::tidy_staging(&context.layout, offer.release())?;
                let claims = ::update::claims(&context.layout, offer.release())?;
                Ok((fetch::bring(context, &offer, &out, present, claims, interrupt).await?.verified, out))
            }
        }
    }
}

/// What an update need not fetch: the models that are here.
fn present(context: &Context) -> Present {
    Present { folders: vec![context.layout.models()], ..Present::default() }
}

/// Returns where the release is to come from: `--from`, or the channel that is set up.
fn source(args: &UpdateArgs, settings: &Settings) -> Outcome<String> {
    args.from.clone().or_else(|| settings.channel.clone()).ok_or_else(|| {
        Failure::new(Exit::Usage, "no channel is set up")
            .remedy("name a bundle with `0711 update --from DIR`, or run `0711 update configure --channel URL`")
    })
}

/// Returns the channel of an address on the web, `None` for a folder.
fn channel(context: &Context, args: &UpdateArgs, settings: &Settings) -> Outcome<Option<Channel>> {
    let from = source(args, settings)?;
    if !from.contains("://") {
        return Ok(None);
    }
    let proxy = match &settings.proxy {
        Some(named) => Some(fetch::named_proxy(named)?),
        None => fetch::environment_proxy(&from)?,
    };
    let authorities =
        settings.certificate_authority.iter().map(|path| fetch::authority(path)).collect::<Outcome<_>>()?;
    let web = WebOptions { proxy, authorities, limit_rate: settings.rate_limit_bytes, ..WebOptions::default() };
    Ok(Some(Channel::open(&from, fetch::options(context, &args.roots, web)?)?))
}

/// Finds the newest release of the channel, or of `--from`.
async fn find<'a>(
    context: &Context,
    args: &UpdateArgs,
    settings: &Settings,
    channel: Option<&'a Channel>,
) -> Outcome<Found<'a>> {
    if let Some(channel) = channel {
        return Ok(Found::Offered(Box::new(fetch::look(context, channel, &present(context)).await?)));
    }
    let from = source(args, settings)?;
    let progress = Progress::start(context.printer, format!("looking at {from}"));
    match bundle::obtain(context, &from, &args.roots, None).await {
        Ok((release, bundle)) => {
            progress.finish(&format!("release {}", release.release().version));
            Ok(Found::Here { release: Box::new(release), bundle })
        }
        Err(failure) => {
            progress.abandon();
            Err(failure)
        }
    }
}

/// What the licenses of all customers here allow together.
struct Allowed {
    channels: Vec<String>,
    is_licensed: bool,
    is_automatic: bool,
    now: base::Timestamp,
    installed: Version,
}

fn allowed(context: &Context) -> Outcome<Allowed> {
    let clock = Clock::system().now();
    let mut all: Option<Allowed> = None;
    for slug in ::install::installed(&context.layout)? {
        let customer = context.layout.customer(&slug);
        let Some(receipt) = ::install::read_receipt(&customer)? else { continue };
        let entitlement = ::license::load_installed(&customer.license(), &embedded_roots()?)?;
        let seen = Seen::load(&customer.seen())?;
        let is_licensed = entitlement.standing(clock, &seen).allows_change();
        let installed: Version = receipt.version.parse().during("the receipt's version is none")?;
        let now = seen.at_least(clock);
        all = Some(match all {
            None => Allowed {
                channels: entitlement.channels().to_vec(),
                is_licensed,
                is_automatic: entitlement.auto_update(),
                now,
                installed,
            },
            Some(other) => Allowed {
                channels: other.channels.into_iter().filter(|name| entitlement.channels().contains(name)).collect(),
                is_licensed: other.is_licensed && is_licensed,
                is_automatic: other.is_automatic && entitlement.auto_update(),
                now: other.now.max(now),
                installed: other.installed.min(installed),
            },
        });
    }
    all.ok_or_else(|| ::update::Error::NothingInstalled.into())
}

fn decided(
    args: &UpdateArgs,
    settings: &Settings,
    state: &State,
    allowed: &Allowed,
    release: &release::Release,
) -> Outcome<Decision> {
    let agent: Version = env!("CARGO_PKG_VERSION").parse().during("this program's version is none")?;
    let offer = Offer {
        installed: &allowed.installed,
        offered: &release.version,
        channel: &release.channel,
        minimum_agent: &release.minimum_agent,
        agent: &agent,
        channels: &allowed.channels,
        is_licensed: allowed.is_licensed,
        is_automatic_licensed: allowed.is_automatic,
        is_asked: !args.unattended,
        now: allowed.now,
        local: &Zoned::now(),
    };
    Ok(decide(settings, state, &offer))
}

/// What a decision means for a person, and whether it ends the matter.
fn said(decision: &Decision, version: &Version) -> String {
    match decision {
        Decision::UpToDate => "nothing newer is offered".to_owned(),
        Decision::NotLicensed(reason) => reason.clone(),
        Decision::Held(reason) => format!("{version} is held: {reason}"),
        Decision::NeedsNewerAgent => {
            format!("{version} cannot be installed from this release; install one in between first")
        }
        Decision::NeedsApproval => format!("{version} waits for a person: `0711 update approve {version}`"),
        Decision::Waits { until } => format!("{version} is installed from {until} on"),
        Decision::PrepareOnly => format!("{version} is installed when the window opens"),
        Decision::Go => format!("{version} is to be installed"),
    }
}

async fn check(context: &Context, args: &UpdateArgs) -> Outcome {
    let record = Record::new(&context.layout);
    let settings = record.settings()?;
    let channel = channel(context, args, &settings)?;
    let found = find(context, args, &settings, channel.as_ref()).await?;
    let release = found.release();
    let allowed = allowed(context)?;
    let decision = decided(args, &settings, &record.state()?, &allowed, release)?;
    let text = said(&decision, &release.version);
    if context.printer.json {
        return context.printer.value(&json!({
            "installed": allowed.installed, "offered": release.version, "channel": release.channel,
            "is_offered": decision != Decision::UpToDate, "would_install": matches!(decision, Decision::Go), "decision": text,
        }));
    }
    context.printer.line(format!("installed {}, offered {}: {text}", allowed.installed, release.version));
    Ok(())
}

async fn now(context: &Context, args: &UpdateArgs, interrupt: &CancellationToken) -> Outcome {
    let record = Record::new(&context.layout);
    let settings = record.settings()?;
    let mut run = Run::open(&context.layout, Clock::system())?;
    if let Some(attempt) = run.state().attempt.as_ref().filter(|attempt| attempt.stage == Stage::RollingBack) {
        // The release that is put back knows best how: the newer one may be what does not work.
        let old = attempt.old_program.clone();
        if old != own_binary()? && old.is_file() {
            drop(run);
            let failed = std::process::Command::new(&old).args(std::env::args_os().skip(1)).exec();
            return Err(Failure::from_error(format!("cannot run `{}`", old.display()), &failed));
        }
    }
    let is_open = run.state().attempt.as_ref().is_some_and(|attempt| !attempt.stage.is_end());
    if !is_open {
        // Nothing is begun: what is offered?
        if args.unattended && (settings.policy == Policy::Manual || settings.channel.is_none()) {
            return Ok(());
        }
        let channel = channel(context, args, &settings)?;
        let found = find(context, args, &settings, channel.as_ref()).await?;
        let release = found.release();
        let allowed = allowed(context)?;
        run.note(|state| _ = state.seen.entry(release.version.clone()).or_insert(allowed.now))?;
        let decision = decided(args, &settings, run.state(), &allowed, release)?;
        match &decision {
            Decision::Go | Decision::PrepareOnly => {}
            Decision::UpToDate => return ended(context, &allowed.installed, "nothing newer is offered"),
            Decision::NotLicensed(_) if !args.unattended => {
                return Err(Failure::new(Exit::License, said(&decision, &release.version))
                    .remedy("install a license that allows it with `0711 install --license FILE`"));
            }
            Decision::Held(_) if !args.unattended => {
                return Err(Failure::new(Exit::Failed, said(&decision, &release.version))
                    .remedy(format!("let it go with `0711 update release {}`", release.version)));
            }
            _ => return ended(context, &allowed.installed, &said(&decision, &release.version)),
        }
        if !args.yes && !args.unattended && !context.printer.json {
            let question = format!("Replace {} by {}?", allowed.installed, release.version);
            if !wizard::confirm(&question)? {
                context.printer.note("stopped; nothing was changed");
                return Ok(());
            }
        }
        let (release, bundle) = found.bring(context, &present(context), interrupt).await?;
        run.begin(&release, &bundle, &roots(args)?, &bundle::schemas()).await?;
    }
    // Whoever types the command is there to see it; everything else keeps to the window, as it is set up at that moment.
    let may_switch = || {
        let is_open = |settings: Settings| settings.window.is_none_or(|window| window.contains(&Zoned::now()));
        !args.unattended || record.settings().is_ok_and(is_open)
    };
    carry_on(context, &mut run, &may_switch, interrupt).await
}

/// The roots that were named: the way back and the next run of this command have another current folder.
fn roots(args: &UpdateArgs) -> Outcome<Vec<PathBuf>> {
    args.roots.iter().map(|path| path.canonicalize().during(format!("cannot use `{}`", path.display()))).collect()
}

fn ended(context: &Context, installed: &Version, text: &str) -> Outcome {
    if context.printer.json {
        return context.printer.value(&json!({ "installed": installed, "changed": false, "decision": text }));
    }
    context.printer.line(format!("{installed} stays: {text}"));
    Ok(())
}

async fn carry_on(
    context: &Context,
    run: &mut Run<'_>,
    may_switch: &(dyn Fn() -> bool + Send + Sync),
    interrupt: &CancellationToken,
) -> Outcome {
    let printer = context.printer;
    let tell = |event: Event| {
        if printer.json {
            // Progress is for whoever watches; the result alone goes to standard output.
            if let Ok(line) = serde_json::to_string(&event) {
                printer.note(line);
            }
            return;
        }
        match event {
            Event::Stage { stage, from, to } => printer.note(format!("· {} ({from} → {to})", stage_line(stage))),
            Event::Doing { what } => printer.note(format!("    {what}")),
        }
    };
    let stage = run.go_on(may_switch, &tell, interrupt).await?;
    let Some(attempt) = &run.state().attempt else { return Ok(()) };
    if printer.json {
        printer.value(&json!({ "attempt": attempt }))?;
    } else {
        printer.line(outcome_line(attempt));
    }
    match stage {
        // Who asked for it gets what was asked for; an update that came to nothing is a failure of the command.
        Stage::Refused | Stage::RolledBack if attempt.cause.as_deref() != Some("a person took it back") => {
            Err(Failure::new(Exit::Failed, format!("{} was not installed", attempt.to))
                .remedy(format!("{} serves as before; `0711 update status` says why", attempt.from)))
        }
        _ => Ok(()),
    }
}

fn stage_line(stage: Stage) -> &'static str {
    match stage {
        Stage::Rehearsing => "rehearsing beside what runs",
        Stage::Ready => "ready; waits for the window",
        Stage::Switching => "switching",
        Stage::Watching => "watching the new release",
        Stage::Committed => "the new release stays",
        Stage::Finished => "done",
        Stage::RollingBack => "putting the old release back",
        Stage::RolledBack => "the old release serves again",
        Stage::Refused => "not installed",
    }
}

fn outcome_line(attempt: &Attempt) -> String {
    let away = match attempt.downtime_ms {
        Some(ms) => format!(" (the console was away for {:.1} s)", ms as f64 / 1000.0),
        None => String::new(),
    };
    let cause = attempt.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
    match attempt.stage {
        Stage::Finished => format!("{} is installed{away}", attempt.to),
        Stage::Ready => format!("{} is ready; it is installed when the window opens", attempt.to),
        Stage::RolledBack => format!("{} serves again{away}{cause}", attempt.from),
        Stage::Refused => format!("{} was not installed, nothing was touched{cause}", attempt.to),
        stage => format!("{} → {}: {}{cause}", attempt.from, attempt.to, stage_line(stage)),
    }
}

async fn rollback(context: &Context, yes: bool, interrupt: &CancellationToken) -> Outcome {
    let mut run = Run::open(&context.layout, Clock::system())?;
    if let Some(attempt) = &run.state().attempt
        && !yes
        && !context.printer.json
    {
        let data = if attempt.changes_data { " What was learned since goes with it and is kept aside." } else { "" };
        if !wizard::confirm(&format!("Put {} back in place of {}?{data}", attempt.from, attempt.to))? {
            context.printer.note("stopped; nothing was changed");
            return Ok(());
        }
    }
    run.take_back()?;
    carry_on(context, &mut run, &|| true, interrupt).await
}

fn status(context: &Context, record: &Record) -> Outcome {
    let (settings, state) = (record.settings()?, record.state()?);
    let printer = context.printer;
    if printer.json {
        return printer.value(&json!({ "settings": settings, "state": state }));
    }
    match (&settings.channel, settings.policy) {
        (None, _) => printer.line("updates are off: no channel is set up"),
        (Some(channel), policy) => printer.line(format!("{channel}, {}", policy_line(policy))),
    }
    if let Some(attempt) = &state.attempt {
        printer.line(outcome_line(attempt));
        for customer in &attempt.customers {
            let score = |score: Option<::update::Score>| {
                score.map_or_else(|| "–".to_owned(), |score| format!("{} of {}", score.right, score.asked))
            };
            if customer.before.is_some() {
                printer.line(format!(
                    "  {}: golden questions {} before, {} in the rehearsal, {} after",
                    customer.slug,
                    score(customer.before),
                    score(customer.rehearsed),
                    score(customer.after)
                ));
            }
        }
    }
    if let Some(version) = &state.approved {
        printer.line(format!("approved  {version}"));
    }
    for (version, reason) in &state.held {
        printer.line(format!("held      {version}: {reason}"));
    }
    Ok(())
}

fn history(context: &Context, record: &Record) -> Outcome {
    let history = record.history()?;
    if context.printer.json {
        return context.printer.value(&json!({ "history": history }));
    }
    if history.is_empty() {
        context.printer.line("no update was made yet");
    }
    for entry in history {
        let away = entry.downtime_ms.map(|ms| format!(", away for {:.1} s", ms as f64 / 1000.0)).unwrap_or_default();
        let cause = entry.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        let outcome = match entry.outcome {
            ::update::Outcome::Installed => "installed",
            ::update::Outcome::RolledBack => "rolled back",
            ::update::Outcome::Refused => "refused",
        };
        context.printer.line(format!("{}  {} → {}  {outcome}{away}{cause}", entry.at, entry.from, entry.to));
    }
    Ok(())
}
