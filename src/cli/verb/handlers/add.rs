//! Handlers people write: tried, and registered.

use std::path::PathBuf;

use ::handlers::{Entry, Error};
use audit::{Act, Entry as Record, Who};
use base::Exit;
use extract::handler::{Kind, validate};
use serde_json::json;

use super::{Bench, absolute, show, source};
use crate::{
    args::AddArgs,
    failure::{Failure, Outcome},
};

/// Runs a handler over files and shows what it gives.
pub(super) async fn test(bench: &Bench<'_>, handler: &str, files: &[PathBuf], rows: usize) -> Outcome {
    let printer = bench.context.printer;
    let path = PathBuf::from(handler);
    let (code, kind) = match path.extension().is_some_and(|extension| extension == "py") {
        true => (source(&path)?, None),
        false => {
            let handler = bench.registry.newest(handler)?;
            (handler.source, Some(handler.entry.kind))
        }
    };
    let mut samples = absolute(files)?;
    if samples.is_empty() {
        let waiting = kind.iter().flat_map(|kind| bench.queue.get(&kind.id()).ok()).flat_map(|waiting| waiting.files);
        samples.extend(waiting.filter(|file| file.is_file()));
    }
    if samples.is_empty() {
        return Err(Failure::new(Exit::Usage, "there is no file to try it on").remedy("name one after the handler"));
    }
    let validation = validate(&bench.runner, &code, &samples).await;
    let mut runs = Vec::new();
    for sample in &samples {
        runs.push((sample, bench.runner.run(sample, &code, None).await));
    }
    if printer.json {
        let runs: Vec<_> = runs.iter().map(|(file, run)| json!({"file": file, "run": run})).collect();
        printer.value(&json!({"format": 1, "validation": validation, "runs": runs}))?;
    } else {
        for (file, run) in &runs {
            printer.line(printer.bold(&crate::printer::shown(&file.display().to_string())));
            if let Some(refusal) = &run.refusal {
                printer.line(format!("  {}", printer.bad(&crate::printer::shown(&refusal.to_string()))));
            }
            let figures = &run.figures;
            printer.line(format!(
                "  {} records, {:.1} % of {} bytes accounted for, {} host calls, {} ms",
                figures.records,
                figures.coverage() * 100.0,
                figures.size_bytes,
                figures.calls,
                figures.elapsed_ms
            ));
            show::tables(printer, &run.tables, rows);
            run.printed.lines().for_each(|line| printer.note(format!("  printed: {}", crate::printer::shown(line))));
        }
        show::findings(printer, &validation);
    }
    match validation.passed() {
        true => Ok(()),
        false => Err(Failure::told(Exit::Failed)),
    }
}

/// Registers a handler somebody wrote.
pub(super) async fn add(bench: &Bench<'_>, args: &AddArgs) -> Outcome {
    let code = source(&args.file)?;
    let mut samples = absolute(&args.samples)?;
    let mut kind = match (&args.kind, &args.like) {
        (Some(kind), _) => {
            let known =
                bench.registry.list()?.into_iter().find(|entry| entry.kind.id() == *kind || entry.name == *kind);
            match bench.queue.get(kind) {
                Ok(waiting) => {
                    samples.extend(waiting.files.into_iter().filter(|file| file.is_file()));
                    waiting.kind
                }
                // A handler of a kind that has one already is replaced by a better one.
                Err(Error::NotWaiting { .. }) if known.is_some() => known.map(|entry| entry.kind).unwrap_or_default(),
                Err(error) => return Err(error.into()),
            }
        }
        (None, Some(like)) => {
            let like = absolute(std::slice::from_ref(like))?.remove(0);
            let analysis = bench.runner.analyse(&like).await?;
            samples.insert(0, like);
            analysis.kind
        }
        (None, None) => {
            return Err(Failure::new(Exit::Usage, "say which files it is for: `--kind KIND` or `--like FILE`"));
        }
    };
    let name = args.name.clone().unwrap_or_else(|| kind.id());
    if args.any {
        kind = Kind { magic: None, record_length: None, delimiter: None, ..kind };
    }
    if samples.is_empty() {
        return Err(Error::NoSamples { kind: kind.id() }.into());
    }
    let validation = validate(&bench.runner, &code, &samples).await;
    if !validation.passed() {
        return Err(Error::Faulty { faults: format!("\n{}", validation.faults().trim_end()) }.into());
    }
    let entry = Entry::by_person(&name, &kind, &code, args.summary.clone(), validation, bench.clock);
    bench.registry.put(&entry, &code)?;
    bench.queue.settle(&entry.kind)?;
    let record = Record::new(Who::this_process(), Act::ConfigChange).object(format!("handler {name} added"));
    bench.record(record.detail(format!("source {}", entry.digest)));
    registered(bench, &entry)
}

/// Says that a handler is registered, and what comes next.
pub(super) fn registered(bench: &Bench<'_>, entry: &Entry) -> Outcome {
    let printer = bench.context.printer;
    if printer.json {
        return printer.value(entry);
    }
    printer.line(format!("{}  {}", printer.bold(&entry.name), entry.state.name()));
    show::findings(printer, &entry.validation);
    show::tables(printer, &entry.validation.preview, 5);
    match entry.state {
        ::handlers::State::Approved => printer.note("run `0711 ingest`: files of its kind are read anew"),
        _ => printer.note(format!("look at it with `0711 handlers show {}`, which says how to approve it", entry.name)),
    }
    Ok(())
}
