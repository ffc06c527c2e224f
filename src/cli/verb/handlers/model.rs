//! Models that write handlers: which one, whether it may, and what it wrote.

use ::handlers::{Approval, Author, CallLog, Claude, Error, Local, Round, Settings, Waiting, Writer, Writing, Written};
use audit::{Act, Entry as Record, Who};
use base::{Exit, Role, Secret};
use serde_json::json;

use super::{Bench, add, show};
use crate::{
    args::{ApproveArg, EnableArgs, SetArgs, WriteArg},
    context::Context,
    failure::{During, Failure, Outcome},
    local::Parts,
    printer::shown,
    wizard,
};

/// Asks a model for a handler of one kind, or of every kind that waits.
pub(super) async fn write(bench: &Bench<'_>, kind: Option<&str>) -> Outcome {
    let kinds = match kind {
        Some(kind) => vec![bench.queue.get(kind)?],
        None => bench.queue.list()?,
    };
    if kinds.is_empty() {
        bench.context.printer.line("no file waits for a handler");
        return Ok(());
    }
    let settings = bench.settings()?;
    let author = author(bench, &settings).await?.ok_or(Error::NoAuthor)?;
    let mut failed = 0;
    for waiting in &kinds {
        match one(bench, &settings, &author, waiting).await? {
            Written::Registered(entry) => add::registered(bench, &entry)?,
            Written::Failed(rounds) => {
                failed += 1;
                let last = rounds.last().map(|round| round.faults.trim().to_owned()).unwrap_or_default();
                bench.context.printer.note(format!("{}: no attempt passed; the last: {last}", waiting.kind.id()));
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::new(Exit::Failed, format!("{failed} of {} kinds go on waiting", kinds.len()))
            .remedy("try another model, or write it: `0711 handlers contract` says how")),
    }
}

async fn one(bench: &Bench<'_>, settings: &Settings, author: &Author, waiting: &Waiting) -> Outcome<Written> {
    let printer = bench.context.printer;
    let told = |round: &Round| printer.note(format!("attempt {}: {}", round.number, shown(round.faults.trim())));
    // On record before it leaves, whatever comes of it.
    let sent = Record::new(Who::this_process(), Act::Export)
        .object(format!("sample of {} to {}", waiting.kind.id(), author.url()))
        .detail(format!("{}, model {}; each call is in handler-calls.jsonl", author.name(), author.model()));
    bench.record(sent);
    let log = CallLog::new(&bench.customer);
    let writer = Writer {
        author,
        settings,
        runner: &bench.runner,
        registry: &bench.registry,
        queue: &bench.queue,
        log: &log,
        clock: bench.clock,
        told: &told,
    };
    Ok(writer.write(waiting).await?)
}

/// Returns the model that may be asked: Claude where it was allowed, else the configured one, else the service `llm`.
async fn author(bench: &Bench<'_>, settings: &Settings) -> Outcome<Option<Author>> {
    if let Some(claude) = &settings.claude {
        return Ok(Some(Author::claude(claude)?));
    }
    if let Some(local) = &settings.local {
        return Ok(Some(Author::local(local)?));
    }
    let parts = Parts::find(bench.context)?;
    if parts.config.is_none() || !parts.is_ready(Role::Llm).await {
        return Ok(None);
    }
    let token: Secret = crate::context::read_token(&parts.customer)?;
    let url = format!("http://{}", parts.endpoint(Role::Llm).await?);
    Ok(Some(Author::open_ai(&url, "base", Some(token))?))
}

/// After an ingestion, where the policy says so: asks for every kind that waits. What goes wrong is said and stops nothing.
pub async fn after_ingestion(context: &Context) -> Outcome {
    let bench = Bench::open(context)?;
    let settings = bench.settings()?;
    if settings.write != Writing::Automatic || bench.queue.list()?.is_empty() {
        return Ok(());
    }
    if let Err(failure) = write(&bench, None).await {
        context.printer.note(format!("warning: no handler was written: {failure}"));
    }
    Ok(())
}

/// Allows Claude, after showing what would be sent.
pub(super) fn enable(bench: &Bench<'_>, args: &EnableArgs) -> Outcome {
    let printer = bench.context.printer;
    let key_file = args.key_file.canonicalize().during(format!("cannot read `{}`", args.key_file.display()))?;
    let certificate_authority = match &args.ca {
        Some(path) => Some(path.canonicalize().during("cannot use the certificate authority")?),
        None => None,
    };
    let claude = Claude {
        base_url: args.base_url.clone().unwrap_or_else(|| Claude::BASE_URL.to_owned()),
        model: args.model.clone().unwrap_or_else(|| Claude::MODEL.to_owned()),
        key_file,
        proxy: args.proxy.clone(),
        certificate_authority,
        allowed: bench.decision(),
    };
    // What cannot be used is refused now, and not when the first file comes.
    let author = Author::claude(&claude)?;
    let mut settings = bench.settings()?;
    let waiting = bench.queue.list()?;
    if !printer.json {
        match waiting.first() {
            Some(first) => {
                printer.line(format!("This is exactly what would be sent of `{}` to {}:", first.kind.id(), author.url()));
                printer.line("");
                show::sample(printer, first);
                printer.line("");
            }
            None => printer.line(format!(
                "No file waits. Of each unknown kind at most {} bytes would be sent to {}, masked; `0711 handlers pending KIND` shows them.",
                extract::handler::SAMPLE_BYTES,
                author.url()
            )),
        }
        printer.line("Names, addresses, account and telephone numbers that a rule knows are masked; others are not. With it go the figures above and the contract of handlers.");
    }
    if !args.yes && !wizard::confirm("Send such samples there?")? {
        return Err(Failure::new(Exit::Usage, "nothing was allowed").remedy("`--yes` answers for scripts"));
    }
    let sample = waiting.first().map(|first| base::Digest::of(first.analysis.sample.as_bytes()).to_string());
    let detail =
        format!("{}, model {}, sample shown {}", author.url(), claude.model, sample.as_deref().unwrap_or("none"));
    settings.claude = Some(claude);
    settings.write(&bench.customer)?;
    bench.record(Record::new(Who::this_process(), Act::ConfigChange).object("handlers: Claude allowed").detail(detail));
    if printer.json {
        return printer.value(&json!({"format": 1, "settings": settings, "sample_shown": waiting.first().map(|first| &first.analysis.sample)}));
    }
    printer.line("Claude may be asked; `0711 handlers write KIND` does");
    Ok(())
}

/// Forbids Claude.
pub(super) fn disable(bench: &Bench<'_>) -> Outcome {
    let mut settings = bench.settings()?;
    settings.claude = None;
    settings.write(&bench.customer)?;
    bench.record(Record::new(Who::this_process(), Act::ConfigChange).object("handlers: Claude forbidden"));
    show_settings(bench, &settings)
}

/// Changes the settings, or shows them.
pub(super) fn configure(bench: &Bench<'_>, args: &SetArgs) -> Outcome {
    let mut settings = bench.settings()?;
    let before = settings.clone();
    if let Some(approve) = args.approve {
        settings.approve = match approve {
            ApproveArg::Person => Approval::Person,
            ApproveArg::Automatic => Approval::Automatic,
        };
    }
    if let Some(write) = args.write {
        settings.write = match write {
            WriteArg::Asked => Writing::Asked,
            WriteArg::Automatic => Writing::Automatic,
        };
    }
    settings.repair_rounds = args.rounds.unwrap_or(settings.repair_rounds);
    local(&mut settings, args)?;
    if settings != before {
        settings.write(&bench.customer)?;
        let detail =
            format!("approve {:?}, write {:?}, rounds {}", settings.approve, settings.write, settings.repair_rounds);
        bench.record(Record::new(Who::this_process(), Act::ConfigChange).object("handlers").detail(detail));
    }
    show_settings(bench, &settings)
}

fn local(settings: &mut Settings, args: &SetArgs) -> Outcome {
    match args.local_url.as_deref() {
        Some("none") => settings.local = None,
        Some(url) => {
            let model = args.local_model.clone().or_else(|| settings.local.as_ref().map(|local| local.model.clone()));
            let model = model.ok_or_else(|| Failure::new(Exit::Usage, "name its model with `--local-model NAME`"))?;
            settings.local = Some(Local { base_url: url.to_owned(), model, key_file: None });
        }
        None => {}
    }
    if let Some(local) = &mut settings.local {
        local.model = args.local_model.clone().unwrap_or_else(|| local.model.clone());
        if let Some(file) = &args.local_key_file {
            local.key_file = Some(file.canonicalize().during(format!("cannot read `{}`", file.display()))?);
        }
        Author::local(local)?;
    } else if args.local_model.is_some() || args.local_key_file.is_some() {
        return Err(Failure::new(Exit::Usage, "no local server is configured").remedy("add `--local-url URL`"));
    }
    Ok(())
}

fn show_settings(bench: &Bench<'_>, settings: &Settings) -> Outcome {
    let printer = bench.context.printer;
    if printer.json {
        return printer.value(settings);
    }
    let approve = match settings.approve {
        Approval::Person => "a person approves",
        Approval::Automatic => "the validation alone approves",
    };
    let write = match settings.write {
        Writing::Asked => "a model is asked with `0711 handlers write`",
        Writing::Automatic => "a model is asked after each ingestion",
    };
    printer.line(format!("{approve}; {write}, and may mend its handler {} times", settings.repair_rounds));
    match &settings.claude {
        Some(claude) => printer.line(format!(
            "Claude may get samples: {} at {}, allowed by {} at {}",
            shown(&claude.model),
            shown(&claude.base_url),
            shown(&claude.allowed.by),
            claude.allowed.at
        )),
        None => printer.line("Claude gets nothing"),
    }
    match &settings.local {
        Some(local) => printer.line(format!("local model: {} at {}", shown(&local.model), shown(&local.base_url))),
        None => printer.line("local model: the service `llm`, where it runs and has room enough"),
    }
    Ok(())
}
