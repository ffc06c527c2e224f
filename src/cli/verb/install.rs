use std::{cell::RefCell, sync::Mutex, time::Instant};

use ::install::{Event, Installer, take_first_password};
use answer::Question;
use base::{Clock, CustomerLayout, Exit, file};
use plan::{Receipt, StepId, bytes_for_people, journal::Evidence};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    args::InstallArgs,
    context::{Context, own_binary},
    failure::{During, Failure, Outcome},
    local::Parts,
    printer::{duration, shown},
    progress::Progress,
    updates,
    verb::{
        ask,
        models::Models,
        plan::{examine, gather, layout, proven},
        preflight,
    },
    wizard,
};

/// As much as a license may have.
const MAX_LICENSE_BYTES: u64 = 1 << 20;

/// What the demo asks itself at the end, of documents everybody has.
const DEMO_QUESTION: &str = "Welchen Bemessungsstrom hat die Durchgangsklemme KX 4?";

/// Installs: answers, plan, execution, and a summary with a first answer.
pub async fn run(context: &Context, args: &InstallArgs, interrupt: CancellationToken) -> Outcome {
    let started = Instant::now();
    let printer = context.printer;
    let layout = layout(context, &args.answers);
    if args.resume {
        return resume(&context.with_layout(layout), args, &interrupt).await;
    }
    if layout.root().is_none() && !is_root() {
        let failure = Failure::new(Exit::Preflight, "an installation for this machine needs the rights of root");
        return Err(failure.remedy("run it with `sudo`, or name a folder of your own with `--root DIR`"));
    }
    let may_ask = !args.yes && !printer.json;
    let Some((answers, asked)) = gather(context, &layout, &args.answers, may_ask)? else {
        printer.note("stopped; nothing was changed");
        return Ok(());
    };
    let release = proven(context, &layout, &args.answers).await?;
    let examined = examine(&layout, answers, release).await?;
    preflight::before_install(context, &examined)?;
    let prepared = examined.decide(asked)?;
    let plan = &prepared.proposal.plan;
    if !printer.json {
        let need = bytes_for_people(prepared.proposal.forecast.disk_needed_bytes);
        printer.note(format!(
            "0711 for {}: {} steps, {need} of disk; `0711 plan` shows all",
            plan.customer_name(),
            plan.steps().len()
        ));
        for note in &prepared.proposal.notes {
            printer.note(format!("note: {note}"));
        }
        if let Some(path) = prepared.changes() {
            printer.note(format!("note: your changes in `{}` are taken with the compose file", path.display()));
        }
    }
    let may_start = args.yes || args.answers.demo || prepared.asked || printer.json;
    if !may_start && !is_terminal() {
        let failure = Failure::new(Exit::Usage, "nobody is here to confirm: this is no terminal");
        return Err(failure.remedy("add `--yes` to install without a question"));
    }
    if !may_start && !wizard::confirm("Install this?")? {
        printer.note("stopped; nothing was changed");
        return Ok(());
    }
    if let Some(release) = &prepared.release {
        // Nothing older is taken from here on, also when this installation is interrupted.
        release.remember(&prepared.layout.release_seen()).await?;
    }
    let installer = Installer {
        layout: &prepared.layout,
        plan,
        license: prepared.license.bytes(),
        binary: &own_binary()?,
        models: &Models { release: prepared.release.as_ref() },
        release: prepared.release.as_ref(),
        waits: args.wait,
        until: args.until_ready.then_some(StepId::Roles),
        clock: Clock::system(),
    };
    let Some(outcome) = execute(context, &installer, &interrupt).await? else { return Ok(()) };
    updates::set_up_once(printer, &prepared.layout, plan.answers())?;
    let customer = prepared.layout.customer(plan.slug());
    let here = context.with_customer(plan.slug().clone(), prepared.layout.clone());
    let ends = Ends { receipt: &outcome.receipt, evidence: &outcome.evidence, seconds: started.elapsed().as_secs() };
    ends.show(&here, &customer, args.answers.demo).await
}

async fn execute(
    context: &Context,
    installer: &Installer<'_>,
    interrupt: &CancellationToken,
) -> Outcome<Option<::install::Outcome>> {
    let shown = Mutex::new(Shown::new(context));
    let events = |event: Event| shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).show(&event);
    let outcome = installer.run(&events, interrupt).await;
    shown.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).close();
    Ok(outcome?)
}

/// Executes the plan on the disk, with the license in place: what an interrupted run left, and the way back of an update.
async fn resume(context: &Context, args: &InstallArgs, interrupt: &CancellationToken) -> Outcome {
    let customer = context.customer()?;
    let plan = ::install::read_plan(&customer)?;
    let plan =
        plan.ok_or_else(|| Failure::new(Exit::Usage, "there is no plan to go on with").remedy("run `0711 install`"))?;
    let license =
        file::read_bounded(&customer.license(), MAX_LICENSE_BYTES).during("cannot read the license in place")?;
    let release = proven(context, &context.layout, &args.answers).await?;
    let installer = Installer {
        layout: &context.layout,
        plan: &plan,
        license: &license,
        binary: &own_binary()?,
        models: &Models { release: release.as_ref() },
        release: release.as_ref(),
        waits: args.wait,
        until: args.until_ready.then_some(StepId::Roles),
        clock: Clock::system(),
    };
    let Some(outcome) = execute(context, &installer, interrupt).await? else { return Ok(()) };
    updates::set_up_once(context.printer, &context.layout, plan.answers())?;
    if context.printer.json {
        return context.printer.value(&json!({ "event": "summary", "receipt": outcome.receipt }));
    }
    context.printer.line(format!("{} is installed: 0711 {}", outcome.receipt.customer_name, outcome.receipt.version));
    Ok(())
}

fn is_terminal() -> bool {
    use std::io::IsTerminal;
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The reader of the event stream: one line per step with progress and ETA.
struct Shown<'a> {
    context: &'a Context,
    current: RefCell<Option<(String, Progress)>>,
}

impl<'a> Shown<'a> {
    fn new(context: &'a Context) -> Self {
        Self { context, current: RefCell::new(None) }
    }

    fn show(&self, event: &Event) {
        let printer = self.context.printer;
        if printer.json {
            if let Ok(value) = serde_json::to_string(event) {
                printer.line(value);
            }
            return;
        }
        match event {
            Event::Waiting { holder } => printer.note(format!("waiting for {holder}")),
            Event::Opened { is_resumed: true, .. } => printer.note("going on where the last run stopped"),
            Event::StepStarted { number, total, title, .. } => {
                let label = format!("{number:>2}/{total} {title}");
                self.current.replace(Some((label.clone(), Progress::start(printer, label))));
            }
            Event::StepProgress { progress, .. } => {
                if let Some((_, current)) = self.current.borrow_mut().as_mut() {
                    current.update(progress);
                }
            }
            Event::StepFinished { was_done, evidence, .. } => {
                if let Some((_, current)) = self.current.take() {
                    current.finish(if *was_done { "already so" } else { "" });
                }
                if let Some(path) = evidence.0.get("edited_file_kept_as").and_then(Value::as_str).filter(|_| !was_done)
                {
                    printer.note(format!(
                        "note: a generated file had been edited by hand and was written anew; the edited one is now `{path}`"
                    ));
                }
            }
            Event::StepFailed { .. } => self.close(),
            Event::Opened { .. } | Event::Closed { .. } => {}
        }
    }

    fn close(&self) {
        if let Some((_, current)) = self.current.take() {
            current.abandon();
        }
    }
}

/// What the last screen is made from.
struct Ends<'a> {
    receipt: &'a Receipt,
    evidence: &'a [(StepId, Evidence)],
    seconds: u64,
}

impl Ends<'_> {
    fn of(&self, step: StepId) -> Option<&Evidence> {
        self.evidence.iter().find(|(id, _)| *id == step).map(|(_, evidence)| evidence)
    }

    async fn show(&self, context: &Context, customer: &CustomerLayout, demo: bool) -> Outcome {
        let parts = Parts::find(context)?;
        let Some(config) = &parts.config else {
            return Err(Failure::new(Exit::Failed, "the configuration is gone")); // it was written by the run that just ended
        };
        let stats = parts.lake().await?.stats().await?;
        let answer = match demo {
            true => Some(ask::open(&parts).await?.answer(Question::new(DEMO_QUESTION, "install")).await?),
            false => None,
        };
        let password = take_first_password(customer)?;
        let console = format!("http://{}:{}", config.bind, config.port(base::Role::Console));
        let api = format!("http://{}:{}/v1", config.bind, config.api_port());
        let train = self.of(StepId::Train);
        if context.printer.json {
            return context.printer.value(&json!({
                "event": "summary",
                "customer": self.receipt.customer_name,
                "slug": self.receipt.slug,
                "documents": stats.searchable,
                "chunks": stats.chunks,
                "adapter": self.receipt.adapter,
                "training": train.and_then(|evidence| evidence.0.get("outcome")),
                "console": console,
                "api": api,
                "password": password.as_ref().map(base::Secret::expose),
                "answer": answer,
                "seconds": self.seconds,
            }));
        }
        let printer = context.printer;
        printer.line(format!("\n{} has its own brain.", printer.bold(&self.receipt.customer_name)));
        printer.line(format!(
            "\n  installed  0711 {}, six services and an agent, in {}",
            self.receipt.version,
            duration(self.seconds)
        ));
        printer.line(format!("  read       {} documents, {} passages", stats.searchable, stats.chunks));
        printer.line(format!("  adapter    {}", adapter_line(self.receipt, train)));
        printer.line(format!("  console    {console}"));
        if let Some(password) = &password {
            printer.line(format!("  password   {}   (shown once; it logs you in)", printer.bold(password.expose())));
        }
        if let Some(answer) = &answer {
            printer.line(format!("\n  {}", printer.dim(DEMO_QUESTION)));
            printer.line(format!("  {}", shown(&answer.text)));
            for citation in &answer.citations {
                let place = if citation.place.is_empty() { String::new() } else { format!(", {}", citation.place) };
                printer.line(format!("  [{}] {}{}", citation.n, shown(&citation.document), shown(&place)));
            }
        }
        let mut root = match context.layout.root() {
            Some(root) => format!(" --root {}", shown_path(root)),
            None => String::new(),
        };
        if context.has_several() {
            root += &format!(" --slug {}", customer.slug());
        }
        printer.line("\nTry next:");
        let program = shown_path(&context.layout.binary());
        printer.line(format!("  {program} ask{root} \"What tightening torque applies to the KX 10 terminal?\""));
        printer.line(format!("  {program} status{root}"));
        printer.line(format!("  {program} ingest --report{root}"));
        Ok(())
    }
}

/// A path as short as it can be typed from here, quoted where a shell wants it.
fn shown_path(path: &std::path::Path) -> String {
    let here = std::env::current_dir().ok();
    let below = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    let text = below.map_or_else(|| path.display().to_string(), |below| format!("./{}", below.display()));
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn adapter_line(receipt: &Receipt, train: Option<&Evidence>) -> String {
    let Some(adapter) = &receipt.adapter else { return "none was trained".to_owned() };
    let number = |name: &str| train.and_then(|evidence| evidence.0.get("outcome")?.get(name)).and_then(Value::as_f64);
    let scores = match (number("perplexity_before"), number("perplexity_after")) {
        (Some(before), Some(after)) => format!(", perplexity on text it never saw {before:.1} → {after:.1}"),
        _ => String::new(),
    };
    match &adapter.version {
        Some(version) => format!("{version} {}{scores}", adapter.decision),
        None => format!("{}{scores}", adapter.decision),
    }
}
