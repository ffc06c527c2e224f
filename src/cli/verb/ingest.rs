use std::{path::PathBuf, sync::Mutex, time::Duration};

use ::ingest::{Event, Job, Options, Report, Sight, read_report};
use base::{Clock, Exit, Role, job};
use extract::worker::Pool;
use serde_json::json;
use stack::http::Ask;
use tokio_util::sync::CancellationToken;

use crate::{
    args::{IngestArgs, Toggle},
    context::{Context, entitlement, own_binary, read_token},
    failure::{During, Failure, Outcome},
    local::Parts,
    progress::Progress,
};

/// Reads folders into the lake, or shows what the last run could not read.
pub async fn run(context: &Context, args: &IngestArgs, interrupt: CancellationToken) -> Outcome {
    let parts = Parts::find(context)?;
    if args.report {
        return show(context, &read_report(&parts.customer.ingest_state())?);
    }
    let is_ready = parts.is_ready(Role::Ingest).await;
    parts.or_stopped(Role::Ingest, is_ready)?;
    if let Some(toggle) = args.watch {
        match (&parts.config, toggle) {
            (None, Toggle::On) => return watch_here(context, args, &parts, interrupt).await,
            (None, Toggle::Off) => {
                let failure = Failure::new(Exit::Usage, "nothing is installed here, so nothing is watched");
                return Err(failure.remedy("end `0711 ingest --watch` itself with Ctrl-C"));
            }
            (Some(_), toggle) => set_watch(context, &parts, is_ready, toggle == Toggle::On).await?,
        }
        if toggle == Toggle::Off {
            return Ok(());
        }
    }
    let report = match (args.folders.is_empty(), &parts.config) {
        (true, Some(_)) if is_ready => {
            let mut progress = Progress::start(context.printer, "reading");
            let params = json!({"retry": args.retry, "prune": args.prune});
            let token = read_token(&parts.customer)?;
            let endpoint = parts.endpoint(Role::Ingest).await?;
            let result = crate::job::run(&endpoint, &token, params, &mut progress, interrupt).await;
            progress.abandon();
            result?;
            read_report(&parts.customer.ingest_state())?
        }
        _ => here(context, args, &parts, interrupt).await?,
    };
    show(context, &report)?;
    match report.exit() {
        Exit::Ok => super::handlers::after_ingestion(context).await,
        Exit::Limit => {
            let text = format!("{} documents were left out: the license allows no more", report.over_limit);
            Err(Failure::new(Exit::Limit, text).remedy("ask the vendor for a larger license, or name fewer folders"))
        }
        exit => Err(Failure::new(exit, "stopped; what was read is kept").remedy("the same command goes on from there")),
    }
}

/// Tells the role whether it keeps the folders in step; it remembers.
async fn set_watch(context: &Context, parts: &Parts, is_ready: bool, on: bool) -> Outcome {
    if !is_ready {
        let failure = Failure::new(Exit::Unavailable, "the service `ingest` does not answer");
        return Err(failure.remedy("run `0711 start`, then this again"));
    }
    let token = read_token(&parts.customer)?;
    let body = Some(json!({"format": 1, "on": on}));
    let ask = Ask { token: Some(&token), body, ..Ask::new("PUT", "/v1/watch") };
    let reply = stack::http::call(&parts.endpoint(Role::Ingest).await?, ask).await?;
    if reply.status != 200 {
        return Err(Failure::new(Exit::Failed, format!("the service `ingest` refused: {}", reply.message())));
    }
    if !context.printer.json {
        context.printer.note(match on {
            true => "the folders are kept in step from now on; `0711 ingest --watch=off` ends that",
            false => "the folders are no longer kept in step",
        });
    }
    Ok(())
}

/// Between two looks at folders that nobody else looks after.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Reads, and again whenever the folders changed and have come to rest, until Ctrl-C.
async fn watch_here(context: &Context, args: &IngestArgs, parts: &Parts, interrupt: CancellationToken) -> Outcome {
    let (state_dir, folders) = (parts.customer.ingest_state(), given(args)?);
    loop {
        let report = here(context, args, parts, interrupt.clone()).await?;
        show(context, &report)?;
        if report.interrupted {
            return Ok(());
        }
        context.printer.note("what changes is read from now on; Ctrl-C ends that");
        let mut before = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = interrupt.cancelled() => return Ok(()),
            }
            let (paths, dir, stop) = (folders.clone(), state_dir.clone(), interrupt.clone());
            let look = move || {
                let sight = Sight::take(&paths, &dir, &stop);
                (sight, sight.was_read(&paths, &dir))
            };
            let (sight, was_read) = tokio::task::spawn_blocking(look).await.during("cannot look at the folders")?;
            match was_read {
                true => before = None,
                false if before == Some(sight) => break,
                false => before = Some(sight),
            }
        }
    }
}

/// Reads in this process, with workers for the files.
async fn here(context: &Context, args: &IngestArgs, parts: &Parts, interrupt: CancellationToken) -> Outcome<Report> {
    if parts.config.as_ref().is_some_and(|config| config.containers.is_some()) {
        let failure = Failure::new(Exit::Usage, "a container reads only the folders that were mounted for it");
        return Err(
            failure.remedy("name all folders in `0711 install --folder DIR`, then run `0711 ingest` without a folder")
        );
    }
    let mut folders = given(args)?;
    if folders.is_empty() {
        folders.extend(parts.config.iter().flat_map(|config| config.folders.clone()));
    }
    if folders.is_empty() {
        return Err(Failure::new(Exit::Usage, "no folder to read is named").remedy("run `0711 ingest DIR --root ROOT`"));
    }
    let allowed = entitlement(&context.layout, &parts.customer, args.license.as_deref())?;
    let readers = std::thread::available_parallelism().map_or(2, usize::from);
    let limits = ::ingest::limits();
    let job = Job {
        folders,
        lake: parts.lake().await?,
        embedding: parts.embedding().await?,
        readers,
        max_file_bytes: limits.max_file_bytes,
        pool: Pool::new(own_binary()?, readers, limits),
        max_documents: allowed.max_documents(),
        state_dir: parts.customer.ingest_state(),
        options: Options { retry: args.retry, prune: args.prune, ..Options::default() },
        handlers: Some(::handlers::Desk::open(&parts.customer, super::handlers::runner()?, Clock::system())?),
        clock: Clock::system(),
    };
    let progress = Mutex::new(Progress::start(context.printer, "reading"));
    let printer = context.printer;
    let show = |event: Event| {
        let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Walking { files } => progress.update(&job::Progress {
                done: files,
                unit: "files found".to_owned(),
                ..job::Progress::default()
            }),
            Event::Progress(at) => progress.update(&job::Progress {
                done: at.files_done,
                total: at.files_total,
                unit: "files".to_owned(),
                note: format!("{} passages", at.chunks),
                eta_seconds: at.eta_seconds,
            }),
            Event::Note { text } if !printer.json => printer.note(format!("note: {text}")),
            _ => {}
        }
    };
    let report = ::ingest::run(job, &show, interrupt).await;
    progress.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).abandon();
    Ok(report?)
}

/// The folders that were named, in one spelling.
fn given(args: &IngestArgs) -> Outcome<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for folder in &args.folders {
        let act = || format!("cannot read the folder `{}`", folder.display());
        let found = folder.canonicalize().during(act()).map_err(|failure| failure.remedy("check the path"))?;
        if !found.is_dir() {
            let failure = Failure::new(Exit::Usage, format!("`{}` is not a folder", found.display()));
            return Err(failure.remedy("name the folder it lies in; `0711 extract FILE` shows what one file holds"));
        }
        folders.push(found);
    }
    Ok(folders)
}

fn show(context: &Context, report: &Report) -> Outcome {
    if context.printer.json {
        return context.printer.value(report);
    }
    context.printer.line(report.render().trim_end());
    Ok(())
}
