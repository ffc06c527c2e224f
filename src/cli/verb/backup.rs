//! Backups: where they are and what opens them is found in `place`; making and putting back have files of their own.

mod create;
mod place;
mod restore;

use std::sync::{Mutex, PoisonError};

use ::backup::{Depth, Event, Keep, Memory, Prune, Repository, Schedule, SnapshotEntry, Verified};
use base::{CustomerLayout, Exit, job};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::place::Place;
use crate::{
    args::{BackupArgs, BackupVerb, KeepArgs},
    context::Context,
    failure::{During, Failure, Outcome},
    printer::{Printer, bytes, shown},
    progress::Progress,
};

/// Makes, proves and puts back backups.
pub async fn run(context: &Context, args: &BackupArgs, interrupt: CancellationToken) -> Outcome {
    match &args.verb {
        BackupVerb::Create(args) => create::run(context, args, interrupt).await,
        BackupVerb::List { place } => list(context, &Place::find(context, place)?).await,
        BackupVerb::Verify { place, quick, mend } => {
            let depth = if *quick { Depth::Structure } else { Depth::Everything };
            verify(context, &Place::find(context, place)?, depth, *mend, interrupt).await
        }
        BackupVerb::Restore { place, snapshot, replace, with_secrets } => {
            let wanted = restore::Wanted { which: snapshot.clone(), replaces: *replace, with_secrets: *with_secrets };
            restore::run(context, &Place::find(context, place)?, wanted, interrupt).await
        }
        BackupVerb::Prune { place, keep, dry_run } => {
            prune(context, &Place::find(context, place)?, keep_of(*keep), *dry_run, interrupt).await
        }
        BackupVerb::Schedule { place, at, keep, off } => {
            let customer = context.customer()?;
            match (at, off) {
                (_, true) => unschedule(context, &customer),
                (Some(at), false) => {
                    schedule(context, &Place::find(context, place)?, &customer, at, keep_of(*keep)).await
                }
                (None, false) => show_schedule(context, &customer),
            }
        }
    }
}

fn keep_of(args: KeepArgs) -> Keep {
    Keep { last: args.keep_last, daily: args.keep_daily, weekly: args.keep_weekly }
}

/// Runs what waits on disks and networks beside the tasks that must not.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
    tokio::task::spawn_blocking(work).await.during("the work on the backup broke off")?
}

/// Shows the events of one run: progress, and what a person should know.
struct Watch {
    printer: Printer,
    progress: Mutex<Option<Progress>>,
}

impl Watch {
    fn new(printer: Printer, label: impl Into<String>) -> Self {
        Self { printer, progress: Mutex::new(Some(Progress::start(printer, label))) }
    }

    fn see(&self, event: Event) {
        let (kind, text, value) = match event {
            Event::Progress(at) => return self.update(&at),
            Event::Skipped(skipped) => {
                let text = format!("not in the backup: {}: {}", shown(&skipped.path), shown(&skipped.reason));
                ("skipped", text, json!(skipped))
            }
            Event::Problem(problem) => {
                ("problem", format!("damaged: {}: {}", problem.what, problem.why), json!(problem))
            }
            Event::Note(note) => ("note", format!("note: {note}"), json!(note)),
        };
        match self.printer.json {
            true => self.printer.note(json!({"event": kind, kind: value}).to_string()),
            false => self.printer.note(text),
        }
    }

    fn update(&self, at: &job::Progress) {
        if let Some(progress) = self.progress.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            progress.update(at);
        }
    }

    /// Ends the display: with what came of it, or without a word when it failed.
    fn end(&self, outcome: Option<&str>) {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (progress, outcome) {
            (Some(progress), Some(outcome)) => progress.finish(outcome),
            (Some(progress), None) => progress.abandon(),
            (None, _) => {}
        }
    }
}

async fn list(context: &Context, place: &Place) -> Outcome {
    let (store, key) = place.open(context).await?;
    let name = store.place();
    let repository = blocking(move || Ok(Repository::open(&store, &key)?)).await?;
    let wanted = |entry: &&SnapshotEntry| context.slug().is_none_or(|slug| entry.customer == *slug);
    let entries: Vec<&SnapshotEntry> = repository.listed()?.iter().filter(wanted).collect();
    let older = place.memory().and_then(|memory| memory.check(&repository).err());
    if context.printer.json {
        let older = older.map(|error| error.to_string());
        return context.printer.value(&json!({
            "place": name, "repository": repository.id(), "generation": repository.generation(),
            "has_passphrase": repository.has_passphrase(), "snapshots": entries, "problems": repository.problems(),
            "older": older,
        }));
    }
    for problem in repository.problems() {
        context.printer.note(format!("damaged: {}: {}", problem.what, problem.why));
    }
    if let Some(error) = older {
        context.printer.note(format!("warning: {error}"));
    }
    if entries.is_empty() {
        context.printer.line("there is no backup yet");
    }
    for entry in entries {
        context.printer.line(line(entry));
    }
    Ok(())
}

/// A backup in one line.
fn line(entry: &SnapshotEntry) -> String {
    let skipped = if entry.skipped > 0 { format!("  without {} files", entry.skipped) } else { String::new() };
    format!(
        "{}  {}  {}  {} files, {}, {} added{skipped}",
        entry.id.short(),
        entry.started,
        entry.customer,
        entry.files,
        bytes(entry.content_bytes),
        bytes(entry.added_bytes),
    )
}

async fn verify(context: &Context, place: &Place, depth: Depth, mends: bool, interrupt: CancellationToken) -> Outcome {
    let (store, key) = place.open(context).await?;
    let memory = place.memory();
    let watch = Watch::new(context.printer, if mends { "mending" } else { "proving" });
    let (found, older, watch) = blocking(move || {
        let events = |event| watch.see(event);
        let proven = match mends {
            true => ::backup::mend(&store, &key, &events, &interrupt),
            false => ::backup::verify(&store, &key, depth, &events, &interrupt),
        };
        let found = match proven {
            Ok(found) => found,
            Err(error) => {
                watch.end(None);
                return Err(error.into());
            }
        };
        let repository = Repository::open(&store, &key)?;
        Ok((found, memory.and_then(|memory| memory.check(&repository).err()), watch))
    })
    .await?;
    watch.end(Some(&format!("{} backups, {} packs, {}", found.snapshots, found.packs, bytes(found.bytes))));
    if context.printer.json {
        let older = older.as_ref().map(ToString::to_string);
        context.printer.value(
            &json!({"verified": found.problems.is_empty() && older.is_none(), "found": found, "older": older}),
        )?;
    }
    judge(context, &found, mends)?;
    match older {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn judge(context: &Context, found: &Verified, mends: bool) -> Outcome {
    if found.problems.is_empty() {
        if !context.printer.json {
            let left = match found.leftovers.len() {
                0 => String::new(),
                count => format!("; {count} files are left of interrupted runs, `0711 backup prune` removes them"),
            };
            context.printer.line(format!("every byte is as it was written{left}"));
        }
        return Ok(());
    }
    if mends {
        context.printer.note("what is damaged is put aside; `0711 backup create` makes good what is still there");
        return Ok(());
    }
    let text = format!("{} parts of the backup are damaged or missing", found.problems.len());
    Err(Failure::new(Exit::Damaged, text).remedy(
        "run `0711 backup verify --mend`, then `0711 backup create`: what is still there is written anew, nothing is deleted",
    ))
}

async fn prune(context: &Context, place: &Place, keep: Keep, is_dry: bool, interrupt: CancellationToken) -> Outcome {
    let customer = context.customer()?;
    let (store, key) = place.open(context).await?;
    let watch = Watch::new(context.printer, "pruning");
    let (pruned, watch) = blocking(move || {
        let prune = Prune { store, key: &key, layout: &customer, keep, is_dry, waits: false };
        let pruned = prune.run(&|event| watch.see(event), &interrupt);
        if pruned.is_err() {
            watch.end(None);
        }
        Ok((pruned?, watch))
    })
    .await?;
    let would = if is_dry { "would be " } else { "" };
    watch.end(Some(&format!(
        "{} backups {would}removed, {} kept, {} {would}freed",
        pruned.removed.len(),
        pruned.kept.len(),
        bytes(pruned.freed_bytes)
    )));
    if context.printer.json {
        return context.printer.value(&json!({"dry_run": is_dry, "pruned": pruned}));
    }
    for entry in &pruned.removed {
        context.printer.line(format!("{would}removed  {}", line(entry)));
    }
    Ok(())
}

async fn schedule(context: &Context, place: &Place, customer: &CustomerLayout, at: &str, keep: Keep) -> Outcome {
    // A schedule that cannot work is refused now, not at night.
    let (store, key) = place.open(context).await?;
    let opened = store.clone();
    let kept = key.clone();
    blocking(move || Ok(Repository::open(&opened, &kept)?)).await?;
    key.keep(&customer.backup_keys())?;
    let schedule = Schedule::new(customer, store.place(), place.access().cloned(), at, keep)?;
    schedule.write(customer)?;
    show_schedule(context, customer)
}

fn unschedule(context: &Context, customer: &CustomerLayout) -> Outcome {
    let path = customer.backup_schedule();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::from_error(format!("cannot remove `{}`", path.display()), &error));
        }
        _ => {}
    }
    show_schedule(context, customer)
}

fn show_schedule(context: &Context, customer: &CustomerLayout) -> Outcome {
    let (schedule, memory) = (Schedule::read(customer)?, Memory::read(customer)?);
    if context.printer.json {
        let (success, failure) = (&memory.last_success, &memory.last_failure);
        return context.printer.value(&json!({"schedule": schedule, "last_success": success, "last_failure": failure}));
    }
    context.printer.line(match &schedule {
        Some(schedule) => format!("every day at {} to {}; the agent does it", schedule.at, schedule.to),
        None => "no backup is scheduled".to_owned(),
    });
    for line in last(&memory) {
        context.printer.line(line);
    }
    Ok(())
}

/// Says how the last backup went.
pub fn last(memory: &Memory) -> Vec<String> {
    let success = memory.last_success.as_ref().map(|made| {
        let without = if made.skipped > 0 { format!(", without {} files", made.skipped) } else { String::new() };
        format!("last backup {} to {} ({}){without}", made.finished, made.place, made.snapshot.short())
    });
    let failure = memory.last_failure.as_ref().map(|failed| format!("failed at {}: {}", failed.started, failed.error));
    let never = memory.last_success.is_none().then(|| "no backup was ever made".to_owned());
    success.into_iter().chain(never).chain(failure).collect()
}
